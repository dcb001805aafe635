# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What aether_info gathers, answers and waits for; errors in expressions show where they are."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.client import EndpointTrouble
from ansible_collections.pragmatica.aether.plugins.module_utils.dialects import v1
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import info, session
from ansible_collections.pragmatica.aether.plugins.module_utils.query import Query
from fakes import run
from hypothesis import given, settings
from hypothesis import strategies as st
from simnode.testing import SimCluster

CART = "org.example:cart:1.0.0"


@pytest.fixture(scope="module")
def three():
    with SimCluster(3) as cluster:
        cluster.start_all()
        cluster.request("POST", "n1", "/api/blueprint", 'id = "org.example:shop:1.0.0"\n[[slices]]\nartifact = "%s"\ninstances = 2\n' % CART)
        cluster.wait(lambda: all(sum(i["state"] == "ACTIVE" for s in cluster.get(n, "/api/slices").get("slices", []) for i in s["instances"]) == 2 for n in cluster.ids), "slices")
        yield cluster


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(session, "SECOND_LOOK", 0.05)


def refused(cluster, **options):
    with pytest.raises(AetherError) as caught:
        run(info, cluster, **options)
    return caught.value


def test_all_that_can_be_gathered_is_one_document(three):
    result = run(info, three, gather=["all"])
    document = result["document"]
    assert set(info.SUBSETS) < set(document) and result["troubles"] == [] and document["leader"] == "n1" and document["can_lose"] == 1
    assert document["blueprints"] == [{"id": "org.example:shop:1.0.0", "slices": [{"artifact": CART, "instances": 2, "dependency": False}]}]
    assert document["lifecycle"] == [{"node": n, "state": "ON_DUTY"} for n in three.ids]
    (cart,) = document["slices"]
    assert (cart["name"], cart["wanted"], cart["active"], cart["settled"], len(cart["instances"])) == ("cart", 2, 2, True, 2)
    assert [m["node"] for m in document["metrics"]] == three.ids and all(0 <= m["cpu"] <= 1 for m in document["metrics"])
    assert {"metric": "cpu.usage", "warning": 0.7, "critical": 0.9} in document["thresholds"] and document["alerts"] == {"active": [], "history": []}
    assert [c["node"] for c in document["certificate"]] == three.ids and document["certificate"][0] == {"node": "n1", "renewal": "NOT_CONFIGURED", "expires_at": None, "seconds_left": None, "last_renewal": None}
    assert any(e["type"] == "BLUEPRINT_DEPLOYED" for e in document["events"]) and document["deployments"] == []
    assert result["slice_table"][1].startswith(CART) and result["imbalance"] == []


def test_only_what_is_asked_for_is_gathered_and_what_an_expression_names(three):
    assert set(run(info, three)["document"]) & set(info.SUBSETS) == {"members", "lifecycle", "slices"}
    result = run(info, three, gather=[], query="metrics[?cpu < `0.9`].node")
    assert set(result["document"]) & set(info.SUBSETS) == {"metrics"} and result["answer"] == ["n1", "n2", "n3"]
    assert run(info, three, query="slices[?name == 'cart'] | [0].instances[].node")["answer"] and "answer" not in run(info, three)


def test_waiting_for_what_becomes_true(three):
    def scale():
        time.sleep(0.4)
        three.post("n2", "/api/scale", {"artifact": CART, "instances": 3})

    helper = threading.Thread(target=scale, daemon=True)
    helper.start()
    try:
        result = run(info, three, wait_for=["slices[?name == 'cart'] | [0].active == `3`", "settled"], timeout=10.0)
        assert result["waited"]["polls"] > 1 and result["document"]["settled"]
    finally:
        helper.join(5)
        three.post("n2", "/api/scale", {"artifact": CART, "instances": 2})


def test_the_deadline_says_what_is_not_true(three):
    error = refused(three, wait_for=["majority", "leader == 'n9'"], timeout=0.3)
    assert error.kind == "not_met" and error.data["last"] == ["leader == 'n9' is false"] and "leader == 'n9'" in error.message and error.data["result"]["table"]


@pytest.mark.parametrize("expression,position,part", [
    ("members[?ready", 14, "ends too early"), ("members[*].#id", 11, "'#' does not belong here"), ("a b", 2, "'b' does not belong here"), ("size(members) > `2`", 0, "no function size()"),
    ("majority && length(leader, voters) == `3`", 12, "arguments"), ("leader != 'x' && abs(leader) > `0`", 17, "does not take n1"), ("", 0, "cannot be empty"),
    ("length(leader) > `1` && length(can_lose) > `1`", 24, "does not take 1"), ("leader != 'abs(x)' && abs(leader) > `0`", 22, "does not take n1"), ("members[?length(abs(id)) > `1`]", 16, "abs() does not take n1"),
    ("members[?id == 'x' || size(id) > `1`]", 22, "no function size()"), ("length(voters) == `3` && length (`1`) == `3`", 25, "does not take 1"), ("members[?id > `1`].id", 12, "not supported"), ("voters[::0]", 6, "step cannot be zero"),
    ("merge(@, leader_of) == `1`", 0, "NoneType"),
])
def test_an_error_in_an_expression_shows_where(three, expression, position, part):
    error = refused(three, query=expression)
    line, caret = error.message.splitlines()[-2:]
    assert error.kind == "bad_input" and part in error.message and line[4:] == expression and caret == " " * (4 + position) + "^"


@pytest.mark.parametrize("condition,kind", [("members", "a list"), ("leader", "a string"), ("nothing", "null"), ("can_lose", "a number")])
def test_a_condition_that_is_not_true_or_false_is_an_error(three, condition, kind):
    error = refused(three, wait_for=[condition], timeout=0.3)
    assert error.kind == "bad_input" and kind in error.message and condition in error.message


def test_a_caret_stands_below_the_fault_of_an_expression_in_lines():
    with pytest.raises(AetherError) as caught:
        Query("members[0]\n  && ]", "query")
    assert caught.value.message.splitlines()[-1].index("^") - 4 == len("members[0]   && ")


def test_a_condition_that_trips_over_what_could_not_be_read_waits_for_it(three, monkeypatch):
    who, read = v1.TELLS["alerts"]
    left = [2]

    def broken(asker, endpoint):
        left[0] -= 1
        if left[0] >= 0:
            raise EndpointTrouble("error", "not now")
        return read(asker, endpoint)

    monkeypatch.setitem(v1.TELLS, "alerts", (who, broken))
    result = run(info, three, wait_for=["length(alerts.active) == `0`"], timeout=10.0)
    assert result["waited"]["polls"] == 3 and result["troubles"] == []
    left[0] = 1000
    error = refused(three, wait_for=["length(alerts.active) == `0`"], timeout=0.3)
    assert error.kind == "not_met" and "`0` is null" in error.message and "alerts could not be read: not now" in error.message
    assert "no function size()" in refused(three, wait_for=["size(alerts) == `0`"], timeout=5.0).message
    assert "ends too early" in refused(three, wait_for=["alerts ||"], timeout=5.0).message


@given(st.text(alphabet="ab'`\"[](){}*&|!=<>.,:@?-01 \\\\", max_size=14) | st.recursive(
    st.sampled_from(["a", "b.c", "`1`", "'x'", "@", "*", "[0]", "[::0]", "a[*]"]),
    lambda e: st.builds("{}({}, {})".format, st.sampled_from(["merge", "max_by", "contains", "join"]), e, e)
    | st.builds("{} {} {}".format, e, st.sampled_from(["<", ">=", "==", "&&", "||", "|"]), e) | st.builds("a[?{}]".format, e), max_leaves=4,
))
@settings(max_examples=200, deadline=None)
def test_no_expression_makes_it_fall_over_and_the_caret_is_below_it(expression):
    try:
        Query(expression, "query").ask({"a": [{"b": 1}, {"b": "x"}], "b": {"c": None}})
    except AetherError as error:
        line, caret = error.message.splitlines()[-2:]
        assert error.kind == "bad_input" and line[4:] == expression and 4 <= caret.index("^") <= len(line) and caret.strip() == "^"


def test_an_unwell_cluster_is_told_and_waited_for():
    with SimCluster(3, time_factor=0.005) as cluster:
        cluster.start_all()
        cluster.kill("n2")
        cluster.kill("n3")
        cluster.wait(lambda: cluster.request("GET", "n1", "/health/ready")[0] == 503, "n1 to notice", seconds=10)
        result = run(info, cluster, gather=["all"])
        assert not result["majority"] and result["document"]["slices"] is None and result["document"]["metrics"]
        assert "length() does not take None" in refused(cluster, query="length(slices)").message and run(info, cluster, query="length(not_null(slices, `[]`))")["answer"] == 0
        error = refused(cluster, wait_for=["majority"], timeout=0.3)
        assert error.kind == "not_met"
        cluster.kill("n1")
        nobody = run(info, cluster, gather=["all"])
        assert nobody["document"]["metrics"] is None and any("Nobody answers" in t for t in nobody["troubles"])


def test_what_a_dialect_does_not_tell_is_null_and_said():
    with SimCluster(3, api="runbook") as cluster:
        cluster.start_all()
        result = run(info, cluster, gather=["all"])
        assert [m["node"] for m in result["document"]["metrics"]] == cluster.ids and result["document"]["metrics"][0]["cpu"] == 0.12
        assert result["document"]["thresholds"] is None and any("does not tell thresholds" in t for t in result["troubles"])
        assert "does not tell alerts" in refused(cluster, wait_for=["length(alerts.active) == `0`"], timeout=0.2).message
