#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_lock
short_description: One host's part of the lock that keeps two runs from changing a cluster at once
version_added: 0.1.0
description:
  - A file on the host says which run of which controller changes the cluster, what it does, since when, and when that runs out.
  - A run is inside when no host shows another one and a majority of the hosts shows this one; the role P(pragmatica.aether.aether_lock#role) decides that.
  - The run is the C(ansible-playbook) process that executes the task. The lock of a process of the same controller that has ended is taken over at once,
    any other one when it has run out, or when it is named in O(instead_of).
  - Never reports a change. The file is no configuration, and it is gone when the run is over.
options:
  state:
    description:
      - V(taken) takes the lock where it is free. Where it is not, RV(held) is false and RV(holder) says who has it; that is no failure.
      - V(kept) renews it, and fails when the host shows another run, or none.
      - V(freed) gives it back.
    type: str
    choices: [taken, kept, freed]
    default: taken
  doing:
    description: What the run does, for whoever is refused. Not needed to renew.
    type: str
    default: ""
  seconds:
    description: After so many seconds without a renewal it runs out. A lock that one has already never gets shorter.
    type: float
    default: 900
  instead_of:
    description: Runs, as RV(holder.run) names them, whose lock is taken over although it has not run out.
    type: list
    elements: str
    default: []
  path:
    description: The file. Its directory must be one where only root may write.
    type: path
    default: /run/aether.lock
  run:
    description: Set by the action plugin.
    type: str
    default: ""
  owner:
    description: Set by the action plugin.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Says whether the lock could be had, and takes nothing.
  diff_mode:
    support: none
    description: Has no differences to show.
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Take the lock on this host
  pragmatica.aether.aether_lock:
    doing: add_node.yml
  register: lock

- name: Give it back
  pragmatica.aether.aether_lock:
    state: freed
"""

RETURN = r"""
held:
  description: Whether this run has the lock of this host now.
  returned: always
  type: bool
holder:
  description: Who has the lock of this host, empty when nobody has.
  returned: always
  type: dict
  contains:
    run:
      description: The run, as O(instead_of) takes it.
      type: str
    owner:
      description: Who started it, and where.
      type: str
    doing:
      description: What it does.
      type: str
    since:
      description: When it took the lock, UTC.
      type: str
    left:
      description: Seconds until it runs out.
      type: float
msg:
  description: The same in a sentence.
  returned: always
  type: str
"""

import contextlib
import fcntl
import json
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pragmatica.aether.plugins.module_utils.locking import decide, sentence


def read(path):
    """What the file holds; None when it is not there or is not such a file (half of one is never seen: see write)."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        return record if {"run", "owner", "doing", "since", "until"} <= set(record) else None
    except (OSError, ValueError, TypeError):
        return None


def write(path, record):
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".new", path)


@contextlib.contextmanager
def alone(path):
    """Only one module on this host between reading and writing; the system lets go when the process ends."""
    with open(path + ".guard", "a", encoding="utf-8") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def holder(record, now):
    """What is returned of a record."""
    return dict({k: record[k] for k in ("run", "owner", "doing", "since")}, left=round(max(0.0, record["until"] - now), 1)) if record else {}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["taken", "kept", "freed"], default="taken"),
            doing=dict(type="str", default=""),
            seconds=dict(type="float", default=900),
            instead_of=dict(type="list", elements="str", default=[]),
            path=dict(type="path", default="/run/aether.lock"),
            run=dict(type="str", default=""),
            owner=dict(type="str", default=""),
        ),
        supports_check_mode=True,
    )
    p = module.params
    if not p["run"]:
        module.fail_json(msg="The action plugin of aether_lock was passed over: name the module in a task, as pragmatica.aether.aether_lock.")
    try:
        with alone(p["path"]):
            record, now = read(p["path"]), time.time()
            what, held = decide(record, p["state"], p["run"], p["instead_of"], now)
            if what == "write" and not module.check_mode:
                mine = record is not None and record["run"] == p["run"]
                record = dict(
                    run=p["run"],
                    owner=p["owner"],
                    doing=p["doing"] or (record["doing"] if mine else ""),
                    since=record["since"] if mine else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
                    until=max(now + p["seconds"], record["until"] if mine else 0.0),
                )
                write(p["path"], record)
            elif what == "remove" and not module.check_mode:
                os.unlink(p["path"])
                record = None
    except OSError as error:
        module.fail_json(msg="The lock cannot be read or written in %s: %s" % (os.path.dirname(p["path"]), error))
    said = dict(held=held, holder=holder(record, now), msg=sentence(record, now))
    if p["state"] == "kept" and not held:
        said["msg"] = (
            "The lock of this cluster is lost: %s Somebody broke it, or this run stood still for longer than it lasts. Nothing further is touched;"
            " see how the cluster is (status.yml) and run this play again." % said["msg"]
        )
        module.fail_json(**said)
    module.exit_json(changed=False, **said)


if __name__ == "__main__":
    main()
