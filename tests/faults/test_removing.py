# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members are taken out: drained, stopped, and off the others' lists. Nobody loses the quorum, no slice its minimum.

The majority that is to be kept is that of those that stay.
"""

from __future__ import annotations

import threading

import pytest
from lab import FILES

THREE, FOUR, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4"], ["n1", "n2", "n3", "n4", "n5"]
MEMBERS = FIVE


def out(lab, *hosts):
    return all(not lab.runs(h) and not lab.enabled(h) for h in hosts)


def as_before(lab):
    assert all(lab.runs(h) for h in FIVE) and lab.lists() == {h: FIVE for h in FIVE} and lab.active("n1") == 5


@pytest.mark.fault("known beforehand", "the name is not typed", play=0, then=None)
@pytest.mark.fault("known beforehand", "a name that no member has", play=1, then=None)
@pytest.mark.fault("known beforehand", "too few or an even number would be left, or no margin", play=(2, 3, 4), then=None)
@pytest.mark.fault("known beforehand", "an end is asked for that there is not", play=5, then=None)
def test_what_is_refused_before_anything_is_touched(lab):
    for sentence, variables in (
        ("the name was not typed. Where nobody can type it, say that it is meant with -e aether_yes=true", {"aether_remove": "n4,n5"}),
        ("n9 is no member: the inventory has n1, n2, n3, n4, n5", {"aether_remove": "n9", "aether_yes": True}),
        ("The cluster would end with 4 voters, an even number", {"aether_remove": "n5", "aether_yes": True}),
        ("2 members would be left", {"aether_remove": "n3,n4,n5", "aether_yes": True}),
        ("5 voters configured, 3 running: can lose 0", {"aether_remove": "n4,n5", "aether_yes": True, "aether_finish": "keep_lists"}),
        ("it must be roll_lists, keep_lists or full_restart", {"aether_remove": "n5", "aether_finish": "sideways"}),
    ):
        result = lab.play("remove_node", FIVE, ok=False, given=variables)
        assert sentence in result.text and "othing was touched" in result.text, result.tail()
    as_before(lab)
    result = lab.play("remove_node", FIVE, "--check", given=dict(aether_remove="n4,n5"))
    assert "n4: would be drained and stopped." in result.text and "After that n5, in the same way." in result.text
    as_before(lab)


@pytest.mark.fault("the restart of a follower", "Ctrl-C", play=0, then=1)
def test_five_become_three_in_two_runs_and_five_again(lab):
    """Interrupted while the lists are shortened, and run again; then nothing is left of those that are out, and they come back."""
    given = dict(aether_remove="n5,n4", aether_yes=True, aether_purge=True)
    with lab.witness(baseline=THREE) as witness:
        lab.play_until("remove_node", FIVE, "TASK [pragmatica.aether.aether_roll : Start the node]", lambda process: threading.Timer(1.0, lambda: lab.interrupt(process)).start(), given=given)
        lab.play("remove_node", FIVE, given=given)
    lab.judge(witness)
    assert out(lab, "n4", "n5") and lab.lists(THREE) == {h: THREE for h in THREE} and lab.active("n1") == 5
    for host in ("n4", "n5"):
        assert [path for path in FILES if lab.pool.exec(host, "test", "-e", path, check=False).returncode == 0] == ["/opt/aether"]
    again = lab.play("remove_node", FIVE, given=given)
    assert again.changed == 0 and "Nobody is left to be taken out." in again.text
    with lab.witness() as witness:
        lab.play("add_node", FIVE)
    lab.judge(witness)
    assert lab.lists() == {h: FIVE for h in FIVE} and lab.active("n1") == 5


def test_the_leader_is_taken_out(lab):
    with lab.witness(baseline=FIVE[1:]) as witness:
        lab.play("remove_node", FIVE, given=dict(aether_remove="n1", aether_yes=True, aether_allow_even=True))
    lab.judge(witness)
    rest = FIVE[1:]
    assert out(lab, "n1") and lab.lists(rest) == {h: rest for h in rest} and lab.active("n2") == 5


@pytest.mark.fault("known beforehand", "a host is gone for good")
def test_a_member_whose_host_is_dead(lab):
    lab.pool.kill("n5")
    result = lab.play("remove_node", FIVE, ok=False, given=dict(aether_remove="n5", aether_yes=True, aether_allow_even=True))
    assert "n5 cannot be reached" in result.text and "aether_remove_dead=true" in result.text
    lab.wait(lambda: "n5" not in lab.get("n1", "/api/status")["cluster"]["nodes"].__repr__(), "n5 to be let go", 60)
    with lab.witness(baseline=FOUR) as witness:
        lab.play("remove_node", FIVE, given=dict(aether_remove="n5", aether_yes=True, aether_allow_even=True, aether_remove_dead=True))
    lab.judge(witness)
    assert lab.lists(FOUR) == {h: FOUR for h in FOUR} and lab.active("n1") == 5


def test_lists_that_are_kept(lab):
    with lab.witness() as witness:
        result = lab.play("remove_node", FIVE, given=dict(aether_remove="n5", aether_yes=True, aether_finish="keep_lists"))
    lab.judge(witness)
    assert result.text.count("5 voters configured, 4 running: can lose 1.") >= 2
    assert out(lab, "n5") and lab.lists(FOUR) == {h: FIVE for h in FOUR} and lab.active("n1") == 5
    # Simply deleted from the inventory it is missed; as a retired one it stays in every list that is written, and it can come back.
    for play in ("add_node", "rolling_restart", "site"):
        refused = lab.play(play, FOUR, ok=False)
        assert "n5 in their lists, the inventory has not" in refused.text and "remove_node.yml" in refused.text and "othing was touched" in refused.text, refused.tail()
    assert lab.play("add_node", FOUR, retired=["n5"]).changed == 0
    with lab.witness() as witness:
        lab.play("rolling_restart", FOUR, "--limit", "n2", retired=["n5"])
        assert lab.lists(FOUR) == {h: FIVE for h in FOUR}
        lab.play("add_node", FIVE)
    lab.judge(witness)
    assert lab.lists() == {h: FIVE for h in FIVE} and lab.runs("n5") and lab.enabled("n5")


@pytest.mark.fault("the restart of a follower", "it never gets its state", play=1)
def test_a_follower_that_cannot_be_healed_gets_its_old_list_back(lab):
    lab.play("remove_node", FIVE, given=dict(aether_remove="n5", aether_yes=True, aether_allow_even=True))
    lab.switch("n2", stateless=4)  # the first start and three to heal it
    with lab.witness() as witness:
        result = lab.play("remove_node", FOUR, ok=False, given=dict(aether_remove="n4", aether_yes=True))
    lab.judge(witness)
    assert "n4 was not taken out: n2 could not be given the shorter list" in result.text
    assert lab.lists(FOUR) == {h: FOUR for h in FOUR} and lab.runs("n4") and lab.active("n1") == 5
    assert {e["nodeId"]: e["state"] for e in lab.get("n1", "/api/nodes/lifecycle")}["n4"] == "ON_DUTY"
    lab.switch("n2")
    with lab.witness(baseline=THREE) as witness:
        lab.play("remove_node", FOUR, given=dict(aether_remove="n4", aether_yes=True))
    lab.judge(witness)
    assert lab.lists(THREE) == {h: THREE for h in THREE} and out(lab, "n4")


@pytest.mark.fault("the drain", "no other node has room for a slice")
def test_no_room_is_refused_and_made_where_that_is_wanted(lab):
    lab.request("POST", "n1", "/api/scale", '{"artifact": "org.example:checkout:1.0.0", "instances": 5}')
    lab.wait(lambda: lab.active("n1") == 7, "five instances")
    result = lab.play("remove_node", FIVE, ok=False, given=dict(aether_remove="n5", aether_yes=True, aether_allow_even=True))
    assert "make_room" in result.text and lab.runs("n5")
    with lab.witness(baseline=FOUR) as witness:
        lab.play("remove_node", FIVE, given=dict(aether_remove="n5", aether_yes=True, aether_allow_even=True, aether_make_room=True))
    lab.judge(witness)
    assert out(lab, "n5") and lab.lists(FOUR) == {h: FOUR for h in FOUR} and lab.active("n1") == 6
