# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What members with the runbook's API carry, which tell their processor and their heap alone, and have no thresholds."""

from __future__ import annotations

import pytest
from test_capacity import FIVE, action, busy, capacity, test_the_rest_is_what_counts_and_its_restarts_too  # noqa: F401

API = "runbook"
MEMBERS = FIVE


def test_advice_from_processors_and_heaps(lab):
    for switches, advice in ((dict(cpu=0.8), ("scale_out", 7)), (dict(cpu=0.5), ("hold", 5)), (dict(cpu=0.1), ("scale_in", 3)), (dict(cpu=0.5, heap=0.82), ("scale_out", 7))):
        busy(lab, **dict({"heap": 0.3}, **switches))
        result, data = capacity(lab)
        assert action(data) == advice and all(m["requests"] is None and m["machine"] for m in data["members"]), result.tail()


@pytest.mark.fault("known beforehand", "an API without thresholds is to have some", play=0, then=None)
def test_thresholds_are_refused_in_a_sentence(lab):
    result = lab.play("thresholds", FIVE, ok=False)
    assert "The API 'runbook' has no alert thresholds" in result.text, result.tail()
