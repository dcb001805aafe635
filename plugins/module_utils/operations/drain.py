# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take every slice off a node, or put it back on duty; whatever happens, leave nothing half done.

A drain gives no sign when it is stuck, is called off by a restart or a flap without a word, and is refused with HTTP 200
(docs/product.md 5). So: decide on one observation; write down what would have to be undone; act; follow it in every view;
and when it cannot be finished, undo and fail.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Dict, List, Optional

from ..client import EndpointTrouble
from ..intents import Intents
from ..model import ACTIVE, DECOMMISSIONED, DRAINING, ON_DUTY, AetherError, Instance, Observation
from ..placement import (
    ALLOWABLE, DrainPlan, called_off, instances_on, lacking, layout, no_room_yet, plan_drain, states_of, unsettled, what_is_left, without_room, witnesses,
)
from ..waiting import SOON, Waited
from .session import Look, Session, common_result
from .through import endpoint_of

ARGUMENT_SPEC = dict(
    name=dict(type="str"),
    state=dict(type="str", choices=["drained", "active", "settled"], default="drained"),
    make_room=dict(type="bool", default=False),
    allow=dict(type="list", elements="str", choices=list(ALLOWABLE), default=[]),
    hold=dict(type="bool", default=True),
    timeout=dict(type="float"),
    intent_path=dict(type="path"),
    intents=dict(type="list", elements="dict", default=[]),
)

# Seconds, as seen: an empty node drains at once, each slice takes about 5 s.
BASE_TIMEOUT, PER_SLICE = 10.0, 5.0
# Put on top once where the leader is lost or the node restarts meanwhile: that takes up to 18 s without anything moving.
PATIENCE = 25.0
ACTIVE_TIMEOUT = 30.0
ROOM_TIMEOUT = 30.0
# Looks in a row that must show the same before it is believed: a state in passing is not one that lasts.
STUCK_LOOKS = 3
OFF_LOOKS = 2
# An accepted drain that no view has shown yet may still be on its way.
NEVER_SEEN_LOOKS = 6


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Raises AetherError: ``refused``, ``not_drained``, ``called_off``, ``not_active``, ``write_failed``, ``cannot``, ``intent``, ``busy``, ``bad_input``."""
    name, state = params["name"], params["state"]
    if state != "settled" and not name:
        raise AetherError("bad_input", "Option 'name' is missing: which node is to be %s?" % state)
    if name and session.voters and name not in session.voters:
        raise AetherError("bad_input", "'%s' is not among the voters (%s)." % (name, ", ".join(session.voters)))
    work = Work(params, session)
    try:
        if state == "settled":
            return work.settled()
        with nullcontext() if session.check_mode else work.intents.locked(name):
            return work.drained() if state == "drained" else work.active()
    except AetherError as error:
        if work.look is not None:
            error.data.setdefault("result", work.result(""))
        raise


class Work:
    """One run: what it saw last, what it did, and what it found abandoned."""

    def __init__(self, params: Dict[str, Any], session: Session):
        self.params, self.session, self.node = params, session, params["name"]
        self.intents = Intents(params["intent_path"], [e.url for e in session.endpoints], params["intents"])
        self.look: Look = None
        self.waited = Waited()
        self.abandoned: List[str] = []
        self.intent: Optional[Dict[str, Any]] = None
        self.made_room: Dict[str, Dict[str, int]] = {}
        self.started_again = 0
        self.before = ""

    # --- drained ---------------------------------------------------------------------------------------------------

    def drained(self) -> Dict[str, Any]:
        node, session = self.node, self.session
        if self.params["make_room"] and not session.dialect.CAN_SCALE:
            raise AetherError(
                "cannot",
                "The API '%s' cannot scale slices, so make_room cannot be had: make room by hand, with one instance less in the blueprint."
                % session.dialect.NAME,
            )
        self.look = session.look()
        self.settle_others()
        own = self.intent = self.intents.get(node)
        self.before = self.picture()
        if not lacking(self.look.observation, self.look.verdict, node):
            if own and own["phase"] == "draining":
                self.abandoned.append("An earlier drain of %s (since %s) was interrupted; it has come to its end by itself." % (node, own["since"]))
            if own and not session.check_mode:
                self.intent = dict(own, hold=self.params["hold"])
                self.finish()
            return self.result("%s is drained already." % node)
        if own and own["phase"] == "draining" and not session.check_mode:
            self.let_settle(sorted(own["restore"]))
        plan = self.plan()
        if plan.refusals:
            raise self.refused(plan, own)
        restore = {a: dict(r) for a, r in (own["restore"] if own else {}).items()}
        self.intent = self.intents.make(node, restore, self.params["hold"], since=own["since"] if own else None)
        if own and own["phase"] == "draining":
            self.abandoned.append("An earlier drain of %s (since %s) was interrupted; it is gone on with." % (node, own["since"]))
        if session.check_mode:
            return self.planned(plan)
        self.remember(plan.scale)
        try:
            self.go(plan)
        except AetherError as error:
            raise self.undone(error)
        self.finish()
        text = "%s is drained: decommissioned, and nothing on it in any view" if session.dialect.HAS_LIFECYCLE else "%s is drained: nothing on it in any view"
        room = "; %s wanted once less for as long as it is" % ", ".join(sorted(self.made_room)) if self.made_room else ""
        again = "; it was called off behind our back and started again" if self.started_again else ""
        return self.result((text + room + again + ".") % node)

    def let_settle(self, artifacts: List[str]) -> None:
        """What an interrupted run has scaled, or undoing it has, may still be on its way; whether it got there is the plan's to judge."""

        def poll():
            self.observe()
            late = unsettled(self.look.observation, self.look.verdict, artifacts) if self.state() == ON_DUTY else []
            return not late, " ".join(late) or "settled"

        self.wait(poll, ROOM_TIMEOUT if self.params["timeout"] is None else self.params["timeout"])

    def plan(self) -> DrainPlan:
        return plan_drain(self.look.observation, self.look.verdict, self.node, self.params["make_room"], self.params["allow"], self.deployments())

    def deployments(self) -> List[str]:
        """Deployments in progress, asked of the best witness; when it cannot tell, that is said instead."""
        for witness in witnesses(self.look.observation, self.look.verdict)[:1]:
            try:
                return self.session.dialect.deployments(self.session.client, endpoint_of(self.session, self.look, witness))
            except EndpointTrouble as error:
                return [] if error.trouble.kind == "not_aether" else ["it cannot be told: %s" % error.trouble.text]
        return []

    def refused(self, plan: DrainPlan, own) -> AetherError:
        text = " ".join("%s%s" % (r.sentence, " (%s)" % r.option if r.option and r.option not in r.sentence else "") for r in plan.refusals)
        head = "Draining %s is refused, nothing was touched: %s" % (self.node, text)
        if own and own["phase"] == "draining":
            # Half of an earlier drain lies about and cannot be finished: take it back.
            try:
                undone = self.undo(own)
            except AetherError as error:
                undone = "And what an earlier run left cannot be undone now: %s" % error.message
            head = "Draining %s is refused: %s %s" % (self.node, text, undone)
        return AetherError("refused", head, refusals=[r.as_data() for r in plan.refusals], node=self.node)

    def planned(self, plan: DrainPlan) -> Dict[str, Any]:
        """Check mode: the writes that would be sent, in their order."""
        self.note_room(plan.scale)
        if plan.scale and self.state() != ON_DUTY:
            self.activate("stuck, and room can be made only while it is on duty")
        for artifact, (now, then) in sorted(plan.scale.items()):
            self.scale(artifact, then, "room for %s while %s is drained (now %d)" % (artifact, self.node, now))
        if plan.scale or self.state() != DRAINING:
            self.start()
        what = "%s would be drained, %s" % (self.node, "%d slices would move" % len(plan.moves) if len(plan.moves) != 1 else "1 slice would move")
        return self.result(what + ("; %s would be wanted once less meanwhile." % ", ".join(sorted(plan.scale)) if plan.scale else "."), predicted=True)

    def remember(self, scale) -> None:
        self.note_room(scale)
        self.intents.store(self.intent)

    def note_room(self, scale) -> None:
        """Counts to put back: the first count ever, whatever was scaled how often."""
        for artifact, (now, then) in scale.items():
            earlier = self.intent["restore"].get(artifact)
            self.intent["restore"][artifact] = {"from": earlier["from"] if earlier else now, "to": then}
            self.made_room[artifact] = {"from": now, "to": then}

    def go(self, plan: DrainPlan) -> None:
        """Make room, start, follow; once again where it is found stuck, once again where it was called off."""
        scale, made_again = plan.scale, False
        while True:
            if scale:
                self.make_room(scale)
                self.judge_again()
            if scale or self.state() not in (DRAINING, DECOMMISSIONED):
                self.start()
            outcome = self.follow(may_make_room=self.params["make_room"] and not made_again)
            if outcome == "done":
                return
            if outcome == "stuck":
                made_again = True
                seen = layout(self.look.observation, self.look.verdict)
                scale = {a: (seen.targets[a], seen.targets[a] - 1) for a in without_room(what_is_left(seen, self.node))}
                self.say("%s is stuck for want of room: back on duty, make room, drain again" % self.node)
                self.remember(scale)
                self.go_active("it is stuck, and room can be made only while it is on duty")
                continue
            if self.started_again:
                raise AetherError(
                    "called_off",
                    "The drain of %s was called off twice behind our back (a restart of the node does that, a flap of the quorum, or somebody else)."
                    % self.node,
                )
            self.started_again += 1
            self.say("the drain of %s was called off behind our back; it is started again, once" % self.node)
            scale = self.plan_again()

    def judge_again(self) -> None:
        """Making room took its time: does anything speak against it now?"""
        self.look = self.session.look()
        plan = self.plan()
        if plan.refusals:
            raise AetherError(
                "refused",
                "Room was made for the slices of %s, and now the drain is refused: %s" % (self.node, " ".join(r.sentence for r in plan.refusals)),
                refusals=[r.as_data() for r in plan.refusals],
            )

    def plan_again(self) -> Dict[str, Any]:
        """Judge anew what was called off: the cluster may have changed. What is refused in passing may clear up."""
        seen: Dict[str, DrainPlan] = {}

        def poll():
            self.look = self.session.look()
            seen["plan"] = self.plan()
            return not seen["plan"].refusals, " ".join(r.sentence for r in seen["plan"].refusals) or "nothing speaks against it"

        if not self.wait(poll, PATIENCE if self.params["timeout"] is None else self.params["timeout"]).met:
            raise AetherError(
                "refused",
                "The drain of %s was called off, and is refused now: %s" % (self.node, " ".join(r.sentence for r in seen["plan"].refusals)),
                refusals=[r.as_data() for r in seen["plan"].refusals],
            )
        if seen["plan"].scale:
            self.remember(seen["plan"].scale)
        return seen["plan"].scale

    def make_room(self, scale) -> None:
        if self.state() != ON_DUTY:
            self.go_active("room can be made only while it is on duty")
        wanted = {a: counts[1] for a, counts in scale.items()}
        for artifact, (now, then) in sorted(scale.items()):
            self.scale(artifact, then, "room for %s while %s is drained (was %d)" % (artifact, self.node, now))

        def poll():
            self.observe()
            lacks = no_room_yet(self.look.observation, self.look.verdict, self.node, wanted)
            return not lacks, "; ".join(lacks) or "there is room"

        waited = self.wait(poll, ROOM_TIMEOUT)
        if not waited.met:
            raise AetherError(
                "not_drained", "There is no room for the slices of %s %.0f s after scaling down: %s." % (self.node, waited.seconds, waited.last), wanted=wanted
            )

    def follow(self, may_make_room: bool) -> str:
        """``done``, ``called_off`` or ``stuck`` (only where room may be made); raises at the deadline."""
        node, given = self.node, self.params["timeout"]
        timeout = given if given is not None else BASE_TIMEOUT + PER_SLICE * len(instances_on(self.look.observation, node))
        seen = {"outcome": "", "off": 0, "stuck": 0, "draining": False}

        def poll():
            self.observe()
            observation, verdict = self.look.observation, self.look.verdict
            lacks = lacking(observation, verdict, node)
            if not lacks:
                seen["outcome"] = "done"
                return True, "%s is drained" % node
            states = set(states_of(observation, verdict, node).values())
            seen["draining"] = seen["draining"] or bool(states & {DRAINING, DECOMMISSIONED})
            seen["off"] = seen["off"] + 1 if called_off(observation, verdict, node) else 0
            layout_now = layout(observation, verdict)
            left = what_is_left(layout_now, node)
            stuck = without_room(left)
            seen["stuck"] = seen["stuck"] + 1 if stuck else 0
            if seen["off"] >= (OFF_LOOKS if seen["draining"] else NEVER_SEEN_LOOKS):
                seen["outcome"] = "called_off"
            elif may_make_room and seen["stuck"] >= STUCK_LOOKS and all(layout_now.can_give(a) for a in stuck):
                seen["outcome"] = "stuck"
            return bool(seen["outcome"]), _progress(node, states, left, lacks)

        waited = self.wait(poll, timeout)
        if not waited.met and given is None and self.is_in_passing():
            waited = self.wait(poll, PATIENCE)
        if waited.met:
            return seen["outcome"]
        left = what_is_left(layout(self.look.observation, self.look.verdict), node)
        view = self.look.observation.view(node)
        silent = "%s does not answer (%s)" % (node, view.trouble.text.rstrip(".")) if view is not None and view.trouble else ""
        why = "; ".join(([silent] if silent else []) + [e.sentence for e in left]) or waited.last
        raise AetherError(
            "not_drained", "%s is not drained after %.0f s: %s." % (node, self.waited.seconds, why), left=[e.as_data() for e in left], last=waited.last
        )

    def is_in_passing(self) -> bool:
        """Is there no leader, or is the node starting or not listed again yet? Nothing moves meanwhile, and all of it passes."""
        verdict, dialect = self.look.verdict, self.session.dialect
        if dialect.HAS_LEADER and verdict.leader is None or not verdict.members[self.node].ready:
            return True
        return dialect.HAS_LIFECYCLE and None in states_of(self.look.observation, verdict, self.node).values()

    def finish(self) -> None:
        """Nothing to put back and nothing to watch over: nothing to remember."""
        if not self.session.dialect.CAN_ACTIVATE or self.intent["hold"] and not self.intent["restore"]:
            self.intents.drop(self.node)
            self.intent = None
        else:
            self.intent = dict(self.intent, phase="drained")
            self.intents.store(self.intent)

    # --- undo --------------------------------------------------------------------------------------------------------

    def undone(self, error: AetherError) -> AetherError:
        """The same failure, after what was changed has been put back, or with what could not be."""
        try:
            text, done = self.undo(self.intent), self.session.dialect.CAN_ACTIVATE
        except AetherError as second:
            text = "Undoing that failed as well: %s What is left to do is in %s; the next run of aether_drain finishes it." % (
                second.message,
                self.intents.path(self.node),
            )
            done = False
        data = dict(error.data, undone=done, node=self.node, result=self.result(""))
        return AetherError(error.kind, "%s %s" % (error.message, text), **data)

    def undo(self, intent: Dict[str, Any]) -> str:
        """Node on duty, counts as they were, intent gone; says so. Raises AetherError when that cannot be had."""
        node, session = intent["node"], self.session
        if not session.check_mode:
            self.observe()
        if not session.dialect.CAN_ACTIVATE:
            if not session.check_mode:
                self.forget(node)
            return "The API '%s' cannot call a drain off: %s takes slices again after a restart." % (session.dialect.NAME, node)
        self.find_witness(node)
        known = states_of(self.look.observation, self.look.verdict, node)
        if not self.is_voter(node):
            return self.close(intent)
        if set(known.values()) & {DRAINING, DECOMMISSIONED}:
            self.go_active("its drain is undone", node)
            text = "%s is back on duty" % node
        elif set(known.values()) == {None}:
            text = "%s is no member now and will be on duty by itself when it is started" % node
            if intent["restore"] and not session.check_mode:
                self.let_start(node)
        else:
            text = "%s is on duty" % node
        counts = self.put_back(intent)
        if session.check_mode:
            return "%s would be put back on duty%s." % (node, ", " + counts if counts else "")
        self.forget(node)
        return text + (", " + counts if counts else "") + "."

    def find_witness(self, node: str) -> None:
        """Somebody other than the node must be there to put it back through; a lost quorum may return."""

        def others():
            return [i for i in witnesses(self.look.observation, self.look.verdict) if i != node]

        def poll():
            self.observe()
            return bool(others()), "no other member with state and a quorum answers"

        if not others() and (self.session.check_mode or not self.wait(poll, PATIENCE).met):
            raise AetherError("not_active", "No member with state and a quorum answers through which %s could be put back on duty." % node)

    def let_start(self, node: str) -> None:
        """A node that answers and is no member may be starting: a write meanwhile would cost it its state (docs/product.md 2)."""

        def poll():
            self.observe()
            view = self.look.observation.view(node)
            starting = view is not None and view.answers and None in states_of(self.look.observation, self.look.verdict, node).values()
            return not starting, "%s is starting" % node if starting else "nobody is starting"

        self.wait(poll, PATIENCE)

    def forget(self, node: str) -> None:
        self.intents.drop(node)
        if self.intent and self.intent["node"] == node:
            self.intent = None

    def put_back(self, intent: Dict[str, Any]) -> str:
        """Scale what was scaled down for room; what somebody else has changed since stays. Returns words, or an empty string."""
        said, wanted = [], {}
        seen = layout(self.look.observation, self.look.verdict)
        for artifact, counts in sorted(intent["restore"].items()):
            now = seen.targets.get(artifact)
            if now is None:
                said.append("%s is gone" % artifact)
            elif now == counts["to"]:
                self.scale(artifact, counts["from"], "as it was before %s was drained (now %d)" % (intent["node"], now))
                wanted[artifact] = counts["from"]
                said.append("%s wanted %d times again" % (artifact, counts["from"]))
            elif now != counts["from"]:
                said.append("%s left at %d, which somebody else has set since" % (artifact, now))
        if wanted and not self.session.check_mode:

            def poll():
                self.observe()
                views = [self.look.observation.view(i) for i in witnesses(self.look.observation, self.look.verdict)]
                late = sorted({"%s shows %s of %s" % (v.id, v.targets.get(a), a) for v in views for a, count in wanted.items() if v.targets.get(a) != count})
                return bool(views) and not late, "; ".join(late) or "counts are back"

            waited = self.wait(poll, ACTIVE_TIMEOUT)
            if not waited.met:
                raise AetherError("not_active", "the counts are not back after %.0f s: %s." % (waited.seconds, waited.last), wanted=wanted)
        return ", ".join(said)

    # --- what an earlier run left ------------------------------------------------------------------------------------

    def settle_others(self) -> None:
        for intent in self.intents.all():
            if intent["node"] != self.node:
                self.settle(intent)
        if self.abandoned and self.node and not self.session.check_mode:
            self.let_settle(sorted(layout(self.look.observation, self.look.verdict).targets))

    def settle(self, intent: Dict[str, Any]) -> None:
        """Finish or undo what was abandoned, and leave alone what is meant to last."""
        node, check = intent["node"], self.session.check_mode
        with nullcontext() if check else self.intents.locked(node):
            if intent["phase"] == "drained":
                states = set(states_of(self.look.observation, self.look.verdict, node).values())
                member = self.is_voter(node)
                if member and (states & {DRAINING, DECOMMISSIONED} and intent.get("hold", True) or states == {None}):
                    return
                head = (
                    "%s was drained before (since %s)" % (node, intent["since"])
                    if states == {ON_DUTY} or not member
                    else "An earlier run was interrupted after it had drained %s (since %s)" % (node, intent["since"])
                )
            else:
                head = "An earlier run was interrupted while it drained %s (since %s)" % (node, intent["since"])
            try:
                done = self.undo(intent)
            except AetherError as error:
                raise AetherError(error.kind, "%s, and that cannot be undone now: %s" % (head, error.message), **error.data)
            if check:
                self.look = Look(assume_active(self.look.observation, intent))
            self.abandoned.append("%s. %s" % (head, done))
            self.say(self.abandoned[-1])

    def close(self, intent: Dict[str, Any]) -> str:
        """The node is no voter any more: the counts come back as far as there are nodes for them."""
        seen = layout(self.look.observation, self.look.verdict)
        fits = {a: c for a, c in intent["restore"].items() if c["from"] <= len(seen.on_duty)}
        stays = sorted(set(intent["restore"]) - set(fits))
        words = self.put_back(dict(intent, restore=fits))
        if not self.session.check_mode:
            self.forget(intent["node"])
        more = "; ".join(([words] if words else []) + ["%s stays at %d, there is no node for more" % (a, intent["restore"][a]["to"]) for a in stays])
        return "%s is no voter any more%s." % (intent["node"], ": " + more if more else "")

    def settled(self) -> Dict[str, Any]:
        """Only what earlier runs left; nothing of its own."""
        if not self.intents.all():
            self.look = Look(self.session.observe())
            return self.result("No earlier drain left anything to finish or undo.")
        self.look = self.session.look()
        self.node = None
        self.settle_others()
        return self.result("" if self.abandoned else "No earlier drain left anything to finish or undo.")

    # --- active ------------------------------------------------------------------------------------------------------

    def active(self) -> Dict[str, Any]:
        node, session = self.node, self.session
        if not session.dialect.CAN_ACTIVATE:
            raise AetherError("cannot", "The API '%s' cannot put a node back on duty: restart %s, it is on duty then by itself." % (session.dialect.NAME, node))
        self.look = session.look()
        self.settle_others()
        own = self.intent = self.intents.get(node)
        self.before = self.picture()
        if own and own["phase"] == "draining":
            self.abandoned.append("An earlier run was interrupted while it drained %s (since %s)." % (node, own["since"]))
        known = states_of(self.look.observation, self.look.verdict, node)
        on_duty = bool(known) and set(known.values()) == {ON_DUTY}
        if not on_duty:
            self.go_active("wanted on duty")
        words = self.put_back(own) if own else ""
        if own and not session.check_mode:
            self.forget(node)
            self.settle_slices(sorted(own["restore"]))
        if session.check_mode:
            text = "%s %s on duty%s." % (node, "is" if on_duty else "would be put back", ", " + words if words else "")
        else:
            text = "%s is on duty%s%s." % (node, " already" if on_duty else " again", ", " + words if words else "")
        return self.result(text, predicted=session.check_mode)

    def settle_slices(self, artifacts: List[str]) -> None:
        if not artifacts:
            return

        def poll():
            self.observe()
            late = unsettled(self.look.observation, self.look.verdict, artifacts)
            return not late, " ".join(late) or "all are active"

        waited = self.wait(poll, self.params["timeout"] if self.params["timeout"] is not None else ACTIVE_TIMEOUT)
        if not waited.met:
            raise AetherError(
                "not_settled", "%s is on duty and the counts are back, but after %.0f s: %s" % (self.node, waited.seconds, waited.last), node=self.node
            )

    def go_active(self, why: str, node: Optional[str] = None) -> None:
        """Activate, and wait until every member with state says that it is on duty."""
        node = node or self.node
        known = states_of(self.look.observation, self.look.verdict, node)
        if not known or set(known.values()) == {None}:
            view = self.look.observation.view(node)
            trouble = view.trouble.text if view is not None and view.trouble else "the others do not list it"
            raise AetherError("not_active", "%s is no member, so it cannot be put on duty: %s" % (node, trouble), node=node)
        if set(known.values()) & {DRAINING, DECOMMISSIONED}:
            self.activate(why, node)
        if self.session.check_mode:
            return

        def poll():
            self.observe()
            states = states_of(self.look.observation, self.look.verdict, node)
            late = ["%s says %s" % (i, s or "nothing") for i, s in sorted(states.items()) if s != ON_DUTY]
            return bool(states) and not late, (
                "%s is not on duty in every view: %s" % (node, ", ".join(late) or "nobody can tell") if late or not states else "%s is on duty" % node
            )

        given = self.params["timeout"] if self.params["state"] == "active" else None  # undoing takes the time it takes
        waited = self.wait(poll, ACTIVE_TIMEOUT if given is None else given)
        if not waited.met:
            raise AetherError("not_active", "After %.0f s %s." % (waited.seconds, waited.last), node=node)

    # --- writes --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        node, own = self.node, not self.session.dialect.HAS_IDS
        count = len(instances_on(self.look.observation, node))

        def took_effect():
            self.observe()
            if own:
                return len(instances_on(self.look.observation, node)) < count
            return bool(set(states_of(self.look.observation, self.look.verdict, node).values()) & {DRAINING, DECOMMISSIONED})

        self.write(self.session.dialect.drain(node), "%s is to be drained" % node, took_effect, only=node if own else None)

    def activate(self, why: str, node: Optional[str] = None) -> None:
        node = node or self.node

        def took_effect():
            self.observe()
            return not set(states_of(self.look.observation, self.look.verdict, node).values()) & {DRAINING, DECOMMISSIONED}

        self.write(self.session.dialect.activate(node), "%s is to be on duty: %s" % (node, why), took_effect)

    def scale(self, artifact: str, instances: int, why: str) -> None:
        def took_effect():
            self.observe()
            seen = layout(self.look.observation, self.look.verdict)
            return seen is not None and seen.targets.get(artifact) == instances

        self.write(self.session.dialect.scale(artifact, instances), why, took_effect)

    def write(self, request, why: str, took_effect, only: Optional[str] = None) -> None:
        """Through the leader, else another member with state; a member that cannot take it is passed over once."""
        method, path, body = request
        tried: List[str] = []
        while True:
            through = only or self.through(tried)
            self.session.actions.append({"method": method, "path": path, "node": through, "why": why, "sent": not self.session.check_mode})
            if self.session.check_mode:
                return
            try:
                answer = self.session.client.write(endpoint_of(self.session, self.look, through), method, path, body, took_effect)
            except EndpointTrouble as error:
                tried.append(through)
                if not _decided(error.trouble) and not only and len(tried) < 2:
                    self.observe()
                    if took_effect():
                        return
                    continue
                raise AetherError(
                    "write_failed", "%s %s on %s did not take effect: %s" % (method, path, through, error.trouble.text), method=method, path=path, node=through
                )
            refusal = self.session.dialect.said_no(answer)
            if refusal and not took_effect():
                raise AetherError("write_failed", "%s refuses %s %s: %s" % (through, method, path, refusal), method=method, path=path, node=through)
            return

    def through(self, tried: List[str]) -> str:
        """The leader first; the node itself, which may be about to go, last."""
        found = [i for i in witnesses(self.look.observation, self.look.verdict) if i not in tried]
        if not found:
            raise AetherError("write_failed", "No member with state and a quorum answers that could be written to.")
        return sorted(found, key=lambda i: i == self.node)[0]

    # --- looking, waiting, telling ---------------------------------------------------------------------------------------

    def observe(self) -> None:
        self.look = Look(self.session.observe())

    def wait(self, poll, timeout: float) -> Waited:
        waited = self.session.wait(poll, timeout, longest_pause=SOON)
        self.waited.seconds, self.waited.polls, self.waited.last = self.waited.seconds + waited.seconds, self.waited.polls + waited.polls, waited.last
        return waited

    def say(self, line: str) -> None:
        if self.session.progress is not None:
            self.session.progress(line)

    def is_voter(self, node: str) -> bool:
        """By the inventory; without one everybody may be."""
        return not self.session.voters or node in self.session.voters

    def state(self, node: Optional[str] = None) -> Optional[str]:
        """The lifecycle state by the best witness."""
        return next(iter(states_of(self.look.observation, self.look.verdict, node or self.node).values()), None)

    def picture(self, predicted: Optional[str] = None) -> str:
        """For the diff: the node's state, what is on it, and what is wanted of the slices concerned."""
        seen = layout(self.look.observation, self.look.verdict)
        if self.node is None or seen is None:
            return ""
        here = seen.on(self.node) if predicted in (None, ON_DUTY) else []
        lines = ["%s: %s" % (self.node, predicted or self.state() or "member")]
        lines.append("slices on %s: %s" % (self.node, ", ".join(here) or "none"))
        targets = dict(seen.targets)
        if predicted == DECOMMISSIONED:
            targets.update({a: room["to"] for a, room in self.made_room.items()})
        if predicted == ON_DUTY and self.intent:
            targets.update({a: c["from"] for a, c in self.intent["restore"].items() if targets.get(a) == c["to"]})
        lines.extend("%s: %d wanted" % (a, count) for a, count in sorted(targets.items()))
        return "\n".join(lines) + "\n"

    def result(self, text: str, predicted: bool = False) -> Dict[str, Any]:
        node = self.node
        wanted = {"drained": DECOMMISSIONED if self.session.dialect.HAS_LIFECYCLE else "drained", "active": ON_DUTY}.get(self.params["state"])
        left = what_is_left(layout(self.look.observation, self.look.verdict), node) if node else []
        return common_result(
            self.session, self.look, self.waited,
            msg=" ".join(self.abandoned + ([text] if text else [])),
            drain={
                "node": node,
                "state": self.state() if node else None,
                "left": [e.as_data() for e in left],
                "made_room": self.made_room,
                "restore": dict(self.intent["restore"]) if self.intent else {},
                "started_again": self.started_again,
            },
            abandoned=list(self.abandoned),
            intent=self.intent,
            diff={"before": self.before, "after": self.picture(wanted if predicted else None)},
        )


def assume_active(observation: Observation, intent: Dict[str, Any]) -> Observation:
    """Check mode: what would be seen if the node were on duty again with its counts, each slice back on it."""
    node, views = intent["node"], []
    for view in observation.views:
        back = {a: c["from"] for a, c in intent["restore"].items() if view.targets.get(a) == c["to"]}
        lifecycle = {i: ON_DUTY if i == node else s for i, s in view.lifecycle.items()}
        views.append(
            replace(view, lifecycle=lifecycle, targets=dict(view.targets, **back), instances=view.instances + tuple(Instance(a, node, ACTIVE) for a in back))
        )
    return replace(observation, views=tuple(views))


def _decided(trouble) -> bool:
    """Has a member answered that it will not do it (4xx), so that asking another would be going behind its back?"""
    return trouble.kind in ("unauthorized", "not_aether") or re.search(r" with 4\d\d: ", trouble.text) is not None


def _progress(node, states, left, lacks) -> str:
    """One line: how many slices are left, which moves where."""
    known = "/".join(sorted(s for s in states if s))
    head = "%s is %s" % (node, known) if known else node
    if not left:
        return "no slice left; %s" % "; ".join(lacks)
    return "%s, %d slice%s left: %s" % (head, len(left), "" if len(left) == 1 else "s", "; ".join(e.sentence for e in left))
