# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the members carry: advice in each situation, members that are not stopped while the others are too busy, and thresholds that are set once."""

from __future__ import annotations

import json

import pytest

FIVE = ["n1", "n2", "n3", "n4", "n5"]
MEMBERS = FIVE


def busy(lab, hosts=FIVE, **switches):
    for host in hosts:
        lab.switch_now(host, **switches)


def capacity(lab, ok=True, window=1, **given):
    """The play's result and what it wrote down for machines."""
    path = lab.folder / "capacity.json"
    path.unlink(missing_ok=True)
    result = lab.play("capacity", FIVE, ok=ok, given=dict(given, aether_window_seconds=window, aether_capacity_file=str(path)))
    return result, json.loads(path.read_text(encoding="utf-8"))


def action(data):
    return data["advice"]["action"], data["advice"]["nodes"]


def thresholds(lab):
    return [lab.get(h, "/api/thresholds") for h in FIVE]


def test_each_situation_has_its_advice(lab):
    busy(lab, cpu=0.5)
    result, data = capacity(lab)
    assert action(data) == ("hold", 5) and "Hold: 5 nodes." in result.text, result.tail()
    assert "n = ceil(sum of cpu / 0.7) = ceil(2.50 / 0.7) = 4, rounded up to odd, at least 3, at most 7: 5" in result.text
    assert "Each carries, with 4 nodes: 62 %, with 5 nodes: 50 %, with 7 nodes: 36 %" in result.text
    assert all(m["measured"] and m["samples"] >= 4 and m["machine"]["cores"] >= 1 and m["machine"]["memory_mb"] > 0 for m in data["members"]), data
    busy(lab, cpu=0.8, requests=50.0, request_latency=3.0)
    result, data = capacity(lab)
    assert action(data) == ("scale_out", 7) and "Scale out, from 5 to 7 nodes." in result.text and "50.0/s" in result.text
    busy(lab, cpu=0.1)
    result, data = capacity(lab)
    assert action(data) == ("scale_in", 3) and "Scale in, from 5 to 3 nodes, one at a time." in result.text
    # In a band where nothing is changed, hosts that are smaller than what they were meant to be.
    busy(lab, cpu=0.5)
    result, data = capacity(lab, aether_profile="large")
    assert data["advice"]["action"] in ("size_up", "hold")
    assert (data["advice"]["action"] == "size_up") == any(m["machine"]["cores"] < 16 or m["machine"]["memory_mb"] < 0.9 * 32 * 1024 for m in data["members"])


@pytest.mark.fault("measuring", "a pipeline is to stop at a warning, and processors are busy", play=1, then=2)
def test_a_pipeline_stops_at_the_level_that_it_was_told_and_sees_the_table(lab):
    busy(lab, cpu=0.8)
    capacity(lab, aether_fail_on="critical")
    result, data = capacity(lab, ok=False, aether_fail_on="warning")
    assert "n1 80 %" in result.text and "Processors are at 80 % on average, above 70 %." in result.text.partition("FAILED!")[2], result.tail()
    assert data["advice"]["level"] == "warning" and action(data) == ("scale_out", 7)
    busy(lab, cpu=0.5)
    capacity(lab, aether_fail_on="warning")


@pytest.mark.fault("measuring", "a member hangs, a host cannot be reached", play=(0, 1), then=2)
def test_who_is_not_measured_is_named_and_nothing_is_scaled_in(lab):
    busy(lab, cpu=0.1)
    lab.switch_now("n4", hang=True)
    result, data = capacity(lab)
    assert action(data) == ("hold", 5) and [m["node"] for m in data["members"] if not m["measured"]] == ["n4"] and "n4 was not measured" in result.text
    lab.switch_now("n4", hang=False)
    lab.pool.ssh_cut("n5")
    result, data = capacity(lab, ok=None)
    assert action(data) == ("scale_in", 3) and [m["node"] for m in data["members"] if not m["machine"]] == ["n5"], result.tail()
    lab.pool.heal()
    assert action(capacity(lab)[1]) == ("scale_in", 3)


@pytest.mark.fault("known beforehand", "the rest could not carry what the member carries that is to go", play=0)
def test_a_member_is_not_taken_out_while_the_rest_would_be_overloaded(lab):
    busy(lab, cpu=0.8)
    said = dict(aether_remove="n5", aether_yes=True, aether_allow_even=True, aether_finish="keep_lists")
    with lab.witness() as witness:
        for arguments in (["--check"], []):
            result = lab.play("remove_node", FIVE, *arguments, ok=False, given=said)
            assert "Without n5, 4 would carry 4.00 processors, 100 % each" in result.text and "aether_allow_overload=true" in result.text, result.tail()
            assert "othing was touched" in result.text and result.changed == 0 and lab.runs("n5")
        result = lab.play("remove_node", FIVE, given=dict(said, aether_allow_overload=True))
    lab.judge(witness)
    assert "Scale out, from 5 to 7 nodes." in result.text and not lab.runs("n5") and not lab.enabled("n5")


@pytest.mark.fault("known beforehand", "the rest could carry it, but not while it is restarted with the shorter list", play=0, then=None)
def test_the_rest_is_what_counts_and_its_restarts_too(lab):
    busy(lab, cpu=0.5)
    result = lab.play("remove_node", FIVE, ok=False, given=dict(aether_remove="n5,n4", aether_yes=True))
    assert "Without n5, n4, and while the others are restarted one at a time, 2 would carry 2.50 processors, 125 % each" in result.text, result.tail()
    assert result.changed == 0 and lab.runs("n4") and lab.runs("n5") and lab.lists() == {h: FIVE for h in FIVE}


@pytest.mark.fault("known beforehand", "the others could not carry it while one is restarted", play=0)
def test_no_member_is_restarted_while_the_others_would_be_overloaded(lab):
    busy(lab, cpu=0.8)
    started = lambda: {h: lab.pool.exec(h, "systemctl", "show", "aether", "--property", "ExecMainStartTimestampMonotonic", "--value").stdout.strip() for h in FIVE}  # noqa: E731
    before = started()
    with lab.witness() as witness:
        result = lab.play("rolling_restart", FIVE, ok=False)
        assert "With one of them stopped, 4 would carry 4.00 processors, 100 % each" in result.text and "othing was touched" in result.text, result.tail()
        assert started() == before
        busy(lab, cpu=0.7)  # 88 % for the other four
        assert "Scale out" not in lab.play("rolling_restart", FIVE, "--check").text
        busy(lab, cpu=0.8)
        result = lab.play("rolling_restart", FIVE, given={"aether_allow_overload": True})
    lab.judge(witness)
    after = started()
    assert all(after[h] != before[h] for h in FIVE) and "Scale out, from 5 to 7 nodes." in result.text


def test_thresholds_are_set_once_changed_and_removed(lab):
    lab.request("POST", "n1", "/api/thresholds", json.dumps({"metric": "cpu.usage", "warning": 0.6, "critical": 0.8}))
    lab.wait(lambda: all(t["cpu.usage"]["warning"] == 0.6 for t in thresholds(lab)), "the first one everywhere")
    before = thresholds(lab)
    checked = lab.play("thresholds", FIVE, "--check", "--diff")
    assert checked.changed > 0 and "warning 0.6, critical 0.8" in checked.text and thresholds(lab) == before
    assert lab.play("thresholds", FIVE).changed > 0
    runbook = {"cpu.usage": {"warning": 0.7, "critical": 0.9}, "heap.usage": {"warning": 0.8, "critical": 0.85}}
    assert all({m: t[m] for m in runbook} == runbook for t in thresholds(lab))
    assert lab.play("thresholds", FIVE).changed == 0
    wanted = [{"metric": "cpu.usage", "warning": 0.5, "critical": 0.75}, {"metric": "heap.usage", "state": "absent"}, {"metric": "queue.length", "warning": 10, "critical": 20}]
    lab.play("thresholds", FIVE, given={"aether_thresholds": wanted})
    assert all(t["cpu.usage"]["warning"] == 0.5 and "heap.usage" not in t and t["queue.length"]["critical"] == 20 for t in thresholds(lab))
    assert lab.play("thresholds", FIVE, given={"aether_thresholds": wanted}).changed == 0


@pytest.mark.fault("known beforehand", "a threshold's warning is above its critical level", play=0, then=None)
def test_one_that_would_never_warn_is_refused_and_none_is_set(lab):
    before = thresholds(lab)
    wanted = [{"metric": "queue.length", "warning": 10, "critical": 20}, {"metric": "cpu.usage", "warning": 0.9, "critical": 0.5}]
    result = lab.play("thresholds", FIVE, ok=False, given={"aether_thresholds": wanted})
    assert "the warning, 0.9, is above the critical level, 0.5" in result.text and thresholds(lab) == before, result.tail()
