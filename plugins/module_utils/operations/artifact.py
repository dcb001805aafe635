# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put a JAR into the cluster's repository, so that a blueprint can name it; read it back from another member."""

from __future__ import annotations

import hashlib
import zipfile
from typing import Any, Dict, List, Optional, Tuple

from .. import slices
from ..client import EndpointTrouble
from ..model import AetherError
from ..placement import witnesses
from ..quorum import Verdict
from ..waiting import SOON
from .session import Look, Session, common_result
from .through import able, endpoint_of, write_through

ARGUMENT_SPEC = dict(
    artifact=dict(type="str", required=True),
    src=dict(type="path", required=True),
    overwrite=dict(type="bool", default=False),
    allow_starting=dict(type="bool", default=False),
    timeout=dict(type="float", default=30.0),
)


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Raises AetherError: ``bad_input``, ``refused``, ``write_failed``, ``not_stored``, ``nobody``, ``cannot``."""
    artifact = params["artifact"]
    findings = slices.coordinate_findings(artifact, "artifact")
    data, problem = _jar(params["src"])
    findings += [problem] if problem else []
    if findings:
        raise AetherError("bad_input", "The task is refused, nothing was sent: %s" % " ".join(findings), findings=findings)
    if not session.dialect.CAN_STORE:
        raise AetherError("cannot", "The API '%s' has no repository to put artifacts into: put the JAR where its nodes look for it." % session.dialect.NAME)
    return Work(params, session, data).run()


def _jar(path) -> Tuple[bytes, str]:
    """(content, what is wrong with it)."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        whole = zipfile.is_zipfile(path)
    except OSError as error:
        return b"", "The JAR '%s' cannot be read where the task runs (%s)." % (path, error.strerror)
    return data, "" if whole else "The file '%s' is no whole JAR (%d bytes)." % (path, len(data))


class Work:
    def __init__(self, params: Dict[str, Any], session: Session, data: bytes):
        self.params, self.session, self.data, self.artifact = params, session, data, params["artifact"]
        self.sha1 = hashlib.sha1(data).hexdigest()
        self.look: Optional[Look] = None
        self.stored: Optional[Dict[str, Any]] = None

    def run(self) -> Dict[str, Any]:
        session, artifact = self.session, self.artifact
        self.look = session.look()
        self.stored = self.ask(able(self.look)[0])
        before = self.sha1_of(self.stored)
        if before == self.sha1:
            return self.result("%s is in the repository, with this content." % artifact, before)
        self.refuse(before)
        why = "%s is not in the repository" % artifact if before is None else "%s has other content there (%s)" % (artifact, before)
        write_through(session, lambda: self.look, session.dialect.store(artifact, self.data), why, self.took_effect)
        if session.check_mode:
            return self.result("%s would be put into the repository (%d bytes)." % (artifact, len(self.data)), before)
        return self.verified(before)

    def refuse(self, before: Optional[str]) -> None:
        plan = slices.Plan()
        slices.cluster_refusals(plan, self.look.observation, self.look.verdict, ["starting"] if self.params["allow_starting"] else [])
        text = [r.sentence + (" (%s)" % r.option if r.option else "") for r in plan.refusals]
        if before is not None and not self.params["overwrite"]:
            text.append(
                "%s is in the repository with other content (sha1 %s there, %s here): give what has changed a new version. (overwrite: true)"
                % (self.artifact, before, self.sha1)
            )
        if text:
            raise AetherError("refused", "Refused, nothing was touched: %s" % " ".join(text), sha1=before, result=self.result("", before))

    def verified(self, before: Optional[str]) -> Dict[str, Any]:
        """Every member with state must show it, not only the one it was sent through."""
        def poll():
            self.look = Look(self.session.observe())
            verdict: Verdict = self.look.verdict
            shown = {i: self.sha1_or_trouble(i) for i in witnesses(self.look.observation, verdict)}
            late: List[str] = ["%s shows %s" % (i, s or "none") for i, s in shown.items() if s != self.sha1]
            return bool(shown) and not late, "; ".join(late) or "%d members show it" % len(shown)

        waited = self.session.wait(poll, self.params["timeout"], longest_pause=SOON)
        if not waited.met:
            raise AetherError(
                "not_stored",
                "%s was sent, and after %.0f s not every member shows it with sha1 %s: %s." % (self.artifact, waited.seconds, self.sha1, waited.last),
                result=self.result("", before),
            )
        self.stored = self.ask(able(self.look)[0])
        return self.result("%s is in the repository now (%d bytes); %s." % (self.artifact, len(self.data), waited.last), before, waited)

    def took_effect(self) -> bool:
        self.look = Look(self.session.observe())
        return self.sha1_or_trouble(able(self.look)[0]) == self.sha1

    def sha1_or_trouble(self, member: str) -> str:
        try:
            return self.sha1_of(self.ask(member)) or ""
        except AetherError as error:
            return error.message

    def ask(self, member: str) -> Optional[Dict[str, Any]]:
        try:
            return self.session.dialect.stored(self.session.client, endpoint_of(self.session, self.look, member), self.artifact)
        except EndpointTrouble as error:
            raise AetherError("nobody", "%s cannot say whether it has %s: %s" % (member, self.artifact, error.trouble.text))

    @staticmethod
    def sha1_of(stored) -> Optional[str]:
        return str(stored.get("sha1") or "") if stored else None

    def result(self, text: str, before: Optional[str], waited=None) -> Dict[str, Any]:
        after = self.sha1 if self.session.check_mode and self.session.actions else self.sha1_of(self.stored)
        shown = {"artifact": self.artifact, "sha1": after, "size": len(self.data), "deployed": bool((self.stored or {}).get("isDeployed"))}
        return common_result(
            self.session, self.look, waited, msg=text, artifact=shown,
            diff={"before": "%s: %s\n" % (self.artifact, before or "none"), "after": "%s: %s\n" % (self.artifact, after or "none")},
        )
