# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After growing: every host runs with the list of five and holds the state."""

from __future__ import annotations

import json

MEMBERS = ["n1", "n2", "n3", "n4", "n5"]


def ask(host, path):
    return json.loads(host.check_output("curl -sf http://127.0.0.1:8080%s", path))


def test_the_service_runs_and_is_enabled(host):
    service = host.service("aether")
    assert service.is_running and service.is_enabled


def test_it_runs_with_the_list_of_five(host):
    assert sorted(ask(host, "/api/cluster/topology")["coreNodes"]) == MEMBERS
    assert sorted(n["id"] for n in ask(host, "/api/status")["cluster"]["nodes"]) == MEMBERS


def test_it_has_the_state(host):
    assert ask(host, "/api/blueprints") == {"blueprints": [{"id": "org.example:shop:1.0.0", "sliceCount": 2}]}
    assert ask(host, "/api/thresholds")["cpu.usage"] == {"warning": 0.6, "critical": 0.85}
    assert {e["nodeId"]: e["state"] for e in ask(host, "/api/nodes/lifecycle")} == {m: "ON_DUTY" for m in MEMBERS}


def test_the_slices_are_active(host):
    slices = ask(host, "/api/slices")["slices"]
    assert len(slices) == 2
    for entry in slices:
        assert [i["state"] for i in entry["instances"]] == ["ACTIVE"] * entry["targetInstances"]


def test_no_mark_of_a_change_is_left(host):
    assert not host.file("/var/lib/aether/.rolling").exists
