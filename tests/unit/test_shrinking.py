# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is taken out next and whose list is changed when; against a head count of a cluster that obeys."""

from __future__ import annotations

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.shrinking import explain, plan_shrink, rolls_before_the_stop
from builders import cluster, gone, member
from hypothesis import given, settings
from hypothesis import strategies as st

SEVEN = ["n%d" % n for n in range(1, 8)]
THREE, FOUR, FIVE = SEVEN[:3], SEVEN[:4], SEVEN[:5]


def sound(nodes):
    return cluster(*[member(n, nodes) for n in nodes])


def codes(plan):
    return [r.code for r in plan.refusals]


class Headcount:
    """Members that are up and the list each runs with. Every step that takes one down is counted by everybody's own arithmetic."""

    def __init__(self, nodes, leader):
        self.lists = {n: list(nodes) for n in nodes}
        self.up, self.leader = set(nodes), leader
        self.least = min(len(nodes) - (len(l) // 2 + 1) for l in self.lists.values())

    def observe(self, voters):
        views = [
            member(n, sorted(self.lists[n]), leader=self.leader, peers=frozenset(self.up), lifecycle={i: "ON_DUTY" for i in self.up}, core_nodes=frozenset(self.lists[n]), cluster_size=len(self.lists[n]))
            if n in self.up else gone(n) for n in voters
        ]
        return cluster(*views, voters=voters)

    def down(self, node):
        self.up.discard(node)
        for n in self.up:
            assert len(self.up) >= len(self.lists[n]) // 2 + 1, "%s with the list %s has no quorum when %s is down" % (n, self.lists[n], node)
        if self.leader == node:
            self.leader = min(self.up)

    def restart(self, node, members):
        self.down(node)
        self.lists[node] = list(members)
        self.up.add(node)


def take_out(count, removing, interrupted=(), **options):
    """Obey the plans until everybody is out; before the steps numbered in ``interrupted`` a plan is left and made anew. Returns who was stopped, in order."""
    stopped, number = [], 0
    for _round in range(len(removing) + len(interrupted) + 1):
        plan = plan_shrink(count.observe(list(count.lists)), removing, stopped=[n for n in removing if n not in count.up], **options)
        assert not plan.refusals, codes(plan)
        if plan.leaving is None:
            return stopped
        steps = [(count.restart, n) for n in plan.roll_before] + ([(count.down, plan.leaving)] if plan.to_stop else []) + [(count.restart, n) for n in plan.roll_after]
        for act, node in steps:
            number += 1
            if number in interrupted:
                break
            if act == count.down:
                stopped.append(node)
                count.down(node)
            else:
                count.restart(node, plan.rest)
    raise AssertionError("it does not end")


@settings(deadline=None)
@given(st.data())
def test_nobody_loses_the_quorum_whoever_leaves_and_wherever_it_is_interrupted(data):
    nodes = SEVEN[: data.draw(st.integers(3, 7))]
    removing = data.draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=len(nodes) - 2, unique=True))
    leader = data.draw(st.sampled_from(nodes))
    count = Headcount(nodes, leader)
    stopped = take_out(count, removing, data.draw(st.sets(st.integers(1, 30), max_size=6)), allow_even=True, allow_small=True)
    rest = [n for n in nodes if n not in removing]
    assert sorted(stopped) == sorted(removing) and count.up == set(rest)
    assert all(sorted(count.lists[n]) == rest for n in rest)


@given(st.integers(3, 7), st.data())
def test_a_leader_that_leaves_goes_last(size, data):
    nodes = SEVEN[:size]
    removing = data.draw(st.permutations(nodes).map(lambda p: list(p)[: size - 2]))
    plan = plan_shrink(sound(nodes), removing, allow_even=True, allow_small=True)
    assert plan.order[-1] == "n1" or "n1" not in removing
    assert [n for n in plan.order if n != "n1"] == [n for n in removing if n != "n1"]


def test_the_order_that_was_seen_to_work():
    assert [size for size in range(3, 8) if rolls_before_the_stop(size)] == [3, 4]
    four = plan_shrink(sound(FOUR), ["n4"])
    assert (four.roll_before, four.roll_after, four.rest) == (["n2", "n3"], ["n1"], THREE) and not four.refusals
    assert "n2, n3 would be restarted with the list n1, n2, n3 while it still runs" in explain(four)[0]
    five = plan_shrink(sound(FIVE), ["n4", "n5"])
    assert (five.roll_before, five.roll_after, five.leaving) == ([], ["n2", "n3", "n5", "n1"], "n4")
    assert explain(five)[-1] == "After that n5, in the same way."


def test_the_end_is_judged_and_not_the_steps():
    assert codes(plan_shrink(sound(FIVE), ["n5"])) == ["even"]
    assert codes(plan_shrink(sound(FIVE), ["n4", "n5"])) == []
    assert codes(plan_shrink(sound(THREE), ["n3"])) == ["small", "even"]
    assert codes(plan_shrink(sound(THREE), ["n2", "n3"])) == ["small"]
    assert codes(plan_shrink(sound(THREE), THREE)) == ["all"]


def test_names_that_are_none_are_refused():
    plan = plan_shrink(sound(FIVE), ["n4", "n9"])
    assert codes(plan) == ["no_member"] and "n9 is no member: the inventory has n1, n2, n3, n4, n5" in plan.refusals[0].sentence
    assert codes(plan_shrink(sound(FIVE), [])) == ["nobody"]


@pytest.mark.parametrize("removing, refused", [(["n5"], []), (["n4", "n5"], ["no_margin_kept"])])
def test_lists_that_stay_count_the_absent(removing, refused):
    plan = plan_shrink(sound(FIVE), removing, keep_lists=True)
    assert codes(plan) == refused
    if not refused:
        assert plan.roll_before == plan.roll_after == [] and plan.notes == ["5 voters configured, 4 running: can lose 1."]
    else:
        assert "5 voters configured, 3 running: can lose 0" in plan.refusals[0].sentence


def test_a_silent_one_must_be_given_up_for_dead_and_be_dead():
    up = frozenset(FOUR)
    views = [member(n, FIVE, peers=up, lifecycle={i: "ON_DUTY" for i in FOUR}) for n in FOUR]
    seen = cluster(*views, gone("n5"))
    assert codes(plan_shrink(seen, ["n5"], allow_even=True)) == ["dead"]
    plan = plan_shrink(seen, ["n5"], dead=["n5"], allow_even=True)
    assert not plan.refusals and not plan.to_stop and plan.roll_before == [] and plan.roll_after == ["n2", "n3", "n4", "n1"]
    assert codes(plan_shrink(sound(FIVE), ["n5"], dead=["n5"], allow_even=True)) == ["still_alive"]
    # Without it there is no margin to restart anybody.
    three = cluster(*[member(n, THREE, peers=frozenset(["n1", "n2"]), lifecycle={"n1": "ON_DUTY", "n2": "ON_DUTY"}) for n in ("n1", "n2")], gone("n3"))
    assert codes(plan_shrink(three, ["n3"], dead=["n3"], allow_even=True, allow_small=True)) == ["no_margin"]


def test_a_member_that_stays_must_be_up_and_everybody_known():
    up = frozenset(["n1", "n2", "n4", "n5"])
    views = [member(n, FIVE, peers=up, lifecycle={i: "ON_DUTY" for i in up}) for n in sorted(up)]
    assert codes(plan_shrink(cluster(*views, gone("n3"), voters=FIVE), ["n4", "n5"])) == ["member_down"]
    plan = plan_shrink(cluster(*[member(n, FIVE) for n in FOUR]), ["n4"])
    assert codes(plan) == ["not_in_inventory"] and "n5" in plan.refusals[0].sentence


def test_a_dialect_without_lists_is_rolled_by_those_on_disk():
    """With the shorter list on disk only three of five would run without a margin."""
    bare = dict(leader=None, lifecycle={}, evidence=(), has_lists=False, has_leader=False, has_lifecycle=False)
    plan = plan_shrink(cluster(*[member(n, FIVE, cluster_size=5, **bare) for n in FIVE]), ["n5", "n4"])
    assert (plan.leaving, plan.roll_before, plan.roll_after) == ("n5", [], FOUR)
    plan = plan_shrink(cluster(*[member(n, FOUR, cluster_size=4, **bare) for n in FOUR], gone("n5")), ["n5", "n4"], stopped=["n5"])
    assert (plan.leaving, plan.roll_before, plan.roll_after) == ("n4", THREE, [])
    unknown = plan_shrink(cluster(*[member(n, FIVE, core_nodes=frozenset(), cluster_size=0, **bare) for n in FIVE]), ["n5", "n4"])
    assert (unknown.roll_before, unknown.roll_after) == (FOUR, [])  # whatever they count from, all five run meanwhile


def test_who_is_out_is_not_taken_out_again():
    seen = cluster(*[member(n, THREE) for n in THREE], gone("n4"), gone("n5"))
    plan = plan_shrink(seen, ["n4", "n5"], stopped=["n4", "n5"])
    assert plan.done and plan.out == ["n4", "n5"] and plan.rest == THREE and explain(plan) == ["Nobody is left to be taken out."]
    up = frozenset(FOUR)
    kept = cluster(*[member(n, FIVE, peers=up, lifecycle={i: "ON_DUTY" for i in FOUR}) for n in FOUR], gone("n5"))
    assert plan_shrink(kept, ["n5"], stopped=["n5"], keep_lists=True).done
    assert plan_shrink(kept, ["n5"], stopped=["n5"], allow_even=True).roll_after == ["n2", "n3", "n4", "n1"]
