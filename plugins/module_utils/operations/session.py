# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every operation has in hand: the members to ask, who ought to be there, and what was sent.

An operation is ``run(params, session) -> result``; it raises :class:`AetherError`. Nothing here knows Ansible.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from .. import dialects
from ..client import Client, Endpoint, EndpointTrouble, parse_endpoints
from ..model import AetherError, Observation, View
from ..quorum import COMPARISONS, Verdict, judge
from ..waiting import LONGEST_PAUSE, Waited, wait_until

SECOND_LOOK = 1.0


class Session:
    """One operation's conversation with one cluster.

    :param params: the module's parameters, connection options included.
    :param check_mode: nothing is written; what would be is kept in ``actions``.
    :param progress: called with one line for people whenever there is news; or None.
    """

    def __init__(self, params: Dict[str, Any], check_mode: bool = False, progress: Optional[Callable[[str], None]] = None, transport=None):
        self.params = params
        self.check_mode = check_mode
        self.progress = progress
        self.actions: List[Dict[str, Any]] = []
        self.endpoints = parse_endpoints(params.get("endpoints") or ())
        self.voters = tuple(params.get("voters") or ()) or tuple(e.name for e in self.endpoints if e.name)
        self.retired = tuple(params.get("retired") or ())
        _check_voters(self.voters, self.endpoints)
        _check_retired(self.retired, self.voters)
        self.client = Client(
            self.endpoints,
            api_key=params.get("api_key"),
            connect_timeout=params.get("connect_timeout") or 2.0,
            read_timeout=params.get("read_timeout") or 5.0,
            ca_path=params.get("ca_path"),
            client_cert=params.get("client_cert"),
            client_key=params.get("client_key"),
            cluster_secret=params.get("cluster_secret"),
            validate_certs=params.get("validate_certs", True),
            use_proxy=params.get("use_proxy", False),
            allow_writes=not check_mode,
            transport=transport,
        )
        self._dialect = None

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *unused) -> None:
        self.client.close()

    @property
    def dialect(self):
        if self._dialect is None:
            self._dialect = dialects.choose(self.params.get("api") or "auto", self.client)
            unnamed = [e.url for e in self.endpoints if not e.name]
            if unnamed and not self._dialect.HAS_IDS:
                raise AetherError(
                    "bad_input",
                    "The API '%s' does not tell a member's own id: name each endpoint as ID=http://HOST:PORT (%s has no name)."
                    % (self._dialect.NAME, ", ".join(unnamed)),
                )
        return self._dialect

    def endpoint_of(self, node: str) -> Endpoint:
        """The endpoint named for ``node``; AetherError when none is."""
        for endpoint in self.endpoints:
            if endpoint.name == node:
                return endpoint
        raise AetherError("bad_input", "No endpoint is named for %s: give it as %s=http://HOST:PORT in 'endpoints'." % (node, node))

    def observe(self) -> Observation:
        """Ask every endpoint at once; one moment, every view apart."""
        dialect = self.dialect  # found out once, before the threads begin, not once in each of them
        return self.gathered(self.client.ask_all(lambda e: dialect.read_view(self.client, e)))

    def gathered(self, views: Sequence[View]) -> Observation:
        """The observation that ``views`` make, one for each endpoint."""
        voters = self.voters or tuple(sorted({v.node_id for v in views if v.node_id}))
        return Observation(voters=voters, views=tuple(views), api=self.dialect.NAME, retired=self.retired)

    def look(self, baseline: Sequence[str] = (), without: Sequence[str] = (), disk_lists: Optional[Dict[str, List[str]]] = None) -> "Look":
        """Observe and judge. What only a comparison shows counts when a second look, a second later, shows it too.

        ``disk_lists``: what is known of the members' lists where their API shows none.
        """

        def once():
            return Look(self.observe().with_disk_lists(disk_lists or {}), tuple(baseline), tuple(without))

        first = once()
        if not any(r.code in COMPARISONS for r in first.verdict.reasons):
            return first
        time.sleep(SECOND_LOOK)
        second = once()
        before = {(r.code, r.node) for r in first.verdict.reasons}
        fleeting = [r for r in second.verdict.reasons if r.code in COMPARISONS and (r.code, r.node) not in before]
        if not fleeting:
            return second
        # The second look shows something new: a third decides, so that two different
        # moments of a change are not taken for one lasting difference.
        time.sleep(SECOND_LOOK)
        return once()

    def write(self, endpoint: Endpoint, request, node: str, why: str, took_effect: Callable[[], bool]) -> bool:
        """Send a write, or only note it in check mode. Returns whether it was sent."""
        method, path, body = request
        self.actions.append({"method": method, "path": path, "node": node, "why": why, "sent": not self.check_mode})
        if self.check_mode:
            return False
        try:
            self.client.write(endpoint, method, path, body, took_effect)
        except EndpointTrouble as error:
            raise AetherError(
                "write_failed", "%s %s on %s did not take effect: %s" % (method, path, node, error.trouble.text), method=method, path=path, node=node
            )
        return True

    def wait(self, poll, timeout: float, stable_for: float = 0.0, longest_pause: float = LONGEST_PAUSE) -> Waited:
        return wait_until(poll, timeout, progress=self.progress, stable_for=stable_for, longest_pause=longest_pause)


class Look:
    """An observation with its verdict."""

    def __init__(self, observation: Observation, baseline=(), without=()):
        self.observation = observation
        self.verdict: Verdict = judge(observation, baseline or None, without)


def _check_retired(retired, voters):
    both = [i for i in retired if i in voters]
    if both:
        raise AetherError("bad_input", "%s is in both 'voters' and 'retired': a host stands in aether_nodes or in aether_retired." % ", ".join(both))


def _check_voters(voters, endpoints):
    twice = sorted({v for v in voters if voters.count(v) > 1})
    if twice:
        raise AetherError("bad_input", "Option 'voters' names %s twice." % ", ".join(twice))
    strangers = [e.name for e in endpoints if e.name and voters and e.name not in voters]
    if strangers:
        raise AetherError("bad_input", "Endpoints are named for %s, which 'voters' does not name (%s)." % (", ".join(strangers), ", ".join(voters)))


def common_result(session: Session, look: Optional[Look], waited: Optional[Waited] = None, **more) -> Dict[str, Any]:
    """The core that every operation returns (plugins/doc_fragments/results.py)."""
    result: Dict[str, Any] = {"changed": any(session.actions), "api": session.dialect.NAME, "actions": list(session.actions)}
    if look is not None:
        result["cluster"] = cluster_data(look)
        result["quorum"] = look.verdict.as_data()
    result["waited"] = (waited or Waited()).as_data()
    result.update(more)
    return result


def cluster_data(look: Look) -> Dict[str, Any]:
    """Leader, voters, and per voter its own answers plus in whose views it is."""
    observation, verdict = look.observation, look.verdict
    members = []
    for voter in observation.voters:
        view, member = observation.view(voter), verdict.members[voter]
        members.append(
            {
                "id": voter,
                "endpoint": view.endpoint if view else None,
                "answers": member.answers,
                "ready": member.ready,
                "sound": member.sound,
                "has_state": member.has_state,
                "has_quorum": member.has_quorum,
                "led": member.led,
                "leader": view.leader if view else None,
                "state": _state_of(observation, voter),
                "cluster_size": view.cluster_size if view else 0,
                "list": sorted(view.core_nodes) if view else [],
                "in_views_of": [v.id for v in observation.answering() if v.id != voter and voter in v.peers],
                "trouble": view.trouble.text if view and view.trouble else None,
            }
        )
    return {"leader": verdict.leader, "voters": list(observation.voters), "members": members}


def _state_of(observation, voter):
    """The lifecycle state that most answering members give for ``voter``."""
    said = [v.lifecycle[voter] for v in observation.answering() if voter in v.lifecycle]
    return max(set(said), key=said.count) if said else None
