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
POOL, HOSTS = "t-fault", FIVE


def ends_well(lab, lists=True):
    """The second run: everything there, everything equal; where ``lists`` do not matter, the old members keep theirs, which is quicker."""
    lab.pool.heal()
    result = lab.play("add_node", FIVE, aether_roll_lists=lists)
    assert lab.lists() == {h: THREE if h in THREE and not lists else FIVE for h in FIVE}
    assert lab.active("n5") == 5
    return result


@pytest.mark.fault("known beforehand", "the JAR's checksum is wrong")
def test_a_wrong_checksum_is_refused_before_anything_is_touched(lab):
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE, ok=False, aether_jar_sha256="0" * 64)
    lab.judge(witness)
    assert "checksum" in result.text and "0" * 64 in result.text
    assert lab.pool.exec("n4", "ls", "/opt/aether/releases", check=False).stdout == ""
    assert not lab.runs("n4") and lab.lists(THREE) == {h: THREE for h in THREE}
    ends_well(lab, lists=False)


@pytest.mark.fault("the join of a new node", "it never gets ready")
def test_a_new_node_that_never_gets_ready_is_taken_back_out(lab):
    lab.switch("n4", never_ready=True)
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE, ok=False, aether_ready_timeout=8)
    lab.judge(witness)
    assert "n4" in result.text and "did not get ready" in result.text and "Starting Aether node" in result.text  # its journal
    assert not lab.runs("n4") and not lab.enabled("n4") and not lab.runs("n5")
    assert lab.lists(THREE) == {h: THREE for h in THREE}
    lab.switch("n4")
    ends_well(lab, lists=False)


@pytest.mark.fault("the restart of an old member", "it comes up without state, three times")
def test_an_old_member_that_comes_up_without_state_is_healed(lab):
    lab.switch("n2", stateless=3)
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE)
    lab.judge(witness)
    assert result.text.count("n2 is ready but came up without state") >= 3
    assert lab.lists() == {h: FIVE for h in FIVE}
    assert lab.play("add_node", FIVE).changed == 0


@pytest.mark.fault("the restart of an old member", "it never gets its state")
def test_an_old_member_that_never_gets_its_state_stops_the_roll(lab):
    lab.switch("n2", stateless="always")
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE, ok=False)
    lab.judge(witness)
    assert "n2" in result.text and "without state" in result.text and "No further host is touched" in result.text
    assert lab.lists(["n1", "n3"]) == {"n1": THREE, "n3": THREE}
    lab.switch("n2")
    ends_well(lab)


@pytest.mark.fault("the join of a new node", "it comes up without state, twice")
def test_a_new_node_without_state_is_healed_once_the_lists_are_rolled(lab):
    lab.switch("n4", stateless=2)
    with lab.witness() as witness:
        lab.play("add_node", FIVE)
    lab.judge(witness)
    assert lab.lists() == {h: FIVE for h in FIVE}
    assert lab.has_state("n4")


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


@pytest.mark.fault("known beforehand", "an old member is down")
def test_an_old_member_that_is_down_at_the_start_is_refused(lab):
    lab.pool.exec("n3", "systemctl", "stop", "aether")
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE, ok=False)
    lab.judge(witness)
    assert "n3 is in the running members' lists and does not answer" in result.text and "nothing was touched" in result.text
    assert not lab.runs("n4")
    lab.pool.exec("n3", "systemctl", "start", "aether")
    lab.wait(lambda: lab.has_state("n3"), "n3 to be back")
    ends_well(lab, lists=False)


@pytest.mark.fault("the restart of an old member", "another one dies")
def test_an_old_member_that_dies_between_two_hosts_stops_the_play(lab):
    with lab.witness() as witness:
        result = lab.play_until("add_node", FIVE, "Wait for the membership of n2", lambda process: threading.Timer(1.0, lambda: lab.pool.kill("n3")).start())
    lab.judge(witness)
    assert result.code != 0 and "n3" in result.text
    assert lab.lists(["n1"]) == {"n1": THREE}
    lab.pool.boot("n3")
    lab.wait(lambda: lab.runs("n3") or lab.pool.exec("n3", "systemctl", "start", "aether", check=False).returncode == 0, "n3 to run")
    lab.wait(lambda: lab.has_state("n3"), "n3 to be back")
    ends_well(lab)


@pytest.mark.fault("the join of a new node", "the leader is killed")
def test_the_leader_killed_during_the_join_is_survived(lab):
    def kill_leader(process):
        lab.pool.exec("n1", "systemctl", "kill", "--signal=KILL", "aether")

    with lab.witness() as witness:
        result = lab.play_until("add_node", FIVE, "Wait for the membership of n4", kill_leader)
    lab.judge(witness)
    if result.code != 0:
        assert "n1" in result.text or "leader" in result.text
    lab.pool.exec("n1", "systemctl", "start", "aether")
    lab.wait(lambda: lab.has_state("n1"), "n1 to be back", 90)
    ends_well(lab)


@pytest.mark.fault("the start of a new node", "ssh to its host is lost")
def test_ssh_lost_to_the_new_host_stops_the_play(lab):
    with lab.witness() as witness:
        result = lab.play_until("add_node", FIVE, "Start the node", lambda process: lab.pool.ssh_cut("n4"))
    lab.judge(witness)
    assert result.code != 0 and "n4" in result.text and not lab.runs("n5")
    assert lab.lists(THREE) == {h: THREE for h in THREE}
    ends_well(lab, lists=False)


@pytest.mark.timeout(900)
@pytest.mark.fault("each phase, one after the other", "Ctrl-C 2 s after it began")
def test_interrupted_in_each_phase_and_run_again(lab):
    """One growth in as many runs as it has phases: each run goes on where the one before was interrupted."""
    if lab.api == "v1":
        lab.switch("n5", stateless=2)  # so that there is something to heal in phase 6
    with lab.witness() as witness:
        for phase in ["3/7", "4/7", "5/7", "6/7", "7/7"] if lab.api == "v1" else ["3/7", "4/7"]:
            interrupted = lab.play_until("add_node", FIVE, "PLAY [%s" % phase, lambda process: threading.Timer(2.0, lambda: lab.interrupt(process)).start())
            assert phase == "7/7" or interrupted.code != 0
        ends_well(lab)
    lab.judge(witness)
    assert lab.play("add_node", FIVE).changed == 0


@pytest.mark.fault("the restarts of two old members", "Ctrl-C, 1 s into the turn of the one and 4 s into the other's")
def test_interrupted_in_the_middle_of_a_members_turn_goes_on_with_it(lab):
    def interrupted(member, seconds):
        def in_turn(process):
            # The first matching task may belong to a new node: the mark says when a member's turn has come.
            lab.wait(lambda: lab.pool.exec(member, "test", "-e", "/var/lib/aether/.rolling", check=False).returncode == 0, member + "'s turn")
            time.sleep(seconds)
            lab.interrupt(process)

        result = lab.play_until("add_node", FIVE, "PLAY [4/7", lambda process: threading.Thread(target=in_turn, args=(process,)).start())
        assert result.code != 0
        return result

    with lab.witness() as witness:
        interrupted("n2", 1.0)
        result = interrupted("n3", 4.0)
        assert "interrupted" in result.text
        result = ends_well(lab)
    lab.judge(witness)
    assert "interrupted" in result.text
