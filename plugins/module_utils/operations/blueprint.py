# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scale a slice, apply a blueprint or take one away: say what changes, change it, and wait until every member shows it.

"Applied" is an answer long before it is true, and sometimes never becomes true; an error may have been applied (docs/product.md 6).
So: decide on one observation; send only what differs; follow it in every view; recognise what was not taken, and take it back.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional
from urllib.parse import urlsplit

from .. import slices
from ..client import EndpointTrouble
from ..model import ACTIVE, AetherError
from ..placement import layout, witnesses
from ..slices import ALLOWABLE, Blueprint, Document, Plan, Slice
from ..waiting import SOON, Waited
from .session import Look, Session, common_result
from .through import able, endpoint_of, key_refusals, write_through

SLICE_SPEC = dict(
    artifact=dict(type="str", required=True),
    instances=dict(type="int", default=1),
    min_available=dict(type="int", aliases=["minAvailable"]),
)
ARGUMENT_SPEC = dict(
    artifact=dict(type="str"),
    instances=dict(type="int"),
    id=dict(type="str"),
    slices=dict(type="list", elements="dict", options=SLICE_SPEC),
    src=dict(type="path"),
    content=dict(type="str"),
    state=dict(type="str", choices=["present", "absent"], default="present"),
    validate_only=dict(type="bool", default=False),
    prune=dict(type="bool", default=False),
    allow_downtime=dict(type="bool", default=False),
    allow_swap=dict(type="bool", default=False),
    allow_unplaceable=dict(type="bool", default=False),
    allow_starting=dict(type="bool", default=False),
    rollback_on_failure=dict(type="bool", default=False),
    timeout=dict(type="float", default=60.0),
    stable_for=dict(type="float", default=1.0),
    cli=dict(type="str", default="aether-cli"),
)

# Seconds after which a count that no member shows was not taken: those that were taken showed within 1.4 s.
NOT_TAKEN_AFTER = 10.0
# Seconds that a member may be late with the news until it counts as without state.
LAGGING = 5.0
# Looks in a row that must show the same before it is believed: a state in passing is not one that lasts.
FAILED_LOOKS = 3
OVERRULED_LOOKS = 3
CLI_TIMEOUT = 30.0
# Seconds in which an error of the program's must show as applied after all.
SHOWS_AFTER = 3.0
TAKE_BACK_TIMEOUT = 30.0


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Raises AetherError: ``bad_input``, ``refused``, ``rejected``, ``failed``, ``not_settled``, ``overruled``, ``write_failed``, ``nobody``, ``cannot``."""
    request = Request(params)
    work = Work(params, session, request)
    try:
        return work.run()
    except AetherError as error:
        if work.look is not None:
            error.data.setdefault("result", work.result(""))
        raise


class Request:
    """What the task asks for, read and checked before anybody is asked: a count, a blueprint, or the id of one."""

    def __init__(self, params: Dict[str, Any]):
        self.artifact, self.instances, self.id = params["artifact"], params["instances"], params["id"]
        self.blueprint: Optional[Blueprint] = None
        self.remarks: List[str] = []
        given = [n for n in ("src", "content", "slices") if params[n] is not None]
        found = self._combinations(params, given)
        if not found:
            found = self._read(params, given)
        if found:
            raise AetherError("bad_input", "The task is refused, nothing was sent: %s" % " ".join(found), findings=found)

    def _combinations(self, params, given) -> List[str]:
        found, absent = [], params["state"] == "absent"
        if self.artifact is not None and (given or self.id is not None):
            found.append("'artifact' scales one slice, '%s' is a whole blueprint: give one of them." % (given + ["id"])[0])
        if len(given) > 1:
            found.append("'%s' are several ways to give one blueprint: give one of them." % "' and '".join(given))
        if self.id is not None and given in (["src"], ["content"]):
            found.append("'id' goes with 'slices'; the blueprint in '%s' has its own." % given[0])
        if self.artifact is None and not given and (self.id is None or not absent):
            found.append("Nothing is asked for: give 'artifact' and 'instances', or a blueprint as 'src', 'content', or 'id' and 'slices'.")
        if params["slices"] is not None and self.id is None:
            found.append("'slices' needs the blueprint's 'id', group:artifact:version.")
        if self.artifact is not None and absent:
            found.append("A single slice cannot be taken away: with state: absent give the 'id' of its blueprint, or apply the blueprint without it.")
        elif (self.artifact is None) != (self.instances is None):
            found.append("'artifact' and 'instances' go together.")
        return found

    def _read(self, params, given) -> List[str]:
        if self.artifact is not None:
            return slices.coordinate_findings(self.artifact, "artifact") + slices.count_findings(self.instances, "instances")
        if not given:
            return slices.coordinate_findings(self.id, "id")
        if params["slices"] is not None:
            entries = [
                {k: v for k, v in (("artifact", e["artifact"]), ("instances", e["instances"]), ("minAvailable", e["min_available"])) if v is not None}
                for e in params["slices"]
            ]
            self.blueprint, found = slices.from_data(self.id, entries)
        else:
            self.blueprint, found, self.remarks = slices.from_toml(_text(params))
        if self.blueprint is not None:
            self.id = self.blueprint.id
        return found


def _text(params) -> str:
    if params["content"] is not None:
        return params["content"]
    try:
        with open(params["src"], encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise AetherError(
            "bad_input", "The blueprint '%s' cannot be read where the task runs (%s)." % (params["src"], getattr(error, "strerror", None) or error)
        )


class Work:
    """One run: what was seen last, what it is to become, and what was there before."""

    def __init__(self, params: Dict[str, Any], session: Session, request: Request):
        self.params, self.session, self.request = params, session, request
        self.allowed = [code for code, option in ALLOWABLE.items() if params[option]]
        self.look: Optional[Look] = None
        self.documents: List[Document] = []
        self.plan = Plan()
        self.waited = Waited()
        self.true_after: Optional[float] = None
        self.remarks: List[str] = list(request.remarks)
        self.before: Dict[str, Any] = {}
        self.baseline: List[str] = []
        self.rolled_back: Optional[bool] = None
        self.said = ""

    def run(self) -> Dict[str, Any]:
        dialect, request = self.session.dialect, self.request
        if request.artifact is None and not dialect.CAN_APPLY:
            raise AetherError("cannot", "The API '%s' takes no whole blueprints: scale slice by slice, with 'artifact' and 'instances'." % dialect.NAME)
        if self.params["validate_only"]:
            return self.validated()
        self.look = self.session.look()
        self.baseline = list(witnesses(self.look.observation, self.look.verdict))
        self.read_documents()
        self.decide()
        self.before = self.picture()
        self.refuse()
        if self.session.check_mode:
            self.send()
            return self.result(self.summary("would be "), predicted=True)
        if not self.plan.changes and not slices.lacking(self.look.observation, self.look.verdict, self.plan):
            return self.result(
                "Nothing differs: %s." % (slices.progress(self.look.observation, self.look.verdict, self.plan) or "%s is not there" % request.id)
            )
        previous = self.previous()
        try:
            self.send()
            self.follow()
        except AetherError as error:
            raise self.taken_back(error, previous)
        return self.result(self.summary("") if self.plan.changes else "Nothing differs, and what was on its way is there: %s." % self.now())

    # --- before ------------------------------------------------------------------------------------------------------------

    def validated(self) -> Dict[str, Any]:
        """Only the rules, here and at a member where it has some; nothing is compared."""
        errors: List[str] = []
        if self.request.blueprint is not None:
            self.look = Look(self.session.observe())
            errors = self.ask_member()
        if errors:
            raise AetherError("bad_input", "The member refuses the blueprint: %s" % " ".join(errors), findings=errors)
        return self.result("%s is valid." % (self.request.artifact or self.request.id))

    def ask_member(self) -> List[str]:
        """What a member itself has against the blueprint."""
        try:
            errors, warnings = self.session.dialect.validate(self.session.client, self.best(), self.request.blueprint.text)
        except EndpointTrouble as error:
            raise AetherError("nobody", "The blueprint could not be validated: %s" % error.trouble.text)
        self.remarks.extend(warnings)
        return errors

    def read_documents(self) -> None:
        """The blueprints as the best witness keeps them; whose a slice is can be told by nothing else."""
        if not self.session.dialect.CAN_APPLY:
            return
        member, kept = self.best(), []
        for identity in self.look.observation.view(self.best_id()).blueprints:
            try:
                found = self.session.dialect.blueprint(self.session.client, member, identity)
            except EndpointTrouble as error:
                raise AetherError("nobody", "The blueprint %s could not be read: %s" % (identity, error.trouble.text))
            if found is not None:  # else it was deleted since it was listed
                entries = [e for e in found.get("slices") or [] if isinstance(e, dict) and e.get("artifact")]
                own = {e["artifact"]: int(e.get("instances") or 0) for e in entries if not e.get("isDependency")}
                kept.append(Document(identity, own, frozenset(e["artifact"] for e in entries if e.get("isDependency"))))
        self.documents = kept

    def decide(self) -> None:
        request, seen = self.request, layout(self.look.observation, self.look.verdict)
        if seen is None:
            able(self.look)  # says why nobody can tell
        if request.artifact is not None:
            self.plan = slices.plan_scale(seen, self.documents, request.artifact, request.instances, self.allowed)
        elif self.params["state"] == "absent":
            self.plan = slices.plan_delete(seen, self.documents, request.id)
        else:
            self.plan = slices.plan_apply(seen, self.documents, request.blueprint, self.allowed)
        self.remarks.extend(self.plan.remarks)

    def refuse(self) -> None:
        """All that speaks against it, at once; nothing does where nothing differs."""
        plan = self.plan
        if plan.changes:
            slices.cluster_refusals(plan, self.look.observation, self.look.verdict, self.allowed)
            # docs/product.md 7: scaling takes another role than whole blueprints.
            for refusal in key_refusals("OPERATOR" if plan.step == "scale" else "ADMIN", self.session, self.look):
                plan.refuse(refusal.code, refusal.sentence)
        if plan.step in ("apply", "replace"):
            self.look_for_artifacts()
            for sentence in self.ask_member():
                plan.refuse("invalid", "The member refuses the blueprint: %s" % sentence)
        if plan.refusals:
            text = " ".join("%s%s" % (r.sentence, " (%s)" % r.option if r.option else "") for r in plan.refusals)
            raise AetherError("refused", "Refused, nothing was touched: %s" % text, refusals=[r.as_data() for r in plan.refusals])

    def look_for_artifacts(self) -> None:
        """An artifact that the cluster's repository lacks is refused where there is no other place; a place on the nodes' disks shows only when it is tried."""
        dialect, client, member = self.session.dialect, self.session.client, self.best()
        new = [s.artifact for s in self.request.blueprint.slices if s.artifact not in self.look.observation.view(self.best_id()).targets]
        if not new:
            return
        try:
            places = dialect.repositories(client, member)
            asked = places == ["builtin"] or self.session.check_mode
            missing = [a for a in new if dialect.stored(client, member, a) is None] if asked else []
        except EndpointTrouble:
            return  # the answer to the write tells
        for artifact in missing:
            if places != ["builtin"]:
                self.remarks.append(
                    "%s is not in the cluster's repository; whether the nodes find it elsewhere shows only when the blueprint is applied." % artifact
                )
                continue
            self.plan.refuse("artifact", "%s is not in the cluster's repository: put it there with aether_artifact first." % artifact)

    # --- changing ----------------------------------------------------------------------------------------------------------

    def send(self) -> None:
        """The writes of the plan, in check mode only noted."""
        step, request, dialect = self.plan.step, self.request, self.session.dialect
        if step == "scale" and dialect.COMMANDS:
            self.command(request.artifact, request.instances)
        elif step == "scale":
            self.scale(request.artifact, request.instances)
        elif step == "delete":
            self.delete(request.id, "it is to be gone")
        elif step == "replace":
            self.delete(request.id, "only so %s goes; it is applied again" % ", ".join(self.plan.gone))
            if not self.session.check_mode:
                self.wait_for(Plan(gone=sorted(set(self.plan.before) | set(self.plan.gone))), "gone")
                self.plan.before = {a: 0 for a in self.plan.before}
            self.apply(request.blueprint)
        elif step == "apply":
            self.apply(request.blueprint)

    def scale(self, artifact: str, instances: int) -> None:
        self.write(
            self.session.dialect.scale(artifact, instances),
            "%s is to have %d instances" % (artifact, instances),
            lambda: slices.shown_targets(*self.seen(), artifact) == {instances},
        )

    def apply(self, blueprint: Blueprint) -> None:
        wanted = {s.artifact: s.instances for s in blueprint.slices}
        before = self.kept(blueprint.id)

        def took_effect():
            observation, verdict = self.seen()
            views = [observation.view(i) for i in witnesses(observation, verdict)]
            if not views or not all(blueprint.id in v.blueprints for v in views):
                return False
            self.refresh_documents()
            if self.kept(blueprint.id) != wanted or before != wanted:
                # What is kept tells that it arrived; whether it is taken shows while it is followed.
                return self.kept(blueprint.id) == wanted
            return all((v.targets.get(s.artifact), v.minimums.get(s.artifact)) == (s.instances, s.minimum) for s in blueprint.slices for v in views)

        self.write(self.session.dialect.apply(blueprint.text), "; ".join(self.plan.changes) or "as it was", took_effect)

    def kept(self, identity: str) -> Optional[Dict[str, int]]:
        """artifact -> instances of a blueprint as it was read last, None when there was none."""
        return next((dict(d.slices) for d in self.documents if d.id == identity), None)

    def delete(self, identity: str, why: str) -> None:
        def took_effect():
            observation, verdict = self.seen()
            who = witnesses(observation, verdict)
            return bool(who) and not any(identity in observation.view(i).blueprints for i in who)

        self.write(self.session.dialect.delete(identity), "%s: %s" % (identity, why), took_effect)

    def write(self, request, why: str, took_effect: Callable[[], bool]) -> None:
        write_through(self.session, lambda: self.look, request, why, took_effect)

    def command(self, artifact: str, instances: int) -> None:
        """By the runbook's program, without a shell. Its exit code says little, so what the members show decides."""
        member, before = self.best_id(), slices.spread(self.look.observation, self.look.verdict)[1].get(artifact, {})
        line = self.session.dialect.update(artifact, instances)
        words = [self.params["cli"], "--host", urlsplit(self.best().url).netloc, "-c", line]
        self.session.actions.append(
            {"method": "CLI", "path": line, "node": member, "why": "%s is to have %d instances" % (artifact, instances), "sent": not self.session.check_mode}
        )
        if self.session.check_mode:
            return
        try:
            # Not AnsibleModule.run_command: in Ansible's own process there is no AnsibleModule, and that one has no limit of time.
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CLI_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            self.said = "it did not end within %.0f s" % CLI_TIMEOUT
            return
        except OSError as error:
            raise AetherError(
                "cannot",
                "The program '%s' cannot be started where the task runs (%s): install it there, or name it with the option 'cli'."
                % (self.params["cli"], error.strerror),
            )
        text = " ".join(done.stdout.decode("utf-8", "replace").split())[-300:]
        self.said = text or "nothing"
        if done.returncode or text.lower().startswith("error"):
            def changed():
                now = slices.spread(*self.seen())[1].get(artifact, {})
                progress = slices.progress(self.look.observation, self.look.verdict, self.plan)
                return bool(witnesses(self.look.observation, self.look.verdict)) and now != before, progress

            # Never sent again: an error may have been applied, and that shows only after a moment.
            if not self.session.wait(changed, SHOWS_AFTER, longest_pause=SOON).met:
                raise AetherError("write_failed", "%s says (exit code %d): %s" % (" ".join(words), done.returncode, self.said), node=member)

    # --- following ---------------------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Until the plan is true in every view with state; raises when it fails, is not taken, is overruled, or is late."""
        watch = Watch(self)
        try:
            self.wait_for(self.plan, "true", watch)
        except AetherError as error:
            artifact = error.data.get("artifact")
            if error.kind == "overruled" and not watch.ours.get(artifact) and artifact in self.rivals():
                raise rejected([artifact], "the blueprint %s has it since" % self.rivals()[artifact])
            raise
        for artifact, other in sorted(self.rivals().items()):
            text = (
                "%s has %d instances, and since this began it is in the blueprint %s as well: the cluster takes it from one of them, and nothing tells which."
                " Take it out of the other." % (artifact, self.plan.wanted[artifact], other)
            )
            raise AetherError("overruled", text, artifact=artifact, wanted=self.plan.wanted[artifact], shown=self.plan.wanted[artifact])

    def rivals(self) -> Dict[str, str]:
        """Slices of the blueprint that was applied -> another blueprint that has them too; there was none before."""
        if self.plan.step not in ("apply", "replace"):
            return {}
        self.refresh_documents()
        owners = {slices.base(a): d.id for d in self.documents if d.id != self.request.id for a in d.slices}
        return {a: owners[slices.base(a)] for a in self.plan.targets if slices.base(a) in owners}

    def wait_for(self, plan: Plan, what: str, watch=None, timeout: Optional[float] = None) -> None:
        since = {"late": None}
        timeout = self.params["timeout"] if timeout is None else timeout
        start, self.true_after = time.monotonic(), None

        def poll():
            self.seen()
            observation, verdict = self.look.observation, self.look.verdict
            lacks = slices.lacking(observation, verdict, plan)
            if watch is not None:
                watch.check(plan, lacks)
            if not lacks:
                late = slices.laggards(observation, verdict, self.baseline)
                since["late"] = (since["late"] or time.monotonic()) if late else None
                if late and time.monotonic() - since["late"] < LAGGING:
                    lacks = ["%s has not caught up" % ", ".join(late)]
                since["names"] = late
            if lacks:
                self.true_after = None
            elif self.true_after is None:
                self.true_after = time.monotonic() - start
            best = witnesses(observation, verdict)[:1]
            elsewhere = lacks if not any(s.endswith("view of %s" % i) for s in lacks for i in best) else []
            return not lacks, slices.progress(observation, verdict, plan) + ("; %s" % elsewhere[0] if elsewhere and best else "")

        waited = self.session.wait(poll, timeout, stable_for=self.params["stable_for"], longest_pause=SOON)
        if not waited.met and watch is not None and watch.waiting_since is not None and plan.step in ("apply", "replace"):
            # A rejected blueprint must not stay, for it comes alive at the next change of leader; that it was rejected shows only after a while.
            more = self.session.wait(poll, NOT_TAKEN_AFTER, stable_for=self.params["stable_for"], longest_pause=SOON)
            waited = Waited(more.met, waited.seconds + more.seconds, waited.polls + more.polls, more.last)
        self.waited = Waited(waited.met, self.waited.seconds + waited.seconds, self.waited.polls + waited.polls, waited.last)
        if since.get("names"):
            self.remarks.append("%s has lost its state meanwhile and shows nothing of this: stop it and start it again." % ", ".join(since["names"]))
        if not waited.met:
            self.overruled_by_more(plan)
            left = slices.stuck(self.look.observation, self.look.verdict, plan)
            said = " The program said: %s." % self.said.rstrip(".") if self.said else ""
            if plan.gone and not plan.wanted:
                said = " A slice that the autoscaler has changed stays when its blueprint is deleted: apply the blueprint once more, then delete it."
            raise AetherError(
                "not_settled", "Not %s after %.0f s: %s.%s" % (what, waited.seconds, "; ".join(left) or waited.last, said), left=left, last=waited.last
            )

    def overruled_by_more(self, plan: Plan) -> None:
        """At the deadline, where no counts are shown: more than there were and more than ours, all active, is what somebody else wants."""
        seen = layout(self.look.observation, self.look.verdict)
        for artifact, wanted in sorted(plan.wanted.items()) if seen and not plan.targets else ():
            states = [i.state for i in seen.hosts.get(artifact, {}).values()]
            if len(states) > max(wanted, self.plan.before.get(artifact, 0)) and set(states) == {ACTIVE}:
                raise overruled(artifact, wanted, len(states))

    def seen(self):
        """A new look: (observation, verdict)."""
        self.look = Look(self.session.observe())
        return self.look.observation, self.look.verdict

    # --- back ----------------------------------------------------------------------------------------------------------------

    def previous(self) -> Dict[str, Any]:
        """What it takes to put back what is there now: the blueprint and its counts, or the slice's count."""
        targets = self.look.observation.view(self.best_id()).targets
        minimums = self.look.observation.view(self.best_id()).minimums
        own = next((d for d in self.documents if d.id == self.request.id), None)
        kept = None
        if own is not None and own.slices:
            entries = tuple(Slice(a, c, max(1, min(c, minimums.get(a, 1)))) for a, c in sorted(own.slices.items()))
            kept = Blueprint(own.id, entries)
            kept = replace(kept, text=slices.to_toml(kept))
        names = list(self.plan.before if self.request.artifact else own.slices if own else ())
        return {"blueprint": kept, "counts": {a: targets.get(a, self.plan.before.get(a, 0)) for a in names}}

    def taken_back(self, error: AetherError, previous: Dict[str, Any]) -> AetherError:
        """The same failure, after what must not stay has been taken back: what was not taken always, else where it is wanted."""
        half_replaced = self.plan.step == "replace" and any(a["method"] == "DELETE" for a in self.session.actions)
        must = error.kind == "rejected" or half_replaced and error.kind != "overruled"
        if not self.plan.changes or not (must or self.params["rollback_on_failure"] and error.kind in ("failed", "not_settled", "write_failed")):
            return error
        try:
            text = self.put_back(previous)
            self.rolled_back = True
        except AetherError as second:
            text = "Going back failed as well: %s" % second.message
            self.rolled_back = False
        data = dict(error.data, rolled_back=self.rolled_back, result=self.result(""))
        return AetherError(error.kind, "%s %s" % (error.message, text), **data)

    def put_back(self, previous: Dict[str, Any]) -> str:
        self.seen()
        request, counts, blueprint = self.request, dict(previous["counts"]), previous["blueprint"]
        back = Plan(wanted=counts, targets={} if self.session.dialect.COMMANDS else counts)
        names = {slices.base(a) for a in counts}
        added = [a for a in self.there(self.plan.targets) if slices.base(a) not in names and not self.plan.before.get(a)]
        if request.artifact is not None:
            if self.session.dialect.COMMANDS:
                old = [(a, c) for a, c in sorted(counts.items()) if c]
                if not old:
                    raise AetherError("cannot", "%s did not run before, and this API cannot take it away." % request.artifact)
                self.command(*old[0])
            elif slices.shown_targets(self.look.observation, self.look.verdict, request.artifact) != {counts[request.artifact]}:
                self.scale(request.artifact, counts[request.artifact])
        elif blueprint is None:
            self.delete(request.id, "it is taken back")
            self.refresh_documents()
            theirs = {a for d in self.documents if d.id != request.id for a in d.slices}
            back = Plan(gone=sorted(s.artifact for s in request.blueprint.slices if s.artifact not in theirs and not self.plan.before.get(s.artifact)))
        else:
            if added and self.params["allow_downtime"]:
                self.delete(request.id, "only so %s goes again" % ", ".join(added))
                self.wait_for(Plan(gone=sorted(set(added) | set(counts))), "gone", timeout=TAKE_BACK_TIMEOUT)
            self.apply(blueprint)
            kept = {s.artifact: s.instances for s in blueprint.slices}
            for artifact, count in sorted(counts.items()):
                if count != kept[artifact]:
                    self.scale(artifact, count)
        self.wait_for(back, "as it was", timeout=TAKE_BACK_TIMEOUT)
        if request.artifact is None and blueprint is None:
            return "%s is deleted again." % request.id
        stays = self.there(added)
        if stays:
            raise AetherError(
                "cannot",
                "the counts are as they were, but %s was added and stays, in no blueprint: only deleting %s and applying it again takes it away"
                " (allow_downtime: true)." % (", ".join(stays), request.id),
            )
        return "Put back: %s." % ", ".join("%s %d" % (a, c) for a, c in sorted(counts.items()))

    def there(self, artifacts) -> List[str]:
        """Those of ``artifacts`` that the best witness shows."""
        seen = layout(self.look.observation, self.look.verdict)
        return sorted(set(artifacts) & set(seen.hosts)) if seen else []

    # --- telling ---------------------------------------------------------------------------------------------------------------

    def best_id(self) -> str:
        return able(self.look)[0]

    def best(self):
        return endpoint_of(self.session, self.look, self.best_id())

    def now(self) -> str:
        return slices.progress(self.look.observation, self.look.verdict, self.plan)

    def summary(self, would: str) -> str:
        if not self.plan.changes:
            return "Nothing differs; %s." % (
                "; ".join(slices.lacking(self.look.observation, self.look.verdict, self.plan)) or self.now() or "%s is not there" % self.request.id
            )
        head = {"scale": "%sscaled", "apply": "%sapplied", "replace": "%sdeleted and applied again", "delete": "%sdeleted"}[self.plan.step] % would
        return "%s %s%s: %s." % (self.request.artifact or self.request.id, "" if would else "is ", head, "; ".join(self.plan.changes))

    def picture(self, predicted: bool = False) -> Dict[str, Any]:
        """The slices concerned: wanted count and minimum, as they are or as they are to be."""
        view = self.look.observation.view(self.best_id())
        if self.request.artifact is not None:
            names = [self.request.artifact] + self.plan.gone
        else:
            own = next((d for d in self.documents if d.id == self.request.id), None)
            names = sorted(own.slices if own else {})
        here = [i.artifact for i in view.instances]  # where no counts are shown, what there is counts
        counts = {a: view.targets.get(a, here.count(a) if self.session.dialect.COMMANDS else None) for a in names}
        least = {a: view.minimums.get(a) for a in names}
        if predicted and self.request.artifact is not None:
            counts.update({a: 0 for a in self.plan.gone}, **{self.request.artifact: self.request.instances})
        elif predicted and self.params["state"] == "absent":
            counts = {}
        elif predicted:
            counts = {s.artifact: s.instances for s in self.request.blueprint.slices}
            least = {s.artifact: s.minimum for s in self.request.blueprint.slices}
        entries = [dict([("artifact", a), ("instances", c)] + ([("minAvailable", least[a])] if least.get(a) else [])) for a, c in sorted(counts.items()) if c]
        head = {"id": self.request.id} if self.request.id and entries else {}
        return dict(head, slices=entries)

    def result(self, text: str, predicted: bool = False) -> Dict[str, Any]:
        common = common_result(self.session, self.look, self.waited, msg=" ".join([text] + self.remarks).strip(), remarks=list(self.remarks))
        if self.look is None or self.params["validate_only"] or not witnesses(self.look.observation, self.look.verdict):
            return common
        if not predicted and not self.before:
            self.before = self.picture()
        if not predicted and self.session.dialect.CAN_APPLY and any(a["sent"] for a in self.session.actions):
            self.refresh_documents()
        after = self.picture(predicted) if predicted or self.session.actions else self.before
        return dict(
            common,
            blueprint=dict(after, changes=list(self.plan.changes), state="absent" if not after["slices"] else "present"),
            instances=self.instances(),
            true_after=None if self.true_after is None else round(self.true_after, 2),
            rolled_back=self.rolled_back,
            diff={"before": slices.as_yaml(self.before), "after": slices.as_yaml(after)},
        )

    def refresh_documents(self) -> None:
        """Which slices the blueprint has by now; what was read before stays when it cannot be read."""
        try:
            self.read_documents()
        except AetherError:
            pass

    def instances(self) -> Dict[str, Dict[str, str]]:
        """artifact -> node -> state of the slices concerned, by the best witness."""
        hosts = slices.spread(self.look.observation, self.look.verdict)[1]
        return {a: dict(hosts.get(a, {})) for a in sorted(set(self.plan.wanted) | set(self.plan.gone))}


def overruled(artifact: str, wanted: int, now: int) -> AetherError:
    text = (
        "%s was to have %d instances and is wanted %d times now: somebody else has changed it meanwhile (another controller, or the autoscaler). It is left so."
        % (artifact, wanted, now)
    )
    return AetherError("overruled", text, artifact=artifact, wanted=wanted, shown=now)


def rejected(artifacts: List[str], why: str) -> AetherError:
    text = "The cluster answered as if it had taken it, and no member wants %s as asked for: it was rejected without a word%s." % (
        ", ".join(artifacts),
        why and ", " + why,
    )
    return AetherError("rejected", text, artifacts=artifacts)


class Watch:
    """What ends a wait before its deadline: a failed instance, a count that was not taken, a count that somebody else has changed."""

    def __init__(self, work: Work):
        self.work = work
        observation, verdict = work.look.observation, work.look.verdict
        self.failed = 0
        # What had failed before is what the change may be there to mend.
        self.old = {(i.artifact, i.node) for i in slices.failed(observation, verdict, sorted(work.plan.wanted))}
        self.others: Dict[str, int] = {}
        self.ours: Dict[str, bool] = {}
        self.waiting_since: Optional[float] = None

    def check(self, plan: Plan, lacks: List[str]) -> None:
        observation, verdict = self.work.look.observation, self.work.look.verdict
        if not witnesses(observation, verdict):
            return
        self.check_failed(plan, observation, verdict)
        for artifact in sorted(plan.targets):
            self.check_count(plan, artifact, slices.shown_targets(observation, verdict, artifact))
        self.check_taken(plan, slices.untaken(observation, verdict, plan), verdict)

    def check_failed(self, plan, observation, verdict) -> None:
        found = slices.failed(observation, verdict, sorted(plan.wanted))
        bad = [i for i in found if (i.artifact, i.node) not in self.old]
        self.old &= {(i.artifact, i.node) for i in found}
        self.failed = self.failed + 1 if bad else 0
        if self.failed >= FAILED_LOOKS:
            text = "; ".join("%s on %s (%s)" % (i.artifact, i.node, i.reason or "no reason given") for i in bad)
            raise AetherError(
                "failed", "An instance does not start: %s." % text, instances=[{"artifact": i.artifact, "node": i.node, "reason": i.reason} for i in bad]
            )

    def check_count(self, plan, artifact, shown) -> None:
        """Raises where all members show a count that is neither ours nor the one before, or another one after ours."""
        wanted = plan.targets[artifact]
        if wanted in shown:
            self.ours[artifact], self.others[artifact] = True, 0
        elif len(shown) == 1 and (self.ours.get(artifact) or shown != {plan.before.get(artifact, 0)}):
            self.others[artifact] = self.others.get(artifact, 0) + 1
            if self.others[artifact] >= OVERRULED_LOOKS:
                raise overruled(artifact, wanted, next(iter(shown)))

    def check_taken(self, plan, untaken, verdict) -> None:
        """Counts that no member shows for seconds, with a leader there: the answer was "applied", and it was not taken."""
        if not untaken or self.work.session.dialect.HAS_LEADER and verdict.leader is None:
            self.waiting_since = None
            return
        self.waiting_since = self.waiting_since or time.monotonic()
        if time.monotonic() - self.waiting_since >= NOT_TAKEN_AFTER:
            raise rejected(untaken, "most often because another blueprint has the slice" if plan.step != "scale" else "")
