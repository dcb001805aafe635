#!/usr/bin/env python3
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The witness of the fault tests: watches a cluster from outside, only reading, and judges afterwards.

    with Sampler({"n1": "http://10.77.10.11:8080", …}) as witness:
        …
    assert witness.report["majority_kept"], witness.table()

It applies the rules of docs/product.md 3 by code of its own: the collection must not be its own judge. One thread per
member asks every 200 ms. Judging afterwards has the advantage of hindsight: what a member was when it did not answer is
known once the question has timed out, and two members that were read at different moments of one write agree.
"""

from __future__ import annotations

import argparse
import bisect
import http.client
import json
import os
import signal
import ssl
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Iterable, Mapping, Optional, Sequence

INTERVAL = 0.2  # seconds between two readings of a member
CONNECT_TIMEOUT, READ_TIMEOUT = 0.5, 1.5  # seconds
# How long a finding must last to count (docs/product.md 3: a second read a second later), in the product's seconds.
SETTLE = 1.0
V1, RUNBOOK = "v1", "runbook"
READY = {V1: "/health/ready", RUNBOOK: "/health"}  # the one question whose answer may be 503
PATHS = {
    V1: (READY[V1], "/api/status", "/api/nodes/lifecycle", "/api/blueprints", "/api/thresholds", "/api/slices", "/api/cluster/topology"),
    RUNBOOK: (READY[RUNBOOK], "/cluster/status", "/slices"),
}


# --- asking -----------------------------------------------------------------------------------------------------------


class Member:
    """One endpoint, asked over one connection that is kept."""

    def __init__(self, url: str, api_key: Optional[str] = None, api: str = V1, context: Optional[ssl.SSLContext] = None):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("'%s' is no endpoint for the sampler; write NAME=http://HOST:PORT." % url)
        if parts.scheme == "https":
            self.connection = http.client.HTTPSConnection(parts.hostname, parts.port or 443, timeout=CONNECT_TIMEOUT, context=context)
        else:
            self.connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=CONNECT_TIMEOUT)
        self.api = api
        self.headers = {"X-API-Key": api_key} if api_key else {}

    def read(self) -> dict:
        """What the member says now, as ``facts``; ``{"answers": False, "why": …}`` when one question stays unanswered."""
        try:
            answers = {path: self._get(path) for path in PATHS[self.api]}
            return facts_of(answers, self.api)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.connection.close()
            return {"answers": False, "why": type(error).__name__}

    def _get(self, path: str) -> tuple[int, object]:
        """(status, document); the document is None where the status is no success."""
        kept = self.connection.sock is not None
        try:
            return self._get_once(path)
        except (ConnectionError, http.client.BadStatusLine):
            # The other side may have closed a connection that lay idle. A new one tells whether it is there.
            self.connection.close()
            if not kept:
                raise
            return self._get_once(path)

    def _get_once(self, path: str) -> tuple[int, object]:
        if self.connection.sock is None:
            self.connection.connect()
            self.connection.sock.settimeout(READ_TIMEOUT)
        self.connection.request("GET", path, headers=self.headers)
        response = self.connection.getresponse()
        body = response.read()
        return response.status, json.loads(body) if response.status == 200 else None


def facts_of(answers: Mapping[str, tuple[int, object]], api: str = V1) -> dict:
    """The few facts that judging needs. Empty lists and maps are absent from the product's answers (docs/product.md 4).

    Raises ValueError when the documents are not those of a member.
    """
    ready = answers[READY[api]][0] == 200
    refused = sorted(path for path, (status, _document) in answers.items() if status != 200 and path != READY[api])
    if refused:
        return {"answers": True, "ready": ready, "refused": refused}
    try:
        if api == RUNBOOK:
            return runbook_facts(ready, answers)
        status, topology = answers["/api/status"][1], answers["/api/cluster/topology"][1]
        blueprints = answers["/api/blueprints"][1].get("blueprints", [])
        slices = answers["/api/slices"][1].get("slices", [])
        leader = status.get("leader", "none")
        return {
            "answers": True,
            "ready": ready,
            "node": status["nodeId"],
            "leader": None if leader in ("none", "") else leader,
            "peers": sorted(node["id"] for node in status["cluster"].get("nodes", [])),
            "size": topology["clusterSize"],
            "lifecycle": sorted(entry["nodeId"] for entry in answers["/api/nodes/lifecycle"][1]),
            "evidence": {
                "blueprints": sorted([b["id"], b.get("sliceCount", 0)] for b in blueprints),
                "slices": sorted([s["artifact"], s.get("targetInstances", 0)] for s in slices),
                "thresholds": answers["/api/thresholds"][1],
            },
            "active": {s["artifact"]: [sorted(i["nodeId"] for i in s.get("instances", []) if i.get("state") == "ACTIVE"), s.get("minInstances", 0)] for s in slices},
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("not a member's answer: %r" % error) from error


def runbook_facts(ready: bool, answers: Mapping[str, tuple[int, object]]) -> dict:
    """The same facts from the runbook's API (docs/product.md 10), which names neither the node that answers nor a leader nor its list.

    Its list is as long as the nodes it shows: whether these are a majority it must say itself, and is believed only when it says no. The state it can be seen to have are the slices that run somewhere.
    """
    health = answers[READY[RUNBOOK]][1] or {}
    nodes = [node if isinstance(node, str) else node.get("id") or node["nodeId"] for node in answers["/cluster/status"][1]["nodes"]]
    return {
        "answers": True,
        "ready": ready,
        "quorum": health.get("quorum") is True,
        "leader": None,
        "peers": sorted(nodes),
        "size": len(nodes),
        "lifecycle": sorted(nodes),
        "evidence": {"slices": sorted({instance["artifact"] for instance in answers["/slices"][1]})},
    }


class Sampler:
    """Watches while a ``with`` block runs. Afterwards: ``timeline``, ``report``, ``table()``, ``save(path)``.

    ``endpoints``: {node id: URL}, or strings NODE=URL; also of members that don't run yet. ``baseline``: the ids that
    had state when the operation began; by default those that had it when the sampling began. ``successors``: {new id: id of the
    dead member in whose place it stands}. ``time_factor``: of a
    simulated cluster; every time in timeline and report is in the product's seconds. ``api``: v1, or runbook, where there is no
    leader to miss and a member is known by its endpoint only. ``context``: for https, with a certificate to show.
    """

    def __init__(self, endpoints: Mapping[str, str] | Iterable[str], api_key: Optional[str] = None, baseline: Optional[Sequence[str]] = None, time_factor: float = 1.0, successors: Optional[Mapping[str, str]] = None, api: str = V1, context: Optional[ssl.SSLContext] = None):
        if not isinstance(endpoints, Mapping):
            endpoints = dict(entry.split("=", 1) for entry in endpoints)
        self.endpoints = dict(endpoints)
        self.baseline = baseline
        self.api = api
        self.successors = dict(successors or {})
        self.time_factor = time_factor
        self.timeline: dict = {}
        self.report: dict = {}
        self._members = {name: Member(url, api_key, api, context) for name, url in self.endpoints.items()}
        self._entries: dict[str, list[dict]] = {name: [] for name in self.endpoints}
        self._marks: list[list] = []
        self._end = threading.Event()
        self._asked_all_once = threading.Barrier(len(self.endpoints) + 1)
        self._began = 0.0
        self._first = 0.0
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Sampler:
        """Returns when every member has been asked once, so that the baseline precedes what happens in the block."""
        self._began = time.monotonic()
        self._threads = [threading.Thread(target=self._watch, args=(name,), daemon=True) for name in self.endpoints]
        for thread in self._threads:
            thread.start()
        self._asked_all_once.wait()
        self._first = self._now()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self.timeline = {
            "first": self._first,
            "last": self._now(),
            "interval": INTERVAL / self.time_factor,
            "leads": self.api == V1,
            "marks": self._marks,
            "members": self._entries,
        }
        self.report = judge(self.timeline, self.baseline, self.successors)

    def mark(self, text: str) -> None:
        """A word about what the test does now, for the table."""
        self._marks.append([self._now(), text])

    def table(self) -> str:
        return "\n".join(table(self.timeline, self.report))

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({"report": self.report, "timeline": self.timeline}, indent=1), encoding="utf-8")

    def _now(self) -> float:
        return round((time.monotonic() - self._began) / self.time_factor, 3)

    def _watch(self, name: str) -> None:
        member, entries = self._members[name], self._entries[name]
        entries.append({"from": 0.0, "reads": 1, "facts": member.read()})
        self._asked_all_once.wait()
        due = time.monotonic() + INTERVAL
        while not self._end.wait(due - time.monotonic()):
            asked, facts = self._now(), member.read()
            if entries[-1]["facts"] == facts:
                entries[-1]["reads"] += 1
            else:
                # An answer tells how the member is when it comes; silence, how it was since it was asked.
                entries.append({"from": self._now() if facts["answers"] else asked, "reads": 1, "facts": facts})
            due = max(due + INTERVAL, time.monotonic())
        member.connection.close()


# --- judging ----------------------------------------------------------------------------------------------------------


class History:
    """What one member said over time: each entry of its timeline holds until the next one."""

    def __init__(self, name: str, entries: Sequence[dict]):
        self.name = name
        self.facts = [understood(name, entry["facts"]) for entry in entries]
        self.starts = [entry["from"] for entry in entries]
        self.evidence = [json.dumps(facts["evidence"], sort_keys=True) if "evidence" in facts else None for facts in self.facts]

    def at(self, when: float) -> dict:
        return self.facts[self._index(when)]

    def listed_around(self, when: float, slack: float) -> set[str]:
        """Ids in its lifecycle list at any time within ``slack`` seconds."""
        return {name for facts in self.facts[self._around(when, slack)] for name in facts.get("lifecycle", ())}

    def evidence_at(self, when: float) -> Optional[str]:
        return self.evidence[self._index(when)]

    def evidence_around(self, when: float, slack: float) -> set[Optional[str]]:
        return set(self.evidence[self._around(when, slack)])

    def _index(self, when: float) -> int:
        return max(0, bisect.bisect_right(self.starts, when) - 1)

    def _around(self, when: float, slack: float) -> slice:
        return slice(self._index(when - slack), self._index(when + slack) + 1)


def understood(name: str, facts: dict) -> dict:
    """Facts that prove something about the voter ``name``: another node behind its endpoint is not that voter."""
    if facts["answers"] and facts.get("node", name) != name:
        return {"answers": False, "why": "it is %s" % facts["node"]}
    return facts


def judge(timeline: dict, baseline: Optional[Sequence[str]] = None, successors: Optional[Mapping[str, str]] = None) -> dict:
    """The report on a timeline; times in seconds since the sampling began.

    ``baseline``: ids that had state at the beginning; a successor with state counts as the one it replaces.
    ``majority_kept``: True, False, or None when nobody had state at the beginning, so that there was none to keep.
    ``majority_breaches``: [{from, to, seconds, why}], each of two samples and SETTLE seconds at least.
    ``below_minimum``: [{from, to, seconds, why}]: a slice had fewer active instances than its minimum on nodes that answer, in every view with state.
    ``leaderless_spells``: [{from, to, seconds, before, after}]: no member with state named a leader that answers.
    ``max_leaderless_seconds``: the longest of them, 0.0 without any.
    ``leader_changes``: [{at, before, after}].
    ``changes``: [{at, member, is}]: what each member was, whenever it changed.
    """
    interval = timeline["interval"]
    slack = max(SETTLE, 2 * interval)
    histories = {name: History(name, entries) for name, entries in timeline["members"].items()}
    samples = int((timeline["last"] - timeline["first"]) / interval) + 1
    times = [round(timeline["first"] + number * interval, 3) for number in range(samples)]

    evidence_at_start = any(has_evidence(history.at(times[0])) for history in histories.values())
    breaches: list[dict] = []
    too_few: dict[str, list[dict]] = {}
    leaders: list[Optional[str]] = []
    changes: list[dict] = []
    before: dict[str, str] = {}
    for when in times:
        facts = {name: history.at(when) for name, history in histories.items()}
        stateful = with_state(histories, when, slack, evidence_at_start)
        without_quorum = sorted(name for name in stateful if not has_quorum(name, facts))
        if baseline is None:
            baseline = sorted(stateful)
        why = why_no_majority(stateful | {(successors or {}).get(name, name) for name in stateful}, without_quorum, baseline)
        if why:
            breaches.append({"at": when, "why": why})
        for artifact, missing in below_minimum(stateful, facts).items():
            too_few.setdefault(artifact, []).append({"at": when, "why": "%s: %s" % (artifact, missing)})
        leaders.append(leader_of(stateful, facts))
        for name in facts:
            now = in_words(facts[name], name in stateful, name in without_quorum)
            if before.get(name) != now:
                changes.append({"at": when, "member": name, "is": now})
                before[name] = now

    kept_breaches = spells_of_breach(breaches, interval)
    spells = leaderless(times, leaders, interval) if timeline.get("leads", True) else []
    named = [(when, leader) for when, leader in zip(times, leaders) if leader]
    return {
        "baseline": sorted(baseline),
        "samples": samples,
        "seconds": round(timeline["last"] - timeline["first"], 1),
        "majority_kept": not kept_breaches if baseline else None,
        "majority_breaches": kept_breaches,
        "below_minimum": [spell for found in too_few.values() for spell in spells_of_breach(found, interval)],
        "leaderless_spells": spells,
        "max_leaderless_seconds": max((spell["seconds"] for spell in spells), default=0.0),
        "leader_changes": [{"at": when, "before": old, "after": new} for (_then, old), (when, new) in zip(named, named[1:]) if old != new],
        "changes": changes,
    }


def has_quorum(name: str, facts: Mapping[str, dict]) -> bool:
    """The peers in its own view that are ready by their own word, and itself, are a majority of its own list, and it does not say no itself."""
    own = facts[name]
    if not own.get("quorum", True):
        return False
    present = {peer for peer in own["peers"] if peer in facts and facts[peer].get("ready")} | {name}
    return len(present) >= own["size"] // 2 + 1


def below_minimum(stateful: set[str], facts: Mapping[str, dict]) -> dict[str, str]:
    """{artifact: how it stands}; an instance counts when its node answers and any member with state shows it active."""
    most: dict[str, tuple[int, int]] = {}
    for name in stateful:
        for artifact, (nodes, minimum) in facts[name].get("active", {}).items():
            active = sum(1 for node in nodes if facts.get(node, {"answers": True})["answers"])
            most[artifact] = max(most.get(artifact, (0, 0)), (active, minimum))
    return {artifact: "%d active, %d at least" % (active, minimum) for artifact, (active, minimum) in most.items() if active < minimum}


def has_evidence(facts: dict) -> bool:
    evidence = facts.get("evidence", {})
    return bool(evidence.get("blueprints") or evidence.get("slices"))


def with_state(histories: Mapping[str, History], when: float, slack: float, evidence_at_start: bool) -> set[str]:
    """The members that have the cluster's state.

    A member has it when it shows the same blueprints, thresholds and slice targets as the largest group, and lists every
    voter that is ready and that at least half of that group lists: a node that has just been started is in no list yet,
    or only in that of another one without state. Where there were blueprints at the beginning, a member without any has
    lost them, even if all of them have.
    """
    facts = {name: history.at(when) for name, history in histories.items()}
    candidates = [name for name in facts if "evidence" in facts[name] and (has_evidence(facts[name]) or not evidence_at_start)]

    def agree(one: History, other: History) -> bool:
        # One of them may have been read before a write and the other after it.
        return one.evidence_at(when) in other.evidence_around(when, slack) or other.evidence_at(when) in one.evidence_around(when, slack)

    groups = [{other for other in candidates if agree(histories[name], histories[other])} for name in candidates]
    largest = max(groups, key=lambda group: (len(group), sum(has_evidence(facts[name]) for name in group)), default=set())
    known = [voter for name in largest for voter in facts[name]["lifecycle"]]
    expected = {voter for voter in facts if facts[voter].get("ready") and 2 * known.count(voter) >= len(largest)}
    return {name for name in largest if expected <= histories[name].listed_around(when, slack)}


def why_no_majority(stateful: set[str], without_quorum: Sequence[str], baseline: Sequence[str]) -> Optional[str]:
    if without_quorum:
        return "%s had state and no quorum" % ", ".join(without_quorum)
    kept = stateful & set(baseline)
    if 2 * len(kept) <= len(baseline):
        return "only %d of the %d members that had state at the beginning still had it (%s)" % (len(kept), len(baseline), ", ".join(sorted(kept)) or "none")
    return None


def leader_of(stateful: set[str], facts: Mapping[str, dict]) -> Optional[str]:
    """The leader that most members with state name, if it answers."""
    named = [facts[name]["leader"] for name in sorted(stateful) if facts.get(facts[name]["leader"], {}).get("answers")]
    return max(named, key=named.count, default=None)


def spells_of_breach(breaches: Sequence[dict], interval: float) -> list[dict]:
    """Consecutive samples joined; what is shorter than two samples or SETTLE is left out, since no sample is atomic."""
    spells: list[dict] = []
    for breach in breaches:
        if spells and breach["at"] - spells[-1]["to"] < 1.5 * interval:
            spells[-1]["to"] = breach["at"]
        else:
            spells.append({"from": breach["at"], "to": breach["at"], "why": breach["why"]})
    for spell in spells:
        spell["seconds"] = round(spell["to"] - spell["from"], 1)
    return [spell for spell in spells if spell["to"] > spell["from"] and spell["to"] - spell["from"] >= SETTLE - 1e-6]


def leaderless(times: Sequence[float], leaders: Sequence[Optional[str]], interval: float) -> list[dict]:
    """Spells without a leader, from the first sample that shows none to the first that shows one again."""
    spells: list[dict] = []
    last: Optional[str] = None
    for when, leader in zip(times, leaders):
        if leader is None and (not spells or "to" in spells[-1]):
            spells.append({"from": when, "before": last, "after": None})
        elif leader is not None:
            last = leader
            if spells and "to" not in spells[-1]:
                spells[-1].update(to=when, after=leader)
    if spells and "to" not in spells[-1]:
        spells[-1]["to"] = times[-1] + interval
    for spell in spells:
        spell["seconds"] = round(spell["to"] - spell["from"], 1)
    return spells


def in_words(facts: dict, state: bool, no_quorum: bool) -> str:
    if not facts["answers"]:
        return "down (%s)" % facts["why"]
    words = ["ready" if facts["ready"] else "not ready"]
    if facts.get("refused"):
        words.append("refuses %s" % ", ".join(facts["refused"]))
    else:
        words += ["has state" if state else "without state", "leader %s" % (facts["leader"] or "none"), "sees %s of %d" % (",".join(facts["peers"]), facts["size"])]
    if no_quorum:
        words.append("NO QUORUM")
    return ", ".join(words)


def table(timeline: dict, report: dict) -> list[str]:
    """What happened, line by line, and the verdict, for people."""
    events = [(mark[0], "", "-- " + mark[1]) for mark in timeline.get("marks", [])]
    events += [(change["at"], change["member"], change["is"]) for change in report["changes"]]
    events += [(breach["from"], "", "MAJORITY LOST for %.1f s: %s" % (breach["seconds"], breach["why"])) for breach in report["majority_breaches"]]
    events += [(spell["from"], "", "BELOW THE MINIMUM for %.1f s: %s" % (spell["seconds"], spell["why"])) for spell in report["below_minimum"]]
    events += [
        (spell["from"], "", "no leader for %.1f s (%s -> %s)" % (spell["seconds"], spell["before"] or "none", spell["after"] or "none")) for spell in report["leaderless_spells"]
    ]
    width = max([len(name) for name in timeline["members"]] + [6])
    lines = ["%8s  %-*s  %s" % ("seconds", width, "member", "what it was from then on")]
    lines += ["%8.1f  %-*s  %s" % (when, width, name, what) for when, name, what in sorted(events)]
    kept = {True: "kept", False: "LOST", None: "not judged: nobody had state at the beginning"}[report["majority_kept"]]
    lines.append(
        "majority %s in %d samples over %.1f s (it was %s); longest without a leader %.1f s; leader changes %d"
        % (kept, report["samples"], report["seconds"], ", ".join(report["baseline"]) or "empty", report["max_leaderless_seconds"], len(report["leader_changes"]))
    )
    return lines


# --- the command line -------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Exit code 0: the majority was kept; 1: it wasn't, or there was none."""
    parser = argparse.ArgumentParser(prog="sampler.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--endpoints", required=True, nargs="+", metavar="NODE=http://HOST:PORT")
    parser.add_argument("--out", type=Path, help="write report and timeline here, as JSON")
    parser.add_argument("--seconds", type=float, help="by default until SIGTERM or SIGINT")
    parser.add_argument("--time-factor", type=float, default=1.0, help="of a simulated cluster")
    parser.add_argument("--api", choices=[V1, RUNBOOK], default=V1, help="by default %(default)s")
    options = parser.parse_args(arguments)
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_unused: end.set())
    # The key comes by the environment: a command line is readable by everybody.
    with Sampler(options.endpoints, api_key=os.environ.get("AETHER_API_KEY"), time_factor=options.time_factor, api=options.api) as witness:
        end.wait(options.seconds)
    if options.out:
        witness.save(options.out)
    print(witness.table())
    return 0 if witness.report["majority_kept"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
