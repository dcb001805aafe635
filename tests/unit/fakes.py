# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs an operation against a simulated cluster with the parameters a task would give."""

from __future__ import annotations

from ansible_collections.pragmatica.aether.plugins.module_utils.connection import CONNECTION_SPEC
from ansible_collections.pragmatica.aether.plugins.module_utils.operations.session import Session


def parameters(task, /, **given):
    """The operation's parameters with their defaults, as the argument spec says."""
    spec = dict(CONNECTION_SPEC, **task.ARGUMENT_SPEC)
    unknown = set(given) - set(spec)
    assert not unknown, unknown
    return {name: given.get(name, option.get("default")) for name, option in spec.items()}


def run(task, cluster, /, check_mode=False, progress=None, ids=None, **given):
    """The result of operation ``task`` for a SimCluster; short timeouts, for it runs at a fraction of the product's time."""
    given = dict({"endpoints": cluster.endpoint_list(ids), "connect_timeout": 0.5, "read_timeout": 0.7}, **given)
    with Session(parameters(task, **given), check_mode=check_mode, progress=progress) as session:
        return task.run(session.params, session)
