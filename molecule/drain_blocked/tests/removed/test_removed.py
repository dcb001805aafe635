# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With room made for it: n5 is out, and the slice is active once less, on each of the four that stay. Four nodes have no place for five."""

from __future__ import annotations

import pytest

MEMBERS, OUT = ["n1", "n2", "n3", "n4"], "n5"
ACTIVE = "ACTIVE"


@pytest.fixture
def staying(member):
    if member.name == OUT:
        pytest.skip("%s is out" % OUT)
    return member


def test_only_the_services_of_those_that_stay_run_and_are_enabled(host, member):
    service = host.service("aether")
    assert (service.is_running, service.is_enabled) == ((False, False) if member.name == OUT else (True, True))


def test_it_sees_the_four_on_duty(staying):
    assert staying.seen() == MEMBERS
    assert {e["nodeId"]: e["state"] for e in staying.ask("/api/nodes/lifecycle")} == {m: "ON_DUTY" for m in MEMBERS}


def test_its_list_has_the_four(staying):
    assert staying.peers() == MEMBERS and sorted(staying.ask("/api/cluster/topology")["coreNodes"]) == MEMBERS


def test_one_instance_less_is_wanted_and_all_are_active(staying):
    assert staying.slices() == {"org.example:cart:1.0.0": [ACTIVE] * 2, "org.example:checkout:1.0.0": [ACTIVE] * 4}
    assert {s["artifact"]: s["targetInstances"] for s in staying.ask("/api/slices")["slices"]} == {"org.example:cart:1.0.0": 2, "org.example:checkout:1.0.0": 4}
