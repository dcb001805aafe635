# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three that stay: they run with the list of three, hold the state, and every slice is active on them."""

from __future__ import annotations

from whole import (  # noqa: F401
    members,
    test_it_has_the_state,
    test_it_runs_with_the_list_of_the_members,
    test_it_sees_the_members,
    test_its_list_has_the_members,
    test_no_mark_of_a_change_is_left,
    test_the_members_are_on_duty,
    test_the_service_runs_and_is_enabled,
    test_the_slices_are_active,
)

testinfra_hosts = MEMBERS = ["n1", "n2", "n3"]


def test_its_unit_lists_the_three(v1):
    assert v1.peers() == MEMBERS
