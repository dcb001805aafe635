# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blueprints and counts against a simulated cluster: applied, refused, rejected without a word, failed, overruled, put back."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
import yaml
from ansible_collections.pragmatica.aether.plugins.module_utils import client
from ansible_collections.pragmatica.aether.plugins.module_utils.client import Client, Endpoint, EndpointTrouble
from ansible_collections.pragmatica.aether.plugins.module_utils.dialects import v1
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import blueprint, session
from fakes import run
from simnode.api import Api
from simnode.testing import SimCluster

ID, OTHER = "org.example:all:1.0.0", "org.example:other:1.0.0"
CART, SHOP = "org.example:cart:1.0.0", "org.example:shop:1.0.0"


def entries(**counts):
    """``cart=(3, 2)``: three wanted, at least two."""
    return [{"artifact": "org.example:%s:1.0.0" % n, "instances": c, "min_available": m} for n, (c, m) in counts.items()]


def toml(identity=ID, **counts):
    lines = ['id = "%s"' % identity]
    for entry in entries(**counts):
        lines += ["[[slices]]", 'artifact = "%s"' % entry["artifact"], "instances = %d" % entry["instances"], "minAvailable = %d" % entry["min_available"]]
    return "\n".join(lines) + "\n"


def shown(cluster, node="n1"):
    """artifact -> (wanted, node -> state) in the view of ``node``."""
    return {s["artifact"]: (s["targetInstances"], {i["nodeId"]: i["state"] for i in s.get("instances", [])}) for s in cluster.get(node, "/api/slices").get("slices", [])}


def count(cluster, artifact=CART, node="n1"):
    return shown(cluster, node).get(artifact, (0, {}))[0]


def ids(cluster, node="n1"):
    return [b["id"] for b in cluster.get(node, "/api/blueprints").get("blueprints", [])]


def settled(cluster, node="n1"):
    return all(len(hosts) == wanted and set(hosts.values()) == {"ACTIVE"} for wanted, hosts in shown(cluster, node).values())


@pytest.fixture(scope="module")
def started():
    """One cluster for every test that leaves its members as they were."""
    with SimCluster(3) as cluster:
        cluster.start_all()
        yield cluster


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(session, "SECOND_LOOK", 0.05)
    monkeypatch.setattr(blueprint, "SOON", 0.02)
    monkeypatch.setattr(blueprint, "NOT_TAKEN_AFTER", 0.5)
    monkeypatch.setattr(blueprint, "LAGGING", 0.3)
    monkeypatch.setattr(client, "FIRST_BACK_OFF", 0.03)


@pytest.fixture
def three(started):
    """Three members without blueprints, and no switch set."""
    neutral = {"reject_blueprint": False, "slice_fail": "", "slice_delay": 0, "error_but_applied": False, "hang_writes": "", "missing_artifact": ""}
    for node in started.ids:
        started.set(node, **neutral)
    for identity in ids(started):
        started.request("DELETE", "n1", "/api/blueprint/" + identity)
    started.wait(lambda: not any(shown(started, n) or ids(started, n) for n in started.ids), "an empty cluster")
    yield started


@pytest.fixture
def own():
    """A cluster of its own, for tests that lose members."""
    with SimCluster(3) as cluster:
        cluster.start_all()
        yield cluster


def given(cluster, **counts):
    assert cluster.request("POST", "n1", "/api/blueprint", toml(**counts))[0] == 200
    cluster.wait(lambda: all(len(shown(cluster, n)) == len(counts) and settled(cluster, n) for n in cluster.ids), "slices")


def applied(cluster, check_mode=False, progress=None, **options):
    return run(blueprint, cluster, check_mode=check_mode, progress=progress, **dict({"timeout": 10.0, "stable_for": 0.04}, **options))


def refused(cluster, **options):
    with pytest.raises(AetherError) as caught:
        applied(cluster, **options)
    return caught.value


# --- what works ------------------------------------------------------------------------------------------------------------


def test_from_nothing_twice_changed_and_away(three):
    lines = []
    plan = applied(three, check_mode=True, content=toml(cart=(2, 1), shop=(3, 2)))
    assert plan["changed"] and [a["sent"] for a in plan["actions"]] == [False] and ids(three) == []
    done = applied(three, content=toml(cart=(2, 1), shop=(3, 2)), progress=lines.append)
    assert done["changed"] and done["diff"] == plan["diff"] and "is applied" in done["msg"] and "would be applied" in plan["msg"]
    assert yaml.safe_load(done["diff"]["after"])["slices"][0] == {"artifact": CART, "instances": 2, "minAvailable": 1} and yaml.safe_load(done["diff"]["before"])["slices"] == []
    assert all(settled(three, n) and count(three, SHOP, n) == 3 for n in three.ids) and sorted(done["instances"][SHOP].values()) == ["ACTIVE"] * 3
    assert any("cart" in line and "/2" in line for line in lines)
    again = applied(three, id=ID, slices=entries(shop=(3, 2), cart=(2, 1)))
    assert not again["changed"] and again["actions"] == [] and again["diff"]["before"] == again["diff"]["after"] and "Nothing differs" in again["msg"]
    gone = applied(three, id=ID, state="absent")
    assert gone["changed"] and gone["blueprint"]["state"] == "absent" and ids(three) == [] and shown(three) == {}
    assert not applied(three, id=ID, state="absent")["changed"]


def test_a_count_goes_up_and_down_and_the_blueprint_brings_it_back(three):
    given(three, cart=(2, 1))
    for wanted, told in ((3, "2 -> 3"), (1, "3 -> 1")):
        plan = applied(three, check_mode=True, artifact=CART, instances=wanted)
        done = applied(three, artifact=CART, instances=wanted)
        assert done["changed"] and told in done["msg"] and done["diff"] == plan["diff"] and [a["path"] for a in done["actions"]] == ["/api/scale"]
        assert all(count(three, CART, n) == wanted and settled(three, n) for n in three.ids)
        assert not applied(three, artifact=CART, instances=wanted)["changed"]
    back = applied(three, content=toml(cart=(2, 1)))
    assert back["changed"] and back["blueprint"]["changes"] == ["%s: 1 -> 2" % CART] and count(three) == 2


def test_a_file_and_its_minimum(three, tmp_path):
    given(three, cart=(2, 1))
    path = tmp_path / "all.toml"
    path.write_text(toml(cart=(2, 2)), encoding="utf-8")
    assert applied(three, src=str(path))["blueprint"]["changes"] == ["%s: at least 1 -> at least 2" % CART]
    assert not applied(three, src=str(path))["changed"]
    assert "cannot be read" in refused(three, src=str(tmp_path / "none.toml")).message


def test_what_is_on_its_way_is_waited_for_and_counts_as_no_change(three):
    given(three, cart=(1, 1))
    three.post("n1", "/api/scale", {"artifact": CART, "instances": 3})
    three.wait(lambda: all(count(three, CART, n) == 3 for n in three.ids), "the count")
    result = applied(three, artifact=CART, instances=3)
    assert not result["changed"] and settled(three)


def test_unchanged_is_one_round_of_reads(three, monkeypatch):
    given(three, cart=(2, 1))
    asked = []
    original = session.Session.__init__

    def counting(self, *arguments, **options):
        original(self, *arguments, **options)
        once = self.client._once
        self.client._once = lambda endpoint, method, path, mark, body: (asked.append((endpoint.url, method, path)), once(endpoint, method, path, mark, body))[1]

    monkeypatch.setattr(session.Session, "__init__", counting)
    assert not applied(three, content=toml(cart=(2, 1)))["changed"]
    assert len(asked) == len(set(asked)) and {method for _, method, _ in asked} == {"GET"}


# --- what is refused ---------------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_the_input_at_once_and_nobody_is_asked():
    class Nobody:
        def endpoint_list(self, ids):
            return ["n1=http://127.0.0.1:1"]

    error = refused(Nobody(), id="shop", slices=[{"artifact": "x", "instances": 0, "min_available": None}])
    assert error.kind == "bad_input" and len(error.data["findings"]) == 3
    for options, part in (
        ({"artifact": CART}, "go together"), ({"instances": 3}, "Nothing is asked for"), ({"artifact": CART, "instances": 1, "content": ""}, "give one of them"), ({"src": "a", "content": "b"}, "several ways"),
        ({"slices": []}, "needs the blueprint's 'id'"), ({"id": ID}, "Nothing is asked for"), ({"id": ID, "content": toml()}, "has its own"), ({"artifact": CART, "instances": 1, "state": "absent"}, "cannot be taken away"),
    ):
        assert part in refused(Nobody(), **options).message


@pytest.mark.parametrize("options,code", [
    ({"artifact": CART, "instances": 5}, "unplaceable"), ({"artifact": SHOP, "instances": 1}, "below_minimum"), ({"artifact": "org.example:cart:2.0.0", "instances": 2}, "unknown_version"),
    ({"artifact": "org.example:none:1.0.0", "instances": 2}, "unknown_slice"), ({"id": OTHER, "slices": entries(cart=(1, 1))}, "owned"), ({"id": ID, "slices": entries(cart=(2, 1))}, "dropped"),
    ({"id": ID, "slices": entries(cart=(2, 1)), "prune": True}, "downtime"),
    ({"id": ID, "slices": entries(shop=(3, 2)) + [{"artifact": "org.example:cart:2.0.0", "instances": 2, "min_available": 1}]}, "swap"),
])
def test_refusals_read_the_same_in_check_mode_and_touch_nothing(three, options, code):
    given(three, cart=(2, 1), shop=(3, 2))
    real, told = refused(three, **options), refused(three, check_mode=True, **options)
    assert real.kind == "refused" and [r["code"] for r in real.data["refusals"]] == [code] and real.message == told.message
    assert real.data["result"]["actions"] == [] and shown(three)[CART][0] == 2 and ids(three) == [ID]


def test_what_is_allowed_is_done(three):
    given(three, cart=(2, 1), shop=(3, 2))
    wide = applied(three, artifact=CART, instances=5, allow_unplaceable=True)
    assert wide["changed"] and len(wide["instances"][CART]) == 3 and any("increase slice capacity" in w for w in wide["remarks"])
    applied(three, artifact=CART, instances=2)
    two = "org.example:cart:2.0.0"
    swapped = applied(three, id=ID, slices=entries(shop=(3, 2)) + [{"artifact": two, "instances": 2, "min_available": 1}], allow_swap=True)
    assert swapped["changed"] and CART not in shown(three) and count(three, two) == 2
    pruned = applied(three, id=ID, slices=entries(shop=(3, 2)), prune=True, allow_downtime=True)
    assert [a["method"] for a in pruned["actions"]] == ["DELETE", "POST"] and list(shown(three)) == [SHOP] and settled(three)
    assert not applied(three, id=ID, slices=entries(shop=(3, 2)), prune=True)["changed"]


def test_an_artifact_that_cannot_be_resolved_is_said_by_the_member(three):
    for node in three.ids:
        three.set(node, missing_artifact="cart")
    error = refused(three, content=toml(cart=(2, 1)))
    assert error.kind == "write_failed" and "Artifact not found" in error.message and ids(three) == []


def test_validating_sends_nothing(three):
    assert not applied(three, content=toml(cart=(9, 1)), validate_only=True, check_mode=True)["changed"] and ids(three) == []
    assert "is valid" in applied(three, artifact=CART, instances=9, validate_only=True)["msg"]


def test_nothing_is_written_while_a_node_starts_or_without_a_majority(own):
    given(own, cart=(2, 1))
    own.stop("n3")
    own.start("n3", never_ready=True)
    own.wait(lambda: own.request("GET", "n3", "/health/ready")[0] == 503, "n3 to start")
    error = refused(own, artifact=CART, instances=1)
    assert [r["code"] for r in error.data["refusals"]] == ["starting"] and "allow_starting: true" in error.message and count(own) == 2
    own.kill("n3")
    own.kill("n2")
    assert refused(own, artifact=CART, instances=1).kind in ("refused", "nobody")


# --- what goes wrong -----------------------------------------------------------------------------------------------------------


def test_what_is_rejected_without_a_word_is_recognised_and_deleted(three):
    for node in three.ids:
        three.set(node, reject_blueprint=True)
    error = refused(three, content=toml(cart=(2, 1)))
    assert error.kind == "rejected" and "without a word" in error.message and error.data["rolled_back"] is True and ids(three) == []


def test_what_is_rejected_of_a_blueprint_that_was_there_puts_the_old_one_back(three):
    given(three, cart=(2, 1))
    three.post("n1", "/api/scale", {"artifact": CART, "instances": 3})
    three.wait(lambda: count(three) == 3 and settled(three), "the count")
    stop = threading.Event()

    def relent():
        # Rejects the change and takes what is put back.
        while not stop.is_set() and len(three.get("n1", "/api/blueprint/" + ID)["slices"]) < 2:
            time.sleep(0.01)
        for node in three.ids:
            three.set(node, reject_blueprint=False)

    for node in three.ids:
        three.set(node, reject_blueprint=True)
    helper = threading.Thread(target=relent, daemon=True)
    helper.start()
    error = refused(three, content=toml(cart=(2, 1), shop=(1, 1)))
    stop.set()
    helper.join(5)
    assert error.kind == "rejected" and error.data["rolled_back"] and count(three) == 3 and len(three.get("n1", "/api/blueprint/" + ID)["slices"]) == 1


@pytest.mark.parametrize("back", [False, True])
def test_a_failed_instance_ends_the_wait_with_its_reason(three, back):
    given(three, cart=(2, 1))
    for node in three.ids:
        three.set(node, slice_fail="cart")
    start = time.monotonic()
    error = refused(three, artifact=CART, instances=3, rollback_on_failure=back)
    assert error.kind == "failed" and "Slice activation failed" in error.message and time.monotonic() - start < 5
    assert count(three) == (2 if back else 3) and error.data.get("rolled_back", False) is back
    if back:
        assert settled(three) and "Put back" in error.message


def test_a_blueprint_that_was_deleted_to_be_applied_again_is_put_back_when_that_fails(three):
    given(three, cart=(2, 1), shop=(1, 1))
    for node in three.ids:
        three.set(node, missing_artifact="pay")
    error = refused(three, id=ID, slices=entries(cart=(2, 1), pay=(1, 1)), prune=True, allow_downtime=True)
    assert error.kind == "write_failed" and error.data["rolled_back"] and {a: c for a, (c, _) in shown(three).items()} == {CART: 2, SHOP: 1} and settled(three)


def test_an_instance_that_had_failed_before_does_not_end_the_change_that_mends_it(three):
    given(three, cart=(2, 1))
    for node in three.ids:
        three.set(node, slice_fail="cart")
    three.post("n1", "/api/scale", {"artifact": CART, "instances": 3})
    three.wait(lambda: "FAILED" in shown(three)[CART][1].values(), "a failed instance")
    done = applied(three, artifact=CART, instances=2)
    assert done["changed"] and settled(three) and len(done["instances"][CART]) == 2


def test_a_new_blueprint_that_fails_is_taken_back(three):
    for node in three.ids:
        three.set(node, slice_fail="cart")
    error = refused(three, content=toml(cart=(1, 1), shop=(1, 1)), rollback_on_failure=True)
    assert error.kind == "failed" and error.data["rolled_back"] and ids(three) == [] and "deleted again" in error.message


def test_a_slow_instance_is_named_at_the_deadline(three):
    given(three, cart=(2, 1))
    for node in three.ids:
        three.set(node, slice_delay=500)
    error = refused(three, artifact=CART, instances=3, timeout=0.5)
    assert error.kind == "not_settled" and "is ACTIVATING" in error.message and error.data["left"]


def test_an_error_that_was_applied_is_no_error_and_is_not_sent_twice(three):
    given(three, cart=(2, 1))
    for node in three.ids:
        three.set(node, error_but_applied=True)
    done = applied(three, artifact=CART, instances=3)
    assert done["changed"] and len(done["actions"]) == 1 and count(three) == 3 and settled(three)
    assert applied(three, content=toml(cart=(1, 1)))["changed"] and count(three) == 1


def test_an_answer_that_is_lost_after_the_write_is_read_again(three):
    given(three, cart=(2, 1))
    for node in three.ids:
        three.set(node, hang_writes="after")
    done = applied(three, artifact=CART, instances=3, read_timeout=0.3)
    assert done["changed"] and count(three) == 3 and [a["path"] for a in done["actions"]] == ["/api/scale"]


def test_a_member_that_never_answers_a_write_is_passed_over(three):
    given(three, cart=(2, 1))
    three.set("n1", hang_writes="before")
    done = applied(three, artifact=CART, instances=3, read_timeout=0.3)
    assert [a["node"] for a in done["actions"]][0] == "n1" and len(done["actions"]) == 2 and count(three, CART, "n2") == 3


def test_somebody_else_who_changes_the_count_is_reported_and_not_fought(three):
    given(three, cart=(1, 1))
    for node in three.ids:
        three.set(node, slice_delay=30)

    def autoscaler():
        three.wait(lambda: count(three) == 2, "ours")
        time.sleep(0.2)
        three.post("n2", "/api/scale", {"artifact": CART, "instances": 3})

    helper = threading.Thread(target=autoscaler, daemon=True)
    helper.start()
    error = refused(three, artifact=CART, instances=2, rollback_on_failure=True)
    helper.join(5)
    assert error.kind == "overruled" and "somebody else" in error.message and error.data["shown"] == 3 and count(three) == 3


def test_two_controllers_at_once_end_with_one_count_and_an_honest_answer_each(three):
    given(three, cart=(1, 1))
    for node in three.ids:
        three.set(node, slice_delay=20)
    outcomes = {}

    def controller(wanted):
        try:
            outcomes[wanted] = applied(three, artifact=CART, instances=wanted)["msg"]
        except AetherError as error:
            outcomes[wanted] = error

    threads = [threading.Thread(target=controller, args=(n,)) for n in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    final = count(three)
    assert final in (2, 3) and not isinstance(outcomes[final], AetherError) and outcomes[5 - final].kind == "overruled"


def test_a_node_that_dies_meanwhile_is_not_counted_by_what_others_still_show(own):
    given(own, cart=(2, 1))
    for node in own.ids:
        own.set(node, slice_delay=25)
    victim = next(n for n in ("n2", "n3") if n in shown(own)[CART][1])

    def die():
        own.wait(lambda: count(own) == 3, "the write")
        own.kill(victim)

    helper = threading.Thread(target=die, daemon=True)
    helper.start()
    error = refused(own, artifact=CART, instances=3, timeout=1.5)
    helper.join(5)
    assert error.kind == "not_settled" and ("no node on duty is free" in error.message or "%s does not answer" % victim in error.message)


def test_the_leader_goes_between_request_and_answer(own):
    given(own, cart=(1, 1))
    own.set("n1", hang_writes="after")

    def die():
        own.wait(lambda: count(own, CART, "n2") == 2, "the write")
        own.kill("n1")

    helper = threading.Thread(target=die, daemon=True)
    helper.start()
    done = applied(own, artifact=CART, instances=2, timeout=10)
    helper.join(5)
    assert done["changed"] and done["cluster"]["leader"] == "n2" and set(done["instances"][CART]) == {"n2", "n3"}


def test_a_text_that_means_not_found_is_absence_and_another_is_trouble(three):
    given(three, cart=(1, 1))
    asker = Client([Endpoint(three.endpoints["n1"])])
    assert v1.blueprint(asker, asker.endpoints[0], OTHER) is None and v1.stored(asker, asker.endpoints[0], CART) is None
    assert v1.blueprint(asker, asker.endpoints[0], ID)["id"] == ID
    with pytest.raises(EndpointTrouble) as caught:
        v1._known(asker, asker.endpoints[0], "/api/cluster/config", "Blueprint not found")
    assert "No cluster configuration" in caught.value.trouble.text
    asker.close()


# --- the runbook's API ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runbook():
    with SimCluster(3, api="runbook") as cluster:
        cluster.start_all()
        yield cluster


CLI = str(Path(__file__).resolve().parents[1] / "sandbox" / "node" / "aether-cli")


def test_the_runbooks_program_scales_up_and_down(runbook):
    def active():
        return sorted(s["nodeId"] for s in runbook.get("n1", "/slices") if s["artifact"] == CART and s["state"] == "ACTIVE")

    plan = applied(runbook, check_mode=True, artifact=CART, instances=3, cli=CLI)
    assert plan["changed"] and plan["actions"][0]["method"] == "CLI" and active() == []
    done = applied(runbook, artifact=CART, instances=3, cli=CLI)
    assert done["changed"] and done["actions"][0]["path"] == "blueprint update %s --instances=3" % CART and len(active()) == 3 and done["diff"] == plan["diff"]
    assert not applied(runbook, artifact=CART, instances=3, cli=CLI)["changed"]
    assert applied(runbook, artifact=CART, instances=2, cli=CLI)["changed"] and len(active()) == 2
    assert [r["code"] for r in refused(runbook, artifact=CART, instances=4, cli=CLI).data["refusals"]] == ["unplaceable"]
    assert [r["code"] for r in refused(runbook, artifact="org.example:cart:2.0.0", instances=2, cli=CLI).data["refusals"]] == ["swap"]
    assert refused(runbook, content=toml(cart=(1, 1)), cli=CLI).kind == "cannot"


def test_a_program_that_is_missing_says_no_or_does_nothing(runbook, tmp_path):
    assert "cannot be started" in refused(runbook, artifact=SHOP, instances=1, cli=str(tmp_path / "none")).message
    for name, body, kind, part in (("no", 'echo "Error: not today"', "write_failed", "not today"), ("idle", 'printf "%s\\n" "$@" > "$0.seen"', "not_settled", "0 of 1 active")):
        fake = tmp_path / name
        fake.write_text("#!/bin/sh\n%s\n" % body, encoding="utf-8")
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
        error = refused(runbook, artifact=SHOP, instances=1, cli=str(fake), timeout=0.3)
        assert error.kind == kind and part in error.message
    seen = (tmp_path / "idle.seen").read_text(encoding="utf-8").splitlines()
    assert seen[0] == "--host" and seen[1].startswith("127.0.0.1:") and seen[2:] == ["-c", "blueprint update %s --instances=1" % SHOP]


# --- the examples of the documentation, through both doors -------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[2]


def examples(module):
    source = (ROOT / "plugins" / "modules" / (module + ".py")).read_text(encoding="utf-8")
    return yaml.safe_load(source.split('EXAMPLES = r"""')[1].split('"""')[0])


def played(folder, cluster, *arguments, only=None):
    """Every example, or the first ``only`` of each module, twice, in their order; (exit code, output, changed of each task of the two rounds)."""
    tasks = []
    for module in ("aether_artifact", "aether_blueprint", "aether_info"):
        for turn in ("first", "second"):
            for number, example in enumerate(examples(module)[:only]):
                name = "pragmatica.aether." + module
                if name in example:
                    example[name]["endpoints"] = cluster.endpoint_list()
                    example.pop("delegate_to")
                    tasks.append(dict(example, name="%s %s %d" % (module, turn, number)))
    tasks = [t for t in tasks if "debug" not in str(list(t))]
    defaults = {"pragmatica.aether.aether_blueprint": {"stable_for": 0.1, "timeout": 10}}
    play = folder / "play.json"
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "module_defaults": defaults, "tasks": tasks}]), encoding="utf-8")
    environment = dict(os.environ, ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default", ANSIBLE_NOCOLOR="1", ANSIBLE_PYTHON_INTERPRETER=sys.executable)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "-e", json.dumps({"ansible_python_interpreter": sys.executable}), str(play)]
    done = subprocess.run(command + list(arguments), cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    changed, task = {}, ""
    for line in done.stdout.splitlines():
        task = line[6:line.index("]")] if line.startswith("TASK [") else task
        if line.startswith(("ok: ", "changed: ")):
            changed[task] = line.startswith("changed")
    return done.returncode, done.stdout + done.stderr, changed


@pytest.fixture
def folder(tmp_path):
    """What the examples name: a blueprint and a JAR."""
    (tmp_path / "shop.toml").write_text(toml("org.example:shop:1.0.0", cart=(2, 1)), encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "my-slice-1.0.0.jar", "w") as archive:
        archive.writestr("text", "a slice")
    return tmp_path


def test_every_example_works_and_changes_nothing_the_second_time(own, folder):
    own.request("POST", "n1", "/api/blueprint", toml("org.example:old:1.0.0", legacy=(1, 1)))
    own.wait(lambda: settled(own) and shown(own), "what the last example takes away")
    code, text, changed = played(folder, own)
    assert code == 0, text[-3000:]
    first = [t for t, c in changed.items() if c and " first " in t]
    # The example with data and the one that scales its slice undo each other; everything else is there the second time.
    assert len(first) == 5 and [t for t, c in changed.items() if c and " second " in t] == ["aether_blueprint second 1", "aether_blueprint second 2"]


def test_the_other_door_gives_the_same(own, folder):
    code, text, changed = played(folder, own, "-e", json.dumps({"aether_in_process": False}), only=1)
    assert code == 0, text[-3000:]
    assert [t for t, c in changed.items() if c] == ["aether_artifact first 0", "aether_blueprint first 0"] and len(changed) == 6


def test_every_example_in_check_mode_sends_no_write(own, folder, monkeypatch):
    own.request("POST", "n1", "/api/blueprint", toml("org.example:backoffice:1.0.0", invoices=(2, 1), reports=(1, 1)))
    own.wait(lambda: settled(own) and shown(own), "slices")
    written = []

    async def write(self, changes, timeout=None):
        written.append(changes)
        raise AssertionError("a write in check mode")

    monkeypatch.setattr(Api, "write", write)
    code, text, changed = played(folder, own, "--check")
    assert code == 0 and written == [] and changed["aether_blueprint first 0"], text[-3000:]
