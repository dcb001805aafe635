# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Set, change or remove an alert threshold of the cluster; nothing is sent where it is as it should be, and every member must show what was."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, List, Optional, Tuple

from .. import slices
from ..capacity import THRESHOLDS
from ..client import EndpointTrouble
from ..config_rules import KEY_ROLES
from ..model import AetherError
from ..placement import witnesses
from ..waiting import SOON
from .session import Look, Session, common_result
from .through import able, endpoint_of, key_refusals, write_through

ARGUMENT_SPEC = dict(
    metric=dict(type="str", required=True),
    warning=dict(type="float"),
    critical=dict(type="float"),
    state=dict(type="str", choices=["present", "absent"], default="present"),
    allow_starting=dict(type="bool", default=False),
    timeout=dict(type="float", default=30.0),
)
METRIC = re.compile(r"^[A-Za-z][\w.-]*$")
PARTS = re.compile(r"[.]usage$")  # metrics from 0 to 1

Levels = Optional[Tuple[float, float]]  # (warning, critical); None where there is no threshold


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    """Raises AetherError: ``bad_input``, ``refused``, ``write_failed``, ``not_shown``, ``nobody``, ``cannot``."""
    wanted = _wanted(params)
    if not session.dialect.CAN_ALERT:
        raise AetherError("cannot", "The API '%s' has no alert thresholds: set them where its members are watched." % session.dialect.NAME)
    return Work(params, session, wanted).run()


def _wanted(params: Dict[str, Any]) -> Levels:
    """What there is to be; raises AetherError with all that is wrong at once."""
    metric, given = params["metric"], (params["warning"], params["critical"])
    wrong: List[str] = []
    if not METRIC.match(metric):
        wrong.append("'%s' is no metric: it is a name like cpu.usage, of letters, digits, '.', '_' and '-'." % metric)
    if params["state"] == "absent":
        if given != (None, None):
            wrong.append("'warning' and 'critical' go with state: present.")
        given = (0.0, 0.0)
    elif given == (None, None):
        given = THRESHOLDS.get(metric, given)
        if given == (None, None):
            wrong.append("Give 'warning' and 'critical' of %s: only %s have levels by default." % (metric, " and ".join(THRESHOLDS)))
    elif None in given:
        wrong.append("'warning' and 'critical' go together: the cluster takes no threshold of one level.")
    if None not in given:
        wrong.extend(_levels(metric, *given))
    if wrong:
        raise AetherError("bad_input", "The task is refused, nothing was sent: %s" % " ".join(wrong), findings=wrong)
    return None if params["state"] == "absent" else (float(given[0]), float(given[1]))


def _levels(metric: str, warning: float, critical: float) -> List[str]:
    wrong = []
    if not (math.isfinite(warning) and math.isfinite(critical)) or min(warning, critical) < 0:
        wrong.append("%s: %g and %g are no two levels of 0 or more." % (metric, warning, critical))
    elif PARTS.search(metric) and max(warning, critical) > 1:
        wrong.append("%s is from 0 to 1, and would never come to %g: 70 %% is 0.7." % (metric, max(warning, critical)))
    elif warning > critical:
        wrong.append("%s: the warning, %g, is above the critical level, %g; the cluster would take it, and never warn in time." % (metric, warning, critical))
    return wrong


class Work:
    def __init__(self, params: Dict[str, Any], session: Session, wanted: Levels):
        self.params, self.session, self.metric, self.wanted = params, session, params["metric"], wanted
        self.look: Optional[Look] = None
        self.members: List[str] = []

    def run(self) -> Dict[str, Any]:
        session, dialect = self.session, self.session.dialect
        self.look = session.look()
        before = self.ask(able(self.look)[0])
        self.members = list(witnesses(self.look.observation, self.look.verdict))
        if before == self.wanted:
            return self.result("%s is %s already." % (self.metric, _words(before)), before)
        self.refuse(before)
        request = dialect.remove_threshold(self.metric) if self.wanted is None else dialect.set_threshold(self.metric, *self.wanted)
        why = "%s is %s, and wanted %s" % (self.metric, _words(before), _words(self.wanted))
        write_through(session, lambda: self.look, request, why, self.took_effect)
        if session.check_mode:
            return self.result("%s would be changed from %s to %s." % (self.metric, _words(before), _words(self.wanted)), before)
        waited = session.wait(self.poll, self.params["timeout"], longest_pause=SOON)
        if not waited.met:
            raise AetherError(
                "not_shown", "%s was sent, and after %.0f s not every member shows it: %s." % (self.metric, waited.seconds, waited.last),
                result=self.result("", before, waited),
            )
        return self.result("%s was changed from %s to %s; %s." % (self.metric, _words(before), _words(self.wanted), waited.last), before, waited)

    def refuse(self, before: Levels) -> None:
        plan = slices.Plan()
        slices.cluster_refusals(plan, self.look.observation, self.look.verdict, ["starting"] if self.params["allow_starting"] else [])
        plan.refusals.extend(key_refusals(KEY_ROLES[1], self.session, self.look))
        if plan.refusals:
            text = [r.sentence + (" (%s)" % r.option if r.option else "") for r in plan.refusals]
            raise AetherError(
                "refused", "Refused, nothing was touched: %s" % " ".join(text), refusals=[r.as_data() for r in plan.refusals], result=self.result("", before)
            )

    def poll(self) -> Tuple[bool, str]:
        """Every member that had state when this began, not only the one it was sent through."""
        found = self.session.client.ask_all(lambda member: (member, self.shown(member)), self.members)
        late = ["%s shows %s" % (member, text) for member, text in found if text != _words(self.wanted)]
        return not late, "; ".join(late) or "%d members show it" % len(found)

    def took_effect(self) -> bool:
        self.look = Look(self.session.observe())
        return self.shown(able(self.look)[0]) == _words(self.wanted)

    def shown(self, member: str) -> str:
        try:
            return _words(self.ask(member))
        except AetherError as error:
            return error.message

    def ask(self, member: str) -> Levels:
        try:
            found = self.session.dialect.thresholds(self.session.client, endpoint_of(self.session, self.look, member))
        except EndpointTrouble as error:
            raise AetherError("nobody", "%s cannot say which thresholds there are: %s" % (member, error.trouble.text))
        return next(((t["warning"], t["critical"]) for t in found if t["metric"] == self.metric), None)

    def result(self, text: str, before: Levels, waited=None) -> Dict[str, Any]:
        after = self.wanted if self.session.actions else before
        warning, critical = after or (None, None)
        return common_result(
            self.session, self.look, waited, msg=text, threshold={"metric": self.metric, "warning": warning, "critical": critical},
            diff={"before": "%s: %s\n" % (self.metric, _words(before)), "after": "%s: %s\n" % (self.metric, _words(after))},
        )


def _words(levels: Levels) -> str:
    return "warning %s, critical %s" % levels if levels else "without a threshold"
