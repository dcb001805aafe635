# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""rolling_restart.yml for three and for five nodes, against a bash script that stops, starts, waits and checks per host.

Both on sandbox hosts at the product's real speed, alternately, with nothing to change but the process: no JAR is given, the configuration stays, no slice
is drained. Chance is off (no start without state), so that both wait for the same. Seconds are those of the whole command.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import byhand
from lab import Lab

SIZES, ROUNDS = (3, 5), 2


def measure(say) -> dict:
    figures, ratios = {}, []
    for size in SIZES:
        hand, play = sides(size, say)
        ours, theirs = statistics.median(play), statistics.median(hand)
        ratios.append(ours / theirs)
        figures.update(
            {
                "seconds_%d" % size: round(ours, 1), "by_hand_seconds_%d" % size: round(theirs, 1), "ratio_%d" % size: round(ours / theirs, 2),
                "all_seconds_%d" % size: [round(s, 1) for s in play], "all_by_hand_seconds_%d" % size: [round(s, 1) for s in hand],
            }
        )
    return dict({"ratio": round(max(ratios), 2)}, **figures, conditions={"members": list(SIZES), "rounds": ROUNDS, "time_factor": 1.0, "node": "simulated"})


def sides(size: int, say):
    """Seconds by hand and seconds of the play, per round."""
    members = ["n%d" % n for n in range(1, size + 1)]
    hand, play = [], []
    with tempfile.TemporaryDirectory() as folder, Lab("bench-roll", members, Path(folder), stateless="never", formation="ok", seed=1) as lab:
        lab.form(members)
        for number in range(1, ROUNDS + 1):
            for name, side, measured in (("by hand", by_hand, hand), ("the play", by_play, play)):
                say("%d nodes, round %d of %d: %s" % (size, number, ROUNDS, name))
                before = starts(lab)
                measured.append(side(lab))
                same = [h for h, start in starts(lab).items() if start == before[h]]
                assert not same, "%s did not restart %s" % (name, ", ".join(same))
    return hand, play


def by_hand(lab: Lab) -> float:
    return byhand.seconds(lab, "roll", *lab.hosts)


def by_play(lab: Lab) -> float:
    return lab.play("rolling_restart", aether_jar="", aether_drain="never", **byhand.LOGIN).seconds


def starts(lab: Lab) -> dict:
    """systemd's id of the present start, per host."""
    return {h: lab.pool.exec(h, "systemctl", "show", "aether", "--property", "InvocationID").stdout.strip() for h in lab.hosts}
