# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connection options, once for all modules (documented in plugins/doc_fragments/connection.py)."""

from __future__ import annotations

from typing import Any, Callable, Dict

CONNECTION_SPEC: Dict[str, Dict[str, Any]] = dict(
    endpoints=dict(type="list", elements="str"),
    voters=dict(type="list", elements="str"),
    retired=dict(type="list", elements="str"),
    api=dict(type="str", choices=["auto", "v1", "runbook"], default="auto"),
    api_key=dict(type="str", no_log=True),
    connect_timeout=dict(type="float", default=2.0),
    read_timeout=dict(type="float", default=5.0),
    ca_path=dict(type="path"),
    client_cert=dict(type="path"),
    client_key=dict(type="path", no_log=False),
    cluster_secret=dict(type="str", no_log=True),
    validate_certs=dict(type="bool", default=True),
    use_proxy=dict(type="bool", default=False),
)


def with_fallbacks(fallback: Callable[..., Any]) -> Dict[str, Dict[str, Any]]:
    """The connection options, each with its environment variable ``AETHER_<NAME>`` as fallback.

    ``fallback`` is a parameter because a task's ``environment:`` does not reach code that runs inside
    Ansible's own worker process: the door there looks it up by itself.
    """
    return {name: dict(option, fallback=(fallback, ["AETHER_" + name.upper()])) for name, option in CONNECTION_SPEC.items()}
