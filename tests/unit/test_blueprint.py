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
from simnode.api import Api, Failure
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
    monkeypatch.setattr(blueprint, "SHOWS_AFTER", 0.5)
    monkeypatch.setattr(blueprint, "TAKE_BACK_TIMEOUT", 10.0)
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


def test_a_key_that_may_too_little_is_refused_before_anything_is_touched():
    """Scaling takes the role OPERATOR, whole blueprints take ADMIN (docs/product.md 7)."""
    keys = {"reading-key-000000": "VIEWER", "drain-key-00000000": "OPERATOR", "admin-key-00000000": "ADMIN"}
    with SimCluster(3, api_keys=keys) as cluster:
        cluster.key = "admin-key-00000000"
        cluster.start_all()
        scaling, another = {"artifact": CART, "instances": 3}, {"content": toml(cart=(1, 1))}
        assert applied(cluster, api_key="admin-key-00000000", content=toml(cart=(2, 1)))["changed"]
        before = {n: node.store.entries.copy() for n, node in cluster.nodes.items()}
        for key, request, role in (
            ("reading-key-000000", scaling, "OPERATOR"), ("reading-key-000000", another, "ADMIN"), ("drain-key-00000000", another, "ADMIN"),
            ("drain-key-00000000", {"state": "absent", "id": ID}, "ADMIN"),
        ):
            for check_mode in (True, False):
                error = refused(cluster, api_key=key, check_mode=check_mode, **request)
                assert error.kind == "refused" and [r["code"] for r in error.data["refusals"]] == ["key"] and "the role %s: n" % role in error.message, error.message
        assert not applied(cluster, api_key="reading-key-000000", content=toml(cart=(2, 1)))["changed"]  # where nothing differs nothing is asked for
        assert {n: node.store.entries for n, node in cluster.nodes.items()} == before
        assert applied(cluster, api_key="drain-key-00000000", **scaling)["changed"]
        assert applied(cluster, api_key="admin-key-00000000", state="absent", id=ID)["changed"]


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


def test_a_member_is_asked_as_well_and_what_it_says_is_a_refusal_in_check_mode_too(three, monkeypatch):
    monkeypatch.setattr(v1, "validate", lambda asker, endpoint, text: (["No room for %s." % text.split('"')[1]], ["It is big."]))
    for check_mode in (True, False):
        error = refused(three, check_mode=check_mode, content=toml(cart=(2, 1)))
        assert [r["code"] for r in error.data["refusals"]] == ["invalid"] and "No room for %s." % ID in error.message and error.data["result"]["remarks"][-1] == "It is big." and ids(three) == []
    error = refused(three, content=toml(cart=(2, 1)), validate_only=True)
    assert error.kind == "bad_input" and error.data["findings"] == ["No room for %s." % ID]


def test_the_members_own_word_on_a_blueprint_is_asked_without_a_write(three):
    asker = Client([Endpoint(three.endpoints["n1"])], allow_writes=False)
    assert v1.validate(asker, asker.endpoints[0], toml(cart=(2, 1))) == ([], [])
    assert "minAvailable must be" in v1.validate(asker, asker.endpoints[0], toml(cart=(2, 3)))[0][0]
    asker.close()


def test_check_mode_says_what_only_the_attempt_will_tell(three):
    plan = applied(three, check_mode=True, content=toml(cart=(2, 1)))
    assert len(plan["remarks"]) == 1 and "%s is not in the cluster's repository" % CART in plan["msg"]
    assert applied(three, content=toml(cart=(2, 1)))["remarks"] == []


def test_it_is_true_for_as_long_as_asked(three):
    given(three, cart=(1, 1))
    done = applied(three, artifact=CART, instances=2, stable_for=0.5)
    assert done["waited"]["seconds"] >= done["true_after"] + 0.45


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


def test_what_is_rejected_is_deleted_when_the_deadline_is_short_and_when_the_answer_was_an_error(three):
    for node in three.ids:
        three.set(node, reject_blueprint=True)
    assert refused(three, content=toml(cart=(2, 1)), timeout=0.1).kind == "rejected" and ids(three) == []
    for node in three.ids:
        three.set(node, error_but_applied=True)
    error = refused(three, content=toml(cart=(2, 1)))
    assert error.kind == "rejected" and len([a for a in error.data["result"]["actions"] if a["method"] == "POST"]) == 1 and ids(three) == []


@pytest.mark.parametrize("theirs", [1, 2])
def test_a_slice_that_another_blueprint_takes_at_the_same_moment(three, monkeypatch, theirs):
    original = blueprint.Work.apply

    def late(self, wanted):
        # The other controller is faster, after this one has looked.
        given(three, cart=(theirs, 1))
        original(self, wanted)

    monkeypatch.setattr(blueprint.Work, "apply", late)
    error = refused(three, content=toml(OTHER, cart=(2, 1), shop=(1, 1)))
    if theirs == 1:
        assert error.kind == "rejected" and "the blueprint %s has it since" % ID in error.message and error.data["artifacts"] == [CART] and error.data["rolled_back"]
        assert ids(three) == [ID] and list(shown(three)) == [CART] and count(three) == 1
    else:
        # With the same count nothing tells whose it is, so nothing is deleted.
        assert error.kind == "overruled" and "in the blueprint %s as well" % ID in error.message and sorted(ids(three)) == [ID, OTHER]


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


@pytest.mark.parametrize("downtime", [False, True])
def test_a_slice_that_was_added_and_fails_goes_only_with_downtime_and_is_named_without(three, downtime):
    given(three, cart=(2, 1))
    applied(three, artifact=CART, instances=3)
    for node in three.ids:
        three.set(node, slice_fail="shop")
    error = refused(three, content=toml(cart=(2, 1), shop=(1, 1)), rollback_on_failure=True, allow_downtime=downtime)
    assert error.kind == "failed" and error.data["rolled_back"] is downtime and count(three) == 3 and len(three.get("n1", "/api/blueprint/" + ID)["slices"]) == 1
    assert (SHOP in shown(three)) is not downtime and ("%s was added and stays" % SHOP in error.message) is not downtime


def test_a_version_that_fails_gives_way_to_the_one_before(three):
    given(three, cart=(2, 1))
    for node in three.ids:
        three.set(node, slice_fail="cart:2")
    two = [{"artifact": "org.example:cart:2.0.0", "instances": 2, "min_available": 1}]
    error = refused(three, id=ID, slices=two, allow_swap=True, rollback_on_failure=True)
    assert error.kind == "failed" and error.data["rolled_back"] is True and list(shown(three)) == [CART] and count(three) == 2 and settled(three)


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


def test_slices_that_stay_when_their_blueprint_is_deleted_end_with_what_may_help(three, monkeypatch):
    given(three, cart=(2, 1))
    monkeypatch.setattr(blueprint, "TAKE_BACK_TIMEOUT", 0.2)
    monkeypatch.setattr(blueprint.slices, "lacking", lambda observation, verdict, plan: ["%s is still there" % CART])
    error = refused(three, id=ID, state="absent", timeout=0.2)
    assert error.kind == "not_settled" and "autoscaler" in error.message and "rolled_back" not in error.data
    given(three, cart=(2, 1))
    error = refused(three, id=ID, slices=entries(shop=(1, 1)), prune=True, allow_downtime=True, timeout=0.2)
    assert error.kind == "not_settled" and "autoscaler" in error.message and error.data["rolled_back"] is False and count(three) == 2


def test_an_error_that_was_applied_is_no_error_and_is_not_sent_twice(three):
    given(three, cart=(2, 1))
    for node in three.ids:
        three.set(node, error_but_applied=True)
    done = applied(three, artifact=CART, instances=3)
    assert done["changed"] and len(done["actions"]) == 1 and count(three) == 3 and settled(three)
    assert applied(three, content=toml(cart=(1, 1)))["changed"] and count(three) == 1


@pytest.mark.parametrize("wanted,change", [((2, 2), "at least 1 -> at least 2"), ((3, 1), "in the blueprint")])
def test_a_write_that_was_refused_is_not_taken_for_one_that_took_effect(three, monkeypatch, wanted, change):
    """Neither a minimum nor the count that is kept shows in the wanted counts, which are as they should be."""
    given(three, cart=(2, 1))
    if wanted[0] == 3:
        applied(three, artifact=CART, instances=3)
    kept = three.get("n1", "/api/blueprint/" + ID)

    async def no(self, changes, timeout=None):
        raise Failure("Promise timed out after 10000ms")

    with monkeypatch.context() as patch:
        patch.setattr(Api, "write", no)
        error = refused(three, content=toml(cart=wanted))
    assert error.kind == "write_failed" and "Promise timed out" in error.message and three.get("n1", "/api/blueprint/" + ID) == kept
    assert change in "".join(applied(three, content=toml(cart=wanted))["blueprint"]["changes"])


def test_a_lost_answer_to_a_blueprint_is_read_again(three):
    for node in three.ids:
        three.set(node, hang_writes="after")
    done = applied(three, content=toml(cart=(2, 1)), read_timeout=0.3)
    assert done["changed"] and [a["method"] for a in done["actions"]] == ["POST"] and settled(three) and count(three) == 2
    gone = applied(three, id=ID, state="absent", read_timeout=0.3)
    assert [a["method"] for a in gone["actions"]] == ["DELETE"] and ids(three) == [] and shown(three) == {}


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
    two = "org.example:cart:2.0.0"
    assert [r["code"] for r in refused(runbook, artifact=two, instances=1, cli=CLI).data["refusals"]] == ["swap"]
    plan = applied(runbook, check_mode=True, artifact=two, instances=1, cli=CLI, allow_swap=True)
    swapped = applied(runbook, artifact=two, instances=1, cli=CLI, allow_swap=True)
    assert swapped["diff"] == plan["diff"] and yaml.safe_load(plan["diff"]["before"]) == {"slices": [{"artifact": CART, "instances": 2}]}
    assert yaml.safe_load(plan["diff"]["after"]) == {"slices": [{"artifact": two, "instances": 1}]}
    assert active() == [] and not applied(runbook, artifact=two, instances=1, cli=CLI)["changed"]
    for node in runbook.ids:
        runbook.set(node, slice_fail="cart:1")
    error = refused(runbook, artifact=CART, instances=2, cli=CLI, allow_swap=True, rollback_on_failure=True)
    assert error.kind == "failed" and error.data["rolled_back"] is True and {s["artifact"] for s in runbook.get("n1", "/slices")} == {two}
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


def program(folder, *lines):
    path = folder / "aether-cli"
    path.write_text("#!/bin/sh\n%s\n" % "\n".join(lines), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_an_error_of_the_program_that_was_applied_is_no_error_and_is_not_repeated(runbook, tmp_path, monkeypatch):
    name = "org.example:late:1.0.0"
    monkeypatch.setattr(blueprint, "SHOWS_AFTER", 10.0)
    late = program(tmp_path, "echo x >> %s/calls" % tmp_path, "(sleep 0.2; %s %s \"$@\" >/dev/null 2>&1) &" % (sys.executable, CLI), 'echo "Error: Promise timed out after 10000ms"', "exit 1")
    done = applied(runbook, artifact=name, instances=2, cli=late)
    assert done["changed"] and sorted(done["instances"][name].values()) == ["ACTIVE"] * 2 and (tmp_path / "calls").read_text(encoding="utf-8") == "x\n"


def test_somebody_else_who_wants_more_on_the_runbooks_api_is_reported_and_not_fought(runbook, tmp_path):
    name = "org.example:both:1.0.0"
    both = program(tmp_path, '%s %s "$@"' % (sys.executable, CLI), '%s %s --host "$2" -c "blueprint update %s --instances=3" >/dev/null' % (sys.executable, CLI, name))
    error = refused(runbook, artifact=name, instances=1, cli=both, timeout=1.5, rollback_on_failure=True)
    assert error.kind == "overruled" and (error.data["wanted"], error.data["shown"]) == (1, 3) and "rolled_back" not in error.data
    assert len([s for s in runbook.get("n1", "/slices") if s["artifact"] == name]) == 3


def test_what_the_runbooks_api_rejects_without_a_word_is_named_at_the_deadline(runbook):
    for node in runbook.ids:
        runbook.set(node, reject_blueprint=True)
    error = refused(runbook, artifact="org.example:never:1.0.0", instances=2, cli=CLI, timeout=0.5)
    for node in runbook.ids:
        runbook.set(node, reject_blueprint=False)
    assert error.kind == "not_settled" and "0 of 2 active" in error.message and "The program said: org.example:never:1.0.0 is to have 2 instances." in error.message


# --- the examples of the documentation, through both doors -------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[2]


def examples(module):
    source = (ROOT / "plugins" / "modules" / (module + ".py")).read_text(encoding="utf-8")
    return yaml.safe_load(source.split('EXAMPLES = r"""')[1].split('"""')[0])


def played(folder, cluster, *arguments, only=None):
    """Every example, or the first ``only`` of each module, in their order and each twice; (exit code, output, changed of each task)."""
    tasks = []
    for module in ("aether_artifact", "aether_blueprint", "aether_info"):
        for number, example in enumerate(examples(module)[:only]):
            if "pragmatica.aether." + module in example:
                example["pragmatica.aether." + module]["endpoints"] = cluster.endpoint_list()
                example.pop("delegate_to")
            tasks += [dict(example, name="%s %s %d" % (module, turn, number)) for turn in ("first", "second")]
    return obeyed(folder, tasks, *arguments)


def obeyed(folder, tasks, *arguments):
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
    assert len(changed) == 2 * sum(len(examples(m)) for m in ("aether_artifact", "aether_blueprint", "aether_info"))
    assert first == ["aether_artifact first 0"] + ["aether_blueprint first %d" % n for n in (0, 1, 2, 4)] and not [t for t, c in changed.items() if c and " second " in t]


def test_the_other_door_gives_the_same(own, folder):
    code, text, changed = played(folder, own, "-e", json.dumps({"aether_in_process": False}), only=1)
    assert code == 0, text[-3000:]
    assert [t for t, c in changed.items() if c] == ["aether_artifact first 0", "aether_blueprint first 0"] and len(changed) == 6


def test_both_doors_scale_on_the_runbooks_api_and_send_nothing_in_check_mode(runbook, folder):
    tasks = []
    for count, in_process in ((1, True), (2, False)):
        options = {"artifact": "org.example:doors:1.0.0", "instances": count, "cli": CLI, "endpoints": runbook.endpoint_list()}
        for turn in ("checked", "first", "second"):
            tasks.append({"name": "%s %d" % (turn, count), "pragmatica.aether.aether_blueprint": options, "check_mode": turn == "checked", "vars": {"aether_in_process": in_process}})
    code, text, changed = obeyed(folder, tasks)
    assert code == 0, text[-3000:]
    assert changed == {"%s %d" % (t, n): t != "second" for n in (1, 2) for t in ("checked", "first", "second")}
    assert len([s for s in runbook.get("n1", "/slices") if s["artifact"] == "org.example:doors:1.0.0"]) == 2


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
