# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a drain is refused for, what it needs, when it is done; plans against a model that tries every course of events."""

from __future__ import annotations

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.model import Instance
from ansible_collections.pragmatica.aether.plugins.module_utils.placement import (
    called_off, instances_on, lacking, layout, no_room_yet, plan_drain, what_is_left, without_room, witnesses,
)
from ansible_collections.pragmatica.aether.plugins.module_utils.quorum import judge
from builders import cluster, gone, member, stateless
from hypothesis import given, settings
from hypothesis import strategies as st

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
CART, SHOP = "org.example:cart:1.0.0", "org.example:shop:1.0.0"


def placed(artifact, nodes, state="ACTIVE", reason=""):
    return tuple(Instance(artifact, n, state, reason) for n in nodes)


def running(everyone, instances, minimums=None, down=(), states=None, **differs):
    """A sound cluster where ``instances`` run, each slice wanted as often as it is there."""
    targets = {}
    for instance in instances:
        targets[instance.artifact] = targets.get(instance.artifact, 0) + 1
    values = dict(instances=instances, targets=targets, minimums=minimums or {a: 1 for a in targets}, lifecycle=dict({i: "ON_DUTY" for i in everyone}, **(states or {})))
    values.update(differs)
    return cluster(*[gone(i) if i in down else member(i, everyone, **values) for i in everyone])


def plan(seen, node, **options):
    return plan_drain(seen, judge(seen), node, **options)


def codes(found):
    return [r.code for r in found.refusals]


def test_a_slice_with_a_free_node_moves_without_a_word():
    found = plan(running(THREE, placed(CART, ["n1", "n2"])), "n2")
    assert found.refusals == [] and found.scale == {} and found.moves == [CART]
    assert plan(running(THREE, placed(CART, ["n1", "n2"])), "n3").moves == []


def test_no_room_is_made_by_one_and_never_below_the_minimum():
    seen = running(THREE, placed(CART, THREE), minimums={CART: 2})
    (refusal,) = plan(seen, "n1").refusals
    assert refusal.code == "no_room" and refusal.option == "make_room: true" and "from 3 to 2" in refusal.sentence
    assert plan(seen, "n1", make_room=True).scale == {CART: (3, 2)}
    full = running(THREE, placed(CART, THREE), minimums={CART: 3})
    (refusal,) = plan(full, "n1", make_room=True, allow=["no_room"]).refusals
    assert refusal.code == "no_room" and refusal.option is None and "minimum of 3" in refusal.sentence and "add a node" in refusal.sentence


def test_the_only_instance_is_refused_unless_taken():
    seen = running(THREE, placed(CART, ["n2"]))
    (refusal,) = plan(seen, "n2").refusals
    assert refusal.code == "only_instance" and refusal.option == "allow: [only_instance]"
    assert plan(seen, "n2", allow=["only_instance"]).refusals == []


def test_a_majority_that_would_be_lost():
    seen = running(THREE, placed(CART, ["n1", "n2"]), down=["n3"])
    assert codes(plan(seen, "n2"))[:2] == ["majority", "unsound"]
    assert "no_room" in codes(plan(seen, "n2", allow=["majority", "unsound"]))


def test_all_refusals_come_at_once_each_with_what_would_allow_it():
    seen = running(THREE, placed(CART, THREE) + placed(SHOP, ["n2"]), down=["n3"], minimums={CART: 1, SHOP: 1})
    found = plan(seen, "n2", deployments=["canary of org.example:shop:2.0.0 (DEPLOYING)"])
    assert codes(found) == ["majority", "unsound", "deployment", "only_instance", "no_room"]
    assert [r.option for r in found.refusals] == ["allow: [majority]", "allow: [unsound]", "allow: [deployment]", "allow: [only_instance]", "make_room: true"]
    assert "canary of org.example:shop:2.0.0" in found.refusals[2].sentence


def test_another_node_that_counts_on_the_same_room():
    draining = running(THREE, placed(CART, ["n1", "n2"]), states={"n1": "DRAINING"})
    (refusal,) = plan(draining, "n2", make_room=True).refusals
    assert refusal.code == "others" and "n1, which is draining too" in refusal.sentence and refusal.option is None
    decommissioned = running(THREE, placed(CART, ["n1", "n2"]), states={"n3": "DECOMMISSIONED"})
    (refusal,) = plan(decommissioned, "n2", make_room=True).refusals
    assert refusal.code == "others" and "only n3 would have (DECOMMISSIONED)" in refusal.sentence
    enough = running(FIVE, placed(CART, ["n1", "n2"]), states={"n1": "DRAINING", "n3": "DECOMMISSIONED"})
    assert plan(enough, "n2").refusals == []


def test_nothing_can_be_said_of_a_node_that_is_down_unknown_or_when_nobody_has_state():
    assert codes(plan(running(THREE, (), down=["n3"]), "n3")) == ["down", "unsound"]
    unknown = cluster(*[member(n, THREE, lifecycle={"n1": "ON_DUTY", "n2": "ON_DUTY"}) for n in THREE])
    assert "not_a_member" in codes(plan(unknown, "n3"))
    assert "nobody" in codes(plan(cluster(gone("n1"), gone("n2"), gone("n3")), "n1"))


def test_a_slice_that_is_not_settled():
    seen = running(THREE, placed(CART, ["n1"]) + placed(CART, ["n2"], "ACTIVATING"))
    found = plan(seen, "n1", allow=["only_instance"])
    assert codes(found) == ["unsettled"] and "1 of 2 instances active (others: ACTIVATING)" in found.refusals[0].sentence
    assert plan(seen, "n1", allow=["only_instance", "unsettled"]).refusals == []
    assert plan(seen, "n3").refusals == []


def test_a_member_without_state_is_asked_nothing():
    values = dict(instances=placed(CART, ["n1", "n2"]), targets={CART: 2}, minimums={CART: 1})
    seen = cluster(stateless("n1", THREE), member("n2", THREE, leader="n2", **values), member("n3", THREE, leader="n2", **values))
    assert layout(seen, judge(seen)).witness == "n2" and codes(plan(seen, "n2")) == ["majority", "unsound"]


def test_done_only_when_decommissioned_and_empty_in_every_view():
    gone_from = dict(states={"n3": "DECOMMISSIONED"})
    done = running(THREE, placed(CART, ["n1", "n2"]), **gone_from)
    assert lacking(done, judge(done), "n3") == []
    still = running(THREE, placed(CART, ["n1", "n2"]) + placed(CART, ["n3"], "UNLOADING"), **gone_from)
    assert lacking(still, judge(still), "n3") == ["%s is on n3 (UNLOADING) in the views of n1, n2, n3" % CART]
    views = running(THREE, placed(CART, ["n1", "n2"]), **gone_from).views
    late = cluster(views[0], member("n2", THREE, instances=placed(CART, ["n1", "n2"]), targets={CART: 2}, lifecycle=dict(views[0].lifecycle, n3="DRAINING")), views[2])
    assert lacking(late, judge(late), "n3") == ["n3 is DRAINING in the views of n2"]


def test_a_member_cut_off_has_no_say_though_it_still_sees_the_others():
    duty = {i: "ON_DUTY" for i in FIVE[:3]}
    others = frozenset(FIVE[:3])
    seen = cluster(*[member(n, FIVE[:4], peers=others, lifecycle=duty) for n in FIVE[:3]], member("n4", FIVE[:4], lifecycle=dict(duty, n4="DRAINING")))
    assert witnesses(seen, judge(seen)) == ("n1", "n2", "n3")


def test_nobody_left_to_tell_is_not_done():
    alone = cluster(gone("n1"), gone("n2"), member("n3", THREE, lifecycle={"n3": "DECOMMISSIONED"}))
    assert "nobody can tell" in lacking(alone, judge(alone), "n3")[0]


def test_without_lifecycle_done_is_nothing_in_any_view():
    plain = dict(has_lifecycle=False, has_leader=False, has_lists=False, lifecycle={}, evidence=(), leader=None, core_nodes=frozenset(), cluster_size=0)
    on = cluster(*[member(n, THREE, instances=placed(CART, ["n1"]) + (placed(CART, ["n3"]) if n == "n2" else ()), **plain) for n in THREE])
    assert lacking(on, judge(on), "n3") == ["%s is on n3 (ACTIVE) in the views of n2" % CART] and instances_on(on, "n3") == {CART: ("ACTIVE", ["n2"])}
    off = cluster(*[member(n, THREE, instances=placed(CART, ["n1"]), **plain) for n in THREE])
    assert lacking(off, judge(off), "n3") == [] and codes(plan(off, "n1")) == ["only_instance"]
    everywhere = cluster(*[member(n, THREE, instances=placed(CART, THREE), **plain) for n in THREE])
    (refusal,) = plan(everywhere, "n1", make_room=True).refusals
    assert refusal.code == "no_room" and refusal.option == "allow: [no_room]" and "add a node" in refusal.sentence
    assert plan(everywhere, "n1", allow=["no_room"]).refusals == []


@pytest.mark.parametrize(
    "state, second, off",
    [("ON_DUTY", "ON_DUTY", True), ("ON_DUTY", "DRAINING", False), ("DRAINING", "DRAINING", False), ("DECOMMISSIONED", "DECOMMISSIONED", False)],
)
def test_called_off_when_every_witness_says_so(state, second, off):
    duty = {i: "ON_DUTY" for i in THREE}
    seen = cluster(member("n1", THREE, lifecycle=dict(duty, n3=state)), member("n2", THREE, lifecycle=dict(duty, n3=second)), member("n3", THREE, lifecycle=dict(duty, n3=state)))
    assert called_off(seen, judge(seen), "n3") is off


def left(instances, states=None, targets=None, everyone=THREE):
    seen = running(everyone, instances, states=dict({"n3": "DRAINING"}, **(states or {})), **({"targets": targets} if targets else {}))
    return what_is_left(layout(seen, judge(seen)), "n3")


def test_what_keeps_a_slice():
    (entry,) = left(placed(CART, THREE))
    assert entry.hold == "no_room" and "every other node on duty has it (n1, n2)" in entry.sentence and without_room([entry]) == [CART]
    (entry,) = left(placed(CART, ["n1", "n3"]), {"n2": "DECOMMISSIONED"})
    assert entry.hold == "no_room" and "n2 is decommissioned" in entry.sentence
    (entry,) = left(placed(CART, ["n3"]) + placed(CART, ["n1"], "FAILED", "no heap"), targets={CART: 1})
    assert entry.hold == "failed" and entry.sentence == "%s does not start on n1 (no heap)" % CART
    (entry,) = left(placed(CART, ["n3"]) + placed(CART, ["n2"], "ACTIVATING"), targets={CART: 1})
    assert entry.hold == "starting" and "moves to n2 (ACTIVATING)" in entry.sentence
    (entry,) = left(placed(CART, ["n1", "n2"]) + placed(CART, ["n3"], "UNLOADING"), targets={CART: 2})
    assert entry.hold == "leaving"
    (entry,) = left(placed(CART, THREE), targets={CART: 2})
    assert entry.hold == "queued" and entry.as_data()["artifact"] == CART
    assert left(placed(CART, ["n1", "n2"])) == [] and what_is_left(None, "n3") == []


def test_room_is_made_when_it_is_seen():
    before = running(THREE, placed(CART, THREE))
    assert no_room_yet(before, judge(before), "n1", {CART: 2})[0] == "n1 still wants 3 of %s" % CART
    unloading = running(THREE, placed(CART, ["n1", "n2"]) + placed(CART, ["n3"], "UNLOADING"), targets={CART: 2})
    assert "2 of 2 instances active (others: UNLOADING)" in no_room_yet(unloading, judge(unloading), "n1", {CART: 2})[0]
    made = running(THREE, placed(CART, ["n1", "n2"]))
    assert no_room_yet(made, judge(made), "n1", {CART: 2}) == [] and no_room_yet(made, judge(made), "n3", {CART: 2}) == []


# --- against a model that tries every course of events -------------------------------------------------------------------
# State: the pairs (slice, node) that run. A draining node hands any of its slices to any node on duty that is free of it.


def courses(world, draining, on_duty, seen=None):
    """Every state that can follow ``world``, itself included."""
    seen = set() if seen is None else seen
    stack = [world]
    while stack:
        now = stack.pop()
        if now in seen:
            continue
        seen.add(now)
        stack.extend((now - {(s, n)}) | {(s, to)} for s, n in now if n in draining for to in on_duty if (s, to) not in now)
    return seen


def ends(world, draining, on_duty):
    """States in which nothing moves any more."""
    return [w for w in courses(world, draining, on_duty) if not any((s, to) not in w for s, n in w if n in draining for to in on_duty)]


def may_block(world, node, draining, on_duty):
    return any(n == node for end in ends(world, draining, on_duty) for _, n in end)


SETTINGS = settings(max_examples=150, deadline=None)


@st.composite
def worlds(draw):
    size = draw(st.integers(3, 5))
    nodes = ["n%d" % i for i in range(1, size + 1)]
    states = {n: draw(st.sampled_from(["ON_DUTY"] * 5 + ["DECOMMISSIONED", "DRAINING"])) for n in nodes[1:]}
    states["n1"] = "ON_DUTY"
    homes = [n for n in nodes if states[n] != "DECOMMISSIONED"]
    slices = {}
    for name in ["a", "b"][: draw(st.integers(1, 2))]:
        hosts = draw(st.lists(st.sampled_from(homes), min_size=1, unique=True))
        slices["org.example:%s:1.0.0" % name] = (sorted(hosts), draw(st.integers(1, len(hosts))))
    return nodes, states, slices


@given(worlds(), st.booleans())
@SETTINGS
def test_plans_agree_with_a_model_that_tries_every_course_of_events(world, make_room):
    nodes, states, slices = world
    seen = running(nodes, tuple(i for a, (hosts, _) in slices.items() for i in placed(a, hosts)), minimums={a: least for a, (_, least) in slices.items()}, states=states)
    found = plan(seen, "n1", make_room=make_room, allow=["majority", "only_instance", "unsound", "unsettled"])
    on_duty = [n for n in nodes if states[n] == "ON_DUTY" and n != "n1"]
    draining = {n for n in nodes if states[n] == "DRAINING"} | {"n1"}
    start = frozenset((a, n) for a, (hosts, _) in slices.items() for n in hosts)
    blocked = {a for a, (hosts, _) in slices.items() if may_block(frozenset((a, n) for n in hosts), "n1", draining, on_duty)}
    if not found.refusals:
        assert set(found.scale) == blocked and (make_room or not blocked)
        befores = [start]
        for artifact, (now, then) in found.scale.items():
            assert now - 1 == then >= slices[artifact][1]
            # Which instance goes is the product's choice: any.
            befores = [w - {(artifact, n)} for w in befores for s, n in w if s == artifact]
        for before in befores:
            for course in courses(before, draining, on_duty):
                assert all(sum(s == a for s, _ in course) >= least for a, (_, least) in slices.items())
            assert not may_block(before, "n1", draining, on_duty)
    else:
        assert blocked
        for refusal in found.refusals:
            assert refusal.code in ("no_room", "others")
        named = {a for a in slices if any(a in r.sentence for r in found.refusals)}
        assert named <= blocked and named | set(found.scale) == blocked
        for refusal in found.refusals:
            (artifact,) = [a for a in slices if a in refusal.sentence]
            hosts, least = slices[artifact]
            if refusal.option == "make_room: true":
                assert not make_room and len(hosts) - 1 >= least
            elif refusal.code == "no_room":
                assert len(hosts) - 1 < least


@given(worlds())
@SETTINGS
def test_what_is_found_stuck_never_moves_and_what_is_not_may(world):
    nodes, states, slices = world
    states = dict(states, n1="DRAINING")
    seen = running(nodes, tuple(i for a, (hosts, _) in slices.items() for i in placed(a, hosts)), states=states)
    on_duty = [n for n in nodes if states[n] == "ON_DUTY"]
    for entry in what_is_left(layout(seen, judge(seen)), "n1"):
        can_move = any(n not in slices[entry.artifact][0] for n in on_duty)
        assert (entry.hold == "no_room") is not can_move, entry
