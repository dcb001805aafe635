# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runbook's API shows no state that could be saved: refused in a sentence, by every play that would need it."""

from __future__ import annotations

import pytest

API = "runbook"
THREE = ["n1", "n2", "n3"]


@pytest.mark.fault("known beforehand", "an API that shows no state to save", play=(0, 1), then=None)
def test_it_is_refused_in_a_sentence(lab):
    for play in ("full_restart", "save_state"):
        result = lab.play(play, THREE, ok=False, given={"aether_yes": True, "aether_state_dir": str(lab.folder / "states")})
        assert "The API 'runbook' shows no blueprints, thresholds or artifacts" in result.text and "Nothing was touched" in result.text, result.tail()
    assert all(lab.runs(h) for h in THREE) and lab.active("n1") == 5
