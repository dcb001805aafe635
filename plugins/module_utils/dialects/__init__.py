# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names and paths of each API that an Aether may have, one module per dialect.

A dialect is a module with ``NAME``, what it can tell (``HAS_LIFECYCLE``, ``HAS_LEADER``, ``HAS_LISTS``, ``HAS_IDS``) and do
(``CAN_ACTIVATE``, ``CAN_SCALE``, ``CAN_APPLY`` blueprints, ``CAN_STORE`` artifacts, ``CAN_ALERT`` at thresholds, ``SHOWS_STATE`` so that it can be saved,
``COMMANDS`` by its own program), ``recognise``, ``read_view``, ``read_load``, ``connected_peers``, ``deployments``, ``said_no``, ``TELLS`` (what
aether_info can gather)
and one function per write. It knows the model and the client, nothing above.
"""

from __future__ import annotations

from ..client import Client, EndpointTrouble
from ..model import AetherError
from . import runbook, v1

DIALECTS = {v1.NAME: v1, runbook.NAME: runbook}
TELLING = "/health"
AT_ONCE = 7  # as many as a cluster may have


def choose(api: str, client: Client):
    """The dialect module for option ``api``; ``auto`` asks seven endpoints at once one cheap question, the next ones where none of them is recognised.

    ``GET /health`` tells them apart: v1 has no such path and says so in its own words, the runbook's API answers with its quorum.
    When nothing answers at all there is nothing to tell dialects by, and v1 is assumed: every read will
    report the endpoint's own trouble anyway. Raises AetherError (kind ``unknown_api``) when endpoints answer
    but speak no known dialect.
    """
    if api != "auto":
        return DIALECTS[api]

    def ask(endpoint):
        try:
            answer = client.read(endpoint, TELLING, accept=(200, 404, 503), retries=0)
        except EndpointTrouble as error:
            return error.trouble
        return next((d for d in DIALECTS.values() if d.recognise(answer)), None)

    found: list = []
    for first in range(0, len(client.endpoints), AT_ONCE):
        found += client.ask_all(ask, client.endpoints[first:first + AT_ONCE])
        for dialect in DIALECTS.values():
            if dialect in found:
                return dialect
    strangers = [e.url for e, f in zip(client.endpoints, found) if f is None or getattr(f, "kind", "") == "not_aether"]
    if strangers and len(strangers) == len(found):
        raise AetherError(
            "unknown_api",
            "%s answer, but not as Aether does (known dialects: %s). Do the endpoints name the management ports?" % (", ".join(strangers), ", ".join(DIALECTS)),
            endpoints=strangers,
        )
    return v1
