# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How is the cluster? Reports, judges, never fails because the cluster is unwell."""

from __future__ import annotations

from typing import Any, Dict, List

from ..model import ACTIVE, Observation
from ..quorum import Verdict
from ..report import slices_per_node, status_table
from .quorum_check import holds
from .session import Look, Session, common_result

ARGUMENT_SPEC: Dict[str, Any] = dict(settle_timeout=dict(type="float", default=0.0))


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    seen: Dict[str, Any] = {}

    def poll():
        look = seen["look"] = Look(session.observe())
        seen["unsettled"] = unsettled(look.observation, look.verdict)
        return not seen["unsettled"], " ".join(seen["unsettled"]) or "all slices are active"

    if params["settle_timeout"]:
        session.wait(poll, params["settle_timeout"], stable_for=1.0)
    look = session.look()
    verdict = look.verdict
    moving = unsettled(look.observation, verdict)
    if verdict.holds("majority"):
        text = holds(look, "complete" if verdict.holds("complete") else "majority")
    else:
        text = " ".join(r.sentence for r in verdict.explaining("majority"))
    return common_result(
        session, look, msg=text,
        table=status_table(look.observation, verdict),
        slices=slices_per_node(look.observation, verdict),
        lists={v.id: sorted(v.core_nodes) for v in look.observation.answering()},
        settled=not moving,
        unsettled=moving,
        majority=verdict.holds("majority"),
        complete=verdict.holds("complete"),
    )


def unsettled(observation: Observation, verdict: Verdict) -> List[str]:
    """Sentences about slices that have not the wanted number of active instances in every view with state (docs/product.md 6)."""
    found = []
    for view in observation.answering():
        if not verdict.members[view.id].has_state:
            continue
        for artifact, wanted in sorted(view.targets.items()):
            states = [i.state for i in view.instances if i.artifact == artifact]
            if states.count(ACTIVE) != wanted or len(states) != wanted:
                found.append("%s shows %s with %d of %d active%s." % (view.id, artifact, states.count(ACTIVE), wanted, " and others on the way" if len(states) > states.count(ACTIVE) else ""))
    return found
