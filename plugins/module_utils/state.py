# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is the state of a cluster, whose word about it counts, what of it cannot be given back, and what differs from what was saved?

Pure functions. The state is in the members' memory only and ends with the last of them (docs/product.md 2), and the API shows most of it, not all:
values of configuration overrides are hidden, tables of a blueprint other than its slices are not kept where they can be read, and a member without
quorum shows neither counts nor minimums. What is lost so is named before anything is stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .growth import Refusal
from .model import View
from .slices import Blueprint, Slice, to_toml

# What a person may decide to lose.
ALLOWABLE = ("blueprint", "counts", "override", "artifact", "orphan", "dormant", "nothing")
OPTION = "aether_state_allow=%s"


class Part(NamedTuple):
    """One slice of a blueprint; ``minimum``: None where the member does not show it."""

    artifact: str
    instances: int
    minimum: Optional[int] = None


@dataclass(frozen=True)
class Kept:
    """A blueprint as a member keeps it: its own slices, the ids of those that the cluster added, and the names of what it shows besides."""

    id: str
    slices: Tuple[Part, ...] = ()
    dependencies: Tuple[str, ...] = ()
    further: Tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """``counts``: artifact -> instances wanted now, None where the member hides them; ``thresholds``: metric -> (warning, critical), the defaults
    included; ``levels``: logger -> level; ``overrides``: keys alone; ``artifacts``: what the repository has of the blueprints' artifacts, name -> (sha1, size).
    """

    blueprints: Tuple[Kept, ...] = ()
    counts: Optional[Mapping[str, int]] = field(default_factory=dict)
    thresholds: Mapping[str, Tuple[float, float]] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    overrides: Tuple[str, ...] = ()
    artifacts: Mapping[str, Tuple[str, int]] = field(default_factory=dict)

    def names(self) -> List[str]:
        """Every artifact that a blueprint names or brings along."""
        return sorted({a for b in self.blueprints for a in [p.artifact for p in b.slices] + list(b.dependencies)})

    def anything(self, defaults: Mapping[str, Tuple[float, float]]) -> bool:
        """Is there more than what an empty cluster shows?"""
        return bool(self.blueprints or self.counts or self.levels or self.overrides or dict(self.thresholds) != dict(defaults))


def shown(
    view: View, documents: Sequence[Mapping[str, Any]], thresholds: Mapping[str, Tuple[float, float]], levels: Mapping[str, str], overrides: Sequence[str]
) -> State:
    """What one member shows. ``documents``: its blueprints as it answers them."""
    kept = tuple(sorted((_kept(d, view.minimums) for d in documents), key=lambda b: b.id))
    # Without a quorum it keeps all of it and shows no slices (recording failures).
    hidden = not view.ready and not view.targets and any(b.slices for b in kept)
    return State(kept, None if hidden else dict(view.targets), dict(thresholds), dict(levels), tuple(sorted(overrides)))


KNOWN = {"id", "slices"}, {"artifact", "instances", "isDependency", "dependencies"}


def _kept(document, minimums) -> Kept:
    entries = [e for e in document.get("slices") or [] if isinstance(e, dict) and e.get("artifact")]
    further = set(document) - KNOWN[0] | {"slices.%s" % k for e in entries for k in set(e) - KNOWN[1]}
    own = [Part(str(e["artifact"]), int(e.get("instances") or 0), minimums.get(e["artifact"])) for e in entries if not e.get("isDependency")]
    added = sorted(str(e["artifact"]) for e in entries if e.get("isDependency"))
    return Kept(str(document["id"]), tuple(sorted(own)), tuple(added), tuple(sorted(further)))


# --- as it is written down -----------------------------------------------------------------------------------------------


def as_data(state: State) -> Dict[str, Any]:
    return {
        "blueprints": [
            {"id": b.id, "slices": [dict(p._asdict()) for p in b.slices], "dependencies": list(b.dependencies), "further": list(b.further)}
            for b in state.blueprints
        ],
        "counts": None if state.counts is None else dict(state.counts),
        "thresholds": {m: {"warning": w, "critical": c} for m, (w, c) in sorted(state.thresholds.items())},
        "levels": dict(state.levels),
        "overrides": list(state.overrides),
        "artifacts": {a: {"sha1": sha1, "size": size} for a, (sha1, size) in sorted(state.artifacts.items())},
    }


def from_data(data: Mapping[str, Any]) -> State:
    """Raises KeyError, TypeError or ValueError where it is not what ``as_data`` made."""
    return State(
        tuple(
            Kept(b["id"], tuple(Part(p["artifact"], int(p["instances"]), p["minimum"]) for p in b["slices"]), tuple(b["dependencies"]), tuple(b["further"]))
            for b in data["blueprints"]
        ),
        None if data["counts"] is None else {a: int(c) for a, c in data["counts"].items()},
        {m: (float(t["warning"]), float(t["critical"])) for m, t in data["thresholds"].items()},
        dict(data["levels"]),
        tuple(data["overrides"]),
        {a: (e["sha1"], int(e["size"])) for a, e in data["artifacts"].items()},
    )


def text_of(blueprint: Kept) -> str:
    """Its TOML, made anew. A minimum that was not shown is the one that the product takes by itself."""
    parts = tuple(Slice(p.artifact, p.instances, max(1, min(p.instances, p.minimum or math.ceil(p.instances / 2)))) for p in blueprint.slices)
    return to_toml(Blueprint(blueprint.id, parts))


# --- whose word counts -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """``state`` of the ``members`` that agree; ``others``: members -> what they show instead; ``tied``: those of another group that is as large."""

    state: State
    members: Tuple[str, ...]
    others: Tuple[Tuple[Tuple[str, ...], Tuple[str, ...]], ...] = ()
    tied: Tuple[str, ...] = ()


def agreement(told: Mapping[str, State], defaults: Mapping[str, Tuple[float, float]], source: str = "") -> Optional[Agreement]:
    """The largest group of members that show the same; None when none shows anything. ``told``: in the voters' order; ``source``: the member to believe.

    A group that shows something goes before one that shows nothing, however large: what members without state have in common is that they
    show nothing (docs/product.md 2). One that hides its counts belongs to those that show everything else as it does.
    """
    groups: Dict[Any, List[str]] = {}
    hiding = []
    for member, state in told.items():
        if not state.anything(defaults):
            continue
        if state.counts is None:
            hiding.append(member)
        else:
            groups.setdefault(tuple(sorted(_facts(state).items())), []).append(member)
    for member in hiding:
        like = [k for k, members in groups.items() if _without_counts(told[members[0]]) == _without_counts(told[member])]
        if like:
            groups[max(like, key=lambda k: len(groups[k]))].append(member)
        else:
            groups.setdefault(("hides", tuple(sorted(_without_counts(told[member]).items()))), []).append(member)
    if not groups:
        return None
    ranked = sorted(groups.values(), key=lambda members: (source not in members, -len(members), list(told).index(members[0])))
    best = ranked[0]
    state = next((told[m] for m in best if told[m].counts is not None), told[best[0]])
    order = list(told)
    empty = [m for m in told if not told[m].anything(defaults)]
    others = [(tuple(sorted(g, key=order.index)), tuple(differing(state, told[g[0]]))) for g in ranked[1:]]
    others += [(tuple(empty), ("nothing at all",))] if empty else []
    tied = tuple(m for g in ranked[1:] if len(g) == len(best) for m in g) if source not in best else ()
    return Agreement(state, tuple(sorted(best, key=order.index)), tuple(others), tied)


def _facts(state: State) -> Dict[Tuple[str, str], str]:
    """(kind, name) -> value of everything that can be compared, as words."""
    found = {("blueprint", b.id): _words(b) for b in state.blueprints}
    found.update({("instances of", a): str(c) for a, c in (state.counts or {}).items()})
    found.update({("threshold", m): "%g/%g" % levels for m, levels in state.thresholds.items()})
    found.update({("logging level", name): level for name, level in state.levels.items()})
    found.update({("configuration override", key): "set" for key in state.overrides})
    found.update({("artifact", a): sha1 for a, (sha1, _size) in state.artifacts.items()})
    return found


def _words(blueprint: Kept) -> str:
    parts = ["%s %d%s" % (p.artifact, p.instances, "" if p.minimum is None else " (at least %d)" % p.minimum) for p in blueprint.slices]
    return ", ".join(parts) or "no slices"


def _without_counts(state: State) -> Dict[Tuple[str, str], str]:
    plain = tuple(Kept(b.id, tuple(Part(p.artifact, p.instances) for p in b.slices)) for b in state.blueprints)
    return _facts(State(plain, {}, state.thresholds, state.levels, state.overrides))


def differing(one: State, other: State) -> List[str]:
    """What ``other`` shows that ``one`` does not, and the other way round, as words."""
    hidden = one.counts is None or other.counts is None
    a, b = (_without_counts(one), _without_counts(other)) if hidden else (_facts(one), _facts(other))
    return ["%s %s: %s, not %s" % (*key, b.get(key, "none"), a.get(key, "none")) for key in sorted(set(a) | set(b)) if a.get(key) != b.get(key)]


# --- what cannot be given back ---------------------------------------------------------------------------------------------


def dormant(state: State) -> Dict[str, List[str]]:
    """Blueprint -> its slices that the cluster does not want: answered "applied" and never taken (docs/product.md 6). Put back, it could come alive."""
    if state.counts is None:
        return {}
    found = {b.id: [p.artifact for p in b.slices if p.artifact not in state.counts] for b in state.blueprints}
    return {i: artifacts for i, artifacts in found.items() if artifacts}


def losses(
    state: State, files: Collection[str] = (), overrides: Collection[str] = (), unreadable: Optional[Mapping[str, str]] = None, blind: bool = False
) -> List[Refusal]:
    """Everything that would not come back, each with its name and what to do about it.

    ``files``: ids of blueprints whose file is supplied; ``overrides``: keys whose value is; ``unreadable``: artifacts of the repository -> why it is so;
    ``blind``: nobody shows anything, and nobody that answers has a quorum, so that it may be hidden.
    """
    found = []

    def refuse(code, sentence):
        found.append(Refusal(code, sentence, OPTION % code))

    asleep = dormant(state)
    if blind:
        refuse("nothing", "Nobody that answers is ready, and none of them shows any state: what the cluster has cannot be told. Bring members back (site.yml).")
    for key in state.overrides:
        if key not in overrides:
            refuse("override", "The configuration override %s has a value that the API hides: give it in aether_overrides." % key)
    for blueprint in state.blueprints:
        if blueprint.id in asleep:
            refuse(
                "dormant",
                "The blueprint %s has slices that the cluster does not run (%s): it was never taken, and is not put back. Delete it first, or apply it anew."
                % (blueprint.id, ", ".join(asleep[blueprint.id])),
            )
        elif blueprint.id not in files:
            besides = " (%s)" % ", ".join(blueprint.further) if blueprint.further else ""
            refuse(
                "blueprint",
                "Of the blueprint %s the API shows the slices alone: what else is in its file%s would be lost. Name the file in aether_blueprint_files."
                % (blueprint.id, besides),
            )
    if state.counts is None:
        names = ", ".join(p.artifact for b in state.blueprints for p in b.slices)
        refuse("counts", "Nobody that answers shows how many instances are wanted now (%s): they would be as in the blueprints." % names)
    listed = set(state.names())
    for artifact in sorted(set(state.counts or ()) - listed):
        refuse("orphan", "%s runs and is in no blueprint, so nothing could bring it back: apply a blueprint that has it." % artifact)
    for artifact, why in sorted((unreadable or {}).items()):
        refuse("artifact", "The repository has %s, and it cannot be read: %s." % (artifact, why.rstrip(".")))
    return found


def file_refusals(state: State, files: Sequence[Tuple[str, Blueprint]]) -> List[Refusal]:
    """What is wrong with the supplied files, (where, blueprint) each: they must say what the cluster has."""
    kept = {b.id: b for b in state.blueprints}
    found = []
    for where, blueprint in files:
        if blueprint.id not in kept:
            found.append(Refusal("file", "%s is the blueprint %s, which the cluster does not have." % (where, blueprint.id)))
            continue
        mine = {s.artifact: s.instances for s in blueprint.slices}
        theirs = {p.artifact: p.instances for p in kept[blueprint.id].slices}
        least = {p.artifact: p.minimum for p in kept[blueprint.id].slices if p.minimum is not None}
        if mine != theirs:
            found.append(
                Refusal("file", "%s says %s, and the cluster has %s: give the file that was applied." % (where, _counted(mine), _counted(theirs)))
            )
        elif any(least.get(s.artifact, s.minimum) != s.minimum for s in blueprint.slices):
            found.append(Refusal("file", "%s says other minimums than the cluster has (%s): give the file that was applied." % (where, _counted(least))))
    ids = [b.id for _where, b in files]
    found.extend(Refusal("file", "The blueprint %s is supplied %d times." % (i, ids.count(i))) for i in sorted(set(ids)) if ids.count(i) > 1)
    return found


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join("%s %d" % entry for entry in sorted(counts.items()))


# --- what differs from what was saved ----------------------------------------------------------------------------------------


# A blueprint needs its artifacts, and a count the blueprint.
KINDS = ("artifact", "threshold", "no_threshold", "level", "override", "blueprint", "count")


class Step(NamedTuple):
    """One thing to put back: ``kind`` is one of KINDS."""

    kind: str
    name: str
    value: Any
    why: str


@dataclass
class Difference:
    """``steps``: what is missing, in the order to put it back; ``newer``: what is there instead, or besides, and did not come from putting it back;
    ``over``: the steps that would take the place of what is there instead.
    """

    steps: List[Step] = field(default_factory=list)
    newer: List[str] = field(default_factory=list)
    over: List[Step] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        return not (self.steps or self.newer)

    @property
    def equal(self) -> bool:
        """Is all that was saved there as it was saved, whatever there is besides?"""
        return not (self.steps or self.over)

    def instead(self, kind: str, name: str, value: Any, words: str) -> None:
        self.newer.append(words)
        self.over.append(Step(kind, name, value, words))

    def all_steps(self) -> List[Step]:
        """In the order of KINDS, those that overwrite included."""
        return sorted(self.steps + self.over, key=lambda s: KINDS.index(s.kind))

    def sentences(self) -> List[str]:
        return [s.why for s in self.steps] + self.newer


def difference(saved: State, now: State, defaults: Mapping[str, Tuple[float, float]], left_out: Collection[str] = ()) -> Difference:
    """From ``now`` to ``saved``. ``left_out``: blueprints, override keys and artifacts that were saved as lost.

    An empty cluster needs all of it; one that was half put back the rest; one in which somebody has changed something since has something newer.
    """
    found = Difference()

    def add(kind, name, value, words):
        found.steps.append(Step(kind, name, value, words))

    for artifact, (sha1, _size) in sorted(saved.artifacts.items()):
        there = now.artifacts.get(artifact)
        if artifact in left_out or there is not None and there[0] == sha1:
            continue
        if there is None:
            add("artifact", artifact, sha1, "%s is not in the repository" % artifact)
        else:
            found.instead("artifact", artifact, sha1, "artifact %s: other content in the repository, sha1 %s, saved %s" % (artifact, there[0], sha1))
    _thresholds(found, saved.thresholds, now.thresholds, defaults)
    for name, level in sorted(saved.levels.items()):
        if name not in now.levels:
            add("level", name, level, "logging level %s: none, saved %s" % (name, level))
        elif now.levels[name] != level:
            found.instead("level", name, level, "logging level %s: %s, saved %s" % (name, now.levels[name], level))
    found.newer.extend("logging level %s: %s, saved none" % (name, now.levels[name]) for name in sorted(set(now.levels) - set(saved.levels)))
    for key in saved.overrides:
        if key not in now.overrides and key not in left_out:
            add("override", key, None, "configuration override %s: none" % key)
    found.newer.extend("configuration override %s: set, saved none" % key for key in sorted(set(now.overrides) - set(saved.overrides)))
    _blueprints(found, saved, now, left_out)
    return found


def _thresholds(found, saved, now, defaults) -> None:
    for metric in sorted(set(saved) | set(now)):
        old, new = saved.get(metric), now.get(metric)
        if old == new:
            continue
        words = "threshold %s: %s, saved %s" % (metric, "none" if new is None else "%g/%g" % new, "none" if old is None else "%g/%g" % old)
        step = ("no_threshold" if old is None else "threshold", metric, old, words)
        if new is not None and new != defaults.get(metric):
            found.instead(*step)
        else:
            found.steps.append(Step(*step))


def _blueprints(found, saved, now, left_out) -> None:
    there, counts, said = {b.id: b for b in now.blueprints}, [], set()
    for blueprint in saved.blueprints:
        if blueprint.id in left_out:
            continue
        mine = there.get(blueprint.id)
        if mine is None:
            found.steps.append(Step("blueprint", blueprint.id, blueprint, "blueprint %s: none, saved %s" % (blueprint.id, _words(blueprint))))
        elif not _same(mine, blueprint):
            found.instead("blueprint", blueprint.id, blueprint, "blueprint %s: %s, saved %s" % (blueprint.id, _words(mine), _words(blueprint)))
            continue  # its counts come from what is applied
        own = {p.artifact: p.instances for p in blueprint.slices}
        for artifact in list(own) + list(blueprint.dependencies):
            wanted = (saved.counts or {}).get(artifact)
            if wanted is None or artifact in said:  # two blueprints may have the same slice
                continue
            shows = own.get(artifact) if mine is None else None if now.counts is None else now.counts.get(artifact)
            if shows == wanted or now.counts is None and mine is not None:
                continue
            said.add(artifact)
            words = "%s: %s wanted, saved %d" % (artifact, "none" if shows is None else shows, wanted)
            # As the blueprint has it: put back and not scaled yet. None: what the cluster adds by itself shows later.
            if shows is None or shows == own.get(artifact):
                counts.append(Step("count", artifact, wanted, words))
            else:
                found.instead("count", artifact, wanted, words)
    found.newer.extend("blueprint %s: %s, saved none" % (i, _words(there[i])) for i in sorted(set(there) - {b.id for b in saved.blueprints}))
    found.steps.extend(counts)


def _same(one: Kept, other: Kept) -> bool:
    def parts(blueprint, like):
        known = {p.artifact: p.minimum for p in like.slices}
        return sorted((p.artifact, p.instances, None if known.get(p.artifact) is None else p.minimum) for p in blueprint.slices)

    return parts(one, other) == parts(other, one)


# --- for people ----------------------------------------------------------------------------------------------------------------


def summary(state: State) -> str:
    """In a few words."""
    def many(count, what):
        return "%d %s%s" % (count, what, "" if count == 1 else "s")

    return ", ".join(
        [
            many(len(state.blueprints), "blueprint"), "counts hidden" if state.counts is None else many(len(state.counts), "slice"),
            many(len(state.thresholds), "threshold"), many(len(state.levels), "logging level"), many(len(state.overrides), "configuration override"),
            many(len(state.artifacts), "artifact"),
        ]
    )
