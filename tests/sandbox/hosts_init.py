#!/usr/bin/env python3
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Process 1 of a sandbox host, for its first milliseconds: makes the mounts, changes the root, becomes systemd.

Called as ``hosts_init.py ROOT NAME`` in new mount, uts, ipc, pid, cgroup and network namespaces.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# A host may do anything to itself; the clock, the modules and the ports of the hardware belong to the machine.
DROPPED = "-sys_time,-sys_module,-sys_rawio,-mac_admin,-mac_override,-wake_alarm,-block_suspend"


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, env={"PATH": PATH})


def tmpfs(target: str, mode: str, *more: str) -> None:
    mount("-t", "tmpfs", "-o", ",".join(["nosuid", "mode=" + mode, *more]), "tmpfs", target)


def kernel_interfaces() -> None:
    mount("-t", "proc", "-o", "nosuid,nodev,noexec", "proc", "proc")
    mount("-t", "sysfs", "-o", "nosuid,nodev,noexec", "sysfs", "sys")
    # The kernel's settings are the machine's, so they are read-only; those of the network are the host's own.
    mount("--bind", "proc/sys", "proc/sys")
    mount("--bind", "proc/sys/net", "proc/sys/net")
    mount("-o", "remount,bind,ro", "proc/sys")
    if Path("proc/sysrq-trigger").exists():  # it would reboot the machine
        mount("--bind", "proc/sysrq-trigger", "proc/sysrq-trigger")
        mount("-o", "remount,bind,ro", "proc/sysrq-trigger")
    mount("-t", "cgroup2", "-o", "nosuid,nodev,noexec", "cgroup2", "sys/fs/cgroup")
    mount("-o", "remount,bind,ro", "sys")


def devices() -> None:
    tmpfs("dev", "755")
    for name in DEVICES:
        Path("dev", name).touch()
        mount("--bind", "/dev/" + name, "dev/" + name)
    for name in ("pts", "shm", "mqueue"):
        Path("dev", name).mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620,gid=5", "devpts", "dev/pts")
    mount("-t", "mqueue", "-o", "nosuid,nodev,noexec", "mqueue", "dev/mqueue")
    tmpfs("dev/shm", "1777", "nodev")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
    for name, target in links.items():
        Path("dev", name).symlink_to(target)


def change_root() -> None:
    Path(".old").mkdir(exist_ok=True)
    subprocess.run(["pivot_root", ".", ".old"], check=True, env={"PATH": PATH})
    os.chdir("/")
    subprocess.run(["umount", "--lazy", "/.old"], check=True, env={"PATH": PATH})
    Path("/.old").rmdir()
    mount("--make-rshared", "/")


def main(root: str, name: str) -> None:
    os.chdir(root)
    mount("--make-rprivate", "/")
    socket.sethostname(name)
    kernel_interfaces()
    devices()
    tmpfs("run", "755", "nodev")
    Path("run/lock").mkdir()
    tmpfs("tmp", "1777", "nodev")
    change_root()
    environment = {"container": "aether-sandbox", "PATH": PATH, "TERM": "dumb"}
    os.execve("/usr/bin/setpriv", ["setpriv", "--bounding-set", DROPPED, "/sbin/init"], environment)


if __name__ == "__main__":
    main(*sys.argv[1:])
