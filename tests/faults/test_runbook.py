# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same faults against nodes with the runbook's API, as far as they exist there: it knows no state to lose and shows no lists, so growing restarts no old member."""

from __future__ import annotations

import pytest
import test_rolling
from test_growing import (  # noqa: F401
    FIVE,
    THREE,
    ends_well,
    in_phase,
    in_the_last_phase,
    test_an_old_member_that_dies_between_two_new_nodes,
    test_what_goes_wrong_before_any_list_is_touched,
)
from test_replacing import SAME, WITHOUT
from test_rolling import (  # noqa: F401
    test_a_batch_ends_at_its_first_failed_member_and_the_token_says_who_is_left,
    test_a_lost_majority_stops_the_roll_and_is_explained,
    test_a_member_that_is_down_and_a_host_that_is_dead_are_named_and_refused,
    test_power_off_and_boot_at_once_ends_with_the_node_sound_by_itself,
)

API = "runbook"


@pytest.mark.fault("the restart of a member", "ssh to its host is lost, aether_serial=1")
def test_a_host_that_becomes_unreachable(lab):
    test_rolling.test_a_host_that_becomes_unreachable_ends_the_roll(lab, 1)


@pytest.mark.fault("phase 1, the plan", "Ctrl-C", play=0, then=1)
@pytest.mark.fault("phase 3, the join of a new node", "Ctrl-C", play=1, then=2)
@pytest.mark.fault("phase 4, the longer lists are written", "Ctrl-C", play=2, then=3)
@pytest.mark.fault("phase 7, the last look", "Ctrl-C", play=3, then=4)
def test_interrupted_in_each_phase_and_run_again(lab):
    """No old member is restarted, so there is nothing to finish in phase 2, nobody to restart in phase 5 and nobody to heal in phase 6."""
    with lab.witness() as witness:
        in_phase(lab, 1)
        in_phase(lab, 3)
        in_phase(lab, 4, after=0.5)
        in_the_last_phase(lab)
        ends_well(lab)
    lab.judge(witness)
    assert lab.play("add_node", FIVE).changed == 0


@pytest.mark.fault("known beforehand", "a member's host is gone for good, and nobody says so", play=0)
def test_the_same_id_on_a_new_host(lab):
    lab.pool.kill("n3")
    with lab.witness({"n1": "n1", "n2": "n2", "n3": "n4"}) as witness:
        result = lab.play("replace_node", WITHOUT, ok=False, ids=SAME, aether_replace="n3")
        assert "-e aether_confirm_dead=n3" in result.text and not lab.runs("n4")
        lab.play("replace_node", WITHOUT, ids=SAME, aether_replace="n3", aether_confirm_dead="n3")
    lab.judge(witness)
    assert lab.has_state("n4") and lab.active("n1") == 5 and lab.lists(["n4"]) == {"n4": WITHOUT}
    assert lab.at_one("n1", THREE)


@pytest.mark.fault("known beforehand", "everything from a new host to a member is blocked, one-way", play=0, then=1)
def test_preflight_growth_and_status_find_out_by_themselves_which_api_it_is(lab):
    """``aether_api`` is auto here, and runbook in all the other tests."""
    lab.pool.fault("cut1", ["n4"], ["n1"])
    result = lab.play("preflight", FIVE, ok=False, aether_api="auto")
    assert "n4 does not reach n1 (%s)" % lab.ips["n1"] in result.text and "the block is one-way, from n4 to n1" in result.text, result.tail()
    lab.pool.heal()
    lab.play("preflight", FIVE, aether_api="auto")
    with lab.witness() as witness:
        lab.play("add_node", FIVE, aether_api="auto")
    lab.judge(witness)
    assert lab.lists() == {h: FIVE for h in FIVE} and lab.active("n5") == 5
    status = lab.play("status", FIVE, "-v", aether_api="auto")
    assert '"api": "runbook"' in status.output and "5 of 5 sound" in status.text, status.tail()
