# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dialect runbook: no ids, no leader, no lifecycle, no lists. What is judged then, and by what."""

from __future__ import annotations

import pytest
from ansible_collections.pragmatica.aether.plugins.filter import members as filters
from ansible_collections.pragmatica.aether.plugins.module_utils.config_rules import check
from ansible_collections.pragmatica.aether.plugins.module_utils.growth import plan_grow, plan_roll
from ansible_collections.pragmatica.aether.plugins.module_utils.quorum import judge, survives
from builders import cluster, gone, member
from hypothesis import given
from hypothesis import strategies as st

THREE = ["n1", "n2", "n3"]
FIVE = ["n1", "n2", "n3", "n4", "n5"]


def told(node, everyone, **differs):
    """What a member says by the runbook's API, of ``everyone`` it is connected to."""
    values = dict(leader=None, cluster_size=0, core_nodes=frozenset(), lifecycle={}, evidence=(), has_lifecycle=False, has_leader=False, has_lists=False)
    return member(node, everyone, **dict(values, **differs))


def codes(verdict):
    return {r.code for r in verdict.reasons}


def test_a_healthy_cluster_is_complete_without_leader_and_state():
    verdict = judge(cluster(*[told(n, THREE) for n in THREE]))
    assert verdict.holds("complete") and codes(verdict) <= {"state_evidence_none"}
    assert (verdict.needed, verdict.have, verdict.can_lose) == (2, 3, 1)
    assert verdict.survives_without == {"n1": True, "n2": True, "n3": True}


def test_a_survivor_of_three_is_not_believed():
    """It may go on saying ``quorum: true`` for two minutes."""
    verdict = judge(cluster(told("n1", THREE), gone("n2"), gone("n3")))
    assert not verdict.holds("majority") and {"lost_majority", "no_quorum"} <= codes(verdict)


def test_views_that_differ_are_split():
    verdict = judge(cluster(told("n1", THREE), told("n2", THREE), told("n3", ["n1", "n3"])))
    assert [r.node for r in verdict.reasons if r.code == "split_views"] == ["n3"]
    assert verdict.holds("majority") and not verdict.holds("complete")


def test_a_member_that_says_it_has_no_quorum_is_not_ready():
    verdict = judge(cluster(told("n1", THREE), told("n2", THREE), told("n3", THREE, ready=False)))
    assert "not_ready" in codes(verdict) and not verdict.holds("complete")


@given(st.integers(3, 7), st.sets(st.integers(1, 7)), st.sets(st.integers(1, 7)))
def test_survival_is_a_matter_of_counting(size, down, lost):
    everyone = ["n%d" % i for i in range(1, size + 1)]
    down, lost = {"n%d" % i for i in down} & set(everyone), {"n%d" % i for i in lost} & set(everyone)
    up = [n for n in everyone if n not in down]
    seen = cluster(*[told(n, up) if n in up else gone(n) for n in everyone])
    verdict = judge(seen)
    assert verdict.holds("majority") == (2 * len(up) > size)
    expected = 2 * len(set(up) - lost) > size
    assert survives(seen, frozenset(verdict.with_state), frozenset(lost)) == expected


def on_disk(seen, lists):
    return seen.with_disk_lists(lists)


def test_growing_adds_and_then_only_writes_the_lists_on_disk():
    before = cluster(*[told(n, THREE) for n in THREE], gone("n4"), gone("n5"))
    plan = plan_grow(on_disk(before, {n: THREE for n in THREE}))
    assert not plan.refusals and plan.to_add == ["n4", "n5"] and plan.to_write == THREE and plan.to_roll == []
    assert set(plan.baseline) == set(THREE)
    halfway = cluster(*[told(n, FIVE[:4]) for n in FIVE[:4]], gone("n5"))
    plan = plan_grow(on_disk(halfway, dict({n: THREE for n in THREE}, n4=FIVE)))
    assert plan.to_add == ["n5"] and plan.to_write == THREE
    after = cluster(*[told(n, FIVE) for n in FIVE])
    assert plan_grow(on_disk(after, {n: FIVE for n in FIVE})).done


def test_an_address_on_disk_that_the_inventory_lacks_is_refused():
    seen = on_disk(cluster(*[told(n, THREE) for n in THREE], voters=THREE), {n: THREE + ["10.0.0.9:8090"] for n in THREE})
    assert "not_in_inventory" in {r.code for r in plan_grow(seen).refusals}


def test_rolling_follows_the_inventory_for_nobody_leads():
    plan = plan_roll(cluster(*[told(n, THREE) for n in THREE]))
    assert plan.to_roll == THREE and not plan.refusals
    assert plan_roll(cluster(*[told(n, THREE) for n in THREE]), restarted=["n1"]).to_roll == ["n2", "n3"]
    assert "no_margin" in {r.code for r in plan_roll(cluster(told("n1", THREE[:2]), told("n2", THREE[:2]), gone("n3"))).refusals}


def inventory(peers):
    """hostvars of three hosts; ``peers``: what stands on each one's disk."""
    return {h: {"ansible_host": "10.0.0.%s" % h[1], "aether__host": {"peers": peers.get(h, [])}} for h in THREE}


def test_lists_on_disk_are_read_by_address():
    seen = inventory({"n1": ["10.0.0.2:8090", "10.0.0.3:8090"], "n2": ["10.0.0.1:8090", "10.0.0.77:8090"]})
    assert filters.disk_lists(seen, THREE) == {"n1": THREE, "n2": ["10.0.0.77:8090", "n1", "n2"]}
    assert filters.stale(seen, THREE) == ["n2"] and filters.former(seen, THREE, "n3") == ["10.0.0.77"]
    named = inventory({"n1": ["n1:10.0.0.1:8090", "n2:10.0.0.2:8090", "n3:10.0.0.33:8090"]})
    assert filters.disk_lists(named, THREE) == {}, "where lists have ids the members tell them"
    assert filters.stale(named, THREE) == ["n1"] and filters.former(named, THREE, "n3") == ["10.0.0.33"] and filters.former(named, THREE, "n2") == []


def test_a_token_counts_where_the_node_runs():
    looks = {"n1": {"restarted_for": "t", "active": True}, "n2": {"restarted_for": "t", "active": False}, "n3": {"restarted_for": "u", "active": True}}
    seen = {h: {"aether__host": looks[h]} for h in THREE}
    assert filters.restarted(seen, THREE, "t") == ["n1"] and filters.restarted(seen, THREE, "") == []


@pytest.mark.parametrize(
    "peers, words",
    [
        (["10.0.0.2:8090", "10.0.0.3:8090"], None),
        (["n2:10.0.0.2:8090", "10.0.0.3:8090"], "is not host:port"),
        (["10.0.0.2:8090", "10.0.0.2:8090"], "stands there twice"),
        (["10.0.0.2:99999"], "is not host:port"),
        (["10.0.0.1:8090", "10.0.0.2:8090"], "is the node itself"),
    ],
)
def test_peers_are_host_and_port_without_the_node_itself(peers, words):
    config = dict(api="runbook", node_id="n1", peers=peers, socket="10.0.0.1:8090", cluster_port=8090, management_port=8080, app_http_port=8070)
    found = check(config)
    assert (found == []) if words is None else any(words in f for f in found), found
