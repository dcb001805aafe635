# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JAR of the node with the runbook's API: the runbook's own commands, typed on hosts."""

from __future__ import annotations

import json
import os
import shutil

import hosts
import pytest
import quickstart
from hosts import Pool

pytestmark = pytest.mark.sandbox

FOUNDERS = ["node1", "node2", "node3"]
SLICE = "org.example:my-slice:1.0.0"


@pytest.fixture(scope="module")
def pool():
    """Four hosts with the JAR, nodes running on three of them."""
    pool = Pool("r-%d" % os.getpid())
    jar = hosts.jar(api="runbook")
    assert jar != hosts.jar()
    try:
        pool.up([*FOUNDERS, "node4"])
        for host in pool.hosts():
            shutil.copyfile(jar, pool.path / host / "root" / "opt" / "aether-node.jar")
            (pool.path / host / "root" / "etc" / "aether-sim.json").write_text(json.dumps({"time_factor": 0.1}))
        for position, host in enumerate(FOUNDERS):
            start(pool, host, [h for h in FOUNDERS if h != host])
            until(pool, host, lambda: len(nodes(pool, host)) == position + 1)
        until(pool, "node1", lambda: curl(pool, "node1", "/health")["quorum"])
        yield pool
    finally:
        pool.down()


def start(pool, host, others):
    peers = ",".join("%s:8090" % other for other in others)
    pool.exec(host, "systemd-run", "--quiet", "--collect", "java", "-Xmx64m", "-jar", "/opt/aether-node.jar", "--node-id=" + host, "--port=8090", "--peers=" + peers)


def curl(pool, host, path, *options):
    done = pool.exec("node1", "curl", "-s", *options, "http://%s:8080%s" % (host, path), check=False)
    return json.loads(done.stdout or "{}")


def nodes(pool, host):
    return [n["id"] for n in curl(pool, host, "/cluster/status").get("nodes", [])]


def until(pool, host, condition):
    hosts.wait_for(condition, "%s says %s" % (host, curl(pool, host, "/health")), 30)


def cli(pool, command):
    return pool.exec("node2", "aether-cli", "--host", "node1:8080", "-c", command).stdout


def test_a_quickstart_of_another_kind_is_not_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, "HOME", tmp_path)

    def refused():
        return [(api, tls) for api in ("v1", "runbook") for tls in (True, False) if quickstart.of_another_kind(quickstart.before(), api, tls)]

    assert refused() == []
    for variables, kind in (({"aether_api": "runbook"}, ("runbook", False)), ({}, ("v1", False)), ({"aether_tls": True}, ("v1", True))):
        (tmp_path / "five.json").write_text(json.dumps({"aether_nodes": {"vars": variables}}))
        assert len(refused()) == 3 and kind not in refused()


def test_the_runbook_typed_on_hosts(pool):
    assert "is to have 3 instances" in cli(pool, "blueprint update %s --instances=3" % SLICE)
    until(pool, "node1", lambda: sum("my-slice" in line and "ACTIVE" in line for line in cli(pool, "slices list").splitlines()) == 3)

    assert cli(pool, "blueprint update %s --instances=0" % SLICE).startswith("Error: ")

    start(pool, "node4", FOUNDERS)
    until(pool, "node1", lambda: "node4" in nodes(pool, "node1") and curl(pool, "node4", "/health").get("quorum"))
    assert curl(pool, "node1", "/health")["nodeCount"] == 4

    assert curl(pool, "node3", "/admin/drain", "-X", "POST") == {"status": "draining"}
    until(pool, "node1", lambda: {s["nodeId"] for s in curl(pool, "node1", "/slices") if s["artifact"] == SLICE} == {"node1", "node2", "node4"})
    pool.exec("node3", "sh", "-c", "kill -TERM $(pgrep -f [a]ether-node)")  # in brackets, or it finds this shell as well
    until(pool, "node1", lambda: nodes(pool, "node1") == ["node1", "node2", "node4"])
    assert curl(pool, "node1", "/health")["quorum"] is True
    assert curl(pool, "node1", "/metrics") == {"cpu.usage": 0.12, "heap.usage": 0.25}
