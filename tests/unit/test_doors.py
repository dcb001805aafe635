# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two doors to an operation (docs/design.md): a module as it is shipped, and the action plugin inside Ansible's own process.

Both are asked the same and must answer the same. Which of them a task gets is decided by what only a module can do.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.pragmatica.aether.plugins.action import aether_config_check, aether_node
from ansible_collections.pragmatica.aether.plugins.doc_fragments.connection import ModuleDocFragment
from ansible_collections.pragmatica.aether.plugins.module_utils.connection import CONNECTION_SPEC
from ansible_collections.pragmatica.aether.plugins.plugin_utils import door
from simnode.testing import SimCluster

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = "ansible_collections.pragmatica.aether.plugins."
BLUEPRINT = 'id = "org.example:shop:1.0.0"\n[[slices]]\nartifact = "org.example:cart:1.0.0"\ninstances = 2\n'
# Each connection option: what its environment variable says, and what the operation gets.
FROM_THE_ENVIRONMENT = {
    "endpoints": ("n1=http://127.0.0.1:1,n2=http://127.0.0.1:2", ["n1=http://127.0.0.1:1", "n2=http://127.0.0.1:2"]),
    "voters": ("n1,n2", ["n1", "n2"]),
    "retired": ("n9", ["n9"]),
    "api": ("v1", "v1"),
    "api_key": ("sesame", "sesame"),
    "connect_timeout": ("0.5", 0.5),
    "read_timeout": ("0.75", 0.75),
    "ca_path": ("/ca.pem", "/ca.pem"),
    "client_cert": ("/cert.pem", "/cert.pem"),
    "client_key": ("/key.pem", "/key.pem"),
    "cluster_secret": ("a secret of the cluster", "a secret of the cluster"),
    "validate_certs": ("false", False),
    "use_proxy": ("true", True),
}
ENVIRONMENT = {"AETHER_" + name.upper(): text for name, (text, _value) in FROM_THE_ENVIRONMENT.items()}


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def module(name, /, check_mode=False, environ=None, stub=None, **options):
    """(exit code, answer) of a module that runs as a program of its own, its options as JSON; ``stub``: a folder that its imports come from first."""
    given = json.dumps({"ANSIBLE_MODULE_ARGS": dict(options, _ansible_check_mode=check_mode, _ansible_inject_invocation=True)})
    path = [str(stub)] if stub else []
    done = subprocess.run(
        [sys.executable, "-m", PLUGINS + "modules." + name], input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([*path, str(ROOT / ".dev" / "collections")]), **(environ or {})),
    )
    assert len(done.stdout.strip().splitlines()) == 1, (done.stdout, done.stderr)
    return done.returncode, json.loads(done.stdout)


def action(plugin, /, check_mode=False, environ=None, transport="local", become=None, async_val=0, **options):
    """The action plugin of a task, with a connection of this transport."""
    task = SimpleNamespace(
        action="pragmatica.aether." + plugin.__name__.rpartition(".")[2], args=options, async_val=async_val, check_mode=check_mode, environment=[environ or {}],
    )
    connection = SimpleNamespace(transport=transport, become=become, _shell=SimpleNamespace(tmpdir="/nowhere"), option_definitions={})
    made = plugin.ActionModule(task, connection, None, None, Templar(loader=DataLoader()))
    made.shipped = []
    made._execute_module = lambda **how: made.shipped.append(how) or {"changed": False}
    return made


def inside(name, /, **options):
    """(exit code, answer) of the same inside the process."""
    made = action(importlib.import_module(PLUGINS + "action." + name), **options)
    answer = made.run(task_vars={})
    assert made.shipped == []
    return int(answer.get("failed", False)), answer


DOORS = pytest.mark.parametrize("through", [module, inside])


@pytest.fixture
def three():
    with SimCluster(3) as cluster:
        cluster.start_all()
        assert cluster.request("POST", "n1", "/api/blueprint", BLUEPRINT)[0] == 200
        yield cluster


def told(cluster):
    return {"endpoints": cluster.endpoint_list(), "connect_timeout": 0.5, "read_timeout": 0.7}


def test_both_doors_answer_the_same(three):
    def same(what, code, /, **options):
        answers = [through(what, **told(three), **options) for through in (module, inside)]
        for _code, answer in answers:
            for own in ("invocation", "failed", "waited"):  # what only one of them says, and what the clock does
                answer.pop(own, None)
        assert answers[0][0] == answers[1][0] == code and answers[0][1] == answers[1][1]
        return answers[0][1]

    sound = same("aether_quorum_check", 0)
    assert sound["quorum"]["have"] == 3 and sound["cluster"]["leader"] == "n1" and sound["changed"] is False and sound["api"] == "v1"
    member = same("aether_node", 0, name="n2")
    assert member["node"] == {"id": "n2", "state": "ON_DUTY", "sound": True, "has_state": True} and "n2 is a member" in member["msg"]
    measured = same("aether_capacity_info", 0, window=0.2, profile="development")
    assert [m["cpu"] for m in measured["members"]] == [0.12] * 3 and measured["table"]
    assert measured["advice"]["action"] == "hold"  # a slice has three instances
    above = same("aether_threshold", 1, metric="cpu.usage", warning=0.9, critical=0.1)
    assert above["failure"]["kind"] == "bad_input" and "above the critical level" in above["msg"]
    assert same("aether_threshold", 0, metric="cpu.usage")["threshold"] == {"metric": "cpu.usage", "warning": 0.7, "critical": 0.9}
    three.kill("n3")
    refused = same("aether_quorum_check", 1, without=["n2"])
    assert refused["failure"]["kind"] == "quorum" and "would_not_survive" in refused["failure"]["codes"] and "Without n2" in refused["msg"]
    missing = same("aether_node", 1, name="n9", voters=["n1", "n2", "n3"])
    assert missing["failure"] == {"kind": "bad_input"} and missing["msg"] == "'n9' is not among the voters (n1, n2, n3)."


@DOORS
def test_a_state_is_saved_and_put_back_through_each_door(three, through, tmp_path):
    path, secret = str(tmp_path / "state"), {"my.key": "a word of its own"}
    assert three.request("POST", "n1", "/api/config", {"key": "my.key", "value": secret["my.key"]})[0] == 200
    options = dict(told(three), path=path, overrides=secret, allow=["blueprint"])
    three.wait(lambda: all(three.get(n, "/api/config/overrides") for n in three.ids), "all to have it")
    for changed in (True, False):
        code, answer = through("aether_state", state="saved", **options)
        assert (code, answer["changed"], answer["path"]) == (0, changed, path), answer
    assert three.request("DELETE", "n1", "/api/config/my.key")[0] == 200
    three.wait(lambda: not any(three.get(n, "/api/config/overrides") for n in three.ids), "all to have lost it")
    _code, differs = through("aether_state_info", path=path, **told(three))
    assert not differs["equal"] and differs["difference"] == ["configuration override my.key: none"]
    code, answer = through("aether_state", timeout=40, stable_for=0.1, **options)
    assert code == 0, answer["msg"]
    assert answer["changed"] and three.get("n1", "/api/config/overrides") and secret["my.key"] not in json.dumps(dict(answer, invocation=None))


@DOORS
def test_check_mode_reaches_the_operation_through_each_door(three, through):
    three.wait(lambda: all(i["state"] == "ACTIVE" for s in three.get("n1", "/api/slices")["slices"] for i in s["instances"]), "active")
    three.post("n1", "/api/node/drain/n3")
    three.wait(lambda: three.get("n2", "/api/node/lifecycle/n3")["state"] == "DECOMMISSIONED", "n3 drained")
    for check_mode, state, sent in ((True, "DECOMMISSIONED", False), (False, "ON_DUTY", True)):
        code, answer = through("aether_node", check_mode=check_mode, name="n3", timeout=10, **told(three))
        assert code == 0 and answer["changed"] and [a["sent"] for a in answer["actions"]] == [sent]
        assert three.get("n2", "/api/node/lifecycle/n3")["state"] == state
    assert through("aether_node", name="n3", timeout=10, **told(three))[1]["changed"] is False


@DOORS
def test_options_that_are_wrong_are_refused_before_anybody_is_asked(through):
    def sentence(**options):
        try:
            code, answer = through("aether_quorum_check", **options)
        except AnsibleActionFail as error:  # which Ansible shows as the task's failure
            return str(error)
        assert code == 1
        return answer["msg"]

    assert "value of require must be one of: majority, complete, got: everything" in sentence(require="everything")
    assert "witout" in sentence(witout=["n1"])
    assert sentence().startswith("No endpoints: set the option 'endpoints' or the environment variable AETHER_ENDPOINTS")


# --- the environment ------------------------------------------------------------------------------------------------

def test_every_connection_option_has_its_variable_and_the_documentation_says_so():
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert set(FROM_THE_ENVIRONMENT) == set(CONNECTION_SPEC) == set(documented)
    for name, option in documented.items():
        assert "the environment variable E(AETHER_%s) is used" % name.upper() in " ".join(option["description"]), name


def test_a_module_takes_its_connection_from_the_environment_and_an_option_goes_before_it():
    """Nobody listens there; what the module was given stands in its answer, secrets hidden."""
    _code, answer = module("aether_quorum_check", environ=ENVIRONMENT)
    taken = answer["invocation"]["module_args"]
    for name, (_text, value) in FROM_THE_ENVIRONMENT.items():
        assert taken[name] == ("VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" if CONNECTION_SPEC[name].get("no_log") else value), name
    assert answer["failure"]["codes"] == ["down", "lost_majority"] and "127.0.0.1:1" in answer["msg"]
    _code, answer = module("aether_quorum_check", environ=ENVIRONMENT, endpoints=["n1=http://127.0.0.1:3"], voters=["n1"])
    assert [m["endpoint"] for m in answer["cluster"]["members"]] == ["http://127.0.0.1:3"]
    taken = module("aether_quorum_check", endpoints=["n1=http://127.0.0.1:3"])[1]["invocation"]["module_args"]
    assert (taken["voters"], taken["api"], taken["connect_timeout"], taken["validate_certs"]) == (None, "auto", 2.0, True)


@pytest.mark.parametrize("name", FROM_THE_ENVIRONMENT)
def test_inside_the_process_the_tasks_environment_counts_then_the_process_own(monkeypatch, name):
    text, value = FROM_THE_ENVIRONMENT[name]
    variable = "AETHER_" + name.upper()
    plain = lambda **more: action(aether_node, name="n1", **more)._validated({})[0][name]
    assert plain() == CONNECTION_SPEC[name].get("default") != value
    assert plain(environ={variable: text}) == value
    monkeypatch.setenv(variable, text)
    assert plain() == value
    other = {"api": "runbook", "validate_certs": "true", "use_proxy": "false"}.get(name, "0")
    assert plain(environ={variable: other}) != value
    monkeypatch.setenv(variable, "?")
    given = action(aether_node, **{"name": "n1", name: value})._validated({})[0]
    assert given[name] == value


def test_a_secret_from_the_environment_is_hidden_as_one_from_an_option_is():
    answer = inside("aether_quorum_check", environ=dict(ENVIRONMENT, AETHER_ENDPOINTS="n1=http://sesame.invalid:1", AETHER_VOTERS="n1"))[1]
    assert "sesame" not in json.dumps(answer) and "http://********.invalid:1" in answer["msg"]


@DOORS
def test_the_endpoints_alone_may_come_from_the_environment(three, through):
    code, answer = through("aether_quorum_check", require="complete", timeout=5, environ={"AETHER_ENDPOINTS": ",".join(three.endpoint_list())})
    assert code == 0 and answer["cluster"]["voters"] == ["n1", "n2", "n3"]


# --- which door -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(
    ("how", "variables", "ships"),
    [
        ({}, {}, False),
        ({"transport": "ansible.builtin.local"}, {"aether_in_process": "yes"}, False),
        ({"transport": "ssh"}, {}, True),
        ({"become": object()}, {}, True),
        ({"async_val": 30}, {}, True),
        ({}, {"aether_in_process": False}, True),
        ({}, {"aether_in_process": "{{ 1 == 2 }}"}, True),
    ],
)
def test_the_module_is_shipped_where_only_it_can_do_what_the_task_asks_for(how, variables, ships):
    made = action(aether_node, name="n1", endpoints=["n1=http://127.0.0.1:1"], timeout=0, **how)
    answer = made.run(task_vars=variables)
    assert [sorted(h) for h in made.shipped] == ([["task_vars", "wrap_async"]] if ships else [])
    if ships:
        assert made.shipped[0]["wrap_async"] is ("async_val" in how) and answer == {"changed": False}
    else:
        assert answer["failure"]["kind"] == "not_present"


def test_without_httpx_the_module_is_shipped_unless_the_operation_asks_nobody(monkeypatch):
    monkeypatch.setattr(door, "HTTPX_ERROR", ImportError("No module named 'httpx'"))
    made = action(aether_node, name="n1")
    made.run(task_vars={})
    assert len(made.shipped) == 1
    assert inside("aether_config_check", node_id="n1", peers=["n1:10.0.0.1:8090"], cluster_port=8090, management_port=8080)[0] in (0, 1)
    assert action(aether_config_check)._must_ship({}) is False


def test_a_module_without_httpx_says_what_is_missing_where_and_what_to_do(tmp_path):
    (tmp_path / "httpx.py").write_text("raise ModuleNotFoundError(\"No module named 'httpx'\")\n", encoding="utf-8")
    for name, options in (("aether_quorum_check", {}), ("aether_node", {"name": "n1"})):
        code, answer = module(name, stub=tmp_path, endpoints=["n1=http://127.0.0.1:1"], **options)
        assert code == 1 and answer["failed"]
        assert re.match(r"Failed to import the required Python library \(httpx\) on \S+'s Python %s\. " % re.escape(sys.executable), answer["msg"])
        assert answer["msg"].endswith("ansible_python_interpreter.") and answer["msg"].count(sys.executable) == 1
    code, answer = module("aether_config_check", stub=tmp_path, node_id="n1", peers=["n1:10.0.0.1:8090"], cluster_port=8090, management_port=8080)
    assert "httpx" not in json.dumps(answer)


# --- progress -------------------------------------------------------------------------------------------------------

def test_inside_the_process_a_wait_says_live_what_it_waits_for(three, capfd):
    """On stderr, while it waits: what callbacks print on stdout stays as it is."""
    three.kill("n3")
    seen = []
    plugin = importlib.import_module(PLUGINS + "action.aether_quorum_check")
    made = action(plugin, require="complete", timeout=3, **told(three))
    say = made._progress
    made._progress = lambda line: (say(line), seen.append(capfd.readouterr()))
    assert made.run(task_vars={})["failed"]
    assert seen and all(re.fullmatch(r"     *\d+ s  n3: no connection to \S+ .*; is the node running\?.*\n", shown.err) for shown in seen), seen
    assert all(shown.out == "" for shown in seen)
