# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the host has that this runs on: cores, memory, load, room on its disks, Java."""

from __future__ import annotations

import os
import re
import shutil


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_mb(what: str = "MemTotal") -> int:
    """``what``: a line of /proc/meminfo."""
    found = re.search(r"^%s:\s+(\d+) kB" % what, read_text("/proc/meminfo"), re.M)
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


def java_version(run, command: str) -> int:
    """Java's major version, 0 without one: as the JDK's own file ``release`` says, which every vendor's has; else as ``java -version``, which starts one.

    ``run``: what runs a command and returns (code, output, errors), as run_command of Ansible's modules does.
    """
    path = shutil.which(command)
    if path is None:
        return 0
    told = read_text(os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(path))), "release"))
    found = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', told, re.M)
    if not found:
        code, out, err = run([path, "-version"])
        found = re.search(r'version "(?:1\.)?(\d+)', err + out) if code == 0 else None  # 25.0.1 or, before 9, 1.8.0
    return int(found.group(1)) if found else 0


def read_text(path: str) -> str:
    """Empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
