# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether to scale: the rules by properties, and what is measured against simulated clusters of either API."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils import capacity
from ansible_collections.pragmatica.aether.plugins.module_utils.capacity import HOLD, IN, OUT, UP, Load, Machine, Sample, advise, left_with, overload
from ansible_collections.pragmatica.aether.plugins.module_utils.sizing import PROFILES, usual_profile
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
DEVELOPMENT = "development"


def load(node, cpu=0.5, heap=0.3, latency=(2.0, 2.0, 2.0, 2.0), **more):
    """A member that told the same in each sample, but for its latency."""
    return Load(node, tuple(Sample(float(at), cpu, heap, 2.0**28, 10.0, value) for at, value in enumerate(latency)), **more)


def same(count, **values):
    return [load("n%d" % n, **values) for n in range(1, count + 1)]


def silent(node, down=True):
    return Load(node, missed=4, trouble="no connection.", down=down)


def codes(advice, level=None):
    return {f.code for f in advice.findings if level in (None, f.level)}


# --- the decision -------------------------------------------------------------------------------------------------------

loads = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 50), st.floats(-1, 1)), min_size=1, max_size=9).map(
    lambda values: [load("n%d" % n, cpu=c, heap=h, latency=[l * (1 + r * i / 3) for i in range(4)]) for n, (c, h, l, r) in enumerate(values, 1)]
)
profiles = st.sampled_from(["", *PROFILES])
wanted = st.dictionaries(st.sampled_from(["org.example:cart:1.0.0", "org.example:checkout:1.0.0"]), st.integers(1, 9))


@settings(deadline=None)
@given(loads, profiles, wanted, st.sets(st.integers(0, 8)))
def test_the_count_is_odd_and_within_what_is_allowed_and_the_action_goes_with_it(members, profile, slices, gone):
    members = [silent(m.node) if n in gone else m for n, m in enumerate(members)]
    advice = advise(members, profile, slices)
    assert advice.nodes % 2 == 1 and (1 if profile == DEVELOPMENT else 3) <= advice.nodes <= 7
    assert {OUT: advice.nodes > advice.now, IN: advice.nodes < advice.now}.get(advice.action, True)
    if advice.action == HOLD and advice.cpu is not None and advice.now <= 7:
        assert advice.nodes == advice.now
    assert advice.level != "ok" or advice.action in (HOLD, IN)
    assert {m.node for m in members if not m.measured} == {f.node for f in advice.findings if f.code == "not_measured"}


@settings(deadline=None)
@given(loads, profiles, wanted)
def test_fewer_nodes_only_where_all_are_idle_and_the_rest_carries_it_and_could_lose_one(members, profile, slices):
    advice = advise(members, profile, slices)
    total = sum(m.cpu for m in members)
    if advice.action == IN:
        assert len(members) > 7 or total / len(members) < 0.3
        assert total / advice.nodes < 0.7 and (advice.nodes == 1 or total / (advice.nodes - 1) <= 0.9) and max(slices.values(), default=0) <= advice.nodes
        assert advise([silent(members[0].node), *members[1:]], profile, slices).action != IN, "who is not measured is not idle"
        # What it leads to holds: the same work on so many nodes asks for no more of them.
        after = advise(same(advice.nodes, cpu=total / advice.nodes, heap=sum(m.mean("heap") for m in members) / advice.nodes), profile, slices)
        assert after.action in (HOLD, IN)


@settings(deadline=None)
@given(st.sampled_from([3, 5, 7]), st.floats(0.3, 0.7), st.floats(0, 0.8))
def test_within_the_band_nothing_is_changed(count, cpu, heap):
    assert advise(same(count, cpu=cpu, heap=heap)).action == HOLD


@settings(deadline=None)
@given(st.sampled_from([1, 3, 5, 7]), st.floats(0, 1), profiles)
def test_whoever_follows_the_advice_comes_to_an_end_and_never_turns_round(count, cpu, profile):
    total, actions = count * cpu, []
    for _step in range(5):
        advice = advise(same(count, cpu=min(1.0, total / count)), profile)
        if advice.action not in (OUT, IN):
            break
        actions.append(advice.action)
        count = advice.nodes
    assert advice.action in (HOLD, UP) and len(set(actions)) <= 1


@settings(deadline=None)
@given(st.integers(1, 9), st.floats(0, 1))
def test_the_formula_is_the_runbooks(count, cpu):
    advice = advise(same(count, cpu=cpu))
    raw = math.ceil(round(count * round(cpu, 9) / 0.7, 6))
    expected = min(7, max(3, raw + 1 - raw % 2))
    assert abs(advice.cpu - cpu) < 1e-6 and advice.formula.startswith("n = ceil(sum of cpu / 0.7) = ceil(%.2f / 0.7) = " % (count * cpu))
    if abs(count * cpu / 0.7 - round(count * cpu / 0.7)) > 1e-6:
        assert advice.formula.endswith("= %d, rounded up to odd, at least 3, at most 7: %d" % (raw, expected))


@pytest.mark.parametrize("members, options, action, nodes, found", [
    (same(3, cpu=0.8), {}, OUT, 5, {"cpu"}),
    (same(3, cpu=0.7), {}, HOLD, 3, {"without_one"}),
    (same(5, cpu=0.95), {}, OUT, 7, {"cpu", "without_one"}),
    (same(7, cpu=0.8), {}, UP, 7, {"cpu", "largest"}),
    (same(5, cpu=1.0), dict(wanted={"a:b:1": 2}), OUT, 7, {"cpu"}),
    (same(5, cpu=0.1), {}, IN, 3, set()),
    (same(3, cpu=0.1), {}, HOLD, 3, set()),
    (same(3, cpu=0.1, heap=0.1), dict(profile=DEVELOPMENT), IN, 1, set()),
    (same(3, cpu=0.29, heap=0.1), dict(profile=DEVELOPMENT), HOLD, 3, set()),
    (same(1, cpu=0.5), dict(profile=DEVELOPMENT), HOLD, 1, set()),
    (same(1, cpu=0.5), {}, OUT, 3, {"few"}),
    (same(4, cpu=0.5), {}, OUT, 5, {"even"}),
    (same(4, cpu=0.1), {}, IN, 3, set()),
    (same(9, cpu=0.2), {}, IN, 7, set()),
    (same(3, cpu=0.4, heap=0.82), {}, OUT, 5, {"heap"}),
    (same(7, cpu=0.4, heap=0.82), {}, UP, 7, {"heap", "largest"}),
    (same(5, cpu=0.1, heap=0.6), {}, HOLD, 5, set()),
    (same(3, cpu=0.4, latency=(2, 3, 4, 5)), {}, OUT, 5, {"latency"}),
    (same(3, cpu=0.4, latency=(5, 4, 3, 2)), {}, HOLD, 3, set()),
    (same(3, cpu=0.4, latency=(2, 5, 9)), {}, HOLD, 3, set()),
    (same(3, cpu=0.4, latency=(None,) * 4), {}, HOLD, 3, set()),
    (same(3, cpu=0.4), dict(wanted={"a:b:1": 5}), OUT, 5, {"slices"}),
    (same(5, cpu=0.1), dict(wanted={"a:b:1": 4}), HOLD, 5, set()),
    (same(7, cpu=0.4), dict(wanted={"a:b:1": 9}), HOLD, 7, {"slices"}),
    (same(5, cpu=0.1), dict(degraded="it has no majority."), HOLD, 5, {"degraded"}),
    (same(3, cpu=0.8), dict(degraded="it has no majority."), HOLD, 3, {"degraded", "cpu"}),
])
def test_what_each_situation_asks_for(members, options, action, nodes, found):
    advice = advise(members, **options)
    assert (advice.action, advice.nodes) == (action, nodes) and found <= codes(advice) and (found or advice.level == "ok"), advice


def test_the_load_is_told_for_one_less_and_two_more():
    advice = advise(same(5, cpu=0.6))
    assert advice.carried == {4: pytest.approx(0.75), 5: pytest.approx(0.6), 7: pytest.approx(3 / 7)}
    assert advice.as_data()["carried"] == [{"nodes": 4, "cpu": 0.75}, {"nodes": 5, "cpu": 0.6}, {"nodes": 7, "cpu": 0.4286}]


def test_a_node_above_a_threshold_is_named_although_the_mean_is_not():
    advice = advise([load("n1", cpu=0.92), load("n2", cpu=0.4), load("n3", cpu=0.4, heap=0.86)])
    assert advice.action == HOLD and advice.level == "critical"
    assert {(f.code, f.node, f.level) for f in advice.findings} == {("cpu", "n1", "critical"), ("heap", "n3", "critical")}
    assert "n1: its processor is at 92 %, above 90 %." in [f.sentence for f in advice.findings]


def test_a_member_that_was_not_measured_carries_nothing_and_is_no_idle_one():
    advice = advise([*same(4, cpu=0.1), silent("n5")])
    assert advice.action == HOLD and advice.level == "warning" and advice.cpu == pytest.approx(0.1) and advice.carried[3] == pytest.approx(0.4 / 3)
    assert [f.sentence for f in advice.findings] == ["n5 was not measured, and what it carries is not known: no connection."]
    nobody = advise([silent("n1"), silent("n2"), silent("n3")])
    assert nobody.action == HOLD and nobody.cpu is None and nobody.carried == {} and nobody.level == "warning"
    half = Load("n1", load("n1").samples[:2], missed=2)
    assert not half.measured and Load("n1", half.samples, missed=1).measured


@pytest.mark.parametrize("machine, profile, level, action, parts", [
    (Machine(2, 4000), "medium", "warning", UP, ["2 cores, and aether_profile medium wants 8", "3.9 GB of memory, and aether_profile medium wants 16"]),
    (Machine(1, 4000), "", "ok", HOLD, ["1 cores, and the profile development, the usual one for 3 nodes, wants 2"]),
    (Machine(8, 16000), "medium", "ok", HOLD, []),
    (Machine(8, 300), "", "warning", HOLD, ["256 MB of the 300 MB"]),
    (Machine(8, 256), "", "critical", HOLD, ["256 MB of the 256 MB"]),
    (Machine(2, 8000, load=5.0), "", "ok", HOLD, ["5.0 processes want to run on 2 cores of its host, of which the node uses 50 %"]),
])
def test_a_host_against_its_row_of_the_table_and_against_its_heap(machine, profile, level, action, parts):
    advice = advise([load("n1", machine=machine), *same(3)[1:]], profile)
    assert (advice.level, advice.action) == (level, action) and all(any(p in f.sentence for f in advice.findings) for p in parts), advice.findings
    if action == UP:
        assert advise([load("n1", cpu=0.8, machine=machine), *same(3, cpu=0.8)[1:]], profile).action == OUT, "first more nodes, then larger ones"


# --- before members are stopped -------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(loads, st.sets(st.integers(1, 9)), st.booleans())
def test_who_is_left_carries_it_all(members, leaving, restarting):
    names = ["n%d" % n for n in leaving]
    count, cpu = left_with(members, names, restarting)
    stay = [m for m in members if m.node not in names]
    if cpu is not None:
        assert count == len(stay) - (restarting and (len(stay) > 1 or not names)) and cpu * count == pytest.approx(sum(m.cpu for m in members))
        assert (overload(members, names, restarting) is not None) == (round(cpu, 9) > 0.9)
    else:
        assert not stay or (len(stay) == 1 and restarting and not names)


def test_the_rest_counts_and_not_all():
    five = same(5, cpu=0.5)
    assert left_with(five) == (5, 0.5) and left_with(five, restarting=True) == (4, 0.625)
    assert left_with(five, ["n5"]) == (4, 0.625) and left_with(five, ["n4", "n5"]) == (3, pytest.approx(2.5 / 3))
    assert overload(five, ["n4", "n5"]) is None
    refusal = overload(five, ["n4", "n5"], restarting=True)
    assert refusal.code == "overload" and refusal.option == "aether_allow_overload"
    assert "Without n4, n5, and while the others are restarted one at a time, 2 would carry 2.50 processors, 125 % each" in refusal.sentence
    assert overload(same(3, cpu=0.7), restarting=True).sentence.startswith("With one of them stopped, 2 would carry 2.10 processors, 105 % each")


def test_who_is_down_leaves_nothing_behind_and_who_runs_unmeasured_counts_as_the_busiest():
    four = [load("n1", cpu=0.6), *(load("n%d" % n, cpu=0.4) for n in (2, 3, 4))]
    assert left_with([*four, silent("n5")], ["n5"]) == (4, pytest.approx(1.8 / 4))
    assert left_with([*four, silent("n5", down=False)], ["n5"]) == (4, pytest.approx(2.4 / 4))
    assert left_with([*four, silent("n5")], ["n4"]) == (3, pytest.approx(1.8 / 3)), "one that is down takes nothing over"
    assert left_with([silent("n1"), silent("n2")], ["n2"]) == (0, None) and overload([silent("n1"), silent("n2")], ["n2"]) is None


# --- the table ------------------------------------------------------------------------------------------------------------


def test_the_page_has_the_rows_of_the_table():
    rows = re.findall(r"^\| [\w ]+ \| (\d+) \| (\d+) GB \| (\d+)(?: to (\d+))? \| `(\w+)` \|$", (ROOT / "docs" / "site" / "when-to-scale.md").read_text(encoding="utf-8"), re.M)
    assert {name: (int(cores), int(memory), int(fewest), int(most or fewest)) for cores, memory, fewest, most, name in rows} == PROFILES


@pytest.mark.parametrize("count, name", [(1, DEVELOPMENT), (3, DEVELOPMENT), (4, "medium"), (5, "medium"), (7, "large"), (9, "large")])
def test_the_usual_row_for_a_count(count, name):
    assert usual_profile(count) == name


def test_the_thresholds_are_the_runbooks():
    assert capacity.THRESHOLDS == {"cpu.usage": (0.7, 0.9), "heap.usage": (0.8, 0.85)}
