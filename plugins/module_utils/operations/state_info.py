# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What state has the cluster, by whose word, what of it cannot be given back, and what differs from what was saved?

Also without a majority: whoever still answers shows what it has. Nothing is changed, neither in the cluster nor on disk.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence

from .. import saved as on_disk
from ..client import Endpoint, EndpointTrouble
from ..model import AetherError, View
from ..report import columns
from ..state import Agreement, State, agreement, as_data, difference, losses, shown, summary
from .session import Look, Session, common_result
from .through import endpoint_of

ARGUMENT_SPEC = dict(
    path=dict(type="path"),
    directory=dict(type="path"),
    cluster=dict(type="str", default="aether"),
    source=dict(type="str", default=""),
)


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Raises AetherError: ``cannot``, ``bad_input``, ``incomplete`` where ``path`` holds no complete state."""
    check(params, session)
    before = on_disk.read(params["path"]) if params["path"] else None
    found = on_disk.listing(params["directory"]) if params["directory"] else []
    began = on_disk.unfinished(found, params["cluster"], [e.url for e in session.endpoints])
    look = session.look()
    gathered = Gathered(session, look, params["source"], before.state.artifacts if before else ())
    result = gathered.result()
    result.update(saved=found, unfinished=began["path"] if began else "", phase=began["phase"] if began else "")
    if before is not None:
        differs = difference(before.state, gathered.state or State(), session.dialect.DEFAULT_THRESHOLDS, before.left_out)
        result.update(
            equal=differs.equal and gathered.state is not None, newer=differs.newer, difference=differs.sentences(), phase=before.phase,
            downtime_seconds=on_disk.downtime(before.journal),
        )
    return common_result(session, look, msg=gathered.sentence(), **result)


def check(params: Dict[str, Any], session: Session) -> None:
    if not session.dialect.SHOWS_STATE:
        raise AetherError(
            "cannot",
            "The API '%s' shows no blueprints, thresholds or artifacts, so a state cannot be saved or put back there. Nothing was touched."
            % session.dialect.NAME,
        )
    if params["source"] and params["source"] not in session.voters:
        raise AetherError("bad_input", "Option 'source' names %s, which is not among the voters (%s)." % (params["source"], ", ".join(session.voters)))


class Gathered:
    """What every member shows, and what they agree on. ``state``: None when nobody answers; ``unreadable``: artifact -> why."""

    def __init__(self, session: Session, look: Look, source: str = "", artifacts: Sequence[str] = ()):
        self.session, self.look, self.source = session, look, source
        self.told: Dict[str, State] = {}
        self.troubles: List[str] = []
        self.unreadable: Dict[str, str] = {}
        self.agreement: Optional[Agreement] = None
        self.state: Optional[State] = None
        self._ask()
        if self.told:
            defaults = session.dialect.DEFAULT_THRESHOLDS
            self.agreement = agreement(self.told, defaults, source) or Agreement(next(iter(self.told.values())), tuple(self.told))
            self.state = self._with_artifacts(artifacts)

    def _ask(self) -> None:
        """All who answer, at once."""
        views = {endpoint_of(self.session, self.look, v.id): v for v in self.look.observation.answering()}

        def ask(endpoint: Endpoint):
            try:
                return read_state(self.session, endpoint, views[endpoint])
            except EndpointTrouble as error:
                return error.trouble.text

        for endpoint, answer in zip(views, self.session.client.ask_all(ask, list(views))):
            if isinstance(answer, State):
                self.told[views[endpoint].id] = answer
            else:
                self.troubles.append("%s: %s" % (views[endpoint].id, answer))

    def _with_artifacts(self, more) -> State:
        """The state that counts, with what the repository has of its artifacts, and of ``more``."""
        state, found = self.agreement.state, {}
        for artifact in sorted(set(state.names()) | set(more)):
            for member in self.agreement.members:
                try:
                    stored = self.session.dialect.stored(self.session.client, endpoint_of(self.session, self.look, member), artifact)
                except EndpointTrouble as error:
                    self.unreadable[artifact] = error.trouble.text
                    continue
                self.unreadable.pop(artifact, None)
                if stored is not None:
                    found[artifact] = (str(stored.get("sha1") or ""), int(stored.get("size") or 0))
                break
        return State(state.blueprints, state.counts, state.thresholds, state.levels, state.overrides, found)

    def losses(self, files: Sequence[str] = (), overrides: Sequence[str] = ()):
        if self.state is None:
            return []
        blind = not self.state.anything(self.session.dialect.DEFAULT_THRESHOLDS) and not any(v.ready for v in self.look.observation.answering())
        return losses(self.state, files, overrides, self.unreadable, blind)

    def sentence(self) -> str:
        if self.state is None:
            return "No member answers with its state: %s" % ("; ".join(self.troubles) or "; ".join(r.sentence for r in self.look.verdict.reasons))
        others = " ".join(
            "%s shows something else: %s." % (", ".join(members), "; ".join(what)) for members, what in self.agreement.others
        )
        return " ".join(["%s, as shown by %s." % (summary(self.state), ", ".join(self.agreement.members)), others, self.tie()]).strip()

    def tie(self) -> str:
        if self.agreement is None or not self.agreement.tied:
            return ""
        return "As many members show another state (%s against %s), and nothing tells which is right: name the member to believe, aether_state_source=ID." % (
            ", ".join(self.agreement.members), ", ".join(self.agreement.tied)
        )

    def result(self) -> Dict[str, Any]:
        agreed = self.agreement
        return {
            "state": None if self.state is None else as_data(self.state),
            "members": list(agreed.members) if agreed else [],
            "others": [{"members": list(members), "difference": list(what)} for members, what in agreed.others] if agreed else [],
            "tied": list(agreed.tied) if agreed else [],
            "losses": [r.as_data() for r in self.losses()],
            "troubles": list(self.troubles),
            "table": self.table(),
        }

    def table(self) -> List[str]:
        """What each member still has, for people; the last lines say whose state counts."""
        rows = [("MEMBER", "QUORUM", "BLUEPRINTS", "SLICES", "THRESHOLDS", "LEVELS", "OVERRIDES", "STATE")]
        defaults = self.session.dialect.DEFAULT_THRESHOLDS
        for voter in self.look.observation.voters:
            member, state = self.look.verdict.members[voter], self.told.get(voter)
            if state is None:
                rows.append((voter, "-", "-", "-", "-", "-", "-", "cannot be read" if member.answers else "does not answer"))
                continue
            word = "agreed" if voter in self.agreement.members else "another" if state.anything(defaults) else "nothing"
            counts = "hidden" if state.counts is None else str(len(state.counts))
            sizes = [str(len(what)) for what in (state.thresholds, state.levels, state.overrides)]
            rows.append((voter, "yes" if member.has_quorum else "no", str(len(state.blueprints)), counts, *sizes, word))
        return columns(rows) + ["", self.sentence()] + ["- %s" % r.sentence for r in self.losses()]


def read_state(session: Session, endpoint: Endpoint, view: View) -> State:
    """What one member shows, but for artifacts; raises EndpointTrouble."""
    dialect, client = session.dialect, session.client
    documents = [dialect.blueprint(client, endpoint, identity) for identity in view.blueprints]
    thresholds = {t["metric"]: (float(t["warning"]), float(t["critical"])) for t in dialect.thresholds(client, endpoint)}
    return shown(view, [d for d in documents if d is not None], thresholds, dialect.levels(client, endpoint), dialect.overrides(client, endpoint))


def place(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
