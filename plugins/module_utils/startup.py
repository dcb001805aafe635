# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Did this start go as it was meant, or did the product quietly make do with less?

A bad file, list, id or port is hardly ever fatal to the product: it logs a line, or not even that, and runs on with less (docs/product.md 1, 2, 7).
Pure: what the host knows of the start (module aether_start_info), what the node says of itself, and what was wanted, in; findings out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence

from .ports import GOSSIP_OFFSET


_DROPPED = "Failed to load config: "
_BAD_PEER = re.compile(r"Invalid peer format: (.*?)\. Expected")
_STARTING = re.compile(r"Starting Aether node NodeId\[id=([^\]]*)\]( on port)?")
_PEERS = re.compile(r"\bPeers: \[(.*)")
_PEER = re.compile(r"NodeInfo\[id=NodeId\[id=([^\]]+)\], address=NodeAddress\[host=([^,\]]+), port=(\d+)\]")
_CONFIG = re.compile(r"\bConfig: environment=")
_NO_TLS = "Failed to setup TLS: "
_WITHOUT_TLS = ("SECURITY WARNING: Running without TLS", "Creating insecure QUIC")
_PLACEHOLDER = re.compile(r"^\s*([A-Za-z0-9_.-]+)\s*=.*?(\$\{[^}]*\})")

# Lines that say why a process ended, the most telling first, each with what to do.
_CAUSES = (
    ("Address already in use", "Another process holds that port: find it with 'ss -lntup' on the host and stop it, or choose another port."),
    ("must be in coreNodes", "The unit passes no --peers, and the list that the product made up lacks the node: write the unit again with the whole list."),
    ("NumberFormatException", "A port in the arguments of the unit is no number: correct it."),
    ("UnsupportedClassVersionError", "Java is too old for this release: install a newer one, or point aether_java to it."),
    ("Unable to access jarfile", "The JAR is not where the unit looks for it: install the release again."),
    ("Failed to start node", "Mend what the line says."),
    ("Exception in thread", "Mend what the line says."),
    ("Error: ", "Mend what the line says."),
)
# Lines after which a node that goes on running is never going to be a member (docs/product.md 7, 8), with the reason and what to do.
_NEVER_FORMS = (
    (
        "NO_APPLICATION_PROTOCOL",
        "the handshake between the nodes fails, which it always does in this release once TLS is on. Switch TLS off, or use a release in which it works.",
    ),
    ("Failed to deserialize Hello response", "another member speaks another release's protocol. Give all members the same release."),
    ("Cluster formation failed: ", "the product gave up forming the cluster. Mend what the line says, then stop the node and start it again."),
)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was meant. ``evidence``: the line of the journal, or what else shows it."""

    code: str
    message: str
    evidence: str = ""

    def as_data(self) -> Dict[str, str]:
        return {"code": self.code, "message": self.message, "evidence": self.evidence}


@dataclass(frozen=True)
class Wanted:
    """What the inventory says of the node.

    ``peers``: ``id:host:port`` of every voter, itself included. ``release``: the sha256 of the JAR or its first digits; empty: any.
    ``keys``: whether API keys are configured. ``banner``: a text that the release's banner has; empty: any.
    """

    node_id: str
    peers: Sequence[str] = ()
    release: str = ""
    cluster_port: int = 8090
    keys: bool = False
    tls: bool = False
    banner: str = ""


@dataclass(frozen=True)
class Answers:
    """What the node says of itself over HTTP; the defaults mean: not known.

    ``core_nodes``: ids of the list it runs with. ``anonymous``: whether a read without a key is answered.
    ``has_lists``: whether its dialect has ids and lists of its own; the runbook's has not, and peers go by their addresses there.
    """

    node_id: Optional[str] = None
    core_nodes: FrozenSet[str] = frozenset()
    anonymous: Optional[bool] = None
    has_lists: bool = True


def judge(start: Mapping[str, Any], answers: Answers, wanted: Wanted) -> List[Finding]:
    """All findings, in the order in which they are worth mending; an empty list for a start that went as it was meant.

    ``start``: ``running``, ``exit_code``, ``lines``, ``sha256``, ``config``, ``placeholders``, ``ports`` as aether_start_info returns them;
    what is missing there, or in ``answers``, is not judged.
    """
    lines = [str(line) for line in start.get("lines") or ()]
    found = _exited(start, lines, wanted) + _config(start, lines, answers, wanted) + _release(start, lines, wanted)
    if not start.get("running", True):
        return found  # nothing runs, so nothing runs with less than it should
    return (
        found
        + _identity(lines, answers, wanted)
        + _peers(lines, answers, wanted)
        + _api(answers, wanted)
        + _tls(lines, wanted)
        + _gossip(start, wanted)
        + _formed(lines, wanted)
    )


def placeholders(text: str) -> List[str]:
    """``line N: key = ${…}`` for every value of an aether.toml that the product would take literally."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _PLACEHOLDER.match(line)
        if match:
            found.append("line %d: %s = %s" % (number, match.group(1), match.group(2)))
    return found


def _exited(start, lines, wanted):
    if start.get("running", True):
        return []
    for mark, remedy in _CAUSES:
        cause = _first(lines, mark)
        if cause:
            break
    else:
        cause, remedy = (lines[-1] if lines else ""), "Look at its journal, then start it again."
    said = " It said: %s." % _said(cause) if cause else ""
    code = start.get("exit_code")
    ended = "does not run" if code is None else "ended with exit code %s" % code
    return [Finding("exited", "%s %s after its start.%s %s" % (wanted.node_id, ended, said, remedy), cause)]


def _config(start, lines, answers, wanted):
    file = start.get("config") or "aether.toml"
    dropped = [n for n, line in enumerate(lines) if _DROPPED in line]
    if dropped:
        text = lines[dropped[0]]
        why = [text.partition(_DROPPED)[2]] + [line.strip(" |-") for line in _continued(lines, dropped[0])]
        return [
            Finding(
                "config_dropped",
                "%s dropped the whole of %s and runs on defaults, without API keys and TLS: %s. Correct the file, then stop the node and start it again."
                % (wanted.node_id, file, " ".join(why).rstrip(".")),
                "\n".join([text] + _continued(lines, dropped[0])),
            )
        ]
    if start.get("placeholders"):
        return [
            Finding(
                "config_dropped",
                "%s takes literally what %s means as a placeholder (%s): the product replaces none. Put the value into the environment of the service, as"
                " AETHER_CLUSTER_SECRET or AETHER_API_KEYS, and take the line out." % (wanted.node_id, file, "; ".join(start["placeholders"])),
                start["placeholders"][0],
            )
        ]
    started = any(m and not m.group(2) for m in map(_STARTING.search, lines))
    if start.get("running", True) and answers.has_lists and started and not any(_CONFIG.search(line) for line in lines):
        return [
            Finding(
                "config_dropped",
                "%s loaded no configuration file and runs on defaults, without API keys and TLS. Give the unit --config=FILE, then stop the node and start it"
                " again."
                % wanted.node_id,
                "no line 'Config: environment=' in the journal of this start",
            )
        ]
    return []


def _release(start, lines, wanted):
    runs = str(start.get("sha256") or "").lower()
    if wanted.release and runs and not runs.startswith(wanted.release.lower()):
        return [
            Finding(
                "wrong_release",
                "%s runs another release than the wanted one: the JAR %s has the sha256 %s, wanted is %s. Install the wanted release, make it the current one,"
                " then stop the node and start it again." % (wanted.node_id, start.get("jar") or "", runs[:12], wanted.release[:12]),
                "sha256 %s" % runs,
            )
        ]
    if wanted.banner and any(_STARTING.search(line) for line in lines) and not _first(lines, wanted.banner):
        return [
            Finding(
                "wrong_release",
                "%s shows no banner with '%s', so it is another release than the wanted one. Look at the JAR that its unit starts; install the wanted release,"
                " then stop the node and start it again." % (wanted.node_id, wanted.banner),
                lines[0],
            )
        ]
    return []


def _own_id(lines, answers):
    """(id that the node runs under, the line that says so); (None, "") when nothing says it."""
    for line in lines:
        match = _STARTING.search(line)
        if match:
            return (answers.node_id if answers.has_lists and answers.node_id else match.group(1)), line
    return (answers.node_id, "it answers as %s" % answers.node_id) if answers.has_lists and answers.node_id else (None, "")


def _identity(lines, answers, wanted):
    own, line = _own_id(lines, answers)
    if own is None or own == wanted.node_id:
        return []
    return [
        Finding(
            "random_id",
            "%s runs under the id %s, and counts as one voter more than the lists name. The product takes a random id when it is given none: let the unit pass"
            " --node-id=%s (not a variable that may be empty), then stop the node and start it again." % (wanted.node_id, own, wanted.node_id),
            line,
        )
    ]


def _peers(lines, answers, wanted):
    by_id = {p.split(":")[0]: p for p in wanted.peers}
    unread = [m.group(1) for m in map(_BAD_PEER.search, lines) if m]
    line = next((text for text in lines if _PEERS.search(text)), "")
    entries = _PEER.findall(line)
    whole = line.endswith("]]")  # a journal may have cut a long line
    invented: List[str] = []
    dropped: List[str] = []
    if answers.has_lists:
        ids = answers.core_nodes or frozenset(entry[0] for entry in entries if whole)
        if by_id and ids:
            invented = sorted(ids - set(by_id) - {_own_id(lines, answers)[0]})
            renamed = {"node-" + "-".join(p.split(":")[1:]): i for i, p in by_id.items()}
            dropped = sorted(set(by_id) - ids - {renamed.get(i) for i in invented})
    elif whole:
        # Where ids are made up as a matter of course, an address is what tells a peer.
        addresses = {"%s:%s" % entry[1:] for entry in entries}
        dropped = sorted(i for i, p in by_id.items() if i != wanted.node_id and p.split(":", 1)[1] not in addresses)
    shown = line or "its list: %s" % ", ".join(sorted(answers.core_nodes))
    mend = "Write its unit again with the whole list, then stop the node and start it again."
    found = []
    if unread or dropped:
        unreadable = " It could not read %s." % ", ".join("'%s'" % e for e in unread) if unread else ""
        lacks = " It runs without %s." % ", ".join(dropped) if dropped else ""
        text = "%s dropped peers and counts fewer voters than there are.%s%s %s" % (wanted.node_id, unreadable, lacks, mend)
        found.append(Finding("peers_dropped", text, _first(lines, "Invalid peer format: ") or shown))
    if invented:
        text = "%s counts voters that nobody named: %s. The product makes up ids for entries without one: each is to be id:host:port. %s" % (
            wanted.node_id,
            ", ".join(invented),
            mend,
        )
        found.append(Finding("peers_invented", text, shown))
    elif answers.has_lists and _at_localhost(entries, by_id.get(wanted.node_id)):
        text = (
            "%s is missing in its own list and made up an entry: it tells the others to find it at 'localhost'. The list is to name the node itself, too"
            " (%s). %s" % (wanted.node_id, by_id[wanted.node_id], mend)
        )
        found.append(Finding("peers_invented", text, line))
    return found


def _at_localhost(entries, own):
    """Whether the node's own entry says 'localhost', where another address is wanted."""
    if own is None:
        return False
    node, host = own.split(":")[:2]
    return host != "localhost" and (node, "localhost") in (entry[:2] for entry in entries)


def _api(answers, wanted):
    if not (wanted.keys and answers.anonymous):
        return []
    return [
        Finding(
            "api_open",
            "%s answers everybody, though API keys are configured: they count only with '[app-http] enabled = true' in a file that was loaded. Correct its"
            " aether.toml, then stop the node and start it again; until then keep strangers off its management port."
            % wanted.node_id,
            "a read without a key was answered",
        )
    ]


def _tls(lines, wanted):
    failed = _first(lines, _NO_TLS)
    if failed:
        return [
            Finding(
                "no_tls",
                "%s runs without TLS, though its file asks for it: %s. Mend that, then stop the node and start it again."
                % (wanted.node_id, failed.partition(_NO_TLS)[2].rstrip(".")),
                failed,
            )
        ]
    without = next(filter(None, (_first(lines, mark) for mark in _WITHOUT_TLS)), "")
    if wanted.tls and without:
        return [
            Finding(
                "no_tls",
                "%s runs without TLS, though it is wanted. Set cluster.tls = true and tls.auto_generate = true in its aether.toml and AETHER_CLUSTER_SECRET in"
                " its environment, then stop the node and start it again."
                % wanted.node_id,
                without,
            )
        ]
    return []


def _gossip(start, wanted):
    # The product says nothing of this, not in its journal either (recording startup/swim-port-in-use): only the host knows.
    gossip = (start.get("ports") or {}).get("gossip") or {}
    if gossip.get("held_by") != "other":
        return []
    who = gossip.get("holder") or "another process"
    return [
        Finding(
            "gossip_port_taken",
            "%s runs without its gossip port: UDP %d on its host is held by %s. It keeps running and hears too late of members that die. Stop that process, or"
            " choose another aether_cluster_port, then stop the node and start it again." % (wanted.node_id, wanted.cluster_port + GOSSIP_OFFSET, who),
            "UDP %d: %s" % (wanted.cluster_port + GOSSIP_OFFSET, who),
        )
    ]


def _formed(lines, wanted):
    for mark, why in _NEVER_FORMS:
        line = _first(lines, mark)
        if line:
            return [Finding("not_formed", "%s runs and is not going to be a member: %s" % (wanted.node_id, why), line)]
    return []


def _first(lines, mark):
    return next((line for line in lines if mark in line), "")


def _continued(lines, position):
    """The lines that the product indents below the one at ``position``."""
    found = []
    for line in lines[position + 1:]:
        if not re.match(r"\s+\|", line):
            break
        found.append(line)
    return found


def _said(line):
    """A line of the journal without the time and the place in the program."""
    return re.sub(r"^\d\d:\d\d:\d\d\.\d+ .*? - ", "", line).strip(" |").rstrip(".:")
