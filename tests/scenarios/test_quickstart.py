# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""bin/quickstart as a newcomer types it: from nothing, again, what it says to try next, and down."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import hosts as sandbox
import pytest
from quickstart import HOME, POOL

ROOT = Path(__file__).resolve().parents[2]


def run(command: str) -> str:
    done = subprocess.run(command, shell=True, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, "%s\n%s" % (command, done.stdout[-6000:])
    return done.stdout


def test_from_nothing_to_five_and_again_and_down():
    if sandbox.Pool(POOL).exists:
        pytest.fail("there is a cluster from bin/quickstart on this machine, which this test would take down; do it yourself: bin/quickstart --down")
    try:
        first = run("bin/quickstart")
        assert "5 of 5 sound" in first, first[-3000:]
        inventory = HOME / "five.json"
        assert inventory.stat().st_mode & 0o077 == 0, "the cluster's secret can be read by others"
        # What it says to look at with curl is a whole command: certificates, names and ports as they are.
        look = next(line.strip() for line in first.splitlines() if line.strip().startswith("curl "))
        assert '"nodeCount"' in run(look + " --silent --fail")
        again = run("bin/quickstart")
        assert "A cluster of three: there is one already" in again
        changed = re.findall(r"^n\d .*?changed=(\d+).*?failed=(\d+)", again, re.MULTILINE)
        assert len(changed) >= 6, again[-3000:]  # five hosts grow, one shows the status
        assert set(changed) == {("0", "0")}, again[-6000:]
    finally:
        run("bin/quickstart --down")
    assert not sandbox.Pool(POOL).exists
    assert not inventory.parent.exists()
    assert not [name for name in run("ip netns list").splitlines() if "quickstart" in name]
