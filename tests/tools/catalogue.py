# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every sentence with which a module, a filter or a play refuses or fails, with its code, read from the statements that raise it.

There is no list of them beside the code, so none can be out of date: what makes a refusal is one of the calls in ``CALLS``, and its sentence stands there,
or is put together in the same function. What is filled in is an ellipsis.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional

import yaml

ROOT = Path(__file__).resolve().parents[2]
UTILS = "plugins/module_utils/"
# (title, where its sentences are). What no entry names is in the last one.
AREAS = (
    ("Talking to a node", ("client.py", "connection.py", "minting.py", "dialects/", "operations/session.py", "operations/through.py")),
    ("How the cluster is: gates and waits", ("quorum.py", "operations/quorum_check.py", "operations/node.py", "report.py")),
    ("Growing, starting and restarting", ("growth.py", "operations/plan_info.py")),
    ("Taking members out", ("shrinking.py",)),
    ("Restarting all at once", ("restarting.py",)),
    ("Draining a node", ("placement.py", "intents.py", "operations/drain.py")),
    ("Slices, blueprints and artifacts", ("slices.py", "operations/blueprint.py", "operations/artifact.py")),
    ("Enough nodes, and when to warn", ("capacity.py", "operations/capacity_info.py", "operations/threshold.py")),
    ("Saving the state and putting it back", ("state.py", "saved.py", "operations/state.py", "operations/state_info.py")),
    ("A node's configuration", ("config_rules.py", "operations/config_check.py", "ports.py")),
    ("Are the hosts ready?", ("preflight.py", "operations/preflight.py")),
    ("A node that started with less than it was given", ("startup.py", "operations/start_check.py")),
    ("Two runs at once", ("locking.py",)),
    ("Queries and conditions", ("query.py", "operations/info.py")),
)
OTHERS = "Modules, filters and the controller"
PLAYS = "Plays and roles"
# How it is called -> (position of the code, position of the sentence); None: it has no code.
CALLS = {
    "Reason": (0, 2), "Refusal": (0, 1), "AetherError": (0, 1), "EndpointTrouble": (0, 1), "Trouble": (0, 1), "refuse": (0, 1),
    "AnsibleFilterError": (None, 0), "fail_json": (None, 0),
}
FINDINGS = {"preflight.py": (0, 3), "capacity.py": (0, 3), "startup.py": (0, 1)}  # three classes of that name
LISTING = ("config_rules.py", "slices.py", "client.py", "preflight.py", "operations/threshold.py")  # there a finding is also a sentence that is put on a list, or a list of them is returned
FILLED_IN = re.compile(r"%(?:\([a-z_]+\))?[-+ 0#]*\d*(?:\.\d+)?[sdrfg]")


class Message(NamedTuple):
    area: str
    code: str
    sentence: str


def messages() -> List[Message]:
    """All, sorted within their areas, each once."""
    found = set()
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        where = name[len(UTILS):] if name.startswith(UTILS) else ""
        area = next((title for title, places in AREAS if where and where.startswith(places)), OTHERS)
        found.update(Message(area, code, sentence) for code, sentence in _of_python(path, where))
    for path in sorted([*(ROOT / "playbooks").glob("*.yml"), *(ROOT / "roles").glob("*/tasks/*.yml")]):
        found.update(Message(PLAYS, "", sentence) for sentence in _of_tasks(yaml.safe_load(path.read_text(encoding="utf-8"))))
    titles = [title for title, places in AREAS] + [OTHERS, PLAYS]
    return sorted(found, key=lambda m: (titles.index(m.area), m.code, m.sentence))


def _of_python(path: Path, where: str) -> Iterator[tuple]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for scope in ast.walk(tree):
        scope.tree = tree
    for scope in ast.walk(tree):
        if not isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for node in ast.walk(scope):
            if isinstance(node, ast.Return) and where in LISTING:
                lists = [n for n in ([node.value, *node.value.elts] if isinstance(node.value, ast.Tuple) else [node.value]) if isinstance(n, ast.List)]
                yield from (("", text) for said in lists for text in _texts(said, scope, node) if text.endswith("."))
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            code, sentence = CALLS.get(called) or (FINDINGS.get(where, (None, None)) if called == "Finding" else (None, None))
            if called in ("append", "extend") and where in LISTING:
                code, sentence = None, 0
            if sentence is None:
                continue
            said = node.args[sentence] if len(node.args) > sentence else next((k.value for k in node.keywords if k.arg in ("msg", "sentence", "message")), None)
            for text in _texts(said, scope, node):
                if len(text.split()) > 3:  # a name or a number on a list is no sentence
                    for word in _texts(node.args[code], scope, node) or ["…"] if code is not None else [""]:
                        yield word, text
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "TLS_TROUBLES":
            for pair in node.value.elts:
                yield "tls", "… cannot be talked to: %s." % pair.elts[1].value
        said = None
        if isinstance(node, ast.Dict) and where == "locking.py":
            said = next((v for k, v in zip(node.keys, node.values) if getattr(k, "value", "") == "msg"), None)
        elif isinstance(node, ast.Assign) and path.name == "aether_lock.py" and getattr(getattr(node.targets[0], "slice", None), "value", "") == "msg":
            said = node.value
        for text in _texts(said, tree, node):
            yield "", text


def _texts(node: Optional[ast.AST], scope: ast.AST, call: ast.AST, deep: int = 4) -> List[str]:
    """What an expression may say where ``call`` is, with an ellipsis for what is filled in; nothing when it is not put together in ``scope``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [FILLED_IN.sub("…", node.value).replace("%%", "%")]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return _texts(node.left, scope, call, deep)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a in _texts(node.left, scope, call, deep) or ["…"] for b in _texts(node.right, scope, call, deep) or ["…"]]
    if isinstance(node, ast.IfExp):
        return _texts(node.body, scope, call, deep) + _texts(node.orelse, scope, call, deep)
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in _texts(value, scope, call, deep)]
    if isinstance(node, (ast.GeneratorExp, ast.ListComp)):
        return _texts(node.elt, scope, call, deep)
    if isinstance(node, ast.List):
        return [text for value in node.elts for text in _texts(value, scope, call, deep)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and deep:  # a sentence that a function beside it puts together
        functions = [n for n in scope.tree.body if isinstance(n, ast.FunctionDef) and n.name == node.func.id]
        said = [(f, n) for f in functions for n in ast.walk(f) if isinstance(n, ast.Return)]
        return [text for f, n in said for text in _texts(n.value, f, n, deep - 1)]
    if isinstance(node, ast.Name) and deep:
        return [text for value in _values(node.id, scope, call) for text in _texts(value, scope, call, deep - 1)]
    return []


def _values(name: str, scope: ast.AST, call: ast.AST) -> List[ast.AST]:
    """What a name was last given before ``call``, in every branch of an if that is over by then."""
    def given(within):
        return [n for n in ast.walk(within) if isinstance(n, ast.Assign) and any(getattr(t, "id", "") == name for t in n.targets) and n.lineno < call.lineno]

    last = max(given(scope), key=lambda n: n.lineno, default=None)
    over = [n for n in ast.walk(scope) if isinstance(n, ast.If) and last in list(ast.walk(n)) and n.end_lineno < call.lineno]
    return [n.value for n in (given(over[0]) if over else [last] if last else [])]


def _of_tasks(node) -> Iterator[str]:
    """The sentences of assert and fail, with an ellipsis for what a template fills in."""
    if isinstance(node, list):
        for entry in node:
            yield from _of_tasks(entry)
    elif isinstance(node, dict):
        for key, value in node.items():
            said = value.get("fail_msg" if key.endswith("assert") else "msg") if key in ("ansible.builtin.assert", "ansible.builtin.fail") else None
            text = " ".join(re.sub(r"{%.*?%}", " ", re.sub(r"{{.*?}}", "…", str(said or ""), flags=re.S), flags=re.S).split())
            if len(text.split()) > 3:
                yield text
            yield from _of_tasks(value)
