# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock: whatever the order of the steps of several runs, never two are inside; and what one host's file says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.pragmatica.aether.plugins.action import aether_lock as controller
from ansible_collections.pragmatica.aether.plugins.module_utils import locking as lock
from hypothesis import given, settings
from hypothesis import strategies as st


def take(files, host, run, now, seconds=120.0, state="taken", instead_of=()):
    what, held = lock.decide(files.get(host), state, run, instead_of, now)
    if what == "write":
        files[host] = {"run": run, "owner": run, "doing": "", "since": "", "until": now + seconds}
    elif what == "remove":
        del files[host]
    return held


def steps(files, hosts, run, clock, inside, changes):
    """What the role does, one module at a time: the first host, the others, the count; then a change on each host, and out. Yields between any two."""
    held = {hosts[0]: take(files, hosts[0], run, clock[0])}
    yield
    if held[hosts[0]]:
        for host in hosts:
            held[host] = take(files, host, run, clock[0])
            yield
    if lock.verdict([{"held": h, "msg": "", "holder": {"run": ""}} for h in held.values()], len(hosts))["inside"]:
        inside.add(run)
        for host in hosts:
            yield
            if not take(files, host, run, clock[0], 900.0, "kept"):
                break
            changes.append((clock[0], host, run))
        yield
        inside.discard(run)
    for host in hosts:
        take(files, host, run, clock[0], state="freed")
        yield


@settings(max_examples=400)
@given(size=st.integers(1, 5), runs=st.integers(2, 3), order=st.lists(st.integers(0, 2), min_size=10, max_size=80), turned=st.booleans())
def test_whatever_the_order_of_the_steps_never_two_are_inside(size, runs, order, turned):
    """``turned``: their inventories name the hosts in opposite orders."""
    files, inside, changes = {}, set(), []
    hosts = ["h%d" % i for i in range(size)]
    going = [steps(files, hosts[::-1] if turned and i else hosts, "run%d" % i, [0.0], inside, changes) for i in range(runs)]
    for turn in order + list(range(runs)) * 40:
        next(going[turn % runs], None)
        assert len(inside) <= 1
    assert files == {}  # everybody gave back what was theirs


@settings(max_examples=400)
@given(size=st.integers(1, 5), pauses=st.lists(st.tuples(st.integers(0, 1), st.sampled_from([1.0, 30.0, 130.0, 1000.0])), min_size=10, max_size=60))
def test_a_run_that_stood_still_until_another_took_over_changes_nothing_more(size, pauses):
    files, inside, changes, clock = {}, set(), [], [0.0]
    hosts = ["h%d" % i for i in range(size)]
    going = [steps(files, hosts, "run%d" % i, clock, inside, changes) for i in range(2)]
    for turn, pause in pauses:
        next(going[turn], None)
        clock[0] += pause
    # Each comes once; whoever has been followed by the other never comes back.
    in_a_row = [run for i, (_, _, run) in enumerate(changes) if i == 0 or changes[i - 1][2] != run]
    assert len(in_a_row) == len(set(in_a_row)), changes


def test_what_the_hosts_answered():
    mine, other, silent = {"held": True}, {"held": False, "msg": "bob@there …", "holder": {"run": "there/2/2"}}, {"unreachable": True}
    assert lock.verdict([mine, mine, silent], 3)["inside"]
    assert "aether_break_lock=there/2/2" in lock.verdict([mine, mine, other], 3)["msg"]
    assert "Only 1 of the 3 hosts" in lock.verdict([mine, silent, silent], 3)["msg"]
    assert not lock.verdict([mine, mine], 4)["inside"] and not lock.verdict([], 1)["inside"]


@pytest.mark.parametrize("record, state, run, instead_of, expected", [
    (None, "taken", "a", [], ("write", True)), (None, "kept", "a", [], ("", False)), (None, "freed", "a", [], ("", False)),
    (("a", 10), "taken", "a", [], ("write", True)), (("a", -10), "kept", "a", [], ("write", True)), (("a", 10), "freed", "a", [], ("remove", False)),
    (("b", 10), "taken", "a", [], ("", False)), (("b", 0), "taken", "a", [], ("write", True)), (("b", 10), "taken", "a", ["b"], ("write", True)),
    (("b", 10), "taken", "a", ["c"], ("", False)), (("b", -10), "kept", "a", [], ("", False)), (("b", -10), "freed", "a", [], ("", False)),
])
def test_one_host(record, state, run, instead_of, expected):
    record = record and {"run": record[0], "owner": "", "doing": "", "since": "", "until": 100.0 + record[1]}
    assert lock.decide(record, state, run, instead_of, 100.0) == expected


def module(path, check=False, **parameters):
    """Run the module as Ansible would: (exit code, its answer)."""
    given = json.dumps({"ANSIBLE_MODULE_ARGS": dict(parameters, path=str(path), _ansible_check_mode=check)})
    code = "import sys; from ansible_collections.pragmatica.aether.plugins.modules import aether_lock as m; from ansible.module_utils import basic; basic._ANSIBLE_ARGS = sys.argv[1].encode(); basic._ANSIBLE_PROFILE = 'legacy'; m.main()"
    done = subprocess.run([sys.executable, "-c", code, given], capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))
    return done.returncode, json.loads(done.stdout)


def test_the_file_says_who_has_it_and_is_gone_afterwards(tmp_path):
    path = tmp_path / "lock"
    assert module(path, check=True, run="here/1/1", owner="ann@here")[1]["held"] and not path.exists()
    code, first = module(path, run="here/1/1", owner="ann@here", doing="add_node.yml", seconds=60)
    assert (code, first["held"], first["changed"]) == (0, True, False)
    code, second = module(path, run="there/2/2", owner="bob@there", doing="site.yml")
    assert (code, second["held"]) == (0, False)
    assert second["holder"]["run"] == "here/1/1" and 50 < second["holder"]["left"] <= 60
    assert second["msg"].startswith("ann@here, run here/1/1, has the lock since 20") and " for add_node.yml; it runs out in " in second["msg"]
    code, kept = module(path, state="kept", run="here/1/1", owner="ann@here", seconds=900)
    assert code == 0 and kept["holder"]["left"] > 800 and kept["holder"]["doing"] == "add_node.yml" and kept["holder"]["since"] == second["holder"]["since"]
    code, again = module(path, run="here/1/1", owner="ann@here", seconds=60)  # the next round of the same run looks and plans
    assert code == 0 and again["holder"]["left"] > 800
    assert module(path, state="freed", run="there/2/2")[0] == 0 and path.exists()
    code, lost = module(path, state="kept", run="there/2/2")
    assert code == 1 and lost["msg"].startswith("The lock of this cluster is lost: ann@here, ") and lost["msg"].endswith("run this play again.")
    assert module(path, run="there/2/2", owner="bob@there", instead_of=["here/1/1"])[1]["held"]
    assert module(path, state="kept", run="here/1/1")[0] == 1
    assert module(path, state="freed", run="there/2/2")[0] == 0 and not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"run": "x"}'])
def test_a_file_that_is_no_lock_is_none(tmp_path, text):
    path = tmp_path / "lock"
    path.write_text(text)
    assert module(path, run="here/1/1", owner="ann@here")[1]["held"]


def test_a_directory_that_is_not_there_is_said(tmp_path):
    code, answer = module(tmp_path / "no" / "lock", run="here/1/1")
    assert code == 1 and answer["msg"].startswith("The lock cannot be read or written in %s: " % (tmp_path / "no"))


def test_a_process_that_is_gone_is_told_from_one_that_lives():
    process = subprocess.Popen(["sleep", "60"])
    try:
        run = controller.name_of(process.pid)
        assert not controller.dead(run)
        where, _, start = run.rpartition("/")
        assert controller.dead(where + "/1" + start)  # the same number, but another process
        assert not controller.dead(run.replace(controller.controller(), "elsewhere/0"))  # nobody can tell
    finally:
        process.kill()
        process.wait()
    assert controller.dead(run)
    assert not controller.dead("nonsense") and not controller.dead("")
    assert not controller.dead(controller.name_of(1))
