# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each cell of docs/faults.md is about the play that it names."""

from __future__ import annotations

from types import SimpleNamespace

import faults_table
import pytest
from lab import Result

RECAP = "n1 : ok=9 changed=%d unreachable=0 failed=0 skipped=0 rescued=0 ignored=0\n"


def played(name, code=0, text="", changed=0):
    return Result(name, code, "PLAY [1/2 Plan] ****\n%s\n" % text + RECAP % changed, 1.0)


def lab(*results, verdicts=(True,)):
    return SimpleNamespace(results=list(results), verdicts=list(verdicts), api="v1")


def line(made, *args, values=None, **kwargs):
    return faults_table.line(made, SimpleNamespace(args=args, kwargs=kwargs), values or {})


def test_the_first_play_met_the_fault_and_the_last_came_afterwards():
    made = lab(played("add_node", 2, "Refused, nothing was touched: …"), played("add_node", changed=3))
    assert line(made, "a", "b") == ("a", "b", "v1", "add_node: refused, nothing was touched", "kept", "add_node: done")


def test_a_mark_says_which_play_met_the_fault_and_which_came_afterwards():
    made = lab(played("remove_node", changed=1), played("remove_node", 2, changed=1), played("add_node"), played("status", text="3 of 3 sound, 2 needed"))
    assert line(made, "a", "b", play=1, then=2)[3:] == ("remove_node: stopped in 1/2 Plan", "kept", "add_node: nothing left to do")
    assert line(made, "a", "b", play=1)[5] == "status: 3 of 3 sound"
    assert line(made, "a", "b", play=(0, 1), then=None)[3:] == ("remove_node: done; remove_node: stopped in 1/2 Plan", "kept", "-")
    assert line(made, "a", "b", play=3)[5] == "-"
    with pytest.raises(IndexError):
        line(made, "a", "b", play=4)


def test_the_value_of_a_parameter_and_the_majority():
    assert line(lab(played("add_node"), verdicts=()), "a", "{how} of it", values={"how": "SIGINT"})[1:5] == ("SIGINT of it", "v1", "add_node: done", "-")
    assert line(lab(played("add_node"), verdicts=(True, False)), "a", "b")[4] == "lost to the fault itself"
    with pytest.raises(ValueError):
        line(lab(played("add_node")), "a", "b | c")


@pytest.mark.parametrize("result, words", [
    (played("preflight"), "preflight: ready"),
    (played("preflight", 2, "Not ready, nothing was touched. 1 error: …"), "preflight: refused, nothing was touched"),
    (played("inside"), "inside: done"),
    (played("inside", -9), "inside: killed in 1/2 Plan"),
    (played("add_node", 4, "[ERROR]: User interrupted execution"), "add_node: interrupted in 1/2 Plan"),
    (played("add_node", 2, "n4 was not added: …", changed=5), "add_node: the new node was taken out again"),
    (played("verify_start", 2), "verify_start: the start is found wanting"),
])
def test_how_a_play_ended(result, words):
    assert faults_table.how(result, again=True) == words


def test_a_run_of_single_tests_renews_its_own_lines(tmp_path):
    path = tmp_path / "faults.md"
    assert faults_table.read(path) == []
    faults_table.write(path, [("a", "b", "v1", "old", "kept", "-"), ("a", "b", "runbook", "old", "kept", "-"), ("z", "b", "v1", "old", "-", "-")])
    faults_table.write(path, faults_table.renewed(faults_table.read(path), [("a", "b", "v1", "new", "kept", "-"), ("c", "d", "v1", "new", "-", "-")]))
    assert path.read_text(encoding="utf-8").startswith(faults_table.HEAD)
    assert [row[:1] + row[2:4] for row in faults_table.read(path)] == [("a", "runbook", "old"), ("a", "v1", "new"), ("c", "v1", "new"), ("z", "v1", "old")]
