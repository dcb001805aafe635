# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said of TLS and keys before anything is written: everything at once, and never a secret."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.pragmatica.aether.plugins.filter.preflight import preflight_hosts
from ansible_collections.pragmatica.aether.plugins.module_utils.config_rules import secret_findings
from ansible_collections.pragmatica.aether.plugins.module_utils.minting import open_keys
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import config_check, plan_info
from fakes import parameters, run
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
    ({"open_keys": {"node.key": "0644"}}, ["node.key has a private key and is open to others than its owner (mode 0644): chmod 600 it"]),
    ({"api": "runbook", "open_keys": {"node.key": "0644"}}, ["node.key has a private key"]),
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


def test_a_key_in_clear_is_for_its_owner_alone(tmp_path):
    texts = {
        "mine": ("-----BEGIN EC PRIVATE KEY-----\nMHc=\n", 0o600), "groups": ("-----BEGIN PRIVATE KEY-----\nMHc=\n", 0o640), "everybodys": ("-----BEGIN EC PRIVATE KEY-----\nMHc=\n", 0o644),
        "encrypted": ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMHc=\n", 0o644), "vault": ("$ANSIBLE_VAULT;1.1;AES256\n3330\n", 0o644), "certificate": ("-----BEGIN CERTIFICATE-----\nMHc=\n", 0o644),
    }
    for name, (text, mode) in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    paths = [str(tmp_path / name) for name in [*texts, "missing"]]
    assert open_keys([None, "", *paths]) == {str(tmp_path / "groups"): "0640", str(tmp_path / "everybodys"): "0644"}


@pytest.mark.parametrize("variables", [{"aether_tls_key": "PATH"}, {"aether_client_key": "PATH"}, {"aether_tls_own_ca": "FOLDER"}])
def test_a_key_that_is_open_to_others_is_found_by_preflight_and_before_a_configuration_is_written(tmp_path, variables):
    key = tmp_path / "ca.key"
    key.write_text("-----BEGIN PRIVATE KEY-----\nMHc=\n")
    key.chmod(0o644)
    given = {name: value.replace("PATH", str(key)).replace("FOLDER", str(tmp_path)) for name, value in variables.items()}
    wants = preflight_hosts({"n1": dict(given, aether_api="runbook", aether__wants={"id": "n1"})}, ["n1"], ["n1"])[0]["wants"]
    assert any("%s has a private key and is open" % key in sentence for sentence in wants["secrets"])
    options = {name.replace("aether_", "").replace("tls_own_ca", "own_ca"): value for name, value in given.items()}
    with pytest.raises(AetherError, match="has a private key and is open"):
        config_check.run(parameters(config_check, node_id="n1", peers=["10.0.0.2:8090"], api="runbook", **options), None)


def test_a_key_in_a_variable_is_not_taken_for_a_path():
    pem = "-----BEGIN PRIVATE KEY-----\nMHc=\n"
    entry = preflight_hosts({"n1": {"aether_api": "runbook", "aether_tls": True, "aether_tls_key": pem, "aether_tls_cert": "c", "aether_tls_ca": "a", "aether__wants": {}}}, ["n1"], ["n1"])[0]
    assert entry["wants"]["secrets"] == [] and "MHc=" not in str(entry)


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
