# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After scaling: every host shows the counts that were asked for, all instances active, and the artifacts in the repository."""

from __future__ import annotations

ACTIVE = "ACTIVE"


def test_the_counts_are_as_asked_for_and_active(member):
    assert {artifact.split(":")[1]: states for artifact, states in member.slices().items()} == {"cart": [ACTIVE] * 3, "checkout": [ACTIVE]}


def test_the_blueprint_is_the_one_that_was_applied(v1):
    assert v1.ask("/api/blueprints") == {"blueprints": [{"id": "com.example:shop:1.0.0", "sliceCount": 2}]}
    assert {s["artifact"]: s["targetInstances"] for s in v1.ask("/api/slices")["slices"]} == {"com.example:cart:1.0.0": 3, "com.example:checkout:1.0.0": 1}


def test_the_artifacts_are_in_the_repository(v1):
    for name in ("cart", "checkout"):
        found = v1.ask("/repository/info/com/example/%s/1.0.0" % name)
        assert found["isDeployed"] and len(found["sha1"]) == 40
