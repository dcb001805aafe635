# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs every Molecule scenario, as ``molecule test -s NAME`` would from a shell, against nodes with either API where it makes sense."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import hosts as sandbox
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(p.parent.name for p in (ROOT / "molecule").glob("*/molecule.yml"))
# These run at the product's speed, the others at a fifth of its time.
MAIN_PATH = (("default", "v1"), ("add_node", "v1"))
# The runbook's API shows no counts, so there is no room that could be made, and no state that could be saved.
V1_ALONE = ("drain_blocked", "full_restart")
RUNS = [
    pytest.param(scenario, api, marks=[pytest.mark.main_path] if (scenario, api) in MAIN_PATH else [])
    for scenario in SCENARIOS for api in ("v1", "runbook") if api == "v1" or scenario not in V1_ALONE
]


@pytest.mark.parametrize(("scenario", "api"), RUNS)
def test_scenario(scenario, api, tmp_path):
    environment = dict(
        os.environ,
        AETHER_SANDBOX_JAR=str(sandbox.jar(api=api)),
        AETHER_SANDBOX_API=api,
        AETHER_SANDBOX_TIME_FACTOR="" if (scenario, api) in MAIN_PATH else "0.2",
        MOLECULE_EPHEMERAL_DIRECTORY=str(tmp_path),  # both APIs of a scenario may run at once
        AETHER_SANDBOX_CLI=str(sandbox.CLI),
        PATH="%s:%s" % (Path(sys.executable).parent, os.environ["PATH"]),
        # Two plugins for testinfra clash over one option where both are installed.
        PYTEST_ADDOPTS="-p no:pytest-ansible -p no:cacheprovider",
        MOLECULE_GLOB="molecule/*/molecule.yml",
        NO_COLOR="1",
        ANSIBLE_FORCE_COLOR="0",
    )
    environment.pop("ANSIBLE_CONFIG", None)
    done = subprocess.run(["molecule", "-c", ".config/molecule/config.yml", "test", "-s", scenario], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print("\n".join(line for line in done.stdout.splitlines() if "Executing" in line or "Executed" in line or " passed" in line or "PLAY RECAP" in line), flush=True)
    assert done.returncode == 0, done.stdout[-6000:]
