# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a cluster: whose word about it counts, what of it cannot be given back, how it lies on disk, and what differs from it later."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils import client, saved, state
from ansible_collections.pragmatica.aether.plugins.module_utils.dialects.v1 import DEFAULT_THRESHOLDS
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import session
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import state as operation
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import state_info
from ansible_collections.pragmatica.aether.plugins.module_utils.state import Kept, Part, State
from fakes import run
from hypothesis import given
from hypothesis import strategies as st
from simnode.testing import SimCluster

CART, RELIC, SHOP, OLD = "org.example:cart:1.0.0", "org.example:relic:1.0.0", "org.example:shop:1.0.0", "org.example:old:1.0.0"
GREETER, APP = "com.example:greeter:1.0.0", "com.example:app:1.0.0"
TOML = 'id = "%s"\n[[slices]]\nartifact = "%s"\ninstances = %d\nminAvailable = %d\n'
NODE = '[app-http]\nenabled = false\n[cluster]\nenvironment = "local"\nnodes = 3\ntls = false\n[slice]\nrepositories = ["local", "builtin"]\n'
WHOLE = State(
    (Kept(SHOP, (Part(CART, 2, 1),)),), {CART: 3}, dict(DEFAULT_THRESHOLDS, **{"cpu.usage": (0.6, 0.9)}), {"org.example": "DEBUG"}, ("my.key",), {CART: ("aa", 1)},
)
EMPTY = State((), {}, dict(DEFAULT_THRESHOLDS))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(session, "SECOND_LOOK", 0.05)
    monkeypatch.setattr(client, "FIRST_BACK_OFF", 0.03)


# --- whose word counts ---------------------------------------------------------------------------------------------------


def test_the_largest_group_counts_and_the_others_are_named():
    old = replace(WHOLE, counts={CART: 2})
    found = state.agreement({"n1": old, "n2": WHOLE, "n3": WHOLE, "n4": EMPTY, "n5": EMPTY}, DEFAULT_THRESHOLDS)
    assert (found.state, found.members, found.tied) == (WHOLE, ("n2", "n3"), ())
    assert found.others == ((("n1",), ("instances of %s: 2, not 3" % CART,)), (("n4", "n5"), ("nothing at all",)))


def test_a_tie_is_told_and_is_broken_by_the_operator_alone():
    old = replace(WHOLE, counts={CART: 2})
    assert state.agreement({"n1": old, "n2": WHOLE}, DEFAULT_THRESHOLDS).tied == ("n2",)
    chosen = state.agreement({"n1": old, "n2": WHOLE}, DEFAULT_THRESHOLDS, "n2")
    assert (chosen.state, chosen.tied) == (WHOLE, ())


def test_whoever_hides_its_counts_belongs_to_those_that_show_the_rest_alike():
    hiding = replace(WHOLE, counts=None, blueprints=(Kept(SHOP, (Part(CART, 2),)),))
    found = state.agreement({"n1": hiding, "n2": WHOLE}, DEFAULT_THRESHOLDS)
    assert (found.state, found.members, found.others) == (WHOLE, ("n1", "n2"), ())
    assert state.agreement({"n1": hiding}, DEFAULT_THRESHOLDS).state.counts is None
    assert state.agreement({"n1": EMPTY}, DEFAULT_THRESHOLDS) is None


# --- what is lost --------------------------------------------------------------------------------------------------------


def test_what_the_api_does_not_give_back_is_named_until_it_is_supplied():
    assert [r.code for r in state.losses(WHOLE)] == ["override", "blueprint"]
    assert state.losses(WHOLE, [SHOP], ["my.key"]) == []
    hidden = replace(WHOLE, counts=None)
    orphan = replace(WHOLE, counts={CART: 2, RELIC: 1})
    asleep = replace(WHOLE, counts={})
    for seen, code, name in ((hidden, "counts", CART), (orphan, "orphan", RELIC), (asleep, "dormant", SHOP)):
        (loss,) = state.losses(seen, [SHOP], ["my.key"])
        assert loss.code == code and name in loss.sentence and loss.option == "aether_state_allow=%s" % code
    (loss,) = state.losses(WHOLE, [SHOP], ["my.key"], {CART: "n1: broken."})
    assert loss.code == "artifact" and "n1: broken." in loss.sentence
    assert [r.code for r in state.losses(EMPTY, blind=True)] == ["nothing"] and state.losses(EMPTY) == []


def test_a_supplied_file_must_say_what_the_cluster_has():
    def findings(text):
        return [r.sentence for r in state.file_refusals(WHOLE, [("'f'", state.Blueprint(SHOP, (state.Slice(CART, *text),)))])]

    assert findings((2, 1)) == []
    assert "cart:1.0.0 3, and the cluster has org.example:cart:1.0.0 2" in findings((3, 1))[0]
    assert "other minimums" in findings((2, 2))[0]
    assert "does not have" in state.file_refusals(EMPTY, [("'f'", state.Blueprint(SHOP, ()))])[0].sentence


# --- what differs --------------------------------------------------------------------------------------------------------


def steps(now, was=WHOLE):
    found = state.difference(was, now, DEFAULT_THRESHOLDS)
    return [(s.kind, s.name) for s in found.steps], found.newer


def test_an_empty_cluster_needs_all_of_it_in_an_order_that_works():
    assert steps(EMPTY) == ([("artifact", CART), ("threshold", "cpu.usage"), ("level", "org.example"), ("override", "my.key"), ("blueprint", SHOP), ("count", CART)], [])
    assert steps(WHOLE) == ([], [])


def test_one_that_is_half_put_back_needs_the_rest_and_a_newer_one_is_told():
    assert steps(replace(WHOLE, counts={CART: 2})) == ([("count", CART)], [])
    for now, words in (
        (replace(WHOLE, counts={CART: 5}), "%s: 5 wanted, saved 3" % CART),
        (replace(WHOLE, blueprints=(Kept(SHOP, (Part(CART, 4, 1),)),)), "blueprint %s: %s 4 (at least 1), saved %s 2 (at least 1)" % (SHOP, CART, CART)),
        (replace(WHOLE, blueprints=WHOLE.blueprints + (Kept(OLD, (Part(RELIC, 1, 1),)),)), "blueprint %s: %s 1 (at least 1), saved none" % (OLD, RELIC)),
        (replace(WHOLE, thresholds=dict(DEFAULT_THRESHOLDS, **{"cpu.usage": (0.5, 0.8)})), "threshold cpu.usage: 0.5/0.8, saved 0.6/0.9"),
        (replace(WHOLE, levels={"org.example": "INFO"}), "logging level org.example: INFO, saved DEBUG"),
        (replace(WHOLE, artifacts={CART: ("bb", 1)}), "artifact %s: other content in the repository, sha1 bb, saved aa" % CART),
    ):
        assert steps(now) == ([], [words])


def test_a_default_threshold_that_was_deleted_is_deleted_again():
    without = replace(EMPTY, thresholds={"heap.usage": DEFAULT_THRESHOLDS["heap.usage"]})
    assert steps(EMPTY, without) == ([("no_threshold", "cpu.usage")], [])


NAMES = st.sampled_from([SHOP, OLD])
ANY = st.builds(
    State,
    st.lists(st.builds(Kept, NAMES, st.just((Part(CART, 2, 1),))), max_size=2, unique_by=lambda b: b.id).map(tuple),
    st.one_of(st.none(), st.dictionaries(st.sampled_from([CART, RELIC]), st.integers(1, 5))),
    st.dictionaries(st.sampled_from(["cpu.usage", "heap.usage", "x"]), st.tuples(st.just(0.5), st.just(0.9))),
    st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["INFO", "DEBUG"])),
    st.lists(st.sampled_from(["k", "l"]), max_size=2, unique=True).map(sorted).map(tuple),
    st.dictionaries(st.sampled_from([CART]), st.tuples(st.sampled_from(["aa", "bb"]), st.just(1))),
)


@given(ANY, ANY)
def test_nothing_differs_from_itself_and_every_difference_is_put_back_or_told(one, other):
    assert state.difference(one, one, DEFAULT_THRESHOLDS).nothing
    assert state.from_data(json.loads(json.dumps(state.as_data(one)))) == one
    found = state.difference(one, other, DEFAULT_THRESHOLDS)
    assert len({(s.kind, s.name) for s in found.all_steps()}) == len(found.all_steps())
    # A JAR more in the repository is in nobody's way, and goes with the blueprint that names it, of which it is told.
    jars = {a: told for a, told in other.artifacts.items() if a in one.artifacts}
    if state.differing(replace(one, counts={}), replace(other, counts={}, artifacts=jars)):
        assert found.sentences()


# --- on disk ---------------------------------------------------------------------------------------------------------------

ABOUT = {"cluster": "aether", "at": "2026-11-29T00:00:00Z", "api": "v1", "voters": ["n1"], "endpoints": ["http://n1"], "members": ["n1"], "left_out": [], "others": []}


def written(path, content=b"jar"):
    import hashlib

    whole = replace(WHOLE, artifacts={CART: (hashlib.sha1(b"jar").hexdigest(), 3)})
    with saved.Writer(str(path)) as writer:
        writer.file(saved.file_of("artifacts", CART, "jar"), lambda take: take(content))
        writer.finish(ABOUT, whole, {SHOP: state.text_of(WHOLE.blueprints[0])})
    return path


def test_a_directory_is_read_back_whole_and_is_the_owners_alone(tmp_path):
    found = saved.read(str(written(tmp_path / "one")))
    assert found.state.counts == {CART: 3} and found.phase == "saved" and "minAvailable = 1" in found.texts[SHOP]
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "one").rglob("*") if p.is_file()} == {0o600}
    assert not (tmp_path / "one.part").exists()


@pytest.mark.parametrize("damage", ["manifest.json", "state.json", "blueprints/org.example_shop_1.0.0.toml", "artifacts/org.example_cart_1.0.0.jar"])
def test_a_directory_that_lacks_a_file_or_has_another_one_is_no_state(tmp_path, damage):
    for spoil in (Path.unlink, lambda p: p.write_bytes(p.read_bytes()[:-1] + b"?")):
        path = written(tmp_path / "one")
        spoil(path / damage)
        with pytest.raises(AetherError) as caught:
            saved.read(str(path))
        assert caught.value.kind == "incomplete" and "Nothing is put back" in caught.value.message
        shutil.rmtree(path)


def test_a_jar_with_another_sha1_than_the_repository_said_is_no_state(tmp_path):
    with pytest.raises(AetherError) as caught:
        saved.read(str(written(tmp_path / "one", b"raj")))
    assert "has not the SHA-1" in caught.value.message


KILLED = """
import os, signal, sys
from ansible_collections.pragmatica.aether.plugins.module_utils import saved
left = int(sys.argv[2])
def counting(name):
    real = getattr(os, name)
    def call(*a, **k):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*a, **k)
    setattr(os, name, call)
for name in ("mkdir", "open", "fsync", "rename"):
    counting(name)
sys.path.insert(0, %r)
import test_state
from pathlib import Path
test_state.written(Path(sys.argv[1]))
saved.note(sys.argv[1], "stopping", 1.0)
""" % str(Path(__file__).parent)


def test_killed_at_any_step_there_is_a_whole_state_or_none(tmp_path):
    """SIGKILL before each of the calls that leave something on disk."""
    ended, path = [], tmp_path / "one"
    for step in range(0, 60, 3):
        shutil.rmtree(path, ignore_errors=True)
        done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(step)], env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)), check=False)
        assert done.returncode in (0, -signal.SIGKILL)
        if path.exists():
            assert saved.read(str(path)).state.counts == {CART: 3}
        else:
            assert [e["complete"] for e in saved.listing(str(tmp_path))] in ([], [False])
        ended.append((done.returncode == 0, path.exists()))
        if done.returncode == 0:
            break
    assert {(False, False), (False, True), (True, True)} <= set(ended), ended


def test_the_journal_tells_how_far_it_is_and_how_long_it_took(tmp_path):
    path = str(written(tmp_path / "one"))
    ours = ["http://n1", "http://n2"]
    assert saved.unfinished(saved.listing(str(tmp_path)), "aether", ours) is None
    saved.note(path, "stopping", 100.0)
    assert saved.unfinished(saved.listing(str(tmp_path)), "aether", ours)["path"] == path
    assert saved.unfinished(saved.listing(str(tmp_path)), "other", ours) is None and saved.unfinished(saved.listing(str(tmp_path)), "aether", ["http://x"]) is None
    assert saved.downtime(saved.read_journal(path)) is None
    saved.note(path, "restored", 130.0, active_at=121.5)
    assert saved.downtime(saved.read(path).journal) == 21.5 and saved.unfinished(saved.listing(str(tmp_path)), "aether", ours) is None


# --- of a cluster ------------------------------------------------------------------------------------------------------------


def form(cluster):
    for position, node in enumerate(cluster.ids):
        cluster.start(node, toml=NODE)
        cluster.wait(lambda: cluster.get(node, "/api/health")["connectedPeers"] >= position, node)
    cluster.wait(lambda: all(cluster.sees_all(n, cluster.ids) for n in cluster.ids), "all")


def jar_bytes(folder):
    with zipfile.ZipFile(folder / "g.jar", "w") as archive:
        archive.writestr(zipfile.ZipInfo("text"), "one")
    return (folder / "g.jar").read_bytes()


def fill(cluster, folder):
    """Something of everything: a scaled slice, a JAR in the repository, a threshold, one that is deleted, a level and an override."""
    assert cluster.request("PUT", "n1", "/repository/com/example/greeter/1.0.0/greeter-1.0.0.jar", jar_bytes(folder))[0] == 201
    for text in (TOML % (SHOP, CART, 2, 1), TOML % (APP, GREETER, 1, 1)):
        assert cluster.request("POST", "n1", "/api/blueprint", text)[0] == 200
    cluster.post("n1", "/api/scale", {"artifact": CART, "instances": 3})
    cluster.post("n1", "/api/thresholds", {"metric": "cpu.usage", "warning": 0.6, "critical": 0.8})
    cluster.request("DELETE", "n1", "/api/thresholds/heap.usage")
    cluster.post("n1", "/api/logging/levels", {"logger": "org.example", "level": "DEBUG"})
    cluster.post("n1", "/api/config", {"key": "my.key", "value": "word"})
    cluster.wait(lambda: all(len([i for s in cluster.get(n, "/api/slices")["slices"] for i in s["instances"] if i["state"] == "ACTIVE"]) == 4 for n in cluster.ids), "active")


@pytest.fixture
def full(tmp_path):
    with SimCluster(3) as cluster:
        form(cluster)
        fill(cluster, tmp_path)
        yield cluster


def save(cluster, path, **options):
    return run(operation, cluster, state="saved", path=str(path), **dict({"allow": ["blueprint"], "overrides": {"my.key": "word"}}, **options))


def restore(cluster, path, **options):
    return run(operation, cluster, path=str(path), **dict({"overrides": {"my.key": "word"}, "timeout": 10.0, "stable_for": 0.1}, **options))


def failing(call, *arguments, **options):
    with pytest.raises(AetherError) as caught:
        call(*arguments, **options)
    return caught.value


def restart(cluster):
    for node in cluster.ids:
        cluster.terminate(node)
    for node in cluster.ids:
        cluster.stop(node)
    form(cluster)


def test_what_was_saved_is_back_after_a_full_restart(full, tmp_path):
    plan = save(full, tmp_path / "s", check_mode=True)
    assert plan["changed"] and not (tmp_path / "s").exists()
    done = save(full, tmp_path / "s")
    assert done["changed"] and "2 blueprints, 2 slices, 1 threshold, 1 logging level, 1 configuration override, 1 artifact" in done["msg"] and done["actions"] == []
    assert not save(full, tmp_path / "s")["changed"]
    info = run(state_info, full, path=str(tmp_path / "s"))
    assert info["equal"] and info["newer"] == [] and info["members"] == full.ids
    nothing = restore(full, tmp_path / "s")
    assert not nothing["changed"] and "Nothing differs" in nothing["msg"]
    restart(full)
    assert full.get("n1", "/api/blueprints") == {}
    saved.note(str(tmp_path / "s"), "stopping", 1.0)
    planned = restore(full, tmp_path / "s", check_mode=True)
    assert full.get("n1", "/api/blueprints") == {} and not any(a["sent"] for a in planned["actions"])
    back = restore(full, tmp_path / "s")
    assert back["changed"] and back["downtime_seconds"] > 1 and "Every slice is active" in back["msg"]
    assert run(state_info, full, path=str(tmp_path / "s"))["equal"]
    assert {s["artifact"]: s["targetInstances"] for s in full.get("n3", "/api/slices")["slices"]} == {CART: 3, GREETER: 1}
    assert full.get("n2", "/api/thresholds") == {"cpu.usage": {"warning": 0.6, "critical": 0.8}} and full.get("n3", "/api/logging/levels") == {"org.example": "DEBUG"}
    assert not restore(full, tmp_path / "s")["changed"]
    assert "word" not in json.dumps([done, planned, back]) and b"word" not in b"".join(p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file())


def test_what_is_not_supplied_is_refused_by_name(full, tmp_path):
    error = failing(save, full, tmp_path / "s", allow=[], overrides={})
    assert error.kind == "refused" and all(name in error.message for name in ("my.key", SHOP, APP, "aether_overrides", "aether_blueprint_files"))
    files = []
    for name, text in ((SHOP, TOML % (SHOP, CART, 2, 1) + "\n[extra]\nword = 1\n"), (APP, TOML % (APP, GREETER, 1, 1))):
        files.append(tmp_path / (name.split(":")[1] + ".toml"))
        files[-1].write_text(text, encoding="utf-8")
    assert save(full, tmp_path / "s", allow=[], blueprint_files=[str(f) for f in files])["changed"]
    assert "[extra]" in saved.read(str(tmp_path / "s")).texts[SHOP]
    assert "cannot be read" in failing(save, full, tmp_path / "t", blueprint_files=["/nowhere"]).message


@pytest.fixture
def slow(tmp_path):
    """The same, with 11.7 s until a survivor sees that it is alone."""
    with SimCluster(3, time_factor=0.1) as cluster:
        form(cluster)
        fill(cluster, tmp_path)
        yield cluster


def test_without_a_majority_the_survivor_is_enough_and_hidden_counts_are_told(slow, tmp_path):
    full = slow
    for node in ("n1", "n2"):
        full.kill(node)
    done = save(full, tmp_path / "s")  # it does not know yet
    assert done["members"] == ["n3"] and saved.read(str(tmp_path / "s")).state.counts == {CART: 3, GREETER: 1}
    full.wait(lambda: full.request("GET", "n3", "/health/ready")[0] == 503, "n3 to see that it is alone")
    error = failing(save, full, tmp_path / "t")
    assert error.kind == "refused" and "aether_state_allow=counts" in error.message and not (tmp_path / "t").exists()
    assert save(full, tmp_path / "t", allow=["blueprint", "counts"])["changed"]
    table = run(state_info, full)["table"]
    assert any(line.startswith("n1") and "does not answer" in line for line in table) and any(line.startswith("n3") and "hidden" in line for line in table)


def test_nobody_answers(full, tmp_path):
    for node in full.ids:
        full.kill(node)
    assert failing(save, full, tmp_path / "s").kind == "nobody" and not (tmp_path / "s").exists()
    assert run(state_info, full)["state"] is None


def test_an_empty_answer_of_somebody_without_quorum_is_not_taken_for_an_empty_cluster(tmp_path):
    with SimCluster(3) as cluster:
        cluster.start("n1")
        cluster.wait(lambda: cluster.request("GET", "n1", "/health/ready")[0] == 503, "n1 to answer")
        error = failing(save, cluster, tmp_path / "s")
        assert error.kind == "refused" and "what the cluster has cannot be told" in error.message and not (tmp_path / "s").exists()


def test_members_that_disagree(full, tmp_path):
    full.cut(["n3"], ["n1", "n2"])  # else they would mend it
    full.nodes["n3"].store.apply({"threshold/cpu.usage": {"warning": 0.1, "critical": 0.2}}, (10**6, "n3"))
    anyhow = {"allow": ["blueprint", "counts"], "read_timeout": 5.0}  # it may know by now that it is alone
    done = save(full, tmp_path / "s", **anyhow)
    assert done["members"] == ["n1", "n2"] and done["others"] == [{"members": ["n3"], "difference": ["threshold cpu.usage: 0.1/0.2, not 0.6/0.8"]}]
    assert saved.read(str(tmp_path / "s")).about["others"] == done["others"]
    full.kill("n1")
    error = failing(save, full, tmp_path / "t", **anyhow)
    assert "aether_state_source=ID" in error.message and not (tmp_path / "t").exists()
    assert save(full, tmp_path / "t", source="n3", **anyhow)["members"] == ["n3"]
    assert failing(save, full, tmp_path / "u", source="n9").kind == "bad_input"


def test_a_jar_that_cannot_be_read_or_is_another_comes_from_another_member_or_is_refused_by_name(full, tmp_path):
    full.set("n1", unreadable_jar="greeter")
    full.set("n2", broken_jar="greeter")
    assert save(full, tmp_path / "s")["changed"]
    full.set("n3", broken_jar="greeter")
    error = failing(save, full, tmp_path / "t")
    assert GREETER in error.message and "gives other bytes" in error.message and "cannot be read" in error.message and "aether_state_allow=artifact" in error.message
    assert not (tmp_path / "t").exists() and not (tmp_path / "t.part").exists()
    done = save(full, tmp_path / "t", allow=["blueprint", "artifact"])
    assert "LOST with it, as allowed: %s" % GREETER in done["msg"]


def test_newer_state_is_refused_with_the_difference_and_replaced_where_that_is_wanted(full, tmp_path):
    save(full, tmp_path / "s")
    full.post("n1", "/api/thresholds", {"metric": "cpu.usage", "warning": 0.3, "critical": 0.4})
    full.post("n1", "/api/scale", {"artifact": CART, "instances": 1})
    error, told = failing(restore, full, tmp_path / "s"), failing(restore, full, tmp_path / "s", check_mode=True)
    assert error.message == told.message and "threshold cpu.usage: 0.3/0.4, saved 0.6/0.8" in error.message and "%s: 1 wanted, saved 3" % CART in error.message
    assert full.get("n1", "/api/thresholds")["cpu.usage"]["warning"] == 0.3
    assert "another state" in failing(save, full, tmp_path / "s").message
    assert restore(full, tmp_path / "s", overwrite=True)["changed"] and run(state_info, full, path=str(tmp_path / "s"))["equal"]


def test_an_interrupted_restore_is_gone_on_with(full, tmp_path):
    save(full, tmp_path / "s")
    restart(full)
    full.request("POST", "n1", "/api/blueprint", TOML % (SHOP, CART, 2, 1))  # applied, and not scaled yet
    done = restore(full, tmp_path / "s")
    assert not any(a["path"] == "/api/blueprint" and SHOP in a["why"] for a in done["actions"]) and run(state_info, full, path=str(tmp_path / "s"))["equal"]


def test_an_error_after_the_write_is_no_failure_and_no_second_write(full, tmp_path):
    save(full, tmp_path / "s")
    restart(full)
    for node in full.ids:
        full.set(node, error_but_applied=True)
    done = restore(full, tmp_path / "s")
    assert len(done["actions"]) == len(done["restored"]) and run(state_info, full, path=str(tmp_path / "s"))["equal"]


def test_overrides_have_to_be_given_again(full, tmp_path):
    save(full, tmp_path / "s")
    restart(full)
    error = failing(restore, full, tmp_path / "s", overrides={})
    assert error.kind == "refused" and "my.key" in error.message and full.get("n1", "/api/blueprints") == {}


def test_no_majority_nothing_is_put_back(full, tmp_path):
    save(full, tmp_path / "s")
    for node in ("n1", "n2"):
        full.kill(node)
    full.wait(lambda: full.request("GET", "n3", "/health/ready")[0] == 503, "n3 to see that it is alone")
    full.nodes["n3"].store.entries["threshold/cpu.usage"] = (None, (10**6, "n3"))
    assert failing(restore, full, tmp_path / "s").kind in ("refused", "nobody")


def test_the_runbooks_api_and_bad_input_are_refused_in_a_sentence(tmp_path):
    with SimCluster(3, api="runbook") as cluster:
        cluster.start_all()
        for call in (lambda: save(cluster, tmp_path / "s"), lambda: restore(cluster, tmp_path / "s"), lambda: run(state_info, cluster)):
            error = failing(call)
            assert error.kind == "cannot" and "'runbook' shows no blueprints" in error.message
        assert failing(run, operation, cluster, state="noted", path=str(tmp_path)).kind == "bad_input"
