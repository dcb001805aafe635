# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does the cluster hold what is required of it, seen from every member at once?"""

from __future__ import annotations

from typing import Any, Dict

from ..model import AetherError
from .session import Look, Session, common_result

ARGUMENT_SPEC = dict(
    require=dict(type="str", choices=["majority", "complete"], default="majority"),
    without=dict(type="list", elements="str", default=[]),
    baseline=dict(type="list", elements="str", default=[]),
    timeout=dict(type="float", default=0.0),
    stable_for=dict(type="float", default=0.0),
)


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Ask until the requirement holds for ``stable_for`` seconds or ``timeout`` seconds are over.

    Raises AetherError (kind ``quorum``) with every reason as data and as sentences.
    """
    without, baseline = tuple(params["without"]), tuple(params["baseline"])
    for option, names in (("without", without), ("baseline", baseline)):
        strangers = sorted(set(names) - set(session.voters)) if session.voters else []
        if strangers:
            raise AetherError(
                "bad_input", "Option '%s' names %s, which is not among the voters (%s)." % (option, ", ".join(strangers), ", ".join(session.voters))
            )
    requirement = params["require"]
    seen: Dict[str, Look] = {}

    def poll():
        look = session.look(baseline, without)
        seen["last"] = look
        blocking = look.verdict.blocking(requirement)
        if not blocking:
            return True, holds(look, requirement, without)
        return False, " ".join(r.sentence for r in look.verdict.explaining(requirement))

    waited = session.wait(poll, params["timeout"], params["stable_for"])
    look = seen["last"]
    if waited.met:
        return common_result(session, look, waited, msg=holds(look, requirement, without), lists=look.observation.lists())
    reasons = look.verdict.explaining(requirement)
    what = "survive losing %s" % ", ".join(without) if without else "hold '%s'" % requirement
    after = " (asked %d times in %.0f s)" % (waited.polls, waited.seconds) if waited.polls > 1 else ""
    if not reasons:
        text = "it did, but not for %g s without interruption" % params["stable_for"]
    else:
        text = " ".join(r.sentence for r in reasons)
    raise AetherError(
        "quorum",
        "The cluster does not %s%s: %s" % (what, after, text),
        result=common_result(session, look, waited),
        requirement=requirement,
        without=list(without),
        codes=sorted({r.code for r in reasons}),
        reasons=[r.as_data() for r in reasons],
    )


def holds(look: Look, requirement: str, without=()) -> str:
    """The good news as a sentence."""
    verdict = look.verdict
    text = "%d of %d voters sound, %d needed, leader %s, can lose %d" % (
        verdict.have,
        len(look.observation.voters),
        verdict.needed,
        verdict.leader or "none",
        verdict.can_lose,
    )
    if without:
        text += "; survives losing %s" % ", ".join(without)
    elif requirement == "complete":
        text += "; complete"
    if verdict.state_evidence == "none":
        text += " (nothing to compare state by)"
    return text + "."
