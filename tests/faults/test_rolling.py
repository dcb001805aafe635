# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong in a rolling restart. It stops at the first host that fails, and a second run goes on."""

from __future__ import annotations

import threading
import time

import pytest

THREE = ["n1", "n2", "n3"]


def since(lab, host) -> str:
    """When the service of a host was started."""
    return lab.pool.exec(host, "systemctl", "show", "aether", "--property", "ExecMainStartTimestampMonotonic", "--value").stdout.strip()


@pytest.mark.fault("the restart of a member", "it does not get ready", play=0, then=2)
@pytest.mark.fault("between two members", "Ctrl-C", play=1, then=2)
def test_a_batch_ends_at_its_first_failed_member_and_the_token_says_who_is_left(lab):
    first, second, last = lab.turns(THREE)
    before = {h: since(lab, h) for h in THREE}
    lab.switch(first, never_ready=True)
    with lab.witness() as witness:
        result = lab.play("rolling_restart", THREE, ok=False, aether_serial=3, aether_ready_timeout=8, aether_restart_token="t1")
        after = {h: since(lab, h) for h in THREE}
        assert "%s was being changed and is not back" % first in result.text
        assert after[first] != before[first] and after[second] == before[second] and after[last] == before[last], "nobody after the first"

        # The same token goes on with those that were not restarted for it, also when it is interrupted once more.
        lab.switch(first)
        interrupt = lambda process: threading.Timer(1.5, lambda: lab.interrupt(process)).start()
        lab.play_until("rolling_restart", THREE, "TASK [pragmatica.aether.aether_roll : Take the mark away]", interrupt, aether_serial=3, aether_restart_token="t1")
        at = since(lab, first)
        result = lab.play("rolling_restart", THREE, aether_serial=3, aether_restart_token="t1")
        assert "Already restarted for this token: %s." % first in result.text and since(lab, first) == at
    lab.judge(witness)
    done = {h: since(lab, h) for h in THREE}
    assert all(done[h] != before[h] for h in THREE)
    result = lab.play("rolling_restart", THREE, aether_restart_token="t1")
    assert result.changed == 0 and "Already restarted for this token: n1, n2, n3." in result.text
    assert {h: since(lab, h) for h in THREE} == done


@pytest.mark.fault("known beforehand", "a member is down", play=0)
@pytest.mark.fault("known beforehand", "a host is dead", play=1)
def test_a_member_that_is_down_and_a_host_that_is_dead_are_named_and_refused(lab):
    before = {h: since(lab, h) for h in THREE}
    with lab.witness() as witness:
        lab.pool.exec("n3", "systemctl", "stop", "aether")
        result = lab.play("rolling_restart", THREE, ok=False)
        assert "n3 does not answer" in result.text and "can lose no member now" in result.text
        lab.pool.kill("n3")
        result = lab.play("rolling_restart", THREE, ok=False)
        assert "n3 cannot be reached: nothing was touched" in result.text
        assert {h: since(lab, h) for h in ("n1", "n2")} == {h: before[h] for h in ("n1", "n2")}
        lab.pool.boot("n3")
        lab.wait(lambda: lab.has_state("n3"), "n3 to be back with its state", 90)
        lab.play("rolling_restart", THREE)
    lab.judge(witness)
    assert all(since(lab, h) != before[h] for h in ("n1", "n2"))


@pytest.mark.fault("the restart of a member", "ssh to its host is lost, aether_serial={serial}")
@pytest.mark.parametrize("serial", [1, 2])
def test_a_host_that_becomes_unreachable_ends_the_roll(lab, serial):
    first, _second, last = lab.turns(THREE)
    before = since(lab, last)
    with lab.witness() as witness:
        result = lab.play_until("rolling_restart", THREE, "TASK [pragmatica.aether.aether_roll : Start the node]", lambda process: lab.pool.ssh_cut(first), aether_serial=serial)
        assert result.code != 0 and result.recap[first]["unreachable"] == 1 and since(lab, last) == before, result.tail()
        lab.pool.heal()
        lab.play("rolling_restart", THREE)
    lab.judge(witness)


@pytest.mark.fault("the restart of a member", "another host dies, so the majority is lost")
def test_a_lost_majority_stops_the_roll_and_is_explained(lab):
    first, other = lab.turns(THREE)[0], "n3"

    def lose(process):
        lab.pool.kill(other)
        time.sleep(0.5)

    with lab.witness() as witness:
        result = lab.play_until("rolling_restart", THREE, "TASK [pragmatica.aether.aether_roll : Stop the node]", lose)
    lab.judge_lost(witness)
    assert result.code != 0
    if "was being changed" in result.text:
        assert "%s was being changed and is not back" % first in result.text and "THE MAJORITY IS LOST" in result.text and "Start what is down: n3" in result.text
    else:
        # The restarted one and the survivor are two of three and may find each other again; then there is a majority, and no margin.
        assert "is not touched, nor any node after it: n3 does not answer" in result.text and "can lose no member now" in result.text, result.tail()
    rest = {"n2": "n1", "n1": "n2"}[first]
    before = since(lab, rest)
    lab.pool.boot(other)
    lab.wait(lambda: lab.has_state(other) and lab.has_state(rest), "the others to have their majority back", 90)
    assert since(lab, rest) == before
    # The one that was being changed is finished first, the others follow.
    with lab.witness(baseline=THREE) as witness:
        lab.play("rolling_restart", THREE)
    lab.judge(witness)
    assert since(lab, rest) != before and lab.active("n1") == 5


@pytest.mark.fault("no play runs", "a host is powered off and boots at once")
def test_power_off_and_boot_at_once_ends_with_the_node_sound_by_itself(lab):
    """After an unclean stop the unit waits at boot, too, until the others have dropped the node."""
    with lab.witness() as witness:
        lab.pool.kill("n3")
        lab.pool.boot("n3")
        lab.wait(lambda: lab.has_state("n3"), "n3 to be back with its state", 90)
        status = lab.play("status", THREE)
    lab.judge(witness)
    assert "3 of 3 sound" in status.text, status.tail()
    assert "waiting" in lab.pool.exec("n3", "journalctl", "-u", "aether", "-o", "cat").stdout
