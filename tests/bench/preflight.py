# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""preflight.yml for seven hosts: fresh ones, fresh ones with a block, which is waited for, and a running cluster.

On sandbox hosts, by the command a user types; seconds are those of the whole command. There is no other side to compare with, the bar is a time.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from lab import Lab

HOSTS = ["n%d" % n for n in range(1, 8)]
ROUNDS, BAR = 3, 15.0


def measure(say) -> dict:
    with tempfile.TemporaryDirectory() as folder, Lab("bench-preflight", HOSTS, Path(folder), time_factor=0.2, stateless="never", formation="ok", seed=1) as lab:
        say("%d rounds on fresh hosts" % ROUNDS)
        fresh = [lab.play("preflight").seconds for _ in range(ROUNDS)]
        say("one host that does not reach another")
        lab.pool.fault("cut1", ["n1"], ["n2"])
        blocked = lab.play("preflight", ok=False)
        assert "n1 does not reach n2" in blocked.text, blocked.tail()
        lab.pool.heal()
        say("forming the cluster")
        lab.play("site")
        say("%d rounds on the running cluster" % ROUNDS)
        running = [lab.play("preflight").seconds for _ in range(ROUNDS)]
    slowest = max(fresh + running + [blocked.seconds])
    return {
        "seconds": round(statistics.median(fresh), 1), "running_seconds": round(statistics.median(running), 1), "blocked_seconds": round(blocked.seconds, 1),
        "slowest_seconds": round(slowest, 1), "bar_seconds": BAR, "within": slowest <= BAR, "all_seconds": [round(s, 1) for s in fresh], "all_running_seconds": [round(s, 1) for s in running],
        "conditions": {"hosts": len(HOSTS), "rounds": ROUNDS, "node": "simulated"},
    }
