# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The alert rules: each says what a person needs, asks for what the exporter tells, has cases, and none of the runbook's rows is without one."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml
from watching import CASES, ROLE, ROOT, check_configuration, check_rules, load, of_role, rules

PAGE = ROOT / "docs" / "site" / "watch-it.md"
# Of Prometheus itself.
THEIRS = {"up"}
# Rows of the runbook's "Monitoring Thresholds" and "When to Scale" -> (alert, severity, what its expression compares).
RUNBOOK = [
    ("cpu.usage > 0.7", "AetherCpuHigh", "warning", "aether_cpu_usage_ratio > 0.7"),
    ("cpu.usage > 0.9", "AetherCpuCritical", "critical", "aether_cpu_usage_ratio > 0.9"),
    ("heap.usage > 0.8", "AetherHeapHigh", "warning", "aether_heap_usage_ratio > 0.8"),
    ("quorum = false", "AetherQuorumLost", "critical", "aether_cluster_quorum == 0"),
    ("CPU usage consistently > 70% across nodes", "AetherScaleOut", "warning", "> 0.7"),
    ("Response latency increasing", "AetherLatencyRising", "warning", "aether_request_latency_seconds"),
    ("Need to increase slice capacity", "AetherMoreSlicesThanNodes", "warning", "aether_slice_wanted_instances"),
    ("CPU usage consistently < 30% across nodes", "AetherScaleIn", "info", "< 0.3"),
    ("Minimum 3 nodes for production", "AetherScaleIn", "info", "aether_cluster_voters > 3"),
]


def alerts(text):
    return {rule["alert"]: rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]}


@pytest.fixture(scope="module")
def made():
    return alerts(rules())


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    return load(tmp_path_factory.mktemp("exporter"))


def test_each_says_how_bad_it_is_and_what_to_do(made):
    page = PAGE.read_text(encoding="utf-8")
    headings = {heading.lower() for heading in re.findall(r"(?m)^### (\w+)$", page)}
    for name, rule in made.items():
        assert rule["labels"] == {"severity": rule["labels"]["severity"]} and rule["labels"]["severity"] in ("info", "warning", "critical"), name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"} and all(rule["annotations"].values()), name
        url, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert url.endswith("/" + str(PAGE.relative_to(ROOT))) and anchor == name.lower() and anchor in headings, name
        assert re.fullmatch(r"\d+[smh]", rule["for"]), name
    assert headings == {name.lower() for name in made}


def test_whatever_they_ask_for_is_what_the_exporter_tells(made, exporter):
    told = set(exporter.METRICS) | set(exporter.COUNTERS) | THEIRS
    for name, rule in made.items():
        asked = set(re.findall(r"\b(?:aether_[a-z_]+|up)\b", rule["expr"] + rule["annotations"]["summary"]))
        assert asked and asked <= told, (name, asked - told)
        labels = set(re.findall(r"\$labels\.(\w+)", "".join(rule["annotations"].values())))
        known = {"cluster", *(label for metric in asked & set(exporter.METRICS) for label in exporter.METRICS[metric][1])}
        assert labels <= known, (name, labels - known)


def test_each_number_is_on_the_page_with_its_labels(exporter):
    rows = {name: labels.strip() for name, labels in re.findall(r"(?m)^\| `(aether_[a-z_]+)` \|([^|]*)\|", PAGE.read_text(encoding="utf-8"))}
    assert rows == {
        **{name: ", ".join("`%s`" % label for label in labels) for name, (_text, labels) in exporter.METRICS.items()}, **dict.fromkeys(exporter.COUNTERS, "")
    }


def test_names_have_their_units(exporter):
    """As Prometheus wants them: base units, ``_total`` for what counts up and for nothing else."""
    for name in exporter.METRICS:
        assert re.fullmatch(r"aether_[a-z]+(_[a-z]+)*", name) and not name.endswith("_total") and "_ms" not in name and "_percent" not in name
    for word, unit in (("usage", "ratio"), ("latency", "seconds"), ("since", "timestamp_seconds"), ("left", "seconds")):
        assert all(name.endswith(unit) for name in exporter.METRICS if word in name.split("_") and "bytes" not in name)
    assert all(name.endswith("_total") for name in exporter.COUNTERS)


@pytest.mark.parametrize(("row", "name", "severity", "part"), RUNBOOK, ids=[row for row, *_ in RUNBOOK])
def test_each_row_of_the_runbook_has_its_alert(made, row, name, severity, part):
    assert made[name]["labels"]["severity"] == severity and part in made[name]["expr"]
    assert row in PAGE.read_text(encoding="utf-8")


def test_thresholds_and_waits_are_variables():
    changed = alerts(rules(aether_monitoring_cpu_critical=0.95, aether_monitoring_drain=120, aether_monitoring_for={"AetherMemberDown": "10s"}, aether_monitoring_interval=2))
    assert changed["AetherCpuCritical"]["expr"].endswith("> 0.95") and "> 120 " in changed["AetherDrainStuck"]["expr"]
    assert changed["AetherMemberDown"]["for"] == "10s" and changed["AetherCpuHigh"]["for"] == "5m"


def test_a_frozen_member_is_alerted_of_in_time():
    """The scrape that sees it begins one interval later at the worst, and takes no longer than the time-out; the rules look three times an interval."""
    values = of_role("defaults")
    interval = values["aether_monitoring_interval"]
    every = {group["interval"] for group in yaml.safe_load(rules())["groups"]}
    assert every == {"%ds" % (interval // 3)}
    assert interval + values["aether_monitoring_timeout"] + interval // 3 <= 2 * interval
    # Where the role takes other numbers, the same holds: it refuses a time-out above half of the interval.
    assert "<= aether_monitoring_interval | int / 2" in (ROLE / "tasks" / "check.yml").read_text(encoding="utf-8")


def test_none_is_without_a_case_of_firing_and_one_of_not(made):
    cases = [test for path in CASES for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"] for test in entry.get("promql_expr_test", [])]
    seen = {(re.search(r'alertname="(\w+)"', case["expr"]).group(1), bool(case["exp_samples"])) for case in cases}
    assert seen == {(name, fires) for name in made for fires in (True, False)}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on this machine; bin/test ecosystem gets it, and fails without")
def test_promtool_takes_them_and_they_fire_when_they_should(tmp_path):
    assert check_rules(shutil.which("promtool"), tmp_path) == []
    assert check_configuration(shutil.which("promtool"), tmp_path) == []
