# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs an operation against a simulated cluster with the parameters a task would give; and says a view as a member would."""

from __future__ import annotations

from ansible_collections.pragmatica.aether.plugins.module_utils.connection import CONNECTION_SPEC
from ansible_collections.pragmatica.aether.plugins.module_utils.dialects import v1
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


def spoken(view):
    """{path: (status, document)} with which a member of v1 would say this view (docs/product.md 4)."""
    kinds = {"blueprint": {}, "threshold": {}}
    for what, value in view.evidence:
        kind, _, name = what.partition(" ")
        kinds[kind][name] = value
    levels = {metric: [float(level) for level in value.split("/")] for metric, value in kinds["threshold"].items()}
    return {
        v1.READY: (200 if view.ready else 503, {"status": "UP" if view.ready else "DOWN"}),
        v1.STATUS: (200, {"nodeId": view.node_id, "leader": view.leader or "none", "cluster": {"nodes": [{"id": i} for i in sorted(view.peers)]}}),
        v1.LIFECYCLE: (200, [{"nodeId": i, "state": state} for i, state in view.lifecycle.items()]),
        v1.SLICES: (200, {}),
        v1.TOPOLOGY: (200, {"clusterSize": view.cluster_size, "coreNodes": sorted(view.core_nodes)}),
        v1.BLUEPRINTS: (200, {"blueprints": [{"id": name, "sliceCount": int(value.split()[0])} for name, value in kinds["blueprint"].items()]}),
        v1.THRESHOLDS: (200, {metric: {"warning": warning, "critical": critical} for metric, (warning, critical) in levels.items()}),
    }
