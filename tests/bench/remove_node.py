# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""remove_node.yml for two of five, against a bash script of the same steps over ssh and curl, and how soon aether_drain says that a drain is done.

Both on sandbox hosts at the product's real speed, alternately; the five are formed anew for each. Chance is off (no start without state), so that both
wait for the same. From five to four the lists come after the stop, from four to three before it: both orders are in the time.
A drain's lag runs from the last look from outside at which a member did not show it as done to the line with the task's result, so it is not told
shorter than it was. It is measured apart: the looks are many, and would cost the plays time.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import byhand
from lab import ROOT, Lab

FIVE, THREE, OUT = ["n1", "n2", "n3", "n4", "n5"], ["n1", "n2", "n3"], ["n5", "n4"]
ROUNDS, DRAINS = 2, 6
RATIO_BAR, LAG_BAR = 2.5, 1.0
PAUSE = 0.02  # seconds between two looks at a member


def measure(say) -> dict:
    with tempfile.TemporaryDirectory() as folder, Lab("bench-remove", FIVE, Path(folder), stateless="never", formation="ok", seed=1) as lab:
        say("forming a cluster of five")
        lab.form_again(FIVE)
        say("%d drains" % DRAINS)
        late = lags(lab)
        hand, play = [], []
        for number in range(1, ROUNDS + 1):
            for name, side, measured in (("by hand", by_hand, hand), ("the play", by_play, play)):
                lab.form_again(FIVE)
                say("round %d of %d: %s" % (number, ROUNDS, name))
                measured.append(side(lab))
                assert_three(lab, name)
    ours, theirs = statistics.median(play), statistics.median(hand)
    ratio = round(ours / theirs, 2)
    return {
        "seconds": round(ours, 1), "by_hand_seconds": round(theirs, 1), "ratio": ratio, "ratio_bar": RATIO_BAR,
        "drain_lag_seconds": round(max(late), 3), "drain_lag_seconds_median": round(statistics.median(late), 3), "drain_lag_bar_seconds": LAG_BAR,
        "within": ratio <= RATIO_BAR and max(late) <= LAG_BAR,
        "all_seconds": [round(s, 1) for s in play], "all_by_hand_seconds": [round(s, 1) for s in hand], "all_drain_lag_seconds": [round(s, 3) for s in late],
        "conditions": {
            "members": len(FIVE), "removed": len(OUT), "rounds": ROUNDS, "drains": DRAINS, "seconds_between_looks": PAUSE, "door": "in-process",
            "time_factor": 1.0, "node": "simulated",
        },
    }


def by_hand(lab: Lab) -> float:
    """One after the other, the clock stands between the two."""
    return sum(byhand.seconds(lab, "remove", out, *[h for h in FIVE if h not in OUT[: number + 1]]) for number, out in enumerate(OUT))


def by_play(lab: Lab) -> float:
    return lab.play("remove_node", FIVE, **byhand.LOGIN, given={"aether_remove": ",".join(OUT), "aether_yes": True}).seconds


def assert_three(lab: Lab, name: str) -> None:
    assert not [h for h in OUT if lab.runs(h) or lab.enabled(h)], "%s left a node running" % name
    assert lab.lists(THREE) == {h: THREE for h in THREE} and lab.active("n1") == 5, "%s left a list or a slice that is not as it must be" % name


def lags(lab: Lab) -> list:
    """Seconds from the end of a drain to the task's result, of each; none of the slices of a drained node comes back, so the next one is another."""
    cluster = {"endpoints": ["%s=http://%s:8080" % (h, lab.ips[h]) for h in FIVE]}
    tasks = []
    for number in range(DRAINS):
        node = OUT[number % len(OUT)]
        tasks += [
            {"name": "drain %s" % node, "pragmatica.aether.aether_drain": dict(cluster, name=node)},
            {"name": "let every look end", "ansible.builtin.wait_for": {"timeout": 1}},
            {"name": "back on duty", "pragmatica.aether.aether_drain": dict(cluster, name=node, state="active")},
        ]
    path = lab.folder / "drains.json"
    path.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    found, printed, watch = [], [], None
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-e", json.dumps({"ansible_python_interpreter": sys.executable}), str(path)],
        cwd=ROOT, env=lab.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:
        for line in process.stdout:
            now = time.monotonic()
            printed.append(line)
            if line.startswith("TASK [drain "):
                watch = Watch(lab, line[len("TASK [drain ") : line.index("]")])
            elif watch and line.startswith("changed: "):
                found.append(now - watch.last_not_done())
                watch = None
    if process.returncode or len(found) != DRAINS:
        raise SystemExit("bench: the drains failed:\n%s" % "".join(printed)[-3000:])
    return found


class Watch:
    """Looks at every member, again and again, until ``node`` is decommissioned and has no instance in its view."""

    def __init__(self, lab: Lab, node: str):
        self.node, self.not_done = node, {}
        self.threads = [threading.Thread(target=self._look, args=(host, lab.ips[host]), daemon=True) for host in FIVE]
        for thread in self.threads:
            thread.start()

    def _look(self, host, ip):
        connection = http.client.HTTPConnection(ip, 8080, timeout=5)

        def get(path):
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

        while True:
            asked = time.monotonic()
            word = {e["nodeId"]: e["state"] for e in get("/api/nodes/lifecycle")}[self.node] == "DECOMMISSIONED"
            if word and not any(i["nodeId"] == self.node for s in get("/api/slices")["slices"] for i in s.get("instances", [])):
                connection.close()
                return
            self.not_done[host] = asked
            time.sleep(PAUSE)

    def last_not_done(self) -> float:
        for thread in self.threads:
            thread.join(0.5)
        assert not any(t.is_alive() for t in self.threads) and len(self.not_done) == len(FIVE), "the end of the drain of %s was not seen in every view" % self.node
        return max(self.not_done.values())
