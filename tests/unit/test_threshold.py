# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alert thresholds of a simulated cluster: set, changed, removed, and left alone where they are as they should be."""

from __future__ import annotations

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils import client
from ansible_collections.pragmatica.aether.plugins.module_utils.dialects import v1
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import session, threshold
from fakes import parameters, run
from simnode.testing import SimCluster


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(session, "SECOND_LOOK", 0.05)
    monkeypatch.setattr(client, "FIRST_BACK_OFF", 0.03)


@pytest.fixture(scope="module")
def three():
    """One cluster; each test has a metric of its own."""
    with SimCluster(3) as cluster:
        cluster.start_all()
        yield cluster


def put(cluster, metric, **options):
    return run(threshold, cluster, **dict({"metric": metric, "timeout": 5.0}, **options))


def refused(cluster, metric, **options):
    with pytest.raises(AetherError) as caught:
        put(cluster, metric, **options)
    return caught.value


def shown(cluster, metric):
    return [cluster.get(n, "/api/thresholds").get(metric) for n in cluster.ids]


def test_the_runbooks_levels_are_set_once_and_every_member_shows_them(three):
    assert shown(three, "heap.usage") == [{"warning": 0.7, "critical": 0.85}] * 3
    plan = put(three, "heap.usage", check_mode=True)
    assert plan["changed"] and not plan["actions"][0]["sent"] and shown(three, "heap.usage")[0]["warning"] == 0.7 and plan["threshold"]["warning"] == 0.8
    done = put(three, "heap.usage")
    assert done["changed"] and done["diff"] == plan["diff"] == {"before": "heap.usage: warning 0.7, critical 0.85\n", "after": "heap.usage: warning 0.8, critical 0.85\n"}
    assert shown(three, "heap.usage") == [{"warning": 0.8, "critical": 0.85}] * 3 and done["msg"].endswith("3 members show it.")
    again = put(three, "heap.usage")
    assert not again["changed"] and again["actions"] == [] and again["threshold"] == {"metric": "heap.usage", "warning": 0.8, "critical": 0.85}
    assert not put(three, "cpu.usage")["changed"], "the product has it by itself"


def test_one_is_set_changed_and_removed(three):
    assert put(three, "queue.length", warning=10, critical=20)["changed"] and not put(three, "queue.length", warning=10, critical=20)["changed"]
    assert put(three, "queue.length", warning=15, critical=20)["changed"] and shown(three, "queue.length") == [{"warning": 15.0, "critical": 20.0}] * 3
    gone = put(three, "queue.length", state="absent")
    assert gone["changed"] and gone["threshold"] == {"metric": "queue.length", "warning": None, "critical": None} and shown(three, "queue.length") == [None] * 3
    assert not put(three, "queue.length", state="absent")["changed"]
    assert put(three, "cpu.usage", state="absent")["changed"] and put(three, "cpu.usage")["changed"], "also one of the product's own, and back again"


def test_an_error_or_a_lost_answer_after_the_write_is_no_failure(three):
    three.set("n1", error_but_applied=True)
    assert len(put(three, "a.metric", warning=1, critical=2)["actions"]) == 1
    three.set("n1", error_but_applied=False, hang_writes="after")
    assert len(put(three, "a.metric", warning=1, critical=3, read_timeout=0.3)["actions"]) == 1
    three.set("n1", hang_writes="")


def test_a_member_that_does_not_show_it_is_named_at_the_deadline(three, monkeypatch):
    original = v1.thresholds
    monkeypatch.setattr(v1, "thresholds", lambda asker, endpoint: [] if endpoint.name == "n3" else original(asker, endpoint))
    error = refused(three, "late.metric", warning=1, critical=2, timeout=0.3)
    assert error.kind == "not_shown" and error.message.endswith("n3 shows without a threshold.") and error.data["result"]["changed"]


@pytest.mark.parametrize("metric, options, part", [
    ("cpu.usage", dict(warning=0.9, critical=0.1), "the warning, 0.9, is above the critical level, 0.1"),
    ("cpu.usage", dict(warning=70, critical=90), "is from 0 to 1, and would never come to 90: 70 % is 0.7"),
    ("cpu.usage", dict(warning=0.7), "go together"),
    ("cpu.usage", dict(critical=0.7), "go together"),
    ("cpu.usage", dict(warning=-0.1, critical=0.9), "no two levels of 0 or more"),
    ("cpu.usage", dict(warning=float("nan"), critical=0.9), "no two levels of 0 or more"),
    ("cpu.usage", dict(warning=0.1, critical=0.9, state="absent"), "go with state: present"),
    ("queue.length", dict(), "only cpu.usage and heap.usage have levels by default"),
    ("a/b", dict(warning=1, critical=2), "'a/b' is no metric"),
    ("", dict(state="absent"), "'' is no metric"),
])
def test_what_is_wrong_is_refused_before_anybody_is_asked(metric, options, part):
    with pytest.raises(AetherError) as caught:
        threshold.run(parameters(threshold, metric=metric, **dict({"state": "present"}, **options)), None)
    assert caught.value.kind == "bad_input" and part in caught.value.message and caught.value.message.startswith("The task is refused, nothing was sent: ")


def test_the_key_must_be_an_operators_and_nothing_is_written_while_a_node_starts():
    with SimCluster(3, api_keys={"reader": "VIEWER", "keeper": "OPERATOR"}) as cluster:
        cluster.key = "keeper"
        cluster.start_all()
        error = refused(cluster, "cpu.usage", warning=0.5, critical=0.9, api_key="reader")
        assert error.kind == "refused" and "the role OPERATOR" in error.message and error.data["result"]["actions"] == []
        assert put(cluster, "cpu.usage", warning=0.5, critical=0.9, api_key="keeper")["changed"]
        assert not put(cluster, "cpu.usage", warning=0.5, critical=0.9, api_key="reader")["changed"], "where nothing differs a reader's will do"
        cluster.stop("n3")
        cluster.start("n3", never_ready=True)
        cluster.wait(lambda: cluster.request("GET", "n3", "/health/ready")[0] == 503, "n3 to answer")
        error, told = refused(cluster, "cpu.usage", api_key="keeper"), refused(cluster, "cpu.usage", api_key="keeper", check_mode=True)
        assert error.kind == "refused" and "n3 answers and is not ready" in error.message and error.message == told.message


def test_the_runbooks_api_has_none():
    with SimCluster(3, api="runbook") as cluster:
        cluster.start_all()
        error = refused(cluster, "cpu.usage")
        assert error.kind == "cannot" and "has no alert thresholds" in error.message
