# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be known before a cluster is formed or grown? Pure: what is wanted and what the hosts showed, in; findings, out.

Every host is one dict ("entry"):

* ``host``: inventory name; ``in_play``: False when --limit leaves it out; ``unreachable``: why it could not be looked at, else "".
* ``wants``: what the inventory says: ``id``, ``address``, ``cluster_port``, ``management_port``, ``app_http_port`` (as written there),
  ``cluster_protocol``, ``heap``, ``gc``, ``environment``, ``content``, ``profile``, ``disk_mb``, ``java``, ``java_version``, ``java_install``,
  ``java_package``, ``service``.
* ``facts``: what aether_preflight_info returns, None when there is nothing.
* ``listen_errors``: ``[{name, error}]``, ports on which no listener could be opened; ``arrived``: ``[{host, name}]``, whose questions the listeners
  heard, None when they could not be asked.
* ``probes``: ``[{host, name, result, detail}]``, the answers this host got; ``result`` is ok, refused, timeout, unresolved or error.
* ``jar``: ``path``, ``url``, ``wanted``, ``found`` (sha256), ``size`` (bytes), ``trouble``.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, dataclass
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from .config_rules import ENVIRONMENTS, java_findings, list_findings, peer_findings, port_findings, toml_findings
from .listening import LISTENER
from .ports import SPARE, UDP, between_nodes, named_ports, number
from .sizing import HEAP_WARNING_SHARE, MEMORY_SHARE, PROFILES, usual_profile

ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (ERROR, WARNING, NOTE)
SIZES = (3, 5, 7)
CLOCK_TOLERANCE = 2.0  # seconds between any two hosts
_HEAP = re.compile(r"^([1-9][0-9]*)([mg])$")


@dataclass(frozen=True)
class Finding:
    """``code`` to branch on; ``level``; ``host`` (inventory name, empty when about all); ``message``: what, and what to do; ``peer``: the other of a pair."""

    code: str
    level: str
    host: str
    message: str
    peer: str = ""

    def as_data(self) -> Dict[str, str]:
        return asdict(self)


# --- what is asked ------------------------------------------------------------------------------------------------------


def reach_targets(entries: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """Whom every host asks: [{host, address, name, protocol, port, method, nonce}].

    A free port has a listener and is asked by ``listener``; a port that the node's own service holds is asked in the service's own way:
    ``quic`` or ``connect``. A gossip port in use says nothing to strangers and is not asked, nor is one that somebody else holds.
    Every host asks itself, too: what does not answer there is not the network's fault.
    """
    targets = []
    for entry in entries:
        facts = entry.get("facts")
        if not facts:
            continue
        for port in between_nodes(facts["ports"], facts.get("spare_port") or 0):
            method = _method(port)
            if method is not None:
                targets.append(_target(entry, port, method))
    return targets


def _method(port: Mapping[str, Any]) -> Optional[str]:
    if port["state"] == "free":
        return "listener"
    if port["state"] != "service" or port["name"] == "gossip":
        return None
    return "quic" if port["protocol"] == UDP else "connect"


def _target(entry, port, method):
    return dict(
        {k: port[k] for k in ("name", "protocol", "port")},
        host=entry["host"],
        address=entry["wants"]["address"],
        method=method,
        nonce=entry["facts"].get("nonce") or "",
    )


# --- the judgement ------------------------------------------------------------------------------------------------------


def judge(
    entries: Sequence[Mapping[str, Any]],
    allow_even: bool = False,
    leaving: Sequence[str] = (),
    accept: Sequence[str] = (),
    retired: int = 0,
    access: Iterable[Finding] = (),
) -> List[Finding]:
    """All findings, errors first. ``leaving``: ids that are taken out and count as voters no more; ``accept``: codes whose errors
    are only warnings; ``retired``: how many voters there are besides that do not run and stay in every list; ``access``: what the nodes that
    run have themselves against being asked.
    """
    found: List[Finding] = list(access)
    found.extend(_presence(entries))
    found.extend(_ids(entries))
    found.extend(_voters(entries, allow_even, leaving, retired))
    found.extend(_configuration(entries, leaving))
    found.extend(_ports(entries))
    found.extend(reach_findings(entries))
    for entry in entries:
        if entry.get("facts"):
            found.extend(_machine(entry, len(entries)))
    found.extend(_clocks(entries))
    found.extend(_jars(entries))
    found = [_accepted(f) if f.level == ERROR and f.code in accept else f for f in found]
    return sorted(found, key=lambda f: LEVELS.index(f.level))


def not_asked(why: str) -> Finding:
    return Finding("not_judged", NOTE, "", "What the nodes that run let the plays do was not judged: %s" % why)


def _accepted(finding: Finding) -> Finding:
    return Finding(finding.code, WARNING, finding.host, finding.message + " (Accepted by aether_preflight_accept.)", finding.peer)


def lines(findings: Iterable[Finding]) -> List[str]:
    """One line per sentence, with all hosts that it is about, for people."""
    grouped: Dict[Tuple[str, str, str], List[str]] = {}
    for finding in findings:
        hosts = grouped.setdefault((finding.level, finding.code, finding.message), [])
        if finding.host and finding.host not in hosts:
            hosts.append(finding.host)
    return ["%s (%s)%s: %s" % (level.upper(), code, " " + ", ".join(hosts) if hosts else "", message) for (level, code, message), hosts in grouped.items()]


def _presence(entries):
    for entry in entries:
        if entry.get("facts"):
            continue
        if not entry.get("in_play", True):
            yield Finding("left_out", NOTE, entry["host"], "--limit leaves this host out: nothing on it was judged.")
        else:
            why = (entry.get("unreachable") or "no answer").strip().splitlines()[-1]  # ssh's own words come last
            yield Finding(
                "unreachable",
                ERROR,
                entry["host"],
                "The host cannot be reached (%s), so nothing on it was judged. Bring it back, or take it out of aether_nodes." % why.strip().rstrip("."),
            )


def _ids(entries):
    hosts_of: Dict[str, List[str]] = {}
    for entry in entries:
        hosts_of.setdefault(str(entry["wants"]["id"]), []).append(entry["host"])
    for identity, hosts in hosts_of.items():
        if len(hosts) > 1:
            yield Finding("id_twice", ERROR, "", "The node id %s belongs to %s; give every host its own aether_node_id." % (identity, " and ".join(hosts)))
    for entry in entries:
        before, wanted = (entry.get("facts") or {}).get("node_id"), str(entry["wants"]["id"])
        if before and before != wanted:
            yield Finding(
                "id_changed",
                ERROR,
                entry["host"],
                "The node on this host is %s and the inventory calls it %s: under another id it would be one more voter, and %s one that never comes back. "
                "Set aether_node_id to %s; to give the host to another node, take %s out of the cluster first and remove its unit."
                % (before, wanted, before, before, before),
            )


def _voters(entries, allow_even, leaving, retired):
    count = retired + sum(1 for e in entries if str(e["wants"]["id"]) not in leaving)
    if count in SIZES:
        return
    if count and count % 2 == 0 and count < SIZES[-1]:
        sentence = "The cluster would have %d voters, an even number: it costs a node and can lose no more than %d voters can." % (count, count - 1)
        if allow_even:
            yield Finding("voters", NOTE, "", sentence + " (Allowed by aether_allow_even.)")
        else:
            yield Finding("voters", ERROR, "", sentence + " Name 3, 5 or 7 hosts in aether_nodes, or set aether_allow_even=true for the time being.")
    else:
        yield Finding("voters", ERROR, "", "The cluster would have %d voter%s; name 3, 5 or 7 hosts in aether_nodes." % (count, "" if count == 1 else "s"))


def _configuration(entries, leaving):
    """The product's own rules (docs/product.md 1), without what is said about the whole cluster elsewhere."""
    peers = ["%s:%s:%s" % (e["wants"]["id"], e["wants"]["address"], e["wants"]["cluster_port"]) for e in entries]
    running = {}
    for entry in entries:
        listed = (entry.get("facts") or {}).get("peers") or []
        if listed and all(p.count(":") >= 2 for p in listed):
            running[entry["wants"]["id"]] = [p.split(":")[0] for p in listed]
    for entry, peer in zip(entries, peers):
        wants = entry["wants"]
        sentences = peer_findings("", [peer.rpartition(":")[0] + ":1"])  # the id and the address; ports are next
        ports = [number(wants.get(key)) for key in ("cluster_port", "management_port", "app_http_port")]
        for key, port in zip(("cluster_port", "management_port", "app_http_port"), ports):
            if port is None and wants.get(key) is not None:
                sentences.append("aether_%s is '%s'; write a port from 1 to 65535." % (key, wants[key]))
        if None not in ports:
            sentences.extend(port_findings(*ports))
        sentences.extend(java_findings(wants.get("heap"), wants.get("gc")))
        if wants.get("environment") is not None and wants["environment"] not in ENVIRONMENTS:
            sentences.append("aether_environment is '%s'; it must be one of %s." % (wants["environment"], ", ".join(ENVIRONMENTS)))
        if not sentences and wants.get("content") is not None:  # which says the same once more
            sentences.extend(toml_findings(wants["content"], ports[0], ports[1]))
        sentences.extend(wants.get("secrets") or [])
        for sentence in dict.fromkeys(sentences):
            yield Finding("configuration", ERROR, entry["host"], sentence)
    for sentence in list_findings(peers, running, leaving):
        yield Finding("lists", ERROR, "", sentence)


def _ports(entries):
    for first, second in itertools.combinations(entries, 2):
        if str(first["wants"]["address"]) != str(second["wants"]["address"]):
            continue
        taken = {(p.protocol, p.number) for p in named_ports(first["wants"])}
        same = ["%s %d/%s" % (p.name, p.number, p.protocol) for p in named_ports(second["wants"]) if (p.protocol, p.number) in taken]
        if same:
            yield Finding(
                "port_twice",
                ERROR,
                second["host"],
                "%s has its ports %s under the same address %s; give one of them other ports, or its own aether_address."
                % (first["host"], ", ".join(same), first["wants"]["address"]),
            )
    for entry in entries:
        facts = entry.get("facts")
        if not facts:
            continue
        failed = {p["name"]: p["error"] for p in entry.get("listen_errors") or []}
        for port in facts["ports"]:
            where = "The %s port %d/%s" % (port["name"], port["port"], port["protocol"])
            if port["state"] == "other" and port["process"] == LISTENER:
                yield Finding(
                    "port_taken",
                    ERROR,
                    entry["host"],
                    "%s is held by the listener of another preflight, or of one that was interrupted: it ends by itself. Run this again in a minute." % where,
                )
            elif port["state"] == "other":
                holder = (
                    "%s (pid %s%s)" % (port["process"], port["pid"], ", unit %s" % port["unit"] if port.get("unit") else "")
                    if port.get("pid")
                    else "a process that cannot be seen"
                )
                yield Finding(
                    "port_taken", ERROR, entry["host"], "%s is taken by %s: %s Stop that, or choose another port." % (where, holder, _if_taken(port["name"]))
                )
            elif port["state"] == "free" and port["name"] in failed:
                yield Finding(
                    "port_taken",
                    ERROR,
                    entry["host"],
                    "%s looks free and cannot be opened (%s): %s Choose another port." % (where, failed[port["name"]], _if_taken(port["name"])),
                )
            elif port["port"] < facts.get("unprivileged_port_start", 1024):
                yield Finding(
                    "port_privileged",
                    ERROR,
                    entry["host"],
                    "%s is one that only root may open, and the node does not run as root. Choose one from %d on."
                    % (where, facts.get("unprivileged_port_start", 1024)),
                )


def _if_taken(name: str) -> str:
    if name == "gossip":
        return "the node would run on, half deaf."
    if name == "app-http":
        return "applications would not be reached there."
    return "the node would end a few seconds after its start."


# --- who reaches whom ---------------------------------------------------------------------------------------------------


def reach_findings(entries: Sequence[Mapping[str, Any]]) -> List[Finding]:
    """At most one finding for each ordered pair of hosts, from the one that cannot reach to the one it cannot reach.

    A question to a listener counts as arrived when the listener heard it, whatever became of the answer; so a one-way block is seen
    from its own side, and what fails only because the answer comes through that block is not held against the way there.
    """
    seen = {e["host"]: e for e in entries if e.get("facts")}
    results = {(a, p["host"], p["name"]): p for a, e in seen.items() for p in e.get("probes") or []}
    heard: Dict[str, Optional[Set[Tuple[str, str]]]] = {
        h: None if e.get("arrived") is None else {(x["host"], x["name"]) for x in e["arrived"]} for h, e in seen.items()
    }
    ports = {h: {p["name"]: p for p in e["facts"]["ports"] if p["name"] != "app-http"} for h, e in seen.items()}
    found: List[Finding] = []
    silent: Set[Tuple[str, str]] = set()  # (host, port) whose service does not even answer its own host
    for host, entry in seen.items():
        found.extend(_own(host, entry, ports[host], results, silent))
    blocked: Dict[Tuple[str, str], Dict[str, str]] = {}
    lost: Dict[Tuple[str, str], List[str]] = {}
    pairs = [(a, b) for a in seen for b in seen if a != b]
    for a, b in pairs:
        for name, port in ports[b].items():
            probe = results.get((a, b, name))
            if probe is None or probe["result"] == "ok" or (b, name) in silent:
                continue
            if probe["result"] in ("unresolved", "error"):
                found.append(
                    Finding(
                        "unresolved" if probe["result"] == "unresolved" else "probe",
                        ERROR,
                        a,
                        "%s cannot ask %s under %s: %s. Mend the name or aether_address." % (a, b, seen[b]["wants"]["address"], probe["detail"]),
                        b,
                    )
                )
                break
            arrived = _arrived(a, b, name, heard, port)
            if arrived or (arrived is None and probe["result"] == "timeout" and _passes(a, b, results, heard) and not _passes(b, a, results, heard)):
                lost.setdefault((a, b), []).append(name)
            else:
                blocked.setdefault((a, b), {})[name] = (
                    "refused" if probe["result"] == "refused" else "certain" if arrived is False or _passes(b, a, results, heard) else "silent"
                )
    for (a, b), names in lost.items():
        if (a, b) not in blocked and (b, a) not in blocked:
            blocked[b, a] = {name: "answers" for name in names}
    for a, b in pairs:
        if (a, b) in blocked:
            judged = any((b, a, name) in results and (a, name) not in silent for name in blocked[a, b])
            found.append(_blocked(a, b, blocked[a, b], (b, a) in blocked, judged, ports, seen))
    return found


def _own(host, entry, ports, results, silent):
    """What the host could not even get from itself; fills ``silent``."""
    silent.update((host, p["name"]) for p in entry.get("listen_errors") or [])  # said as port_taken
    for name, port in ports.items():
        if (host, name) in silent:
            continue
        own = results.get((host, host, name))
        if port["state"] == "service" and name == "gossip":
            yield Finding(
                "not_judged", NOTE, host, "Its gossip port %d/udp is in use and answers no stranger, so who reaches it was not judged." % port["port"]
            )
        elif own is not None and own["result"] != "ok" and own["result"] not in ("unresolved", "error"):
            silent.add((host, name))
            if port["state"] == "service" and name == "cluster" and port["protocol"] == UDP:
                yield Finding(
                    "not_judged",
                    NOTE,
                    host,
                    "The node does not answer on its cluster port %d/udp as QUIC does, not even to its own host, so who reaches it was not judged."
                    % port["port"],
                )
            else:
                yield Finding(
                    "no_answer",
                    ERROR,
                    host,
                    "Its %s port %d/%s does not answer under %s even to the host itself (%s). Is that address this host's (aether_address), and does a firewall"
                    " on the host let it through?" % (name, port["port"], port["protocol"], entry["wants"]["address"], own["result"]),
                )


def _arrived(a, b, name, heard, port) -> Optional[bool]:
    """Whether a listener on ``b`` heard ``a``; None when it cannot tell: no listener, or TCP, where also the handshake's answer must get back."""
    if name not in (SPARE,) and (port["state"] != "free" or port["protocol"] != UDP):
        return None
    return None if heard[b] is None else (a, name) in heard[b]


def _passes(source, target, results, heard) -> bool:
    """Whether anything at all is known to have got from ``source`` to ``target``: a question, or an answer to one of the target's."""
    if heard[target] is not None and any(who == source for who, _name in heard[target]):
        return True
    return any(p["result"] == "ok" for (x, y, _name), p in results.items() if {x, y} == {source, target})


def _blocked(a, b, names, both, judged, ports, seen) -> Finding:
    """``both``: the other way is blocked, too; ``judged``: whether it could be asked on one of these ports."""
    how = set(names.values())
    listed = ", ".join(
        "%s %d/%s" % (name, ports[b].get(name, ports[a].get(name))["port"], ports[b].get(name, ports[a].get(name))["protocol"]) for name in names
    )
    if how == {"answers"}:
        listed = ", ".join("%s %d/%s" % (name, ports[a][name]["port"], ports[a][name]["protocol"]) for name in names)
        message = "Answers from %s (%s) do not get back to %s: questions to its ports %s arrive. Open the way back in the firewalls between them." % (
            a,
            seen[a]["wants"]["address"],
            b,
            listed,
        )
        return Finding("blocked", ERROR, a, message, b)
    if both:
        direction = (
            "nor does %s reach %s" % (b, a) if how != {"silent"} else "nor the other way; where a question stays without an answer, either of them may be lost"
        )
    elif not judged and how != {"answers"}:
        direction = "the other way cannot be judged, since %s answers no stranger there" % a
    else:
        direction = "the other way is open: the block is one-way, from %s to %s" % (a, b)
    return Finding(
        "blocked",
        ERROR,
        a,
        "%s does not reach %s (%s) on %s%s; %s. Open these ports between them in the firewalls, in both directions."
        % (a, b, seen[b]["wants"]["address"], listed, " (rejected)" if how == {"refused"} else "", direction),
        b,
    )


# --- one machine --------------------------------------------------------------------------------------------------------


def _machine(entry, count):
    facts, wants, host = entry["facts"], entry["wants"], entry["host"]
    yield from _java(facts, wants, host)
    profile = wants.get("profile") or ""
    if profile and profile not in PROFILES:
        yield Finding("profile", ERROR, host, "aether_profile is '%s'; it must be one of %s." % (profile, ", ".join(PROFILES)))
        profile = ""
    level = ERROR if profile else WARNING
    row = profile or usual_profile(count)
    cores, memory = PROFILES[row][:2]
    who = "aether_profile %s" % row if profile else "the profile %s, the usual one for %d nodes," % (row, count)
    advice = "Give it more, or %s aether_profile." % ("choose another" if profile else "say what is meant with")
    if facts["cores"] < cores:
        yield Finding("cores", level, host, "It has %d core%s and %s wants %d. %s" % (facts["cores"], "" if facts["cores"] == 1 else "s", who, cores, advice))
    if facts["memory_mb"] < memory * 1024 * MEMORY_SHARE:
        yield Finding("memory", level, host, "It has %.1f GB of memory and %s wants %d. %s" % (facts["memory_mb"] / 1024, who, memory, advice))
    heap = heap_mb(wants.get("heap"))
    if heap is not None and heap >= facts["memory_mb"]:
        yield Finding(
            "heap",
            ERROR,
            host,
            "aether_heap %s does not fit into its memory of %d MB: the kernel would kill the node. Use at most %d MB."
            % (wants["heap"], facts["memory_mb"], facts["memory_mb"] * HEAP_WARNING_SHARE),
        )
    elif heap is not None and heap > facts["memory_mb"] * HEAP_WARNING_SHARE:
        yield Finding(
            "heap",
            WARNING,
            host,
            "aether_heap %s is more than %d %% of its memory of %d MB, and the JVM needs more than its heap. Use at most %d MB."
            % (wants["heap"], HEAP_WARNING_SHARE * 100, facts["memory_mb"], facts["memory_mb"] * HEAP_WARNING_SHARE),
        )
    jar_mb = ((entry.get("jar") or {}).get("size") or 0) / 1e6
    for disk in facts["disks"]:
        if jar_mb and disk.get("jar") and disk["free_mb"] < 2 * jar_mb:
            yield Finding(
                "disk",
                ERROR,
                host,
                "%d MB are free at %s, too little for the JAR (%.0f MB) beside the release that runs. Make room there."
                % (disk["free_mb"], disk["path"], jar_mb),
            )
        elif disk["free_mb"] < wants.get("disk_mb", 0):
            yield Finding(
                "disk", level, host, "%d MB are free at %s, less than aether_disk_mb (%d). Make room there." % (disk["free_mb"], disk["path"], wants["disk_mb"])
            )


def _java(facts, wants, host):
    needed, there = int(wants.get("java_version") or 0), facts["java_version"]
    if there >= needed:
        return
    what = "'%s' is Java %d" % (wants["java"], there) if there else "there is no Java under '%s'" % wants["java"]
    sentence = "%s, and this release needs Java %d" % (what[0].upper() + what[1:], needed)
    if wants.get("java_install") and "/" not in wants["java"] and facts.get("apt"):
        yield Finding("java", NOTE, host, "%s: %s will be installed (aether_java_install)." % (sentence, wants["java_package"]))
    elif wants.get("java_install") and "/" in wants["java"]:
        yield Finding(
            "java", ERROR, host, "%s; a package does not change what is under that path. Install Java %d there, or correct aether_java." % (sentence, needed)
        )
    else:
        yield Finding(
            "java", ERROR, host, "%s. Install it, name it with aether_java%s." % (sentence, ", or allow aether_java_install" if facts.get("apt") else "")
        )


def heap_mb(heap: Any) -> Optional[int]:
    """Megabytes of a heap like 512m or 4g, None for anything else."""
    found = _HEAP.match(str(heap))
    return int(found.group(1)) * (1024 if found.group(2) == "g" else 1) if found else None


# --- clocks -------------------------------------------------------------------------------------------------------------


def clock_bounds(clock: Mapping[str, float]) -> Tuple[float, float]:
    """Between which values (seconds) the host's clock is ahead of the controller's.

    ``sent``, ``received``: the controller's clock before and after; ``began``, ``ended``: the host's, in between.
    """
    return clock["ended"] - clock["received"], clock["began"] - clock["sent"]


def _clocks(entries):
    """Only what is certain: a difference that the time on the way cannot explain."""
    bounds = {e["host"]: clock_bounds(e["facts"]["clock"]) for e in entries if e.get("facts") and e["facts"].get("clock")}
    if len(bounds) < 2:
        return
    by_middle = sorted(bounds, key=lambda h: sum(bounds[h]))
    middle = by_middle[len(by_middle) // 2 if len(by_middle) % 2 else len(by_middle) // 2 - 1]
    off = [h for h in bounds if _apart(bounds[h], bounds[middle]) > CLOCK_TOLERANCE]
    for host in off:
        yield _clock(host, middle, bounds, "the others'" if len(bounds) > 2 else "that of " + middle)
    for first, second in itertools.combinations([h for h in bounds if h not in off], 2):
        if _apart(bounds[first], bounds[second]) > CLOCK_TOLERANCE:
            yield _clock(second, first, bounds, "that of " + first)


def _clock(host, other, bounds, whose) -> Finding:
    seconds = (sum(bounds[host]) - sum(bounds[other])) / 2
    return Finding(
        "clock", ERROR, host,
        "Its clock is about %.0f s %s %s; at most %.0f s are allowed. Let it follow a time server (chrony or systemd-timesyncd)."
        % (abs(seconds), "ahead of" if seconds > 0 else "behind", whose, CLOCK_TOLERANCE),
    )


def _apart(one: Tuple[float, float], other: Tuple[float, float]) -> float:
    """The least difference that two pairs of bounds leave possible; 0 when they overlap."""
    return max(one[0] - other[1], other[0] - one[1], 0.0)


# --- the JAR ------------------------------------------------------------------------------------------------------------


def _jars(entries):
    """Once per JAR, not per host: it lies on the controller."""
    seen: Set[FrozenSet] = set()
    for entry in entries:
        jar = entry.get("jar")
        if jar is None or frozenset(jar.items()) in seen:
            continue
        seen.add(frozenset(jar.items()))
        path, url, wanted = jar.get("path"), jar.get("url"), (jar.get("wanted") or "").lower()
        if path and url:
            yield Finding("jar", ERROR, "", "Both aether_jar and aether_jar_url are set; keep the one that is meant.")
        elif url and not re.match(r"^[0-9a-f]{64}$", wanted):
            yield Finding("jar", ERROR, "", "aether_jar_url needs aether_jar_sha256, 64 hexadecimal digits: without it nobody knows what is downloaded.")
        elif path and jar.get("trouble"):
            yield Finding(
                "jar",
                ERROR,
                "",
                "The JAR '%s' cannot be read on the controller (%s). Set aether_jar to the path of aether-node.jar there." % (path, jar["trouble"]),
            )
        elif path and wanted and wanted != jar.get("found"):
            yield Finding(
                "jar",
                ERROR,
                "",
                "The sha256 of %s is %s and aether_jar_sha256 says %s. Take the right file or correct the checksum." % (path, jar.get("found"), wanted),
            )
        elif not path and not url:
            yield Finding("not_judged", NOTE, "", "Neither aether_jar nor aether_jar_url is set, so no JAR was judged; plays that install need one of them.")
