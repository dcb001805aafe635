# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A table for people: members, leader, soundness, margin, slices per node. Plain text, fixed columns."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

from .capacity import Advice, Load
from .model import ACTIVE, Observation
from .quorum import Verdict

DAY = 86400
# What to do about a certificate in a file that is near its end.
THEIRS = (
    "give aether_tls_cert and aether_tls_key new files (a private authority in aether_tls_own_ca makes them by itself), then ansible-playbook"
    " pragmatica.aether.rolling_restart"
)
OURS = "give a new file (ansible-playbook pragmatica.aether.authority makes one where the authority is your own)"
RENEWAL_OVERDUE = 3.0  # days left; a node renews its certificate of 7 days after 2.8


def slices_per_node(observation: Observation, verdict: Verdict) -> Dict[str, List[str]]:
    """Active slice artifacts per node, from a member with state (the leader when it is one)."""
    shown: Dict[str, List[str]] = {voter: [] for voter in observation.voters}
    stateful = [v for v in observation.answering() if verdict.members[v.id].has_state]
    for view in sorted(stateful, key=lambda v: v.id != verdict.leader)[:1]:
        for instance in view.instances:
            if instance.state == ACTIVE:
                shown.setdefault(instance.node, []).append(instance.artifact)
    return {node: sorted(found) for node, found in shown.items()}


def status_table(observation: Observation, verdict: Verdict) -> List[str]:
    """Lines of the status table; the last lines are the margin and what is wrong. What the dialect does not tell is a dash."""
    spread = slices_per_node(observation, verdict)
    rows = [("MEMBER", "SOUND", "STATE", "LEADER", "SEEN BY", "LIST", "SLICES")]
    for voter in observation.voters:
        view, member = observation.view(voter), verdict.members[voter]
        if view is None or not view.answers:
            rows.append((voter, "no", "does not answer", "-", seen_by(observation, voter), "-", _slices(spread[voter])))
            continue
        rows.append(
            (
                voter + (" *" if voter == verdict.leader else ""),
                "yes" if member.sound else "no",
                why_not_sound(member) or member.state or "ready",
                (view.leader or "none") if view.has_leader else "-",
                seen_by(observation, voter),
                "%d of %d" % (len(view.core_nodes & observation.listed), len(observation.listed)) if view.has_lists else "-",
                _slices(spread[voter]),
            )
        )
    lines = columns(rows)
    lines.append("")
    majority = "" if verdict.holds("majority") else " (NO MAJORITY)"
    leader = "; leader %s" % (verdict.leader or "none") if any(v.has_leader for v in observation.answering()) else ""
    lines.append("%d of %d sound, %d needed; can lose %d%s%s" % (verdict.have, len(observation.voters), verdict.needed, verdict.can_lose, majority, leader))
    lines.extend("- %s" % r.sentence for r in verdict.reasons)
    return lines


def certificate_lines(certificates: Sequence[Mapping[str, Any]], own: Sequence[Mapping[str, Any]] = ()) -> List[str]:
    """For how long certificates are good, one line for the nodes' and one for those that we show and trust ourselves, and one for each that is to be seen to.

    ``certificates``: per node what aether_info gathers; on v1 a node renews its own by itself after 2.8 of 7 days (docs/product.md 7).
    ``own``: the same, per ``file``.
    """
    known = [dict(c, who="of " + c["node"]) for c in certificates if c.get("seconds_left") is not None]
    ours = [dict(c, who="in " + c["file"]) for c in own if c.get("seconds_left") is not None]
    lines = []
    if known:
        lines.append("TLS; certificates are good for " + ", ".join("%s %.1f days" % (c["node"], c["seconds_left"] / DAY) for c in known))
    if ours:
        lines.append("Our own are good for " + ", ".join("%s %.1f days" % (c["file"], c["seconds_left"] / DAY) for c in ours))
    for entry in known + ours:
        if entry.get("renewal") == "DUE":
            lines.append(
                "- The certificate %s ends %s and is renewed by nobody but you: %s." % (entry["who"], entry["expires_at"], THEIRS if entry in known else OURS)
            )
        elif entry.get("renewal") != "BY_HAND" and (entry["seconds_left"] < RENEWAL_OVERDUE * DAY or entry.get("renewal") == "FAILED"):
            lines.append(
                "- The certificate %s should have been renewed by itself (it says %s); look at its journal, and restart it before the certificate is out of its"
                " time: ansible-playbook pragmatica.aether.rolling_restart." % (entry["who"], entry.get("renewal") or "nothing")
            )
    return lines


def capacity_table(advice: Advice, loads: Sequence[Load]) -> List[str]:
    """What every member and its host carry, what to do and by which formula, what each would carry with one node less and two more, and why."""
    rows = [("MEMBER", "CPU", "HEAP", "REQUESTS", "LATENCY", "CORES", "MEMORY", "LOAD", "DISK")]
    for member in loads:
        machine = member.machine
        host = ("-",) * 4
        if machine:
            host = (
                str(machine.cores), "%.1f of %.1f GB free" % (machine.available_mb / 1024, machine.memory_mb / 1024), "%.2f" % machine.load,
                "%.1f GB free" % (machine.disk_mb / 1024),
            )
        said = ("not measured", "-", "-", "-")
        if member.measured:
            said = (
                _part(member.cpu), _part(member.mean("heap")), _figure(member.mean("requests"), "%.1f/s"), _figure(member.mean("latency"), "%.1f ms"),
            )
        rows.append((member.node, *said, *host))
    lines = [*columns(rows), "", advice.sentence]
    if advice.formula:
        lines += [advice.formula, "Each carries, " + ", ".join("with %d nodes: %s" % (count, _part(cpu)) for count, cpu in advice.carried.items())]
    return lines + ["- %s%s" % ("" if f.level == "ok" else f.level + ": ", f.sentence) for f in advice.findings]


def _part(value: Optional[float]) -> str:
    return "-" if value is None else "%.0f %%" % (value * 100)


def _figure(value: Optional[float], form: str) -> str:
    return "-" if value is None else form % value


def why_not_sound(member) -> str:
    if not member.ready:
        return "not ready"
    if not member.has_state:
        return "no state"
    if not member.has_quorum:
        return "no quorum"
    if not member.led:
        return "no leader"
    return ""


def seen_by(observation: Observation, node: str) -> str:
    others = [v for v in observation.answering() if v.id != node]
    return "%d of %d" % (sum(node in v.peers for v in others), len(others))


def _slices(artifacts: List[str]) -> str:
    """Artifact names without group and version, which are the same down a column and hide what differs."""
    return ", ".join(short(a) for a in artifacts) or "-"


def short(artifact: str) -> str:
    """The middle of the coordinates, for lines that people read."""
    return ":".join(artifact.split(":")[1:2]) or artifact


def columns(rows: Sequence[Sequence[str]]) -> List[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
