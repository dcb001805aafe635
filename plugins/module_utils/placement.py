# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Can the slices of this node go somewhere else? What speaks against a drain, what makes room for it, is it done, why is it stuck?

Pure functions of one Observation. One instance of a slice per node (docs/product.md 6), and a drain never ends when no other node
on duty is free of a slice (docs/product.md 5): that is all the arithmetic there is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from .growth import Refusal, only_host_of
from .model import ACTIVE, DECOMMISSIONED, DRAINING, ON_DUTY, Instance, Observation
from .quorum import Verdict

FAILED = "FAILED"
LEAVING = frozenset(["DEACTIVATE", "DEACTIVATING", "UNLOAD", "UNLOADING"])

# What a person may decide to take; everything else a drain is refused for has to be mended first. ``no_room`` can be taken
# only where the dialect shows no counts: where it does, a drain without room is known never to end.
ALLOWABLE = ("majority", "only_instance", "deployment", "unsound", "unsettled", "no_room")


@dataclass(frozen=True)
class Layout:
    """Who runs what, in the view of one member with state.

    ``on_duty``: ids that can take a slice. ``states``: id -> lifecycle state. ``hosts``: artifact -> node -> instance.
    ``targets``, ``minimums``: artifact -> instances; empty where the dialect shows none.
    """

    witness: str
    on_duty: FrozenSet[str]
    states: Mapping[str, str]
    hosts: Mapping[str, Mapping[str, Instance]]
    targets: Mapping[str, int]
    minimums: Mapping[str, int]

    def on(self, node: str) -> List[str]:
        """Slices with an instance on ``node``, whatever its state."""
        return sorted(a for a, placed in self.hosts.items() if node in placed)

    def free(self, artifact: str, node: str) -> List[str]:
        """Nodes on duty, other than ``node``, that have no instance of the slice."""
        return sorted(self.on_duty - {node} - set(self.hosts.get(artifact, {})))

    def can_give(self, artifact: str) -> bool:
        """May one instance less be wanted without going below the minimum?"""
        return self.targets.get(artifact, 0) > self.minimum(artifact)

    def minimum(self, artifact: str) -> int:
        return max(1, self.minimums.get(artifact, 1))


@dataclass
class DrainPlan:
    """What speaks against it; which slices to want one less of, artifact -> (from, to); which slices move."""

    node: str
    refusals: List[Refusal] = field(default_factory=list)
    scale: Dict[str, Tuple[int, int]] = field(default_factory=dict)
    moves: List[str] = field(default_factory=list)


def witnesses(observation: Observation, verdict: Verdict) -> Tuple[str, ...]:
    """Members whose word about the cluster counts: with state and a quorum, and seen by more than half of those; the leader first.

    One that is cut off goes on seeing the others for up to two minutes (docs/product.md 3); they let it go sooner.
    """
    able = [v for v in observation.answering() if verdict.members[v.id].has_state and verdict.members[v.id].has_quorum]
    found = [v.id for v in able if 2 * sum(v.id in other.peers for other in able) > len(able)]
    return tuple(sorted(found, key=lambda i: i != verdict.leader))


def layout(observation: Observation, verdict: Verdict) -> Optional[Layout]:
    """The layout as the best witness sees it; None when nobody can tell."""
    best = witnesses(observation, verdict)
    if not best:
        return None
    view = observation.view(best[0])
    hosts: Dict[str, Dict[str, Instance]] = {a: {} for a in view.targets}
    for instance in view.instances:
        hosts.setdefault(instance.artifact, {})[instance.node] = instance
    silent = {v for v in observation.voters if not (observation.view(v) and observation.view(v).answers and observation.view(v).ready)}
    on_duty = frozenset(view.peers | {view.id}) - silent
    if view.has_lifecycle:
        on_duty = frozenset(i for i in on_duty if view.lifecycle.get(i) == ON_DUTY)
    return Layout(view.id, on_duty, dict(view.lifecycle), hosts, dict(view.targets), dict(view.minimums))


def states_of(observation: Observation, verdict: Verdict, node: str) -> Dict[str, Optional[str]]:
    """Witness -> the lifecycle state it gives for ``node``, None where it does not list it."""
    return {i: observation.view(i).lifecycle.get(node) for i in witnesses(observation, verdict)}


# --- before ------------------------------------------------------------------------------------------------------------


def plan_drain(
    observation: Observation, verdict: Verdict, node: str, make_room: bool = False, allow: Sequence[str] = (), deployments: Sequence[str] = ()
) -> DrainPlan:
    """Everything that speaks against draining ``node`` now, and what has to be scaled down by one before.

    ``deployments``: those in progress, as words. ``allow``: codes of :data:`ALLOWABLE` that are not to count.
    """
    plan = DrainPlan(node)

    def refuse(code, sentence):
        if code not in allow or code not in ALLOWABLE:
            plan.refusals.append(Refusal(code, sentence, "allow: [%s]" % code if code in ALLOWABLE else None))

    view, seen = observation.view(node), layout(observation, verdict)
    if view is None or not view.answers:
        refuse("down", "%s does not answer: there is nothing to drain, and what ran on it is re-created elsewhere by itself." % node)
    elif not verdict.survives_without.get(node, False):
        refuse(
            "majority",
            "Without %s the rest would lose the majority (%d sound, %d needed): add a node first, or bring one back." % (node, verdict.have, verdict.needed),
        )
    blocking = verdict.explaining("complete")
    if blocking:
        refuse("unsound", "The cluster is not sound: %s" % " ".join(r.sentence for r in blocking))
    if deployments:
        refuse("deployment", "A deployment is in progress (%s): let it end, or roll it back." % "; ".join(deployments))
    if seen is None:
        refuse("nobody", "No member with state and a quorum answers: nobody can tell where slices are or could go.")
        return plan
    if seen.states and node not in seen.states:
        refuse("not_a_member", "%s does not list %s as a member; is it started, and in the cluster?" % (seen.witness, node))
        return plan
    plan.moves = seen.on(node)
    for artifact in only_host_of(observation, verdict, node):
        refuse(
            "only_instance",
            "%s runs the only active instance of %s: scale it up first. (A replacement is started before it goes, but there is no second one if that fails.)"
            % (node, artifact),
        )
    if seen.states.get(node) != DRAINING:
        for sentence in unsettled(observation, verdict, plan.moves):
            refuse("unsettled", sentence)
    for artifact in plan.moves:
        if artifact in seen.targets:
            _look_for_room(plan, seen, artifact, make_room)
        elif not seen.free(artifact, node):
            refuse(
                "no_room",
                "No other node is free to take %s (it runs on %s), and this API cannot scale it: add a node."
                % (artifact, ", ".join(sorted(seen.hosts[artifact]))),
            )
    return plan


def unsettled(observation: Observation, verdict: Verdict, artifacts: Sequence[str]) -> List[str]:
    """Sentences about slices that have not exactly the wanted number of instances, all active, in the view of every witness."""
    found = []
    for artifact in artifacts:
        for witness in witnesses(observation, verdict):
            view = observation.view(witness)
            states = [i.state for i in view.instances if i.artifact == artifact]
            wanted = view.targets.get(artifact, len(states))
            if states.count(ACTIVE) != wanted or len(states) != wanted:
                others = sorted({s for s in states if s != ACTIVE})
                found.append(
                    "%s has %d of %d instances active%s in the view of %s."
                    % (artifact, states.count(ACTIVE), wanted, " (others: %s)" % ", ".join(others) if others else "", witness)
                )
                break
    return found


def _look_for_room(plan: DrainPlan, seen: Layout, artifact: str, make_room: bool) -> None:
    """One free node for the slice, and one more for each other node that is draining and has it too."""
    node, placed = plan.node, seen.hosts[artifact]
    free = seen.free(artifact, node)
    elsewhere = [i for i, e in placed.items() if i != node and i in seen.on_duty and e.state not in LEAVING | {FAILED}]
    if len(elsewhere) >= seen.targets[artifact]:
        return  # there are enough without the one here
    rivals = sorted(i for i, s in seen.states.items() if s == DRAINING and i != node and i in placed)
    if len(free) > len(rivals):
        return
    away = sorted(i for i, s in seen.states.items() if s in (DECOMMISSIONED, DRAINING) and i != node and i not in placed)
    if rivals or away:
        what = (
            "%s, which is draining too, takes" % ", ".join(rivals)
            if rivals
            else "only %s would have (%s)" % (", ".join(away), ", ".join(seen.states[i] for i in away))
        )
        plan.refusals.append(
            Refusal("others", "%s on %s needs room that %s: put that node back on duty first (aether_drain with state: active)." % (artifact, node, what))
        )
        return
    why = "No other node on duty is free to take %s (it runs on %s)" % (artifact, ", ".join(sorted(placed)))
    if not seen.can_give(artifact):
        plan.refusals.append(
            Refusal(
                "no_room",
                "%s, and its minimum of %d leaves no instance to spare: add a node, or lower minAvailable in its blueprint." % (why, seen.minimum(artifact)),
            )
        )
    elif not make_room:
        plan.refusals.append(
            Refusal(
                "no_room",
                "%s: make_room: true would scale it from %d to %d for as long as %s is drained."
                % (why, seen.targets[artifact], seen.targets[artifact] - 1, node),
                "make_room: true",
            )
        )
    else:
        plan.scale[artifact] = (seen.targets[artifact], seen.targets[artifact] - 1)


# --- while it goes -------------------------------------------------------------------------------------------------------


def lacking(observation: Observation, verdict: Verdict, node: str) -> List[str]:
    """What is missing until ``node`` is drained, as sentences; empty when it is.

    Decommissioned in the view of every member with state, and no instance of anything on it in *any* view: the state may be
    written while the last one is still being unloaded. Somebody else must be there to say so.
    """
    lacks = []
    states = states_of(observation, verdict, node)
    if not [i for i in states if i != node]:
        return ["no other member with state and a quorum answers, so nobody can tell"]
    if all(observation.view(i).has_lifecycle for i in states):
        other: Dict[str, List[str]] = {}
        for witness, state in states.items():
            if state != DECOMMISSIONED:
                other.setdefault(state or "not listed", []).append(witness)
        lacks.extend("%s is %s in the views of %s" % (node, state, ", ".join(sorted(who))) for state, who in sorted(other.items()))
    for artifact, (state, who) in sorted(instances_on(observation, node).items()):
        lacks.append("%s is on %s (%s) in the views of %s" % (artifact, node, state, ", ".join(who)))
    return lacks


def instances_on(observation: Observation, node: str) -> Dict[str, Tuple[str, List[str]]]:
    """Artifact -> (state, ids in whose views an instance of it is on ``node``); every view that answers counts."""
    found: Dict[str, Tuple[str, List[str]]] = {}
    for view in observation.answering():
        for instance in view.instances:
            if instance.node == node:
                found.setdefault(instance.artifact, (instance.state, []))[1].append(view.id)
    return found


def called_off(observation: Observation, verdict: Verdict, node: str) -> bool:
    """Is ``node`` on duty again in the view of every witness? A restart or a flap of the quorum does that (docs/product.md 5)."""
    states = set(states_of(observation, verdict, node).values())
    return states == {ON_DUTY}


@dataclass(frozen=True)
class Left:
    """A slice that is still on the node that drains: ``state`` there, and what is seen of its replacement.

    ``hold``: ``no_room``, ``failed``, ``starting``, ``queued`` (others first) or ``leaving``.
    """

    artifact: str
    state: str
    hold: str
    sentence: str

    def as_data(self):
        return {"artifact": self.artifact, "state": self.state, "hold": self.hold, "sentence": self.sentence}


def what_is_left(seen: Optional[Layout], node: str) -> List[Left]:
    """For each slice still on ``node``: where it goes, or what keeps it."""
    if seen is None:
        return []
    return [_left(seen, node, artifact) for artifact in seen.on(node)]


def _left(seen, node, artifact):
    placed = seen.hosts[artifact]
    state = placed[node].state
    elsewhere = {i: e for i, e in placed.items() if i != node and i in seen.on_duty}
    active = [i for i, e in elsewhere.items() if e.state == ACTIVE]
    failed = sorted((i, e.reason or "no reason given") for i, e in elsewhere.items() if e.state == FAILED)
    coming = sorted((i, e.state) for i, e in elsewhere.items() if e.state not in LEAVING | {ACTIVE, FAILED})
    free = seen.free(artifact, node)
    if state in LEAVING:
        hold, text = "leaving", "%s leaves %s (%s)" % (artifact, node, state)
    elif failed:
        hold, text = "failed", "%s does not start %s" % (artifact, ", ".join("on %s (%s)" % f for f in failed))
    elif coming:
        hold, text = "starting", "%s moves to %s" % (artifact, ", ".join("%s (%s)" % c for c in coming))
    elif len(active) < seen.targets.get(artifact, 0) and not free and len(active) == len(elsewhere):
        away = sorted(i for i, s in seen.states.items() if s == DECOMMISSIONED and i not in placed)
        hold, text = "no_room", "%s has nowhere to go: every other node on duty has it (%s)%s" % (
            artifact,
            ", ".join(sorted(active)) or "there is none",
            ", and %s is decommissioned" % ", ".join(away) if away else "",
        )
    else:
        hold, text = "queued", "%s is still on %s (%s)" % (artifact, node, state)
    return Left(artifact, state, hold, text)


def without_room(left: Sequence[Left]) -> List[str]:
    return [entry.artifact for entry in left if entry.hold == "no_room"]


def no_room_yet(observation: Observation, verdict: Verdict, node: str, wanted: Mapping[str, int]) -> List[str]:
    """After scaling down: what is missing until each slice of ``wanted`` (artifact -> instances) has settled there and can leave ``node``."""
    seen = layout(observation, verdict)
    if seen is None:
        return ["no member with state and a quorum answers"]
    lacks = []
    for witness in witnesses(observation, verdict):
        view = observation.view(witness)
        lacks.extend(
            "%s still wants %s of %s" % (witness, view.targets.get(a, "none"), a) for a, count in sorted(wanted.items()) if view.targets.get(a) != count
        )
    lacks.extend(s.rstrip(".") for s in unsettled(observation, verdict, sorted(wanted)))
    lacks.extend("no node is free of %s yet" % a for a in sorted(wanted) if node in seen.hosts.get(a, {}) and not seen.free(a, node))
    return lacks
