# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster of the tests of faults. A module says its pool's name (POOL) and its hosts (HOSTS)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "plays"))

FACTOR = 0.2


@pytest.fixture(scope="module")
def shared(request, tmp_path_factory):
    from lab import Lab  # its folder, and those it imports from, are known only when pytest is configured

    with Lab(request.module.POOL, request.module.HOSTS, tmp_path_factory.mktemp(request.module.POOL), time_factor=FACTOR, stateless="never", formation="ok") as made:
        yield made


@pytest.fixture
def lab(shared):
    """Three members with something to lose; the other hosts are to come. Chance is off; each test says what goes wrong."""
    shared.form_again(["n1", "n2", "n3"])
    return shared
