# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One full observation of 7, 25, 50 and 100 members, from the first connection to the verdict, in seconds, processor and memory.

The members are canned: one other process answers for all of them, each at a port of its own, with what the views of a healthy cluster of that size say. A
hundred simulated nodes would keep two cores busy with telling each other that they live, and that is not what is measured. What is true to life is all that
the collection has to do: a connection to each member, each question of the dialect, answers as large as those of the real ones, in each of which all members
are listed, and the judgement of every member by its own. Each observation is made in a process of its own, with a session of its own as a gate has it; its
processor time and its peak of memory are those of that process without what starting Python and importing took.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZES, ROUNDS = (7, 25, 50, 100), 5
BAR_SECONDS, BAR_GROWTH = 1.0, 5.0
# Runs until its standard input is closed; says the endpoints, and afterwards how many requests came, for each line that it reads.
CLUSTER = """
import asyncio, json, sys
sys.path.insert(0, %(unit)r)
from builders import member
from fakes import spoken
from simnode.testing import free_ports

names = ["n%%d" %% number for number in range(1, %(size)d + 1)]
asked = [0]

def answers(name):
    for path, (status, document) in spoken(member(name, names)).items():
        body = json.dumps(document, separators=(",", ":")).encode()
        kind = "HTTP/1.1 %%d X\\r\\ncontent-type: application/json; charset=UTF-8\\r\\ncontent-length: %%d\\r\\nconnection: keep-alive\\r\\n\\r\\n" %% (status, len(body))
        yield path.encode(), kind.encode() + body

class Member(asyncio.Protocol):
    def __init__(self, known):
        self.known, self.rest = known, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.rest += data
        while b"\\r\\n\\r\\n" in self.rest:
            head, _, self.rest = self.rest.partition(b"\\r\\n\\r\\n")
            asked[0] += 1
            self.transport.write(self.known.get(head.split(b" ", 2)[1], b"HTTP/1.1 404 X\\r\\ncontent-length: 14\\r\\n\\r\\nFile not found"))

async def main():
    loop = asyncio.get_running_loop()
    endpoints = []
    for name in names:
        known = dict(answers(name))
        port = free_ports()[1]
        await loop.create_server(lambda known=known: Member(known), "127.0.0.1", port, backlog=64)
        endpoints.append("%%s=http://127.0.0.1:%%d" %% (name, port))
    print(json.dumps(endpoints), flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(asked[0], flush=True)

asyncio.run(main())
"""
# One observation; says what it took. The library's first import is no part of it, as it is none inside Ansible's own process.
OBSERVE = """
import json, resource, sys, time
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import quorum_check
from ansible_collections.pragmatica.aether.plugins.module_utils.operations.session import Session
from fakes import parameters
given = parameters(quorum_check, endpoints=json.loads(sys.argv[1]))
with Session(dict(given, endpoints=["n1=http://127.0.0.1:1"])):
    pass
memory, used, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), time.perf_counter()
with Session(given) as session:
    look = session.look()
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    verdict = look.verdict
assert verdict.holds("complete") and verdict.have == len(given["endpoints"]), [r.sentence for r in verdict.reasons][:5]
print(json.dumps({"seconds": seconds, "cpu_seconds": processor, "memory_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024, "can_lose": verdict.can_lose}))
"""


@contextlib.contextmanager
def members(size, environment):
    """(their endpoints, a function that says how often they were asked so far)."""
    code = CLUSTER % {"size": size, "unit": str(ROOT / "tests" / "unit")}
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as cluster:
        told = cluster.stdout.readline()
        if not told:
            raise SystemExit("bench: the canned members did not start; see above.")

        def asked():
            cluster.stdin.write("\n")
            cluster.stdin.flush()
            return int(cluster.stdout.readline())

        yield json.loads(told), asked
        cluster.stdin.close()


def observe(endpoints, environment) -> dict:
    done = subprocess.run([sys.executable, "-c", OBSERVE, json.dumps(endpoints)], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit("bench: the observation failed:\n%s" % done.stderr[-3000:])
    return json.loads(done.stdout)


def measure(say) -> dict:
    paths = [ROOT / "tests" / "sandbox" / "node", ROOT / "tests" / "unit", ROOT / ".dev" / "collections"]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, paths)))
    took, reads = {}, {}
    for size in SIZES:
        say("%d observations of %d canned members" % (ROUNDS, size))
        with members(size, environment) as (endpoints, asked):
            observe(endpoints, environment)  # what the files' first reading takes is no part of it
            before = asked()
            took[size] = [observe(endpoints, environment) for _ in range(ROUNDS)]
            reads[size] = (asked() - before) / ROUNDS / size
    median = {size: {what: statistics.median(one[what] for one in took[size]) for what in ("seconds", "cpu_seconds", "memory_mb")} for size in SIZES}
    largest, growth = median[SIZES[-1]], median[100]["seconds"] / median[25]["seconds"]
    figures = {"seconds_%d" % size: round(median[size]["seconds"], 3) for size in SIZES}
    figures.update(
        growth=round(growth, 2), growth_cpu=round(median[100]["cpu_seconds"] / median[25]["cpu_seconds"], 2), reads_per_member=round(reads[100], 2),
        cpu_seconds=round(largest["cpu_seconds"], 3), peak_memory_mb=round(largest["memory_mb"], 1),
        seconds_100_slowest=round(max(one["seconds"] for one in took[100]), 3),
        bar_seconds=BAR_SECONDS, bar_growth=BAR_GROWTH, within=largest["seconds"] <= BAR_SECONDS and growth <= BAR_GROWTH,
        conditions={"members": list(SIZES), "rounds": ROUNDS, "node": "canned, one process for all", "api": "v1, found out"},
    )
    return figures
