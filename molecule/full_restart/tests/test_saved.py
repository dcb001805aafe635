# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller has: one saved state, complete, for its owner alone, with a journal that ends well and tells the downtime."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

testinfra_hosts = ["local://"]


def test_there_is_one_state_and_it_was_put_back():
    (path,) = [p for p in (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "states").iterdir()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    assert {"state.json", "blueprints/org.example_shop_1.0.0.toml"} <= set(manifest["files"]) and manifest["left_out"] == []
    journal = json.loads((path / "journal.json").read_text(encoding="utf-8"))
    assert [e["phase"] for e in journal] == ["saved", "stopping", "stopped", "formed", "restored"]
    assert journal[1]["at"] < journal[-1]["active_at"]
