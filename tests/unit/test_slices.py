# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blueprints: what is one, what a change would do, what speaks against it, and whether it is true."""

from __future__ import annotations

import math

import pytest
import yaml
from ansible_collections.pragmatica.aether.plugins.module_utils import slices
from ansible_collections.pragmatica.aether.plugins.module_utils.model import Instance
from ansible_collections.pragmatica.aether.plugins.module_utils.placement import layout
from ansible_collections.pragmatica.aether.plugins.module_utils.quorum import judge
from builders import cluster, gone, member
from hypothesis import given
from hypothesis import strategies as st

THREE = ["n1", "n2", "n3"]
CART, SHOP, PAY = "org.example:cart:1.0.0", "org.example:checkout:1.0.0", "org.example:pay:1.0.0"
ALL = tuple(slices.ALLOWABLE)


def deployed(**counts):
    """An observation of three members; ``cart=(2, 1)``: two wanted and active, at least one."""
    names = {"cart": CART, "shop": SHOP, "pay": PAY}
    instances = tuple(Instance(names[k], n, "ACTIVE") for k, (count, _) in counts.items() for n in THREE[:count])
    targets, least = {names[k]: c for k, (c, _) in counts.items()}, {names[k]: m for k, (_, m) in counts.items()}
    return cluster(*(member(n, THREE, instances=instances, targets=targets, minimums=least) for n in THREE))


def seen(observation):
    return layout(observation, judge(observation))


def made(identity="org.example:all:1.0.0", **counts):
    names = {"cart": CART, "shop": SHOP, "pay": PAY}
    blueprint, findings = slices.from_data(identity, [dict({"artifact": names.get(k, k), "instances": c}, **({"minAvailable": m} if m else {})) for k, (c, m) in counts.items()])
    assert not findings
    return blueprint


def codes(plan):
    return [r.code for r in plan.refusals]


# --- reading -------------------------------------------------------------------------------------------------------------


def test_a_blueprint_is_read_with_the_products_defaults():
    blueprint, findings, remarks = slices.from_toml('id = "org.example:shop:1.0.0"\n[[slices]]\nartifact = "%s"\n[[slices]]\nartifact = "%s"\ninstances = 5\n' % (CART, SHOP))
    assert not findings and not remarks
    assert blueprint.slices == (slices.Slice(CART, 1, 1), slices.Slice(SHOP, 5, 3)) and "instances = 5" in blueprint.text


def test_everything_that_is_wrong_is_said_at_once():
    text = 'id = "Shop"\n[[slices]]\nartifact = "example:Cart:1"\ninstances = 0\n[[slices]]\ninstances = 2\nminAvailable = 3\n[[slices]]\nartifact = "%s"\n[[slices]]\nartifact = "org.example:cart:2.0.0"\n' % CART
    blueprint, findings, _ = slices.from_toml(text)
    told = "\n".join(findings)
    assert blueprint is None and len(findings) == 8
    for part in ("id: 'Shop'", "group 'example'", "artifact 'Cart'", "version '1'", "instances: is 0", "slices[2]: 'artifact' is missing", "slices[2].minAvailable: is 3", "org.example:cart stands there 2 times"):
        assert part in told


def test_slips_of_the_pen_are_remarked_and_what_is_no_toml_is_refused():
    _, findings, remarks = slices.from_toml('id = "org.example:shop:1.0.0"\nname = "x"\n[[slices]]\nartifact = "%s"\ninstance = 3\n' % CART)
    assert not findings and len(remarks) == 2 and "slices[1] has 'instance'" in remarks[1]
    assert "no TOML" in slices.from_toml("id = ")[1][0]
    assert "[[slices]]" in slices.from_toml('id = "org.example:shop:1.0.0"\nslices = 3\n')[1][0]
    assert "there are none" in slices.from_toml('id = "org.example:shop:1.0.0"\n')[1][0]


@pytest.mark.parametrize("bad", ["org.example:cart", "org.example:cart:1.0", "org:cart:1.0.0", "org.example:cart:1.0.0\n", "org.example:-cart:1.0.0", "org.example:cart:1.0.0 --instances=9", 7, None])
def test_coordinates_that_are_none(bad):
    assert slices.coordinate_findings(bad, "here")


PART = st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True)
COORDINATES = st.builds(
    lambda g, h, a, v, q: "%s.%s:%s:%d.%d.%d%s" % (g, h, a, *v, q),
    PART, PART, st.from_regex(r"[a-z0-9]{1,5}(-[a-z0-9]{1,4})?", fullmatch=True), st.tuples(*[st.integers(0, 99)] * 3), st.sampled_from(["", "-rc1", "-SNAPSHOT"]),
)
COUNTED = st.lists(st.tuples(COORDINATES, st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5, unique_by=lambda t: t[0].rsplit(":", 1)[0])


@given(COORDINATES, COUNTED)
def test_what_is_made_from_data_reads_back_the_same(identity, entries):
    data = [{"artifact": a, "instances": c, "minAvailable": min(c, m)} for a, c, m in entries]
    blueprint, findings = slices.from_data(identity, data)
    again, second, remarks = slices.from_toml(blueprint.text)
    assert not findings and not second and not remarks
    assert (again.id, again.slices) == (blueprint.id, blueprint.slices)


@given(st.text(max_size=80))
def test_no_text_makes_it_fall_over(text):
    blueprint, findings, _ = slices.from_toml(text)
    assert (blueprint is None) == bool(findings)


VALUES = st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=5) | st.floats(allow_nan=False)


@given(VALUES, st.lists(st.dictionaries(st.sampled_from(slices.SLICE_KEYS), VALUES), max_size=3))
def test_no_data_makes_it_fall_over(identity, entries):
    blueprint, findings = slices.from_data(identity, entries)
    assert (blueprint is None) == bool(findings)


@given(st.recursive(st.integers(0, 9) | st.sampled_from(["n1", CART]), lambda inner: st.dictionaries(st.sampled_from(["a", CART]), inner) | st.lists(st.dictionaries(st.sampled_from(["b", "c"]), st.integers(0, 9), min_size=1), max_size=3)).filter(lambda d: isinstance(d, dict)))
def test_the_yaml_of_diffs_is_yaml(data):
    assert yaml.safe_load(slices.as_yaml(data) or "{}") == data


# --- deciding ------------------------------------------------------------------------------------------------------------


def test_scaling_says_what_changes_and_waits_for_it():
    plan = slices.plan_scale(seen(deployed(cart=(2, 1))), [], CART, 3)
    assert (plan.step, plan.changes, plan.wanted, plan.targets, plan.refusals) == ("scale", ["%s: 2 -> 3" % CART], {CART: 3}, {CART: 3}, [])
    same = slices.plan_scale(seen(deployed(cart=(2, 1))), [], CART, 2)
    assert (same.step, same.changes, same.wanted) == ("none", [], {CART: 2})


def test_what_scaling_is_refused_for():
    view = seen(deployed(cart=(3, 2)))
    wide = slices.plan_scale(view, [], CART, 5)
    assert codes(wide) == ["unplaceable"] and "need to increase slice capacity by 2 nodes" in wide.refusals[0].sentence and wide.refusals[0].option == "allow_unplaceable: true"
    taken = slices.plan_scale(view, [], CART, 5, ["unplaceable"])
    assert not taken.refusals and taken.remarks and (taken.wanted, taken.targets) == ({CART: 3}, {CART: 5})
    low = slices.plan_scale(view, [], CART, 1, ALL)
    assert codes(low) == ["below_minimum"] and "minAvailable" in low.refusals[0].sentence and low.refusals[0].option is None
    assert codes(slices.plan_scale(view, [], "org.example:cart:1.0.1", 3, ALL)) == ["unknown_version"]
    assert codes(slices.plan_scale(view, [], PAY, 3, ALL)) == ["unknown_slice"]


def test_a_node_off_duty_is_no_room_and_is_named():
    views = [member(n, THREE, lifecycle={"n1": "ON_DUTY", "n2": "ON_DUTY", "n3": "DECOMMISSIONED"}, targets={CART: 2}, minimums={CART: 1}, instances=(Instance(CART, "n1", "ACTIVE"), Instance(CART, "n2", "ACTIVE"))) for n in THREE]
    plan = slices.plan_scale(seen(cluster(*views)), [], CART, 3)
    assert codes(plan) == ["unplaceable"] and "put n3 back on duty" in plan.refusals[0].sentence and "by 1 node " in plan.refusals[0].sentence


def test_a_blueprint_that_is_there_changes_nothing():
    own = slices.Document("org.example:all:1.0.0", {CART: 2, SHOP: 3})
    plan = slices.plan_apply(seen(deployed(cart=(2, 1), shop=(3, 2))), [own], made(cart=(2, 1), shop=(3, 2)))
    assert (plan.step, plan.changes, plan.refusals, plan.remarks) == ("none", [], [], [])


@pytest.mark.parametrize("wanted,change", [({"cart": (3, 1)}, "2 -> 3"), ({"cart": (2, 2)}, "at least 1 -> at least 2"), ({"cart": (2, 1), "pay": (1, 1)}, "none -> 1")])
def test_what_differs_is_applied(wanted, change):
    own = slices.Document("org.example:all:1.0.0", {CART: 2})
    plan = slices.plan_apply(seen(deployed(cart=(2, 1))), [own], made(**wanted))
    assert plan.step == "apply" and change in "".join(plan.changes) and not plan.refusals


def test_a_count_that_was_scaled_differs_and_a_kept_count_that_is_old_does_too():
    own = slices.Document("org.example:all:1.0.0", {CART: 2})
    assert slices.plan_apply(seen(deployed(cart=(3, 1))), [own], made(cart=(2, 1))).changes == ["%s: 3 -> 2" % CART]
    assert "in the blueprint" in slices.plan_apply(seen(deployed(cart=(3, 1))), [own], made(cart=(3, 1))).changes[0]


def test_what_applying_is_refused_for_all_at_once():
    documents = [slices.Document("org.example:all:1.0.0", {CART: 2, PAY: 1}), slices.Document("org.example:other:1.0.0", {SHOP: 1})]
    view = seen(deployed(cart=(2, 1), shop=(1, 1), pay=(1, 1)))
    wanted = made(**{"org.example:cart:2.0.0": (4, 0), "shop": (1, 1)})
    plan = slices.plan_apply(view, documents, wanted)
    assert sorted(codes(plan)) == ["dropped", "owned", "swap", "unplaceable"]
    assert {r.code: r.option for r in plan.refusals} == {"dropped": "prune: true", "owned": None, "swap": "allow_swap: true", "unplaceable": "allow_unplaceable: true"}
    pruned = slices.plan_apply(view, documents, made(cart=(2, 1)), ["dropped"])
    assert codes(pruned) == ["downtime"] and CART in pruned.refusals[0].sentence and PAY in pruned.refusals[0].sentence
    consented = slices.plan_apply(view, documents, made(cart=(2, 1)), ["dropped", "downtime"])
    assert (consented.step, consented.refusals, consented.gone) == ("replace", [], [PAY])


def test_dependencies_are_not_dropped_and_strays_are_remarked():
    own = slices.Document("org.example:all:1.0.0", {CART: 2}, frozenset([SHOP]))
    plan = slices.plan_apply(seen(deployed(cart=(2, 1), shop=(1, 1), pay=(1, 1))), [own], made(cart=(2, 1)))
    assert plan.step == "none" and plan.gone == [] and len(plan.remarks) == 1 and PAY in plan.remarks[0]


def test_deleting_what_is_not_there_is_nothing():
    view = seen(deployed(cart=(2, 1)))
    assert slices.plan_delete(view, [], "org.example:all:1.0.0").step == "none"
    plan = slices.plan_delete(view, [slices.Document("org.example:all:1.0.0", {CART: 2})], "org.example:all:1.0.0")
    assert (plan.step, plan.gone) == ("delete", [CART])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3))
def test_a_plan_either_waits_for_what_can_be_had_or_is_refused(count, wanted, now, least):
    view = seen(deployed(cart=(now, min(now, least))))
    own = slices.Document("org.example:all:1.0.0", {CART: count})
    for plan in (slices.plan_scale(view, [own], CART, wanted), slices.plan_apply(view, [own], made(cart=(wanted, 0)))):
        assert plan.refusals or plan.wanted == {CART: wanted} == plan.targets
        assert bool(plan.changes) == (plan.step != "none")
    allowed = slices.plan_apply(view, [own], made(cart=(wanted, 0)), ALL)
    assert not allowed.refusals and allowed.wanted[CART] == min(wanted, 3)
    unchanged = wanted == now == count and min(now, least) == math.ceil(wanted / 2)
    assert (allowed.step == "none") == unchanged


def test_starting_nodes_and_a_lost_majority_speak_against_any_write():
    views = [member(n, THREE, ready=n != "n3") for n in THREE]
    plan = slices.Plan()
    slices.cluster_refusals(plan, cluster(*views), judge(cluster(*views)))
    assert codes(plan) == ["starting"] and plan.refusals[0].option == "allow_starting: true"
    lost = cluster(member("n1", THREE), gone("n2"), gone("n3"))
    plan = slices.Plan()
    slices.cluster_refusals(plan, lost, judge(lost), ALL)
    assert codes(plan) == ["majority"]


# --- true? ----------------------------------------------------------------------------------------------------------------


def lacks(observation, plan):
    return slices.lacking(observation, judge(observation), plan)


def test_it_is_true_only_in_every_view():
    plan = slices.Plan(wanted={CART: 2}, targets={CART: 2})
    assert lacks(deployed(cart=(2, 1)), plan) == []
    assert "3 of %s are wanted, not 2" % CART in lacks(deployed(cart=(3, 1)), plan)[0]
    active = (Instance(CART, "n1", "ACTIVE"), Instance(CART, "n2", "ACTIVE"))
    for extra in (active[:1], active[:1] + (Instance(CART, "n2", "ACTIVATING"),), active + (Instance(CART, "n3", "UNLOADING"),)):
        views = [member(n, THREE, targets={CART: 2}, instances=extra if n == "n3" else active) for n in THREE]
        assert len(lacks(cluster(*views), plan)) == 1 and "view of n3" in lacks(cluster(*views), plan)[0]


def test_an_instance_on_a_member_that_does_not_answer_is_none():
    active = (Instance(CART, "n1", "ACTIVE"), Instance(CART, "n3", "ACTIVE"))
    views = [member(n, THREE, targets={CART: 2}, instances=active) for n in THREE[:2]] + [gone("n3")]
    found = lacks(cluster(*views), slices.Plan(wanted={CART: 2}, targets={CART: 2}))
    assert len(found) == 2 and "1 of 2 active (n3 does not answer)" in found[0]


def test_a_minimum_that_is_not_shown_is_not_true_and_not_taken():
    observation = deployed(cart=(2, 1))
    plan = slices.Plan(wanted={CART: 2}, targets={CART: 2}, minimums={CART: 2})
    assert "at least 1 of %s are wanted, not 2" % CART in lacks(observation, plan)[0] and slices.untaken(observation, judge(observation), plan) == [CART]
    plan.minimums = {CART: 1}
    assert lacks(observation, plan) == [] == slices.untaken(observation, judge(observation), plan)


def test_what_is_stuck_is_named():
    placed = (Instance(CART, "n1", "ACTIVE"), Instance(CART, "n2", "ACTIVATING"), Instance(SHOP, "n1", "FAILED", "no port"))
    views = [member(n, THREE, targets={CART: 4, SHOP: 1}, instances=placed) for n in THREE]
    observation, plan = cluster(*views), slices.Plan(wanted={CART: 4, SHOP: 1}, targets={CART: 4, SHOP: 1}, gone=[PAY])
    told = slices.stuck(observation, judge(observation), plan)
    assert "%s on n2 is ACTIVATING" % CART in told and "%s on n1 is FAILED (no port)" % SHOP in told
    assert slices.failed(observation, judge(observation), [SHOP])[0].reason == "no port"
    assert slices.progress(observation, judge(observation), plan) == "cart 1/4 (1 ACTIVATING), checkout 0/1 (1 FAILED), pay 0 left"


def test_the_table_names_a_wanted_slice_without_instances_and_a_node_off_duty():
    views = [member(n, THREE, lifecycle={"n1": "ON_DUTY", "n2": "ON_DUTY", "n3": "DRAINING"}, targets={CART: 1, PAY: 2}, instances=(Instance(CART, "n1", "ACTIVE"),)) for n in THREE]
    table = slices.slice_table(cluster(*views), judge(cluster(*views)))
    assert table[2].split() == [PAY, "0", "!", "2", "-", "-", "-", "-"] and table[3].split() == ["instances", "1", "1", "0", "off", "duty"]
    assert "- %s has 0 active instances, 2 wanted." % PAY in table


def test_a_runbook_cluster_without_counts_is_marked_for_balance_only():
    placed = tuple(Instance(a, "n1", "ACTIVE") for a in (CART, SHOP)) + (Instance(PAY, "n2", "ACTIVE"),)
    views = [member(n, THREE, has_lifecycle=False, has_leader=False, has_lists=False, leader=None, lifecycle={}, instances=placed, targets={}, minimums={}) for n in THREE]
    observation = cluster(*views)
    table = slices.slice_table(observation, judge(observation))
    assert table[1].split() == [CART, "1", "-", "-", "x", "-", "-"] and slices.imbalance(observation, judge(observation)) == ({"n1": 2, "n2": 1, "n3": 0}, ["n1"])
    assert table[4].split() == ["instances", "3", "2", "!", "1", "0"] and "Out of balance: n1 runs 2; n3 runs 0" in table[-1]


def test_the_table_marks_what_is_not_as_wanted_and_out_of_balance():
    placed = tuple(Instance(a, "n1", "ACTIVE") for a in (CART, SHOP, PAY)) + (Instance(CART, "n2", "ACTIVE"), Instance(SHOP, "n2", "ACTIVATING"))
    views = [member(n, THREE, targets={CART: 2, SHOP: 2, PAY: 1}, minimums={CART: 1}, instances=placed) for n in THREE]
    observation = cluster(*views)
    table = slices.slice_table(observation, judge(observation))
    assert table[0].split() == ["SLICE", "ACTIVE", "WANTED", "MINIMUM", "n1", "n2", "n3"]
    assert table[1].split() == [CART, "2", "2", "1", "x", "x", "-"] and table[2].split() == [SHOP, "1", "!", "2", "-", "x", "ACTIVATING", "-"]
    assert "3 !" in table[4] and any("Out of balance: n1 runs 3; n3 runs 0" in line for line in table)
    nobody = cluster(gone("n1"), gone("n2"), gone("n3"))
    assert slices.slice_table(nobody, judge(nobody)) == ["No member with state and a quorum answers: nobody can tell where slices are."] and slices.imbalance(nobody, judge(nobody)) == ({}, [])
    assert not [line for line in slices.slice_table(deployed(cart=(2, 1)), judge(deployed(cart=(2, 1)))) if "!" in line or "balance" in line]
