# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What would have to be done, and what speaks against it, before anything is touched."""

from __future__ import annotations

from typing import Any, Dict, List

from .. import restarting, shrinking
from ..capacity import overload
from ..client import Endpoint
from ..config_rules import KEY_ROLES
from ..growth import Plan, Refusal, explain, plan_bootstrap, plan_grow, plan_roll
from ..model import AetherError
from ..quorum import are_two, runs_twice
from ..report import slices_per_node
from .capacity_info import MACHINES_SPEC, PROFILE_SPEC, advice_for, check_window, measure, told
from .session import Look, Session, common_result
from .through import key_refusals

ARGUMENT_SPEC = dict(
    operation=dict(type="str", required=True, choices=["bootstrap", "grow", "roll", "shrink", "restart"]),
    abandoned=dict(type="list", elements="str", default=[]),
    allow_even=dict(type="bool", default=False),
    roll_lists=dict(type="bool", default=True),
    disk_lists=dict(type="dict", default={}),
    stale=dict(type="list", elements="str", default=[]),
    former=dict(type="list", elements="str", default=[]),
    replacing=dict(type="list", elements="str", default=[]),
    leaving=dict(type="list", elements="str", default=[]),
    restarted=dict(type="list", elements="str", default=[]),
    removing=dict(type="list", elements="str", default=[]),
    stopped=dict(type="list", elements="str", default=[]),
    dead=dict(type="list", elements="str", default=[]),
    keep_lists=dict(type="bool", default=False),
    allow_small=dict(type="bool", default=False),
    window=dict(type="float", default=0.0),
    profile=PROFILE_SPEC,
    machines=MACHINES_SPEC,
    allow_overload=dict(type="bool", default=False),
    phase=dict(type="str", default=""),
    key_role=dict(type="str", choices=list(KEY_ROLES), default=KEY_ROLES[0]),
    on_refusal=dict(type="str", choices=["fail", "report"], default="fail"),
)


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Observe and decide; raises AetherError (kind ``refused``) with all refusals at once."""
    check_window(params["window"], 0.0)
    look = session.look(disk_lists=params["disk_lists"])
    make, tell = STEPS.get(params["operation"], (decide, plan_data))
    plan = make(params, look)
    if params["disk_lists"] and look.observation.api == "v1" and (params.get("api") or "auto") == "auto" and not look.observation.answering():
        plan.refusals.append(
            Refusal(
                "unknown_api",
                "No node answers, so nobody tells which API they speak, and the lists on the hosts' disks are those of the dialect 'runbook': set aether_api to"
                " runbook or v1.",
            )
        )
    plan.refusals.extend(twin_refusals(params, session, look))
    plan.refusals.extend(key_refusals(params["key_role"], session, look))
    # A full restart stops everybody: nobody is left to be overloaded.
    capacity = load_of(params, session, look, plan) if params["window"] and not plan.done and params["operation"] != "restart" else {}
    data = tell(plan, look)
    result = common_result(session, look, plan=data, slices=slices_per_node(look.observation, look.verdict), msg=" ".join(data["summary"]), **capacity)
    if plan.refusals and params["on_refusal"] == "fail":
        raise AetherError(
            "refused",
            "Refused, nothing was touched: %s" % " ".join(r.sentence for r in plan.refusals),
            result=result, refusals=data["refusals"],
        )
    return result


def load_of(params: Dict[str, Any], session: Session, look: Look, plan) -> Dict[str, Any]:
    """What the members carry and whether to scale, ``capacity``; refuses what would overload those that are left while others are stopped.

    Who is to be added, or is out already, is no member and not asked.
    """
    others = plan.out if params["operation"] == "shrink" else plan.to_add
    loads = measure(session, look, [i for i in look.observation.voters if i not in others], params["window"], params["machines"])
    refusal = None
    if params["operation"] == "shrink":
        refusal = overload(loads, plan.order, restarting=not params["keep_lists"])
    elif params["operation"] == "roll" and plan.to_roll + plan.to_finish:
        refusal = overload(loads, restarting=True)
    if refusal is not None and not params["allow_overload"]:
        plan.refusals.append(refusal)
    advice = told(advice_for(look, loads, params["profile"]), loads)
    return {"capacity": {what: advice[what] for what in ("advice", "members", "table")}}


def twin_refusals(params: Dict[str, Any], session: Session, look: Look) -> List[Refusal]:
    """Nodes that run at a former address of their id as well: a host that was said to be dead is back. Told by their ids and ages, so on v1 alone."""
    endpoints = [Endpoint(url, name) for name, _equals, url in (entry.partition("=") for entry in params["former"])]
    found = []
    for view in session.client.ask_all(lambda e: session.dialect.read_view(session.client, e), endpoints):
        own = look.observation.view(view.name)
        if own is not None and are_two(own, view):
            found.append(Refusal("runs_twice", runs_twice(own, view).sentence))
    return found


def decide(params: Dict[str, Any], look: Look) -> Plan:
    observation, abandoned = look.observation, params["abandoned"]
    if params["operation"] == "bootstrap":
        return plan_bootstrap(observation, abandoned)
    if params["operation"] == "grow":
        return plan_grow(observation, abandoned, params["allow_even"], params["roll_lists"], params["replacing"], params["leaving"], params["stale"])
    return plan_roll(observation, abandoned, params["restarted"])


def plan_data(plan: Plan, look: Look) -> Dict[str, Any]:
    leader = plan.verdict.leader
    nodes = {
        i: {
            "action": plan.action(i),
            "leads": i == leader,
            "started_before": plan.started_before.get(i, []),
            "why": explain(plan, look.observation, i),
        }
        for i in look.observation.voters
    }
    return {
        "operation": plan.operation,
        "done": plan.done,
        "baseline": list(plan.baseline),
        "leader": leader,
        "to_start": plan.to_start,
        "to_finish": plan.to_finish,
        "to_add": plan.to_add,
        "to_roll": plan.to_roll,
        "to_write": plan.to_write,
        "to_heal": plan.to_heal,
        "lists": plan.lists,
        "old_lists_touched": plan.old_lists_touched,
        "nodes": nodes,
        "refusals": [r.as_data() for r in plan.refusals],
        "summary": [n["why"] for n in nodes.values()] + plan.notes,
    }


def removal(params: Dict[str, Any], look: Look) -> shrinking.Removal:
    return shrinking.plan_shrink(
        look.observation,
        params["removing"],
        params["stopped"],
        params["dead"],
        params["abandoned"],
        params["keep_lists"],
        params["allow_even"],
        params["allow_small"],
    )


def removal_data(plan: shrinking.Removal, look: Look) -> Dict[str, Any]:
    """As lists of ids throughout, so that plays can have each as their hosts."""
    return {
        "operation": "shrink",
        "done": plan.done,
        "baseline": list(plan.baseline),
        "leader": plan.verdict.leader,
        "to_finish": plan.to_finish,
        "leaving": [plan.leaving] if plan.leaving else [],
        "to_stop": [plan.leaving] if plan.to_stop else [],
        "roll_before": plan.roll_before,
        "roll_after": plan.roll_after,
        "rest": plan.rest,
        "out": plan.out,
        "order": plan.order,
        "nodes": {i: {"action": shrinking.action(plan, i), "leads": i == plan.verdict.leader} for i in look.observation.voters},
        "refusals": [r.as_data() for r in plan.refusals],
        "notes": plan.notes,
        "summary": shrinking.explain(plan),
    }


def restart(params: Dict[str, Any], look: Look) -> restarting.Restart:
    return restarting.plan_restart(
        look.observation, params["removing"], params["dead"], params["leaving"], params["phase"], params["allow_even"], params["allow_small"]
    )


def restart_data(plan: restarting.Restart, look: Look) -> Dict[str, Any]:
    """As lists of ids throughout, so that plays can have each as their hosts."""
    return {
        "operation": "restart",
        "done": plan.done,
        "baseline": list(plan.verdict.with_state),
        "leader": plan.verdict.leader,
        "majority": plan.verdict.holds("majority"),
        "save": plan.save,
        "staying": plan.staying,
        "leaving": plan.leaving,
        "absent": plan.absent,
        "fading": plan.fading,
        "to_stop": plan.to_stop,
        "to_start": plan.to_start,
        "to_check": [] if plan.done else plan.staying,
        "nodes": {i: {"started_before": plan.to_start[: plan.to_start.index(i)] if i in plan.to_start else []} for i in look.observation.voters},
        "lists": look.observation.lists(),
        "refusals": [r.as_data() for r in plan.refusals],
        "summary": restarting.explain(plan),
    }


# Operation -> (what makes its plan, what tells it); the others are of one kind.
STEPS = {"shrink": (removal, removal_data), "restart": (restart, restart_data)}
