# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does the cluster want more nodes, fewer, or larger ones? Every member is measured over a window, by its own word; a single look would be chance."""

from __future__ import annotations

import math
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..capacity import CRITICAL, LEVELS, WARNING, Advice, Load, Machine, Sample, advise
from ..client import Endpoint, EndpointTrouble
from ..model import AetherError
from ..placement import layout
from ..report import capacity_table
from ..sizing import PROFILES
from .session import Look, Session, common_result

MACHINE_SPEC = dict(
    node=dict(type="str", required=True),
    cores=dict(type="int", required=True),
    memory_mb=dict(type="int", required=True),
    available_mb=dict(type="int", default=0),
    load=dict(type="float", default=0.0),
    disk_mb=dict(type="int", default=0),
)
PROFILE_SPEC = dict(type="str", choices=list(PROFILES))
MACHINES_SPEC = dict(type="list", elements="dict", default=[], options=MACHINE_SPEC)
ARGUMENT_SPEC = dict(
    window=dict(type="float", default=30.0),
    profile=PROFILE_SPEC,
    machines=MACHINES_SPEC,
    fail_on=dict(type="str", choices=["none", WARNING, CRITICAL], default="none"),
)
FEWEST, MOST = 4, 60  # samples of a window; between them one a second
LONGEST = 3600.0


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Raises AetherError: ``bad_input``, ``not_measured`` when nobody tells anything, ``capacity`` when the advice is as bad as ``fail_on``."""
    check_window(params["window"], 0.1)
    look = session.look()
    loads = measure(session, look, look.observation.voters, params["window"], params["machines"])
    advice = advice_for(look, loads, params["profile"])
    if not any(m.measured for m in loads):
        raise AetherError(
            "not_measured", "Nobody tells what the cluster carries, so nothing can be advised: %s" % " ".join("%s: %s" % (m.node, m.trouble) for m in loads),
            result=common_result(session, look), members=[m.as_data() for m in loads],
        )
    result = common_result(session, look, **told(advice, loads))
    if params["fail_on"] != "none" and LEVELS.index(advice.level) >= LEVELS.index(params["fail_on"]):
        serious = [f for f in advice.findings if LEVELS.index(f.level) >= LEVELS.index(params["fail_on"])]
        raise AetherError(
            "capacity", "%s %s" % (advice.sentence, " ".join(f.sentence for f in serious)), result=result, level=advice.level, action=advice.action,
            codes=sorted({f.code for f in serious}),
        )
    return result


def check_window(seconds: float, least: float) -> None:
    if not (math.isfinite(seconds) and least <= seconds <= LONGEST):
        raise AetherError("bad_input", "Option 'window' is %g; it must be from %g to %g seconds." % (seconds, least, LONGEST))


def advice_for(look: Look, loads: Sequence[Load], profile: Optional[str]) -> Advice:
    seen = layout(look.observation, look.verdict)
    lost = "" if look.verdict.holds("majority") else " ".join(r.sentence for r in look.verdict.explaining("majority"))
    return advise(loads, profile or "", seen.targets if seen else {}, lost)


def told(advice: Advice, loads: Sequence[Load]) -> Dict[str, Any]:
    """What both modules return of it."""
    return {
        "msg": " ".join([advice.sentence, advice.formula + ("." if advice.formula else "")]).strip(),
        "advice": advice.as_data(), "members": [m.as_data() for m in loads], "table": capacity_table(advice, loads),
    }


def measure(session: Session, look: Look, ids: Sequence[str], window: float, machines: Sequence[Mapping[str, Any]] = ()) -> List[Load]:
    """Every member's load over the window. Each is asked in a thread of its own, so that one that hangs does not keep the others from being asked in time."""
    known = {m["node"]: Machine(**{k: m[k] for k in ("cores", "memory_mb", "available_mb", "load", "disk_mb")}) for m in machines}
    endpoints = {i: next((e for e in session.endpoints if e.url == look.observation.view(i).endpoint), None) for i in ids if look.observation.view(i)}
    times = _times(window)
    begin = time.monotonic()

    def watch(endpoint: Endpoint) -> Load:
        node = next(i for i, e in endpoints.items() if e == endpoint)
        samples, missed, trouble, down = [], 0, "", False
        for at in times:
            time.sleep(max(0.0, begin + at - time.monotonic()))
            if time.monotonic() - begin > window + 1.0:
                break  # an answer that took too long has used up the rest
            try:
                samples.append(_sample(session.dialect.read_load(session.client, endpoint), node, time.monotonic() - begin))
            except EndpointTrouble as error:
                missed, trouble, down = missed + 1, error.trouble.text, error.trouble.kind == "down"
        return Load(node, tuple(samples), missed, trouble, down, known.get(node))

    found = {m.node: m for m in session.client.ask_all(watch, list(endpoints.values()))}
    return [found.get(i) or Load(i, trouble="none of the endpoints answers for it.", missed=1, down=True, machine=known.get(i)) for i in ids]


def _times(window: float) -> List[float]:
    """Seconds of the samples, the first at once and the last at the end."""
    count = min(MOST, max(FEWEST, int(window) + 1))
    return [window * n / (count - 1) for n in range(count)]


def _sample(said: Mapping[str, Any], node: str, at: float) -> Sample:
    """Raises EndpointTrouble where the member is another one, or does not tell how busy it is."""
    if said["node"] != node:
        raise EndpointTrouble("not_aether", "it answers as %s." % said["node"])
    values = {what: _number(said[what]) for what in ("cpu", "heap", "heap_max", "requests", "latency")}
    if values["cpu"] is None:
        raise EndpointTrouble("error", "it answers, and does not tell its cpu.usage.")
    return Sample(at, **values)


def _number(value: Any) -> Optional[float]:
    """None for what is none, also for the -1 with which a JVM says that it does not know."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return float(value)
