# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Says which run of which controller asks for the lock, and takes over what a dead run of the same controller left."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import uuid

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        # Tasks are executed by children of ansible-playbook: that process is the run.
        arguments = dict(self._task.args, run=name_of(os.getppid()), owner=owner())
        result.update(self._ask(arguments, task_vars))
        other = result.get("holder", {}).get("run", "")
        if not result.get("held") and other and arguments.get("state", "taken") == "taken" and dead(other):
            arguments["instead_of"] = [*(arguments.get("instead_of") or []), other]
            result.update(self._ask(arguments, task_vars))
        return result

    def _ask(self, arguments, task_vars):
        return self._execute_module(module_name="pragmatica.aether.aether_lock", module_args=arguments, task_vars=task_vars)


def controller() -> str:
    """Host name and hardware address: two machines of one name must not judge each other's processes."""
    return "%s/%012x" % (socket.gethostname(), uuid.getnode())


def name_of(pid: int) -> str:
    """The run of a process of this controller; the time it was started tells it from a later one of the same number."""
    return "%s/%d/%s" % (controller(), pid, started(pid))


def owner() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no name for this uid
        user = str(os.getuid())
    return "%s@%s" % (user, socket.gethostname())


def started(pid: int) -> str:
    """When a process was started, in whatever unit the system has; empty when it is gone or cannot be seen."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        if os.path.isdir("/proc/self"):
            return ""
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "-".join(found.stdout.split())


def dead(run: str) -> bool:
    """Has this run ended, as far as this controller can tell? Of other controllers' runs it cannot."""
    process, slash, rest = run.rpartition("/")
    where, slash, pid = process.rpartition("/")
    if where != controller() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's, and alive
    now = started(int(pid))
    return bool(now) and now != rest
