# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""aether_blueprint on three members: what an unchanged blueprint costs, and how soon a change is noticed to be true.

The members are simulated nodes at the product's own pace. Requests are counted where they arrive. A change is true at the moment, on the
nodes' own clock, from which the state of every node has the wanted instances, all active and no others; its lag is what passes until the operation
returns. There is no other side to compare with, the bars are a count and a time.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for folder in (".dev/collections", "tests/unit"):
    sys.path.insert(0, str(ROOT / folder))

ID, CART, SHOP = "org.example:all:1.0.0", "org.example:cart:1.0.0", "org.example:checkout:1.0.0"
ROUNDS, BAR = 6, 1.0


def content(cart: int) -> str:
    return 'id = "%s"\n[[slices]]\nartifact = "%s"\ninstances = %d\nminAvailable = 1\n[[slices]]\nartifact = "%s"\ninstances = 2\n' % (ID, CART, cart, SHOP)


class Requests:
    """Counts what arrives at the nodes: (node, method, path)."""

    def __init__(self, api):
        self.seen: Counter = Counter()
        answer = api.__call__

        async def counted(this, request):
            self.seen[(this.node.id, request.method, request.path)] += 1
            return await answer(this, request)

        api.__call__ = counted

    def during(self, work) -> Counter:
        before = Counter(self.seen)
        work()
        return self.seen - before


class Moment:
    """Since when, on the nodes' own clock, the state of every node has ``count`` active instances of the slice and no others; None while it has not."""

    def __init__(self, nodes, artifact: str, count: int):
        self.nodes, self.key, self.count, self.since, self.stop = nodes, "instance/%s/" % artifact, count, None, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self.stop.is_set():
            states = [[i["state"] for _, i in node.store.items(self.key)] for node in self.nodes]
            if all(s == ["ACTIVE"] * self.count for s in states):
                self.since = self.since or self.nodes[0].now()
            else:
                self.since = None
            time.sleep(0.003)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.stop.set()
        self.thread.join(10)


def measure(say) -> dict:
    from ansible_collections.pragmatica.aether.plugins.module_utils.operations import blueprint
    from fakes import run
    from simnode.api import Api
    from simnode.testing import SimCluster

    requests = Requests(Api)
    with SimCluster(3, time_factor=1.0) as cluster:
        say("starting 3 simulated members at the product's own pace")
        cluster.start_all()
        nodes = list(cluster.nodes.values())

        def changed(count, stable_for, **how):
            """Seconds from the moment it is true to the operation's return, and to when it was first noticed."""
            with Moment(nodes, CART, count) as moment:
                result = run(blueprint, cluster, timeout=60.0, stable_for=stable_for, read_timeout=5.0, **how)
                now = nodes[0].now()
            assert result["changed"] and moment.since is not None, "the operation returned before it was true: %s" % result["msg"]
            noticed = now - (result["waited"]["seconds"] - result["true_after"])
            return now - moment.since, noticed - moment.since

        say("a blueprint from nothing, then unchanged %d times" % ROUNDS)
        first, _ = changed(1, 0.0, content=content(1))
        cost, seconds = [], []
        for _ in range(ROUNDS):
            start = time.monotonic()
            cost.append(requests.during(lambda: run(blueprint, cluster, content=content(1), read_timeout=5.0)))
            seconds.append(time.monotonic() - start)
        say("%d changes, up and down, by count and by blueprint" % ROUNDS)
        lags = [first]
        for turn in range(ROUNDS):
            count = 2 if turn % 2 == 0 else 1
            how = {"artifact": CART, "instances": count} if turn < ROUNDS / 2 else {"content": content(count)}
            lags.append(changed(count, 0.0, **how)[0])
        _, noticed = changed(3, 1.0, artifact=CART, instances=3)
    writes = max(sum(n for (_, method, _), n in seen.items() if method != "GET") for seen in cost)
    reads = [n for seen in cost for (_, method, _), n in seen.items() if method == "GET"]
    return {
        "unchanged_writes": writes, "unchanged_rounds_of_reads": max(reads), "unchanged_reads": max(sum(seen.values()) for seen in cost), "unchanged_seconds": round(statistics.median(seconds), 3),
        "lag_seconds": round(max(lags), 3), "lag_seconds_median": round(statistics.median(lags), 3), "lag_seconds_noticed_before_stable": round(noticed, 3),
        "bar_seconds": BAR, "within": writes == 0 and max(reads) == 1 and max(lags) <= BAR,
        "conditions": {"members": 3, "slices": 2, "rounds": ROUNDS, "time_factor": 1.0, "stable_for": 0, "node": "simulated, in the same process", "clock": "the nodes' own"},
    }
