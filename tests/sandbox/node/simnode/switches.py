# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a simulated node can be told to do wrong (docs/product.md 11).

From a JSON file (``AETHER_SIM_SWITCHES``, by default /etc/aether-sim.json), then ``AETHER_SIM_<NAME>`` from the
environment, then at run time by POST /sim/switches from the node's own host.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from typing import Any, Mapping, Optional, Union

DEFAULT_FILE = "/etc/aether-sim.json"


@dataclass
class Switches:
    """Every switch with its default; times are seconds before ``time_factor``."""

    time_factor: float = 1.0  # multiplies every time of the protocol
    seed: Optional[int] = None  # makes what is left to chance repeatable
    stateless: Union[str, int] = "default"  # default (by chance; runbook: never) | never | always | N: the first N starts (counted in counter_file)
    counter_file: str = "/var/lib/aether/.sim-starts"
    formation: str = "default"  # default | ok | fail: do nodes that connect at the same moment find each other?
    tls_forms: bool = True  # False: nodes with TLS never find each other, as those of alpha and rc1
    certificate_days: float = 7.0  # with TLS, until the certificate ends that the node makes itself when it starts; real days, negative for one that has ended
    renewal_fails: bool = False  # it says that its certificate could not be renewed
    never_ready: bool = False
    boot_delay: float = 0.0  # added to the start-up time
    hang_writes: str = ""  # before | after: a write never answers, and is not / is applied
    hang: bool = False  # answers nothing at all over HTTP, stays a member
    http_503: float = 0.0  # this many seconds from when it is set every request gets 503
    error_but_applied: bool = False  # a write is applied and answered with 500
    write_every: float = 0.0  # this node writes through the consensus every so many seconds
    latency: float = 0.0  # seconds before every answer
    reject_drain: bool = False
    drain_budget: bool = True  # as in rc1; alpha takes every drain
    stuck_drain: bool = False  # a drain never ends (v1: set it on the leader; runbook: on the node that is drained)
    reject_blueprint: bool = False  # answered "applied", but its slices are not taken
    slice_fail: str = ""  # instances of artifacts that contain this text fail
    slice_delay: float = 0.0  # added to the time an instance takes to become active
    artifacts: str = "org.example"  # artifacts whose group begins so are in the local repository
    missing_artifact: str = ""  # but those that contain this text are not
    unreadable_jar: str = ""  # the content of artifacts that contain this text cannot be downloaded
    broken_jar: str = ""  # and of these comes without its first byte
    health_503: bool = False  # runbook: /health without a quorum is 503, not 200
    node_list: str = "id"  # runbook: the node list holds objects with this key, or "strings"
    cpu: float = 0.12
    heap: float = 0.25
    requests: float = 0.0  # a second, as it says itself
    request_latency: float = 0.0  # milliseconds, as it says itself; not how long it really takes to answer (latency)
    request_latency_rise: float = 0.0  # milliseconds by which that grows every second, from when it is set
    no_metrics: bool = False  # it answers everything but what it carries

    def update(self, values: Mapping[str, Any]) -> None:
        """Raises KeyError for a switch that does not exist and ValueError for a value of the wrong kind."""
        known = {f.name: f for f in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise KeyError("there is no switch '%s'; the switches are %s" % (name, ", ".join(known)))
            current = getattr(type(self), name, None)
            if isinstance(current, bool):
                value = value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes")
            elif isinstance(current, float):
                value = float(value)
            elif name == "stateless" and str(value).isdigit():
                value = int(value)
            setattr(self, name, value)

    def as_data(self):
        return asdict(self)


def load(environ: Optional[Mapping[str, str]] = None) -> Switches:
    environ = os.environ if environ is None else environ
    switches = Switches()
    path = environ.get("AETHER_SIM_SWITCHES", DEFAULT_FILE)
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            switches.update(json.load(file))
    prefix = "AETHER_SIM_"
    switches.update({k[len(prefix):].lower(): v for k, v in environ.items() if k.startswith(prefix) and k != "AETHER_SIM_SWITCHES"})
    return switches
