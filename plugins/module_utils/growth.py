# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who has to be started, added, rolled or healed, and in which order? What speaks against it?

Pure decisions on one observation (docs/product.md 2, "growing"). The wanted members are the observation's
voters, in the inventory's order. A plan is made anew by every run from what the cluster shows, so an
interrupted run goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, FrozenSet, List, Optional, Tuple

from .model import ACTIVE, ON_DUTY, Observation
from .quorum import Verdict, judge

LARGEST = 7


@dataclass(frozen=True)
class Refusal:
    """Why not, what to do, and which variable would allow it (None: nothing does)."""

    code: str
    sentence: str
    option: Optional[str] = None

    def as_data(self):
        return {"code": self.code, "sentence": self.sentence, "option": self.option}


@dataclass
class Plan:
    """Ids by what has to be done with them, each list in the order to do it in."""

    operation: str
    verdict: Verdict
    baseline: Tuple[str, ...] = ()
    to_start: List[str] = field(default_factory=list)
    to_finish: List[str] = field(default_factory=list)
    to_add: List[str] = field(default_factory=list)
    to_roll: List[str] = field(default_factory=list)
    to_write: List[str] = field(default_factory=list)
    to_heal: List[str] = field(default_factory=list)
    lists: Dict[str, List[str]] = field(default_factory=dict)
    started_before: Dict[str, List[str]] = field(default_factory=dict)
    old_lists_touched: bool = False
    refusals: List[Refusal] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return not (self.to_start or self.to_finish or self.to_add or self.to_roll or self.to_write or self.to_heal or self.refusals)

    def action(self, node: str) -> str:
        for action, nodes in (
            ("finish", self.to_finish),
            ("start", self.to_start),
            ("add", self.to_add),
            ("roll", self.to_roll),
            ("write", self.to_write),
            ("heal", self.to_heal),
        ):
            if node in nodes:
                return action
        return "none"


def plan_bootstrap(observation: Observation, abandoned=()) -> Plan:
    """Start what is down. A cluster that runs with shorter lists is not bootstrapped but grown."""
    plan = _plan("bootstrap", observation, abandoned)
    answering = [v.id for v in observation.answering()]
    voters = list(observation.voters)
    _refuse_size(plan, len(observation.listed), None)
    _refuse_strangers(plan, observation)
    missing = sorted({i for i in voters for v in observation.answering() if v.core_nodes and i not in v.core_nodes})
    if missing:
        plan.refusals.append(
            Refusal(
                "grow",
                "The cluster runs without %s in its lists: use add_node.yml to grow it, site.yml only brings up what the lists name." % ", ".join(missing),
            )
        )
    if not plan.verdict.with_state:
        plan.to_finish = []  # a mark is about a roll; where nobody has state there is none to go on with
    plan.to_start = [i for i in voters if i not in answering and i not in plan.to_finish]
    plan.started_before = {i: answering + plan.to_start[:position] for position, i in enumerate(plan.to_start)}
    if plan.verdict.with_state or not plan.to_start:
        # As long as nobody has state and others are still to be started, those that wait are not ill.
        plan.to_heal = [i for i in _healable(observation, plan.verdict) if i not in plan.to_finish]
    return plan


def plan_grow(observation: Observation, abandoned=(), allow_even=False, roll_lists=True, replacing=(), leaving=(), stale=()) -> Plan:
    """Add what is not a member yet, then give the longer list to those that run with a shorter one.

    ``replacing``: voters whose dead host has been replaced, to be added under the id that the lists have already.
    ``leaving``: ids that are dead and that the new lists do without. ``stale``: voters whose list on disk has another
    address of somebody; looked at only when somebody is replaced. Where the dialect shows no lists (docs/product.md 10),
    those on disk are all there is and are written without a restart.
    """
    plan = _plan("grow", observation, abandoned)
    voters = list(observation.voters)
    answering = {v.id: v for v in observation.answering()}
    if not answering:
        _refuse_nobody(plan, "there is no cluster to grow. Form one with site.yml; if there ought to be one, look at the hosts first.")
        return plan
    _refuse_strangers(plan, observation, replacing, leaving)
    founders = _founders(observation, plan.verdict) - {i for i in replacing if i not in answering}
    if not all(v.has_lists for v in answering.values()):
        # Here the voters are no denominator yet: only the founders are in the cluster.
        plan.verdict = judge(observation, tuple(i for i in voters if i in founders))
        plan.baseline = plan.verdict.with_state
    dead = [i for i in voters if i in founders and i not in answering and i not in plan.to_finish]
    plan.to_add = [i for i in voters if i not in plan.to_finish and i not in founders and not _is_member(observation, plan.verdict, i, founders)]
    old = [i for i in voters if i in answering and (answering[i].core_nodes != observation.listed or (replacing and i in stale))]
    plan.old_lists_touched = any(i in founders and i not in old for i in answering) and not replacing
    if roll_lists:
        behind = order_for_roll([i for i in old if i not in plan.to_add and i not in plan.to_finish], plan.verdict.leader)
        plan.to_roll = [i for i in behind if answering[i].has_lists]
        plan.to_write = [i for i in behind if not answering[i].has_lists]
        plan.to_heal = [i for i in _healable(observation, plan.verdict) if i not in plan.to_add + plan.to_roll + plan.to_finish and i not in replacing]
    elif old:
        plan.notes.append("The lists of %s stay as they are (aether_roll_lists is false)." % ", ".join(old))
    if dead:
        plan.refusals.append(
            Refusal(
                "member_down",
                "%s %s in the running members' lists and does not answer: growing needs every old member, and with one down there is no margin. Bring it back"
                " first: start the service on its host; one that is gone for good is replaced with replace_node.yml."
                % (", ".join(dead), "is" if len(dead) == 1 else "are"),
            )
        )
    if plan.to_add or plan.to_roll or plan.to_write:
        _refuse_size(plan, len(observation.listed), allow_even)
    if plan.to_add or plan.to_roll or plan.to_write or plan.to_heal:
        # A replacement brings the margin back itself, and where lists are only written nobody is stopped.
        _refuse_without_margin(plan, stops=not (replacing or leaving) and all(v.has_lists for v in answering.values()))
    return plan


def plan_roll(observation: Observation, abandoned=(), restarted=()) -> Plan:
    """Restart everyone, the leader last; ``restarted``: those that an earlier run of the same token has restarted already."""
    plan = _plan("roll", observation, abandoned)
    answering = [v.id for v in observation.answering()]
    if not answering:
        _refuse_nobody(plan, "there is nothing to restart. Start the cluster with site.yml.")
        return plan
    _refuse_strangers(plan, observation)
    dead = [i for i in observation.voters if i not in answering and i not in plan.to_finish]
    if dead:
        plan.refusals.append(
            Refusal(
                "member_down",
                "%s does not answer: a restart of the others would stand on what is left. Bring it back first (site.yml starts it)." % ", ".join(dead),
            )
        )
    differing = sorted({v.id for v in observation.answering() if v.core_nodes and v.core_nodes != observation.listed})
    if differing:
        plan.notes.append("The lists of %s differ from the inventory; they get the inventory's list on the way." % ", ".join(differing))
    plan.to_roll = order_for_roll([i for i in observation.voters if i in answering and i not in plan.to_finish and i not in restarted], plan.verdict.leader)
    if restarted:
        plan.notes.append("Already restarted for this token: %s." % ", ".join(i for i in observation.voters if i in restarted))
    if plan.to_roll or plan.to_finish:
        _refuse_without_margin(plan)
    return plan


def order_for_roll(nodes: List[str], leader: Optional[str]) -> List[str]:
    """The inventory's order, the leader last: each change of leader costs 13 to 18 seconds without one."""
    return [n for n in nodes if n != leader] + [n for n in nodes if n == leader]


def _plan(operation, observation, abandoned):
    verdict = judge(observation)
    plan = Plan(operation=operation, verdict=verdict, baseline=verdict.with_state)
    plan.to_finish = [i for i in observation.voters if i in set(abandoned)]
    plan.lists = observation.lists()
    return plan


def _founders(observation: Observation, verdict: Verdict) -> FrozenSet[str]:
    """Ids that were members before this growth began.

    Those in the lists of members that have not got the long list yet; once every member has it, nobody
    is new by its list any more and only a node that runs can be told to be a member.
    """
    old = [v.core_nodes for v in observation.answering() if v.core_nodes and v.core_nodes != observation.listed]
    if old:
        return frozenset().union(*old) & frozenset(observation.voters)
    return frozenset(v.id for v in observation.answering() if verdict.members[v.id].has_state)


def _is_member(observation, verdict, node, founders) -> bool:
    """Runs, is ready, and is on duty in the view of every founder that answers."""
    view = observation.view(node)
    if view is None or not view.answers or not view.ready:
        return False
    for other in observation.answering():
        if other.id == node or other.id not in founders or not verdict.members[other.id].has_state:
            continue
        if node not in other.peers or (other.has_lifecycle and other.lifecycle.get(node) != ON_DUTY):
            return False
    return True


def _healable(observation: Observation, verdict: Verdict) -> List[str]:
    """Members that are up without state, without those whose restart would cost a slice its only active instance."""
    return [
        v.id
        for v in observation.answering()
        if v.has_lifecycle and not verdict.members[v.id].has_state and not only_host_of(observation, verdict, v.id)
    ]


def only_host_of(observation: Observation, verdict: Verdict, node: str) -> List[str]:
    """Slices whose only active instance runs on ``node``, as the members with state see it."""
    only = set()
    for view in observation.answering():
        if not verdict.members[view.id].has_state:
            continue
        active: Dict[str, set] = {}
        for instance in view.instances:
            if instance.state == ACTIVE:
                active.setdefault(instance.artifact, set()).add(instance.node)
        only.update(artifact for artifact, nodes in active.items() if nodes == {node})
    return sorted(only)


def _refuse_size(plan: Plan, size: int, allow_even: Optional[bool]) -> None:
    """``allow_even`` None: nothing would allow it."""
    if size > LARGEST:
        plan.refusals.append(Refusal("too_many", "The inventory names %d nodes; Aether takes at most %d. Use bigger nodes instead." % (size, LARGEST)))
    elif size % 2 == 0 and not allow_even:
        plan.refusals.append(
            Refusal(
                "even",
                "The cluster would end with %d voters, an even number: it costs a node and can lose none more than %d voters can. Name 3, 5 or 7 nodes%s."
                % (size, size - 1, ", or set aether_allow_even=true" if allow_even is not None else ""),
                "aether_allow_even" if allow_even is not None else None,
            )
        )


def _refuse_strangers(plan: Plan, observation: Observation, replacing=(), leaving=()) -> None:
    answering = observation.answering()
    known = set(observation.voters) | set(leaving)
    strangers = sorted({i for v in answering for i in v.core_nodes} - known - set(observation.retired))
    if replacing or leaving:
        # A list on disk without ids still has the address of the host that is gone.
        strangers = [i for i in strangers if ":" not in i]
    if strangers:
        plan.refusals.append(
            Refusal(
                "not_in_inventory",
                "The running members have %s in their lists, the inventory has not: the new lists would drop a voter. Put it back into aether_nodes; to take it"
                " out use remove_node.yml -e aether_remove=ID, and when its host is gone for good replace_node.yml."
                % ", ".join(strangers),
            )
        )
    connected = sorted({i for v in answering for i in v.peers} - known - set(strangers))
    if connected:
        plan.refusals.append(
            Refusal(
                "connected_stranger",
                "%s is connected to the members and is not in the inventory. Add it to the group aether_nodes, or stop its service; one that was just stopped"
                " is gone in half a minute."
                % ", ".join(connected),
            )
        )
    told = {v.id for v in answering}
    alive = sorted(i for i in set(replacing) | set(leaving) if i not in told and any(i in v.peers for v in answering))
    if alive:
        plan.refusals.append(
            Refusal(
                "still_alive",
                "%s is still connected to the members, so it is not dead, or has been for less than half a minute. Stop it on its old host for good, and run"
                " this again."
                % ", ".join(alive),
            )
        )
    refuse_wrong_members(plan)


def refuse_wrong_members(plan) -> None:
    """What answers at a member's endpoint is not that member, or does not let us in. ``plan``: whatever has a verdict and refusals."""
    for reason in plan.verdict.reasons:
        if reason.code in ("foreign", "wrong_id", "runs_twice", "unauthorized", "tls"):
            plan.refusals.append(Refusal(reason.code, reason.sentence))


def _refuse_nobody(plan: Plan, what: str) -> None:
    """No member answers: who runs and can't be talked to is named, else there is ``what``."""
    refuse_wrong_members(plan)
    if not plan.refusals:
        plan.refusals.append(Refusal("no_cluster", "No node of the inventory answers: %s" % what))


def without_majority(verdict: Verdict) -> Refusal:
    return Refusal("no_majority", "There is no sound majority to build on: %s" % " ".join(r.sentence for r in verdict.explaining("majority")))


def _refuse_without_margin(plan: Plan, stops: bool = True) -> None:
    """``stops``: whether a member is going to be stopped."""
    verdict = plan.verdict
    if not verdict.holds("majority"):
        plan.refusals.append(without_majority(verdict))
    elif stops and verdict.can_lose < 1 and not plan.to_finish:
        plan.refusals.append(
            Refusal(
                "no_margin", "The cluster can lose no member now (%d sound, %d needed), and this would stop one at a time." % (verdict.have, verdict.needed)
            )
        )


def explain(plan: Plan, observation: Observation, node: str) -> str:
    """One sentence about one node: what would happen to it and why."""
    action, view = plan.action(node), observation.view(node)
    member = plan.verdict.members[node]
    if action == "finish":
        return "%s: an earlier run was interrupted while it changed this node; that is finished first." % node
    if action == "start":
        return "%s: does not run; would be started." % node
    if action == "add":
        if view is not None and view.answers:
            return "%s: runs but is not a member in every old member's view; would be added." % node
        listed = any(node in v.core_nodes for v in observation.answering())
        return "%s: %s; would be installed, started and added." % (node, "in the running lists but does not answer" if listed else "new")
    if action == "roll":
        lacks = ", ".join(sorted(observation.listed - view.core_nodes))
        why = "restart" if plan.operation != "grow" else "its list lacks %s" % lacks if lacks else "its list has an address or an id that is gone"
        return "%s: would be restarted (%s)%s." % (node, why, ", last, because it leads" if node == plan.verdict.leader else "")
    if action == "write":
        return "%s: its list on disk would be renewed; it takes effect at its next start." % node
    if action == "heal":
        return "%s: %s but without state; would be stopped and started again." % (node, "ready" if member.ready else "up")
    if not member.answers:
        return "%s: does not answer; nothing would be done." % node
    only = only_host_of(observation, plan.verdict, node) if not member.has_state else []
    if only:
        return "%s: without state, but left alone: it runs the only active instance of %s." % (node, ", ".join(only))
    return "%s: nothing to do." % node
