# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three that stay were all stopped and run with the list of three; the state that went with the stop is back."""

from __future__ import annotations

from whole import *  # noqa: F403

testinfra_hosts = MEMBERS = ["n1", "n2", "n3"]


def test_its_unit_lists_the_three(v1):
    assert v1.peers() == MEMBERS


def test_no_lock_is_left(host):
    assert not host.file("/run/aether.lock").exists
