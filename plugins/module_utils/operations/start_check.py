# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Did a node start as it was meant? From its journal (aether_start_info) and its own answers, one finding per silent downgrade."""

from __future__ import annotations

from typing import Any, Dict

from ..model import AetherError, View
from ..startup import Answers, Wanted, judge
from ..waiting import Waited
from .session import Session, common_result

ARGUMENT_SPEC = dict(
    name=dict(type="str", required=True),
    start=dict(type="dict", required=True),
    peers=dict(type="list", elements="str", default=[]),
    release=dict(type="str", default=""),
    banner=dict(type="str", default=""),
    cluster_port=dict(type="int", default=8090),
    keys_configured=dict(type="bool", default=False, no_log=False),
    tls=dict(type="bool", default=False),
    timeout=dict(type="float", default=10.0),
)


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Ask the node, for ``timeout`` seconds at most, and judge; raises AetherError (kind ``bad_start``) with all findings at once.

    A node that ended is not asked. One that does not answer is judged by its journal alone, and the result says so.
    """
    name, start = params["name"], params["start"]
    missing = sorted({"running", "lines"} - set(start))
    if missing:
        raise AetherError("bad_input", "Option 'start' lacks %s: give it 'start' of the result of aether_start_info." % " and ".join(missing))
    malformed = [p for p in params["peers"] if p.count(":") != 2]
    if malformed:
        raise AetherError("bad_input", "Option 'peers' has %s, which is not id:host:port; write all three parts." % ", ".join("'%s'" % p for p in malformed))
    endpoint = session.endpoint_of(name)
    seen: Dict[str, View] = {}

    def poll():
        view = seen["view"] = session.dialect.read_view(session.client, endpoint)
        settled = view.answers or view.trouble.kind == "unauthorized"
        return settled, "%s answers" % name if settled else "%s does not answer yet" % name

    waited = session.wait(poll, params["timeout"]) if start["running"] else Waited()
    view = seen.get("view")
    wanted = Wanted(
        node_id=name,
        peers=tuple(params["peers"]),
        release=params["release"],
        cluster_port=params["cluster_port"],
        keys=params["keys_configured"] or bool(start.get("keys")),
        tls=params["tls"],
        banner=params["banner"],
    )
    dialect = session.dialect
    answers = Answers(
        node_id=view.node_id if view and view.answers and dialect.HAS_IDS else None,
        core_nodes=view.core_nodes if view and view.answers else frozenset(),
        # A dialect without ids is the runbook's, which has no keys either (docs/product.md 10).
        anonymous=_anonymous(session, endpoint) if waited.met and wanted.keys and dialect.HAS_IDS else None,
        has_lists=dialect.HAS_LISTS,
    )
    findings = [f.as_data() for f in judge(start, answers, wanted)]
    answered = bool(view and view.answers)
    result = common_result(session, None, waited, node={"id": name}, findings=findings, answered=answered)
    if findings:
        raise AetherError(
            "bad_start", "%s did not start as it was meant. %s" % (name, " ".join(f["message"] for f in findings)),
            result=result, node=name, codes=[f["code"] for f in findings], findings=findings,
        )
    why = "" if answered else " Judged by its journal alone, for it does not tell: %s" % view.trouble.text
    return dict(result, msg="%s started as it was meant.%s" % (name, why))


def _anonymous(session, endpoint):
    """Whether a read without a key is answered; None when nothing can be told."""
    params = dict(session.params, api_key=None, endpoints=["%s=%s" % (endpoint.name, endpoint.url)], voters=[endpoint.name])
    with Session(params, check_mode=True) as stranger:
        view = session.dialect.read_view(stranger.client, endpoint)
    if view.answers:
        return True
    return False if view.trouble.kind == "unauthorized" else None
