# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same faults against nodes with the runbook's API, as far as they exist there: it knows no state to lose and shows no lists, so growing restarts no old member."""

from __future__ import annotations

import pytest
import test_rolling
from test_growing import test_interrupted_in_each_phase_and_run_again, test_what_goes_wrong_before_any_list_is_touched  # noqa: F401
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
