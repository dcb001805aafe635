# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether to scale: the rules by properties, and what is measured against simulated clusters of either API."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.pragmatica.aether.plugins.filter.members import machines
from ansible_collections.pragmatica.aether.plugins.module_utils import capacity
from ansible_collections.pragmatica.aether.plugins.module_utils.capacity import HOLD, IN, OUT, UP, Load, Machine, Sample, advise, left_with, overload
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import capacity_info, plan_info, session
from ansible_collections.pragmatica.aether.plugins.module_utils.sizing import PROFILES, usual_profile
from fakes import parameters, run
from hypothesis import given, settings
from hypothesis import strategies as st
from simnode.http import HttpServer
from simnode.testing import SimCluster

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


# --- measured -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["v1", "runbook"])
def three(request):
    with SimCluster(3, api=request.param) as cluster:
        cluster.start_all()
        yield cluster


@pytest.fixture
def busy(three):
    """Sets switches of members, and takes them back."""
    plain = dict(cpu=0.4, heap=0.3, requests=0.0, request_latency=0.0, request_latency_rise=0.0, no_metrics=False, hang=False)
    for node in three.ids:
        three.set(node, **plain)
    yield lambda node, **switches: three.set(node, **switches)
    for node in three.ids:
        three.set(node, **plain)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(session, "SECOND_LOOK", 0.05)


def measured(cluster, **options):
    return run(capacity_info, cluster, **dict({"window": 0.3, "api": cluster.api}, **options))


def test_members_are_measured_each_by_its_own_word(three, busy):
    for number, node in enumerate(three.ids, 1):
        busy(node, cpu=number / 10, heap=0.5, requests=20.0, request_latency=4.0)
    host = [{"node": "n1", "cores": 4, "memory_mb": 8000, "available_mb": 4096, "load": 0.5, "disk_mb": 10240}]
    result = measured(three, machines=host)
    assert [(m["node"], m["cpu"], m["heap"], m["samples"], m["missed"]) for m in result["members"]] == [("n1", 0.1, 0.5, 4, 0), ("n2", 0.2, 0.5, 4, 0), ("n3", 0.3, 0.5, 4, 0)]
    assert result["advice"]["action"] == "hold" and result["advice"]["cpu"] == 0.2 and [c["nodes"] for c in result["advice"]["carried"]] == [2, 3, 5]
    told = [(m["requests"], m["latency"]) for m in result["members"]]
    assert told == [(20.0, 4.0) if three.api == "v1" else (None, None)] * 3
    first, second = (re.split(r"  +", line) for line in result["table"][1:3])
    assert first == ["n1", "10 %", "50 %", *(["20.0/s", "4.0 ms"] if three.api == "v1" else ["-", "-"]), "4", "4.0 of 7.8 GB free", "0.50", "10.0 GB free"]
    assert second[-4:] == ["-"] * 4 and "n = ceil(sum of cpu / 0.7) = ceil(0.60 / 0.7) = 1, rounded up to odd, at least 3, at most 7: 3" in result["table"]
    assert "Each carries, with 2 nodes: 30 %, with 3 nodes: 20 %, with 5 nodes: 12 %" in result["table"] and not result["changed"]


def test_busy_processors_want_more_nodes_and_a_pipeline_can_stop_at_that(three, busy):
    for node in three.ids:
        busy(node, cpu=0.8)
    result = measured(three)
    assert (result["advice"]["action"], result["advice"]["nodes"], result["advice"]["level"]) == ("scale_out", 5, "warning")
    assert result["msg"].startswith("Scale out, from 3 to 5 nodes. n = ceil(")
    assert measured(three, fail_on="critical")["advice"] == result["advice"]
    with pytest.raises(AetherError) as caught:
        measured(three, fail_on="warning")
    assert caught.value.kind == "capacity" and caught.value.data["codes"] == ["cpu", "without_one"] and "Processors are at 80 % on average" in caught.value.message
    assert caught.value.data["result"]["table"] == result["table"]
    busy("n2", cpu=0.95)
    with pytest.raises(AetherError) as caught:
        measured(three, fail_on="critical")
    assert "n2: its processor is at 95 %, above 90 %." in caught.value.message and "on average" not in caught.value.message


@pytest.mark.parametrize("how, why", [(dict(no_metrics=True), "Metrics are not available"), (dict(hang=True), "did not answer"), (dict(cpu=-1.0), "does not tell its cpu.usage")])
def test_a_member_that_tells_nothing_is_named_and_no_idle_one(three, busy, how, why):
    for node in three.ids:
        busy(node, cpu=0.1, heap=0.1)
    assert measured(three, profile=DEVELOPMENT)["advice"]["action"] == "scale_in"
    busy("n3", **how)
    result = measured(three, profile=DEVELOPMENT)
    third = result["members"][2]
    assert not third["measured"] and third["cpu"] is None and why in third["trouble"]
    assert result["advice"]["action"] == "hold" and [f["node"] for f in result["advice"]["findings"] if f["code"] == "not_measured"] == ["n3"]
    assert any(line.startswith("n3      not measured") for line in result["table"]), result["table"]


def test_when_nobody_tells_anything_nothing_is_advised(three, busy):
    for node in three.ids:
        busy(node, no_metrics=True)
    with pytest.raises(AetherError) as caught:
        measured(three)
    assert caught.value.kind == "not_measured" and all("%s: " % n in caught.value.message for n in three.ids)


@pytest.mark.parametrize("window", [0, -1.0, 0.01, 3601.0, float("nan")])
def test_a_window_that_is_none_is_refused_before_anybody_is_asked(window):
    with pytest.raises(AetherError) as caught:
        capacity_info.run(parameters(capacity_info, window=window), None)
    assert caught.value.kind == "bad_input" and "from 0.1 to 3600 seconds" in caught.value.message


def test_latency_that_rises_and_slices_without_a_node():
    with SimCluster(3, cpu=0.4, request_latency=10.0) as cluster:
        cluster.start_all()
        assert measured(cluster)["advice"]["action"] == "hold"
        for node in cluster.ids:
            cluster.set(node, request_latency_rise=100.0)
        result = measured(cluster, window=0.5)
        assert result["advice"]["action"] == "scale_out" and [f["code"] for f in result["advice"]["findings"]] == ["latency"] and result["members"][0]["latency_rise"] > 20
        for node in cluster.ids:
            cluster.set(node, request_latency_rise=0.0)
        cluster.request("POST", "n1", "/api/blueprint", 'id = "org.example:shop:1.0.0"\n[[slices]]\nartifact = "org.example:cart:1.0.0"\ninstances = 4\n')
        cluster.wait(lambda: all(cluster.get(n, "/api/slices").get("slices") for n in cluster.ids), "the slice")
        result = measured(cluster)
        assert (result["advice"]["action"], result["advice"]["nodes"]) == ("scale_out", 5) and "wants 4 instances, one on each node, and there are 3 nodes" in result["table"][-1]


def test_a_dead_member_and_a_lost_majority():
    with SimCluster(3, cpu=0.1) as cluster:
        cluster.start_all()
        cluster.kill("n3")
        result = measured(cluster)
        assert result["advice"]["action"] == "hold" and not result["members"][2]["measured"] and "no connection" in result["members"][2]["trouble"]
        cluster.kill("n2")
        result = measured(cluster)
        assert result["advice"]["level"] == "critical" and "degraded" in [f["code"] for f in result["advice"]["findings"]]


def test_all_samples_of_a_member_go_over_one_connection(monkeypatch):
    opened, serve = [], HttpServer._serve

    async def counting(server, reader, writer):
        opened.append(server)
        await serve(server, reader, writer)

    monkeypatch.setattr(HttpServer, "_serve", counting)
    with SimCluster(3) as cluster:
        cluster.start_all()
        opened.clear()
        assert [m["samples"] for m in measured(cluster, window=0.5)["members"]] == [4, 4, 4]
        assert sorted(Counter(map(id, opened)).values()) == [1, 1, 1]


def test_what_hosts_have_comes_from_those_that_were_looked_at():
    machine = {"cores": 4, "memory_mb": 8000, "available_mb": 4000, "load": 0.5, "disk_mb": 9000}
    hostvars = {"h1": {"aether_node_id": "n1", "aether__host": {"machine": machine}}, "h2": {"aether__host": {"unreachable": True}}, "h3": {}}
    assert machines(hostvars, ["h1", "h2", "h3"]) == [dict(machine, node="n1")]


def test_a_member_that_hangs_keeps_nobody_waiting(three, busy):
    """The samples of the others stay in time."""
    busy("n2", hang=True)
    begin = time.monotonic()
    result = measured(three, window=1.0)
    first, second, third = result["members"]
    assert (first["samples"], second["samples"], third["samples"]) == (4, 0, 4)
    assert time.monotonic() - begin < 30


# --- in the plans ---------------------------------------------------------------------------------------------------------


def planned(cluster, operation, **options):
    return run(plan_info, cluster, **dict({"operation": operation, "window": 0.3, "on_refusal": "report"}, **options))


def test_a_plan_that_stops_members_is_refused_where_the_rest_would_be_overloaded():
    with SimCluster(5, cpu=0.5) as cluster:
        cluster.start_all()
        result = planned(cluster, "roll")
        assert result["plan"]["refusals"] == [] and result["capacity"]["advice"]["action"] == "hold" and result["capacity"]["table"]
        assert "capacity" not in planned(cluster, "roll", window=0)
        refusals = planned(cluster, "shrink", removing=["n4", "n5"])["plan"]["refusals"]
        assert [r["code"] for r in refusals] == ["overload"] and "2 would carry 2.50 processors" in refusals[0]["sentence"]
        assert planned(cluster, "shrink", removing=["n5"], allow_even=True)["plan"]["refusals"] == [], "three carry 83 %"
        assert planned(cluster, "shrink", removing=["n4", "n5"], allow_overload=True)["plan"]["refusals"] == []
        kept = planned(cluster, "shrink", removing=["n5"], allow_even=True, keep_lists=True)
        assert kept["plan"]["refusals"] == []
        for node in cluster.ids:
            cluster.set(node, cpu=0.8)
        for options in (dict(operation="roll"), dict(operation="shrink", removing=["n5"], allow_even=True, keep_lists=True)):
            with pytest.raises(AetherError) as caught:
                planned(cluster, on_refusal="fail", **options)
            assert "4 would carry 4.00 processors, 100 % each" in caught.value.message and "aether_allow_overload=true" in caught.value.message
        assert planned(cluster, "roll", restarted=cluster.ids)["plan"]["done"], "nobody is stopped"


def test_growing_is_never_refused_for_its_load_and_new_nodes_are_not_missed():
    with SimCluster(3, cpu=0.95) as cluster:
        cluster.start_all()
        for absent in ("n4", "n5"):
            cluster.add_member(absent)
        result = planned(cluster, "grow")
        assert result["plan"]["refusals"] == [] and result["plan"]["to_add"] == ["n4", "n5"]
        assert [m["node"] for m in result["capacity"]["members"]] == ["n1", "n2", "n3"] and result["capacity"]["advice"]["nodes"] == 5
        assert "capacity" not in planned(cluster, "roll", ids=["n1", "n2", "n3"], restarted=["n1", "n2", "n3"]), "where nothing is to do nobody is measured"
