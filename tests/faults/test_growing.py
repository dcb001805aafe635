# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong while a cluster grows. In each: the majority is kept, the message is right, a second run ends well.

The simulated nodes run at a fifth of the product's time; the deadlines of the plays stay as they are.
"""

from __future__ import annotations

import signal
import threading
import time

import pytest

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]


def ends_well(lab):
    """The second run: everything there, everything equal."""
    lab.pool.heal()
    lab.play("add_node", FIVE)
    assert lab.lists() == {h: FIVE for h in FIVE}
    assert lab.active("n5") == 5


@pytest.mark.fault("known beforehand", "an old member is down", play=0)
@pytest.mark.fault("known beforehand", "the JAR's checksum is wrong", play=1)
@pytest.mark.fault("the join of a new node", "it never gets ready", play=2)
@pytest.mark.fault("the start of a new node", "ssh to its host is lost", play=3)
@pytest.mark.fault("the join of a new node", "the leader is killed", play=4)
def test_what_goes_wrong_before_any_list_is_touched(lab):
    """One after the other on the same hosts: none of them leaves anything that the next run does not cope with."""
    members_as_before = lambda: lab.lists(THREE) == {h: THREE for h in THREE} and not lab.runs("n5")
    with lab.witness() as witness:
        lab.pool.exec("n3", "systemctl", "stop", "aether")
        result = lab.play("add_node", FIVE, ok=False)
        assert "n3 is in the running members' lists and does not answer" in result.text and "nothing was touched" in result.text
        assert not lab.runs("n4")
        lab.pool.exec("n3", "systemctl", "start", "aether")
        lab.wait(lambda: lab.has_state("n3"), "n3 to be back")

        result = lab.play("add_node", FIVE, ok=False, aether_jar_sha256="0" * 64)
        assert "checksum" in result.text and "0" * 64 in result.text
        assert lab.pool.exec("n4", "ls", "/opt/aether/releases", check=False).stdout == ""
        assert not lab.runs("n4") and members_as_before()

        lab.switch("n4", never_ready=True)
        result = lab.play("add_node", FIVE, ok=False, aether_ready_timeout=8)
        assert "n4" in result.text and "did not get ready" in result.text and "Starting Aether node" in result.text  # its journal
        assert not lab.runs("n4") and not lab.enabled("n4") and members_as_before()
        lab.switch("n4")

        result = lab.play_until("add_node", FIVE, "Start the node", lambda process: lab.pool.ssh_cut("n4"))
        assert result.code != 0 and result.recap["n4"]["unreachable"] == 1 and result.phase.startswith("3/7"), result.tail()
        assert members_as_before()
        lab.pool.heal()

        # Stopped right after, so that it is not back by itself before its turn comes: before any old list is touched the play says who is missing.
        kill = "systemctl kill --signal=KILL aether; systemctl stop aether"
        result = lab.play_until("add_node", FIVE, "Wait for the membership of n5", lambda process: lab.pool.exec("n1", "sh", "-c", kill))
        assert result.code != 0 and "n1 is in the running members' lists and does not answer" in result.text, result.tail()
        assert result.phase.startswith("4/7" if lab.api == "v1" else "6/7") and lab.runs("n5"), result.tail()
        lab.pool.exec("n1", "systemctl", "start", "aether")
        lab.wait(lambda: lab.has_state("n1"), "n1 to be back", 90)
        ends_well(lab)
    lab.judge(witness)


@pytest.mark.fault("the join of a new node", "it comes up without state, twice: once more than is tried before the others have it in their lists")
@pytest.mark.fault("the join of a new node", "it comes up without state, once")
@pytest.mark.fault("the restart of an old member", "it comes up without state, once")
@pytest.mark.fault("the restart of an old member", "it comes up without state, three times")
def test_nodes_that_come_up_without_state_are_healed(lab):
    times = {"n4": 2, "n5": 1, "n3": 1, "n2": 3}
    for host, starts in times.items():
        lab.switch(host, stateless=starts)
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE)
    lab.judge(witness)
    # Of n4 it is said once at its join; that it is to be healed in the end the plan says in other words.
    for host, starts in dict(times, n4=1).items():
        assert result.text.count("%s is ready but came up without state" % host) == starts, (host, result.tail())
    assert lab.lists() == {h: FIVE for h in FIVE} and all(lab.has_state(h) for h in FIVE)
    assert lab.play("add_node", FIVE).changed == 0


@pytest.mark.fault("the time between two new nodes", "an old member's host dies")
def test_an_old_member_that_dies_between_two_new_nodes(lab):
    """The next one is let in, for the majority is kept, and it makes up for the dead one; before any old member is touched the play stops."""
    with lab.witness() as witness:
        result = lab.play_until("add_node", FIVE, "Gate: is the majority kept, now with the new node", lambda process: lab.pool.kill("n3"))
        assert result.code != 0 and lab.runs("n5"), result.tail()
        assert "n3 is in the running members' lists and does not answer" in result.text, result.tail()
        if lab.api == "v1":
            assert result.phase.startswith("4/7") and "n2 is not touched, nor any node after it" in result.text, result.tail()
            assert lab.lists(["n1", "n2"]) == {"n1": THREE, "n2": THREE}
        else:  # nobody is restarted: the others' files are written, the dead one's is not, and the next look says why
            assert result.phase.startswith("6/7") and result.recap["n3"]["unreachable"] == 1, result.tail()
        lab.pool.boot("n3")
        lab.wait(lambda: lab.has_state("n3"), "n3 to be back", 90)
        ends_well(lab)
    lab.judge(witness)


@pytest.mark.fault("the restart of an old member", "it never gets its state", play=0)
@pytest.mark.fault("the healing of an old member that was left without state", "another one's host dies", play=1)
def test_an_old_member_that_never_gets_its_state_stops_the_roll_and_so_does_one_that_dies(lab):
    lab.switch("n2", stateless="always")
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE, ok=False)
        assert "n2" in result.text and "without state" in result.text and "No further host is touched" in result.text
        assert lab.lists(["n1", "n3"]) == {"n1": THREE, "n3": THREE}
        lab.switch("n2")

        result = lab.play_until("add_node", FIVE, "Wait for the membership of n2", lambda process: threading.Timer(1.0, lambda: lab.pool.kill("n3")).start())
        assert result.code != 0 and "nor any node after it: n3 is in the running members' lists and does not answer" in result.text, result.tail()
        assert lab.lists(["n1"]) == {"n1": THREE}
        lab.pool.boot("n3")
        lab.wait(lambda: lab.runs("n3") or lab.pool.exec("n3", "systemctl", "start", "aether", check=False).returncode == 0, "n3 to run")
        lab.wait(lambda: lab.has_state("n3"), "n3 to be back")
        ends_well(lab)
    lab.judge(witness)


@pytest.mark.fault("everything", "somebody writes to the cluster all the time")
def test_writes_that_go_on_all_the_time_stop_the_play_and_quiet_lets_it_end(lab):
    """By default every start during writes comes up without state; the play must not go on over such members."""
    for host in FIVE:
        lab.switch(host, stateless="default")
    for host in THREE:
        lab.switch_now(host, stateless="default")
    lab.switch_now("n3", write_every=1.0)
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE, ok=False)
    lab.judge(witness)
    assert "without state" in result.text
    rolled = [h for h in THREE if lab.lists([h])[h] == FIVE]
    assert len(rolled) <= 1, rolled
    lab.switch_now("n3", write_every=0)
    time.sleep(1)
    for host in FIVE:
        lab.switch(host, stateless="never")
    ends_well(lab)


def in_phase(lab, number, after=2.0):
    """A run that is interrupted so many seconds after the phase has begun."""
    return interrupted(lab.play_until("add_node", FIVE, "PLAY [%d/7" % number, lambda process: threading.Timer(after, lab.interrupt, [process]).start()), number)


def in_the_last_phase(lab):
    """It takes a second or two, unless it has to wait: a member does not answer any more once everything is done."""

    def interrupt(process):
        lab.close("n3")
        lab.interrupt(process)
        lab.unfront("n3")

    return interrupted(lab.play_until("add_node", FIVE, "PLAY [7/7", interrupt), 7)


def interrupted(result, number):
    """By Ansible's own word or, where the signal met it or one of its workers in the middle of a fork, by how that ended."""
    words = ("nterrupted execution", "A worker was found in a dead state")
    assert result.code == -signal.SIGINT or (result.code != 0 and any(w in result.text for w in words)), result.tail()
    assert result.phase.startswith("%d/7" % number), result.tail()
    return result


@pytest.mark.fault("phase 1, the plan", "Ctrl-C", play=0, then=1)
@pytest.mark.fault("phase 3, the join of a new node", "Ctrl-C", play=1, then=2)
@pytest.mark.fault("phase 4, the restart of an old member", "Ctrl-C", play=2, then=3)
@pytest.mark.fault("phase 2, the end of what was interrupted before", "Ctrl-C", play=3, then=4)
@pytest.mark.fault("phase 4, the restart of the next old member", "Ctrl-C", play=4, then=5)
@pytest.mark.fault("phase 5, the restart of the leader", "Ctrl-C", play=5, then=6)
@pytest.mark.fault("phase 6, the healing of a new node", "Ctrl-C", play=6, then=7)
@pytest.mark.fault("phase 7, the last look", "Ctrl-C", play=7, then=8)
def test_interrupted_in_each_phase_and_run_again(lab):
    """One growth in as many runs as it has phases: each run goes on where the one before was interrupted."""
    lab.switch("n5", stateless=2)  # so that there is something to heal in phase 6

    def in_turn(member, seconds):
        def interrupt(process):
            # The first matching task may belong to a new node: the mark says when a member's turn has come.
            lab.wait(lambda: lab.pool.exec(member, "test", "-e", "/var/lib/aether/.rolling", check=False).returncode == 0, member + "'s turn")
            time.sleep(seconds)
            lab.interrupt(process)

        return interrupted(lab.play_until("add_node", FIVE, "PLAY [4/7", lambda process: threading.Thread(target=interrupt, args=(process,)).start()), 4)

    with lab.witness() as witness:
        in_phase(lab, 1)
        in_phase(lab, 3)
        in_turn("n2", 1.0)
        in_phase(lab, 2)  # which n2 has made necessary
        in_turn("n3", 4.0)
        in_phase(lab, 5)
        in_phase(lab, 6)
        in_the_last_phase(lab)
        ends_well(lab)
    lab.judge(witness)
    assert lab.play("add_node", FIVE).changed == 0
