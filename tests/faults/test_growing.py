# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong while a cluster grows. In each: the majority is kept, the message is right, a second run ends well.

The simulated nodes run at a fifth of the product's time; the deadlines of the plays stay as they are.
"""

from __future__ import annotations

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


@pytest.mark.faults(
    ("known beforehand", "an old member is down"),
    ("known beforehand", "the JAR's checksum is wrong"),
    ("the join of a new node", "it never gets ready"),
    ("the start of a new node", "ssh to its host is lost"),
    ("the join of a new node", "the leader is killed"),
)
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
        assert result.code != 0 and "n4" in result.text and members_as_before()
        lab.pool.heal()

        result = lab.play_until("add_node", FIVE, "Wait for the membership of n5", lambda process: lab.pool.exec("n1", "systemctl", "kill", "--signal=KILL", "aether"))
        if result.code != 0:
            assert "n1" in result.text or "leader" in result.text
        lab.pool.exec("n1", "systemctl", "start", "aether")
        lab.wait(lambda: lab.has_state("n1"), "n1 to be back", 90)
        ends_well(lab)
    lab.judge(witness)


@pytest.mark.fault("the join of a new node and the restart of an old member", "they come up without state, twice and three times")
def test_nodes_that_come_up_without_state_are_healed(lab):
    lab.switch("n4", stateless=2)
    lab.switch("n2", stateless=3)
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE)
    lab.judge(witness)
    assert result.text.count("n2 is ready but came up without state") >= 3
    assert lab.lists() == {h: FIVE for h in FIVE} and lab.has_state("n4")
    assert lab.play("add_node", FIVE).changed == 0


@pytest.mark.faults(
    ("the restart of an old member", "it never gets its state"),
    ("the healing of an old member", "another one dies"),
)
def test_an_old_member_that_never_gets_its_state_stops_the_roll_and_so_does_one_that_dies(lab):
    lab.switch("n2", stateless="always")
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE, ok=False)
        assert "n2" in result.text and "without state" in result.text and "No further host is touched" in result.text
        assert lab.lists(["n1", "n3"]) == {"n1": THREE, "n3": THREE}
        lab.switch("n2")

        result = lab.play_until("add_node", FIVE, "Wait for the membership of n2", lambda process: threading.Timer(1.0, lambda: lab.pool.kill("n3")).start())
        assert result.code != 0 and "n3" in result.text
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


@pytest.mark.fault("each phase, and the restarts of two old members, one after the other", "Ctrl-C")
def test_interrupted_in_each_phase_and_run_again(lab):
    """One growth in as many runs as it has phases: each run goes on where the one before was interrupted."""
    if lab.api == "v1":
        lab.switch("n5", stateless=2)  # so that there is something to heal in phase 6

    def in_phase(number):
        return lab.play_until("add_node", FIVE, "PLAY [%d/7" % number, lambda process: threading.Timer(2.0, lambda: lab.interrupt(process)).start())

    def in_turn(member, seconds):
        def interrupt(process):
            # The first matching task may belong to a new node: the mark says when a member's turn has come.
            lab.wait(lambda: lab.pool.exec(member, "test", "-e", "/var/lib/aether/.rolling", check=False).returncode == 0, member + "'s turn")
            time.sleep(seconds)
            lab.interrupt(process)

        return lab.play_until("add_node", FIVE, "PLAY [4/7", lambda process: threading.Thread(target=interrupt, args=(process,)).start())

    with lab.witness() as witness:
        assert in_phase(3).code != 0
        if lab.api == "v1":
            assert in_turn("n2", 1.0).code != 0
            result = in_turn("n3", 4.0)
            assert result.code != 0 and "interrupted" in result.text
            result = in_phase(5)
            assert result.code != 0 and "interrupted" in result.text
            assert in_phase(6).code != 0
            in_phase(7)  # what is left takes a second or two, so it may be over before
        else:
            assert in_phase(4).code != 0
        ends_well(lab)
    lab.judge(witness)
    assert lab.play("add_node", FIVE).changed == 0
