# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The full observation of seven members inside a play, in-process, against a loop with one uri task per member; with --tls against itself on seven others with TLS, too.

The members are simulated nodes in one other process on loopback, with two slices and a changed threshold; formed quickly, then at the product's speed.
Seconds run from a task's start to its result, as a play sees them. The loop makes one request per member and
compares nothing; the gate reads everything that its decision needs. With TLS it is given the secret alone, and makes its certificate each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MEMBERS, ROUNDS, BAR_TLS = 7, 20, 2.0
BLUEPRINT = ROOT / "tests" / "sandbox" / "blueprint.toml"
SECRET = "secret-of-the-benchmark"
# Runs until its standard input is closed.
CLUSTER = """
import sys
from simnode.testing import SimCluster
with SimCluster(%d, time_factor=0.2, secret=%r) as cluster:
    cluster.start_all()
    cluster.post("n1", "/api/blueprint", open(%r).read())
    cluster.post("n1", "/api/thresholds", {"metric": "cpu.usage", "warning": 0.6, "critical": 0.85})
    cluster.wait(lambda: all(cluster.get(n, "/api/blueprints").get("blueprints") for n in cluster.ids), "the blueprint on every member")
    for node in cluster.nodes.values():
        node.switches.time_factor = 1.0
    print(" ".join(cluster.endpoint_list()), flush=True)
    sys.stdin.read()
"""
GATE, LOOP, GATE_TLS = "gate", "uri", "gate with TLS"
TASKS = {
    GATE: {"pragmatica.aether.aether_quorum_check": {"endpoints": "{{ endpoints }}", "require": "complete"}},
    LOOP: {"ansible.builtin.uri": {"url": "{{ item.split('=')[1] }}/health/ready"}, "loop": "{{ endpoints }}"},
    GATE_TLS: {"pragmatica.aether.aether_quorum_check": {"endpoints": "{{ endpoints_tls }}", "cluster_secret": SECRET, "require": "complete"}},
}


@contextlib.contextmanager
def members(secret=""):
    """Their endpoints."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER % (MEMBERS, secret, str(BLUEPRINT))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT / "tests" / "sandbox" / "node")),
    ) as cluster:
        endpoints = cluster.stdout.readline().split()
        if len(endpoints) != MEMBERS:
            raise SystemExit("bench: the simulated members did not start; see above.")
        yield endpoints
        cluster.stdin.close()


def measure(say, tls: bool = False) -> dict:
    names = [GATE, LOOP, *([GATE_TLS] if tls else [])]
    with contextlib.ExitStack() as stack:
        say("starting %d simulated members%s" % (MEMBERS, ", and as many with TLS" if tls else ""))
        given = {"endpoints": stack.enter_context(members()), "ansible_python_interpreter": sys.executable}
        if tls:
            given["endpoints_tls"] = stack.enter_context(members(SECRET))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        say("%d times each of %s, alternately" % (ROUNDS, ", ".join(names)))
        play, seconds = Path(folder, "play.json"), Path(folder, "seconds")
        tasks = [dict(TASKS[name], name=name) for _ in range(ROUNDS) for name in names]
        play.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
        environment = dict(
            os.environ, ANSIBLE_CALLBACK_PLUGINS=str(ROOT / "tests" / "bench" / "callback"), ANSIBLE_CALLBACKS_ENABLED="task_seconds", TASK_SECONDS=str(seconds), ANSIBLE_NOCOLOR="1"
        )
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-e", json.dumps(given), str(play)],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )
        if done.returncode:
            raise SystemExit("bench: the play failed:\n%s" % done.stdout[-3000:])
        measured = [json.loads(line) for line in seconds.read_text(encoding="utf-8").splitlines()]
    took = {name: [m["seconds"] for m in measured if m["task"] == name] for name in names}
    assert all(len(found) == ROUNDS for found in took.values()), {name: len(found) for name, found in took.items()}
    ours, theirs = statistics.median(took[GATE]), statistics.median(took[LOOP])
    figures = {"seconds": round(ours, 3), "seconds_slowest": round(max(took[GATE]), 3), "uri_loop_seconds": round(theirs, 3), "ratio": round(theirs / ours, 1)}
    if tls:
        with_tls = statistics.median(took[GATE_TLS])
        figures.update(seconds_tls=round(with_tls, 3), seconds_tls_slowest=round(max(took[GATE_TLS]), 3), ratio_tls=round(with_tls / ours, 2), within=with_tls / ours <= BAR_TLS)
    figures["conditions"] = {"members": MEMBERS, "rounds": ROUNDS, "require": "complete", "door": "in-process"}
    return figures
