# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong while a member is drained on its way out. No slice falls below its minimum because of us, and a second run ends well.

The others' lists are kept, for their restarts are test_removing.py's; a drain is made to take seconds by slices that start slowly.
"""

from __future__ import annotations

import os
import signal
import threading

import pytest

FIVE = ["n1", "n2", "n3", "n4", "n5"]
MEMBERS = FIVE
DRAINING = "TASK [Drain n"  # and its id


@pytest.fixture
def leaver(lab):
    """A member with a slice on it that does not lead."""
    hosts = {i["nodeId"] for s in lab.get("n1", "/api/slices")["slices"] for i in s["instances"]}
    return next(h for h in reversed(FIVE) if h in hosts and h != "n1")


def slowly(lab):
    for host in FIVE:
        lab.switch_now(host, slice_delay=30)  # 6 s here


def quickly(lab):
    """A node that does not run has nothing to take back: at its next start it is quick anyway."""
    for host in filter(lab.runs, FIVE):
        lab.wait(lambda: lab.get(host, "/api/status"), host + " to answer")
        lab.switch_now(host, slice_delay=0, slice_fail="", hang_writes="", error_but_applied=False)


def state(lab, node, by="n1"):
    return {e["nodeId"]: e["state"] for e in lab.get(by, "/api/nodes/lifecycle")}.get(node)


def on(lab, node):
    return [s["artifact"] for s in lab.get("n1", "/api/slices")["slices"] for i in s["instances"] if i["nodeId"] == node]


def said(node, **more):
    return dict(more, aether_remove=node, aether_yes=True, aether_finish="keep_lists")


def remove(lab, node, ok=True, **more):
    return lab.play("remove_node", FIVE, ok=ok, given=said(node, **more))


def meanwhile(lab, node, act, after=1.5, **more):
    """remove_node.yml, and ``act`` so many seconds after the drain has begun."""
    return lab.play_until("remove_node", FIVE, "TASK [Drain %s]" % node, lambda process: threading.Timer(after, act, [process]).start(), given=said(node, **more))


def judge(lab, witness, fault_takes_some=False):
    """``fault_takes_some``: the fault itself stops a node with instances."""
    lab.judge(witness)
    assert fault_takes_some or witness.report["below_minimum"] == [], witness.table()


def is_out(lab, node):
    assert not lab.runs(node) and not lab.enabled(node) and on(lab, node) == []
    lab.wait(lambda: lab.active("n1") == 5, "every slice to be as wanted")


@pytest.mark.fault("the drain", "a slice does not start elsewhere")
def test_a_slice_that_fails_elsewhere_is_named_and_the_node_is_on_duty_again(lab, leaver):
    artifact = on(lab, leaver)[0]
    for host in FIVE:
        lab.switch_now(host, slice_fail=artifact)
    with lab.witness() as witness:
        result = remove(lab, leaver, ok=False, aether_drain_timeout=6)
        assert "%s is not drained after" % leaver in result.text and artifact in result.text and "back on duty" in result.text, result.tail()
        assert lab.runs(leaver) and state(lab, leaver) == "ON_DUTY"
        quickly(lab)
        remove(lab, leaver)
    judge(lab, witness)
    is_out(lab, leaver)


@pytest.mark.parametrize("what, hosts, switch", [
    ("every write is applied and answered with 500", FIVE, {"error_but_applied": True}), ("the leader takes writes and never answers", ["n1"], {"hang_writes": "after"}),
])
@pytest.mark.fault("the drain", "{what}")
def test_writes_whose_answers_say_nothing(lab, leaver, what, hosts, switch):
    for host in hosts:
        lab.switch_now(host, **switch)
    with lab.witness() as witness:
        remove(lab, leaver)
    judge(lab, witness)
    is_out(lab, leaver)


@pytest.mark.fault("the drain", "somebody restarts the node that is drained")
def test_a_node_that_somebody_restarts_is_drained_again(lab, leaver):
    slowly(lab)
    with lab.witness() as witness:
        result = meanwhile(lab, leaver, lambda process: lab.pool.exec(leaver, "systemctl", "restart", "aether"))
        quickly(lab)
        if result.code:
            remove(lab, leaver)
    judge(lab, witness, fault_takes_some=True)
    is_out(lab, leaver)


@pytest.mark.fault("the drain", "the node that is drained is killed")
def test_a_node_that_is_killed_while_it_is_drained(lab, leaver):
    slowly(lab)
    with lab.witness() as witness:
        result = meanwhile(lab, leaver, lambda process: lab.pool.exec(leaver, "systemctl", "kill", "--signal=KILL", "aether"))
        assert result.code == 0 or leaver in result.text.partition("FAILED!")[2], result.tail()
        quickly(lab)
        if result.code:
            lab.wait(lambda: state(lab, leaver) == "ON_DUTY", "it to be back by itself", 90)
            remove(lab, leaver)
    judge(lab, witness, fault_takes_some=True)
    is_out(lab, leaver)


@pytest.mark.fault("the drain", "the leader is killed")
def test_a_leader_that_is_killed_during_the_drain(lab, leaver):
    slowly(lab)
    with lab.witness() as witness:
        result = meanwhile(lab, leaver, lambda process: lab.pool.exec("n1", "systemctl", "kill", "--signal=KILL", "aether"))
        lab.wait(lambda: state(lab, "n1", by="n2") == "ON_DUTY", "the old leader to be back by itself", 90)
        quickly(lab)
        if result.code:
            remove(lab, leaver)
    judge(lab, witness, fault_takes_some=True)
    assert not lab.runs(leaver) and state(lab, leaver, by="n2") is None


@pytest.mark.fault("the drain", "the node that is drained is cut off from the others")
def test_a_node_that_is_cut_off_while_it_is_drained(lab, leaver):
    slowly(lab)
    with lab.witness() as witness:
        result = meanwhile(lab, leaver, lambda process: lab.pool.isolate(leaver), aether_drain_timeout=10)
        assert result.code != 0 and lab.runs(leaver), result.tail()
        lab.pool.heal()
        quickly(lab)
        lab.wait(lambda: state(lab, leaver) == "ON_DUTY" and lab.active("n1") == 5, "it to be back", 90)
        remove(lab, leaver)
    judge(lab, witness, fault_takes_some=True)
    is_out(lab, leaver)


@pytest.mark.parametrize("how, when, after", [
    ("SIGINT", DRAINING, 0.3), ("SIGKILL", DRAINING, 0.1), ("SIGKILL", DRAINING, 1.5), ("SIGKILL", "TASK [Stop it, and do not start it at boot]", 0.1),
    ("SIGINT", "TASK [Wait until the others have let it go]", 0.1),
])
@pytest.mark.fault("the drain and the stop", "{how} of the controller, {after} s after '{when}'")
def test_a_controller_that_dies_and_the_same_command_again(lab, leaver, how, when, after):
    slowly(lab)
    with lab.witness() as witness:
        lab.play_until(
            "remove_node", FIVE, when, lambda process: threading.Timer(after, os.killpg, [process.pid, getattr(signal, how)]).start(), given=said(leaver, aether_make_room=True),
        )
        quickly(lab)
        remove(lab, leaver, aether_make_room=True)
    judge(lab, witness)
    is_out(lab, leaver)
    counts = {s["artifact"]: s["targetInstances"] for s in lab.get("n1", "/api/slices")["slices"]}
    assert counts == {"org.example:cart:1.0.0": 2, "org.example:checkout:1.0.0": 3}


@pytest.mark.fault("the drain", "SIGKILL of the controller, and another play comes next")
def test_what_a_dead_controller_left_is_undone_by_the_next_play(lab, leaver):
    slowly(lab)
    with lab.witness() as witness:
        meanwhile(lab, leaver, lambda process: os.killpg(process.pid, signal.SIGKILL))
        quickly(lab)
        result = lab.play("add_node", FIVE)
    judge(lab, witness)
    assert "interrupted" in result.text and state(lab, leaver) == "ON_DUTY" and lab.active("n1") == 5
