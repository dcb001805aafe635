# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What testinfra's tests of the scenarios ask a node, from its own host, whichever API it has (AETHER_SANDBOX_API: v1 or runbook)."""

from __future__ import annotations

import json
import os

import pytest

API = os.environ.get("AETHER_SANDBOX_API", "v1")


class Member:
    """The node of one host."""

    def __init__(self, host):
        self.host, self.name = host, host.check_output("hostname")

    def ask(self, path):
        return json.loads(self.host.check_output("curl -sf http://127.0.0.1:8080%s", path))

    def seen(self):
        """Ids of the members that it shows, itself included."""
        if API == "runbook":
            return sorted(node["id"] for node in self.ask("/cluster/status")["nodes"])
        return sorted(node["id"] for node in self.ask("/api/status")["cluster"]["nodes"])

    def peers(self):
        """The list that its unit gives it, without ports: it runs with that one, or will at its next start. Ids, or with the runbook's API addresses of the others."""
        peers = self.host.file("/etc/systemd/system/aether.service").content_string.split("--peers=")[1].split()[0].split(",")
        return [peer.split(":")[0] for peer in peers]

    def list_length(self):
        """How many members are in that list, itself included."""
        return len(self.peers()) + (API == "runbook")

    def slices(self):
        """{artifact: states of its instances}."""
        found = {}
        if API == "runbook":
            for instance in self.ask("/slices"):
                found.setdefault(instance["artifact"], []).append(instance["state"])
        else:
            for entry in self.ask("/api/slices").get("slices", []):
                found[entry["artifact"]] = [i["state"] for i in entry.get("instances", [])]
        return found


@pytest.fixture
def member(host):
    return Member(host)


@pytest.fixture
def v1(member):
    """The node of the host, for what only the API v1 tells."""
    if API != "v1":
        pytest.skip("the API %s does not tell that" % API)
    return member
