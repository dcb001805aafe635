# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A member whose host is gone gets a successor: under its id, or under one of its own."""

from __future__ import annotations

import pytest

THREE = ["n1", "n2", "n3"]
WITHOUT = ["n1", "n2", "n4"]
SAME = {"n4": "n3"}  # the new host has the id of the old one


@pytest.mark.fault("known beforehand", "a member's host is gone for good, and nobody says so", play=(0, 1), then=2)
@pytest.mark.fault("the time after a replacement under the same id", "the dead host comes back and starts its node", play=3, then=4)
def test_the_same_id_on_a_new_host(lab):
    lab.pool.kill("n3")
    result = lab.play("replace_node", WITHOUT, ok=False, ids=SAME)
    assert "-e aether_replace=ID" in result.text and not lab.runs("n4")
    result = lab.play("replace_node", WITHOUT, ok=False, ids=SAME, aether_replace="n3")
    assert "-e aether_confirm_dead=n3" in result.text and not lab.runs("n4")
    places = {"n1": "n1", "n2": "n2", "n3": "n4"}
    with lab.witness(places) as witness:
        lab.play("replace_node", WITHOUT, ids=SAME, aether_replace="n3", aether_confirm_dead="n3")
    lab.judge(witness)
    assert lab.has_state("n4") and lab.active("n1") == 5
    assert lab.ips["n3"] in unit(lab, "n1"), "the others' lists stay as they are"

    # The old host was only said to be dead. Its node starts at boot, and is found as long as a list names its address.
    with lab.witness(places) as witness:
        lab.pool.boot("n3")
        lab.wait(lambda: lab.get("n3", "/api/status")["nodeId"] == "n3", "the old host's node to answer", 90)
        result = lab.play("rolling_restart", WITHOUT, ok=False, ids=SAME)
        assert "n3 runs twice" in result.text and lab.url("n3") in result.text and lab.url("n4") in result.text and result.changed == 0, result.tail()

        # It is fenced by a second run. The others' lists are rolled when that is wanted, and then there is nothing left to do.
        old = dict(aether_replace="n3", aether_old_host="n3", aether_roll_lists=True)
        lab.play("replace_node", WITHOUT, ids=SAME, others=["n3"], given=old)
    lab.judge(witness)
    assert lab.pool.exec("n3", "systemctl", "start", "aether", check=False).returncode != 0 and not lab.runs("n3")
    assert all(lab.ips["n3"] not in unit(lab, h) for h in WITHOUT)
    assert lab.play("add_node", WITHOUT, ids=SAME).changed == 0


@pytest.mark.fault("the replacement of a member", "its old host still runs: it is fenced, and refuses to start")
def test_a_new_id_and_a_fenced_host(lab):
    """The old host still runs: it is fenced first, and can not come back by itself."""
    with lab.witness(successors={"n4": "n3"}) as witness:
        lab.play("replace_node", WITHOUT, "-e", "aether_replace=n3", "-e", "aether_old_host=n3", others=["n3"])
    lab.judge(witness)
    assert lab.lists(WITHOUT) == {h: WITHOUT for h in WITHOUT} and lab.active("n1") == 5
    assert lab.pool.exec("n3", "systemctl", "start", "aether", check=False).returncode != 0 and not lab.runs("n3")
    assert lab.play("add_node", WITHOUT).changed == 0


@pytest.mark.fault("known beforehand", "a member that is to be replaced is not dead", play=0, then=None)
@pytest.mark.fault("known beforehand", "a member that is to be replaced is not dead: only its management port is closed", play=1, then=None)
def test_a_member_that_is_not_dead_is_not_replaced(lab):
    dead = dict(ids=SAME, aether_replace="n3", aether_confirm_dead="n3")
    result = lab.play("replace_node", WITHOUT, ok=False, **dead)
    assert "%s still answers, so n3 is not dead" % lab.ips["n3"] in result.text and not lab.runs("n4") and lab.runs("n3"), result.tail()
    lab.close("n3")
    result = lab.play("replace_node", WITHOUT, ok=False, **dead)
    assert "n3 is still connected to the members, so it is not dead" in result.text and result.phase.startswith("3/3"), result.tail()
    lab.unfront("n3")
    assert not lab.runs("n4") and lab.at_one("n1", THREE)


def unit(lab, host) -> str:
    return lab.pool.exec(host, "cat", "/etc/systemd/system/aether.service").stdout
