# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""full_restart.yml from five to three lists: its downtime, against what the nodes themselves need to stop, to start one after the other and to form.

On sandbox hosts at the product's real speed. The downtime is the play's own, from the first stop until every slice was active. What the nodes need comes from
the same run and from outside: systemd's times of stop and start, and what each node says of itself, asked 50 times a second. What lies between a node's being
connected and the start of the next one is the play's. Chance is off (no start without state), so nothing has to be healed.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import tempfile
import threading
import time
from pathlib import Path

import byhand
from lab import ROOT, Lab

FIVE, THREE = ["n1", "n2", "n3", "n4", "n5"], ["n1", "n2", "n3"]
ROUNDS = 2
RATIO_BAR = 1.3
PAUSE = 0.02  # seconds between two looks at a node
STAMPS = ("ActiveExitTimestampMonotonic", "InactiveEnterTimestampMonotonic", "ExecMainStartTimestampMonotonic")


def measure(say) -> dict:
    down, own, equal = [], [], []
    with tempfile.TemporaryDirectory() as folder, Lab("bench-full", FIVE, Path(folder), stateless="never", formation="ok", seed=1) as lab:
        for number in range(1, ROUNDS + 1):
            say("round %d of %d: forming a cluster of five" % (number, ROUNDS))
            lab.form_again(FIVE)
            before = state(lab, "n1")
            say("round %d of %d: from five to three" % (number, ROUNDS))
            with Watch(lab) as watch:
                result = lab.play("remove_node", FIVE, aether_jar="", **byhand.LOGIN, given={
                    "aether_remove": "n4,n5", "aether_finish": "full_restart", "aether_yes": True, "aether_state_dir": str(lab.folder / "states"),
                    "aether_blueprint_files": [str(ROOT / "tests" / "sandbox" / "blueprint.toml")],
                })
            down.append(float(re.search(r"was down for ([0-9.]+) s", result.text).group(1)))
            own.append(watch.needed(lab))
            equal.append(all(state(lab, h) == before for h in THREE) and lab.lists(THREE) == {h: THREE for h in THREE})
    ratios = [d / sum(o.values()) for d, o in zip(down, own)]
    return {
        "downtime_seconds": round(statistics.median(down), 1), "downtime_ratio": round(statistics.median(ratios), 2), "ratio_bar": RATIO_BAR, "state_equal": all(equal),
        "within": statistics.median(ratios) <= RATIO_BAR and all(equal),
        "all_downtime_seconds": [round(d, 1) for d in down], "all_ratios": [round(r, 2) for r in ratios], "nodes_own_seconds": [{k: round(v, 1) for k, v in o.items()} for o in own],
        "conditions": {"members": len(FIVE), "left": len(THREE), "rounds": ROUNDS, "seconds_between_looks": PAUSE, "door": "in-process", "time_factor": 1.0, "node": "simulated"},
    }


def state(lab: Lab, host: str) -> dict:
    """What a member shows of the cluster's state, but for where the instances are."""
    return {
        "blueprints": lab.get(host, "/api/blueprints"), "thresholds": lab.get(host, "/api/thresholds"), "levels": lab.get(host, "/api/logging/levels"),
        "slices": sorted((s["artifact"], s["targetInstances"], s["minInstances"], len(s["instances"])) for s in lab.get(host, "/api/slices").get("slices", [])),
    }


class Watch:
    """Asks each of the three from outside, by the clock that systemd's stamps are of: when it had the connections that it needed, and when all was formed."""

    def __init__(self, lab: Lab):
        self.seen, self.ended = {h: [] for h in THREE}, threading.Event()
        self.threads = [threading.Thread(target=self._look, args=(h, lab.ips[h]), daemon=True) for h in THREE]

    def __enter__(self) -> "Watch":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *unused) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(5)

    def _look(self, host, ip):
        connection = http.client.HTTPConnection(ip, 8080, timeout=1)

        def get(path):
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

        while not self.ended.wait(PAUSE):
            try:
                peers, leader = get("/api/health")["connectedPeers"], get("/api/status")["leader"]
                duty = {e["nodeId"] for e in get("/api/nodes/lifecycle") if e["state"] == "ON_DUTY"}
                self.seen[host].append((time.monotonic(), peers, leader != "none" and duty == set(THREE)))
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                connection.close()

    def needed(self, lab: Lab) -> dict:
        """Seconds of the nodes' own: until the last had stopped, then of each from its start to its connections, then until all were on duty and led."""
        stamps = {h: times(lab, h) for h in THREE}  # of those that are out systemd has forgotten them; all are stopped at once
        stop = max(s["InactiveEnterTimestampMonotonic"] for s in stamps.values()) - min(s["ActiveExitTimestampMonotonic"] for s in stamps.values())
        starts = {h: stamps[h]["ExecMainStartTimestampMonotonic"] for h in THREE}
        connected = {h: next(t for t, peers, _ in self.seen[h] if t > starts[h] and peers >= earlier) for earlier, h in enumerate(THREE)}
        formed = max(next(t for t, _, complete in self.seen[h] if t > starts["n3"] and complete) for h in THREE)
        return {"stop": stop, "serial_start": sum(connected[h] - starts[h] for h in THREE), "formation": max(0.0, formed - connected["n3"])}


def times(lab: Lab, host: str) -> dict:
    """systemd's own times, in seconds of the monotonic clock that all hosts share."""
    shown = lab.pool.exec(host, "systemctl", "show", "aether", "--property", ",".join(STAMPS)).stdout
    return {name: int(value) / 1e6 for name, value in (line.split("=") for line in shown.split())}
