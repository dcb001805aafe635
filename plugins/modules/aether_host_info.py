#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_host_info
short_description: What a host has of Aether, in one look
version_added: 0.1.0
description:
  - Java, user, directories, releases, service, its list of peers, the marks that runs left, and the machine, on the host itself. Changes nothing, needs no
    library.
options:
  java:
    description: The Java command.
    type: str
    default: java
  user:
    description: The user that the service runs as.
    type: str
    default: aether
  install_dir:
    description: Where C(releases/) and the link C(current) are.
    type: path
    default: /opt/aether
  data_dir:
    description: Where the marks are.
    type: path
    default: /var/lib/aether
  service:
    description: Name of the systemd service.
    type: str
    default: aether
  wanted_release:
    description: Name of the release that is going to be used.
    type: str
    default: ""
  keep_releases:
    description: How many releases stay, the current and the wanted one always among them.
    type: int
    default: 3
  paths:
    description: Files and folders to describe, so that a play writes only those that are not as they must be. A file is read from its beginning to its end.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
    description: Only looks.
  diff_mode:
    support: none
    description: Has no differences to show.
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: What is on the host?
  pragmatica.aether.aether_host_info:
  register: host
"""

RETURN = r"""
java_version:
  description: Major version of Java; 0 when there is none.
  returned: always
  type: int
user_exists:
  description: Whether the user exists.
  returned: always
  type: bool
makes_group:
  description: Whether C(useradd) would make a group of the same name together with the user, for there is none yet and F(/etc/login.defs) says so.
  returned: always
  type: bool
release:
  description: Name of the current release; empty when there is none.
  returned: always
  type: str
releases:
  description: Names of the releases that are there, newest first.
  returned: always
  type: list
  elements: str
removable:
  description: Names of releases beyond O(keep_releases).
  returned: always
  type: list
  elements: str
active:
  description: Whether the service runs.
  returned: always
  type: bool
reload_needed:
  description:
    - Whether systemd has another unit of the service in its memory than the one on disk, as after a run that was interrupted between writing and
      loading it.
  returned: always
  type: bool
marker:
  description: Text of the mark that an interrupted run left; empty when there is none.
  returned: always
  type: str
peers:
  description: The list of peers that the service will be started with, as it stands in its unit.
  returned: always
  type: list
  elements: str
fenced:
  description: Whether the node was replaced by one on another host, and its service is kept from starting.
  returned: always
  type: bool
paths:
  description:
    - Of those in O(paths) that are there, in one line each what they are, whose, their mode, and of files the sha256 of what is in them.
    - For example C(directory root:aether 0750), or C(file root:root 0644 9f86d081…).
  returned: always
  type: dict
restarted_for:
  description: The token of the last rolling restart that restarted this node; empty when there was none.
  returned: always
  type: str
machine:
  description: C(cores); C(memory_mb) and C(available_mb) of it; C(load), how many processes wanted to run on average of the last minute; C(disk_mb), what is
    free where O(data_dir) lies.
  returned: always
  type: dict
  sample: {cores: 4, memory_mb: 7964, available_mb: 5120, load: 1.25, disk_mb: 20480}
"""

import grp
import os
import pwd
import re
import stat

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import machine

RELEASES = "releases"
CURRENT = "current"
MARKER = ".rolling"
RESTARTED = ".restarted"
UNIT = "/etc/systemd/system/%s.service"
FENCE = UNIT + ".d/replaced.conf"
USER_GROUPS = re.compile(r"^\s*USERGROUPS_ENAB\s+yes\b", re.MULTILINE | re.IGNORECASE)
PEERS = re.compile(r"^ExecStart=.*\s--peers=(\S*)", re.M)


def user_exists(name):
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def makes_group(name):
    try:
        grp.getgrnam(name)
    except KeyError:
        return bool(USER_GROUPS.search(machine.read_text("/etc/login.defs")))
    return False


def releases(folder):
    """Names under releases/, newest first."""
    try:
        entries = [e for e in os.scandir(os.path.join(folder, RELEASES)) if e.is_dir()]
    except OSError:
        return []
    return [e.name for e in sorted(entries, key=lambda e: e.stat().st_mtime, reverse=True)]


def removable(names, current, wanted, keep):
    """Everything beyond ``keep``, oldest first to go; never the current or the wanted one."""
    staying = [n for n in (wanted, current) if n]
    for name in names:
        if name not in staying and len(set(staying)) < keep:
            staying.append(name)
    return [n for n in names if n not in staying]


def name_of(number, lookup):
    """Of a user or a group; its number where it has none."""
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def described(module, path):
    """KIND OWNER:GROUP MODE, and of a file its sha256; a link is none of both."""
    found = os.lstat(path)
    kind = "directory" if stat.S_ISDIR(found.st_mode) else "file" if stat.S_ISREG(found.st_mode) else "other"
    line = "%s %s:%s %04o" % (kind, name_of(found.st_uid, pwd.getpwuid), name_of(found.st_gid, grp.getgrgid), stat.S_IMODE(found.st_mode))
    return line + " " + module.sha256(path) if kind == "file" else line


def service_state(module, service):
    """(whether it runs, whether systemd has to read its unit again), by one call, for a call takes as long as the rest of the look."""
    said = module.run_command(["systemctl", "show", service, "--property", "ActiveState,NeedDaemonReload"])[1].split()
    return "ActiveState=active" in said or "ActiveState=reloading" in said, "NeedDaemonReload=no" not in said


def peers(unit):
    """Entries of --peers in the text of a unit."""
    found = PEERS.search(unit)
    return [p for p in found.group(1).split(",") if p] if found else []


def main():
    module = AnsibleModule(
        argument_spec=dict(
            java=dict(type="str", default="java"),
            user=dict(type="str", default="aether"),
            install_dir=dict(type="path", default="/opt/aether"),
            data_dir=dict(type="path", default="/var/lib/aether"),
            service=dict(type="str", default="aether"),
            wanted_release=dict(type="str", default=""),
            keep_releases=dict(type="int", default=3),
            paths=dict(type="list", elements="path", default=[]),
        ),
        supports_check_mode=True,
    )
    parameters = module.params
    folder = parameters["install_dir"]
    current = os.path.basename(os.path.realpath(os.path.join(folder, CURRENT))) if os.path.islink(os.path.join(folder, CURRENT)) else ""
    names = releases(folder)
    active, reload_needed = service_state(module, parameters["service"])
    module.exit_json(
        changed=False,
        java_version=machine.java_version(module.run_command, parameters["java"]),
        user_exists=user_exists(parameters["user"]),
        makes_group=makes_group(parameters["user"]),
        release=current,
        releases=names,
        removable=removable(names, current, parameters["wanted_release"], parameters["keep_releases"]),
        active=active,
        reload_needed=reload_needed,
        marker=machine.read_text(os.path.join(parameters["data_dir"], MARKER)).strip(),
        peers=peers(machine.read_text(UNIT % parameters["service"])),
        fenced=os.path.exists(FENCE % parameters["service"]),
        paths={path: described(module, path) for path in parameters["paths"] if os.path.lexists(path)},
        restarted_for=machine.read_text(os.path.join(parameters["data_dir"], RESTARTED)).strip(),
        machine=dict(
            cores=machine.cores(), memory_mb=machine.memory_mb(), available_mb=machine.memory_mb("MemAvailable"), load=round(os.getloadavg()[0], 2),
            disk_mb=machine.free_mb(parameters["data_dir"]),
        ),
    )


if __name__ == "__main__":
    main()
