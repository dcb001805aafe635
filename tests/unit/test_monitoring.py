# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exporter of role aether_monitoring against simulated clusters: what it tells of one that is well, and of one in which something goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from simnode.testing import SimCluster, free_ports
from simnode.tls import Certificate
from watching import lay_out, load, of_role

CART = "org.example:cart:1.0.0"
SHOP = 'id = "org.example:shop:1.0.0"\n[[slices]]\nartifact = "%s"\ninstances = 2\n' % CART
TIMEOUT = 4.0  # a member that answers nothing is given up after half of it
SECRET = "sesame-of-the-cluster-4711"


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    return load(tmp_path_factory.mktemp("exporter"))


class Numbers:
    """What one scrape tells: (name, labels but ``cluster``) -> value."""

    def __init__(self, text):
        self.text, self.found = text, {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = dict(sample.labels)
                assert labels.pop("cluster") == "shop"
                self.found[sample.name, frozenset(labels.items())] = sample.value

    def __call__(self, name, **labels):
        """The value, None where it is not told."""
        return self.found.get((name, frozenset(dict({"file": ""} if "certificate" in name and "file" not in labels else {}, **labels).items())))

    def of_nodes(self, name):
        return {dict(labels)["node"]: value for (known, labels), value in sorted(self.found.items(), key=str) if known == name}

    def names(self):
        return {name for name, _labels in self.found}

    def findings(self):
        return {(dict(labels)["code"], dict(labels)["node"]) for name, labels in self.found if name == "aether_cluster_finding"}


def watch(exporter, cluster, timeout=TIMEOUT, ids=None, **options):
    return exporter.Watcher(dict({"endpoints": cluster.endpoint_list(ids), "api": "auto"}, **options), timeout)


def scrape(exporter, watcher):
    registry = CollectorRegistry()
    registry.register(exporter.Collector(watcher, "shop"))
    return Numbers(generate_latest(registry).decode())


@pytest.fixture
def three():
    with SimCluster(3) as cluster:
        cluster.start_all()
        cluster.request("POST", "n1", "/api/blueprint", SHOP)
        cluster.wait(lambda: active(cluster) == 2, "the slices to be active")
        yield cluster


def active(cluster):
    return sum(i["state"] == "ACTIVE" for s in cluster.get("n1", "/api/slices")["slices"] for i in s["instances"])


def test_what_lies_beside_it_is_all_it_needs_and_no_more(tmp_path):
    lay_out(tmp_path)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import aether_exporter; print(*[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'aether'])"
    done = subprocess.run([sys.executable, "-I", "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert sorted(str(Path(path).relative_to(tmp_path / "aether")) for path in done.stdout.split()) == sorted(of_role("vars")["aether__exporter_modules"])


def test_a_cluster_that_is_well(exporter, three):
    three.set("n2", cpu=0.75, heap=0.85, request_latency=250.0)
    numbers = scrape(exporter, watch(exporter, three))
    for what in ("up", "ready", "has_quorum", "has_state", "led", "sound"):
        assert numbers.of_nodes("aether_member_" + what) == {"n1": 1, "n2": 1, "n3": 1}, what
    assert numbers.of_nodes("aether_member_leads") == {"n1": 1, "n2": 0, "n3": 0}
    for name, value in (("voters", 3), ("needed_members", 2), ("sound_members", 3), ("on_duty_members", 3), ("can_lose_members", 1), ("quorum", 1), ("complete", 1)):
        assert numbers("aether_cluster_" + name) == value, name
    assert numbers("aether_cluster_leaderless_since_timestamp_seconds") is None and numbers.findings() == set()
    assert numbers("aether_slice_wanted_instances", artifact=CART) == 2 == numbers("aether_slice_active_instances", artifact=CART)
    assert numbers("aether_member_lifecycle", node="n3", state="ON_DUTY") == 1
    assert abs(numbers("aether_member_lifecycle_since_timestamp_seconds", node="n3") - time.time()) < 120
    assert numbers.of_nodes("aether_cpu_usage_ratio") == {"n1": 0.12, "n2": 0.75, "n3": 0.12}
    assert numbers("aether_heap_usage_ratio", node="n2") == 0.85 and numbers("aether_heap_used_bytes", node="n2") == 0.85 * numbers("aether_heap_max_bytes", node="n2")
    assert numbers.of_nodes("aether_request_latency_seconds") == {"n1": 0, "n2": 0.25, "n3": 0}
    assert 0 < numbers("aether_member_answer_seconds", node="n1") <= numbers("aether_exporter_observation_seconds") <= TIMEOUT
    assert numbers("aether_exporter_observations_total") == 1 and numbers("aether_exporter_failures_total") == 0
    assert abs(numbers("aether_exporter_last_success_timestamp_seconds") - time.time()) < 30
    # What it tells is what it says that it tells; certificates and troubles have no place here.
    assert numbers.names() <= set(exporter.METRICS) | set(exporter.COUNTERS)
    assert {n for n in exporter.METRICS if n not in numbers.names()} == {
        "aether_member_trouble", "aether_certificate_left_seconds", "aether_certificate_renewal", "aether_cluster_leaderless_since_timestamp_seconds", "aether_cluster_finding"
    }


def test_a_frozen_member_is_seen_at_the_next_scrape_and_keeps_nobody_elses_numbers_back(exporter, three, capsys):
    watcher = watch(exporter, three)
    assert scrape(exporter, watcher)("aether_member_up", node="n3") == 1
    three.freeze("n3")
    for _scrape in range(2):
        start = time.monotonic()
        numbers = scrape(exporter, watcher)
        assert time.monotonic() - start < TIMEOUT + 1
        assert numbers.of_nodes("aether_member_up") == {"n1": 1, "n2": 1, "n3": 0} and numbers("aether_member_trouble", node="n3", kind="hanging") == 1
        assert numbers.of_nodes("aether_cpu_usage_ratio") == {"n1": 0.12, "n2": 0.12}, "what others say of it is old"
        assert numbers("aether_cluster_quorum") == 1 and numbers("aether_cluster_can_lose_members") == 0 and numbers("aether_cluster_complete") == 0
    said = capsys.readouterr().err
    assert said.count("n3: ") == 1 and "did not answer" in said, "once, for nothing new is to be said at the second scrape"
    three.thaw("n3")
    three.wait(lambda: scrape(exporter, watcher)("aether_member_up", node="n3") == 1, "n3 to be told again")
    assert "n3: answers." in capsys.readouterr().err


def test_a_slow_member_counts_as_hanging_after_the_stated_time(exporter, three):
    """Each of its answers comes in time, all of them together do not; it is asked again once it has answered, and not before."""
    three.set("n2", latency=40.0)  # 0.8 s
    watcher = watch(exporter, three)
    for _scrape in range(2):
        start = time.monotonic()
        numbers = scrape(exporter, watcher)
        assert time.monotonic() - start < TIMEOUT + 1 and numbers.of_nodes("aether_member_up") == {"n1": 1, "n2": 0, "n3": 1}
        assert numbers("aether_member_trouble", node="n2", kind="hanging") == 1
    three.set("n2", latency=0.0)
    three.wait(lambda: scrape(exporter, watcher)("aether_member_up", node="n2") == 1, "n2 to be in time again")


def test_a_lost_majority_is_told_at_once_whatever_the_survivor_says(exporter, three):
    watcher = watch(exporter, three)
    three.freeze("n2")
    three.freeze("n3")
    assert three.get("n1", "/api/health")["quorum"] is True
    numbers = scrape(exporter, watcher)
    assert numbers("aether_cluster_quorum") == 0 and numbers("aether_cluster_can_lose_members") == 0 and ("lost_majority", "") in numbers.findings()
    assert numbers("aether_member_has_quorum", node="n1") == 0 and numbers.of_nodes("aether_member_up") == {"n1": 1, "n2": 0, "n3": 0}


def test_no_leader_is_no_lost_majority_and_its_beginning_stays(exporter):
    with SimCluster(3, time_factor=0.5) as cluster:
        cluster.start_all()
        watcher = watch(exporter, cluster)
        assert scrape(exporter, watcher)("aether_cluster_leaderless_since_timestamp_seconds") is None
        cluster.kill("n1")
        first = scrape(exporter, watcher)
        assert first("aether_cluster_quorum") == 1 and first("aether_cluster_sound_members") == 0 and sum(first.of_nodes("aether_member_leads").values()) == 0
        since = first("aether_cluster_leaderless_since_timestamp_seconds")
        assert abs(since - time.time()) < 5 and scrape(exporter, watcher)("aether_cluster_leaderless_since_timestamp_seconds") == since
        cluster.wait(lambda: scrape(exporter, watcher)("aether_member_leads", node="n2") == 1, "another leader", seconds=60)
        assert scrape(exporter, watcher)("aether_cluster_leaderless_since_timestamp_seconds") is None


def test_a_drain_that_does_not_end(exporter, three):
    watcher, before = watch(exporter, three), time.time()
    three.set("n1", stuck_drain=True)
    three.post("n1", "/api/node/drain/n3")
    three.wait(lambda: scrape(exporter, watcher)("aether_member_lifecycle", node="n3", state="DRAINING") == 1, "the drain")
    numbers = scrape(exporter, watcher)
    assert before - 1 <= numbers("aether_member_lifecycle_since_timestamp_seconds", node="n3") <= time.time() and numbers("aether_cluster_on_duty_members") == 2
    assert numbers("aether_member_lifecycle", node="n3", state="ON_DUTY") is None and ("not_on_duty", "n3") in numbers.findings()
    three.post("n1", "/api/node/activate/n3")
    three.wait(lambda: scrape(exporter, watcher)("aether_member_lifecycle", node="n3", state="ON_DUTY") == 1, "n3 to be back on duty")


def test_certificates_and_the_connection_made_anew(exporter, monkeypatch):
    """With TLS from the secret alone; a certificate of its own lives for an hour, so the connection does not live so long."""
    with SimCluster(3, secret=SECRET) as cluster:
        cluster.start("n1")
        cluster.start("n2", certificate_days=0.5)
        cluster.start("n3", renewal_fails=True)
        cluster.wait(lambda: cluster.sees_all("n3", cluster.ids), "the cluster")
        watcher = watch(exporter, cluster, cluster_secret=SECRET)
        numbers = scrape(exporter, watcher)
        left = numbers.of_nodes("aether_certificate_left_seconds")
        assert abs(left["n1"] - 7 * 86400) < 300 and abs(left["n2"] - 43200) < 300
        assert numbers("aether_certificate_renewal", node="n1", state="HEALTHY") == 1 and numbers("aether_certificate_renewal", node="n3", state="FAILED") == 1
        first = watcher._asker
        monkeypatch.setattr(exporter, "RENEWAL", 0.0)
        assert scrape(exporter, watcher)("aether_cluster_quorum") == 1 and watcher._asker is not first
        assert SECRET not in numbers.text


def test_the_certificate_it_shows_is_watched_too(exporter, tmp_path):
    with SimCluster(1, secret=SECRET) as cluster:
        cluster.start("n1")
        cluster.wait(lambda: cluster.get("n1", "/api/status").get("leader") == "n1", "n1")
        shown = Certificate(SECRET, "watcher", "localhost", days=0.25)
        (tmp_path / "client.pem").write_bytes(shown.chain)
        (tmp_path / "ca.pem").write_bytes(shown.root)
        paths = {name: str(tmp_path / file) for name, file in (("ca_path", "ca.pem"), ("client_cert", "client.pem"), ("client_key", "client.pem"))}
        numbers = scrape(exporter, watch(exporter, cluster, **paths))
        assert numbers("aether_member_up", node="n1") == 1
        assert abs(numbers("aether_certificate_left_seconds", node="", file=paths["client_cert"]) - 21600) < 300
        assert numbers("aether_certificate_renewal", node="", file=paths["client_cert"], state="BY_HAND") == 1


def test_a_key_that_may_only_read_is_enough_and_none_is_told(exporter):
    keys = {"key-that-may-all-4711": "ADMIN", "key-that-may-read-4712": "VIEWER"}
    with SimCluster(3, api_keys=keys) as cluster:
        cluster.key = "key-that-may-all-4711"
        cluster.start_all()
        numbers = scrape(exporter, watch(exporter, cluster, api_key="key-that-may-read-4712"))
        assert numbers("aether_cluster_quorum") == 1 and numbers("aether_cpu_usage_ratio", node="n2") == 0.12 and "4712" not in numbers.text
        numbers = scrape(exporter, watch(exporter, cluster))
        assert {node: numbers("aether_member_trouble", node=node, kind="unauthorized") for node in cluster.ids} == {"n1": 1, "n2": 1, "n3": 1}
        assert numbers("aether_exporter_failures_total") == 1 and numbers("aether_exporter_last_success_timestamp_seconds") is None


def test_the_runbooks_api_tells_less_and_nothing_is_made_up(exporter):
    with SimCluster(3, api="runbook") as cluster:
        cluster.start_all()
        watcher = watch(exporter, cluster)
        numbers = scrape(exporter, watcher)
        assert numbers("aether_cluster_quorum") == 1 and numbers("aether_cluster_can_lose_members") == 1 and numbers("aether_cluster_on_duty_members") == 3
        assert numbers.of_nodes("aether_cpu_usage_ratio") == {"n1": 0.12, "n2": 0.12, "n3": 0.12} and numbers.of_nodes("aether_heap_usage_ratio")["n1"] == 0.25
        assert not numbers.names() & {"aether_member_leads", "aether_cluster_leaderless_since_timestamp_seconds", "aether_member_lifecycle", "aether_request_latency_seconds"}
        cluster.freeze("n2")
        cluster.freeze("n3")
        assert scrape(exporter, watcher)("aether_cluster_quorum") == 0


def test_nobody_answers_and_then_a_cluster_of_another_api_does(exporter):
    with SimCluster(3, api="runbook") as cluster:
        watcher = watch(exporter, cluster)
        for count in (1, 2):
            numbers = scrape(exporter, watcher)
            assert numbers.of_nodes("aether_member_up") == {"n1": 0, "n2": 0, "n3": 0} and numbers("aether_cluster_quorum") == 0
            assert numbers("aether_exporter_failures_total") == count == numbers("aether_exporter_observations_total")
            assert numbers("aether_exporter_last_success_timestamp_seconds") is None
        cluster.start_all()
        numbers = scrape(exporter, watcher)
        assert numbers("aether_cluster_quorum") == 1 and numbers("aether_exporter_failures_total") == 2


def test_scrapes_at_the_same_time_share_one_observation(exporter, three):
    for node in three.ids:
        three.set(node, latency=5.0)  # 0.1 s
    watcher = watch(exporter, three)
    with ThreadPoolExecutor(max_workers=8) as pool:
        together = list(pool.map(lambda _n: scrape(exporter, watcher), range(8)))
    assert {numbers("aether_exporter_observations_total") for numbers in together} == {1.0}
    assert scrape(exporter, watcher)("aether_exporter_observations_total") == 2


def test_a_member_that_says_what_no_aether_says_is_told_as_such(exporter, three):
    class Nonsense(BaseHTTPRequestHandler):
        def do_GET(self):
            text = json.dumps([] if "lifecycle" in self.path else {"nodeId": "n4", "metrics": "none", "cluster": 7}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Nonsense)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        endpoints = [*three.endpoint_list(), "n4=http://127.0.0.1:%d" % server.server_port]
        numbers = scrape(exporter, exporter.Watcher({"endpoints": endpoints, "api": "v1"}, TIMEOUT))
    finally:
        server.shutdown()
        server.server_close()
    assert numbers.of_nodes("aether_member_up") == {"n1": 1, "n2": 1, "n3": 1, "n4": 0} and numbers("aether_member_trouble", node="n4", kind="not_aether") == 1


def test_it_never_writes(exporter, three):
    """The client itself would refuse, as in check mode."""
    with pytest.raises(exporter.AetherError, match="check mode"):
        watcher = watch(exporter, three)
        watcher._asker.session.client.write(watcher._asker.session.endpoints[0], "POST", "/api/scale", {}, lambda: False)


# --- as systemd runs it ----------------------------------------------------------------------------------------------------


def started(folder, environ=None, **changed):
    """The process, with the configuration that the role would write."""
    config = {"cluster": "shop", "listen": "127.0.0.1", "port": free_ports()[1], "timeout": TIMEOUT, "options": {"endpoints": [], "api": "auto"}}
    config.update(changed)
    (folder / "exporter.json").write_text(json.dumps(config), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(lay_out(folder)), str(folder / "exporter.json")], stderr=subprocess.PIPE, text=True, env=dict(os.environ, **(environ or {}))
    )
    return process, "http://127.0.0.1:%d" % config["port"]


def test_it_is_scraped_over_http(three, tmp_path):
    process, url = started(tmp_path, options={"endpoints": three.endpoint_list(), "voters": three.ids, "retired": [], "api": "v1", "ca_path": "", "client_cert": "", "client_key": ""})
    try:
        assert "3 members of shop are asked at each scrape of %s/metrics." % url in process.stderr.readline()
        with urllib.request.urlopen(url + "/metrics", timeout=30) as answer:
            text, kind = answer.read().decode(), answer.headers["content-type"]
        assert kind.startswith("text/plain; version=") and 'aether_cluster_quorum{cluster="shop"} 1.0' in text and "process_resident_memory_bytes" in text
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url + "/", timeout=30)
        assert refused.value.code == 404
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


@pytest.mark.parametrize(("changed", "said"), [
    ({"options": {"endpoints": ["n1=http://somewhere"], "voters": ["n2"]}}, "Endpoints are named for n1, which 'voters' does not name"),
    ({"options": {"endpoints": ["n1=https://somewhere:8080"], "ca_path": "/nowhere.pem"}}, "The certificates cannot be used"),
    ({"options": {"endpoints": ["n1=http://somewhere:8080"]}, "listen": "192.0.2.1"}, "name another one with aether_monitoring_port"),
])
def test_what_it_cannot_start_with_is_one_sentence(tmp_path, changed, said):
    process, _url = started(tmp_path, **changed)
    _out, text = process.communicate(timeout=60)
    assert process.returncode == 1 and said in text and "Traceback" not in text


def test_libraries_that_are_missing_or_too_old_are_named(exporter, tmp_path, monkeypatch, capsys):
    (tmp_path / "exporter.json").write_text(json.dumps({"cluster": "shop", "listen": "", "port": 1, "timeout": 1, "options": {"endpoints": ["n1=https://a:1"]}}), encoding="utf-8")
    known = {"prometheus_client": "0.16.0", "httpx": "0.23.3"}

    def version(name):
        if name not in known:
            raise exporter.PackageNotFoundError(name)
        return known[name]

    monkeypatch.setattr(exporter, "version", version)
    assert exporter.main(str(tmp_path / "exporter.json")) == 1
    said = capsys.readouterr().err
    assert "httpx 0.27 or newer (there is 0.23.3), cryptography 42.0 or newer (there is none)" in said and "aether_monitoring_venv" in said and "prometheus_client 0" not in said
