# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that was taken out and stays in every list: it need not run, it counts in every denominator, and it can come back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.growth import plan_bootstrap, plan_grow, plan_roll
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations.session import Session
from ansible_collections.pragmatica.aether.plugins.module_utils.quorum import judge
from ansible_collections.pragmatica.aether.plugins.module_utils.shrinking import plan_shrink
from builders import cluster, gone, member

FOUR, FIVE = ["n1", "n2", "n3", "n4"], ["n1", "n2", "n3", "n4", "n5"]


def four_of_five(retired=("n5",), up=FOUR):
    """Members that run with the list of five and see those that are up."""
    views = [member(n, up, core_nodes=frozenset(FIVE), cluster_size=5) if n in up else gone(n) for n in FOUR]
    return replace(cluster(*views, voters=FOUR), retired=tuple(retired))


def codes(plan):
    return [r.code for r in plan.refusals]


def test_the_cluster_is_complete_without_it_and_its_denominator_counts_it():
    verdict = judge(four_of_five())
    assert verdict.holds("complete") and verdict.needed == 3 and verdict.can_lose == 1
    assert not judge(four_of_five(retired=())).holds("complete")
    assert judge(four_of_five(up=FOUR[:3])).can_lose == 0


def test_no_play_wants_to_change_anything_about_it():
    for plan in (plan_bootstrap(four_of_five()), plan_grow(four_of_five())):
        assert plan.refusals == [] and not plan.to_start and not plan.to_add and not plan.to_roll and not plan.to_finish
    rolled = plan_roll(four_of_five())
    assert rolled.refusals == [] and rolled.to_roll == ["n2", "n3", "n4", "n1"] and rolled.notes == []


@pytest.mark.parametrize("plan", [plan_bootstrap, plan_grow, plan_roll])
def test_one_that_is_deleted_from_the_inventory_instead_is_missed_by_every_play(plan):
    refused = plan(four_of_five(retired=()))
    assert "not_in_inventory" in codes(refused)
    sentence = next(r.sentence for r in refused.refusals if r.code == "not_in_inventory")
    assert "n5" in sentence and "remove_node.yml -e aether_remove=ID" in sentence


def test_back_in_the_inventory_it_is_added_and_nobody_is_rolled():
    views = [member(n, FOUR, core_nodes=frozenset(FIVE), cluster_size=5) for n in FOUR] + [gone("n5")]
    plan = plan_grow(cluster(*views, voters=FIVE))
    assert plan.refusals == [] and plan.to_add == ["n5"] and plan.to_roll == []


def test_what_would_be_left_counts_it():
    assert codes(plan_shrink(four_of_five(), ["n4"], keep_lists=True)) == ["no_margin_kept"]
    assert codes(plan_shrink(four_of_five(), ["n4"])) == ["even"]
    assert codes(plan_shrink(four_of_five(), ["n4"], allow_even=True)) == []


def test_nobody_is_both():
    with pytest.raises(AetherError, match="n1 is in both 'voters' and 'retired'"):
        Session({"endpoints": ["n1=http://127.0.0.1:1"], "voters": ["n1"], "retired": ["n1"]})
