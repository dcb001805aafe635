# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How is the cluster? Reports, judges, never fails because the cluster is unwell; only when what it was to wait for does not come true."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from .. import placement, slices
from ..client import EndpointTrouble
from ..minting import by_hand, times_of
from ..model import ACTIVE, AetherError, Observation
from ..placement import layout, witnesses
from ..query import Query
from ..quorum import Verdict
from ..report import certificate_lines, short, slices_per_node, status_table
from .quorum_check import holds
from .session import Look, Session, cluster_data, common_result
from .through import endpoint_of

SUBSETS = ("members", "lifecycle", "slices", "blueprints", "metrics", "thresholds", "alerts", "certificate", "events", "deployments")
ARGUMENT_SPEC: Dict[str, Any] = dict(
    settle_timeout=dict(type="float", default=0.0),
    gather=dict(type="list", elements="str", choices=list(SUBSETS) + ["all"], default=["members", "lifecycle", "slices"]),
    query=dict(type="str"),
    wait_for=dict(type="list", elements="str", default=[]),
    timeout=dict(type="float", default=60.0),
)


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Raises AetherError: ``bad_input`` for an expression, ``not_met`` at the deadline."""
    query = None if params["query"] is None else Query(params["query"], "query")
    conditions = [Query(c, "wait_for") for c in params["wait_for"]]
    wanted = subsets(params)

    def poll():
        look = Look(session.observe())
        moving = unsettled(look.observation, look.verdict)
        return not moving, " ".join(moving) or "all slices are active"

    if params["settle_timeout"]:
        session.wait(poll, params["settle_timeout"], stable_for=1.0)
    waited = None
    if conditions:
        waited, look, document, troubles, told = wait_for(session, conditions, wanted, params["timeout"])
    else:
        look = session.look()
        document, troubles = gather(session, look, wanted)
    verdict = look.verdict
    moving = unsettled(look.observation, verdict)
    if verdict.holds("majority"):
        text = holds(look, "complete" if verdict.holds("complete") else "majority")
    else:
        text = " ".join(r.sentence for r in verdict.explaining("majority"))
    result = common_result(
        session, look, waited, msg=text,
        table=status_table(look.observation, verdict) + certificate_lines(document.get("certificate") or (), document.get("own_certificates") or ()),
        slices=slices_per_node(look.observation, verdict),
        slice_table=slices.slice_table(look.observation, verdict),
        imbalance=slices.imbalance(look.observation, verdict)[1],
        lists=look.observation.lists(),
        settled=not moving,
        unsettled=moving,
        majority=verdict.holds("majority"),
        complete=verdict.holds("complete"),
        document=document,
        troubles=troubles,
    )
    if waited is not None and not waited.met:
        text = "; ".join(told + [t.rstrip(".") for t in troubles])
        raise AetherError(
            "not_met", "After %.0f s not true: %s." % (waited.seconds, text), conditions=[c.expression for c in conditions], last=told, result=result
        )
    if query is not None:
        try:
            result["answer"] = query.ask(document)
        except AetherError as error:
            error.data["result"] = result
            raise
    return result


def subsets(params: Dict[str, Any]) -> Tuple[str, ...]:
    """Those of ``gather``, and those that an expression names."""
    named = " ".join([params["query"] or ""] + list(params["wait_for"]))
    words = set(re.findall(r"[a-z]+", named)) | set(params["gather"])
    return SUBSETS if "all" in params["gather"] else tuple(s for s in SUBSETS if s in words)


def wait_for(session: Session, conditions: List[Query], wanted, timeout: float):
    """(how it went, last look, last document, its troubles, what was not true yet); raises AetherError for a condition that is not true or false."""
    seen: Dict[str, Any] = {}

    def poll():
        look = Look(session.observe())
        document, troubles = gather(session, look, wanted)
        partly = bool(troubles) or not look.verdict.holds("majority") or session.dialect.HAS_LEADER and look.verdict.leader is None
        told = [text for text in (untrue(c, document, partly) for c in conditions) if text]
        seen.update(look=look, document=document, troubles=troubles, told=told)
        return not told, "; ".join(told) or "all conditions are true"

    waited = session.wait(poll, timeout)
    return waited, seen["look"], seen["document"], seen["troubles"], seen["told"]


def untrue(condition: Query, document: Dict[str, Any], partly: bool) -> str:
    """Why ``condition`` does not hold, empty when it does; raises AetherError for one that is not true or false.

    ``partly``: something could not be told, is null now, and may be told at the next look; what trips over that is not true yet.
    """
    try:
        value = condition.ask(document)
    except AetherError as error:
        if not (partly and error.data["by_value"]):
            raise
        value = None
    if not isinstance(value, bool) and not (value is None and partly):
        raise condition.not_boolean(value)
    return "" if value is True else "%s is %s" % (condition.expression, "null" if value is None else "false")


def gather(session: Session, look: Look, wanted) -> Tuple[Dict[str, Any], List[str]]:
    """(the document, sentences about what could not be gathered and is null in it)."""
    observation, verdict = look.observation, look.verdict
    document: Dict[str, Any] = {
        "api": session.dialect.NAME,
        "leader": verdict.leader,
        "voters": list(observation.voters),
        "majority": verdict.holds("majority"),
        "complete": verdict.holds("complete"),
        "settled": not unsettled(observation, verdict),
        "can_lose": verdict.can_lose,
    }
    own = {"members": _members, "lifecycle": _lifecycle, "slices": _slices}
    troubles: List[str] = []
    for subset in wanted:
        if subset in own:
            document[subset] = own[subset](look)
        elif subset not in session.dialect.TELLS:
            document[subset] = None
            troubles.append("The API '%s' does not tell %s." % (session.dialect.NAME, subset))
        else:
            document[subset] = _asked(session, look, subset, troubles)
    if "certificate" in wanted:
        document["own_certificates"] = [dict({"file": path}, **by_hand(times_of(path))) for path in session.client.own_files]
    return document, troubles


def _asked(session, look, subset, troubles):
    who, function = session.dialect.TELLS[subset]
    able = witnesses(look.observation, look.verdict) or tuple(v.id for v in look.observation.answering())
    if not able:
        troubles.append("Nobody answers who could tell %s." % subset)
        return None

    def ask(endpoint):
        try:
            return function(session.client, endpoint)
        except EndpointTrouble as error:
            troubles.append("%s could not be read: %s" % (subset, error.trouble.text))
            return None

    if who == "cluster":
        return ask(endpoint_of(session, look, able[0]))
    members = [v.id for v in look.observation.answering()]
    answers = session.client.ask_all(ask, [endpoint_of(session, look, m) for m in members])
    return [dict({"node": m}, **a) for m, a in zip(members, answers) if a is not None]


def _members(look: Look) -> List[Dict[str, Any]]:
    return cluster_data(look)["members"]


def _lifecycle(look: Look) -> Optional[List[Dict[str, Any]]]:
    seen = layout(look.observation, look.verdict)
    return None if seen is None else [{"node": n, "state": s} for n, s in sorted(seen.states.items())]


def _slices(look: Look) -> Optional[List[Dict[str, Any]]]:
    seen = layout(look.observation, look.verdict)
    if seen is None:
        return None
    return [
        {
            "artifact": artifact, "name": short(artifact), "wanted": seen.targets.get(artifact), "minimum": seen.minimums.get(artifact),
            "active": sum(1 for i in placed.values() if i.state == ACTIVE), "settled": not placement.unsettled(look.observation, look.verdict, [artifact]),
            "instances": [{"node": n, "state": i.state, "reason": i.reason} for n, i in sorted(placed.items())],
        }
        for artifact, placed in sorted(seen.hosts.items())
    ]


def unsettled(observation: Observation, verdict: Verdict) -> List[str]:
    """Sentences about slices that have not the wanted number of active instances in every view with state (docs/product.md 6)."""
    found = []
    for view in observation.answering():
        if not verdict.members[view.id].has_state:
            continue
        for artifact, wanted in sorted(view.targets.items()):
            states = [i.state for i in view.instances if i.artifact == artifact]
            if states.count(ACTIVE) != wanted or len(states) != wanted:
                found.append(
                    "%s shows %s with %d of %d active%s."
                    % (view.id, artifact, states.count(ACTIVE), wanted, " and others on the way" if len(states) > states.count(ACTIVE) else "")
                )
    return found
