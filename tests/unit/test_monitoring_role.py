# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role aether_monitoring says what is wrong before it touches anything, and writes for the exporter what the inventory has for the nodes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLE = "pragmatica.aether.aether_monitoring"
NODES = {"hosts": {"n1": {"ansible_host": "10.0.0.11"}, "n2": {"aether_management_port": 9080}}, "vars": {
    "aether_tls": True, "aether_api_key": 'a "key" \\ of ours', "aether_cluster_secret": "{{ 'sesame-' ~ 'of-the-cluster' }}",
}}


def played(folder, tasks, nodes=None, **variables):
    """(exit code, output) of ``tasks`` on a host of aether_monitoring, which is this machine."""
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups = {"aether_nodes": NODES if nodes is None else nodes, "aether_monitoring": {"hosts": {"m1": host}, "vars": dict({"aether_monitoring_config_path": str(folder / "prometheus.yml")}, **variables)}}
    (folder / "inventory.yml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "aether_monitoring", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    environ = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", ANSIBLE_INJECT_FACT_VARS="false", ANSIBLE_DEPRECATION_WARNINGS="true")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.yml", "play.yml"], cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    assert "[DEPRECATION WARNING]" not in done.stdout
    return done.returncode, " ".join(done.stdout.split())


def check(folder, **given):
    return played(folder, [{"ansible.builtin.include_role": {"name": ROLE, "tasks_from": "check.yml"}}], **given)


@pytest.mark.parametrize(("given", "said"), [
    ({"aether_monitoring_timeout": 8}, "aether_monitoring_timeout is 8 and aether_monitoring_interval 15: an observation that may take longer than half of the interval"),
    ({"aether_monitoring_cpu_warning": 70}, "they are parts of 1, such as 0.7 for 70 %"),
    ({"aether_monitoring_for": {"AetherMemberFrozen": "1m"}}, "aether_monitoring_for names AetherMemberFrozen, and the alerts are AetherQuorumLost,"),
    ({"nodes": {"hosts": {}}}, "the inventory has no host in the group aether_nodes"),
])
def test_what_does_not_fit_is_refused(tmp_path, given, said):
    code, text = check(tmp_path, **given)
    assert code != 0 and said in text, text[-3000:]


def test_somebodys_prometheus_is_left_alone_and_our_own_is_not_taken_for_somebodys(tmp_path):
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n", encoding="utf-8")
    code, text = check(tmp_path)
    assert code != 0 and "that is not of this role. Nothing was touched. Keep it with aether_monitoring_prometheus: files" in text, text[-3000:]
    assert check(tmp_path, aether_monitoring_prometheus="files")[0] == 0
    (tmp_path / "prometheus.yml").write_text("# Managed by the collection pragmatica.aether.\nscrape_configs: []\n", encoding="utf-8")
    code, text = check(tmp_path)
    assert code == 0 and "n1, n2 of aether are asked every 15 s." in text, text[-3000:]


def test_what_the_nodes_have_is_what_the_exporter_gets(tmp_path):
    """Variables of the group aether_nodes, which a host of another group does not see by itself; the key may be one of its own."""
    show = {"ansible.builtin.debug": {"msg": "{{ shown | to_json | b64encode }}"}, "vars": {"shown": {
        "config": "{{ lookup('ansible.builtin.template', 'exporter.json.j2') }}", "secrets": "{{ aether__exporter_secrets }}", "scraped": "{{ aether__scraped }}",
    }}}
    (tmp_path / "templates").symlink_to(ROOT / "roles" / "aether_monitoring" / "templates")
    tasks = [{"ansible.builtin.include_role": {"name": ROLE, "tasks_from": "check.yml", "public": True}}, show]

    def shown(**given):
        code, text = played(tmp_path, tasks, **given)
        assert code == 0, text[-3000:]
        found = json.loads(base64.b64decode(text.rpartition('"msg": "')[2].partition('"')[0]))
        return (json.loads(found["config"]) if isinstance(found["config"], str) else found["config"]), found["secrets"], found["scraped"]

    config, secrets, scraped = shown()
    assert config == {
        "cluster": "aether", "listen": "127.0.0.1", "port": 9185, "timeout": 4.0,
        "options": {
            "endpoints": ["n1=https://10.0.0.11:8080", "n2=https://n2:9080"], "voters": ["n1", "n2"], "retired": [], "api": "auto", "ca_path": "", "client_cert": "", "client_key": "",
        },
    }
    assert secrets.splitlines() == ['AETHER_API_KEY="a \\"key\\" \\\\ of ours"', 'AETHER_CLUSTER_SECRET="sesame-of-the-cluster"'] and scraped == "127.0.0.1:9185"
    own = {"aether_monitoring_api_key": "reader", "aether_monitoring_cluster_secret": "", "aether_monitoring_listen": "::", "aether_monitoring_client_key": "/nowhere/client.key"}
    config, secrets, scraped = shown(**own)
    assert secrets.splitlines() == ['AETHER_API_KEY="reader"'] and config["listen"] == "::" and scraped == "127.0.0.1:9185"
    assert config["options"]["client_key"] == "/etc/aether-monitoring/client.key"
