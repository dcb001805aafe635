# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said of TLS and keys before anything is written: everything at once, and never a secret."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.config_rules import secret_findings
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import plan_info
from fakes import run
from hypothesis import given
from hypothesis import strategies as st
from simnode.testing import SimCluster

SECRET, KEY = "a secret of the cluster", "0123456789abcdef"
ADMIN = {"key": KEY, "name": "ops", "role": "ADMIN"}


@pytest.mark.parametrize("config", [
    {}, {"tls": True, "cluster_secret": SECRET}, {"api_keys": [ADMIN]}, {"tls": True, "cluster_secret": SECRET, "api_keys": [ADMIN, {"key": KEY + "2", "name": "reader"}]},
    {"api": "runbook"}, {"api": "runbook", "tls": True, "tls_files": ["ca", "cert", "key"]}, {"api": "runbook", "tls": True, "own_ca": "/authority"},
])
def test_what_is_right(config):
    assert secret_findings(config) == []


@pytest.mark.parametrize(("config", "parts"), [
    ({"tls": True}, ["without a secret the product runs without TLS"]),
    ({"cluster_secret": SECRET}, ["would run without TLS"]),
    ({"tls": True, "cluster_secret": "short"}, ["has 5 characters"]),
    ({"tls": True, "cluster_secret": "${env:SOMETHING_LONG}"}, ["takes it literally"]),
    ({"tls_files": ["ca", "cert", "key"]}, ["checks such files and then ignores them"]),
    ({"api_keys": [dict(ADMIN, key="short"), dict(ADMIN, key=KEY + ":x"), dict(ADMIN, name="a b"), dict(ADMIN, key=KEY + "4", role="ROOT")]}, [
        "aether_api_keys[1]: the key must", "aether_api_keys[2]: the key must", "aether_api_keys[3]: the name must", "aether_api_keys[4]: the role must", ]),
    ({"own_ca": "/authority"}, ["checks such files and then ignores them"]),
    ({"api": "runbook", "tls": True, "own_ca": "/authority", "tls_files": ["ca", "cert", "key"]}, ["both given"]),
    ({"api": "runbook", "tls": True, "own_ca": "/authority", "own_ca_missing": True}, ["ansible-playbook pragmatica.aether.authority"]),
    ({"api_keys": [ADMIN, ADMIN]}, ["aether_api_keys[2]: the key stands there twice"]),
    ({"api_keys": [dict(ADMIN, role="OPERATOR")]}, ["none with the role ADMIN"]),
    ({"api": "runbook", "cluster_secret": SECRET, "tls": True, "tls_files": ["ca", None, ""]}, ["for the API v1 alone", "and 1 of aether_tls_ca"]),
])
def test_what_is_wrong_is_said_at_once(config, parts):
    found = secret_findings(config)
    assert len(found) == len(parts) and all(any(part in sentence for sentence in found) for part in parts), found


@given(st.text(min_size=6), st.lists(st.fixed_dictionaries({"key": st.text(min_size=6), "name": st.text(), "role": st.sampled_from(["VIEWER", "ADMIN", "?"])}), max_size=4), st.booleans(), st.sampled_from(["v1", "runbook", "auto"]))
def test_no_sentence_has_a_secret_in_it(secret, keys, tls, api):
    said = " ".join(secret_findings({"api": api, "tls": tls, "cluster_secret": secret, "api_keys": keys}))
    fixed = " ".join(secret_findings({"api": api, "tls": tls, "cluster_secret": "\0" * len(secret), "api_keys": [dict(k, key="\0" * len(k["key"])) for k in keys]}))
    assert all(s not in said or s in fixed for s in [secret] + [k["key"] for k in keys])


def test_a_key_that_may_too_little_is_found_before_anything_is_touched():
    keys = {"reading-key-000000": "VIEWER", "drain-key-00000000": "OPERATOR", "admin-key-00000000": "ADMIN"}
    with SimCluster(3, api_keys=keys) as cluster:
        cluster.key = "admin-key-00000000"
        cluster.start_all()
        versions = lambda: {n: node.store.entries.copy() for n, node in cluster.nodes.items()}
        before = versions()
        for key, role, fine in (("reading-key-000000", "OPERATOR", False), ("drain-key-00000000", "OPERATOR", True), ("drain-key-00000000", "ADMIN", False), ("admin-key-00000000", "ADMIN", True), ("reading-key-000000", "VIEWER", True)):
            result = run(plan_info, cluster, operation="roll", key_role=role, api_key=key, on_refusal="report")
            codes = [r["code"] for r in result["plan"]["refusals"]]
            assert ("key" not in codes) is fine, (key, role, codes)
            assert not any(key in str(value) for value in result.values())
        assert versions() == before


def test_what_the_door_inside_the_process_returns_has_no_secret_in_it():
    from ansible_collections.pragmatica.aether.plugins.plugin_utils.door import HIDDEN, scrubbed

    secrets = {"sesame", "open sesame", "4711", ""}
    result = {"msg": "key open sesame is refused", "sesame": [("x", "sesame"), {"deep": "a sesame b"}], "port": 8080, "pin": 4711, "none": None, "changed": False}
    assert scrubbed(result, secrets) == {"msg": "key %s is refused" % HIDDEN, HIDDEN: [["x", HIDDEN], {"deep": "a %s b" % HIDDEN}], "port": 8080, "pin": HIDDEN, "none": None, "changed": False}
    assert scrubbed(result, set()) == dict(result, sesame=[["x", "sesame"], {"deep": "a sesame b"}])


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_a_module_that_is_shipped_lies_in_no_file(transport, monkeypatch):
    """Whatever Ansible is configured to: what is not pipelined is written to a file on the controller first, keys included."""
    from ansible.playbook.play_context import PlayContext
    from ansible.plugins.loader import connection_loader
    from ansible_collections.pragmatica.aether.plugins.plugin_utils.door import OperationAction

    connection = connection_loader.get(transport, PlayContext(), "/dev/null")
    connection.set_options(var_options={"ansible_pipelining": False, "ansible_ssh_pipelining": False})
    task = SimpleNamespace(async_val=0, check_mode=False, args={"api_key": "sesame"})
    action = OperationAction(task, connection, PlayContext(), None, SimpleNamespace(template=lambda value: value), None)
    shipped = []
    monkeypatch.setattr(action, "_execute_module", lambda **_given: shipped.append(action._is_pipelining_enabled("new")) or {})
    assert not action._is_pipelining_enabled("new")
    action.run(task_vars={"aether_in_process": False})
    assert shipped == [True]
