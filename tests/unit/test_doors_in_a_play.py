# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One play of real ansible-playbook through both doors, against a simulated cluster on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from simnode.testing import SimCluster

ROOT = Path(__file__).resolve().parents[2]
CHECK, NODE = "pragmatica.aether.aether_quorum_check", "pragmatica.aether.aether_node"
SHIPPED = {"aether_in_process": False}
TASKS = {
    "inside": {CHECK: {"timeout": 10}},
    "module": {CHECK: {"timeout": 10}, "vars": SHIPPED},
    "node": {NODE: {"name": "n2"}, "vars": SHIPPED},
    "refused": {CHECK: {"without": ["n2"]}, "vars": SHIPPED, "ignore_errors": True},
    "later": {CHECK: {}, "async": 60, "poll": 1},
    "becoming": {CHECK: {}, "become": True},
    "without_httpx": {CHECK: {}, "vars": SHIPPED, "environment": {"PYTHONPATH": "{{ playbook_dir }}/without"}, "ignore_errors": True},
    "own_environment": {CHECK: {}, "environment": {"AETHER_VOTERS": "n1,n2"}, "ignore_errors": True},
    "waiting": {NODE: {"name": "n3", "timeout": 60}},
}
# Instead of sudo: notes that it was asked, and becomes nobody else.
SUDO = """#!/bin/sh
echo "$*" >> '%s'
while [ "$1" != /bin/sh ]; do shift; done
exec "$@"
"""


def play(folder, cluster):
    """What is written to ``folder``: a play with all the tasks, which keeps what they answered; an inventory; a sudo; and a place without httpx."""
    tasks = [dict(task, name=name, register=name) for name, task in TASKS.items()]
    kept = "{{ {%s} | to_json }}" % ", ".join("'%s': %s" % (name, name) for name in TASKS)
    tasks.append({"name": "Keep them", "ansible.builtin.copy": {"dest": str(folder / "answers"), "content": kept, "mode": "0600"}})
    written = {"hosts": "localhost", "gather_facts": False, "environment": {"AETHER_ENDPOINTS": ",".join(cluster.endpoint_list())}, "tasks": tasks}
    (folder / "play.yml").write_text(json.dumps([written]), encoding="utf-8")
    (folder / "sudo").write_text(SUDO % (folder / "asked"), encoding="utf-8")
    (folder / "sudo").chmod(0o755)
    (folder / "without").mkdir()
    (folder / "without" / "httpx.py").write_text("raise ModuleNotFoundError(\"No module named 'httpx'\")\n", encoding="utf-8")
    host = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
        "ansible_async_dir": str(folder / "jobs"), "ansible_become_exe": str(folder / "sudo"),
    }
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {"localhost": host}}}), encoding="utf-8")


def test_a_play_through_each_door(tmp_path):
    """n3 is not started until the last task says, while it waits, that it waits for n3: a line that came later would come too late."""
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev" / "collections"), "ANSIBLE_NOCOLOR": "1"}
    quick = {"ANSIBLE_PIPELINING": "true", "ANSIBLE_INJECT_INVOCATION": "true", "ANSIBLE_BECOME_ALLOW_SAME_USER": "true", "PYTHONUNBUFFERED": "1"}
    said = []
    with SimCluster(3) as cluster:
        cluster.start_all(["n1", "n2"], peers=cluster.ids)
        play(tmp_path, cluster)
        with open(tmp_path / "shown", "w", encoding="utf-8") as shown:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.json", "play.yml"], cwd=tmp_path, text=True,
                stdin=subprocess.DEVNULL, stdout=shown, stderr=subprocess.PIPE, env=dict(os.environ, **settings, **quick),
            )
            for line in process.stderr:
                said.append(line)
                if "n3 does not answer yet" in line and "n3" not in cluster.nodes:
                    cluster.start("n3")
            code = process.wait()
    shown = (tmp_path / "shown").read_text(encoding="utf-8")
    assert code == 0, shown + "".join(said)
    answers = json.loads((tmp_path / "answers").read_text(encoding="utf-8"))

    # A module says how it was called, the action plugin does not.
    assert {name for name, answer in answers.items() if "invocation" in answer} == {"module", "node", "refused", "later", "becoming", "without_httpx"}
    for name in ("inside", "module", "later", "becoming"):
        assert answers[name]["msg"] == "2 of 3 voters sound, 2 needed, leader n1, can lose 0 (nothing to compare state by).", name
        assert answers[name]["quorum"] == answers["inside"]["quorum"] and answers[name]["cluster"] == answers["inside"]["cluster"]
    assert "n2 is a member" in answers["node"]["msg"] and answers["node"]["node"]["sound"]
    assert answers["refused"]["failure"]["kind"] == "quorum" and "Without n2" in answers["refused"]["msg"]
    assert answers["later"]["finished"] and answers["later"]["ansible_job_id"]
    assert len((tmp_path / "asked").read_text(encoding="utf-8").splitlines()) == 1
    assert answers["without_httpx"]["failed"] and "the required Python library (httpx)" in answers["without_httpx"]["msg"]
    assert answers["own_environment"]["msg"] == "Endpoints are named for n3, which 'voters' does not name (n1, n2)."
    assert "n3 is a member" in answers["waiting"]["msg"]
    assert "n3 does not answer yet" not in shown  # but on stderr
