# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of a whole cluster, for the scenarios to import. Whoever does says who the members are, MEMBERS."""

from __future__ import annotations

import pytest

ACTIVE = "ACTIVE"


@pytest.fixture
def members(request):
    return request.module.MEMBERS


def test_the_service_runs_and_is_enabled(host):
    service = host.service("aether")
    assert service.is_running and service.is_enabled


def test_no_mark_of_a_change_is_left(host):
    assert not host.file("/var/lib/aether/.rolling").exists


def test_it_sees_the_members(member, members):
    assert member.seen() == members


def test_its_list_has_the_members(member, members):
    assert member.list_length() == len(members)


def test_it_runs_with_the_list_of_the_members(v1, members):
    assert sorted(v1.ask("/api/cluster/topology")["coreNodes"]) == members


def test_the_members_are_on_duty(v1, members):
    assert {e["nodeId"]: e["state"] for e in v1.ask("/api/nodes/lifecycle")} == {m: "ON_DUTY" for m in members}


def test_it_has_the_state(v1):
    assert v1.ask("/api/blueprints") == {"blueprints": [{"id": "org.example:shop:1.0.0", "sliceCount": 2}]}
    assert v1.ask("/api/thresholds")["cpu.usage"] == {"warning": 0.6, "critical": 0.85}


def test_the_slices_are_active(member):
    assert member.slices() == {"org.example:cart:1.0.0": [ACTIVE] * 2, "org.example:checkout:1.0.0": [ACTIVE] * 3}
