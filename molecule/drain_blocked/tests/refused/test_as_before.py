# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the refusal: every host runs with the list of five, everybody is on duty, and the slice is on each of them."""

from __future__ import annotations

from whole import (  # noqa: F401
    ACTIVE,
    members,
    test_it_runs_with_the_list_of_the_members,
    test_it_sees_the_members,
    test_no_mark_of_a_change_is_left,
    test_the_members_are_on_duty,
    test_the_service_runs_and_is_enabled,
)

MEMBERS = ["n1", "n2", "n3", "n4", "n5"]


def test_its_unit_lists_all_five(member):
    assert member.peers() == MEMBERS


def test_as_many_instances_are_wanted_and_active_as_before(member):
    assert member.slices() == {"org.example:cart:1.0.0": [ACTIVE] * 2, "org.example:checkout:1.0.0": [ACTIVE] * 5}
    assert {s["artifact"]: s["targetInstances"] for s in member.ask("/api/slices")["slices"]} == {"org.example:cart:1.0.0": 2, "org.example:checkout:1.0.0": 5}
