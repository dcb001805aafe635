# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What does a blueprint want, what is there, what speaks against the change, and is it true yet?

Pure functions (docs/product.md 6). An answer "applied" proves nothing: the product takes counts that no node has room for, versions
that it does not run and slices of other blueprints without a word. So everything is decided here before anything is sent, and
what was sent is true only when the members show it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from .config_rules import toml
from .growth import Refusal
from .model import ACTIVE, ON_DUTY, Instance, Observation, View
from .placement import FAILED, Layout, layout, witnesses
from .quorum import Verdict
from .report import columns, short

GROUP = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(-[A-Za-z0-9][A-Za-z0-9.-]*)?")
BLUEPRINT_KEYS = ("id", "slices")
SLICE_KEYS = ("artifact", "instances", "minAvailable")
# What a person may decide to take, by option.
ALLOWABLE = {"unplaceable": "allow_unplaceable", "swap": "allow_swap", "dropped": "prune", "downtime": "allow_downtime", "starting": "allow_starting"}


@dataclass(frozen=True)
class Slice:
    """One slice as a blueprint wants it; ``minimum``: the fewest it may be scaled to."""

    artifact: str
    instances: int
    minimum: int


@dataclass(frozen=True)
class Blueprint:
    """``text``: the TOML to send, as it was given or made from the data."""

    id: str
    slices: Tuple[Slice, ...]
    text: str = ""


@dataclass(frozen=True)
class Document:
    """A blueprint as the cluster keeps it: ``slices``, artifact -> instances, without what it added itself (``dependencies``)."""

    id: str
    slices: Mapping[str, int]
    dependencies: FrozenSet[str] = frozenset()


@dataclass
class Plan:
    """What is to be done and waited for.

    ``step``: ``scale``, ``apply``, ``replace`` (delete and apply again), ``delete`` or ``none``. ``changes``: sentences, empty when nothing differs.
    ``wanted``: artifact -> active instances that must be there in the end; ``targets``: artifact -> the count the cluster must show, which
    is larger where not all can be placed; ``minimums``: artifact -> the minimum it must show; ``before``: artifact -> the count it showed;
    ``gone``: artifacts that must not be there.
    """

    step: str = "none"
    changes: List[str] = field(default_factory=list)
    refusals: List[Refusal] = field(default_factory=list)
    remarks: List[str] = field(default_factory=list)
    wanted: Dict[str, int] = field(default_factory=dict)
    targets: Dict[str, int] = field(default_factory=dict)
    minimums: Dict[str, int] = field(default_factory=dict)
    before: Dict[str, int] = field(default_factory=dict)
    gone: List[str] = field(default_factory=list)

    def refuse(self, code: str, sentence: str, allowed: Sequence[str] = ()) -> None:
        if code not in allowed:
            self.refusals.append(Refusal(code, sentence, "%s: true" % ALLOWABLE[code] if code in ALLOWABLE else None))


def base(artifact: str) -> str:
    """``group:artifact`` of ``group:artifact:version``."""
    return artifact.rsplit(":", 1)[0]


# --- reading a blueprint -------------------------------------------------------------------------------------------------


def coordinate_findings(text: Any, where: str) -> List[str]:
    """What is wrong with ``group:artifact:version``, part by part."""
    parts = text.split(":") if isinstance(text, str) else []
    if len(parts) != 3:
        return ["%s: %r is not group:artifact:version, such as org.example:my-slice:1.0.0." % (where, text)]
    found = []
    if not GROUP.fullmatch(parts[0]):
        found.append(
            "%s: the group '%s' must be two or more names with dots between, in small letters, digits, '_' and '-', each beginning with a letter."
            % (where, parts[0])
        )
    if not NAME.fullmatch(parts[1]):
        found.append("%s: the artifact '%s' must be small letters and digits, with single '-' between." % (where, parts[1]))
    if not VERSION.fullmatch(parts[2]):
        found.append("%s: the version '%s' must be MAJOR.MINOR.PATCH, with -QUALIFIER behind it or not." % (where, parts[2]))
    return found


def from_toml(text: str) -> Tuple[Optional[Blueprint], List[str], List[str]]:
    """(blueprint, findings, remarks); the blueprint is None when there are findings. All findings at once."""
    if toml is None:
        return None, ["The blueprint cannot be read: this Python has no TOML reader. Install 'tomli' for it (requirements.txt names it)."], []
    try:
        document = toml.loads(text)
    except (toml.TOMLDecodeError, RecursionError) as error:
        return None, ["The blueprint is no TOML: %s." % error], []
    remarks = ["The blueprint has '%s', which this collection does not know; it is sent as it is." % k for k in document if k not in BLUEPRINT_KEYS]
    entries = document.get("slices", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        return None, ["slices: must be tables, each beginning with [[slices]]."], remarks
    for number, entry in enumerate(entries, 1):
        remarks.extend(
            "slices[%d] has '%s', which is none of %s; is it a slip of the pen? It is sent as it is." % (number, k, ", ".join(SLICE_KEYS))
            for k in entry
            if k not in SLICE_KEYS
        )
    blueprint, findings = _checked(document.get("id"), entries, text)
    return blueprint, findings, remarks


def from_data(identity: Any, entries: Sequence[Mapping[str, Any]]) -> Tuple[Optional[Blueprint], List[str]]:
    """(blueprint, findings) of slices given as data, with ``artifact``, ``instances`` and ``minAvailable``."""
    blueprint, findings = _checked(identity, entries, "")
    if blueprint is None:
        return None, findings
    return Blueprint(blueprint.id, blueprint.slices, to_toml(blueprint)), findings


def _checked(identity, entries, text):
    found = coordinate_findings(identity, "id") if identity is not None else ["id: is missing; a blueprint is named group:artifact:version."]
    if not entries:
        found.append("slices: there are none; a blueprint has at least one.")
    slices = []
    for number, entry in enumerate(entries, 1):
        where = "slices[%d]" % number
        artifact, instances = entry.get("artifact"), entry.get("instances", 1)
        found.extend(coordinate_findings(artifact, where + ".artifact") if artifact is not None else ["%s: 'artifact' is missing." % where])
        counted = count_findings(instances, where + ".instances")
        found.extend(counted)
        least = entry.get("minAvailable")
        if least is None and not counted:
            least = math.ceil(instances / 2)
        elif not counted and (not _is_int(least) or not 1 <= least <= instances):
            found.append("%s.minAvailable: is %r, and must be a whole number from 1 to instances (%d)." % (where, least, instances))
        slices.append(Slice(artifact, instances, least))
    names = [base(s.artifact) for s in slices if isinstance(s.artifact, str)]
    found.extend(
        "slices: %s stands there %d times; a blueprint has one entry, with one version, for each slice." % (n, names.count(n))
        for n in sorted(set(names))
        if names.count(n) > 1
    )
    return (None if found else Blueprint(identity, tuple(slices), text)), found


def count_findings(instances: Any, where: str) -> List[str]:
    if _is_int(instances) and instances >= 1:
        return []
    return ["%s: is %r, and must be a whole number of 1 or more." % (where, instances)]


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def to_toml(blueprint: Blueprint) -> str:
    lines = ['id = "%s"' % blueprint.id]
    for entry in blueprint.slices:
        lines += ["", "[[slices]]", 'artifact = "%s"' % entry.artifact, "instances = %d" % entry.instances, "minAvailable = %d" % entry.minimum]
    return "\n".join(lines) + "\n"


# --- deciding ---------------------------------------------------------------------------------------------------------------


def cluster_refusals(plan: Plan, observation: Observation, verdict: Verdict, allowed: Sequence[str] = ()) -> None:
    """What speaks against any write now."""
    if not verdict.holds("majority"):
        plan.refuse("majority", "The cluster has no majority, so nothing can be changed: %s" % " ".join(r.sentence for r in verdict.explaining("majority")))
    starting = [v.id for v in observation.answering() if not v.ready]
    if starting:
        plan.refuse(
            "starting",
            "%s answers and is not ready: a write while a node starts leaves it without state. Wait until it is ready, or stop it." % ", ".join(starting),
            allowed,
        )


def plan_scale(seen: Layout, documents: Sequence[Document], artifact: str, instances: int, allowed: Sequence[str] = ()) -> Plan:
    """``artifact`` is to have ``instances``; nothing else changes."""
    plan = Plan()
    running = {a for a in set(seen.targets) | set(seen.hosts) if base(a) == base(artifact)}
    if artifact not in running and running and not seen.states:  # the runbook's API, which takes it
        plan.refuse("swap", "%s replaces %s at once, not one after the other." % (artifact, ", ".join(sorted(running))), allowed)
        plan.gone = sorted(running)
    elif artifact not in running and running:
        plan.refuse(
            "unknown_version",
            "%s is not deployed, but %s is: the cluster would answer 'scaled' and do nothing. Scale that one, or apply a blueprint with the new version."
            % (artifact, ", ".join(sorted(running))),
        )
        return plan
    elif artifact not in running and (seen.targets or documents or seen.states):
        plan.refuse(
            "unknown_slice",
            "%s is in no blueprint of this cluster (%s): apply a blueprint that has it." % (artifact, ", ".join(d.id for d in documents) or "there is none"),
        )
        return plan
    least = seen.minimums.get(artifact, 1)
    if instances < least:
        plan.refuse(
            "below_minimum",
            "%s is to have %d, and the minimum in its blueprint is %d: apply the blueprint with a lower minAvailable first." % (artifact, instances, least),
        )
    has_targets = artifact in seen.targets
    now = seen.targets[artifact] if has_targets else len(seen.hosts.get(artifact, ()))
    plan.before = dict({a: len(seen.hosts.get(a, ())) for a in plan.gone}, **{artifact: now})
    _place(plan, seen, artifact, instances, allowed)
    if not has_targets:
        plan.targets = {}
    if now != instances:
        plan.step = "scale"
        plan.changes.append("%s: %d -> %d" % (artifact, now, instances))
    return plan


def plan_apply(seen: Layout, documents: Sequence[Document], blueprint: Blueprint, allowed: Sequence[str] = ()) -> Plan:
    """The whole blueprint is to be as it says, its slices and no others."""
    plan = Plan()
    own = next((d for d in documents if d.id == blueprint.id), None)
    owner = {base(a): d.id for d in documents if d.id != blueprint.id for a in d.slices}
    mine = {base(a): a for a in (own.slices if own else ())}
    names = {base(s.artifact) for s in blueprint.slices}
    for entry in blueprint.slices:
        name, now = base(entry.artifact), seen.targets.get(entry.artifact)
        if name in owner:
            plan.refuse(
                "owned",
                "%s belongs to the blueprint %s: the cluster would answer 'applied', run nothing, and start it beside the other at the next change of leader."
                " Take it out of one of them, or apply the other." % (entry.artifact, owner[name]),
            )
        if name in mine and mine[name] != entry.artifact:
            plan.refuse("swap", "%s replaces %s at once, not one after the other." % (entry.artifact, mine[name]), allowed)
            plan.gone.append(mine[name])
        plan.before[entry.artifact] = now or 0
        _place(plan, seen, entry.artifact, entry.instances, allowed)
        plan.minimums[entry.artifact] = entry.minimum
        known = own.slices.get(entry.artifact) if own else None
        least = seen.minimums.get(entry.artifact)
        if now != entry.instances:
            plan.changes.append("%s: %s -> %d" % (entry.artifact, "none" if now is None else now, entry.instances))
        elif known != entry.instances:
            plan.changes.append(
                "%s: %s -> %d in the blueprint, where %d run by now" % (entry.artifact, "none" if known is None else known, entry.instances, now)
            )
        if least is not None and least != entry.minimum and now is not None:
            plan.changes.append("%s: at least %d -> at least %d" % (entry.artifact, least, entry.minimum))
    dropped = [a for n, a in sorted(mine.items()) if n not in names]
    if dropped:
        plan.changes.extend("%s: goes" % a for a in dropped)
        plan.gone.extend(dropped)
        what = ", ".join(dropped)
        if "dropped" not in allowed:
            plan.refuse("dropped", "%s is in %s now and not in the new one: the cluster would keep it running, and in no blueprint." % (what, blueprint.id))
        else:
            plan.refuse(
                "downtime",
                "Only deleting %s and applying it again takes %s away: all its slices (%s) are down meanwhile, about 5 s and what they need to start."
                % (blueprint.id, what, ", ".join(sorted(own.slices))),
                allowed,
            )
    listed = {a for d in documents for a in list(d.slices) + list(d.dependencies)}
    plan.remarks.extend("%s runs and is in no blueprint; one it was dropped from may still own it." % a for a in sorted(set(seen.targets) - listed))
    if plan.changes:
        plan.step = "replace" if dropped else "apply"
    return plan


def plan_delete(seen: Layout, documents: Sequence[Document], identity: str) -> Plan:
    """The blueprint ``identity`` and its slices are to be gone."""
    plan = Plan()
    own = next((d for d in documents if d.id == identity), None)
    if own is None:
        return plan
    plan.step = "delete"
    plan.gone = sorted(own.slices)
    plan.before = {a: seen.targets.get(a, 0) for a in plan.gone}
    plan.changes = ["%s: goes, with %s" % (identity, ", ".join(plan.gone) or "no slices")]
    return plan


def _place(plan, seen, artifact, instances, allowed):
    """One instance per node on duty is all there is room for."""
    room = len(seen.on_duty)
    plan.targets[artifact] = instances
    plan.wanted[artifact] = min(instances, room)
    if instances <= room:
        return
    off = sorted(i for i, s in seen.states.items() if s != ON_DUTY)
    more = instances - room
    sentence = "%s is to have %d instances, one per node, and %d node%s on duty: you need to increase slice capacity by %d node%s (playbook add_node)%s." % (
        artifact, instances, room, " is" if room == 1 else "s are", more, "" if more == 1 else "s", ", or put %s back on duty" % ", ".join(off) if off else "",
    )
    plan.refuse("unplaceable", sentence, allowed)
    if "unplaceable" in allowed:
        plan.remarks.append(sentence)


# --- is it true? ----------------------------------------------------------------------------------------------------------


def lacking(observation: Observation, verdict: Verdict, plan: Plan) -> List[str]:
    """What is missing until the plan is true in the view of every member with state; empty when it is.

    Exactly the wanted instances, all active, none in another state, the count that is wanted shown, and nothing of what is to be gone.
    An instance on a member that does not answer itself is none, whatever the others still show (docs/product.md 3).
    """
    who = witnesses(observation, verdict)
    if not who:
        return ["no member with state and a quorum answers, so nobody can tell"]
    silent = _silent(observation)
    lacks = []
    for view in (observation.view(i) for i in who):
        for artifact, count in sorted(plan.wanted.items()):
            lacks.extend("%s in the view of %s" % (s, view.id) for s in _lacks_of(view, artifact, count, plan, silent))
        for artifact in plan.gone:
            left = [i for i in view.instances if i.artifact == artifact]
            if left or artifact in view.targets:
                lacks.append("%s is still there%s in the view of %s" % (artifact, " on %s" % ", ".join(sorted(i.node for i in left)) if left else "", view.id))
    return lacks


def _lacks_of(view: View, artifact: str, count: int, plan: Plan, silent: FrozenSet[str]) -> List[str]:
    target, least = plan.targets.get(artifact), plan.minimums.get(artifact)
    here = [i for i in view.instances if i.artifact == artifact]
    active = [i for i in here if i.state == ACTIVE and i.node not in silent]
    if target is not None and view.targets.get(artifact) != target:
        return ["%d of %s are wanted, not %d," % (view.targets.get(artifact, 0), artifact, target)]
    if least is not None and view.minimums.get(artifact) != least:
        return ["at least %d of %s are wanted, not %d," % (view.minimums.get(artifact, 0), artifact, least)]
    if len(active) == count == len(here):
        return []
    others = sorted(
        ["%s on %s" % (i.state, i.node) for i in here if i.state != ACTIVE]
        + ["%s does not answer" % i.node for i in here if i.state == ACTIVE and i.node in silent]
    )
    return ["%s has %d of %d active%s" % (artifact, len(active), count, " (%s)" % ", ".join(others) if others else "")]


def laggards(observation: Observation, verdict: Verdict, baseline: Sequence[str]) -> List[str]:
    """Members that had state when the change began and are ready, and do not show it now: late with the news, or without state since."""
    who = set(witnesses(observation, verdict))
    return [v.id for v in observation.answering() if v.id in baseline and v.ready and v.id not in who and any(v.id in observation.view(i).peers for i in who)]


def failed(observation: Observation, verdict: Verdict, artifacts: Sequence[str]) -> List[Instance]:
    """Instances that the best witness shows as failed."""
    seen = layout(observation, verdict)
    if seen is None:
        return []
    return [hosts[n] for hosts in (seen.hosts.get(a, {}) for a in artifacts) for n in sorted(hosts) if hosts[n].state == FAILED]


def shown_targets(observation: Observation, verdict: Verdict, artifact: str) -> FrozenSet[int]:
    """The counts that members with state show as wanted; 0 where one shows none."""
    return frozenset(observation.view(i).targets.get(artifact, 0) for i in witnesses(observation, verdict))


def untaken(observation: Observation, verdict: Verdict, plan: Plan) -> List[str]:
    """Slices whose count or minimum no member with state shows as wanted."""
    views = [observation.view(i) for i in witnesses(observation, verdict)]
    return [
        a for a, target in sorted(plan.targets.items())
        if not any(v.targets.get(a) == target and v.minimums.get(a) == plan.minimums.get(a, v.minimums.get(a)) for v in views)
    ]


def stuck(observation: Observation, verdict: Verdict, plan: Plan) -> List[str]:
    """At the deadline: which instance is in which state where, and which slice has no node left to go to."""
    seen = layout(observation, verdict)
    if seen is None:
        return lacking(observation, verdict, plan)
    silent, found = _silent(observation), []
    for artifact, count in sorted(plan.wanted.items()):
        placed = seen.hosts.get(artifact, {})
        found.extend(
            "%s on %s is %s%s" % (artifact, n, i.state, " (%s)" % i.reason if i.reason else "") for n, i in sorted(placed.items()) if i.state != ACTIVE
        )
        found.extend(
            "%s on %s counts as active, and %s does not answer" % (artifact, n, n) for n, i in sorted(placed.items()) if i.state == ACTIVE and n in silent
        )
        if len(placed) < count and not seen.free(artifact, ""):
            found.append("%s runs on %d of %d and no node on duty is free to take it (%d on duty)" % (artifact, len(placed), count, len(seen.on_duty)))
    for artifact in plan.gone:
        found.extend("%s on %s is still %s" % (artifact, n, i.state) for n, i in sorted(seen.hosts.get(artifact, {}).items()))
    return found or lacking(observation, verdict, plan)


def progress(observation: Observation, verdict: Verdict, plan: Plan) -> str:
    """One line: active and wanted of each slice, and what else there is of it."""
    seen = layout(observation, verdict)
    if seen is None:
        return "no member with state and a quorum answers"
    words = []
    for artifact, count in sorted(plan.wanted.items()):
        states = [i.state for i in seen.hosts.get(artifact, {}).values()]
        others = ["%d %s" % (states.count(s), s) for s in sorted(set(states) - {ACTIVE})]
        words.append("%s %d/%d%s" % (short(artifact), states.count(ACTIVE), count, " (%s)" % ", ".join(others) if others else ""))
    for artifact in plan.gone:
        words.append("%s %d left" % (short(artifact), len(seen.hosts.get(artifact, {}))))
    return ", ".join(words)


def _silent(observation):
    return frozenset(v for v in observation.voters if observation.view(v) is not None and not observation.view(v).answers)


# --- showing -----------------------------------------------------------------------------------------------------------------


def spread(observation: Observation, verdict: Verdict) -> Tuple[List[str], Dict[str, Dict[str, str]]]:
    """(nodes in the inventory's order, artifact -> node -> state) as the best witness sees it."""
    seen = layout(observation, verdict)
    hosts = {a: {n: i.state for n, i in placed.items()} for a, placed in sorted(seen.hosts.items())} if seen else {}
    strangers = sorted({n for placed in hosts.values() for n in placed} - set(observation.voters))
    return list(observation.voters) + strangers, hosts


def imbalance(observation: Observation, verdict: Verdict) -> Tuple[Dict[str, int], List[str]]:
    """(node on duty -> active instances, nodes with two or more above the fewest). Nothing moves by itself to a node that has room."""
    seen = layout(observation, verdict)
    if seen is None:
        return {}, []
    counts = {n: sum(1 for placed in seen.hosts.values() if n in placed and placed[n].state == ACTIVE) for n in sorted(seen.on_duty)}
    fewest = min(counts.values()) if counts else 0
    return counts, [n for n, c in counts.items() if c >= fewest + 2]


def slice_table(observation: Observation, verdict: Verdict) -> List[str]:
    """Slices by nodes for people: ``x`` active, another state by its name, ``!`` what is not as wanted or out of balance."""
    seen = layout(observation, verdict)
    if seen is None:
        return ["No member with state and a quorum answers: nobody can tell where slices are."]
    nodes, hosts = spread(observation, verdict)
    counts, heavy = imbalance(observation, verdict)
    rows = [["SLICE", "ACTIVE", "WANTED", "MINIMUM"] + nodes]
    short_of = []
    for artifact, placed in hosts.items():
        active = sum(1 for s in placed.values() if s == ACTIVE)
        target = seen.targets.get(artifact)
        off = target is not None and (active != target or len(placed) != target)
        if off:
            short_of.append("%s has %d active instances, %d wanted." % (artifact, active, target))
        cells = ["x" if placed.get(n) == ACTIVE else placed.get(n, "-") for n in nodes]
        rows.append([artifact, "%d%s" % (active, " !" if off else ""), "-" if target is None else str(target), str(seen.minimums.get(artifact, "-"))] + cells)
    rows.append(
        ["instances", str(sum(counts.values())), "", ""] + ["%d%s" % (counts[n], " !" if n in heavy else "") if n in counts else "off duty" for n in nodes]
    )
    notes = ["- %s" % s for s in short_of]
    if heavy:
        few = [n for n, c in counts.items() if c == min(counts.values())]
        notes.append("- Out of balance: %s; %s. Instances move to a node with room only when they are scaled or drained." % (
            ", ".join("%s runs %d" % (n, counts[n]) for n in heavy), ", ".join("%s runs %d" % (n, counts[n]) for n in few)))
    return columns(rows) + ([""] + notes if notes else [])


def as_yaml(data: Any, indent: str = "") -> str:
    """Plain dicts, lists of dicts, numbers and strings without special characters as YAML, for diffs; needs no library."""
    if isinstance(data, dict):
        lines = []
        for key, value in data.items():
            if isinstance(value, (dict, list)) and value:
                lines.append("%s%s:\n%s" % (indent, _scalar(key), as_yaml(value, indent + "  ")))
            else:
                lines.append("%s%s: %s\n" % (indent, _scalar(key), _scalar(value)))
        return "".join(lines)
    return "".join("%s- %s" % (indent, as_yaml(entry, indent + "  ").lstrip()) for entry in data)


def _scalar(value):
    if value in ({}, []):
        return "{}" if value == {} else "[]"
    if value is None:
        return "null"
    return '"%s"' % value if isinstance(value, str) and ":" in value else str(value)
