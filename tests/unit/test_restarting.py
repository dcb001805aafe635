# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is stopped and who is started by a full restart, what must be said before, and how one that was interrupted is gone on with."""

from __future__ import annotations

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import plan_info
from ansible_collections.pragmatica.aether.plugins.module_utils.restarting import explain, plan_restart
from builders import cluster, gone, member, stateless
from fakes import run
from hypothesis import given
from hypothesis import strategies as st
from simnode.testing import SimCluster

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]


def sound(everyone, voters=None, **differs):
    return cluster(*[member(i, everyone, **differs) for i in voters or everyone])


def codes(plan):
    return [r.code for r in plan.refusals]


def test_five_become_three_at_once():
    plan = plan_restart(sound(FIVE), ["n4", "n5"])
    assert (plan.to_stop, plan.to_start, plan.leaving, plan.save, codes(plan)) == (FIVE, THREE, ["n4", "n5"], True, [])
    assert "with the list n1, n2, n3" in " ".join(explain(plan))


def test_no_majority_is_no_obstacle():
    left = cluster(member("n1", FIVE, peers=frozenset(["n1"])), *[gone(i) for i in FIVE[1:]])
    plan = plan_restart(left, ["n4", "n5"], dead=["n4", "n5"])
    assert codes(plan) == [] and plan.save and plan.to_stop == THREE == plan.to_start


def test_nobody_runs_on_beside_the_new_cluster():
    connected = plan_restart(sound(FIVE, THREE))
    assert codes(connected) == ["connected_stranger"]
    alone = [member(i, FIVE, peers=frozenset(THREE)) for i in THREE]
    assert codes(plan_restart(cluster(*alone))) == ["absent"]
    assert codes(plan_restart(cluster(*alone), absent=["n4"])) == ["absent"] and codes(plan_restart(cluster(*alone), absent=["n4", "n5"])) == []
    assert codes(plan_restart(sound(FIVE), ["n4", "n5"], dead=["n4"])) == ["still_alive"]


def test_the_dead_that_are_still_in_views_are_waited_for_and_not_before_the_state_is_saved():
    left = cluster(*[member(i, FIVE) for i in THREE], gone("n4"), gone("n5"))
    plan = plan_restart(left, ["n4", "n5"], dead=["n4", "n5"])
    assert codes(plan) == [] and plan.fading == ["n4", "n5"] and plan.save and "gone from every view" in " ".join(explain(plan))
    assert plan_restart(sound(FIVE, THREE), absent=["n4", "n5"]).fading == ["n4", "n5"]


def test_what_would_be_left_is_judged():
    assert codes(plan_restart(sound(FIVE), ["n5"])) == ["even"] and codes(plan_restart(sound(FIVE), ["n5"], allow_even=True)) == []
    assert codes(plan_restart(sound(THREE), ["n3"])) == ["too_small"] and codes(plan_restart(sound(THREE), ["n3"], allow_small=True)) == ["even"]
    assert codes(plan_restart(sound(THREE), ["n9"])) == ["no_member"]
    assert codes(plan_restart(cluster(*[gone(i) for i in THREE])))[0] == "nobody"


@pytest.mark.parametrize("phase", ["stopping", "stopped", "formed"])
def test_an_interrupted_one_saves_nothing_again_and_stops_whatever_runs(phase):
    half = cluster(member("n1", THREE, peers=frozenset(["n1"]), ready=False), gone("n2"), gone("n3"))
    plan = plan_restart(half, phase=phase)
    assert not plan.save and plan.to_stop == THREE == plan.to_start and codes(plan) == []
    assert "nobody" not in codes(plan_restart(cluster(*[gone(i) for i in THREE]), phase=phase))


def test_a_cluster_that_has_formed_is_not_stopped_again():
    formed = plan_restart(sound(THREE), phase="formed")
    assert (formed.to_stop, formed.to_start, formed.save) == ([], [], False)
    assert plan_restart(sound(THREE), phase="stopped").to_stop == THREE
    broken = cluster(member("n1", THREE), member("n2", THREE), stateless("n3", THREE))
    assert plan_restart(broken, phase="formed").to_stop == THREE
    other = plan_restart(sound(FIVE), ["n4", "n5"], phase="formed")
    assert other.to_stop == FIVE, "it formed with another list"


def test_run_again_when_all_are_out_nothing_is_stopped():
    out = cluster(*[member(i, THREE) for i in THREE], gone("n4"), gone("n5"))
    plan = plan_restart(out, ["n4", "n5"])
    assert plan.done and not plan.save and plan.to_stop == [] == plan.to_start and "nothing is left to do" in " ".join(explain(plan))
    assert not plan_restart(cluster(*[member(i, THREE) for i in THREE])).done


def test_a_wrong_answer_of_one_that_is_half_changed_is_no_obstacle_to_going_on():
    half = cluster(gone("n1", "tls"), gone("n2"), gone("n3"))
    assert "tls" in codes(plan_restart(half)) and codes(plan_restart(half, phase="stopped")) == []


@given(st.sets(st.sampled_from(FIVE)), st.sets(st.sampled_from(FIVE)), st.sampled_from(["", "saved", "stopping", "stopped", "formed", "restored"]), st.sets(st.sampled_from(FIVE)))
def test_whoever_is_started_was_stopped_and_nobody_who_leaves_is_started(down, removing, phase, dead):
    views = [gone(i) if i in down else member(i, FIVE, peers=frozenset(set(FIVE) - down)) for i in FIVE]
    plan = plan_restart(cluster(*views), sorted(removing), sorted(dead & removing), phase=phase)
    assert set(plan.to_start) <= set(plan.to_stop) and not set(plan.to_start) & removing
    assert plan.to_stop == [] or set(plan.to_stop) == set(FIVE) - (dead & removing)
    assert not (plan.save and plan.resumed)
    if plan.save and down == set(FIVE):
        assert "nobody" in codes(plan)


def test_the_plan_of_a_running_cluster():
    with SimCluster(3) as three:
        three.start_all()
        plan = run(plan_info, three, operation="restart")["plan"]
    assert plan["to_stop"] == plan["to_check"] == THREE and plan["nodes"]["n3"]["started_before"] == ["n1", "n2"] and plan["save"] and plan["majority"]
