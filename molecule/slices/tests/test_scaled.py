# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After scaling: every host shows the counts that were asked for, all instances active, and the artifacts in the repository."""

from __future__ import annotations

import json

CART, CHECKOUT = "com.example:cart:1.0.0", "com.example:checkout:1.0.0"


def ask(host, path):
    return json.loads(host.check_output("curl -sf http://127.0.0.1:8080%s", path))


def test_the_counts_are_as_asked_for_and_active(host):
    slices = {s["artifact"]: s for s in ask(host, "/api/slices")["slices"]}
    assert {a: s["targetInstances"] for a, s in slices.items()} == {CART: 3, CHECKOUT: 1}
    for entry in slices.values():
        assert [i["state"] for i in entry["instances"]] == ["ACTIVE"] * entry["targetInstances"]


def test_the_blueprint_is_the_one_that_was_applied(host):
    assert ask(host, "/api/blueprints") == {"blueprints": [{"id": "com.example:shop:1.0.0", "sliceCount": 2}]}


def test_the_artifacts_are_in_the_repository(host):
    for name in ("cart", "checkout"):
        found = ask(host, "/repository/info/com/example/%s/1.0.0" % name)
        assert found["isDeployed"] and len(found["sha1"]) == 40
