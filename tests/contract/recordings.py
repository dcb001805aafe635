# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recorded exchanges with the product, and how an answer is compared with a recorded one.

``tests/recordings/<release>/<scenario>/*.json``: one exchange a file, ``{node, request{method, path, headers, body},
response{status, headers, body}}``; ``timeline-*.json`` hold the events of a whole experiment, and every change of the
views that were sampled meanwhile.
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"

# What tells the elements of a list apart, where they are objects.
IDENTITIES = ("nodeId", "id", "name", "artifact", "type", "method")
# Values that differ from run to run; that they are there, and of which type, is compared all the same.
FREE = re.compile(
    r"\.(updatedAt|timestamp|deployedAt|uptimeSeconds|summary|metricsNodeCount)$|"
    r"^\.sliceCount$|\.(cpu\.usage|heap\.used|heap\.max|heap\.usage|mgmt\.port)$|\.details\.\w+$|"
    r"\.(app-http\.port|cluster\.ports\.\w+)$|^\.(md5|sha1|expiresAt|secondsUntilExpiry|lastRenewalAt)$"
)
# Documents of measurements: nothing but their make is compared.
MEASURED = ("/api/metrics", "/api/artifact-metrics")
# Where instances stand is chance; that there are as many, of the same make, is not.
PLACEMENT = re.compile(r"\.instances$")


class Exchange(NamedTuple):
    """``status`` None: nothing came back before the recorder gave up; ``body`` is then what went wrong. Else it is a JSON document or text."""

    release: str
    scenario: str
    name: str
    node: str
    method: str
    path: str
    headers: Dict[str, str]
    request_body: Optional[bytes]
    status: Optional[int]
    content_type: str
    body: Any

    @property
    def where(self) -> str:
        return "%s/%s/%s" % (self.release, self.scenario, self.name)


class Answer(NamedTuple):
    status: Optional[int]
    content_type: str
    body: Any


class Difference(NamedTuple):
    """``field``: dotted path in the answer, or ``status``, ``content-type``."""

    field: str
    text: str


def exchanges(release: str, scenario: str, *patterns: str) -> List[Exchange]:
    """The scenario's exchanges whose file name (without .json) fits a pattern (all without one), by name."""
    found = []
    for path in sorted((RECORDINGS / release / scenario).glob("*.json")):
        document = json.loads(path.read_text())
        if "request" not in document or patterns and not any(fnmatchcase(path.stem, p) for p in patterns):
            continue
        request, response = document["request"], document["response"]
        found.append(Exchange(
            release, scenario, path.stem, document["node"], request["method"], request["path"], dict(request["headers"] or {}),
            _sent(request["body"]), response["status"], response["headers"].get("content-type", ""), response["body"] if response["status"] else response.get("error", ""),
        ))
    return found


def _sent(body: Any) -> Optional[bytes]:
    """What the recorder sent; of an upload it kept the size only."""
    if body is None:
        return None
    if isinstance(body, (dict, list)):
        return json.dumps(body).encode()
    upload = re.match(r"^<(\d+) bytes>$", body)
    return bytes(int(upload.group(1))) if upload else body.encode()


class Timeline:
    """``events``: [{t: seconds, event: text}]; ``changes``: [{t, node, path, view: one line}]."""

    def __init__(self, release: str, scenario: str, name: str):
        document = json.loads((RECORDINGS / release / scenario / ("timeline-%s.json" % name)).read_text())
        self.events, self.changes = document["events"], document["changes"]

    def number(self, pattern: str) -> float:
        """The number that ``pattern`` captures in the first event it fits; LookupError without one."""
        return float(self._event(pattern).group(1))

    def time(self, pattern: str) -> float:
        """When the first event that fits happened."""
        return next(e["t"] for e in self.events if re.search(pattern, e["event"]))

    def _event(self, pattern):
        for event in self.events:
            match = re.search(pattern, event["event"])
            if match:
                return match
        raise LookupError("no event fits %s" % pattern)

    def seen(self, node: str, path: str, pattern: str, after: str) -> float:
        """Seconds from the event that fits ``after`` until a view of ``node`` first fitted ``pattern``; sampled once a second or less."""
        start = self.time(after)
        return next(c["t"] for c in self.changes if c["t"] > start and (c["node"], c["path"]) == (node, path) and re.search(pattern, c["view"])) - start


def compare(exchange: Exchange, answer: Answer) -> List[Difference]:
    """Status, content type, and the body's keys, types and values (but FREE ones); where TLS did not come about, for which reason."""
    if exchange.status != answer.status:
        return [Difference("status", "recorded %s, got %s: %s" % (exchange.status, answer.status, str(answer.body)[:120]))]
    if exchange.status is None and alert(exchange.body) != alert(answer.body):
        return [Difference("alert", "recorded %r, got %r" % (exchange.body, answer.body))]
    found = []
    if exchange.content_type.lower() != answer.content_type.lower():
        found.append(Difference("content-type", "recorded %r, got %r" % (exchange.content_type, answer.content_type)))
    if exchange.content_type.startswith("application/json"):
        found += _differences(*_placed(exchange, answer), "", values=not exchange.path.startswith(MEASURED))
    elif exchange.status == 404 and exchange.body and exchange.body != answer.body:
        found.append(Difference("", "recorded %r, got %r" % (exchange.body, answer.body)))
    return found


def alert(text: Any) -> str:
    """The reason in the error of a TLS handshake, as Python's ssl names it; empty where it is another error, or none."""
    found = re.search(r"\[SSL: (\w+)\]", str(text))
    return found.group(1) if found else ""


def _placed(exchange: Exchange, answer: Answer):
    """Whether this very node runs a slice is chance, too: then both have what only one of them has."""
    if exchange.path == "/api/node/slices" and bool(exchange.body) != bool(answer.body):
        both = dict(exchange.body, **answer.body)
        return both, both
    return exchange.body, answer.body


def _differences(recorded: Any, got: Any, path: str, values: bool) -> Iterator[Difference]:
    if _kind(recorded) != _kind(got):
        yield Difference(path, "recorded %s, got %s" % (_kind(recorded), _kind(got)))
    elif isinstance(recorded, dict):
        for key in sorted(set(recorded) | set(got)):
            here = "%s.%s" % (path, key)
            if key not in got:
                yield Difference(here, "is missing")
            elif key not in recorded:
                yield Difference(here, "is not in the recording")
            else:
                yield from _differences(recorded[key], got[key], here, values)
    elif isinstance(recorded, list):
        yield from _list_differences(recorded, got, path, values)
    elif values and not FREE.search(path) and recorded != got:
        yield Difference(path, "recorded %r, got %r" % (recorded, got))


def _list_differences(recorded: list, got: list, path: str, values: bool) -> Iterator[Difference]:
    placed = bool(PLACEMENT.search(path))
    if placed and len(recorded) != len(got):
        yield Difference(path, "recorded %d elements, got %d" % (len(recorded), len(got)))
    identity = next((key for key in IDENTITIES if recorded and all(isinstance(e, dict) and key in e for e in recorded)), None)
    if placed or identity is None:
        if bool(recorded) != bool(got):
            yield Difference(path, "recorded %d elements, got %d" % (len(recorded), len(got)))
        elif recorded and isinstance(recorded[0], (dict, list)):
            for element in got:
                yield from _differences(recorded[0], element, path + ".*", values and not placed)
        elif values and recorded and sorted(map(str, recorded)) != sorted(map(str, got)):
            yield Difference(path, "recorded %r, got %r" % (recorded, got))
        return
    known = {element[identity]: element for element in reversed(recorded)}
    there = {element.get(identity): element for element in reversed(got) if isinstance(element, dict)}
    for key in sorted(set(known) | set(there), key=str):
        here = "%s.%s" % (path, key)
        if key not in there:
            yield Difference(here, "is missing")
        elif key not in known:
            yield Difference(here, "is not in the recording")
        else:
            yield from _differences(known[key], there[key], here, values)


def _kind(value: Any) -> str:
    for kind, name in ((bool, "boolean"), ((int, float), "number"), (str, "text"), (dict, "object"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "null"
