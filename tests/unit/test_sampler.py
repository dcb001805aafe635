# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The witness of the fault tests, judged on timelines made by hand, and once on a simulated cluster."""

from __future__ import annotations

import time

import pytest
from sampler import Member, Sampler, facts_of, judge, table
from simnode.testing import SimCluster

THREE = ("n1", "n2", "n3")
BLUEPRINT = 'id = "org.example:shop:1.0.0"\n[[slices]]\nartifact = "org.example:cart:1.0.0"\ninstances = 2\n'
DOWN = {"answers": False, "why": "ConnectionRefusedError"}


def member(name, peers=THREE, leader="n1", size=3, lifecycle=THREE, blueprints=("shop",), warning=0.7, ready=True):
    """Facts of a sound member of a three-node cluster, unless told otherwise."""
    return {
        "answers": True,
        "ready": ready,
        "node": name,
        "leader": leader,
        "peers": sorted(peers),
        "size": size,
        "lifecycle": sorted(lifecycle),
        "evidence": {
            "blueprints": [[b, 2] for b in blueprints],
            "slices": [[b + "-slice", 2] for b in blueprints],
            "thresholds": {"cpu.usage": {"warning": warning, "critical": 0.9}},
        },
    }


def empty(name, lifecycle=None, **more):
    """Facts of a member that came up without state."""
    return member(name, leader=None, lifecycle=lifecycle or [name], blueprints=(), **more)


def timeline(seconds, **members):
    """``members``: name -> {second: facts from then on}. A sample every 0.2 s."""
    entries = {name: [{"from": float(when), "reads": 1, "facts": facts} for when, facts in story.items()] for name, story in members.items()}
    return {"first": 0.0, "last": float(seconds), "interval": 0.2, "marks": [], "members": entries}


def sound(*names):
    return {name: {0: member(name)} for name in names}


def test_a_quiet_cluster_keeps_its_majority_and_its_leader():
    report = judge(timeline(10, **sound(*THREE)))
    assert report["majority_kept"] is True
    assert report["baseline"] == list(THREE)
    assert report["samples"] == 51
    assert report["majority_breaches"] == report["leaderless_spells"] == report["leader_changes"] == []
    assert report["max_leaderless_seconds"] == 0.0


def test_one_of_three_may_stop():
    report = judge(timeline(20, **sound("n1", "n2"), n3={0: member("n3"), 5: DOWN, 12: empty("n3"), 15: member("n3")}))
    assert report["majority_kept"] is True


def test_two_of_three_dead_is_a_breach_although_the_survivor_still_believes():
    report = judge(timeline(20, **sound("n1"), n2={0: member("n2"), 5: DOWN}, n3={0: member("n3"), 8: DOWN}))
    assert report["majority_kept"] is False
    (breach,) = report["majority_breaches"]
    assert (breach["from"], breach["to"], breach["seconds"]) == (8.0, 20.0, 12.0)
    assert breach["why"] == "n1 had state and no quorum"


@pytest.mark.parametrize("seconds, counts", [(0.2, False), (0.8, False), (1.4, True)])
def test_a_breach_must_last(seconds, counts):
    story = {0: member("n2"), 5: DOWN, 5 + seconds: member("n2")}
    report = judge(timeline(10, **sound("n1"), n2=story, n3={0: member("n3"), 2: DOWN}))
    assert bool(report["majority_breaches"]) is counts
    assert report["majority_kept"] is not counts


def test_each_member_has_its_own_denominator():
    # Two of three are enough for a member with three names in its list, and too few for one with five.
    report = judge(timeline(10, **sound("n1"), n2={0: member("n2"), 4: member("n2", size=5)}, n3={0: member("n3"), 4: DOWN}))
    (breach,) = report["majority_breaches"]
    assert breach["why"] == "n2 had state and no quorum"


def test_a_connected_member_without_state_counts_for_quorum_but_not_for_state():
    story = {0: member("n3"), 5: empty("n3", ready=True)}
    report = judge(timeline(10, n1={0: member("n1"), 7: DOWN}, **sound("n2"), n3=story))
    # n2 and n3 are two of three, so n2 has quorum; but it alone still has the state of the three.
    assert [b["why"] for b in report["majority_breaches"]] == ["only 1 of the 3 members that had state at the beginning still had it (n2)"]
    assert report["majority_breaches"][0]["from"] == 7.0


def test_rolling_on_over_members_without_state_is_a_breach_even_when_all_agree_in_the_end():
    lost = {name: {0: member(name), 5 + number: empty(name, lifecycle=THREE)} for number, name in enumerate(THREE)}
    report = judge(timeline(30, **lost))
    assert report["majority_kept"] is False
    assert report["majority_breaches"][0]["from"] == 6.0
    assert report["majority_breaches"][0]["to"] == 30.0


def test_a_member_with_the_right_leader_and_lists_and_no_blueprints_has_no_state():
    report = judge(timeline(5, **sound("n1", "n2"), n3={0: member("n3", blueprints=())}))
    assert report["baseline"] == ["n1", "n2"]


def test_a_node_that_nobody_lists_yet_takes_no_state_from_the_others():
    joining = {0: DOWN, 5: empty("n4", peers=["n1", "n2", "n3", "n4"], size=5)}
    report = judge(timeline(10, **sound(*THREE), n4=joining))
    assert report["majority_kept"] is True
    assert report["baseline"] == list(THREE)


def test_a_node_that_only_another_one_without_state_lists_takes_none_either():
    five = ["n1", "n2", "n3", "n4", "n5"]
    first = {0: empty("n4", peers=five, size=5), 3: empty("n4", lifecycle=["n4", "n5"], peers=five, size=5)}
    second = {0: DOWN, 3: empty("n5", peers=five, size=5)}
    report = judge(timeline(10, **sound(*THREE), n4=first, n5=second))
    assert report["majority_kept"] is True
    assert report["baseline"] == list(THREE)


def test_a_member_that_lacks_a_voter_which_the_others_list_has_no_state():
    four = [*THREE, "n4"]
    knows = {name: {0: member(name), 5: member(name, lifecycle=four)} for name in ("n1", "n2")}
    report = judge(timeline(10, **knows, **sound("n3"), n4={0: DOWN, 4: member("n4", lifecycle=four)}))
    without = [change for change in report["changes"] if change["member"] == "n3" and "without state" in change["is"]]
    assert without and without[0]["at"] == 5.0
    assert report["majority_kept"] is True


def test_a_write_that_members_show_at_different_moments_is_no_difference():
    def writer(name, lag):
        return {0: member(name), **{second + lag: member(name, warning=0.5 + second / 100) for second in range(1, 20)}}

    report = judge(timeline(20, n1=writer("n1", 0), n2=writer("n2", 0.2), n3=writer("n3", 0.4)))
    assert report["majority_kept"] is True
    assert not [change for change in report["changes"] if "without state" in change["is"]]


def test_a_difference_that_stays_is_one():
    report = judge(timeline(10, **sound("n1", "n2"), n3={0: member("n3"), 4: member("n3", warning=0.5)}))
    assert {"at": 5.0, "member": "n3"}.items() <= next(c for c in report["changes"] if "without state" in c["is"]).items()


def test_leaderless_from_the_last_leader_to_the_next():
    leaders = {0: "n1", 5: None, 18: "n2"}
    followers = {name: {when: member(name, leader=leader) for when, leader in leaders.items()} for name in ("n2", "n3")}
    report = judge(timeline(30, n1={0: member("n1"), 5: DOWN}, **followers))
    assert report["leaderless_spells"] == [{"from": 5.0, "to": 18.0, "seconds": 13.0, "before": "n1", "after": "n2"}]
    assert report["max_leaderless_seconds"] == 13.0
    assert [(c["before"], c["after"]) for c in report["leader_changes"]] == [("n1", "n2")]
    assert report["majority_kept"] is True


def test_a_dead_leader_that_all_still_name_leads_nobody():
    report = judge(timeline(20, n1={0: member("n1"), 2: DOWN}, **sound("n2", "n3")))
    assert report["max_leaderless_seconds"] == pytest.approx(18.2)
    assert report["leaderless_spells"][0]["after"] is None


def test_a_leader_that_only_members_without_state_name_does_not_count():
    story = {name: {0: member(name, leader=None)} for name in ("n1", "n2")}
    report = judge(timeline(4, **story, n3={0: member("n3", blueprints=(), leader="n1")}))
    assert report["max_leaderless_seconds"] > 4


def test_nobody_with_state_at_the_beginning_is_no_majority_kept():
    report = judge(timeline(5, n1={0: DOWN}, n2={0: DOWN}))
    assert report["majority_kept"] is None
    assert "not judged" in table(timeline(5, n1={0: DOWN}, n2={0: DOWN}), report)[-1]


def test_the_baseline_can_be_given():
    report = judge(timeline(5, **sound("n1", "n2"), n3={0: DOWN}), baseline=["n1", "n2", "n3", "n4"])
    assert report["majority_kept"] is False  # two are not more than half of four


def test_another_node_behind_an_endpoint_is_not_that_member():
    report = judge(timeline(5, **sound("n1", "n2"), n3={0: member("other")}))
    assert report["baseline"] == ["n1", "n2"]
    assert any(change["is"] == "down (it is other)" for change in report["changes"])


def test_the_table_tells_the_story_in_order():
    story = timeline(20, **sound("n1"), n2={0: member("n2"), 5: DOWN}, n3={0: member("n3"), 8: DOWN})
    story["marks"] = [[4.5, "two members die"]]
    lines = table(story, judge(story))
    assert [line for line in lines if "-- two members die" in line]
    assert [line for line in lines if "MAJORITY LOST for 12.0 s: n1 had state and no quorum" in line]
    assert lines[-1].startswith("majority LOST in 101 samples over 20.0 s (it was n1, n2, n3)")
    assert [float(line[:8]) for line in lines[1:-1]] == sorted(float(line[:8]) for line in lines[1:-1])


def test_a_slice_below_its_minimum_on_nodes_that_answer():
    def shows(*nodes):
        return {"active": {"org.example:cart:1.0.0": [list(nodes), 2]}}

    def story(**more):
        return timeline(10, n1={0: dict(member("n1"), **shows("n2", "n3"))}, n2={0: dict(member("n2"), **shows("n2", "n3"))}, **more)

    assert judge(story(n3={0: member("n3")}))["below_minimum"] == []
    report = judge(story(n3={0: member("n3"), 4: DOWN}))
    assert [(b["from"], b["why"]) for b in report["below_minimum"]] == [(4.0, "org.example:cart:1.0.0: 1 active, 2 at least")]
    assert [line for line in table(story(n3={0: member("n3")}), report) if "BELOW THE MINIMUM for 6.0 s" in line]


def test_empty_lists_are_absent_from_answers():
    answers = {
        "/health/ready": (503, None),
        "/api/status": (200, {"nodeId": "n1", "leader": "none", "cluster": {"nodeCount": 1}}),
        "/api/nodes/lifecycle": (200, []),
        "/api/blueprints": (200, {}),
        "/api/thresholds": (200, {}),
        "/api/slices": (200, {}),
        "/api/cluster/topology": (200, {"clusterSize": 3}),
    }
    facts = facts_of(answers)
    assert (facts["ready"], facts["leader"], facts["peers"], facts["evidence"]["blueprints"]) == (False, None, [], [])
    assert facts_of(dict(answers, **{"/api/slices": (403, None)})) == {"answers": True, "ready": False, "refused": ["/api/slices"]}
    with pytest.raises(ValueError, match="not a member's answer"):
        facts_of(dict(answers, **{"/api/status": (200, ["something else"])}))


def test_only_plain_http_endpoints_are_taken():
    with pytest.raises(ValueError, match="NAME=http://HOST:PORT"):
        Member("10.0.0.1:8080")


def test_a_simulated_cluster_that_loses_its_leader_and_then_its_majority():
    factor = 0.2
    with SimCluster(3, time_factor=factor) as cluster:
        cluster.start_all()
        cluster.post("n1", "/api/blueprint", BLUEPRINT)
        cluster.wait(lambda: all(cluster.get(n, "/api/slices").get("slices") for n in cluster.ids), "the slices")
        with Sampler(cluster.endpoints, time_factor=factor) as kept:
            kept.mark("the leader stops")
            cluster.stop("n1")
            cluster.wait(lambda: cluster.get("n2", "/api/status")["leader"] == "n2", "the next leader")
            time.sleep(0.5)
        assert kept.report["baseline"] == list(THREE)
        assert kept.report["majority_kept"] is True, kept.table()
        assert 8 <= kept.report["max_leaderless_seconds"] <= 25, kept.table()
        assert [(c["before"], c["after"]) for c in kept.report["leader_changes"]] == [("n1", "n2")], kept.table()
        with Sampler(cluster.endpoint_list(), time_factor=factor) as lost:
            cluster.kill("n3")
            time.sleep(1.5)
        assert lost.report["baseline"] == ["n2", "n3"]
        assert lost.report["majority_kept"] is False, lost.table()
        assert "n2 had state and no quorum" in [breach["why"] for breach in lost.report["majority_breaches"]]


@pytest.mark.parametrize("health_503", [False, True])
def test_the_same_on_the_runbooks_api_where_there_is_no_leader_to_miss(health_503):
    factor = 0.1
    with SimCluster(3, time_factor=factor, api="runbook", health_503=health_503) as cluster:
        cluster.start_all()
        cluster.post("n1", "/admin/blueprint", {"artifact": "org.example:cart:1.0.0", "instances": 3})
        cluster.wait(lambda: all(len(cluster.get(n, "/slices")) == 3 for n in cluster.ids), "the slices")
        with Sampler(cluster.endpoints, time_factor=factor, api="runbook") as kept:
            cluster.stop("n1")
            cluster.wait(lambda: cluster.get("n2", "/cluster/status") == {"nodes": [{"id": "n2"}, {"id": "n3"}]}, "n1 to be gone")
            time.sleep(0.5)
        assert kept.report["baseline"] == list(THREE)
        assert kept.report["majority_kept"] is True, kept.table()
        assert kept.report["leaderless_spells"] == []
        with Sampler(cluster.endpoints, time_factor=factor, api="runbook") as lost:
            cluster.kill("n3")
            time.sleep(1.5)
        assert lost.report["majority_kept"] is False, lost.table()
        assert "n2 had state and no quorum" in [breach["why"] for breach in lost.report["majority_breaches"]]
