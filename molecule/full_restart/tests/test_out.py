# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two that were taken out: stopped with the others, not started again, and not at boot."""

from __future__ import annotations

testinfra_hosts = ["n4", "n5"]


def test_the_service_is_stopped_and_disabled(host):
    service = host.service("aether")
    assert not service.is_running and not service.is_enabled


def test_no_node_runs(host):
    assert host.run("ps -C java").rc == 1
