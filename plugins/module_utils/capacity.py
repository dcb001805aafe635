# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Do we need more nodes, fewer, or larger ones? What would each carry if one were missing?

Pure: what was measured over a window, in; advice, out. The rules are the runbook's ("When to Scale"): processors above 70 % everywhere, latency that rises,
or slices that want more nodes, scale out; below 30 %, scale in, as long as the rest stays below 70 %. First more nodes, then larger ones.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .growth import LARGEST, Refusal
from .shrinking import SMALLEST
from .sizing import DEVELOPMENT, HEAP_WARNING_SHARE, MEMORY_SHARE, PROFILES, usual_profile

# The runbook's: (warning, critical). It has no critical one for heap; that is the product's own (docs/product.md 6).
THRESHOLDS = {"cpu.usage": (0.7, 0.9), "heap.usage": (0.8, 0.85)}
(BUSY, CRITICAL_CPU), (FULL, CRITICAL_HEAP) = THRESHOLDS["cpu.usage"], THRESHOLDS["heap.usage"]
IDLE = 0.3
LATENCY_SHARE = 0.2  # of its mean by which latency has to rise within the window; less is noise
TREND = 4  # samples of latency at least that show a trend
OK, WARNING, CRITICAL = "ok", "warning", "critical"
LEVELS = (OK, WARNING, CRITICAL)
OUT, IN, HOLD, UP = "scale_out", "scale_in", "hold", "size_up"


@dataclass(frozen=True)
class Sample:
    """One answer: seconds since the window began, parts of 1, bytes, requests per second, milliseconds. None: its API does not tell."""

    at: float
    cpu: float
    heap: Optional[float] = None
    heap_max: Optional[float] = None
    requests: Optional[float] = None
    latency: Optional[float] = None


@dataclass(frozen=True)
class Machine:
    """A member's host: memory and room on the disk in MB, and how many processes wanted to run on average of the last minute."""

    cores: int
    memory_mb: int
    available_mb: int = 0
    load: float = 0.0
    disk_mb: int = 0


def average(values: Iterable[Optional[float]]) -> Optional[float]:
    """Of those that are known; None when none is. Without the last digits, in which 0.7 and 0.7 and 0.7 are a little more than 0.7 on average."""
    known = [v for v in values if v is not None]
    return round(sum(known) / len(known), 9) if known else None


@dataclass(frozen=True)
class Load:
    """A member over the window. ``missed``: how often it was asked and did not tell; ``trouble``: why, the last time; ``down``: it was that nobody answered."""

    node: str
    samples: Tuple[Sample, ...] = ()
    missed: int = 0
    trouble: str = ""
    down: bool = False
    machine: Optional[Machine] = None

    @property
    def measured(self) -> bool:
        """One that tells less than half of the time is not, and never counts as idle."""
        return len(self.samples) > self.missed

    def mean(self, what: str) -> Optional[float]:
        return average(getattr(s, what) for s in self.samples)

    @property
    def cpu(self) -> float:
        return self.mean("cpu")

    @property
    def rise(self) -> Optional[float]:
        """Milliseconds by which latency rises from the first sample to the last, on the straight line that fits best; None: too few to tell."""
        points = [(s.at, s.latency) for s in self.samples if s.latency is not None]
        if len(points) < TREND or points[-1][0] <= points[0][0]:
            return None
        at, latency = (sum(values) / len(points) for values in zip(*points))
        slope = sum((x - at) * (y - latency) for x, y in points) / sum((x - at) ** 2 for x, _y in points)
        return slope * (points[-1][0] - points[0][0])

    def as_data(self) -> Dict[str, Any]:
        rounded = {what: _rounded(self.mean(what)) for what in ("cpu", "heap", "requests", "latency")}
        biggest = max((s.heap_max for s in self.samples if s.heap_max), default=None)
        return dict(
            rounded, node=self.node, measured=self.measured, samples=len(self.samples), missed=self.missed, trouble=self.trouble,
            latency_rise=_rounded(self.rise), heap_max=None if biggest is None else int(biggest), machine=asdict(self.machine) if self.machine else None,
        )


@dataclass(frozen=True)
class Finding:
    """``code`` to branch on; ``level``, of which ok is a remark; the member that it is about, or None; a sentence a person can act on."""

    code: str
    level: str
    node: Optional[str]
    sentence: str

    def as_data(self) -> Dict[str, Any]:
        return asdict(self)


@dataclass
class Advice:
    """``action``, one of the four; ``nodes``, how many there are to be, always odd; ``now``, how many there are.

    ``cpu``: the mean, None when nobody was measured; ``carried``: number of nodes -> the part of a processor that each would carry.
    """

    action: str = HOLD
    nodes: int = 0
    now: int = 0
    cpu: Optional[float] = None
    formula: str = ""
    carried: Dict[int, float] = field(default_factory=dict)
    findings: List[Finding] = field(default_factory=list)

    @property
    def level(self) -> str:
        return max((f.level for f in self.findings), key=LEVELS.index, default=OK)

    @property
    def sentence(self) -> str:
        """What to do."""
        if self.action == OUT:
            return "Scale out, from %d to %d nodes." % (self.now, self.nodes)
        if self.action == IN:
            return "Scale in, from %d to %d nodes, one at a time." % (self.now, self.nodes)
        if self.action == UP:
            return "Size up: larger nodes, not more than the %d there are." % self.now
        return "Hold: %d node%s." % (self.now, "" if self.now == 1 else "s")

    def as_data(self) -> Dict[str, Any]:
        return {
            "action": self.action, "level": self.level, "nodes": self.nodes, "now": self.now, "cpu": _rounded(self.cpu), "formula": self.formula,
            "carried": [{"nodes": count, "cpu": _rounded(cpu)} for count, cpu in self.carried.items()],
            "findings": [f.as_data() for f in self.findings], "sentence": self.sentence,
        }


def smallest(profile: str) -> int:
    """The fewest nodes there may be: production wants three."""
    return PROFILES[DEVELOPMENT].fewest if profile == DEVELOPMENT else SMALLEST


def odd(count: int) -> int:
    """The count itself, or the next one above."""
    return count + 1 - count % 2


def nodes_for(cpu: float) -> int:
    """How many nodes carry this sum of processors with at most 70 % each."""
    return math.ceil(round(cpu / BUSY, 9))


def advise(loads: Sequence[Load], profile: str = "", wanted: Optional[Mapping[str, int]] = None, degraded: str = "") -> Advice:
    """``loads``: of every member, measured or not. ``profile``: the row of the sizing table that is meant, empty for production of any size.

    ``wanted``: artifact -> instances. ``degraded``: what the cluster lacks to be whole, empty when it is: it is mended before it shrinks.
    """
    advice = Advice(now=len(loads), nodes=_within(len(loads), smallest(profile)))
    measured = [m for m in loads if m.measured]
    advice.findings = [*_degraded(degraded), *_unmeasured(loads), *_thresholds(measured), *_machines(loads, profile)]
    if not measured:
        return advice
    total = round(sum(m.cpu for m in measured), 9)
    advice.cpu = average(m.cpu for m in measured)
    advice.carried = {k: total / k for k in (len(measured) - 1, len(measured), len(measured) + 2) if k}
    needed = _within(nodes_for(total), smallest(profile))
    advice.formula = "n = ceil(sum of cpu / %g) = ceil(%.2f / %g) = %d, rounded up to odd, at least %d, at most %d: %d" % (
        BUSY, total, BUSY, nodes_for(total), smallest(profile), LARGEST, needed,
    )
    advice.findings += _without_one(advice, measured)
    signs = _signs(advice, measured, total, profile, wanted or {})
    fewer = None if signs or len(measured) < len(loads) else _fewer(advice, measured, total, profile, wanted or {})
    if not signs and fewer is None and advice.now % 2 == 0 and advice.now < LARGEST:
        sentence = "%d voters are an even number: they can lose no more than %d can." % (advice.now, advice.now - 1)
        signs = [(advice.now + 1, Finding("even", WARNING, None, sentence))]
    advice.findings += [finding for _count, finding in signs]
    if not degraded:
        _choose(advice, signs, fewer)
    return advice


def _choose(advice, signs, fewer) -> None:
    """First more nodes, then larger ones; instances that find no node are not helped by larger ones."""
    most = max((count for count, _finding in signs), default=0)
    heavier = max((count for count, finding in signs if finding.code != "slices"), default=0)
    if signs and advice.now < LARGEST:
        advice.action, advice.nodes = OUT, min(most, LARGEST)
    elif fewer is not None:
        advice.action, advice.nodes = IN, fewer
    elif heavier or any(f.code == "small" and f.level != OK for f in advice.findings):
        advice.action = UP
    if heavier > LARGEST:
        advice.findings.append(
            Finding("largest", WARNING, None, "The load wants %d nodes, and a cluster has %d at most: larger nodes as well." % (heavier, LARGEST))
            if advice.action == OUT
            else Finding("largest", WARNING, None, "The load wants more nodes, and a cluster has %d at most: larger nodes." % LARGEST)
        )


def _within(count: int, least: int) -> int:
    return min(max(odd(count), least), LARGEST)


def _signs(advice, measured, total, profile, wanted) -> List[Tuple[int, Finding]]:
    """What wants more nodes: (how many, why)."""
    found = []
    now, larger = advice.now, odd(advice.now + 1)
    if nodes_for(total) > now:
        found.append(
            (odd(nodes_for(total)), Finding("cpu", WARNING, None, "Processors are at %d %% on average, above %d %%." % (_percent(advice.cpu), _percent(BUSY))))
        )
    heap = average(m.mean("heap") for m in measured)
    if heap is not None and heap > FULL:
        sentence = "Heaps are at %d %% on average, above %d %%." % (_percent(heap), _percent(FULL))
        found.append((larger, Finding("heap", WARNING, None, sentence)))
    rising = _rising(measured)
    if rising:
        found.append((larger, Finding("latency", WARNING, None, rising)))
    artifact, most = max(wanted.items(), key=lambda entry: entry[1], default=("", 0))
    if most > now:
        sentence = "%s wants %d instances, one on each node, and there are %d nodes.%s" % (
            artifact, most, now, " A cluster has %d at most: want fewer instances." % LARGEST if most > LARGEST else "",
        )
        found.append((odd(most), Finding("slices", WARNING, None, sentence)))
    if now < smallest(profile):
        found.append((smallest(profile), Finding("few", WARNING, None, "Production wants %d nodes at least." % smallest(profile))))
    return found


def _rising(measured) -> str:
    """A sentence about latency that rises by more than a share of its mean, empty when it does not, or nobody can tell."""
    known = [m for m in measured if m.rise is not None]
    mean, rise = sum(m.mean("latency") for m in known), sum(m.rise for m in known)
    if not known or mean <= 0 or rise <= LATENCY_SHARE * mean:
        return ""
    return "Latency rises, by %d %% of its mean of %.1f ms within the window; more than %d %% counts." % (
        _percent(rise / mean), mean / len(known), _percent(LATENCY_SHARE),
    )


def _fewer(advice, measured, total, profile, wanted) -> Optional[int]:
    """The next smaller odd count, where processors are idle and so many can do the work, and lose one more."""
    count = min(odd(advice.now) - 2, LARGEST)
    if count < smallest(profile) or advice.cpu >= (IDLE if advice.now <= LARGEST else BUSY) or max(wanted.values(), default=0) > count:
        return None
    heaps = [m.mean("heap") or 0.0 for m in measured]
    carried = total / count < BUSY and sum(heaps) / count < FULL and (count == 1 or total / (count - 1) <= CRITICAL_CPU)
    return count if carried else None


def _degraded(what: str) -> List[Finding]:
    return [Finding("degraded", CRITICAL, None, "The cluster is not whole, which comes first: %s" % what)] if what else []


def _unmeasured(loads) -> List[Finding]:
    return [
        Finding("not_measured", WARNING, m.node, "%s was not measured, and what it carries is not known: %s" % (m.node, m.trouble or "it was not asked."))
        for m in loads
        if not m.measured
    ]


def _thresholds(measured) -> List[Finding]:
    """Each member against the runbook's thresholds."""
    found = []
    for member in measured:
        for what, name, (warning, critical) in (("cpu", "processor", THRESHOLDS["cpu.usage"]), ("heap", "heap", THRESHOLDS["heap.usage"])):
            value = member.mean(what)
            if value is not None and value > warning:
                limit = critical if value > critical else warning
                sentence = "%s: its %s is at %d %%, above %d %%." % (member.node, name, _percent(value), _percent(limit))
                found.append(Finding(what, CRITICAL if value > critical else WARNING, member.node, sentence))
    return found


def _without_one(advice, measured) -> List[Finding]:
    rest = len(measured) - 1
    if not rest or not _overloaded(advice.carried[rest]):
        return []
    sentence = "If one is lost, the other %d carry %d %% each: more than %d %%." % (rest, _percent(advice.carried[rest]), _percent(CRITICAL_CPU))
    return [Finding("without_one", WARNING, None, sentence)]


def _machines(loads, profile) -> List[Finding]:
    """Hosts that are smaller than the sizing table wants, and heaps that do not fit into them. Below a row that nobody named is a remark."""
    found = []
    for member in (m for m in loads if m.machine):
        node, machine = member.node, member.machine
        row = profile or usual_profile(len(loads))
        wants, level = PROFILES[row], WARNING if profile else OK
        who = "aether_profile %s" % row if profile else "the profile %s, the usual one for %d nodes," % (row, len(loads))
        lacks = ["%d cores, and %s wants %d" % (machine.cores, who, wants.cores)] if machine.cores < wants.cores else []
        if machine.memory_mb < wants.memory * 1024 * MEMORY_SHARE:
            lacks.append("%.1f GB of memory, and %s wants %d" % (machine.memory_mb / 1024, who, wants.memory))
        if lacks:
            found.append(Finding("small", level, node, "%s: its host has %s." % (node, "; ".join(lacks))))
        heap = max((s.heap_max for s in member.samples if s.heap_max), default=0) / 2**20
        if heap > machine.memory_mb * HEAP_WARNING_SHARE:
            sentence = "%s: its heap may become %d MB of the %d MB that its host has, and the JVM needs more than its heap: more memory, or a smaller heap." % (
                node, heap, machine.memory_mb,
            )
            found.append(Finding("heap_memory", CRITICAL if heap >= machine.memory_mb else WARNING, node, sentence))
        if member.measured and machine.load > machine.cores:
            sentence = "%s: %.1f processes want to run on %d cores of its host, of which the node uses %d %%." % (
                node, machine.load, machine.cores, _percent(member.cpu),
            )
            found.append(Finding("load", OK, node, sentence))
    return found


# --- before members are stopped ------------------------------------------------------------------------------------------


def left_with(loads: Sequence[Load], leaving: Sequence[str] = (), restarting: bool = False) -> Tuple[int, Optional[float]]:
    """(how many are left to carry it all when it is tightest, the part of a processor for each); None when nobody can tell.

    ``leaving``: ids that go for good; ``restarting``: whether those that stay are also stopped, one at a time. Who is down has no load that others
    would get; who stays and was not measured takes none; who goes and was not measured, though it runs, is taken for as busy as the busiest.
    """
    measured = [m for m in loads if m.measured]
    stay = [m for m in measured if m.node not in leaving]
    count = len(stay) - 1 if restarting and (len(stay) > 1 or not leaving) else len(stay)
    if count < 1:
        return 0, None
    unknown = [m for m in loads if not m.measured and not m.down and m.node in leaving]
    return count, (sum(m.cpu for m in measured) + len(unknown) * max(m.cpu for m in measured)) / count


def overload(loads: Sequence[Load], leaving: Sequence[str] = (), restarting: bool = False) -> Optional[Refusal]:
    """What is refused when those that are left would be critically busy; None when they would not."""
    count, cpu = left_with(loads, leaving, restarting)
    if cpu is None or not _overloaded(cpu):
        return None
    when = "Without %s" % ", ".join(leaving) if leaving else "With one of them stopped"
    if leaving and restarting:
        when += ", and while the others are restarted one at a time"
    total = cpu * count
    return Refusal(
        "overload",
        "%s, %d would carry %.2f processors, %d %% each, and more than %d %% is critical: add nodes, wait for less load, or set aether_allow_overload=true."
        % (when, count, total, _percent(cpu), _percent(CRITICAL_CPU)),
        "aether_allow_overload",
    )


def _overloaded(cpu: float) -> bool:
    return round(cpu, 9) > CRITICAL_CPU


def _percent(part: float) -> int:
    return round(part * 100)


def _rounded(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(value, 4)
