# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The full observation of seven members inside a play, in-process, against a loop with one uri task per member.

The members are simulated nodes in one other process on loopback, with two slices and a changed threshold; formed quickly, then at the product's speed.
Seconds run from a task's start to its result, as a play sees them. The loop makes one request per member and
compares nothing; the gate reads everything that its decision needs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MEMBERS, ROUNDS = 7, 20
BLUEPRINT = ROOT / "tests" / "sandbox" / "blueprint.toml"
# Runs until its standard input is closed.
CLUSTER = """
import sys
from simnode.testing import SimCluster
with SimCluster(%d, time_factor=0.2) as cluster:
    cluster.start_all()
    cluster.post("n1", "/api/blueprint", open(%r).read())
    cluster.post("n1", "/api/thresholds", {"metric": "cpu.usage", "warning": 0.6, "critical": 0.85})
    cluster.wait(lambda: all(cluster.get(n, "/api/blueprints").get("blueprints") for n in cluster.ids), "the blueprint on every member")
    for node in cluster.nodes.values():
        node.switches.time_factor = 1.0
    print(" ".join(cluster.endpoint_list()), flush=True)
    sys.stdin.read()
"""
PLAY = [
    {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [
            task
            for _ in range(ROUNDS)
            for task in (
                {"name": "gate", "pragmatica.aether.aether_quorum_check": {"endpoints": "{{ endpoints }}", "require": "complete"}},
                {"name": "uri", "ansible.builtin.uri": {"url": "{{ item.split('=')[1] }}/health/ready"}, "loop": "{{ endpoints }}"},
            )
        ],
    }
]


def measure(say) -> dict:
    say("starting %d simulated members" % MEMBERS)
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER % (MEMBERS, str(BLUEPRINT))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT / "tests" / "sandbox" / "node")),
    ) as cluster, tempfile.TemporaryDirectory() as folder:
        endpoints = cluster.stdout.readline().split()
        if len(endpoints) != MEMBERS:
            raise SystemExit("bench: the simulated members did not start; see above.")
        say("%d gates and %d loops, alternately" % (ROUNDS, ROUNDS))
        play, seconds = Path(folder, "play.json"), Path(folder, "seconds")
        play.write_text(json.dumps(PLAY), encoding="utf-8")
        environment = dict(
            os.environ, ANSIBLE_CALLBACK_PLUGINS=str(ROOT / "tests" / "bench" / "callback"), ANSIBLE_CALLBACKS_ENABLED="task_seconds", TASK_SECONDS=str(seconds), ANSIBLE_NOCOLOR="1"
        )
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-e", json.dumps({"endpoints": endpoints, "ansible_python_interpreter": sys.executable}), str(play)],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )
        cluster.stdin.close()
        if done.returncode:
            raise SystemExit("bench: the play failed:\n%s" % done.stdout[-3000:])
        measured = [json.loads(line) for line in seconds.read_text(encoding="utf-8").splitlines()]
    gates, loops = ([m["seconds"] for m in measured if m["task"] == name] for name in ("gate", "uri"))
    assert len(gates) == len(loops) == ROUNDS, (len(gates), len(loops))
    ours, theirs = statistics.median(gates), statistics.median(loops)
    return {
        "seconds": round(ours, 3), "seconds_slowest": round(max(gates), 3), "uri_loop_seconds": round(theirs, 3), "ratio": round(theirs / ours, 1),
        "conditions": {"members": MEMBERS, "rounds": ROUNDS, "require": "complete", "door": "in-process"},
    }
