# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is new, who must be rolled, in which order, and what speaks against it."""

from __future__ import annotations

from ansible_collections.pragmatica.aether.plugins.module_utils.growth import (
    explain, only_host_of, order_for_roll, plan_bootstrap, plan_grow, plan_roll,
)
from ansible_collections.pragmatica.aether.plugins.module_utils.model import Instance
from ansible_collections.pragmatica.aether.plugins.module_utils.quorum import judge
from builders import cluster, gone, member, stateless

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
DUTY5 = {i: "ON_DUTY" for i in FIVE}


def refused(plan):
    return {r.code for r in plan.refusals}


def founders(*more, everyone=FIVE, **differs):
    return cluster(*[member(n, THREE, **differs) for n in THREE], *more, voters=everyone)


def test_three_to_five():
    plan = plan_grow(founders(gone("n4"), gone("n5")))
    assert plan.to_add == ["n4", "n5"] and plan.to_roll == ["n2", "n3", "n1"] and not plan.refusals
    assert plan.baseline == ("n1", "n2", "n3") and not plan.done
    assert "new" in explain(plan, founders(gone("n4"), gone("n5")), "n4")


def test_lists_stay_when_they_are_not_to_be_rolled():
    plan = plan_grow(founders(gone("n4"), everyone=FIVE[:4]), allow_even=True, roll_lists=False)
    assert plan.to_add == ["n4"] and plan.to_roll == [] and not plan.refusals and "aether_roll_lists" in plan.notes[0]


def test_an_even_end_is_refused_unless_allowed():
    seen = founders(gone("n4"), everyone=FIVE[:4])
    (refusal,) = plan_grow(seen).refusals
    assert refusal.code == "even" and refusal.option == "aether_allow_even"
    assert not plan_grow(seen, allow_even=True).refusals


def test_more_than_seven_is_refused():
    nine = ["n%d" % i for i in range(1, 10)]
    assert refused(plan_grow(cluster(*[member(n, THREE) for n in THREE], *[gone(n) for n in nine[3:]]))) == {"too_many"}


def test_a_node_on_duty_everywhere_is_not_added_again():
    views = dict(peers=frozenset(FIVE[:4]), lifecycle={i: "ON_DUTY" for i in FIVE[:4]})
    plan = plan_grow(founders(member("n4", FIVE, **views), gone("n5"), **views))
    assert plan.to_add == ["n5"] and plan.to_roll == ["n2", "n3", "n1"]


def test_a_node_that_one_old_member_does_not_see_is_added_again():
    views = dict(peers=frozenset(FIVE[:4]), lifecycle={i: "ON_DUTY" for i in FIVE[:4]})
    seen = cluster(member("n1", THREE, **views), member("n2", THREE, **views), member("n3", THREE, lifecycle=views["lifecycle"]), member("n4", FIVE, **views), gone("n5"), voters=FIVE)
    assert plan_grow(seen).to_add == ["n4", "n5"]


def test_half_rolled_goes_on_with_the_rest():
    old = dict(peers=frozenset(FIVE), lifecycle=DUTY5)
    seen = cluster(member("n1", THREE, **old), member("n2", FIVE), member("n3", THREE, **old), member("n4", FIVE), member("n5", FIVE))
    plan = plan_grow(seen)
    assert plan.to_add == [] and plan.to_roll == ["n3", "n1"] and plan.to_heal == [] and not plan.refusals


def test_new_nodes_without_state_are_healed_after_the_roll():
    seen = cluster(*[member(n, FIVE) for n in THREE], stateless("n4", FIVE), stateless("n5", FIVE))
    plan = plan_grow(seen)
    assert plan.to_heal == ["n4", "n5"] and plan.to_roll == [] and plan.to_add == [] and not plan.done


def test_a_slices_only_active_instance_protects_its_host():
    instances = (Instance("org.example:a:1.0.0", "n4", "ACTIVE"), Instance("org.example:b:1.0.0", "n5", "ACTIVE"), Instance("org.example:b:1.0.0", "n1", "ACTIVE"))
    seen = cluster(*[member(n, FIVE, instances=instances) for n in THREE], stateless("n4", FIVE), stateless("n5", FIVE))
    assert plan_grow(seen).to_heal == ["n5"]
    assert only_host_of(seen, judge(seen), "n4") == ["org.example:a:1.0.0"]
    assert "only active instance of org.example:a:1.0.0" in explain(plan_grow(seen), seen, "n4")


def test_a_finished_cluster_has_nothing_to_do():
    plan = plan_grow(cluster(*[member(n, FIVE) for n in FIVE]))
    assert plan.done and {plan.action(n) for n in FIVE} == {"none"}


def test_an_old_member_down_is_refused():
    seen = cluster(member("n1", THREE, peers=frozenset(["n1", "n2"])), member("n2", THREE, peers=frozenset(["n1", "n2"])), gone("n3"), gone("n4"), gone("n5"))
    plan = plan_grow(seen)
    assert "member_down" in refused(plan) and "no_margin" in refused(plan) and plan.to_add == ["n4", "n5"]


def test_what_was_abandoned_is_finished_first_and_not_taken_for_dead():
    two = frozenset(["n1", "n3", "n4", "n5"])
    seen = cluster(member("n1", THREE, peers=two), gone("n2"), member("n3", THREE, peers=two), member("n4", FIVE, peers=two), member("n5", FIVE, peers=two))
    plan = plan_grow(seen, abandoned=["n2"])
    assert plan.to_finish == ["n2"] and plan.action("n2") == "finish" and "member_down" not in refused(plan)
    assert "n2" not in plan.to_roll


def test_a_full_list_member_that_is_down_is_started_again():
    up = frozenset(FIVE[:4])
    seen = cluster(*[member(n, FIVE, peers=up) for n in FIVE[:4]], gone("n5"))
    plan = plan_grow(seen)
    assert plan.to_add == ["n5"] and not plan.refusals and "does not answer" in explain(plan, seen, "n5")


def test_a_voter_the_inventory_lacks_is_refused():
    seen = cluster(*[member(n, ["n1", "n2", "n9"]) for n in ["n1", "n2"]], gone("n3"), voters=THREE)
    assert "not_in_inventory" in refused(plan_grow(seen)) and "not_in_inventory" in refused(plan_bootstrap(seen))


def test_members_that_run_and_cannot_be_talked_to_are_not_taken_for_missing_ones():
    for plan in (plan_bootstrap, plan_grow, plan_roll):
        assert refused(plan(cluster(*[gone(n, "tls") for n in THREE]))) == {"tls"}
    assert "tls" in refused(plan_grow(founders(gone("n4", "tls"), gone("n5"))))


def test_no_cluster_is_refused_with_the_play_to_use():
    (refusal,) = plan_grow(cluster(*[gone(n) for n in FIVE])).refusals
    assert refusal.code == "no_cluster" and "site.yml" in refusal.sentence
    assert refused(plan_roll(cluster(*[gone(n) for n in THREE]))) == {"no_cluster"}


def test_a_lost_majority_or_a_foreign_member_is_refused():
    assert "no_majority" in refused(plan_roll(cluster(member("n1", THREE), gone("n2"), gone("n3"))))
    assert "foreign" in refused(plan_grow(founders(member("n4", FIVE, node_id="x"), gone("n5"))))
    assert "unauthorized" in refused(plan_grow(founders(gone("n4", "unauthorized"), gone("n5"))))


def test_bootstrap_starts_everyone_then_whom_it_finds_down():
    assert plan_bootstrap(cluster(*[gone(n) for n in THREE])).to_start == THREE
    assert plan_bootstrap(cluster(member("n1", THREE), gone("n2"), member("n3", THREE))).to_start == ["n2"]
    assert plan_bootstrap(cluster(*[member(n, THREE) for n in THREE])).done
    assert refused(plan_bootstrap(cluster(gone("n1"), gone("n2")))) == {"even"}
    assert refused(plan_bootstrap(founders(gone("n4"), gone("n5")))) == {"grow"}


def test_bootstrap_heals_only_once_everyone_was_started():
    waiting = dict(ready=False, leader=None, lifecycle={}, evidence=(), peers=frozenset(["n1"]))
    half = plan_bootstrap(cluster(member("n1", THREE, **waiting), gone("n2"), gone("n3")))
    assert half.to_heal == [] and half.to_start == ["n2", "n3"]
    stuck = plan_bootstrap(cluster(*[member(n, THREE, **dict(waiting, peers=frozenset([n]))) for n in THREE]))
    assert stuck.to_heal == THREE


def test_roll_takes_the_leader_last_and_refuses_without_margin():
    plan = plan_roll(cluster(*[member(n, THREE) for n in THREE]))
    assert plan.to_roll == ["n2", "n3", "n1"] and not plan.refusals
    up = frozenset(["n1", "n2"])
    down = plan_roll(cluster(member("n1", THREE, peers=up), member("n2", THREE, peers=up), gone("n3")))
    assert refused(down) == {"member_down", "no_margin"}
    assert order_for_roll(["a", "b", "c"], None) == ["a", "b", "c"]
