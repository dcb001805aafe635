# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the host has that this runs on: cores, memory, load, room on its disks."""

from __future__ import annotations

import os
import re


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_mb(what: str = "MemTotal") -> int:
    """``what``: a line of /proc/meminfo."""
    try:
        with open("/proc/meminfo", encoding="utf-8", errors="replace") as file:
            found = re.search(r"^%s:\s+(\d+) kB" % what, file.read(), re.M)
    except OSError:
        found = None
    return int(found.group(1)) // 1024 if found else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def existing(path: str) -> str:
    """The folder, or of those above it the first that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def free_mb(path: str) -> int:
    """What is free on the disk of a folder."""
    state = os.statvfs(existing(path))
    return state.f_bavail * state.f_frsize // 2**20
