# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The alert rules in Prometheus's own hands: its promtool takes them, and a real one that scrapes the exporter sees each fire for its cause and clear after it.

A simulated cluster on loopback at the product's own speed, with TLS. What only hosts have, the role itself above all, is in tests/faults/test_monitoring.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request

import environments
import jinja2
import pytest
import watching
from simnode.testing import SimCluster, free_ports

SECRET = "sesame-of-the-cluster-4711"
CART = "org.example:cart:1.0.0"
SHOP = 'id = "org.example:shop:1.0.0"\n[[slices]]\nartifact = "%s"\ninstances = 2\n' % CART
INTERVAL, TIMEOUT = 4, 2.0
CHANGED = {
    "aether_monitoring_interval": INTERVAL, "aether_monitoring_leaderless": 5, "aether_monitoring_drain": 3, "aether_monitoring_window": 30,
    "aether_monitoring_for": {name: "0s" for name in watching.of_role("vars")["aether__for_by_default"]},
}


@pytest.fixture(scope="module")
def programs():
    return environments.prometheus()


def test_promtool_takes_the_rules_and_they_fire_when_they_should(programs, tmp_path):
    assert watching.check_rules(str(programs / "promtool"), tmp_path) == []


def test_promtool_takes_the_configurations(programs, tmp_path):
    assert watching.check_configuration(str(programs / "promtool"), tmp_path) == []


class Watched:
    """A cluster, the exporter that asks it, and the Prometheus that scrapes that."""

    def __init__(self, cluster, programs, folder):
        self.cluster, self.folder, self.processes = cluster, folder, {}
        self.port, self.scraped = free_ports()[1], free_ports()[1]
        config = {
            "cluster": "shop", "listen": "127.0.0.1", "port": self.scraped, "timeout": TIMEOUT,
            "options": {"endpoints": cluster.endpoint_list(), "voters": cluster.ids, "retired": [], "api": "auto"},
        }
        (folder / "exporter.json").write_text(json.dumps(config), encoding="utf-8")
        self.exporter = watching.lay_out(folder)
        self.start_exporter()
        self._configure()
        self._run("prometheus", [
            str(programs / "prometheus"), "--config.file=%s" % (folder / "prometheus.yml"), "--storage.tsdb.path=%s" % (folder / "data"), "--web.listen-address=127.0.0.1:%d" % self.port,
        ])

    def _configure(self):
        (self.folder / "rules.yml").write_text(watching.rules(**CHANGED), encoding="utf-8")
        values = dict(watching.of_role("vars"), **watching.of_role("defaults"), **{"aether__scraped": "127.0.0.1:%d" % self.scraped})
        values.update(CHANGED, aether_monitoring_rules_path=str(self.folder / "rules.yml"))
        environment = jinja2.Environment(trim_blocks=True, loader=jinja2.FileSystemLoader(watching.ROLE / "templates"))
        environment.filters["to_json"] = json.dumps
        (self.folder / "prometheus.yml").write_text(environment.get_template("prometheus.yml.j2").render(values), encoding="utf-8")

    def start_exporter(self):
        self._run("exporter", [sys.executable, str(self.exporter), str(self.folder / "exporter.json")], AETHER_CLUSTER_SECRET=SECRET)

    def _run(self, name, words, **environ):
        with open(self.folder / (name + ".log"), "a", encoding="utf-8") as log:
            self.processes[name] = subprocess.Popen(words, stdout=log, stderr=log, env=dict(os.environ, **environ), cwd=self.folder)

    def stop(self, name):
        self.processes[name].terminate()
        self.processes[name].wait(20)

    def firing(self):
        """{(alert, node): since when it has been true, seconds since 1970}."""
        with urllib.request.urlopen("http://127.0.0.1:%d/api/v1/alerts" % self.port, timeout=10) as answer:
            found = [a for a in json.load(answer)["data"]["alerts"] if a["state"] == "firing"]
        return {(a["labels"]["alertname"], a["labels"].get("node", "")): _seconds(a["activeAt"]) for a in found}

    def wait(self, condition, what, seconds=90.0):
        end, seen = time.monotonic() + seconds, None
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                seen = self.firing()
                if condition(seen):
                    return seen
            time.sleep(0.3)
        logs = "\n".join((self.folder / (name + ".log")).read_text(encoding="utf-8")[-1500:] for name in self.processes)
        raise AssertionError("waited %.0f s for %s; there fire %s\n%s" % (seconds, what, sorted(seen or ()), logs))

    def fires(self, *alerts, seconds=90.0):
        return self.wait(lambda seen: set(alerts) <= set(seen), "%s to fire" % (alerts,), seconds)

    def clears(self, *alerts, seconds=90.0):
        return self.wait(lambda seen: not set(alerts) & set(seen), "%s to clear" % (alerts,), seconds)


def _seconds(text):
    whole, _, part = text.rstrip("Z").partition(".")
    return time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) - time.timezone + float("0." + (part or "0"))


@pytest.fixture(scope="module")
def watched(programs, tmp_path_factory):
    with SimCluster(3, time_factor=1.0, secret=SECRET) as cluster:
        for position, node in enumerate(cluster.ids):
            cluster.start(node, certificate_days=0.5 if node == "n2" else 7.0, request_latency=100.0)
            cluster.wait(lambda: cluster.connected(node) >= position, "%s to see %d" % (node, position), seconds=60)
        cluster.wait(lambda: all(cluster.sees_all(n, cluster.ids) for n in cluster.ids), "the cluster", seconds=90)
        cluster.request("POST", "n1", "/api/blueprint", SHOP)
        made = Watched(cluster, programs, tmp_path_factory.mktemp("watched"))
        try:
            yield made
        finally:
            for process in made.processes.values():
                process.kill()
                process.wait()


def test_a_certificate_near_its_end(watched):
    watched.fires(("AetherCertificateEnding", "n2"), ("AetherCertificateEndsSoon", "n2"))
    watched.cluster.stop("n2")
    watched.cluster.start("n2", request_latency=100.0)
    watched.clears(("AetherCertificateEnding", "n2"), ("AetherCertificateEndsSoon", "n2"), ("AetherMemberDown", "n2"), ("AetherMemberUnsound", "n2"))


def test_load_heap_and_latency(watched):
    for node in watched.cluster.ids:
        watched.cluster.set(node, cpu=0.95, heap=0.85 if node == "n1" else 0.25, request_latency=400.0)
    busy = [(alert, node) for alert in ("AetherCpuHigh", "AetherCpuCritical", "AetherLatencyRising") for node in watched.cluster.ids]
    watched.fires(*busy, ("AetherHeapHigh", "n1"), ("AetherScaleOut", ""))
    for node in watched.cluster.ids:
        watched.cluster.set(node, cpu=0.12, heap=0.25)
    watched.clears(*busy, ("AetherHeapHigh", "n1"), ("AetherScaleOut", ""), seconds=120.0)


def test_more_instances_than_nodes(watched):
    watched.cluster.post("n1", "/api/scale", {"artifact": CART, "instances": 4})
    watched.fires(("AetherMoreSlicesThanNodes", ""), ("AetherSlicesMissing", ""))
    watched.cluster.post("n1", "/api/scale", {"artifact": CART, "instances": 2})
    watched.clears(("AetherMoreSlicesThanNodes", ""), ("AetherSlicesMissing", ""))


def test_a_stuck_drain(watched):
    watched.cluster.set("n1", stuck_drain=True)
    watched.cluster.post("n1", "/api/node/drain/n3")
    watched.fires(("AetherDrainStuck", "n3"))
    watched.cluster.post("n1", "/api/node/activate/n3")
    watched.clears(("AetherDrainStuck", "n3"))


def test_a_frozen_node_within_two_intervals(watched):
    """And what its alert waits for, which is nothing here."""
    watched.clears(("AetherMemberDown", "n3"), ("AetherNoMargin", ""))
    begin = time.time()
    watched.cluster.freeze("n3")
    seen = watched.fires(("AetherMemberDown", "n3"), ("AetherNoMargin", ""))
    print("    true %.1f s after it froze" % (seen["AetherMemberDown", "n3"] - begin), flush=True)
    assert seen["AetherMemberDown", "n3"] - begin <= 2 * INTERVAL
    watched.cluster.thaw("n3")
    watched.clears(("AetherMemberDown", "n3"), ("AetherNoMargin", ""))


def test_no_leader_for_long(watched):
    watched.cluster.kill("n1")
    seen = watched.fires(("AetherNoLeader", ""), ("AetherMemberDown", "n1"))
    assert ("AetherQuorumLost", "") not in seen
    watched.clears(("AetherNoLeader", ""))


def test_the_majority_is_lost(watched):
    """n1 is down since; n2, which hears nothing of n3 any more, goes on saying that all is well."""
    watched.cluster.freeze("n3")
    watched.fires(("AetherQuorumLost", ""), ("AetherMemberDown", "n3"))
    watched.cluster.thaw("n3")
    watched.clears(("AetherQuorumLost", ""), ("AetherMemberDown", "n3"))


def test_the_exporter_is_not_heard(watched):
    watched.stop("exporter")
    watched.fires(("AetherExporterDown", ""))
    watched.start_exporter()
    watched.clears(("AetherExporterDown", ""))


def test_nobody_answers(watched):
    for node in ("n2", "n3"):
        watched.cluster.kill(node)
    watched.fires(("AetherNobodyAnswers", ""), ("AetherQuorumLost", ""), ("AetherMemberDown", "n2"))
    watched.cluster.start_all()
    watched.clears(("AetherNobodyAnswers", ""), ("AetherQuorumLost", ""), ("AetherMemberDown", "n2"))
