# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples in the modules' documentation, as they stand there: each runs, runs again with changed=0, and in check mode nothing is written.

Only addresses are put in: those of the examples lead to a simulated cluster. Before each example the cluster is told its name, so that it can be what the
example is about (``SCENES``), and whether it takes writes. Every task of a module's examples comes three times: in check mode, while the cluster refuses
every write; for real; and again, which must change nothing.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import sys
import zipfile
from urllib.parse import parse_qs, urlencode

import pytest
import yaml
from environments import CORES, ROOT, core
from simnode.http import Response
from simnode.testing import SimCluster

MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
READS = ("GET", "HEAD")
# What changes nothing although it is no GET: a blueprint that is only looked at, and what is refused for its lack of a value and tells whether a key may write.
PROBES = ("/api/blueprint/validate",)
ASKED_WITHOUT_VALUE = ("/api/thresholds", "/api/logging/levels")
WRITING = {"aether_artifact", "aether_blueprint", "aether_drain", "aether_state", "aether_threshold"}
SHOP = 'id = "org.example:shop:1.0.0"\n[[slices]]\nartifact = "org.example:cart:1.0.0"\ninstances = 2\n'
OLD = 'id = "org.example:old:1.0.0"\n[[slices]]\nartifact = "org.example:relic:1.0.0"\ninstances = 1\n'


def joining(cluster):
    """n4 is on its way; that it runs at all is not what the example waits for."""
    cluster.start("n4", peers=["n1", "n2", "n3", "n4"])
    cluster.wait(lambda: cluster.connected("n4") >= 0, "n4 to answer; %s" % cluster.logs["n4"][-3:])


SCENES = {
    "Take a blueprint and its slices away": lambda cluster: cluster.request("POST", "n1", "/api/blueprint", OLD),
    "Wait until n4 is a member": joining,
    "Wait until n4 is gone from every view": lambda cluster: cluster.stop("n4"),
    "Save the state": lambda cluster: cluster.request("POST", "n1", "/api/blueprint", SHOP),
    "Put it back": lambda cluster: cluster.request("DELETE", "n1", "/api/blueprint/org.example:shop:1.0.0"),
    "Drain n3 for maintenance": lambda cluster: cluster.request("POST", "n1", "/api/blueprint", SHOP),
}
SYSTEMCTL = """#!/bin/sh
# What systemd says of a node that runs: the process is the one that the simulated cluster is in.
printf '%%s\\n' LoadState=loaded ActiveState=active SubState=running MainPID=%d ExecMainCode=0 ExecMainStatus=0 InvocationID=0123 ControlGroup= WorkingDirectory=/
"""
JOURNALCTL = "#!/bin/sh\necho 'the node says nothing that matters'\n"


class Door:
    """Stands before every node's API: is told which example comes, keeps lists of writes, and refuses them while it is told to; ``shut``: always."""

    def __init__(self, cluster):
        self.cluster, self.refused, self.taken = cluster, [], []
        self.refusing = self.in_scene = self.shut = False
        for node in cluster.nodes.values():
            node.http._handle = self.before(node.http._handle)

    def before(self, inner):
        async def handle(request):
            if request.path == "/sim/example":
                told = parse_qs(request.query)
                await self.prepare(told["name"][0], told["refuse"] == ["1"])
                return Response(200, {})
            if self.writes(request) and not self.in_scene:
                refuse = self.refusing or self.shut
                (self.refused if refuse else self.taken).append("%s %s" % (request.method, request.path))
                if refuse:
                    return Response(403, {"error": "this cluster takes no writes"})
            return await inner(request)

        return handle

    async def prepare(self, name, refuse):
        if refuse and name in SCENES:
            self.in_scene = True
            await asyncio.get_running_loop().run_in_executor(None, SCENES[name], self.cluster)
            self.in_scene = False
        self.refusing = refuse

    @staticmethod
    def writes(request):
        return request.method not in READS and request.path not in PROBES and not (request.path in ASKED_WITHOUT_VALUE and request.body in (b"", b"{}"))


def examples(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "EXAMPLES":
            return node.value.value
    return ""


def play(path, cluster, where):
    """One play: every example in check mode, for real, and again. ``where``: the folder in which the files are that examples name."""
    text = re.sub(r"(n\d)=http://10\.0\.0\.\d+:8080", lambda found: "%s=%s" % (found.group(1), cluster.endpoints[found.group(1)]), examples(path))
    text = re.sub(r"(n\d):10\.0\.0\.\d+:8090", lambda found: "%s:127.0.0.1:%d" % (found.group(1), cluster.ports[found.group(1)][0]), text)
    tasks = []
    for number, task in enumerate(yaml.safe_load(text)):
        name, register = task["name"], task.get("register", "example%d" % number)

        def tell(refuse, name=name):
            address = "%s/sim/example?%s" % (cluster.endpoints["n1"], urlencode({"name": name, "refuse": int(refuse)}))
            return {"ansible.builtin.debug": {"msg": "{{ lookup('ansible.builtin.url', '%s') }}" % address}}

        tasks += [
            tell(True), dict(task, name=name + ", in check mode", check_mode=True, register="checked"),
            tell(False), dict(task, register=register, failed_when="%s is failed or (%s is changed and checked is not changed)" % (register, register)),
            dict(task, name=name + ", again", register=register, failed_when="%s is failed or (%s is changed and not ansible_check_mode)" % (register, register)),
        ]
    own = {
        "aether_lock": {"path": str(where / "lock")},
        "aether_start_info": {"cluster_port": cluster.ports["n1"][0], "management_port": cluster.ports["n1"][1], "settle": 0},
        "aether_start_check": {"cluster_port": cluster.ports["n1"][0]},
        "aether_drain": {"intent_path": str(where / "intents")},
    }
    return [{
        "hosts": "aether_nodes", "gather_facts": False, "environment": {"PATH": "%s:%s" % (where / "bin", os.environ["PATH"])},
        "module_defaults": {"pragmatica.aether." + module: values for module, values in own.items()}, "tasks": tasks,
    }]


def run(where, *words):
    """By the newest core, where a deprecation shows first."""
    environ = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev" / "collections"), "ANSIBLE_INJECT_FACT_VARS": "false", "ANSIBLE_DEPRECATION_WARNINGS": "true"}
    code, shown = core(max(CORES)).run("ansible-playbook", "-i", "inventory.yml", "examples.yml", *words, cwd=where, **environ)
    assert code == 0, shown[-6000:]
    assert "WARNING" not in shown, shown
    return shown


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_every_example_runs_and_again_and_in_check_mode_against_a_cluster_that_takes_no_writes(path, tmp_path):
    with SimCluster(3) as cluster:
        cluster.start_all()
        for absent in ("n4", "n5"):  # those that are to be added
            cluster.add_member(absent)
        door = Door(cluster)
        (tmp_path / "shop.toml").write_text(SHOP, encoding="utf-8")
        with zipfile.ZipFile(tmp_path / "my-slice-1.0.0.jar", "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
        (tmp_path / "bin").mkdir()
        for name, text in (("systemctl", SYSTEMCTL % os.getpid()), ("journalctl", JOURNALCTL)):
            (tmp_path / "bin" / name).write_text(text, encoding="utf-8")
            (tmp_path / "bin" / name).chmod(0o755)
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become_method": "ansible.builtin.su"}
        inventory = {"all": {"hosts": {"localhost": host}}, "aether_nodes": {"hosts": {"n1": dict(host, ansible_host="127.0.0.1")}}}
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        (tmp_path / "examples.yml").write_text(yaml.safe_dump(play(path, cluster, tmp_path), sort_keys=False), encoding="utf-8")
        shown = run(tmp_path)
        assert shown.count(", again]") == shown.count(", in check mode]") > 0
        assert door.refused == []
        assert bool(door.taken) == (path.stem in WRITING), door.taken
        door.taken.clear()
        door.shut = True
        run(tmp_path, "--check")
        assert door.refused == [] == door.taken
