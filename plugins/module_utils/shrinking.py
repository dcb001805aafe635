# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is taken out next, whose list is changed before the stop and whose after it, and what speaks against it?

Pure decisions on one observation (docs/product.md 2, "shrinking"). The observation's voters are all members, those that leave
included. Members are taken out one at a time; a plan is about the next one only and is made anew for each, so an interrupted
run goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import List, Optional, Sequence, Tuple

from .growth import Refusal, order_for_roll, refuse_wrong_members, without_majority
from .model import Observation
from .quorum import Verdict, judge, majority, survives

SMALLEST = 3


@dataclass
class Removal:
    """Ids. ``leaving``: who goes next, None when everybody is out. ``rest``: the list that the others get now, in the inventory's order.

    ``roll_before``, ``roll_after``: who is restarted with it before and after the stop of ``leaving``, in this order. ``to_stop``: whether
    ``leaving`` runs. ``out``: who is out already. ``to_finish``: whose change was left in the middle, which comes first.
    """

    verdict: Verdict
    baseline: Tuple[str, ...] = ()
    order: List[str] = field(default_factory=list)
    leaving: Optional[str] = None
    rest: List[str] = field(default_factory=list)
    roll_before: List[str] = field(default_factory=list)
    roll_after: List[str] = field(default_factory=list)
    out: List[str] = field(default_factory=list)
    to_finish: List[str] = field(default_factory=list)
    to_stop: bool = False
    refusals: List[Refusal] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.leaving is None and not self.refusals


def rolls_before_the_stop(size: int) -> bool:
    """Must the others have the shorter list before one of ``size`` members stops?

    After the stop ``size`` - 1 run, and giving one of them its list stops it, too: what is left must still be a majority of the old
    list (docs/product.md 2: 4 to 3 stopped first ended the writes for good, 5 to 4 did not).
    """
    return size - 2 < majority(size)


def plan_shrink(
    observation: Observation,
    removing: Sequence[str],
    stopped: Sequence[str] = (),
    dead: Sequence[str] = (),
    abandoned: Sequence[str] = (),
    keep_lists: bool = False,
    allow_even: bool = False,
    allow_small: bool = False,
) -> Removal:
    """Take ``removing`` out, one at a time, the leader last.

    ``stopped``: those of them whose service does not run on a host that could be asked. ``dead``: those whose host cannot be asked and
    that may go all the same. ``abandoned``: those whose change an earlier run left in the middle. ``keep_lists``: nobody's list is changed.
    What will be in force at the end is judged; the even number of voters in between two steps is not.
    """
    wanted, removing = list(observation.voters), list(dict.fromkeys(removing))
    out = _out(observation, removing, {*stopped, *dead}, keep_lists)
    observation = replace(observation, voters=tuple(i for i in wanted if i not in out), views=tuple(v for v in observation.views if v.name not in out))
    verdict = judge(observation)
    plan = Removal(verdict=verdict, baseline=verdict.with_state, out=out)
    answering = {v.id: v for v in observation.answering()}
    plan.order = order_for_roll([i for i in removing if i in observation.voters], verdict.leader)
    plan.leaving = next(iter(plan.order), None)
    plan.rest = [i for i in observation.voters if i != plan.leaving]
    _refuse_names(plan, wanted, removing)
    if plan.refusals or plan.leaving is None:
        return plan
    _refuse_end(plan, wanted, removing, len(observation.retired), keep_lists, allow_even, allow_small)
    plan.to_finish = [i for i in plan.rest if i in abandoned]
    _refuse_states(plan, observation, removing, stopped, dead)
    plan.to_stop = plan.leaving in answering
    if not keep_lists:
        _order(plan, answering, frozenset(plan.rest) | frozenset(observation.retired))
    _refuse_margin(plan, observation, keep_lists)
    return plan


def _out(observation: Observation, removing, down, keep_lists) -> List[str]:
    """Those that an earlier step or run has taken out: they do not run, and nobody's list has them, or is to be without them."""
    named = set() if keep_lists else {i for v in observation.answering() for i in v.core_nodes}
    answering = {v.id for v in observation.answering()}
    return [i for i in removing if i in observation.voters and i in down and i not in answering and i not in named]


def _order(plan: Removal, answering, listed) -> None:
    """``listed``: the list that the others get. Who gets the shorter list when. What an earlier run has done already is left as it is.

    Where the dialect shows no lists they are restarted all the same: a node counts its majority from the list that it was started with, so with
    the shorter one on disk only three of five would run without a margin (docs/product.md 10).
    """
    other = [i for i in plan.rest if i in answering and i not in plan.to_finish and answering[i].core_nodes != listed]
    behind = order_for_roll(other, plan.verdict.leader)
    size = max([answering[i].cluster_size for i in behind], default=0)
    if plan.to_stop and rolls_before_the_stop(size):
        # The leader's turn comes last, after the stop; except where the others would then be too few for their new lists as well (3 to 2).
        last = plan.verdict.leader if len(plan.rest) - 1 >= majority(len(listed)) else None
        plan.roll_before = [i for i in behind if i != last]
    plan.roll_after = [i for i in behind if i not in plan.roll_before]


def _refuse_names(plan, voters, removing) -> None:
    unknown = [i for i in removing if i not in voters]
    if unknown:
        plan.refusals.append(Refusal("no_member", "%s is no member: the inventory has %s." % (", ".join(unknown), ", ".join(voters))))
    if not removing:
        plan.refusals.append(Refusal("nobody", "It is not said who is to go: give -e aether_remove=ID."))


def _refuse_end(plan, voters, removing, retired, keep_lists, allow_even, allow_small) -> None:
    """What would be in force when everybody is out. ``retired``: how many stay in every list although they do not run."""
    left = [i for i in voters if i not in removing]
    if not left:
        plan.refusals.append(Refusal("all", "That would take out every member; to give a cluster up stop its services."))
    elif keep_lists:
        if len(left) <= majority(len(voters) + retired):
            plan.refusals.append(
                Refusal(
                    "no_margin_kept",
                    "%s: the next loss would end the cluster. Take out fewer, or shorten the lists too." % _kept(len(voters) + retired, len(left)),
                )
            )
    else:
        if len(left) < SMALLEST and not allow_small:
            plan.refusals.append(
                Refusal(
                    "small",
                    "%d members would be left; production wants %d at least. Set aether_allow_small=true to allow it." % (len(left), SMALLEST),
                    "aether_allow_small",
                )
            )
        size = len(left) + retired
        if size % 2 == 0 and not allow_even:
            plan.refusals.append(
                Refusal(
                    "even",
                    "The cluster would end with %d voters, an even number: it can lose no more than %d voters can. Take out one more, or set"
                    " aether_allow_even=true." % (size, size - 1),
                    "aether_allow_even",
                )
            )


def _kept(size: int, left: int) -> str:
    return "%d voters configured, %d running: can lose %d" % (size, left, max(0, left - majority(size)))


def _refuse_states(plan, observation, removing, stopped, dead) -> None:
    answering = {v.id for v in observation.answering()}
    down = [i for i in observation.voters if i not in answering and i not in removing and i not in plan.to_finish]
    if down:
        plan.refusals.append(
            Refusal(
                "member_down",
                "%s does not answer and is to stay: bring it back first (site.yml starts it, replace_node.yml puts another in its place)." % ", ".join(down),
            )
        )
    silent = [i for i in plan.order if i not in answering and i not in stopped and i not in dead]
    if silent:
        plan.refusals.append(
            Refusal(
                "dead",
                "%s does not answer. Start it, so that it can be drained; when its host is gone for good, set aether_remove_dead=true." % ", ".join(silent),
                "aether_remove_dead",
            )
        )
    alive = sorted(i for i in dead if i in answering or any(i in v.peers for v in observation.answering()))
    if alive:
        plan.refusals.append(
            Refusal(
                "still_alive",
                "%s is not dead, or has been for less than half a minute: it answers, or the members are still connected to it." % ", ".join(alive),
            )
        )
    strangers = sorted({i for v in observation.answering() for i in v.core_nodes} - observation.listed)
    if strangers:
        plan.refusals.append(
            Refusal(
                "not_in_inventory",
                "The running members have %s in their lists, the inventory has not: put it back into aether_nodes; who is to go is named with -e"
                " aether_remove=ID."
                % ", ".join(strangers),
            )
        )
    refuse_wrong_members(plan)


def _refuse_margin(plan: Removal, observation: Observation, keep_lists: bool) -> None:
    verdict = plan.verdict
    if not verdict.holds("majority"):
        plan.refusals.append(without_majority(verdict))
        return
    # Not whoever is lost but this one: half way through 4 to 3 the leader still has the longer list and only it can be spared.
    first = next(iter(plan.roll_before), plan.leaving if plan.to_stop else next(iter(plan.roll_after), None))
    if first and not plan.to_finish and not survives(observation, frozenset(verdict.with_state), frozenset([first])):
        plan.refusals.append(
            Refusal(
                "no_margin",
                "The cluster cannot do without %s now (%d sound, %d needed), and this would stop it first. A dead member is replaced with replace_node.yml."
                % (first, verdict.have, verdict.needed),
            )
        )
    if keep_lists:
        size = max([v.cluster_size or 0 for v in observation.answering()], default=len(observation.listed))
        plan.notes.append("%s." % _kept(size, len(plan.rest)))


def explain(plan: Removal) -> List[str]:
    """Sentences about what would be done, in order."""
    if plan.leaving is None:
        return ["Nobody is left to be taken out."] + plan.notes
    found = ["%s: an earlier run was interrupted while it changed this node; that is finished first." % i for i in plan.to_finish]
    if plan.roll_before:
        found.append(
            "%s: would be drained; then %s would be restarted with the list %s while it still runs; then it would be stopped."
            % (plan.leaving, ", ".join(plan.roll_before), ", ".join(plan.rest))
        )
    elif plan.to_stop:
        found.append("%s: would be drained and stopped." % plan.leaving)
    else:
        found.append("%s: does not run." % plan.leaving)
    if plan.roll_after:
        found.append("%s would then be restarted with the list %s." % (", ".join(plan.roll_after), ", ".join(plan.rest)))
    later = [i for i in plan.order if i != plan.leaving]
    if later:
        found.append("After that %s, in the same way." % ", ".join(later))
    return found + plan.notes


def action(plan: Removal, node: str) -> str:
    for word, nodes in (
        ("finish", plan.to_finish),
        ("leave", [plan.leaving]),
        ("roll", plan.roll_before + plan.roll_after),
        ("out", plan.out),
    ):
        if node in nodes:
            return word
    return "none"
