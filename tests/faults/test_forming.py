# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster is formed, and a node does not get in. site.yml stops it and starts it again as often as it may, and stops then.

As in the product (docs/product.md 2): a node that answers, sees none of those that were started before it, and stays so until it is started again.
"""

from __future__ import annotations

import threading

import pytest
from test_rolling import since

THREE = ["n1", "n2", "n3"]


@pytest.fixture
def fresh(lab):
    """Hosts with nothing on them."""
    for host in THREE:
        lab._wipe(host)
    return lab


@pytest.mark.fault("the formation", "a node does not get in at its first start")
def test_a_node_that_did_not_get_in_is_stopped_and_started_again(fresh):
    lab = fresh

    def block(process):  # once everything that can be known beforehand is known
        lab.pool.fault("cut", ["n1"], ["n2"])
        threading.Thread(target=let_in_the_second).start()

    def let_in_the_second():
        lab.wait(lambda: lab.runs("n2"), "the first start of n2", 120)
        first = since(lab, "n2")
        lab.wait(lambda: lab.runs("n2") and since(lab, "n2") != first, "its second start", 120)
        lab.pool.heal()

    result = lab.play_until("site", THREE, "PLAY [4/6", block)
    assert result.code == 0, result.tail()
    assert "n2 sees 0 of 1 earlier members. This is attempt 1 of 3." in result.text and "This is attempt 2" not in result.text, result.tail()
    assert lab.at_one("n1", THREE) and lab.play("site", THREE).changed == 0


@pytest.mark.fault("the formation", "a node never gets in")
def test_a_node_that_never_gets_in_ends_the_formation_and_the_next_run_goes_on(fresh):
    lab = fresh
    result = lab.play_until("site", THREE, "PLAY [4/6", lambda process: lab.pool.fault("cut", ["n1"], ["n2"]), aether_heal_attempts=1)
    assert result.code != 0 and result.phase.startswith("4/6"), result.tail()
    assert "n2 was stopped and started again as often as aether_heal_attempts allows (1), and still is kept out by the others" in result.text, result.tail()
    assert lab.runs("n1") and lab.runs("n2") and not lab.runs("n3")
    lab.pool.heal()
    lab.wait(lambda: lab.get("n1", "/api/health")["connectedPeers"] == 1, "n1 and n2 to see each other")
    lab.play("site", THREE)
    assert lab.at_one("n1", THREE) and lab.lists(THREE) == {h: THREE for h in THREE}
