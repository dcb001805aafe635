# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the refusal: every host runs with the list of five, everybody is on duty, and the slice is on each of them."""

from __future__ import annotations

MEMBERS = ["n1", "n2", "n3", "n4", "n5"]
ACTIVE = "ACTIVE"


def test_the_service_runs_and_is_enabled(host):
    service = host.service("aether")
    assert service.is_running and service.is_enabled


def test_it_sees_all_five_on_duty(member):
    assert member.seen() == MEMBERS
    assert {e["nodeId"]: e["state"] for e in member.ask("/api/nodes/lifecycle")} == {m: "ON_DUTY" for m in MEMBERS}


def test_its_list_has_all_five(member):
    assert member.peers() == MEMBERS and sorted(member.ask("/api/cluster/topology")["coreNodes"]) == MEMBERS


def test_as_many_instances_are_wanted_and_active_as_before(member):
    assert member.slices() == {"org.example:cart:1.0.0": [ACTIVE] * 2, "org.example:checkout:1.0.0": [ACTIVE] * 5}
    assert {s["artifact"]: s["targetInstances"] for s in member.ask("/api/slices")["slices"]} == {"org.example:cart:1.0.0": 2, "org.example:checkout:1.0.0": 5}


def test_no_mark_of_a_change_is_left(host):
    assert not host.file("/var/lib/aether/.rolling").exists
