# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All nodes are stopped at once and start without state: what was saved is back at the end, whatever went wrong on the way, and nothing saved is lost.

There is no majority to be kept here, so no witness watches; what counts is the state, read from every member by code of the tests' own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading

import hosts as sandbox
import pytest
from lab import ROOT
from test_rolling import since

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
MEMBERS = FIVE
CART = "org.example:cart:1.0.0"
JAR = "/repository/org/example/cart/1.0.0/cart-1.0.0.jar"
BLUEPRINT = str(ROOT / "tests" / "sandbox" / "blueprint.toml")


def states(lab):
    """The directory of saved states, which goes with the lab."""
    return lab.folder / "states"


def given(lab, **more):
    return dict(dict(aether_yes=True, aether_state_dir=str(states(lab)), aether_blueprint_files=[BLUEPRINT]), **more)


def saved(lab):
    """(name, phases of its journal) of every complete state, the oldest first."""
    found = sorted(p.parent for p in states(lab).glob("*/manifest.json") if p.parent.suffix != ".part")
    return [(p.name, [e["phase"] for e in json.loads((p / "journal.json").read_text(encoding="utf-8"))]) for p in found]


def whole(lab, host):
    """Everything that the cluster was given, as ``host`` shows it."""
    slices = lab.get(host, "/api/slices").get("slices", [])
    return {
        "blueprints": {b["id"]: sorted((s["artifact"], s["instances"]) for s in lab.get(host, "/api/blueprint/" + b["id"])["slices"]) for b in lab.get(host, "/api/blueprints").get("blueprints", [])},
        "counts": {s["artifact"]: (s["targetInstances"], s["minInstances"]) for s in slices},
        "thresholds": lab.get(host, "/api/thresholds"), "levels": lab.get(host, "/api/logging/levels"),
        "jar": lab.get(host, "/repository/info/org/example/cart/1.0.0")["sha1"],
    }


@pytest.fixture
def full(lab):
    """Five members, with a slice that was scaled, a level, and a JAR in the repository; ``lab.was`` is what there is."""
    shutil.rmtree(states(lab), ignore_errors=True)
    lab.request("PUT", "n1", JAR, "the bytes of cart")
    lab.request("POST", "n1", "/api/scale", json.dumps({"artifact": CART, "instances": 3}))
    lab.request("POST", "n1", "/api/logging/levels", json.dumps({"logger": "org.example", "level": "DEBUG"}))
    lab.wait(lambda: all(lab.active(h) == 6 and whole(lab, h) == whole(lab, "n1") for h in FIVE), "everyone to have all of it")
    lab.was = whole(lab, "n1")
    return lab


def back(lab, hosts=FIVE):
    """Is all of it back, on the members that are to be, and active?"""
    assert all(lab.runs(h) == (h in hosts) for h in FIVE)
    assert {h: whole(lab, h) for h in hosts} == {h: lab.was for h in hosts} and lab.lists(hosts) == {h: list(hosts) for h in hosts}
    assert all(lab.active(h) == 6 for h in hosts)


def untouched(lab, starts):
    assert {h: since(lab, h) for h in FIVE} == starts and whole(lab, "n1") == lab.was


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)


def test_several_voters_fewer_at_once(full):
    lab = full
    plan = lab.play("remove_node", FIVE, "--check", given=given(lab, aether_remove="n5,n4", aether_finish="full_restart"))
    assert "n4, n5 would be out" in plan.text and not states(lab).exists() and lab.runs("n5")
    result = lab.play("remove_node", FIVE, given=given(lab, aether_remove="n5,n4", aether_finish="full_restart"))
    assert "The cluster was down for" in result.text and "Out: n4, n5." in result.text
    back(lab, THREE)
    assert not lab.enabled("n4") and [phases for _name, phases in saved(lab)] == [["saved", "stopping", "stopped", "formed", "restored"]]
    again = lab.play("remove_node", FIVE, given=given(lab, aether_remove="n5,n4", aether_finish="full_restart"))
    assert again.changed == 0 and "nothing is left to do" in again.text and len(saved(lab)) == 1


@pytest.mark.fault("known beforehand", "a full restart: the name is not typed, a host is missing, or what would be lost is not supplied", play=(0, 1, 2), then=None)
def test_what_is_refused_before_anything_is_touched(full):
    lab, starts = full, {h: since(full, h) for h in FIVE}
    lab.pool.kill("n5")
    for sentence, variables in (
        ("n5 cannot be reached", {}),
        ("aether_remove_dead", {"aether_remove": "n4,n5"}),
    ):
        result = lab.play("full_restart", FIVE, ok=False, given=given(lab, **variables))
        assert sentence in result.text and "othing was touched" in result.text, result.tail()
    assert {h: since(lab, h) for h in FIVE[:4]} == {h: starts[h] for h in FIVE[:4]}
    lab.form_again(FIVE)
    starts = {h: since(lab, h) for h in FIVE}
    for sentence, variables in (
        ("the cluster's name was not typed. Where nobody can type it, say that it is meant with -e aether_yes=true", {"aether_yes": False}),
        ("Of the blueprint org.example:shop:1.0.0 the API shows the slices alone", {"aether_blueprint_files": []}),
    ):
        result = lab.play("full_restart", FIVE, ok=False, given=given(lab, **variables))
        assert sentence in result.text and "othing was touched" in result.text, result.tail()
    lab.request("POST", "n1", "/api/config", json.dumps({"key": "my.key", "value": "word"}))
    result = lab.play("full_restart", FIVE, ok=False, given=given(lab))
    assert "my.key" in result.text and "aether_overrides" in result.text
    assert {h: since(lab, h) for h in FIVE} == starts and saved(lab) == []
    lab.play("full_restart", FIVE, given=given(lab, aether_overrides={"my.key": "word"}))
    assert list(lab.get("n3", "/api/config/overrides")) == ["my.key"]


@pytest.mark.fault("a full restart", "SIGKILL of the controller at '{line}'", play=0)
@pytest.mark.parametrize("line", ["2/8 Save", "3/8 Install", "Note that the first stop comes", "Stop the node", "Note that all are stopped", "Start the node", "7/8 See", "8/8 Put", "Put the state back"])
def test_the_controller_is_killed_and_the_same_command_goes_on(full, line):
    lab = full
    lab.play_until("full_restart", FIVE, "[" + line, kill, given=given(lab))
    result = lab.play("full_restart", FIVE, given=given(lab))
    back(lab)
    begun = line in ("Stop the node", "Note that all are stopped", "Start the node", "7/8 See", "8/8 Put", "Put the state back")
    assert saved(lab)[-1][1][-1] == "restored" and (len(saved(lab)) == 1 or not begun), saved(lab)
    assert not begun or "nothing is saved again" in result.text


@pytest.mark.fault("a full restart", "Ctrl-C while all is stopped, and another controller has the directory", play=0)
def test_another_controller_goes_on_with_the_directory(full):
    lab = full
    lab.play_until("full_restart", FIVE, "PLAY [6/8", lab.interrupt, given=given(lab))
    other = lab.folder / "elsewhere"
    shutil.rmtree(other, ignore_errors=True)
    shutil.move(states(lab), other)
    lab.play("full_restart", FIVE, given=given(lab, aether_state_dir=str(other)))
    back(lab)


@pytest.mark.fault("known beforehand", "the majority is lost for good, two of five hosts are dead", play=1)
def test_the_majority_is_lost_before_the_save(full):
    lab = full
    kept = lab.play("recover", FIVE, ok=False, given=given(lab))
    assert "the cluster has its majority" in kept.text
    for host in ("n4", "n5"):
        lab.pool.kill(host)
    lab.pool.exec("n3", "systemctl", "kill", "--signal=KILL", "aether")
    lab.pool.exec("n3", "systemctl", "stop", "aether")
    # On a slow machine they may have seen by now that they are alone: then they hide how many instances are wanted.
    gone = given(lab, aether_remove="n4,n5", aether_remove_dead=True, aether_state_allow=["counts"])
    refused = lab.play("recover", FIVE, ok=False, given=dict(gone, aether_yes=False))
    assert "does not answer" in refused.text and "site.yml starts it" in refused.text and "name was not typed" in refused.text and lab.runs("n1")
    result = lab.play("recover", FIVE, given=gone)
    assert "The cluster was down for" in result.text
    if "The counts are those of the blueprints" in result.text:
        lab.was["counts"][CART] = (2, 1)
    assert {h: whole(lab, h) for h in THREE} == {h: lab.was for h in THREE} and lab.lists(THREE) == {h: THREE for h in THREE}


@pytest.mark.fault("a full restart", "members disagree: one is cut off and has missed a change")
def test_members_that_disagree(full):
    lab = full
    lab.pool.fault("cut", ["n5"], FIVE[:4])
    lab.wait(lambda: "n5" not in str(lab.get("n1", "/api/status")["cluster"]["nodes"]), "n5 to be let go")
    lab.request("POST", "n1", "/api/thresholds", json.dumps({"metric": "heap.usage", "warning": 0.5, "critical": 0.6}))
    lab.wait(lambda: whole(lab, "n4")["thresholds"]["heap.usage"]["warning"] == 0.5, "four to have it")
    lab.was = whole(lab, "n1")
    result = lab.play_until("full_restart", FIVE, "TASK [Note that all are stopped", lambda process: lab.pool.heal(), given=given(lab))
    assert result.code == 0, result.tail()
    assert "n5 shows something else" in result.text and "heap.usage: 0.7/0.85, not 0.5/0.6" in result.text
    back(lab)


@pytest.mark.fault("a full restart", "a node never comes back", play=0)
def test_a_node_that_never_comes_back(full):
    lab = full
    lab.switch("n3", boot_delay=100000)
    result = lab.play("full_restart", FIVE, ok=False, given=given(lab, aether_heal_attempts=1))
    assert result.phase.startswith("6/8"), result.tail()
    assert lab.runs("n1") and not lab.runs("n4") and saved(lab)[0][1][-1] == "stopped"
    lab.switch("n3")
    result = lab.play("full_restart", FIVE, given=given(lab))
    back(lab)
    assert len(saved(lab)) == 1 and "nothing is saved again" in result.text


@pytest.mark.fault("a full restart", "a node never comes back, and is taken out", play=0)
def test_a_node_that_never_comes_back_is_taken_out(full):
    lab = full
    lab.switch("n5", boot_delay=100000)
    result = lab.play("full_restart", FIVE, ok=False, given=given(lab, aether_heal_attempts=1))
    assert result.phase.startswith("6/8"), result.tail()
    lab.play("full_restart", FIVE, given=given(lab, aether_remove="n4,n5"))
    back(lab, THREE)
    assert len(saved(lab)) == 1


@pytest.mark.fault("a full restart", "the formation fails twice")
def test_the_formation_fails_twice(full):
    lab = full

    def let_in_the_third():
        first = None
        for _start in range(3):
            lab.wait(lambda: lab.runs("n2") and since(lab, "n2") != first, "a start of n2", 180)
            first = since(lab, "n2")
        lab.pool.heal()

    def block(process):
        lab.pool.fault("cut", ["n1"], ["n2"])
        threading.Thread(target=let_in_the_third).start()

    result = lab.play_until("full_restart", FIVE, "PLAY [6/8", block, given=given(lab))
    assert result.code == 0, result.tail()
    assert "This is attempt 2 of 3" in result.text
    back(lab)


@pytest.mark.fault("a full restart", "a JAR cannot be read from any member", play=0)
def test_a_jar_that_cannot_be_read(full):
    lab, starts = full, {h: since(full, h) for h in FIVE}
    for host in FIVE:
        lab.switch_now(host, unreadable_jar="cart")
    result = lab.play("full_restart", FIVE, ok=False, given=given(lab))
    assert "The repository has %s, and it cannot be read" % CART in result.text and "othing was touched" in result.text, result.tail()
    untouched(lab, starts)
    assert saved(lab) == [] and not list(states(lab).glob("*.part"))
    lab.switch_now("n4", unreadable_jar="")
    lab.play("full_restart", FIVE, given=given(lab))
    back(lab)


@pytest.mark.fault("a saved state is put back", "the cluster has newer state", play=1)
def test_newer_state_is_refused_with_the_difference(full):
    lab = full
    lab.play("save_state", FIVE, given=given(lab))
    path = str(states(lab) / saved(lab)[0][0])
    lab.request("POST", "n1", "/api/scale", json.dumps({"artifact": CART, "instances": 4}))
    lab.request("POST", "n1", "/api/thresholds", json.dumps({"metric": "cpu.usage", "warning": 0.1, "critical": 0.2}))
    result = lab.play("restore_state", FIVE, ok=False, given=given(lab, aether_state_path=path))
    assert "%s: 4 wanted, saved 3" % CART in result.text and "threshold cpu.usage: 0.1/0.2, saved 0.6/0.85" in result.text, result.tail()
    assert whole(lab, "n1")["counts"][CART][0] == 4
    lab.play("restore_state", FIVE, given=given(lab, aether_state_path=path, aether_state_overwrite=True))
    back(lab)
    assert lab.play("restore_state", FIVE, given=given(lab, aether_state_path=path)).changed == 0


@pytest.mark.fault("a full restart", "somebody changes the cluster between the save and the stop", play=0)
def test_a_change_after_the_save_stops_it_before_the_stop(full):
    lab, starts = full, {h: since(full, h) for h in FIVE}

    def change(process):
        lab.request("POST", "n1", "/api/thresholds", json.dumps({"metric": "cpu.usage", "warning": 0.1, "critical": 0.2}))

    result = lab.play_until("full_restart", FIVE, "PLAY [3/8", change, given=given(lab))
    assert result.code != 0 and "No node was stopped: the cluster was changed after it was saved: threshold cpu.usage: 0.1/0.2, saved 0.6/0.85" in result.text, result.tail()
    assert {h: since(lab, h) for h in FIVE} == starts
    lab.was = whole(lab, "n1")
    lab.play("full_restart", FIVE, given=given(lab))
    back(lab)


def test_a_hook_runs_on_every_host_while_all_is_stopped(full):
    lab = full
    hook = lab.folder / "hook.yml"
    hook.write_text(json.dumps([{"name": "Leave a trace", "ansible.builtin.shell": "pgrep -c java > /root/trace || true", "changed_when": True}]), encoding="utf-8")
    lab.play("full_restart", FIVE, given=given(lab, aether_restart_hook=str(hook)))
    assert [lab.pool.exec(h, "cat", "/root/trace").stdout.strip() for h in FIVE] == ["0"] * 5
    back(lab)


def test_tls_is_switched_on_with_another_release_and_off_again(full):
    """Neither mixes with what there was before, so that no roll could do it."""
    lab, secret = full, "a-secret-of-this-test-alone"
    before, other = {lab.release(h) for h in FIVE}, str(sandbox.jar("other"))
    tls = {"aether_tls": True, "aether_cluster_secret": secret, "aether_jar": other}
    lab.play("full_restart", FIVE, given=given(lab, aether_tls_before=False), **tls)
    lab.speak(secret)
    try:
        back(lab)
        assert len({lab.release(h) for h in FIVE}) == 1 and lab.release("n1") not in before
        lab.play("full_restart", FIVE, given=given(lab, aether_tls_before=True), aether_tls=False, aether_cluster_secret=secret)
    finally:
        lab.speak()
    back(lab)
    assert {lab.release(h) for h in FIVE} == before
