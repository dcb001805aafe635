# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node looks like on its host, and what it says of the cluster from there."""

from __future__ import annotations

from whole import test_no_mark_of_a_change_is_left, test_the_service_runs_and_is_enabled  # noqa: F401

MEMBERS = ["n1", "n2", "n3"]


def test_the_unit_fits_a_jvm_that_takes_part_in_a_cluster(host, member):
    unit = host.file("/etc/systemd/system/aether.service").content_string
    assert "SuccessExitStatus=143" in unit and "MemoryDenyWriteExecute=true" not in unit
    assert int(unit.split("RestartSec=")[1].split()[0]) >= 30
    assert "--node-id=%s " % member.name in unit
    assert member.list_length() == 3


def test_the_unit_lists_every_member_in_the_inventorys_order(v1):
    assert v1.peers() == MEMBERS


def test_the_node_does_not_run_as_root(host):
    user = host.check_output("ps -o user= -C java").split()
    assert user == ["aether"]


def test_the_configuration_is_not_for_everybody(v1):
    toml = v1.host.file("/etc/aether/aether.toml")
    assert toml.mode == 0o640 and toml.group == "aether"


def test_no_file_of_variables_is_made_where_none_are_given(host):
    assert not host.file("/etc/aether/aether.env").exists  # only with aether_extra_env


def test_the_release_is_named_by_its_checksum(host):
    jar = host.file("/opt/aether/current/aether-node.jar")
    assert host.file("/opt/aether/current").linked_to.endswith(jar.sha256sum[:12])


def test_it_sees_every_member(member):
    assert member.seen() == MEMBERS


def test_it_is_a_member_by_its_own_word(v1):
    assert sorted(v1.ask("/api/cluster/topology")["coreNodes"]) == MEMBERS
    assert {e["nodeId"]: e["state"] for e in v1.ask("/api/nodes/lifecycle")} == {m: "ON_DUTY" for m in MEMBERS}
    assert v1.ask("/api/status")["leader"] in MEMBERS
