# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Is everything ready for a cluster on these hosts? The hosts were asked before, by modules on them; here nodes that run are asked whether they let us in."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Dict, List

from ..client import HTTPX_ERROR
from ..config_rules import KEY_ROLES
from ..model import AetherError
from ..ports import number
from ..preflight import ERROR, LEVELS, Finding, judge, lines, not_asked
from .session import Session
from .through import key_refusals

ARGUMENT_SPEC = dict(
    hosts=dict(type="list", elements="dict", required=True),
    allow_even=dict(type="bool", default=False),
    leaving=dict(type="list", elements="str", default=[]),
    accept=dict(type="list", elements="str", default=[]),
    key_role=dict(type="str", choices=list(KEY_ROLES), default=KEY_ROLES[0]),
    on_errors=dict(type="str", choices=["fail", "report"], default="fail"),
)

NEEDS_CLUSTER = False
SHUT = ("unauthorized", "tls")  # reasons of a member that runs and does not let us in


def run(params: Dict[str, Any], session) -> Dict[str, Any]:
    """Judge what came of the looks; raises AetherError (kind ``preflight``) with all findings at once."""
    entries = with_jars(params["hosts"])
    findings = judge(entries, params["allow_even"], params["leaving"], params["accept"], len(params["retired"] or ()), access(params, entries))
    count = {level: sum(1 for f in findings if f.level == level) for level in LEVELS}
    counted = ", ".join("%d %s%s" % (n, level, "" if n == 1 else "s") for level, n in count.items())
    errors = [f for f in findings if f.level == ERROR]
    result = {
        "changed": False, "ready": not errors, "findings": [f.as_data() for f in findings], "lines": lines(findings),
        "msg": "Not ready, nothing was touched. %s: %s" % (counted, " ".join(lines(errors))) if errors else "Ready: %d hosts, %s." % (len(entries), counted),
    }
    if errors and params["on_errors"] == "fail":
        raise AetherError("preflight", result["msg"], result=result, codes=sorted({f.code for f in errors}), findings=result["findings"])
    return result


def access(params: Dict[str, Any], entries: List[Dict[str, Any]]) -> List[Finding]:
    """Whether the nodes that run let the plays in, and the key do ``key_role``'s work. Reads and a probe; with the role VIEWER nobody is asked."""
    running = [e["wants"] for e in entries if (e.get("facts") or {}).get("active") and number(e["wants"].get("management_port"))]
    if params["key_role"] == KEY_ROLES[0] or not running:
        return []
    if HTTPX_ERROR is not None:
        return [not_asked("the Python library httpx is missing where this runs.")]
    endpoints = ["%s=%s://%s:%s" % (w["id"], "https" if w.get("tls") else "http", w["address"], w["management_port"]) for w in running]
    try:
        with Session(dict(params, endpoints=endpoints, voters=[w["id"] for w in running], retired=None), check_mode=True) as session:
            look = session.look()
            refused = [(r.code, r.sentence) for r in look.verdict.reasons if r.code in SHUT]
            refused += [(r.code, r.sentence) for r in key_refusals(params["key_role"], session, look)]
    except AetherError as error:
        return [not_asked(error.message)]
    return [Finding(code, ERROR, "", sentence) for code, sentence in refused]


def with_jars(entries: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The entries with what is known of the JAR that each wants, read once per file."""
    known: Dict[str, Dict[str, Any]] = {}
    found = []
    for entry in entries:
        wants = entry["wants"]
        path = wants.get("jar") or ""
        if path and path not in known:
            known[path] = read_jar(path)
        jar = dict({"path": path, "url": wants.get("jar_url") or "", "wanted": wants.get("jar_sha256") or ""}, **known.get(path, {}))
        found.append(dict(entry, jar=jar) if "jar" in wants else entry)
    return found


def read_jar(path: str) -> Dict[str, Any]:
    """sha256 and size (bytes) of a file here, or why it cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with open(os.path.expanduser(path), "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
                size += len(block)
    except OSError as error:
        return {"found": "", "size": 0, "trouble": error.strerror or str(error)}
    return {"found": digest.hexdigest(), "size": size, "trouble": ""}
