# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Is this node a member, gone, or connected? Waits until it is, says who still lacks it or holds it.

What counts is the state that a started node shows itself (docs/product.md 2): ready and healthy proves nothing. What a stop
and a start would mend is told apart (``needs_restart``) from what it would not.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Sequence

from ..client import EndpointTrouble
from ..growth import only_host_of
from ..model import DECOMMISSIONED, ON_DUTY, AetherError
from ..waiting import FIRST_PAUSE, SOON
from .session import Look, Session, common_result

ARGUMENT_SPEC = dict(
    name=dict(type="str", required=True),
    state=dict(type="str", choices=["present", "absent", "connected"], default="present"),
    timeout=dict(type="float"),
    among=dict(type="list", elements="str", default=[]),
    peers=dict(type="list", elements="str", default=[]),
    on_stateless=dict(type="str", choices=["fail", "report"], default="fail"),
    must_have_state=dict(type="bool", default=True),
    settle=dict(type="float", default=5.0),
)

# Seconds until the deadline, by state, where the task names none: start-up and departure as seen (docs/product.md 7).
TIMEOUTS = {"present": 60.0, "absent": 30.0, "connected": 20.0}
# A node that answers for this long, is not ready and sees nobody has been dropped by the others for good.
STRANDED_AFTER = 20.0


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Wait for the state; raises AetherError (``not_present``, ``still_present``, ``not_connected``, ``needs_restart``)."""
    name = params["name"]
    if session.voters and name not in session.voters:
        raise AetherError("bad_input", "'%s' is not among the voters (%s)." % (name, ", ".join(session.voters)))
    strangers = sorted(set(params["among"] + params["peers"]) - set(session.voters)) if session.voters else []
    if strangers:
        raise AetherError("bad_input", "Options 'among' and 'peers' name %s, not among the voters (%s)." % (", ".join(strangers), ", ".join(session.voters)))
    timeout = params["timeout"] if params["timeout"] is not None else TIMEOUTS[params["state"]]
    return {"present": present, "absent": absent, "connected": connected}[params["state"]](params, session, timeout)


class Presence:
    """Follows one node while it comes up: what it lacks now, and since when a restart looks like the only way."""

    def __init__(self, name: str, among, must_have_state: bool, settle: float, clock=time.monotonic):
        self.name, self.among, self.must_have_state, self.settle, self.clock = name, tuple(among), must_have_state, settle, clock
        self.stateless_since = None
        self.alone_since = None

    def lacking(self, look: Look) -> List[str]:
        """Sentences about what is missing until the node is present; empty when it is."""
        observation, name = look.observation, self.name
        view, member = observation.view(name), look.verdict.members[name]
        if view is None or not view.answers:
            self.stateless_since = self.alone_since = None
            return ["%s does not answer yet" % name]
        lacks = []
        if not view.ready:
            lacks.append("%s is not ready" % name)
        missing = missing_in(look, name, self.among)
        if missing:
            lacks.append("not %s the views of %s" % ("on duty in" if view.has_lifecycle else "in", ", ".join(missing)))
        unseen = unseen_by(look, name, self.among)
        if view.ready and unseen:
            lacks.append("%s does not see %s (is a way between them blocked?)" % (name, ", ".join(unseen)))
        if self.must_have_state:
            if not member.has_state and not view.has_lifecycle:
                lacks.append("%s does not list every member that answers" % name)
            elif not member.has_state:
                lacks.append("%s has no state of its own" % name)
            elif not member.has_quorum:
                lacks.append("%s has no quorum" % name)
            elif not member.led:
                lacks.append("%s knows no leader" % name if view.leader is None else "%s follows %s, the others do not" % (name, view.leader))
            elif view.has_lifecycle and member.state != ON_DUTY:
                lacks.append("%s is %s by its own list" % (name, member.state or "not listed"))
        self._track(view, member)
        return lacks

    def _track(self, view, member):
        now = self.clock()
        if view.ready and not member.has_state and view.has_lifecycle:
            self.stateless_since = self.stateless_since or now
        else:
            self.stateless_since = None
        if not view.ready and not (view.peers - {self.name}):
            self.alone_since = self.alone_since or now
        else:
            self.alone_since = None

    def restart_reason(self) -> str:
        """``no_state``, ``stranded`` or an empty string: only what waiting longer has never been seen to mend."""
        now = self.clock()
        if self.must_have_state and self.stateless_since is not None and now - self.stateless_since >= self.settle:
            return "no_state"
        if self.alone_since is not None and now - self.alone_since >= STRANDED_AFTER:
            return "stranded"
        return ""


WHY_RESTART = {
    "no_state": "{0} is ready but came up without state",
    "stranded": "{0} answers, but the others keep it out (it sees no peer)",
    "not_ready": "{0} did not get ready",
}


def present(params, session: Session, timeout: float) -> Dict[str, Any]:
    name = params["name"]
    presence = Presence(name, params["among"], params["must_have_state"], params["settle"])
    seen: Dict[str, Any] = {"restart": "", "only": []}

    def poll():
        look = seen["look"] = Look(session.observe())
        lacks = seen["lacks"] = presence.lacking(look)
        if lacks and not seen.get("activated"):
            seen["activated"] = activate_if_decommissioned(session, look, name)
        if seen.get("activated") and session.check_mode:
            return True, "%s would be activated" % name
        seen["restart"] = presence.restart_reason()
        # A stop would take the slice from its users: another instance may become active while time is left.
        seen["only"] = only_host_of(look.observation, look.verdict, name) if seen["restart"] == "no_state" else []
        if seen["only"]:
            lacks.append("%s runs the only active instance of %s" % (name, ", ".join(seen["only"])))
        return bool(not lacks or (seen["restart"] and not seen["only"])), "; ".join(lacks) or "%s is on duty" % name

    waited = session.wait(poll, timeout, longest_pause=SOON)
    look = seen["look"]
    restart = seen["restart"]
    member = look.verdict.members[name]
    if not waited.met and member.answers and not member.ready:
        restart = "not_ready"
    more = _node_result(look, name, params["among"], restart, seen["only"])
    if waited.met and not restart:
        text = (
            "%s would be put back on duty."
            if session.check_mode and seen.get("activated")
            else "%s is a member: on duty in every view" + ("" if not member.has_state else " and complete in its own") + "."
        )
        return common_result(session, look, waited, msg=text % name, **more)
    if restart:
        what = WHY_RESTART[restart].format(name)
        text = (
            "%s, and it is not stopped as long as it runs the only active instance of %s: have another one started elsewhere." % (what, ", ".join(seen["only"]))
            if seen["only"]
            else "%s. Stopping it and starting it again in quiet mends this; while writes go through the cluster it will not." % what
        )
        if params["on_stateless"] == "report":
            return common_result(session, look, waited, msg=text, **more)
        raise AetherError("needs_restart", text, result=common_result(session, look, waited, **more), reason=restart, node=name)
    view = look.observation.view(name)
    why = view.trouble.text if view is not None and view.trouble else waited.last
    raise AetherError(
        "not_present",
        "%s is not a member after %.0f s: %s." % (name, waited.seconds, why.rstrip(".")),
        result=common_result(session, look, waited, **more),
        node=name, lacks=seen["lacks"], missing_in=more["missing_in"],
    )


def activate_if_decommissioned(session: Session, look: Look, name: str) -> bool:
    """Put a decommissioned node that is up and has state back on duty; through the leader, else a member with state."""
    observation, verdict = look.observation, look.verdict
    member = verdict.members[name]
    decommissioned = [v for v in observation.answering() if v.lifecycle.get(name) == DECOMMISSIONED and verdict.members[v.id].has_state]
    if not (decommissioned and member.ready and member.has_state):
        return False
    through = observation.view(verdict.leader) if verdict.leader else decommissioned[0]

    def on_duty():
        view = session.dialect.read_view(session.client, session.endpoint_of(name))
        return view.lifecycle.get(name) == ON_DUTY

    endpoint = next(e for e in session.endpoints if e.url == through.endpoint)
    session.write(endpoint, session.dialect.activate(name), through.id, "%s is decommissioned and wanted on duty" % name, on_duty)
    return True


def missing_in(look: Look, name: str, among=()) -> List[str]:
    """Members (other than ``name``) in whose view it is not both connected and on duty.

    Only members with state can tell; ``among`` narrows them down.
    """
    missing = []
    for view in look.observation.answering():
        if view.id == name or (among and view.id not in among) or not look.verdict.members[view.id].has_state:
            continue
        if name not in view.peers or (view.has_lifecycle and view.lifecycle.get(name) != ON_DUTY):
            missing.append(view.id)
    return missing


def unseen_by(look: Look, name: str, among=()) -> List[str]:
    """Members with state that are ready and that the node itself is not connected to; of a way that is blocked in one direction only one side may know."""
    view = look.observation.view(name)
    if not view.has_lifecycle:
        return []  # the dialect runbook: its state is the list of whom it sees
    others = [v for v in look.observation.answering() if v.id != name and (not among or v.id in among)]
    return [v.id for v in others if v.ready and look.verdict.members[v.id].has_state and v.id not in view.peers]


def held_by(look: Look, name: str) -> List[str]:
    """Members (other than ``name``) in whose view it still is, connected or in a lifecycle state."""
    return [v.id for v in look.observation.answering() if v.id != name and (name in v.peers or name in v.lifecycle)]


def absent(params, session: Session, timeout: float) -> Dict[str, Any]:
    """Gone from every view, and somebody with a quorum must be there to say so: an error never proves absence."""
    name = params["name"]
    seen: Dict[str, Any] = {}

    def poll():
        look = seen["look"] = Look(session.observe())
        holders = seen["held"] = held_by(look, name)
        witnesses = seen["witnesses"] = [m.id for m in look.verdict.members.values() if m.id != name and m.has_state and m.has_quorum]
        if holders:
            return False, "%s is still in the views of %s" % (name, ", ".join(holders))
        if not witnesses:
            return False, "no other member with state and quorum answers, so nobody can tell"
        return True, "%s is in nobody's view" % name

    waited = session.wait(poll, timeout, longest_pause=SOON)
    more = _node_result(seen["look"], name, [], "")
    if waited.met:
        return common_result(session, seen["look"], waited, msg="%s is gone from every view (asked %s)." % (name, ", ".join(seen["witnesses"])), **more)
    raise AetherError(
        "still_present",
        "%s is not gone after %.0f s: %s." % (name, waited.seconds, waited.last),
        result=common_result(session, seen["look"], waited, **more), node=name, held_by=seen["held"],
    )


def connected(params, session: Session, timeout: float) -> Dict[str, Any]:
    """Cold start: the node answers and is connected to as many peers as were started before it (docs/product.md 2)."""
    name, wanted = params["name"], len(set(params["peers"]) - {params["name"]})
    endpoint = session.endpoint_of(name)
    seen: Dict[str, Any] = {}

    def poll():
        try:
            count = session.dialect.connected_peers(session.client, endpoint)
        except EndpointTrouble as error:
            seen["answers"], seen["why"] = False, error.trouble.text
            return False, "%s does not answer yet" % name
        seen["answers"] = True
        return count >= wanted, "%s sees %d of %d earlier members" % (name, count, wanted)

    waited = session.wait(poll, timeout, longest_pause=FIRST_PAUSE)  # one small question, and the next node waits for its answer
    restart = "" if waited.met else "stranded" if seen["answers"] else "not_ready"
    if not waited.met and not seen["answers"]:
        waited.last = seen["why"]
    more = dict(node={"id": name}, needs_restart=bool(restart), restart_reason=restart, has_state=None, missing_in=[], held_by=[], only_host_of=[])
    result = common_result(session, None, waited, msg="%s." % waited.last.rstrip("."), **more)
    if waited.met or params["on_stateless"] == "report":
        return result
    raise AetherError(
        "not_connected",
        "%s is not connected after %.0f s: %s. Stop it and start it again." % (name, waited.seconds, waited.last.rstrip(".")),
        result=result,
        node=name,
    )


def _node_result(look: Look, name: str, among, restart: str, only: Sequence[str] = ()) -> Dict[str, Any]:
    member = look.verdict.members[name]
    return dict(
        node={"id": name, "state": member.state, "sound": member.sound, "has_state": member.has_state},
        needs_restart=bool(restart),
        restart_reason=restart,
        has_state=member.has_state,
        missing_in=missing_in(look, name, among),
        held_by=held_by(look, name),
        only_host_of=list(only),
    )
