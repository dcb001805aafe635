# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A member whose host is gone gets a successor: under its id, or under one of its own."""

from __future__ import annotations


THREE = ["n1", "n2", "n3"]
WITHOUT = ["n1", "n2", "n4"]


def test_the_same_id_on_a_new_host(lab):
    same = {"n4": "n3"}
    lab.pool.kill("n3")
    result = lab.play("replace_node", WITHOUT, ok=False, ids=same)
    assert "-e aether_replace=ID" in result.text and not lab.runs("n4")
    result = lab.play("replace_node", WITHOUT, ok=False, ids=same, aether_replace="n3")
    assert "-e aether_confirm_dead=n3" in result.text and not lab.runs("n4")
    with lab.witness() as witness:
        lab.play("replace_node", WITHOUT, ids=same, aether_replace="n3", aether_confirm_dead="n3")
    lab.judge(witness)
    assert lab.has_state("n4") and lab.active("n1") == 5
    assert lab.ips["n3"] in unit(lab, "n1"), "the others' lists stay as they are"

    # The others' lists are rolled when that is wanted, and then there is nothing left to do.
    with lab.witness({"n1": "n1", "n2": "n2", "n3": "n4"}) as witness:
        lab.play("replace_node", WITHOUT, ids=same, aether_replace="n3", aether_confirm_dead="n3", aether_roll_lists=True)
    lab.judge(witness)
    assert all(lab.ips["n3"] not in unit(lab, h) for h in WITHOUT)
    assert lab.play("add_node", WITHOUT, ids=same).changed == 0


def test_a_new_id_and_a_fenced_host(lab):
    """The old host still runs: it is fenced first, and can not come back by itself."""
    with lab.witness(successors={"n4": "n3"}) as witness:
        lab.play("replace_node", WITHOUT, "-e", "aether_replace=n3", "-e", "aether_old_host=n3", others=["n3"])
    lab.judge(witness)
    assert lab.lists(WITHOUT) == {h: WITHOUT for h in WITHOUT} and lab.active("n1") == 5
    assert lab.pool.exec("n3", "systemctl", "start", "aether", check=False).returncode != 0 and not lab.runs("n3")
    assert lab.play("add_node", WITHOUT).changed == 0


def test_a_member_that_is_not_dead_is_not_replaced(lab):
    result = lab.play("replace_node", WITHOUT, ok=False, ids={"n4": "n3"}, aether_replace="n3", aether_confirm_dead="n3")
    assert "still answers, so n3 is not dead" in result.text and not lab.runs("n4") and lab.runs("n3")
    # Only its management port is closed: the members still see it.
    lab.pool.exec("n3", "systemctl", "kill", "--signal=STOP", "aether")
    result = lab.play("replace_node", WITHOUT, ok=False, ids={"n4": "n3"}, aether_replace="n3", aether_confirm_dead="n3", aether_management_port=8080)
    assert not lab.runs("n4") and "n3" in result.text
    lab.pool.exec("n3", "systemctl", "kill", "--signal=CONT", "aether")


def unit(lab, host) -> str:
    return lab.pool.exec(host, "cat", "/etc/systemd/system/aether.service").stdout
