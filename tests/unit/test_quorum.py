# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every finding has its own reason and sentence; the arithmetic agrees with a brute-force model."""

from __future__ import annotations

from itertools import combinations

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.quorum import judge
from builders import EVIDENCE, cluster, gone, member, stateless
from hypothesis import given, settings
from hypothesis import strategies as st

THREE = ["n1", "n2", "n3"]
FIVE = ["n1", "n2", "n3", "n4", "n5"]


def codes(verdict):
    return {r.code for r in verdict.reasons}


def about(verdict, code):
    return [r for r in verdict.reasons if r.code == code]


def test_a_healthy_cluster_holds_everything():
    verdict = judge(cluster(*[member(n, THREE) for n in THREE]))
    assert verdict.reasons == ()
    assert verdict.holds("majority") and verdict.holds("complete") and verdict.agreed
    assert (verdict.needed, verdict.have, verdict.can_lose, verdict.leader) == (2, 3, 1, "n1")
    assert verdict.survives_without == {"n1": True, "n2": True, "n3": True}


@pytest.mark.parametrize("kind", ["down", "hanging", "unauthorized", "not_aether", "error"])
def test_a_member_that_cannot_be_read_is_named_by_what_is_wrong(kind):
    verdict = judge(cluster(member("n1", THREE), member("n2", THREE), gone("n3", kind)))
    assert [r.node for r in about(verdict, kind)] == ["n3"]
    assert verdict.holds("majority") and not verdict.holds("complete")
    assert (verdict.have, verdict.can_lose) == (2, 0)
    assert verdict.survives_without == {"n1": False, "n2": False}


def test_two_of_three_down_is_a_lost_majority_though_the_survivor_says_it_is_well():
    verdict = judge(cluster(member("n1", THREE), gone("n2"), gone("n3")))
    assert {"lost_majority", "no_quorum", "down"} <= codes(verdict)
    assert not verdict.holds("majority") and verdict.can_lose == 0 and not verdict.quorate


def test_ready_without_a_leader():
    verdict = judge(cluster(member("n1", THREE), member("n2", THREE), member("n3", THREE, leader=None)))
    assert [r.node for r in about(verdict, "no_leader")] == ["n3"]
    assert verdict.have == 2 and verdict.holds("majority") and not verdict.holds("complete")


def test_nobody_has_a_leader():
    verdict = judge(cluster(*[member(n, THREE, leader=None) for n in THREE]))
    assert not verdict.holds("majority") and len(about(verdict, "no_leader")) == 3 and verdict.leader is None
    assert verdict.quorate, "leadership is judged apart"


def test_ready_but_empty():
    verdict = judge(cluster(member("n1", THREE), member("n2", THREE), stateless("n3", THREE)))
    (reason,) = about(verdict, "no_state")
    assert reason.node == "n3" and "blueprint org.example:shop:1.0.0" in reason.sentence and "n1 in its lifecycle list" in reason.sentence
    assert verdict.have == 2 and verdict.holds("majority") and not verdict.holds("complete")


def test_a_right_leader_and_a_full_list_do_not_make_up_for_missing_blueprints():
    verdict = judge(cluster(member("n1", THREE), member("n2", THREE), member("n3", THREE, evidence=EVIDENCE[1:])))
    assert [r.node for r in about(verdict, "no_state")] == ["n3"]


def test_state_on_one_member_outweighs_emptiness_on_many():
    verdict = judge(cluster(stateless("n1", THREE), stateless("n2", THREE), member("n3", THREE, leader="n3")))
    assert verdict.with_state == ("n3",)
    assert not verdict.holds("majority")  # one sound member of the three in its list


def test_an_extra_or_different_entry_is_said_in_words():
    other = (("blueprint org.example:shop:1.0.0", "3 slices"), ("threshold x", "1/2"))
    verdict = judge(cluster(member("n1", THREE), member("n2", THREE), member("n3", THREE, evidence=other)))
    (reason,) = about(verdict, "no_state")
    assert "differs in blueprint" in reason.sentence and "only it has threshold x" in reason.sentence


def test_two_leaders_break_the_majority():
    verdict = judge(cluster(*[member(n, FIVE) for n in FIVE[:3]], *[member(n, FIVE, leader="n4") for n in FIVE[3:]]))
    assert about(verdict, "two_leaders") and not verdict.holds("majority") and not verdict.agreed
    assert "n4 names n4" in about(verdict, "two_leaders")[0].sentence
    tie = judge(cluster(member("n1", THREE), member("n2", THREE, leader="n2"), gone("n3")))
    assert tie.leader is None and tie.have == 0


def test_a_leader_that_is_dead():
    verdict = judge(cluster(gone("n1"), member("n2", THREE), member("n3", THREE)))
    assert [r.node for r in about(verdict, "dead_leader")] == ["n2", "n3"]
    assert not verdict.holds("majority") and verdict.leader is None


def test_split_views():
    verdict = judge(cluster(member("n1", FIVE, peers=frozenset(FIVE[:3])), *[member(n, FIVE) for n in FIVE[1:]]))
    assert [r.node for r in about(verdict, "split_views")] == ["n1"]
    assert "n4, n5" in about(verdict, "split_views")[0].sentence and not verdict.agreed


def test_a_member_cut_off_is_not_counted_and_not_needed():
    verdict = judge(cluster(*[member(n, FIVE) for n in FIVE[:4]], member("n5", FIVE, peers=frozenset(["n5"]))))
    assert [r.node for r in about(verdict, "no_quorum")] == ["n5"]
    assert verdict.holds("majority") and verdict.have == 4


@pytest.mark.parametrize("differs", [dict(node_id="x9"), dict(leader="x9")])
def test_a_member_of_another_cluster(differs):
    verdict = judge(cluster(member("n1", THREE), member("n2", THREE), member("n3", THREE, **differs), voters=THREE))
    assert about(verdict, "foreign") and not verdict.holds("complete") and verdict.holds("majority")


def test_two_endpoints_of_one_node():
    twin = member("n2", THREE, name="n3", endpoint="http://n3:8080")
    verdict = judge(cluster(member("n1", THREE), member("n2", THREE), twin, voters=THREE))
    assert [r.node for r in about(verdict, "wrong_id")] == ["n3"] and verdict.have == 2


def test_a_voter_without_an_endpoint_is_down():
    verdict = judge(cluster(member("n1", THREE), member("n2", THREE), voters=THREE))
    assert [r.node for r in about(verdict, "down")] == ["n3"]


def test_lists_that_differ():
    verdict = judge(cluster(member("n1", THREE), member("n2", THREE), member("n3", THREE, core_nodes=frozenset(["n2", "n3", "n9"]), cluster_size=3)))
    (reason,) = about(verdict, "lists_differ")
    assert "lacks n1" in reason.sentence and "still names n9" in reason.sentence
    assert verdict.holds("majority") and not verdict.holds("complete")
    pinned = judge(cluster(member("n1", THREE), member("n2", THREE), member("n3", THREE, cluster_size=5)))
    assert "majority of 5" in about(pinned, "lists_differ")[0].sentence


def test_nothing_to_compare_state_by_is_said_and_blocks_nothing():
    verdict = judge(cluster(*[member(n, THREE, evidence=()) for n in THREE]))
    assert verdict.state_evidence == "none" and codes(verdict) == {"state_evidence_none"} and verdict.holds("complete")


def test_without_evidence_the_lifecycle_list_still_tells():
    verdict = judge(cluster(member("n1", THREE, evidence=()), member("n2", THREE, evidence=()), stateless("n3", THREE)))
    assert [r.node for r in about(verdict, "no_state")] == ["n3"]


def test_not_on_duty_is_a_remark():
    lists = {"n1": "ON_DUTY", "n2": "ON_DUTY", "n3": "DECOMMISSIONED"}
    verdict = judge(cluster(*[member(n, THREE, lifecycle=lists) for n in THREE]))
    assert [r.node for r in about(verdict, "not_on_duty")] == ["n3"] and verdict.holds("complete")


def test_not_ready():
    verdict = judge(cluster(member("n1", THREE), member("n2", THREE), member("n3", THREE, ready=False)))
    assert [r.node for r in about(verdict, "not_ready")] == ["n3"] and verdict.have == 2 and verdict.can_lose == 0


def test_nobody_answers():
    verdict = judge(cluster(*[gone(n) for n in THREE]))
    assert not verdict.holds("majority") and verdict.needed == 2 and verdict.with_state == ()


def test_nobody_has_formed_yet():
    verdict = judge(cluster(*[member(n, THREE, ready=False, leader=None, lifecycle={}, evidence=(), peers=frozenset([n])) for n in THREE]))
    assert "no member shows any state" in about(verdict, "no_state")[0].sentence and not verdict.holds("majority")


def test_a_single_node():
    verdict = judge(cluster(member("n1", ["n1"])))
    assert verdict.holds("complete") and verdict.can_lose == 0


def test_growing_before_the_lists_are_rolled():
    """docs/product.md 3: three members with state and lists of three, a fourth without: one founder may go, not two."""
    four = ["n1", "n2", "n3", "n4"]
    founders = [member(n, THREE, peers=frozenset(four), lifecycle={i: "ON_DUTY" for i in four}) for n in THREE]
    seen = cluster(*founders, stateless("n4", four))
    assert judge(seen, without=("n2",)).holds("majority")
    assert not judge(seen, without=("n2", "n3")).holds("majority")
    assert judge(seen).needed == 2


def test_the_baseline_remembers_who_had_state():
    seen = cluster(*[member(n, FIVE) for n in FIVE[:3]], stateless("n4", FIVE), stateless("n5", FIVE))
    assert judge(seen, without=("n3",)).holds("majority")
    refused = judge(seen, baseline=tuple(FIVE), without=("n3",))
    assert not refused.holds("majority")
    assert "2 of 5 members with state" in about(refused, "would_not_survive")[0].sentence


def test_why_it_would_not_survive_names_who_loses_its_quorum():
    founders = [member(n, FIVE, peers=frozenset(FIVE[:3])) for n in FIVE[:3]]
    seen = cluster(*founders, gone("n4"), gone("n5"))
    (reason,) = about(judge(seen, without=("n1",)), "would_not_survive")
    assert "n2, n3" in reason.sentence
    assert judge(seen).holds("majority") and judge(seen).can_lose == 0  # margin zero: three of five run


# --- the arithmetic against a brute-force model -------------------------------------------------------------------

@st.composite
def models(draw):
    """A cluster in which everybody who runs sees everybody who runs; lists may differ in length, some have no state."""
    size = draw(st.integers(1, 7))
    ids = ["n%d" % i for i in range(1, size + 1)]
    running = draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    full = draw(st.lists(st.sampled_from(running), min_size=1, unique=True))
    lists = {n: draw(st.integers(1, size)) for n in running}
    unready = draw(st.sets(st.sampled_from(running)))
    return ids, sorted(running), sorted(full), lists, unready


def observe(model):
    ids, running, full, lists, unready = model
    views = []
    for node in ids:
        if node not in running:
            views.append(gone(node))
            continue
        values = dict(
            peers=frozenset(running), cluster_size=lists[node], ready=node not in unready, leader=full[0],
            lifecycle={i: "ON_DUTY" for i in running},
        )
        views.append(member(node, ids, **values) if node in full else stateless(node, ids, **dict(values, lifecycle={node: "ON_DUTY"}, leader=None)))
    return cluster(*views, voters=ids)


def brute_has_quorum(model, node, lost=()):
    """Counts heads: itself and every other that runs, is ready and is not lost, against half of its list."""
    ids, running, full, lists, unready = model
    heads = 1
    for other in running:
        if other != node and other not in lost and other not in unready:
            heads += 1
    return heads * 2 > lists[node]


def brute_survives(model, lost):
    ids, running, full, lists, unready = model
    rest = [n for n in full if n not in lost and brute_has_quorum(model, n)]
    if not rest or len(rest) * 2 <= len(full):
        return False
    return all(brute_has_quorum(model, n, lost) for n in rest)


@settings(max_examples=400, deadline=None)
@given(models())
def test_who_has_quorum_and_state_is_what_a_headcount_says(model):
    ids, running, full, lists, unready = model
    verdict = judge(observe(model))
    assert sorted(verdict.with_state) == full
    for node in running:
        assert verdict.members[node].has_quorum == brute_has_quorum(model, node), node
    for node in set(ids) - set(running):
        assert not verdict.members[node].sound


@settings(max_examples=400, deadline=None)
@given(models(), st.data())
def test_surviving_a_loss_is_what_a_headcount_says(model, data):
    ids, running, full, lists, unready = model
    lost = data.draw(st.sets(st.sampled_from(ids), min_size=1))
    verdict = judge(observe(model), without=tuple(sorted(lost)))
    assert ("would_not_survive" not in codes(verdict)) == brute_survives(model, lost)


@settings(max_examples=200, deadline=None)
@given(models())
def test_the_margin_is_the_largest_loss_survived_whoever_it_is(model):
    ids, running, full, lists, unready = model
    verdict = judge(observe(model))
    expected = 0
    for count in range(1, len(running)):
        if all(brute_survives(model, set(lost)) for lost in combinations(running, count)):
            expected = count
        else:
            break
    assert verdict.can_lose == expected
    assert verdict.survives_without == {n: brute_survives(model, {n}) for n in running}


@settings(max_examples=200, deadline=None)
@given(models())
def test_complete_never_holds_without_the_majority(model):
    verdict = judge(observe(model))
    assert verdict.holds("majority") or not verdict.holds("complete")
    assert verdict.quorate or not verdict.holds("majority")


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 7), st.integers(0, 7))
def test_with_equal_lists_the_majority_is_the_textbooks(size, running):
    running = min(running, size)
    ids = ["n%d" % i for i in range(1, size + 1)]
    up = ids[:running]
    views = [member(n, ids, peers=frozenset(up), lifecycle={i: "ON_DUTY" for i in up}) if n in up else gone(n) for n in ids]
    assert judge(cluster(*views)).holds("majority") == (running > size / 2)


def test_a_hundred_members_are_judged_without_trying_every_combination():
    everyone = ["n%d" % n for n in range(1, 102)]
    verdict = judge(cluster(*[member(n, everyone) for n in everyone]))
    assert verdict.holds("complete") and verdict.can_lose == 50 and all(verdict.survives_without.values()) and len(verdict.survives_without) == 101
