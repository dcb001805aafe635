# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated node answers as the product did: recorded exchanges are repeated in the same situation and compared.

Status, content type and every key of the body must be as recorded, and the values too where they do not depend on
the clock or on chance. What deviates or is left out stands in deviations.py with its reason; an entry that no longer
applies fails, as does a deviation without an entry, and a recording that nothing repeats.
"""

from __future__ import annotations

import pytest
from deviations import DEVIATIONS, NOT_REPLAYED
from recordings import RECORDINGS, exchanges
from replay import Replay, fits
from scenarios import SCENARIOS, claimed, fresh_cluster

RUNS = [(release, names, s) for s in SCENARIOS for release, names in s.claims]


@pytest.mark.parametrize("release, names, scenario", RUNS, ids=["%s-%s" % (release, s.name) for release, _, s in RUNS])
def test_replay(release, names, scenario):
    with fresh_cluster(scenario.size, scenario.secret) as cluster:
        replay = Replay(release, cluster, *names)
        scenario.act(cluster, replay)
        replay.finish()


def test_every_recording_belongs_to_a_scenario():
    recorded = {(path.parent.parent.name, path.parent.name) for path in RECORDINGS.glob("*/*/*.json") if not path.name.startswith("timeline-")}
    recorded = {(release, name) for release, name in recorded if name != "startup"}
    assert recorded == set(claimed())


def test_every_entry_fits_a_recording():
    known = [e for release, name in claimed() for e in exchanges(release, name)]
    stray = [entry for table in (DEVIATIONS, NOT_REPLAYED) for entry in table if not any(fits(entry, e) for e in known)]
    assert not stray
