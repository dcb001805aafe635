# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""May every node be stopped and those that stay be started cold, with their own list? Who is stopped, who is started, and is there something to save?

Pure decisions on one observation (docs/product.md 2, "margin zero"). No majority is needed: that there is none may be why. What must not be is a node that
runs on with the old list and the old state beside the new cluster, so nobody is forgotten: not who is connected, and not who stands in a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Sequence

from .growth import LARGEST, Refusal, refuse_wrong_members
from .model import Observation
from .quorum import Verdict, judge
from .saved import UNFINISHED

SMALLEST = 3


@dataclass
class Restart:
    """Ids. ``absent``: in the running lists and not in the inventory; ``save``: whether the state has to be saved first; ``resumed``: the phase of the
    interrupted run that this one goes on with; ``done``: whether who was to go is out already, and nothing is left to do; ``fading``: said to be dead, and
    still in somebody's view.
    """

    verdict: Verdict
    staying: List[str] = field(default_factory=list)
    leaving: List[str] = field(default_factory=list)
    absent: List[str] = field(default_factory=list)
    to_stop: List[str] = field(default_factory=list)
    to_start: List[str] = field(default_factory=list)
    save: bool = True
    resumed: str = ""
    done: bool = False
    fading: List[str] = field(default_factory=list)
    refusals: List[Refusal] = field(default_factory=list)

    def refuse(self, code: str, sentence: str, option=None) -> None:
        self.refusals.append(Refusal(code, sentence, option))


def plan_restart(
    observation: Observation,
    removing: Sequence[str] = (),
    dead: Sequence[str] = (),
    absent: Sequence[str] = (),
    phase: str = "",
    allow_even: bool = False,
    allow_small: bool = False,
) -> Restart:
    """``dead``: those of ``removing`` whose host cannot be asked and that may go all the same. ``absent``: ids that are said to be gone for good.

    ``phase``: how far an interrupted restart is. Once its first stop may have happened the saved state is what counts, and nothing is saved again; once
    the cluster has formed, and as long as it stands, nobody is stopped again.
    """
    plan = Restart(judge(observation), resumed=phase if phase in UNFINISHED else "")
    voters, answering = list(observation.voters), observation.answering()
    plan.staying = [i for i in voters if i not in removing]
    plan.leaving = [i for i in voters if i in removing]
    plan.absent = sorted({i for v in answering for i in v.core_nodes} - observation.listed)
    stands = _stands(plan, observation)
    plan.done = stands and bool(removing) and not plan.resumed
    plan.save = not plan.resumed and not plan.done
    if not plan.done and not (phase == "formed" and stands):
        plan.to_stop = [i for i in voters if i not in dead]
        plan.to_start = plan.staying
    _refuse_end(plan, voters, removing, len(observation.retired), allow_even, allow_small)
    _refuse_others(plan, observation, dead, absent)
    if plan.save and not answering:
        plan.refuse(
            "nobody", "No node of the inventory answers, so there is no state to save and nothing to stop: site.yml starts a cluster, which is empty then."
        )
    return plan


def _stands(plan: Restart, observation: Observation) -> bool:
    """Has the new cluster formed, and does it still stand: everyone who stays, with the new list and state, and nobody else?"""
    answering = {v.id: v for v in observation.answering()}
    listed = frozenset(plan.staying) | frozenset(observation.retired)
    sound = all(i in answering and answering[i].core_nodes == listed and plan.verdict.members[i].sound for i in plan.staying)
    return sound and not any(i in answering for i in plan.leaving)


def _refuse_end(plan, voters, removing, retired, allow_even, allow_small) -> None:
    unknown = [i for i in removing if i not in voters]
    if unknown:
        plan.refuse("no_member", "%s is no member: the inventory has %s." % (", ".join(unknown), ", ".join(voters)))
    size = len(plan.staying) + retired
    if size > LARGEST:
        plan.refuse("too_many", "The inventory names %d nodes; Aether takes at most %d." % (size, LARGEST))
    if size < SMALLEST and not allow_small:
        plan.refuse(
            "too_small", "%d voters would be left, and with fewer than three none may be lost: set aether_allow_small=true." % size, "aether_allow_small"
        )
    elif size % 2 == 0 and not allow_even:
        plan.refuse(
            "even",
            "The cluster would end with %d voters, an even number: it can lose no more than %d voters can. Set aether_allow_even=true." % (size, size - 1),
            "aether_allow_even",
        )


def _refuse_others(plan, observation, dead, absent) -> None:
    """Whoever could run on beside the new cluster."""
    answering = observation.answering()
    seen = {i for v in answering for i in v.peers}
    # The dead stay in the views for 18 s to two minutes (docs/product.md 3), and members that have seen their end hide their counts: so it is saved at once,
    # and before the stop it is waited for.
    plan.fading = sorted(i for i in seen if i in dead or i in absent)
    connected = sorted(seen - set(observation.voters) - set(absent))
    if connected:
        plan.refuse(
            "connected_stranger",
            "%s is connected to the members and is not in the inventory, so it would run on with the old state: add it to the group aether_nodes, or, when it"
            " is gone for good, say so with -e aether_confirm_dead=%s." % (", ".join(connected), ",".join(connected)),
        )
    unsaid = [i for i in plan.absent if i not in absent and i not in connected]
    if unsaid:
        plan.refuse(
            "absent",
            "The running members have %s in their lists, the inventory has not, and the new lists do without: if they are gone for good, say so with"
            " -e aether_confirm_dead=%s; else put them back into aether_nodes." % (", ".join(unsaid), ",".join(unsaid)),
            "aether_confirm_dead",
        )
    alive = sorted(i for i in dead if i in {v.id for v in answering})
    if alive:
        plan.refuse("still_alive", "%s is not dead, for it answers: its host has to be reached, so that it can be stopped with the others." % ", ".join(alive))
    refuse_wrong_members(plan)
    if plan.resumed:
        # They may be half way to another key or to TLS; what answers wrongly is stopped, too.
        plan.refusals = [r for r in plan.refusals if r.code not in ("unauthorized", "tls")]


def explain(plan: Restart) -> List[str]:
    """Sentences about what would be done, in order."""
    if plan.done:
        return ["%s are out already, and %s run with the list of those that stay: nothing is left to do." % (", ".join(plan.leaving), ", ".join(plan.staying))]
    found = []
    if plan.resumed:
        found.append("An earlier full restart was interrupted (%s): its saved state is put back, and nothing is saved again." % plan.resumed)
    if plan.save:
        found.append("The state is saved and read back first.")
    if plan.to_stop:
        found.append("All at once, %s would be stopped, and with them every slice." % ", ".join(plan.to_stop))
        found.append("Then %s would be started, one at a time, with the list %s." % (", ".join(plan.to_start), ", ".join(plan.staying)))
    else:
        found.append("%s have formed the cluster, and are not stopped again." % ", ".join(plan.staying))
    if plan.fading:
        found.append("Nobody is stopped before %s, who is said to be dead, is gone from every view." % ", ".join(plan.fading))
    if plan.leaving:
        found.append("%s would be out, and not started at boot." % ", ".join(plan.leaving))
    if plan.absent:
        found.append("The lists have %s now, and would be without." % ", ".join(plan.absent))
    found.append("At the end the state is put back and compared with what was saved.")
    return found
