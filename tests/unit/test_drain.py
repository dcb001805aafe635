# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drains against a simulated cluster: done, refused, stuck, called off, undone, and killed between every two writes."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
import time

import httpx
import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.client import EndpointTrouble
from ansible_collections.pragmatica.aether.plugins.module_utils.dialects import v1
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import drain, session
from fakes import parameters, run
from simnode.testing import SimCluster

CART, SHOP = "org.example:cart:1.0.0", "org.example:shop:1.0.0"


def blueprint(**slices):
    """``cart=(3, 2)``: three wanted, at least two."""
    lines = ['id = "org.example:all:1.0.0"']
    for name, (instances, least) in slices.items():
        lines += ["[[slices]]", 'artifact = "org.example:%s:1.0.0"' % name, "instances = %d" % instances, "minAvailable = %d" % least]
    return "\n".join(lines) + "\n"


def slices(cluster, node="n1"):
    """artifact -> (wanted, node -> state) in the view of ``node``."""
    return {s["artifact"]: (s["targetInstances"], {i["nodeId"]: i["state"] for i in s.get("instances", [])}) for s in cluster.get(node, "/api/slices").get("slices", [])}


def state(cluster, node, asked="n1"):
    return next((e["state"] for e in cluster.get(asked, "/api/nodes/lifecycle") if e["nodeId"] == node), None)


def settled(cluster, asked="n1"):
    found = slices(cluster, asked)
    return bool(found) and all(len(hosts) == wanted and set(hosts.values()) == {"ACTIVE"} for wanted, hosts in found.values())


def started(size, switches, wanted):
    cluster = SimCluster(size, **switches)
    cluster.start_all()
    assert cluster.request("POST", "n1", "/api/blueprint", blueprint(**wanted))[0] == 200
    cluster.wait(lambda: settled(cluster), "slices")
    return cluster


@pytest.fixture
def quick(monkeypatch):
    """Pauses to fit clusters whose times are a fiftieth of the product's."""
    monkeypatch.setattr(session, "SECOND_LOOK", 0.05)
    monkeypatch.setattr(drain, "SOON", 0.05)
    monkeypatch.setattr(drain, "PATIENCE", 0.5)


@pytest.fixture
def lab(quick, tmp_path):
    """Clusters of a test's own; ``lab(3, cart=(3, 2))``."""
    clusters = []

    def make(size=3, switches=None, **wanted):
        clusters.append(started(size, switches or {}, wanted))
        clusters[-1].home = str(tmp_path / "state")
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


@pytest.fixture(scope="module")
def kept_running():
    clusters = []
    yield clusters
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def full(kept_running, quick, tmp_path):
    """Three nodes, a slice on each, at least two; for tests that leave it as it was."""
    if not kept_running or not (settled(kept_running[-1]) and slices(kept_running[-1])[CART][0] == 3 and all(state(kept_running[-1], n) == "ON_DUTY" for n in kept_running[-1].ids)):
        kept_running.append(started(3, {}, {"cart": (3, 2)}))
    kept_running[-1].home = str(tmp_path / "state")
    return kept_running[-1]


def drained(cluster, name="n1", **given):
    """The operation on a cluster of ``lab``."""
    return run(drain, cluster, name=name, **dict({"intent_path": cluster.home}, **given))


def refused(cluster, name="n1", **given):
    with pytest.raises(AetherError) as caught:
        drained(cluster, name, **given)
    return caught.value


def kept(cluster):
    """The intents on disk."""
    names = sorted(os.listdir(cluster.home)) if os.path.isdir(cluster.home) else []
    return [json.load(open(os.path.join(cluster.home, n), encoding="utf-8")) for n in names if n.endswith(".json")]


class Minimum:
    """Samples from outside whether a slice ever has fewer active instances on members than its minimum."""

    def __init__(self, cluster, ask, **least):
        self.cluster, self.ask, self.least, self.below = cluster, ask, {"org.example:%s:1.0.0" % a: n for a, n in least.items()}, []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.stop.is_set():
            for artifact, least in self.least.items():
                wanted = slices(self.cluster, self.ask).get(artifact)
                if wanted and list(wanted[1].values()).count("ACTIVE") < least:
                    self.below.append((artifact, wanted))
            time.sleep(0.01)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.stop.set()
        self.thread.join(10)
        assert self.below == []


def test_a_node_is_drained_and_put_back(lab):
    cluster = lab(cart=(2, 1), shop=(1, 1))
    home = next(n for n in cluster.ids if n in slices(cluster)[CART][1] and n not in slices(cluster)[SHOP][1])
    lines = []
    with Minimum(cluster, "n2" if home == "n1" else "n1", cart=1):
        result = drained(cluster, home, progress=lines.append)
    assert result["changed"] and result["drain"]["state"] == "DECOMMISSIONED" and result["drain"]["left"] == [] and "decommissioned" in result["msg"]
    assert [a["path"] for a in result["actions"]] == ["/api/node/drain/%s" % home] and result["intent"] is None and kept(cluster) == []
    assert all(home not in hosts for _, hosts in slices(cluster).values())
    assert "%s: ON_DUTY" % home in result["diff"]["before"] and "%s: DECOMMISSIONED" % home in result["diff"]["after"]
    assert any("1 slice left" in line for line in lines)
    again = drained(cluster, home)
    assert not again["changed"] and "already" in again["msg"] and again["diff"]["before"] == again["diff"]["after"]
    back = drained(cluster, home, state="active")
    assert back["changed"] and state(cluster, home) == "ON_DUTY" and not drained(cluster, home, state="active")["changed"]


def test_check_mode_sends_nothing_and_tells_all(full):
    cluster = full
    plan = drained(cluster, "n1", make_room=True, check_mode=True)
    assert [(a["path"], a["sent"]) for a in plan["actions"]] == [("/api/scale", False), ("/api/node/drain/n1", False)] and plan["changed"]
    assert plan["intent"]["restore"] == {CART: {"from": 3, "to": 2}} and "n1: DECOMMISSIONED" in plan["diff"]["after"] and "%s: 2 wanted" % CART in plan["diff"]["after"]
    assert slices(cluster)[CART][0] == 3 and state(cluster, "n1") == "ON_DUTY" and not os.path.exists(cluster.home)
    real, told = refused(cluster, "n1"), refused(cluster, "n1", check_mode=True)
    assert real.message == told.message and real.kind == "refused" and "make_room: true" in real.message and real.data["refusals"] == told.data["refusals"]


@pytest.mark.parametrize("node", ["n1", "n3"])
def test_room_is_made_and_given_back(full, node):
    cluster = full
    with Minimum(cluster, "n2", cart=2):
        result = drained(cluster, node, make_room=True)
        assert result["drain"]["made_room"] == {CART: {"from": 3, "to": 2}} and slices(cluster)[CART][0] == 2 and node not in slices(cluster)[CART][1]
        (intent,) = kept(cluster)
        assert intent["phase"] == "drained" and intent["restore"] == {CART: {"from": 3, "to": 2}} == result["drain"]["restore"]
        (name,) = [n for n in os.listdir(cluster.home) if n.endswith(".json")]
        assert stat.S_IMODE(os.stat(os.path.join(cluster.home, name)).st_mode) == 0o600 and len(os.listdir(cluster.home)) == 1
        assert not drained(cluster, state="settled", name=None)["changed"] and state(cluster, node) == "DECOMMISSIONED"  # it is meant to stay so
        assert drained(cluster, node, state="active", check_mode=True)["actions"][-1]["path"] == "/api/scale" and kept(cluster) == [intent]
        back = drained(cluster, node, state="active")
    assert [a["path"] for a in back["actions"]] == ["/api/node/activate/" + node, "/api/scale"] and "wanted 3 times again" in back["msg"]
    assert settled(cluster) and slices(cluster)[CART][0] == 3 and kept(cluster) == []


def test_a_count_that_somebody_else_has_set_since_stays(lab):
    cluster = lab(4, cart=(4, 1))
    drained(cluster, "n4", make_room=True)
    cluster.post("n1", "/api/scale", {"artifact": CART, "instances": 2})
    back = drained(cluster, "n4", state="active")
    assert slices(cluster)[CART][0] == 2 and "left at 2" in back["msg"] and kept(cluster) == []


def test_below_the_minimum_is_never_gone(lab):
    cluster = lab(cart=(3, 3), shop=(1, 1))
    home = next(iter(slices(cluster)[SHOP][1]))
    error = refused(cluster, home, make_room=True)
    assert [(r["code"], r["option"]) for r in error.data["refusals"]] == [("only_instance", "allow: [only_instance]"), ("no_room", None)]
    assert "nothing was touched" in error.message and state(cluster, home) == "ON_DUTY" and kept(cluster) == []


def test_bad_names_and_a_place_that_cannot_be_written(lab, tmp_path):
    cluster = lab(cart=(2, 1))
    assert "n9" in refused(cluster, "n9").message and "'name' is missing" in refused(cluster, None).message
    (tmp_path / "file").write_text("", encoding="utf-8")
    error = refused(cluster, "n1", intent_path=str(tmp_path / "file"))
    assert error.kind == "intent" and "intent_path" in error.message and state(cluster, "n1") == "ON_DUTY"


def test_a_deployment_and_a_member_down_are_refused_together(lab, monkeypatch):
    cluster = lab(cart=(2, 1))
    cluster.kill("n3")
    monkeypatch.setattr(v1, "deployments", lambda client, endpoint: ["canary of x (DEPLOYING)"])
    error = refused(cluster, "n2")
    assert {"majority", "unsound", "deployment"} <= {r["code"] for r in error.data["refusals"]} and state(cluster, "n2") == "ON_DUTY"


def test_a_slice_that_does_not_start_elsewhere_is_named_and_all_is_undone(lab):
    cluster = lab(4, cart=(3, 2))
    home = next(n for n in cluster.ids if n in slices(cluster)[CART][1])
    for node in cluster.ids:
        cluster.set(node, slice_fail="cart")
    error = refused(cluster, home, timeout=0.6)
    assert error.kind == "not_drained" and "cart:1.0.0 does not start on" in error.message and "simulated" in error.message and error.data["left"][0]["hold"] == "failed"
    assert error.data["undone"] and state(cluster, home) == "ON_DUTY" and kept(cluster) == [] and "back on duty" in error.message
    assert slices(cluster)[CART][1][home] == "ACTIVE"


def test_a_drain_that_is_stuck_ends_at_its_deadline_undone_with_counts_restored(lab):
    cluster = lab(cart=(3, 1))
    for node in cluster.ids:
        cluster.set(node, stuck_drain=True)
    error = refused(cluster, "n1", make_room=True, timeout=0.6)
    assert error.kind == "not_drained" and error.data["undone"] and "not drained after" in error.message
    cluster.wait(lambda: settled(cluster), "counts")
    assert slices(cluster)[CART][0] == 3 and state(cluster, "n1") == "ON_DUTY" and kept(cluster) == []


def test_a_drain_begun_by_hand_and_stuck_is_given_room(full):
    cluster = full
    cluster.post("n1", "/api/node/drain/n2")
    assert refused(cluster, "n2").data["refusals"][0]["code"] == "no_room" and state(cluster, "n2") == "DRAINING"
    assert len(drained(cluster, "n2", make_room=True, check_mode=True)["actions"]) == 3 and state(cluster, "n2") == "DRAINING"
    with Minimum(cluster, "n1", cart=2):
        result = drained(cluster, "n2", make_room=True)
    assert [a["path"] for a in result["actions"]] == ["/api/node/activate/n2", "/api/scale", "/api/node/drain/n2"]
    drained(cluster, "n2", state="active")
    assert settled(cluster) and slices(cluster)[CART][0] == 3


def test_room_that_vanishes_during_the_drain_is_made_once(lab):
    """Another takes the free place between the look and the drain: called back, room made, drained again."""
    cluster = lab(cart=(2, 1))
    home = sorted(slices(cluster)[CART][1])[0]

    def scaled_up(count):
        if count == 0:
            cluster.post("n1", "/api/scale", {"artifact": CART, "instances": 3})
            cluster.wait(lambda: settled(cluster), "three")

    result = after_writes(cluster, scaled_up, before=True, name=home, make_room=True)
    assert [a["path"].split("/")[2:4] for a in result["actions"]] == [["node", "drain"], ["node", "activate"], ["scale"], ["node", "drain"]]
    assert result["drain"]["restore"] == {CART: {"from": 3, "to": 2}} and state(cluster, home) == "DECOMMISSIONED"


def test_what_happens_while_room_is_made_is_judged_before_the_drain(full, monkeypatch):
    cluster = full
    answers = iter([[], ["canary of x (DEPLOYING)"]])
    monkeypatch.setattr(v1, "deployments", lambda client, endpoint: next(answers))
    error = refused(cluster, "n2", make_room=True)
    assert error.kind == "refused" and error.data["refusals"][0]["code"] == "deployment" and error.data["undone"]
    assert [a["path"] for a in error.data["result"]["actions"]] == ["/api/scale"] * 2 and state(cluster, "n2") == "ON_DUTY"
    assert slices(cluster)[CART][0] == 3 and kept(cluster) == []


def after_writes(cluster, hook, before=False, **given):
    """Run with ``hook(number)`` called after (or before) each write."""
    count = iter(range(100))

    class Hooked(drain.Session):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            write = self.client.write

            def hooked(*args):
                number = next(count)
                if before:
                    hook(number)
                answer = write(*args)
                if not before:
                    hook(number)
                return answer

            self.client.write = hooked

    given = dict({"endpoints": cluster.endpoint_list(), "connect_timeout": 0.5, "read_timeout": 0.7, "intent_path": cluster.home}, **given)
    with Hooked(parameters(drain, **given)) as session:
        return drain.run(session.params, session)


def test_the_leader_is_killed_during_the_drain(lab):
    cluster = lab(5, switches={"slice_delay": 20.0}, cart=(3, 2))
    home = next(n for n in ("n2", "n3", "n4", "n5") if n in slices(cluster, "n2")[CART][1])
    ask = "n5" if home != "n5" else "n4"
    with Minimum(cluster, ask, cart=2):
        result = after_writes(cluster, lambda number: cluster.kill("n1"), name=home, timeout=10)
    assert state(cluster, home, ask) == "DECOMMISSIONED" and result["drain"]["state"] == "DECOMMISSIONED"


def test_the_draining_node_is_killed(lab):
    cluster = lab(4, switches={"slice_delay": 20.0}, cart=(2, 1))
    home = next(n for n in ("n2", "n3", "n4") if n in slices(cluster)[CART][1])
    with pytest.raises(AetherError) as caught:
        after_writes(cluster, lambda number: cluster.kill(home), name=home, timeout=0.6)
    error = caught.value
    assert error.kind == "not_drained" and "%s does not answer" % home in error.message and error.data["undone"] and kept(cluster) == []
    assert "on duty by itself when it is started" in error.message


def test_counts_come_back_only_when_a_node_that_starts_has_started(lab, monkeypatch):
    """A write while it starts would leave it without state."""
    cluster = lab(4, cart=(4, 2))
    for node in cluster.ids:
        cluster.set(node, stuck_drain=True)
    monkeypatch.setattr(drain, "PATIENCE", 10.0)
    wrote = []

    def restart(number):
        if number == 1:
            cluster.stop("n3")
            cluster.wait(lambda: state(cluster, "n3") is None, "n3 gone")
            cluster.start("n3", boot_delay=10.0)
        elif number == 2:
            wrote.append((cluster.get("n3", "/health/ready")["status"], state(cluster, "n3")))

    with pytest.raises(AetherError) as caught:
        after_writes(cluster, restart, name="n3", make_room=True, timeout=0.25)
    assert caught.value.data["undone"] and wrote == [("UP", "ON_DUTY")] and slices(cluster)[CART][0] == 4


@pytest.mark.parametrize("times", [1, 2])
def test_a_drain_called_off_by_a_restart_is_started_again_once(lab, times):
    cluster = lab(4, switches={"slice_delay": 20.0}, cart=(2, 1))
    home = next(n for n in ("n2", "n3", "n4") if n in slices(cluster)[CART][1])

    def restart(number):
        if number < times:
            cluster.stop(home)
            cluster.start(home)
            cluster.wait(lambda: state(cluster, home) == "ON_DUTY" and cluster.get(home, "/api/nodes/lifecycle") != [], "%s back" % home)

    if times == 1:
        result = after_writes(cluster, restart, name=home, timeout=10)
        assert result["drain"]["started_again"] == 1 and "started again" in result["msg"] and state(cluster, home) == "DECOMMISSIONED"
    else:
        with pytest.raises(AetherError) as caught:
            after_writes(cluster, restart, name=home, timeout=10)
        assert caught.value.kind == "called_off" and caught.value.data["undone"] and state(cluster, home) == "ON_DUTY"


def test_the_draining_node_is_cut_off(lab):
    cluster = lab(4, switches={"slice_delay": 20.0}, cart=(2, 1))
    home = next(n for n in ("n2", "n3", "n4") if n in slices(cluster)[CART][1])
    with pytest.raises(AetherError) as caught:
        after_writes(cluster, lambda number: cluster.cut([home], [i for i in cluster.ids if i != home]), name=home, timeout=0.6)
    assert caught.value.kind == "not_drained" and caught.value.data["undone"] and kept(cluster) == [], caught.value.message
    cluster.heal()
    cluster.wait(lambda: state(cluster, home) == "ON_DUTY" and settled(cluster), "healed")
    assert drained(cluster, home, timeout=5)["drain"]["state"] == "DECOMMISSIONED"


def test_a_lost_majority_is_said_and_what_is_left_is_finished_later(lab):
    """Nobody can be asked to undo it: the intent stays, and the next run works it off."""
    cluster = lab(cart=(3, 2))

    def lose(number):
        if number == 1:
            cluster.cut(["n1"], ["n2", "n3"])
            cluster.cut(["n2"], ["n3"])

    with pytest.raises(AetherError) as caught:
        after_writes(cluster, lose, name="n2", make_room=True, timeout=0.6)
    assert caught.value.data["undone"] is False and "the next run of aether_drain finishes it" in caught.value.message and len(kept(cluster)) == 1
    cluster.heal()
    cluster.wait(lambda: all(cluster.get(n, "/api/health")["connectedPeers"] == 2 and cluster.get(n, "/api/status")["leader"] == "n1" for n in cluster.ids), "together")
    cluster.wait(lambda: settled(cluster, "n2"), "slices")
    result = run(drain, cluster, state="settled", intent_path=cluster.home)
    cluster.wait(lambda: settled(cluster), "counts")
    assert "interrupted while it drained n2" in result["msg"] and slices(cluster)[CART][0] == 3 and state(cluster, "n2") == "ON_DUTY" and kept(cluster) == []


@pytest.mark.parametrize("switch", [{"error_but_applied": True}, {"hang_writes": "after"}])
def test_an_answer_that_lies_or_never_comes_though_it_was_applied(lab, switch):
    cluster = lab(cart=(3, 2))
    for node in cluster.ids:
        cluster.set(node, **switch)
    result = drained(cluster, "n1", make_room=True, read_timeout=0.4)
    assert state(cluster, "n1") == "DECOMMISSIONED" and slices(cluster)[CART][0] == 2 and result["drain"]["started_again"] == 0
    assert [a["path"] for a in result["actions"]] == ["/api/scale", "/api/node/drain/n1"]


def test_a_leader_that_takes_no_writes_is_passed_over(lab):
    cluster = lab(cart=(2, 1))
    cluster.set("n1", hang_writes="before")
    home = next(n for n in ("n3", "n2") if n in slices(cluster)[CART][1])
    result = drained(cluster, home, read_timeout=0.2)
    assert state(cluster, home) == "DECOMMISSIONED" and [a["node"] for a in result["actions"]][0] == "n1" and len(result["actions"]) == 2


def test_a_cluster_that_says_no(lab):
    cluster = lab(cart=(2, 1))
    for node in cluster.ids:
        cluster.set(node, reject_drain=True)
    error = refused(cluster, "n1")
    assert error.kind == "write_failed" and "Disruption budget exceeded" in error.message and error.data["undone"] and len(error.data["result"]["actions"]) == 1 and kept(cluster) == []


class Killed(BaseException):
    """What ends a process without another word: nothing in the operation catches it."""


@pytest.mark.parametrize("when, number", [("before", 0), ("after", 0), ("after", 1)])
@pytest.mark.parametrize("then", ["again", "active", "another"])
def test_killed_between_every_two_writes_then_run_again(full, number, when, then):
    cluster = full

    def kill(now):
        if now == number:
            raise Killed

    with Minimum(cluster, "n3", cart=2):
        with pytest.raises(Killed):
            after_writes(cluster, kill, before=when == "before", name="n2", make_room=True)
        (intent,) = kept(cluster)
        assert intent["phase"] == "draining" and intent["restore"] == {CART: {"from": 3, "to": 2}}
        if then == "again":
            result = drained(cluster, "n2", make_room=True)
            assert state(cluster, "n2") == "DECOMMISSIONED" and slices(cluster)[CART][0] == 2 and result["drain"]["restore"] == {CART: {"from": 3, "to": 2}}
            drained(cluster, "n2", state="active")
        elif then == "active":
            result = drained(cluster, "n2", state="active")
        else:
            result = run(drain, cluster, state="settled", intent_path=cluster.home)
        assert "interrupted" in result["msg"] and result["abandoned"]
        cluster.wait(lambda: settled(cluster), "counts")
    assert state(cluster, "n2") == "ON_DUTY" and slices(cluster)[CART][0] == 3 and kept(cluster) == []


@pytest.mark.parametrize("when, number", [("before", 0), ("after", 0), ("after", 1)])
def test_killed_while_it_is_put_back_then_run_again(full, when, number):
    cluster = full
    drained(cluster, "n2", make_room=True)

    def kill(now):
        if now == number:
            raise Killed

    with Minimum(cluster, "n3", cart=2):
        with pytest.raises(Killed):
            after_writes(cluster, kill, before=when == "before", name="n2", state="active")
        drained(cluster, "n2", state="active")
    assert state(cluster, "n2") == "ON_DUTY" and settled(cluster) and slices(cluster)[CART][0] == 3 and kept(cluster) == []


def killed_after(cluster, number, **given):
    def kill(now):
        if now == number:
            raise Killed

    with pytest.raises(Killed):
        after_writes(cluster, kill, name="n2", make_room=True, **given)


def test_killed_and_drained_meanwhile(full):
    killed_after(full, 1)
    full.wait(lambda: state(full, "n2") == "DECOMMISSIONED" and "n2" not in slices(full)[CART][1], "n2 drained")
    result = drained(full, "n2")
    assert "already" in result["msg"] and not result["changed"] and kept(full)[0]["phase"] == "drained" and result["drain"]["restore"] == {CART: {"from": 3, "to": 2}}
    drained(full, "n2", state="active")
    assert settled(full) and slices(full)[CART][0] == 3


def test_what_an_interrupted_run_left_is_taken_back_when_it_is_refused_now(full, monkeypatch):
    killed_after(full, 0)
    monkeypatch.setattr(v1, "deployments", lambda client, endpoint: ["canary of x (DEPLOYING)"])
    error = refused(full, "n2", make_room=True)
    assert error.kind == "refused" and "nothing was touched" not in error.message and "wanted 3 times again" in error.message and kept(full) == []
    full.wait(lambda: settled(full), "counts")
    assert slices(full)[CART][0] == 3


def test_deployments_that_cannot_be_told_are_refused_and_an_old_release_has_none(full, monkeypatch):
    def answers(kind):
        def raising(client, endpoint):
            raise EndpointTrouble(kind, "no answer.")

        return raising

    monkeypatch.setattr(v1, "deployments", answers("hanging"))
    assert "it cannot be told: no answer." in refused(full, "n2", make_room=True).message
    monkeypatch.setattr(v1, "deployments", answers("not_aether"))
    assert drained(full, "n2", make_room=True, check_mode=True)["changed"]


def test_killed_while_a_failed_drain_is_undone_then_another_is_drained(lab):
    cluster = lab(4, cart=(4, 2))
    for node in cluster.ids:
        cluster.set(node, stuck_drain=True)

    def kill(now):
        if now == 2:  # room, drain, and then the first write of the undoing
            raise Killed

    with pytest.raises(Killed):
        after_writes(cluster, kill, name="n4", make_room=True, timeout=0.3)
    for node in cluster.ids:
        cluster.set(node, stuck_drain=False)
    result = drained(cluster, "n3", make_room=True)
    assert "interrupted while it drained n4" in result["abandoned"][0] and state(cluster, "n4") == "ON_DUTY" and state(cluster, "n3") == "DECOMMISSIONED"
    assert result["drain"]["restore"] == {CART: {"from": 4, "to": 3}} and [i["node"] for i in kept(cluster)] == ["n3"]


def test_the_end_is_noticed_within_a_second(lab, monkeypatch):
    monkeypatch.undo()  # the real pauses
    cluster = lab(cart=(2, 1), switches={"slice_delay": 10.0})
    home = next(n for n in ("n2", "n3") if n in slices(cluster)[CART][1])
    seen, stop = [], threading.Event()

    def watch():
        while not (seen or stop.is_set()):
            if state(cluster, home) == "DECOMMISSIONED" and home not in slices(cluster)[CART][1]:
                seen.append(time.monotonic())
            time.sleep(0.01)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    drained(cluster, home)
    end = time.monotonic()
    stop.set()
    thread.join(10)
    assert not seen or end - seen[0] <= 1.0


def test_a_step_of_something_longer_is_abandoned_when_a_later_run_finds_it(lab):
    cluster = lab(cart=(2, 1))
    drained(cluster, "n3", hold=False)
    assert kept(cluster)[0]["hold"] is False
    told = drained(cluster, "n2", check_mode=True)["msg"]
    assert "interrupted after it had drained n3" in told and "n3 would be put back on duty" in told and state(cluster, "n3") == "DECOMMISSIONED"
    result = drained(cluster, "n2")
    assert state(cluster, "n3") == "ON_DUTY" and state(cluster, "n2") == "DECOMMISSIONED" and "n3 is back on duty" in result["abandoned"][0]


def test_counts_come_back_after_a_restart_has_put_the_node_on_duty(lab):
    cluster = lab(cart=(3, 1))
    drained(cluster, "n3", make_room=True)
    cluster.stop("n3")
    cluster.wait(lambda: state(cluster, "n3") is None, "n3 gone")
    assert not run(drain, cluster, state="settled", intent_path=cluster.home)["changed"] and len(kept(cluster)) == 1
    cluster.start("n3")
    cluster.wait(lambda: state(cluster, "n3") == "ON_DUTY" and state(cluster, "n3", "n3") == "ON_DUTY", "n3 back")
    result = run(drain, cluster, state="settled", intent_path=cluster.home)
    assert "wanted 3 times again" in result["msg"] and kept(cluster) == [] and slices(cluster)[CART][0] == 3


def test_a_node_that_is_no_voter_any_more_leaves_no_count_that_nobody_can_reach(lab):
    cluster = lab(4, cart=(4, 1))
    drained(cluster, "n4", make_room=True, hold=False)
    cluster.stop("n4")
    cluster.wait(lambda: state(cluster, "n4") is None, "n4 gone")
    result = run(drain, cluster, ids=["n1", "n2", "n3"], state="settled", intent_path=cluster.home)
    assert "n4 is no voter any more" in result["msg"] and "stays at 3" in result["msg"] and kept(cluster) == [] and not result["changed"]


def test_an_intent_kept_elsewhere_is_finished_like_one_of_our_own(lab):
    cluster = lab(cart=(3, 1))
    drained(cluster, "n3", make_room=True)
    (intent,) = kept(cluster)
    for name in os.listdir(cluster.home):
        os.unlink(os.path.join(cluster.home, name))
    back = drained(cluster, "n3", state="active", intents=[intent])
    assert "wanted 3 times again" in back["msg"] and slices(cluster)[CART][0] == 3
    assert "option 'intents'" in refused(cluster, "n3", intents=[{"node": "n3"}]).message


def test_two_at_once_on_one_machine_and_a_file_that_cannot_be_read(lab):
    cluster = lab(cart=(2, 1))
    errors = []
    home = next(n for n in ("n3", "n2") if n in slices(cluster)[CART][1])
    after_writes(cluster, lambda number: errors.append(refused(cluster, home)), name=home)
    assert errors[0].kind == "busy" and home in errors[0].message
    others = SimCluster(3)
    others.close()
    others.home = cluster.home
    assert run(drain, cluster, state="settled", intent_path=cluster.home)["abandoned"] == []
    with open(os.path.join(cluster.home, "drain-n1-0.json"), "w", encoding="utf-8") as file:
        file.write("{")
    error = refused(cluster, "n2", state="active")
    assert error.kind == "intent" and "drain-n1-0.json" in error.message and "remove it" in error.message


class Runbook:
    """A cluster that speaks the runbook's API: which slices are where, and a drain that moves one at every third look."""

    def __init__(self, stuck=False, **where):
        self.where, self.stuck, self.draining, self.looks, self.posted = where, stuck, None, 0, []
        self.nodes = ["n1", "n2", "n3"]

    def endpoint_list(self, ids=None):
        return ["%s=http://%s:8080" % (n, n) for n in self.nodes]

    def __call__(self, request):
        path = request.url.path
        if request.method == "POST":
            self.posted.append("%s %s" % (request.url.host, path))
            self.draining = request.url.host
            return httpx.Response(200, json={})
        if path == "/health":
            return httpx.Response(200, json={"quorum": True, "nodeCount": 3})
        if path == "/cluster/status":
            return httpx.Response(200, json={"nodes": self.nodes})
        self.looks += 1
        if self.draining and self.looks % 6 == 0 and not self.stuck:
            for hosts in self.where.values():
                if self.draining in hosts:
                    hosts.remove(self.draining)
                    hosts.append(next(n for n in self.nodes if n != self.draining and n not in hosts))
                    break
        return httpx.Response(200, json=[{"nodeId": n, "artifact": "org.example:%s:1.0.0" % a, "state": "ACTIVE"} for a, hosts in self.where.items() for n in hosts])

    def run(self, tmp_path, check_mode=False, progress=None, **given):
        given = dict({"endpoints": self.endpoint_list(), "intent_path": str(tmp_path)}, **given)
        with drain.Session(parameters(drain, **given), check_mode=check_mode, progress=progress, transport=httpx.MockTransport(self)) as session:
            return drain.run(session.params, session)


def test_runbook_drains_on_the_node_itself_and_is_done_when_nothing_shows_on_it(tmp_path):
    cluster = Runbook(cart=["n1", "n3"], shop=["n2", "n3"])
    plan = cluster.run(tmp_path, name="n3", check_mode=True)
    assert [(a["path"], a["node"], a["sent"]) for a in plan["actions"]] == [("/admin/drain", "n3", False)] and cluster.posted == []
    lines = []
    result = cluster.run(tmp_path, name="n3", progress=lines.append)
    assert cluster.posted == ["n3 /admin/drain"] and result["api"] == "runbook" and "nothing on it in any view" in result["msg"]
    assert any(re.search("2 slices left|1 slice left", line) for line in lines) and os.listdir(str(tmp_path)) == []
    assert not cluster.run(tmp_path, name="n3")["changed"] and len(cluster.posted) == 1


def test_runbook_refuses_what_it_cannot_do(tmp_path):
    cluster = Runbook(cart=["n1", "n2", "n3"], shop=["n2"])
    for given, part in ((dict(state="active"), "cannot put a node back on duty"), (dict(make_room=True), "cannot scale slices")):
        with pytest.raises(AetherError) as caught:
            cluster.run(tmp_path, name="n2", **given)
        assert caught.value.kind == "cannot" and part in caught.value.message
    with pytest.raises(AetherError) as caught:
        cluster.run(tmp_path, name="n2")
    assert [r["code"] for r in caught.value.data["refusals"]] == ["only_instance", "no_room"] and cluster.posted == []


def test_runbook_cannot_call_a_drain_off_and_says_so(tmp_path):
    cluster = Runbook(stuck=True, cart=["n1", "n3"])
    with pytest.raises(AetherError) as caught:
        cluster.run(tmp_path, name="n3", timeout=0.5)
    assert caught.value.kind == "not_drained" and "cannot call a drain off" in caught.value.message and caught.value.data["undone"] is False
    assert "cart:1.0.0 is still on n3" in caught.value.message and os.listdir(str(tmp_path)) == []


def test_runbook_on_real_sockets(quick, tmp_path):
    with SimCluster(3, api="runbook") as cluster:
        cluster.start_all()
        cluster.home = str(tmp_path / "state")
        cluster.post("n1", "/admin/blueprint", {"artifact": CART, "instances": 2})

        def hosts():
            return sorted(s["nodeId"] for s in cluster.get("n1", "/slices") if s["state"] == "ACTIVE")

        cluster.wait(lambda: len(hosts()) == 2, "slices")
        home = hosts()[0]
        result = drained(cluster, home, timeout=10)
        assert result["api"] == "runbook" and home not in hosts() and len(hosts()) == 2 and kept(cluster) == []
        assert not drained(cluster, home)["changed"]
        other = hosts()[0]
        cluster.set(other, stuck_drain=True)
        error = refused(cluster, other, timeout=0.6)
        assert error.kind == "not_drained" and "is still on %s (ACTIVE)" % other in error.message and not error.data["undone"]
