# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the collection importable by its full name, from wherever the clone stands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".dev" / "collections"


def pytest_configure(config):
    link = COLLECTIONS / "ansible_collections" / "pragmatica" / "aether"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(ROOT, link.parent))
    os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(COLLECTIONS))
    folders = ("unit", "plays", "faults", "sandbox", "sandbox/node")
    for path in (COLLECTIONS, *(ROOT / "tests" / folder for folder in folders)):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
