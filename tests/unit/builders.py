# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builders for observations: a healthy member is the default, a test says what differs."""

from __future__ import annotations

from ansible_collections.pragmatica.aether.plugins.module_utils.model import Observation, Trouble, View

EVIDENCE = (("blueprint org.example:shop:1.0.0", "2 slices"), ("threshold cpu.usage", "0.6/0.9"))


def member(node, everyone, **differs):
    """The view of a healthy ``node`` of a cluster of ``everyone``; the first of them leads."""
    values = dict(
        endpoint="http://%s:8080" % node,
        name=node,
        node_id=node,
        ready=True,
        leader=everyone[0],
        peers=frozenset(everyone),
        cluster_size=len(everyone),
        core_nodes=frozenset(everyone),
        lifecycle={i: "ON_DUTY" for i in everyone},
        evidence=EVIDENCE,
    )
    values.update(differs)
    return View(**values)


def gone(node, kind="down"):
    return View(endpoint="http://%s:8080" % node, name=node, trouble=Trouble(kind, "no connection"))


def stateless(node, everyone, **differs):
    """Ready, healthy and empty (docs/product.md 2)."""
    return member(node, everyone, **dict(dict(leader=None, lifecycle={node: "ON_DUTY"}, evidence=()), **differs))


def cluster(*views, voters=None):
    return Observation(voters=tuple(voters or [v.id for v in views]), views=tuple(views))
