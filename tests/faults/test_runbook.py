# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same faults against nodes with the runbook's API, as far as they exist there: it knows no state to lose and shows no lists, so growing restarts no old member."""

from __future__ import annotations

import pytest
import test_rolling
from test_growing import (  # noqa: F401
    FIVE,
    test_a_new_node_that_never_gets_ready_is_taken_back_out,
    test_a_wrong_checksum_is_refused_before_anything_is_touched,
    test_an_old_member_that_is_down_at_the_start_is_refused,
    test_interrupted_in_each_phase_and_run_again,
    test_ssh_lost_to_the_new_host_stops_the_play,
    test_the_leader_killed_during_the_join_is_survived,
)
from test_rolling import (  # noqa: F401
    test_a_batch_is_restarted_one_after_the_other_and_a_failed_member_ends_it,
    test_a_lost_majority_stops_the_roll_and_is_explained,
    test_a_member_that_is_down_and_a_host_that_is_dead_are_named_and_refused,
    test_a_member_that_was_restarted_for_the_token_is_passed_over,
    test_power_off_and_boot_at_once_ends_with_the_node_sound_by_itself,
)

POOL, HOSTS, API = "t-runbook", FIVE, "runbook"


@pytest.mark.fault("the restart of a member", "ssh to its host is lost")
def test_a_host_that_becomes_unreachable(lab):
    test_rolling.test_a_host_that_becomes_unreachable_ends_the_roll(lab, 1)
