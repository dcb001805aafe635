# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A write that any member takes: through the leader, else through one other with state and a quorum. And, before any, whether the key may do it.

An error does not mean "not applied" (docs/product.md 4): after each one the members are read, and only what they do not show is sent again.
"""

from __future__ import annotations

import re
from typing import Callable, List, Sequence

from ..client import Answer, Endpoint, EndpointTrouble
from ..config_rules import KEY_ROLES
from ..growth import Refusal
from ..model import AetherError
from ..placement import witnesses
from .session import Look, Session

# What a member says of the request itself; another member says the same.
FINAL = re.compile(r" with 4\d\d: |Artifact not found|blueprint minimum|not part of any active blueprint|Invalid |TOML")


def endpoint_of(session: Session, look: Look, member: str) -> Endpoint:
    """The endpoint behind which ``member`` answered."""
    url = look.observation.view(member).endpoint
    return next(e for e in session.endpoints if e.url == url)


def key_refusals(role: str, session: Session, look: Look) -> List[Refusal]:
    """A key that may not do what will be needed is found before anything is touched, not by the first write in the middle. ``role``: of KEY_ROLES."""
    asked = [v for v in look.observation.answering() if v.ready]
    if role == KEY_ROLES[0] or not session.params.get("api_key") or not hasattr(session.dialect, "may") or not asked:
        return []
    try:
        said = session.dialect.may(session.client, endpoint_of(session, look, asked[0].id), role)
    except EndpointTrouble:
        return []  # the gates tell
    if not said:
        return []
    return [
        Refusal(
            "key",
            "The API key may not do what this needs, the role %s: %s says '%s'. Give a key of that role%s as aether_api_key."
            % (role, asked[0].id, said, "" if role == KEY_ROLES[-1] else " or of %s" % KEY_ROLES[-1]),
        )
    ]


def able(look: Look, without: Sequence[str] = ()) -> List[str]:
    """Members that can be written to and believed, the leader first; raises AetherError (``nobody``) when there is none."""
    found = [i for i in witnesses(look.observation, look.verdict) if i not in without]
    if not found:
        raise AetherError(
            "nobody",
            "No member with state and a quorum answers that could be asked or written to: %s"
            % " ".join(r.sentence for r in look.verdict.explaining("majority")),
        )
    return found


def write_through(session: Session, look: Callable[[], Look], request, why: str, took_effect: Callable[[], bool]) -> Answer:
    """Send ``request``, or only note it in check mode; raises AetherError (``write_failed``).

    ``look``: what was seen last; ``took_effect`` looks again, so that a second try is not sent to a leader that is gone.
    """
    method, path, body = request
    tried: List[str] = []
    while True:
        through = able(look(), tried)[0]
        session.actions.append({"method": method, "path": path, "node": through, "why": why, "sent": not session.check_mode})
        if session.check_mode:
            return Answer(200, {}, "not sent in check mode")
        try:
            return session.client.write(endpoint_of(session, look(), through), method, path, body, took_effect)
        except EndpointTrouble as error:
            tried.append(through)
            final = error.trouble.kind in ("unauthorized", "not_aether") or FINAL.search(error.trouble.text)
            others = [i for i in witnesses(look().observation, look().verdict) if i not in tried]
            if final or len(tried) > 1 or not others:
                raise AetherError(
                    "write_failed", "%s %s on %s did not take effect: %s" % (method, path, through, error.trouble.text), method=method, path=path, node=through
                )
