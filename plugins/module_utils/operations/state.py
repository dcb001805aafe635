# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Save the state of a cluster into a directory, put it back from there, and note how far a full restart is.

Saved is what was read back and found whole; put back is what every member with state shows again (docs/product.md 2 and 8).
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any, Dict, List, Optional, Tuple

from .. import saved as on_disk
from .. import slices
from ..client import EndpointTrouble
from ..model import AetherError
from ..placement import layout, witnesses
from ..state import ALLOWABLE, Difference, State, Step, difference, dormant, file_refusals, summary, text_of
from ..waiting import FIRST_PAUSE, SOON, Waited
from .session import Look, Session, common_result
from .state_info import Gathered, check, place
from .through import endpoint_of, key_refusals, write_through

ARGUMENT_SPEC = dict(
    path=dict(type="path", required=True),
    state=dict(type="str", choices=["saved", "restored", "noted"], default="restored"),
    cluster=dict(type="str", default="aether"),
    source=dict(type="str", default=""),
    blueprint_files=dict(type="list", elements="path", default=[]),
    overrides=dict(type="dict", default={}, no_log=True),
    allow=dict(type="list", elements="str", choices=list(ALLOWABLE), default=[]),
    overwrite=dict(type="bool", default=False),
    phase=dict(type="str", choices=list(on_disk.PHASES)),
    timeout=dict(type="float", default=60.0),
    stable_for=dict(type="float", default=0.5),
)

# Seconds until a blueprint that was taken shows its slices, and they can be scaled; seen were 0.4 to 1.4.
SHOWS_AFTER = 10.0


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Raises AetherError: ``bad_input``, ``cannot``, ``nobody``, ``refused``, ``incomplete``, ``unwritable``, ``write_failed``, ``not_settled``,
    ``differs``.
    """
    params = dict(params, path=place(params["path"]))
    if params["state"] == "noted":
        return noted(params, session)
    check(params, session)
    return Save(params, session).run() if params["state"] == "saved" else Restore(params, session).run()


def noted(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """An entry in the journal of a full restart; nobody is asked."""
    if not params["phase"]:
        raise AetherError("bad_input", "state: noted needs the 'phase' that is reached (%s)." % ", ".join(on_disk.PHASES))
    journal = on_disk.read_journal(params["path"])
    if not session.check_mode:
        journal = on_disk.note(params["path"], params["phase"], time.time(), voters=list(session.voters))
    return {
        "changed": True, "path": params["path"], "journal": list(journal), "downtime_seconds": on_disk.downtime(journal),
        "msg": "%s is %s now." % (params["path"], params["phase"]),
    }


class Save:
    """Everything that can be read, verified, into one directory."""

    def __init__(self, params: Dict[str, Any], session: Session):
        self.params, self.session = params, session
        self.look: Optional[Look] = None
        self.gathered: Optional[Gathered] = None
        self.files: List[Tuple[str, slices.Blueprint]] = []
        self.texts: Dict[str, str] = {}

    def run(self) -> Dict[str, Any]:
        params, session = self.params, self.session
        self.files = self.read_files()
        self.look = session.look()
        self.gathered = Gathered(session, self.look, params["source"])
        if self.gathered.state is None:
            raise AetherError("nobody", "Nothing was saved: %s" % self.gathered.sentence(), result=self.result(""))
        there = self.already()
        if there is not None:
            return there
        self.refuse()
        if session.check_mode:
            return self.result("Would be saved in %s: %s" % (params["path"], self.gathered.sentence()), changed=True)
        self.write()
        read_back = on_disk.read(params["path"])
        on_disk.note(params["path"], "saved", time.time(), voters=list(session.voters))
        text = "Saved in %s and read back: %s" % (read_back.path, self.gathered.sentence())
        if read_back.left_out:
            text += " LOST with it, as allowed: %s." % ", ".join(read_back.left_out)
        if read_back.state.counts is None:
            text += " The counts are those of the blueprints, for nobody shows those that are wanted now."
        return self.result(text, changed=True)

    def read_files(self) -> List[Tuple[str, slices.Blueprint]]:
        """The supplied blueprints, all findings at once."""
        given, findings = [], []
        for path in self.params["blueprint_files"]:
            try:
                with open(path, encoding="utf-8") as file:
                    blueprint, wrong, _remarks = slices.from_toml(file.read())
            except (OSError, ValueError) as error:
                blueprint, wrong = None, ["it cannot be read where the task runs (%s)." % (getattr(error, "strerror", None) or error)]
            findings.extend("'%s': %s" % (path, sentence) for sentence in wrong)
            if blueprint is not None:
                given.append(("'%s'" % path, blueprint))
        if findings:
            raise AetherError("bad_input", "Nothing was saved: %s" % " ".join(findings), findings=findings)
        return given

    def already(self) -> Optional[Dict[str, Any]]:
        """The result where the same state lies there already; AetherError where another one does."""
        path = self.params["path"]
        if not os.path.isdir(path):
            return None
        there = on_disk.read(path)
        differs = difference(there.state, self.gathered.state, self.session.dialect.DEFAULT_THRESHOLDS, there.left_out)
        if not differs.nothing:
            raise AetherError(
                "refused",
                "'%s' holds another state, of %s, and is not overwritten: give a new directory. Differing: %s."
                % (path, there.about["at"], "; ".join(differs.sentences())),
                result=self.result(""),
            )
        return self.result("This state is saved in %s." % path)

    def refuse(self) -> None:
        """What speaks against it, all at once. What would be lost is named, unless that was allowed."""
        gathered, params = self.gathered, self.params
        asleep = dormant(gathered.state)
        self.texts = {b.id: text_of(b) for b in gathered.state.blueprints if b.id not in asleep}
        self.texts.update({b.id: b.text for _where, b in self.files if b.id in self.texts})
        refusals = file_refusals(gathered.state, self.files)
        refusals += [r for r in gathered.losses([b.id for _where, b in self.files], list(params["overrides"])) if r.code not in params["allow"]]
        text = [r.sentence + (" (%s)" % r.option if r.option else "") for r in refusals] + [s for s in [gathered.tie()] if s]
        if text:
            raise AetherError("refused", "Refused, nothing was touched: %s" % " ".join(text), refusals=[r.as_data() for r in refusals], result=self.result(""))

    def write(self) -> None:
        params, session, gathered = self.params, self.session, self.gathered
        with on_disk.Writer(params["path"]) as writer:
            for artifact, (sha1, size) in sorted(gathered.state.artifacts.items()):
                self.fetch(writer, artifact, sha1, size)
            self.refuse()  # again, for what could not be read shows only now
            lost = [b.id for b in gathered.state.blueprints if b.id not in self.texts] + sorted(gathered.unreadable)
            lost += [k for k in gathered.state.overrides if k not in params["overrides"]]
            about = {
                "cluster": params["cluster"], "at": on_disk.stamp(time.time()), "api": session.dialect.NAME, "voters": list(session.voters),
                "endpoints": [e.url for e in session.endpoints], "members": list(gathered.agreement.members), "left_out": lost,
                "others": [{"members": list(m), "difference": list(d)} for m, d in gathered.agreement.others],
            }
            writer.finish(about, gathered.state, self.texts)

    def fetch(self, writer: on_disk.Writer, artifact: str, sha1: str, size: int) -> None:
        """The JAR from whichever member gives the right bytes, first of those that agree."""
        name, agreed = on_disk.file_of("artifacts", artifact, "jar"), self.gathered.agreement.members
        why = []
        for member in list(agreed) + [i for i in self.gathered.told if i not in agreed]:
            digest = hashlib.sha1()  # what the repository tells; the manifest has better ones

            def fill(take, member=member, digest=digest):
                def both(data):
                    digest.update(data)
                    take(data)

                self.session.client.download(endpoint_of(self.session, self.look, member), self.session.dialect.jar(artifact), both, size)

            try:
                writer.file(name, fill)
            except EndpointTrouble as error:
                why.append("%s: %s" % (member, error.trouble.text))
                continue
            if digest.hexdigest() == sha1:
                return
            why.append("%s gives other bytes (sha1 %s) than its repository says (%s)" % (member, digest.hexdigest(), sha1))
            writer.drop(name)
        self.gathered.unreadable[artifact] = "; ".join(why)

    def result(self, text: str, changed: bool = False) -> Dict[str, Any]:
        more = self.gathered.result() if self.gathered else {}
        return common_result(self.session, self.look, msg=text, changed=changed, path=self.params["path"], **more)


class Restore:
    """What is missing is put back, in one go, and waited for; what is newer is not touched unless that is wanted."""

    def __init__(self, params: Dict[str, Any], session: Session):
        self.params, self.session = params, session
        self.look: Optional[Look] = None
        self.now: Optional[Gathered] = None
        self.done: List[str] = []
        self.waited = Waited()
        self.active_at: Optional[float] = None

    def run(self) -> Dict[str, Any]:
        session = self.session
        self.before = on_disk.read(self.params["path"])
        self.look = session.look()
        steps = self.steps(self.differs(self.look))
        if steps:
            self.refuse(steps)
        elif session.check_mode:
            return self.result("Nothing differs from what was saved in %s." % self.before.path)
        if session.check_mode:
            for step in steps:
                self.send(step)
            return self.result("Would be put back: %s." % "; ".join(self.done))
        self.put_back(steps)
        self.settle()
        left = self.differs(Look(session.observe()))
        if not left.equal:
            raise AetherError(
                "differs", "Everything was sent, and the cluster still differs from %s: %s." % (self.before.path, "; ".join(left.sentences())),
                difference=left.sentences(), result=self.result(""),
            )
        if self.before.phase in on_disk.UNFINISHED:
            on_disk.note(self.before.path, "restored", time.time(), voters=list(session.voters), active_at=round(self.active_at or time.time(), 3))
        said = "Nothing differs from what was saved in %s." % self.before.path
        if self.done:
            said = "Put back from %s: %s." % (self.before.path, "; ".join(self.done))
        besides = " There is more than was saved: %s." % "; ".join(left.newer) if left.newer else ""
        lost = " Not put back, as it was not saved: %s." % ", ".join(self.before.left_out) if self.before.left_out else ""
        return self.result("%s Every slice is active.%s%s" % (said, besides, lost))

    # --- deciding --------------------------------------------------------------------------------------------------------------

    def differs(self, look: Look) -> Difference:
        """From what those members show now that can be believed."""
        self.look = look
        self.now = Gathered(self.session, look, artifacts=self.before.state.artifacts)
        return difference(self.before.state, self.now.state or State(), self.session.dialect.DEFAULT_THRESHOLDS, self.before.left_out)

    def steps(self, differs: Difference) -> List[Step]:
        if differs.newer and not self.params["overwrite"]:
            raise AetherError(
                "refused",
                "Refused, nothing was touched: the cluster has newer state than %s (saved %s): %s. To put the saved one in its place set"
                " aether_state_overwrite=true."
                % (self.before.path, self.before.about["at"], "; ".join(differs.newer)),
                newer=differs.newer, difference=differs.sentences(), result=self.result(""),
            )
        return differs.all_steps()

    def refuse(self, steps: List[Step]) -> None:
        plan = slices.Plan()
        slices.cluster_refusals(plan, self.look.observation, self.look.verdict)
        text = [r.sentence for r in plan.refusals + key_refusals("ADMIN", self.session, self.look)]
        missing = [s.name for s in steps if s.kind == "override" and s.name not in self.params["overrides"]]
        if missing:
            text.append("The values of %s are not saved, for the API hides them: give them in aether_overrides." % ", ".join(missing))
        if text:
            raise AetherError("refused", "Refused, nothing was touched: %s" % " ".join(text), result=self.result(""))

    # --- changing --------------------------------------------------------------------------------------------------------------

    def put_back(self, steps: List[Step]) -> None:
        """Counts last: only what the members want already can be scaled."""
        first = [s for s in steps if s.kind != "count"]
        for step in first:
            self.send(step)
        if any(s.kind == "count" for s in steps):
            applied = [p.artifact for s in first if s.kind == "blueprint" for p in s.value.slices]

            def wanted():
                self.look = Look(self.session.observe())
                views = [self.look.observation.view(i) for i in witnesses(self.look.observation, self.look.verdict)]
                late = [a for a in applied if not views or any(a not in v.targets for v in views)]
                return not late, "%s is not wanted yet" % ", ".join(late) if late else "all slices are wanted"

            self.session.wait(wanted, SHOWS_AFTER, longest_pause=SOON)
            for step in self.differs(self.look).all_steps():
                if step.kind == "count":
                    self.send(step)

    def send(self, step: Step) -> None:
        def took_effect():
            left = self.differs(Look(self.session.observe()))
            return (step.kind, step.name) not in {(s.kind, s.name) for s in left.all_steps()}

        write_through(self.session, lambda: self.look, self.request(step), "as it was saved; %s" % step.why, took_effect)
        self.done.append(step.why)

    def request(self, step: Step):
        dialect = self.session.dialect
        if step.kind == "artifact":
            with open(self.before.jars[step.name], "rb") as file:
                return dialect.store(step.name, file.read())
        if step.kind == "override":
            return dialect.set_override(step.name, str(self.params["overrides"].get(step.name)))
        if step.kind == "blueprint":
            return dialect.apply(self.before.texts[step.name])
        if step.kind == "count":
            return dialect.scale(step.name, step.value)
        if step.kind == "level":
            return dialect.set_level(step.name, step.value)
        return dialect.forget_threshold(step.name) if step.kind == "no_threshold" else dialect.set_threshold(step.name, *step.value)

    # --- following -------------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Until every slice that was saved has its active instances in every view with state: as many as there is room for, one on each node on duty."""
        state, since = self.before.state, {}
        own = {p.artifact: p for b in state.blueprints if b.id not in self.before.left_out for p in b.slices}
        added = {a for b in state.blueprints for a in b.dependencies}
        targets = {a: p.instances for a, p in own.items()}
        targets.update({a: c for a, c in (state.counts or {}).items() if a in own or a in added})
        plan = slices.Plan(targets=targets, minimums={a: p.minimum for a, p in own.items() if p.minimum is not None})

        def poll():
            self.look = Look(self.session.observe())
            seen = layout(self.look.observation, self.look.verdict)
            room = len(seen.on_duty) if seen else 0
            plan.wanted = {a: min(c, room) for a, c in targets.items()}
            lacks = slices.lacking(self.look.observation, self.look.verdict, plan)
            if lacks:
                since.clear()
            else:
                since.setdefault("at", time.time())
            return not lacks, slices.progress(self.look.observation, self.look.verdict, plan) or "nothing to wait for"

        self.waited = self.session.wait(poll, self.params["timeout"], stable_for=self.params["stable_for"], longest_pause=FIRST_PAUSE)
        if not self.waited.met:
            left = slices.stuck(self.look.observation, self.look.verdict, plan)
            raise AetherError(
                "not_settled",
                "Put back, and not every slice is active after %.0f s: %s. Run this again: it goes on here."
                % (self.waited.seconds, "; ".join(left) or self.waited.last),
                left=left, result=self.result(""),
            )
        self.active_at = since["at"]

    def result(self, text: str) -> Dict[str, Any]:
        more = self.now.result() if self.now else {}
        journal = on_disk.read_journal(self.before.path)
        return common_result(
            self.session, self.look, self.waited, msg=text, path=self.before.path, restored=list(self.done),
            saved=dict(summary=summary(self.before.state), at=self.before.about["at"]), downtime_seconds=on_disk.downtime(journal), **more,
        )
