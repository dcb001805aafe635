# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runbook's sizing table, and how much of a host a node may take."""

from __future__ import annotations

from typing import Dict, NamedTuple

MEMORY_SHARE = 0.9  # a machine sold with 8 GB shows less, the kernel keeps some
HEAP_WARNING_SHARE = 0.75  # of the memory; the JVM itself and the system need the rest


class Profile(NamedTuple):
    """A row of the table: for each host ``cores`` and ``memory`` in GB; ``fewest`` to ``most`` nodes."""

    cores: int
    memory: int
    fewest: int
    most: int


DEVELOPMENT = "development"
PROFILES: Dict[str, Profile] = {
    DEVELOPMENT: Profile(2, 4, 1, 3),
    "small": Profile(4, 8, 3, 3),
    "medium": Profile(8, 16, 5, 5),
    "large": Profile(16, 32, 7, 7),
}


def usual_profile(count: int) -> str:
    """Of the table's rows the smallest one for so many nodes."""
    return next((name for name, row in PROFILES.items() if count <= row.most), "large")
