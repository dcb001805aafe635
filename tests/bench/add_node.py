# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""add_node.yml for one node, lists not rolled, against a bash script of the same steps over ssh and curl.

Both on sandbox hosts at the product's real speed, alternately; a node added by one is taken out and wiped before the next.
Chance is off (no start without state), so that both wait for the same. The roll of the lists is measured apart.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import byhand
from lab import Lab

THREE, NEW = ["n1", "n2", "n3"], "n4"
ROUNDS = 3
WIPE = "systemctl disable -q --now aether; rm -rf /opt/aether /etc/aether /var/lib/aether /etc/systemd/system/aether.service; userdel aether 2>/dev/null; systemctl daemon-reload"


def measure(say) -> dict:
    with tempfile.TemporaryDirectory() as folder, Lab("bench-add", THREE + [NEW], Path(folder), stateless="never", formation="ok", seed=1) as lab:
        lab.form(THREE)
        hand, play = [], []
        for number in range(1, ROUNDS + 1):
            say("round %d of %d: by hand" % (number, ROUNDS))
            hand.append(by_hand(lab))
            take_out(lab)
            say("round %d of %d: the play" % (number, ROUNDS))
            play.append(lab.play("add_node", THREE + [NEW], aether_roll_lists=False, aether_allow_even=True, **byhand.LOGIN).seconds)
            if number < ROUNDS:
                take_out(lab)
        say("the roll of the lists")
        roll = lab.play("add_node", THREE + [NEW], aether_allow_even=True, **byhand.LOGIN).seconds
    ours, theirs = statistics.median(play), statistics.median(hand)
    return {
        "seconds": round(ours, 1), "by_hand_seconds": round(theirs, 1), "ratio": round(ours / theirs, 2), "roll_of_lists_seconds": round(roll, 1),
        "all_seconds": [round(s, 1) for s in play], "all_by_hand_seconds": [round(s, 1) for s in hand],
        "conditions": {"members": len(THREE), "rounds": ROUNDS, "time_factor": 1.0, "node": "simulated"},
    }


def by_hand(lab: Lab) -> float:
    return byhand.seconds(lab, "add", NEW, *THREE)


def take_out(lab: Lab) -> None:
    """As if the host were new again: wiped, and gone from every view."""
    lab.pool.exec(NEW, "sh", "-c", WIPE)
    lab.wait(lambda: all(NEW not in [e["nodeId"] for e in lab.get(h, "/api/nodes/lifecycle")] for h in THREE), "%s to be gone" % NEW)
