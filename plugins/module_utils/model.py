# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a member, a view and an observation are: plain frozen data, no HTTP, no Ansible.

The centre is the :class:`Observation`: what *every* endpoint said at one moment,
each member's own view kept apart. A member's opinion about another member proves
nothing (docs/product.md 3), so nothing here merges views.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

ON_DUTY = "ON_DUTY"
DRAINING = "DRAINING"
DECOMMISSIONED = "DECOMMISSIONED"
ACTIVE = "ACTIVE"


@dataclass(frozen=True)
class Trouble:
    """Why an endpoint could not be read.

    ``kind``: ``down`` (no connection), ``hanging`` (connected, no answer in time),
    ``unauthorized`` (401/403), ``tls`` (certificates, or HTTP where HTTPS is spoken), ``not_aether`` (answers something else).
    ``text``: a sentence part for people, without secrets.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Instance:
    """One slice instance as a member reports it; ``state`` as in docs/product.md 6."""

    artifact: str
    node: str
    state: str
    reason: str = ""


@dataclass(frozen=True)
class View:
    """What one endpoint said about itself and the cluster.

    ``name``: the voter expected behind ``endpoint`` (None when the caller gave no name);
    ``node_id``: the id the endpoint says it has (None when it could not be read).
    ``peers``: ids in its own live view of the cluster, itself included.
    ``leader``: the id it believes in, None when it says "none".
    ``cluster_size``: its own denominator; ``core_nodes``: the ids of the list it runs with.
    ``lifecycle``: id -> state, ``lifecycle_at``: id -> since when, in seconds since 1970,
    ``instances``: every slice instance it knows, ``targets``: artifact -> instances wanted,
    ``minimums``: artifact -> the fewest its blueprint allows, ``blueprints``: ids of those it lists.
    ``evidence``: sorted pairs (what, value) of everything a member without state would lack:
    blueprints, thresholds that differ from the product's defaults, slice targets. Empty when
    there is nothing to compare state by. ``uptime``: seconds since its start, ``latency``: seconds that it takes to answer who uses its slices,
    on average; None where its dialect does not tell.
    ``has_lifecycle``, ``has_leader``, ``has_lists``: what its dialect can tell;
    without lists, ``cluster_size`` is 0 and ``core_nodes`` empty unless somebody knows them from the disk of its host.
    """

    endpoint: str
    name: Optional[str] = None
    node_id: Optional[str] = None
    trouble: Optional[Trouble] = None
    ready: bool = False
    leader: Optional[str] = None
    peers: FrozenSet[str] = frozenset()
    cluster_size: int = 0
    core_nodes: FrozenSet[str] = frozenset()
    lifecycle: Mapping[str, str] = field(default_factory=dict)
    lifecycle_at: Mapping[str, float] = field(default_factory=dict)
    evidence: Tuple[Tuple[str, str], ...] = ()
    instances: Tuple[Instance, ...] = ()
    targets: Mapping[str, int] = field(default_factory=dict)
    minimums: Mapping[str, int] = field(default_factory=dict)
    blueprints: Tuple[str, ...] = ()
    uptime: Optional[int] = None
    latency: Optional[float] = None
    has_lifecycle: bool = True
    has_leader: bool = True
    has_lists: bool = True

    @property
    def answers(self) -> bool:
        return self.trouble is None

    @property
    def id(self) -> str:
        """The id to call this member by: its own, else the expected one, else its endpoint."""
        return self.node_id or self.name or self.endpoint


@dataclass(frozen=True)
class Observation:
    """What every endpoint said at one moment. ``voters``: names from the inventory, in its order.

    ``retired``: ids that were taken out and stay in every list, so that they count in every denominator (docs/product.md 2, "shrinking").
    """

    voters: Tuple[str, ...]
    views: Tuple[View, ...]
    api: str = "v1"
    retired: Tuple[str, ...] = ()

    @property
    def listed(self) -> FrozenSet[str]:
        """What every member's list should be."""
        return frozenset(self.voters) | frozenset(self.retired)

    def view(self, node: str) -> Optional[View]:
        """The view of member ``node``: from the endpoint that says it *is* that node, else the one expected to be."""
        return self._by_node.get(node)

    @cached_property
    def _by_node(self) -> Dict[str, View]:
        """Looked up for every member by each question, so not searched each time."""
        found: Dict[str, View] = {}
        for view in self.views:
            if view.answers and view.node_id is not None:
                found.setdefault(view.node_id, view)
        for view in self.views:
            if not view.answers and view.name is not None:
                found.setdefault(view.name, view)
        return found

    def with_disk_lists(self, lists: Mapping[str, Sequence[str]]) -> "Observation":
        """The same, where views whose dialect shows no list get the one on their host's disk: id -> ids, itself included."""
        views = tuple(
            replace(v, core_nodes=frozenset(lists[v.id]), cluster_size=len(lists[v.id])) if v.answers and not v.has_lists and lists.get(v.id) else v
            for v in self.views
        )
        return replace(self, views=views)

    def lists(self) -> Dict[str, List[str]]:
        """For each voter that answers, the ids in the list that it runs with, sorted."""
        return {v.id: sorted(v.core_nodes) for v in self.answering()}

    def answering(self) -> Tuple[View, ...]:
        """Views of voters that answer, one per id, in the voters' order."""
        found = []
        for voter in self.voters:
            view = self.view(voter)
            if view is not None and view.answers:
                found.append(view)
        return tuple(found)


@dataclass(frozen=True)
class Reason:
    """One finding: a code to branch on, the node it is about, and a sentence a person can act on.

    ``blocks``: which requirements it makes fail: ``majority`` and/or ``complete``; empty for a remark.
    """

    code: str
    node: Optional[str]
    sentence: str
    blocks: FrozenSet[str] = frozenset()

    def as_data(self):
        return {"code": self.code, "node": self.node, "sentence": self.sentence, "blocks": sorted(self.blocks)}


class AetherError(Exception):
    """An operation could not do what was asked.

    ``kind``: a word to branch on; ``message``: a sentence; ``data``: plain structures for ``failure``.
    """

    def __init__(self, kind, message, **data):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.data = data
