# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may change the cluster now? Decisions about one host's lock file, and about what all hosts answered.

A record is what one host's file holds::

    {"run": "host/001122334455/4711/123", "owner": "ann@host", "doing": "add_node.yml", "since": "2026-01-31T12:00:00Z", "until": 1769860800.0}

``until``: seconds since the epoch, by that host's clock. Needs nothing but Python: it is shipped to the hosts.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple


def decide(record: Optional[Dict[str, Any]], state: str, run: str, instead_of: Sequence[str], now: float) -> Tuple[str, bool]:
    """(what is to be done with the file, whether ``run`` has the lock then).

    ``record``: None when there is none. ``state``: taken, kept or freed. What is to be done: "write", "remove" or "" for nothing.
    An own lock that has run out is still one's own: nobody took it in the meantime.
    """
    mine = record is not None and record["run"] == run
    if state == "freed":
        return ("remove" if mine else ""), False
    if state == "kept":
        return ("write" if mine else ""), mine
    free = record is None or mine or record["until"] <= now or record["run"] in instead_of
    return ("write" if free else ""), free


def sentence(record: Optional[Dict[str, Any]], now: float) -> str:
    """Who has the lock of one host."""
    if record is None:
        return "Nobody has the lock."
    return "%s, run %s, has the lock since %s for %s; it runs out in %d s." % (
        record["owner"],
        record["run"],
        record["since"],
        record["doing"] or "something",
        max(0, record["until"] - now),
    )


def verdict(answers: Sequence[Dict[str, Any]], size: int) -> Dict[str, Any]:
    """Is the run inside? ``answers``: what aether_lock returned for each host, also where it could not be asked; ``size``: how many hosts there are.

    Inside: nobody else holds it on any host that answered, and this run does on a majority of all of them. Two runs whose hosts that answered have
    one in common are never both inside.
    """
    told = [a for a in answers if "held" in a]
    others = [a for a in told if not a["held"]]
    if others:
        return {
            "inside": False,
            "msg": (
                "Another run changes this cluster: %s Nothing was touched. Wait until it is over. When you know that it is dead, break its lock with -e"
                " aether_break_lock=%s" % (others[0]["msg"], others[0]["holder"]["run"])
            ),
        }
    if len(told) <= size // 2:
        return {
            "inside": False,
            "msg": (
                "Only %d of the %d hosts of aether_nodes could be asked for the lock, no majority. Nothing was touched. Bring the others back."
                % (len(told), size)
            ),
        }
    return {"inside": True, "msg": "The lock is held on %d of %d hosts." % (len(told), size)}
