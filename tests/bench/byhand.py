# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The other side of the benchmarks of plays: byhand.sh, with its own clock."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import hosts as sandbox
from lab import Lab

SCRIPT = Path(__file__).resolve().parent / "byhand.sh"
# Inventory variables of the plays that are held against it: both log in as root and need no sudo.
LOGIN = {"ansible_become": False}


def seconds(lab: Lab, verb: str, *hosts: str) -> float:
    """How long the script took; SystemExit with its last words when it failed."""
    environment = dict(os.environ, KEY=str(sandbox.ssh_key()), JAR=str(lab.jar), **{"IP_" + h: ip for h, ip in lab.ips.items()})
    done = subprocess.run(["bash", str(SCRIPT), verb, *hosts], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit("bench: the script by hand failed: %s" % (done.stderr or done.stdout)[-1000:])
    return int(done.stdout.split("milliseconds ")[1]) / 1000
