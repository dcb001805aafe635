# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A monitoring host beside a cluster of three with TLS: what the role leaves there, and each alert firing for its cause and clearing after it, in Debian's own Prometheus.

Nodes have the product's speed here. Those of the causes that need no host are seen in tests/ecosystem/test_alert_rules.py, too.
"""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from lab import Lab

THREE, WATCHER = ["n1", "n2", "n3"], "m1"
SECRET = "sesame-of-the-cluster-4711"
SERVICE, CONFIG = "aether-monitoring", "/etc/aether-monitoring"
INTERVAL, TIMEOUT, WAIT = 4, 2, 3
ALERTS = (
    "AetherQuorumLost", "AetherNoMargin", "AetherNoLeader", "AetherMemberUnsound", "AetherDrainStuck", "AetherCertificateEnding", "AetherCertificateEndsSoon",
    "AetherSlicesMissing", "AetherCpuHigh", "AetherCpuCritical", "AetherHeapHigh", "AetherMoreSlicesThanNodes", "AetherExporterDown", "AetherNobodyAnswers",
)
QUICK = {
    "aether_monitoring_interval": INTERVAL, "aether_monitoring_timeout": TIMEOUT, "aether_monitoring_leaderless": 5, "aether_monitoring_drain": 3,
    "aether_monitoring_for": dict({name: "0s" for name in ALERTS}, AetherMemberDown="%ds" % WAIT),
}


def setup(lab, *arguments, **given):
    return lab.play("monitoring", THREE, *arguments, **dict({"monitoring": [WATCHER]}, **dict(QUICK, **given)))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Lab("t-mon", THREE, tmp_path_factory.mktemp("monitoring"), secret=SECRET, stateless="never", formation="ok") as made:
        made.pool.up([WATCHER])
        made.form(THREE)
        planned = setup(made, "--check")
        assert "Prometheus would be installed, and the exporter in /opt/aether-monitoring" in planned.text, planned.tail()
        assert made.pool.exec(WATCHER, "test", "-e", CONFIG, check=False).returncode == 1 == made.pool.exec(WATCHER, "test", "-e", "/etc/prometheus", check=False).returncode
        setup(made)
        quiet(made)
        yield made


def said(lab, *words):
    return lab.pool.exec(WATCHER, *words).stdout


def firing(lab):
    """(alert, node) of all that fire, as Prometheus says."""
    found = json.loads(said(lab, "curl", "-sf", "http://127.0.0.1:9090/api/v1/alerts"))["data"]["alerts"]
    return {(a["labels"]["alertname"], a["labels"].get("node", "")) for a in found if a["state"] == "firing"}


def fires(lab, *alerts):
    lab.wait(lambda: set(alerts) <= firing(lab), "%s to fire" % (alerts,), seconds=90)


def clears(lab, *alerts):
    lab.wait(lambda: not set(alerts) & firing(lab), "%s to clear" % (alerts,), seconds=120)


def quiet(lab):
    """Nothing fires but that the nodes are idle, in a cluster that Prometheus has seen."""
    seen = "http://127.0.0.1:9090/api/v1/query?query=aether_cluster_complete==1"
    lab.wait(lambda: json.loads(said(lab, "curl", "-sfg", seen))["data"]["result"] and not firing(lab), "Prometheus to see a cluster that is well", seconds=120)


def restarted(lab, host):
    """The node of a host that was frozen or killed, in again."""
    lab.pool.exec(host, "systemctl", "stop", "aether")
    time.sleep(25)  # until the others have dropped it (docs/product.md 2)
    lab.pool.exec(host, "systemctl", "start", "aether")
    lab.wait(lambda: lab.get(host, "/api/status").get("leader", "none") != "none" and lab.has_state(host), "%s to be a member again" % host, seconds=90)


def test_what_is_on_the_host_and_that_again_changes_nothing(lab):
    assert setup(lab).changes == [] and setup(lab, "--check").changes == []
    for path, mode in (("secrets.env", "600 root"), ("exporter.json", "644 root")):
        assert said(lab, "stat", "-c", "%a %U", "%s/%s" % (CONFIG, path)).strip() == mode
    found = lab.pool.exec(WATCHER, "sh", "-c", "grep -rls -e %s /etc /opt /var /run /tmp" % SECRET, check=False).stdout.split()
    assert found == [CONFIG + "/secrets.env"]
    assert SECRET not in said(lab, "journalctl", "--no-pager") and SECRET not in said(lab, "curl", "-sf", "http://127.0.0.1:9185/metrics")
    assert said(lab, "ps", "-C", "python3", "-o", "user:20=,args=").split()[0] == SERVICE
    assert said(lab, "ss", "-lntH", "sport = :9185").split()[3] == "127.0.0.1:9185"
    lab.pool.exec(WATCHER, "systemd-analyze", "security", "--no-pager", "--threshold=20", SERVICE + ".service")
    for unit in (SERVICE, "prometheus"):
        assert said(lab, "systemctl", "is-active", unit).strip() == "active" and said(lab, "systemctl", "is-enabled", unit).strip() == "enabled"
    lab.pool.exec(WATCHER, "promtool", "check", "config", "/etc/prometheus/prometheus.yml")


@pytest.mark.fault("no play runs", "a member of a watched cluster freezes: alerted of within two scrapes and what the alert waits for")
def test_a_frozen_node(lab):
    quiet(lab)
    begin = time.monotonic()
    lab.pool.freeze("n3")
    try:
        fires(lab, ("AetherMemberDown", "n3"))
        took = time.monotonic() - begin
        print("    alerted of %.1f s after it froze" % took, flush=True)
        assert took <= 2 * INTERVAL + WAIT + 1, "one second for asking Prometheus"
        assert ("AetherNoMargin", "") in firing(lab) and ("AetherQuorumLost", "") not in firing(lab)
        lab.play("status", THREE)
    finally:
        lab.pool.thaw("n3")
    restarted(lab, "n3")
    clears(lab, ("AetherMemberDown", "n3"), ("AetherNoMargin", ""), ("AetherMemberUnsound", "n3"))
    lab.play("status", THREE)


def test_load_and_heap(lab):
    lab.switch_now("n2", cpu=0.95, heap=0.85)
    fires(lab, ("AetherCpuHigh", "n2"), ("AetherCpuCritical", "n2"), ("AetherHeapHigh", "n2"))
    lab.switch_now("n2", cpu=0.12, heap=0.25)
    clears(lab, ("AetherCpuHigh", "n2"), ("AetherCpuCritical", "n2"), ("AetherHeapHigh", "n2"))


@pytest.mark.fault("no play runs", "a drain in a watched cluster does not end: alerted of")
def test_a_stuck_drain(lab):
    lab.switch_now("n1", stuck_drain=True)
    lab.request("POST", "n1", "/api/node/drain/n3")
    fires(lab, ("AetherDrainStuck", "n3"))
    lab.play("status", THREE)
    lab.request("POST", "n1", "/api/node/activate/n3")
    lab.switch_now("n1", stuck_drain=False)
    clears(lab, ("AetherDrainStuck", "n3"))


def test_a_certificate_near_its_end(lab):
    alerts = ("AetherCertificateEnding", "n2"), ("AetherCertificateEndsSoon", "n2")
    for days, then in ((0.5, fires), (7, clears)):
        lab.switch("n2", certificate_days=days)
        lab.pool.exec("n2", "systemctl", "restart", "aether")
        lab.wait(lambda: lab.has_state("n2"), "n2 to be back", seconds=90)
        then(lab, *alerts)
    quiet(lab)


@pytest.mark.fault("no play runs", "the leader of a watched cluster is killed: alerted of, until there is another")
@pytest.mark.fault("no play runs", "a watched cluster loses its majority: alerted of, though the survivor says that all is well")
def test_no_leader_for_long_and_then_no_majority(lab):
    lab.pool.exec("n1", "systemctl", "kill", "--signal=KILL", "aether")
    lab.pool.exec("n1", "systemctl", "stop", "aether")
    fires(lab, ("AetherNoLeader", ""), ("AetherMemberDown", "n1"))
    assert ("AetherQuorumLost", "") not in firing(lab)
    lab.play("status", THREE)
    clears(lab, ("AetherNoLeader", ""))
    lab.pool.freeze("n3")
    try:
        fires(lab, ("AetherQuorumLost", ""), ("AetherMemberDown", "n3"))
        assert lab.get("n2", "/api/health")["quorum"] is True
    finally:
        lab.pool.thaw("n3")  # before n2 lets it go
    clears(lab, ("AetherQuorumLost", ""), ("AetherMemberDown", "n3"))
    restarted(lab, "n1")
    quiet(lab)
    lab.play("status", THREE)


def test_the_exporter_is_not_heard(lab):
    lab.pool.exec(WATCHER, "systemctl", "stop", SERVICE)
    fires(lab, ("AetherExporterDown", ""))
    assert setup(lab).changes == ["pragmatica.aether.aether_monitoring : Start the exporter, or let it take over what is new: m1"]
    clears(lab, ("AetherExporterDown", ""))


def test_an_exporter_that_does_not_start_is_explained(lab):
    result = setup(lab, ok=False, aether_monitoring_port=9090)
    assert "Port 9090 of 127.0.0.1 cannot be listened on" in result.text and "does not start on m1" in result.text, result.tail()
    # It failed half-way, with files that are right for the next run and that nobody has read.
    lab.pool.exec(WATCHER, "sh", "-c", "sed -i s/9090/9185/ %s/exporter.json" % CONFIG)
    assert "The run before was interrupted" in setup(lab).text
    quiet(lab)
    assert setup(lab).changes == []


def test_thresholds_are_taken_over_without_a_restart_of_prometheus(lab):
    since = said(lab, "systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "prometheus")
    result = setup(lab, aether_monitoring_cpu_warning=0.1, aether_monitoring_cpu_low=0.05)
    assert len(result.changes) == 2, result.changes  # the rules, and the reload
    fires(lab, *(("AetherCpuHigh", node) for node in THREE))
    setup(lab)
    clears(lab, *(("AetherCpuHigh", node) for node in THREE))
    assert said(lab, "systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "prometheus") == since


def test_files_for_a_prometheus_that_somebody_else_looks_after(lab):
    """Its configuration is refused, or left as it is; with two lines in it the files count."""
    theirs = "rule_files: [/etc/prometheus/aether_rules.yml]\nscrape_config_files: [/etc/prometheus/aether_scrape.yml]\n"
    with contextlib.ExitStack() as after:
        lab.pool.exec(WATCHER, "cp", "-a", "/etc/prometheus/prometheus.yml", "/root/prometheus.yml")
        after.callback(lab.pool.exec, WATCHER, "sh", "-c", "mv /root/prometheus.yml /etc/prometheus/ && systemctl reload prometheus")
        lab.pool.exec(WATCHER, "sh", "-c", "cat > /etc/prometheus/prometheus.yml", input=theirs)
        refused = setup(lab, ok=False)
        assert "that is not of this role. Nothing was touched." in refused.text and refused.changed == 0, refused.tail()
        setup(lab, aether_monitoring_prometheus="files")
        assert said(lab, "cat", "/etc/prometheus/prometheus.yml") == theirs
        lab.pool.exec(WATCHER, "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
        quiet(lab)
