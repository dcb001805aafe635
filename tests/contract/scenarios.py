# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the simulated cluster is brought into the situation of each recording. One set-up may serve several of them.

Each is called with a cluster of which nothing runs, and a Replay that repeats what was recorded.
"""

from __future__ import annotations

import ssl
import time
from typing import Callable, Dict, List, NamedTuple, Tuple

import pytest
from simnode.testing import SimCluster, free_ports
from simnode.tls import Certificate

FACTOR = 0.045
FOUNDERS = ["node1", "node2", "node3"]
SECRET, ANOTHER = "a-secret-of-the-cluster", "a-secret-of-another-one"
KEYS = {"admin-key-0001": "ADMIN", "operator-key-0001": "OPERATOR", "viewer-key-0001": "VIEWER"}
ECHO = "org.example.rc1:echo-slice-echo-service:1.0.0"
# What most of the recorded clusters ran with; one table per key follows.
TOML = """
[cluster]
environment = "local"
nodes = 3
tls = false
[cluster.ports]
management = %d
cluster = %d
[node]
heap = "256m"
[slice]
repositories = [%s]
[app-http]
enabled = true
port = %d
"""
KEY = '[app-http.api-keys.%s]\nname = "%s"\nroles = ["service"]\nauthorization_role = "%s"\n'


class Scenario(NamedTuple):
    """``claims``: (release, recorded scenarios) that it repeats. ``secret``: the cluster has TLS from it."""

    name: str
    claims: List[Tuple[str, Tuple[str, ...]]]
    size: int
    secret: str
    act: Callable


SCENARIOS: List[Scenario] = []


def scenario(size: int = 3, secret: str = "", **claims):
    """Register a set-up with its claims by release, names separated by blanks."""

    def register(act):
        SCENARIOS.append(Scenario(act.__name__, [(release, tuple(names.split())) for release, names in claims.items()], size, secret, act))
        return act

    return register


# --- steps ----------------------------------------------------------------------------------------------------------


def toml(cluster, node, app_port, repositories='"local", "builtin"', keys=KEYS) -> str:
    cluster_port, management_port = cluster.ports[node]
    return TOML % (management_port, cluster_port, repositories, app_port) + "".join(KEY % (key, key.split("-")[0], role) for key, role in keys.items())


def duty(cluster, node, *ids) -> None:
    """Wait until ``node`` lists exactly ``ids`` as on duty and knows a leader."""

    def there():
        listed = {e["nodeId"] for e in cluster.get(node, "/api/nodes/lifecycle") if e["state"] == "ON_DUTY"}
        return listed == set(ids) and cluster.get(node, "/api/status")["leader"] != "none"

    cluster.wait(there, "%s to see %s on duty" % (node, ", ".join(ids)))


def settled(cluster, node="node1") -> None:
    """Wait until every slice has as many active instances as wanted."""

    def there():
        slices = cluster.get(node, "/api/slices").get("slices", [])
        return all([i["state"] for i in s.get("instances", [])] == ["ACTIVE"] * s["targetInstances"] for s in slices)

    cluster.wait(there, "slices to settle")


def apply(cluster, instances) -> None:
    """The recorded blueprint with so many instances, active."""
    text = 'id = "org.example:shop:1.0.0"\n\n[[slices]]\nartifact = "%s"\ninstances = %d\n' % (ECHO, instances)
    assert cluster.request("POST", "node1", "/api/blueprint", text)[0] == 200
    settled(cluster)


def hosts(cluster, node="node1") -> List[str]:
    """Where instances are."""
    return [i["nodeId"] for s in cluster.get(node, "/api/slices").get("slices", []) for i in s.get("instances", [])]


def state_of(cluster, node, seen_by="node1") -> str:
    return cluster.get(seen_by, "/api/node/lifecycle/" + node).get("state", "")


def start_with_keys(cluster, replay, **texts) -> None:
    """Three nodes with keys from their files, the first with its application port."""
    cluster.key = "admin-key-0001"
    for position, node in enumerate(FOUNDERS):
        replay.app_ports[node] = free_ports()[1]
        cluster.start(node, toml=toml(cluster, node, replay.app_ports[node], **texts))
        cluster.wait(lambda: cluster.get(node, "/api/health")["connectedPeers"] == position, node)
    duty(cluster, "node3", *FOUNDERS)


# --- forming ------------------------------------------------------------------------------------------------------------


@scenario(rc1="3-ready")
def three_nodes_that_are_ready(cluster, replay):
    start_with_keys(cluster, replay)
    replay("3-ready")


@scenario(rc1="1-of-3-up")
def one_of_three_is_up(cluster, replay):
    cluster.start("node1")
    cluster.wait(lambda: cluster.get("node1", "/health/live")["status"] == "UP", "node1")
    replay("1-of-3-up")


@scenario(rc1="2-of-3-start")
def two_of_three_that_never_connected(cluster, replay):
    cluster.start("node1", formation="fail")
    cluster.start("node2", formation="fail")
    cluster.wait(lambda: cluster.get("node1", "/sim/debug")["barred"], "the two to drop each other")
    replay("2-of-3-start")


@scenario(rc1="2-of-3-start-connected")
def two_of_three_that_connected_and_then_the_third(cluster, replay):
    cluster.start("node1")
    cluster.start("node2")
    for node in ("node1", "node2"):
        duty(cluster, node, "node1", "node2")
    replay("2-of-3-start-connected", "node1-POST-*", "node?-GET-*")
    cluster.start("node3")
    duty(cluster, "node3", *FOUNDERS)
    replay("2-of-3-start-connected", "thresholds-*")


# --- growing --------------------------------------------------------------------------------------------------------------


@scenario(5, rc1="4-nodes 5-nodes grow", alpha="grow")
def growing_without_rolling_the_lists(cluster, replay):
    cluster.start_all(FOUNDERS)
    replay("grow", "00-*")
    settled(cluster)
    cluster.start("node4", ["node1", "node2", "node3", "node4"], stateless="always")
    duty(cluster, "node1", *FOUNDERS, "node4")
    replay("4-nodes")
    cluster.start("node5", stateless="always")
    duty(cluster, "node1", *FOUNDERS, "node4", "node5")
    replay("5-nodes")
    replay("grow", "01-*", "02-*", "03-*")
    assert cluster.post("node1", "/api/node/drain/node5")["success"]
    cluster.wait(lambda: state_of(cluster, "node5") == "DECOMMISSIONED", "node5 to be empty")
    assert cluster.stop("node5") == 143
    cluster.wait(lambda: cluster.get("node1", "/api/status")["cluster"]["nodeCount"] == 4, "node5 to be gone")
    replay("grow", "04-*")
    cluster.wait(lambda: state_of(cluster, "node3") == "DECOMMISSIONED", "node3 to be empty")
    replay("grow", "0[567]-*")


@scenario(4, rc1="grow-core-max")
def growing_with_a_size_of_its_own(cluster, replay):
    cluster.start_all(FOUNDERS)
    apply(cluster, 2)
    cluster.start("node4", core_max=3, stateless="always")
    duty(cluster, "node1", *FOUNDERS, "node4")
    replay("grow-core-max")


@scenario(4, rc1="grow-rolled")
def growing_and_rolling_the_lists(cluster, replay):
    cluster.start_all(FOUNDERS)
    apply(cluster, 2)
    cluster.start("node4", stateless="always")
    duty(cluster, "node1", *FOUNDERS, "node4")
    for node in ("node3", "node2", "node1", "node4"):
        cluster.stop(node)
        cluster.start(node)
        duty(cluster, node, *FOUNDERS, "node4")
        settled(cluster, node)
    cluster.wait(lambda: cluster.get("node1", "/api/status")["leader"] == "node1", "node1 to lead again")
    replay("grow-rolled")


# --- losing and coming back ---------------------------------------------------------------------------------------------------


@scenario(rc1="failures 2-of-3-after-kill9 quorum-lost-1-of-3 after-quorum-regained after-full-restart")
def a_member_and_then_the_majority_lost_and_regained(cluster, replay):
    cluster.start_all()
    replay("failures")
    settled(cluster)
    cluster.kill("node3")
    duty(cluster, "node1", "node1", "node2")
    settled(cluster)
    replay("2-of-3-after-kill9")
    cluster.start("node3")
    duty(cluster, "node3", *FOUNDERS)
    # The recorded cluster had an instance on node3; a member that leaves moves one there.
    cluster.stop("node2")
    cluster.wait(lambda: "node3" in hosts(cluster), "an instance on node3")
    settled(cluster)
    cluster.start("node2")
    duty(cluster, "node2", *FOUNDERS)
    lost = time.monotonic()
    cluster.kill("node1")
    cluster.kill("node2")
    cluster.wait(lambda: cluster.get("node3", "/api/status")["cluster"]["nodeCount"] == 2, "node2 to be dropped")
    replay("quorum-lost-1-of-3", "node3-GET-*")
    # A write hangs until the loss is noticed, then ends with an error, and is true when the quorum is back.
    replay("quorum-lost-1-of-3", "node3-POST-api-thresholds", timeout=40)
    replay("quorum-lost-1-of-3", "node3-POST-api-scale", timeout=120)
    replay("quorum-lost-1-of-3", "node3-POST-api-node-drain-node3")
    assert (time.monotonic() - lost) / FACTOR == pytest.approx(117, rel=0.2), "noticed late or early"
    cluster.start("node1")
    cluster.start("node2")
    for node in FOUNDERS:
        duty(cluster, node, *FOUNDERS)
    settled(cluster)
    replay("after-quorum-regained")
    for node in FOUNDERS:
        cluster.stop(node)
    cluster.start_all()
    replay("after-full-restart")


@scenario(rc1="quick-restart-stuck")
def killed_and_started_at_once(cluster, replay):
    cluster.start_all()
    cluster.kill("node3")
    cluster.start("node3")
    for node in ("node1", "node2"):
        cluster.wait(lambda: cluster.get(node, "/api/status")["cluster"]["nodeCount"] == 2, "node3 to be dropped")
    duty(cluster, "node1", "node1", "node2")
    replay("quick-restart-stuck")


@scenario(rc1="rejoin-sync-last-round")
def a_member_that_came_back_with_its_state(cluster, replay):
    cluster.start_all()
    cluster.post("node1", "/api/thresholds", {"metric": "cpu.usage", "warning": 0.55, "critical": 0.8})
    apply(cluster, 2)
    cluster.stop("node2")
    cluster.start("node2")
    duty(cluster, "node2", *FOUNDERS)
    cluster.wait(lambda: cluster.get("node1", "/api/status")["cluster"]["nodeCount"] == 3, "three nodes")
    replay("rejoin-sync-last-round")


# --- slices ---------------------------------------------------------------------------------------------------------------------

BLUEPRINTS = "blueprint blueprint-active scale"


@scenario(rc1=BLUEPRINTS + " blueprint-same-id-new-slice-version blueprint-new-id-same-slice blueprint-new-id-new-slice", alpha=BLUEPRINTS)
def blueprints_and_scaling(cluster, replay):
    cluster.start_all()
    cluster.set("node1", slice_delay=20, missing_artifact=":9.9.9")  # long enough for the answers that were taken while instances still activated
    replay("blueprint", "0*")
    cluster.set("node1", slice_delay=0)
    settled(cluster)
    replay("blueprint-active")
    cluster.set("node1", slice_delay=20 if replay.release == "rc1" else 0)
    replay("scale", "01-*", "02-*", "03-*", "04-*", "05*", "06-*", "07-*", "08-*", "09*")
    cluster.set("node1", slice_delay=0)
    settled(cluster)
    replay("scale", "10-*", "11-*", "12-*")
    replay("blueprint", "20-*", "21-*")
    settled(cluster)
    replay("scale", "13-*", "14-*")
    settled(cluster)
    replay("blueprint", "30-*")
    settled(cluster)
    replay("blueprint-same-id-new-slice-version")
    replay("blueprint", "40-*")
    replay("blueprint-new-id-same-slice")
    replay("blueprint", "41-*")
    replay("blueprint-new-id-new-slice")
    replay("blueprint", "5*")


@scenario(rc1="repository")
def an_upload(cluster, replay):
    cluster.start_all()
    apply(cluster, 2)
    replay("repository")


@scenario(rc1="builtin-deploy")
def a_rejected_blueprint_that_comes_alive(cluster, replay):
    for node in FOUNDERS:
        cluster.start(node, toml=toml(cluster, node, free_ports()[1], '"builtin"', {}))
        cluster.wait(lambda: cluster.get(node, "/api/health")["connectedPeers"] == FOUNDERS.index(node), node)
    duty(cluster, "node3", *FOUNDERS)
    replay("builtin-deploy", "01-*", "02-*", "03-*")
    settled(cluster)
    replay("builtin-deploy", "04-*", "05-*", "06-*")
    cluster.kill("node1")
    cluster.wait(lambda: cluster.get("node2", "/api/status")["leader"] == "node2", "a new leader")
    replay("builtin-deploy", "07-*", "08-*", "09-*")


# --- lifecycle --------------------------------------------------------------------------------------------------------------------


@scenario(rc1="drain drain-stuck decommissioned")
def drains(cluster, replay):
    cluster.start_all()
    replay("drain", "00-*")
    settled(cluster)
    replay("drain", "01-*")
    cluster.wait(lambda: state_of(cluster, "node3") == "DECOMMISSIONED", "node3 to be empty")
    replay("decommissioned")
    replay("drain", "0[2-7]-*")
    replay("drain-stuck")
    replay("drain", "08-*", "09-*")
    cluster.wait(lambda: state_of(cluster, "node3") == "ON_DUTY", "node3 to be back")
    replay("drain", "10-*")
    settled(cluster)
    replay("drain", "11-*", "12-*", "13-*", "14-*")
    assert state_of(cluster, "node3") == "DRAINING", "scaling down does not help a drain that is stuck"
    replay("drain", "15-*", "20-*")


@scenario(alpha="drain drain-stuck")
def drains_of_all_nodes(cluster, replay):
    """alpha has no budget: it takes the drain of the last node."""
    cluster.defaults["drain_budget"] = False
    cluster.start_all()
    replay("drain", "00-*")
    settled(cluster)
    replay("drain", "01-*")
    cluster.wait(lambda: state_of(cluster, "node3") == "DECOMMISSIONED", "node3 to be empty")
    replay("drain", "0[2-7]-*")
    replay("drain-stuck")
    replay("drain", "08-*", "09-*")
    cluster.wait(lambda: state_of(cluster, "node1") == "DECOMMISSIONED", "node1 to be empty")
    replay("drain", "10-*", "11-*", "12-*", "13-*", "14-*", "15-*", "20-*")


@scenario(rc1="drain-restart")
def a_drained_node_is_restarted(cluster, replay):
    cluster.start_all()
    replay("drain-restart", "node1-POST-api-blueprint")
    settled(cluster)
    for exchange in ("node1-POST-api-node-drain-node3", "node1-POST-api-node-drain-node3.2"):
        replay("drain-restart", exchange)
        cluster.wait(lambda: state_of(cluster, "node3") == "DECOMMISSIONED", "node3 to be empty")
        cluster.stop("node3")
        cluster.start("node3")
        duty(cluster, "node1", *FOUNDERS)
    # Killed while it is decommissioned and started at once: it does not come back, two are left.
    replay("drain-restart", "node1-POST-api-node-drain-node3.3")
    cluster.kill("node3")
    duty(cluster, "node1", "node1", "node2")
    replay("drain-restart", "node1-POST-api-scale")
    settled(cluster)
    for number in ("", ".2"):
        replay("drain-restart", "node1-POST-api-node-drain-node1" + number)
        cluster.wait(lambda: state_of(cluster, "node1") == "DECOMMISSIONED", "node1 to be empty")
        replay("drain-restart", "node1-POST-api-node-activate-node1" + number)
        cluster.wait(lambda: state_of(cluster, "node1") == "ON_DUTY", "node1 to be back")


@scenario(rc1="shutdown")
def a_node_is_shut_down_over_http(cluster, replay):
    cluster.start_all()
    apply(cluster, 2)
    replay("shutdown", "01-*")
    duty(cluster, "node1", "node1", "node2")
    settled(cluster)
    replay("shutdown")


# --- who may, and settings ------------------------------------------------------------------------------------------------------------


@scenario(rc1="auth")
def who_may_do_what(cluster, replay):
    keys = {"admin-key-0001": "ADMIN", "viewer-key-0001": "VIEWER"}
    start_with_keys(cluster, replay, repositories='"local"')
    cluster.stop("node1")
    cluster.start("node1", toml=toml(cluster, "node1", free_ports()[1], '"local"', keys))
    duty(cluster, "node1", *FOUNDERS)
    replay("auth", "*shows-key-names")
    cluster.stop("node1")
    cluster.start("node1", toml=toml(cluster, "node1", free_ports()[1], '"local"'))
    duty(cluster, "node1", *FOUNDERS)
    replay("auth", "[!e]*")
    # The same node with its keys from the environment instead.
    cluster.stop("node1")
    environ = {"AETHER_API_KEYS": "viewenv-key-0002:view:viewer:VIEWER;adminenv-key-0002:admin:admin:ADMIN", "AETHER_CLUSTER_SECRET": "secret"}
    cluster.start("node1", toml=toml(cluster, "node1", free_ports()[1], '"local"', {}), environ=environ)
    cluster.key = "adminenv-key-0002"
    duty(cluster, "node1", *FOUNDERS)
    replay("auth", "env-keys-*")


# --- TLS: the management ports let in whom the secret's authority has signed, and the nodes never find each other -------------------------


def alone(cluster, secrets) -> None:
    """Start the founders with these secrets at once, and wait until each answers."""
    for node, secret in zip(FOUNDERS, secrets):
        cluster.start(node, tls_forms=False, secret_of_its_own=secret)
    for node in list(cluster.nodes):
        cluster.wait(lambda: cluster.nodes[node].http.answering, node)


def asking(secret, shown=None, verify=True, strict=False) -> ssl.SSLContext:
    """Of a client that trusts the authority of ``secret`` and shows a certificate from ``shown``, or none."""
    context = Certificate(shown, "somebody", "localhost").as_client() if shown else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=Certificate(secret, "somebody", "localhost").root.decode())
    if strict:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@scenario(secret=SECRET, rc1="tls")
def who_is_let_in_with_tls(cluster, replay):
    alone(cluster, [SECRET] * 3)
    replay.contexts = {
        "client-cert-of-other-secret": asking(SECRET, ANOTHER),
        "no-client-cert-*": asking(SECRET),
        "strict-x509-*": asking(SECRET, SECRET, strict=True),
        "unverified-no-client-cert": asking(SECRET, verify=False),
        "unverified-with-client-cert": asking(SECRET, SECRET, verify=False),
        "*": asking(SECRET, SECRET),
    }
    replay("tls")


@scenario(secret=SECRET, rc1="tls-wrong-secret")
def a_node_of_another_secret(cluster, replay):
    alone(cluster, [SECRET, SECRET, ANOTHER])
    replay.contexts = {"wrong-*": asking(ANOTHER, ANOTHER), "*": asking(SECRET, SECRET)}
    replay("tls-wrong-secret")


@scenario(secret=SECRET, rc1="tls-plain-node")
def a_node_without_tls(cluster, replay):
    cluster.secret = ""
    cluster.start("node3")
    cluster.secret = SECRET
    alone(cluster, [SECRET, SECRET])
    replay.contexts = {"*": asking(SECRET, SECRET)}
    replay("tls-plain-node")


@scenario(rc1="mutations")
def settings_of_the_cluster(cluster, replay):
    cluster.start_all()
    for names in (
        "thresholds-set thresholds-new-metric thresholds-warning-above-critical thresholds-missing thresholds-not-json thresholds-get",
        "thresholds-delete thresholds-delete-builtin thresholds-delete-unknown thresholds-get-after-delete",
        "controller-set-one controller-set-bad controller-set-neutral controller-set-down-above-up controller-set-unknown-field controller-get*",
        "controller-evaluate logging-set logging-get logging-bad-level logging-delete logging-get-after logging-get-node2",
        "config-set config-overrides config-delete",
    ):
        for name in names.split():
            replay("mutations", name)
    replay("mutations")


def fresh_cluster(size: int, secret: str = "") -> SimCluster:
    cluster = SimCluster(0, time_factor=FACTOR, secret=secret)
    for number in range(1, size + 1):
        cluster.add_member("node%d" % number)
    return cluster


def claimed() -> Dict[Tuple[str, str], str]:
    """(release, recorded scenario) -> the set-up that repeats it."""
    return {(release, name): s.name for s in SCENARIOS for release, names in s.claims for name in names}
