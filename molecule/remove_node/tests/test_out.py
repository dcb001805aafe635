# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two that were taken out: stopped, and not started at boot. What they had on disk is still there, so that they can come back."""

from __future__ import annotations

testinfra_hosts = ["n4", "n5"]


def test_the_service_is_stopped_and_disabled(host):
    service = host.service("aether")
    assert not service.is_running and not service.is_enabled


def test_no_node_runs(host):
    assert host.run("ps -C java").rc == 1


def test_what_was_installed_is_still_there(host):
    assert host.file("/etc/systemd/system/aether.service").exists and host.file("/opt/aether/current/aether-node.jar").exists
