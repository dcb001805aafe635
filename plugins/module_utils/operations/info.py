# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How is the cluster? Reports, judges, never fails because the cluster is unwell."""

from __future__ import annotations

from typing import Any, Dict

from ..report import slices_per_node, status_table
from .session import Session, common_result
from .quorum_check import holds

ARGUMENT_SPEC: Dict[str, Any] = dict()


def run(params: Dict[str, Any], session: Session) -> Dict[str, Any]:
    look = session.look()
    verdict = look.verdict
    if verdict.holds("majority"):
        text = holds(look, "complete" if verdict.holds("complete") else "majority")
    else:
        text = " ".join(r.sentence for r in verdict.blocking("majority"))
    return common_result(
        session, look, msg=text,
        table=status_table(look.observation, verdict),
        slices=slices_per_node(look.observation, verdict),
        majority=verdict.holds("majority"),
        complete=verdict.holds("complete"),
    )
