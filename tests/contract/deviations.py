# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the simulated node deviates from the recordings on purpose, and what is not repeated at all. Patterns are a shell's."""

from __future__ import annotations

UNREAD = "nothing reads this document, so the node does not have it"
NO_ROUTES = "slices serve nothing in the simulated node"
DURATION = "not always there in the product, never here"
SCALE_UP = "nothing reads that event"
STALE_PEER = "one member went on counting the node that was turned away, the other did not; here neither does"
DRAWING = "a drawing of the slices' calls, empty here"

# (release, scenario, exchange, field): reason. Every exchange that an entry fits has to deviate there.
DEVIATIONS = {
    ("rc1", "3-ready", "node1-GET-api-metrics-[cdht]*", "status"): UNREAD,
    ("rc1", "3-ready", "node1-GET-api-ttm-status", "status"): UNREAD,
    ("rc1", "3-ready", "node1-GET-api-events", ".CONNECTION_FAILED"): "the node tells of connections that came about, not of attempts",
    ("*", "blueprint-active", "node1-GET-api-node-routes", ".routes"): NO_ROUTES,
    ("rc1", "blueprint-same-id-new-slice-version", "node1-GET-api-node-routes", ".routes"): NO_ROUTES,
    ("rc1", "2-of-3-start", "node1-POST-api-blueprint", ".error"): "the product still waited for a connection it was about to lose; the node refuses at once",
    ("rc1", "[45]-nodes", "node1-GET-api-topology", ".*"): DRAWING,
    ("rc1", "5-nodes", "node[123]-GET-api-cluster-topology", ".workerCount"): "the product counted the second newcomer as a worker, not the first; the node counts none",
    ("*", "grow", "03-drain-extra", "status"): "a node without state refuses every write here; the product took its own drain",
    ("*", "grow", "07-events", ".DEPLOYMENT_COMPLETED.details.durationMs"): DURATION,
    ("rc1", "2-of-3-after-kill9", "node1-GET-api-events", ".SCALE_UP"): SCALE_UP,
    ("rc1", "builtin-deploy", "09-events", ".SCALE_UP"): SCALE_UP,
    ("rc1", "builtin-deploy", "09-events", ".DEPLOYMENT_COMPLETED.details.durationMs"): DURATION,
    ("rc1", "quick-restart-stuck", "node2-GET-api-health", ".nodeCount"): STALE_PEER,
    ("rc1", "quick-restart-stuck", "node2-GET-api-status", ".cluster.nodeCount"): STALE_PEER,
    ("rc1", "quick-restart-stuck", "node2-GET-api-health", ".connectedPeers"): STALE_PEER,
    ("rc1", "quick-restart-stuck", "node2-GET-api-nodes", ".nodes.node3"): STALE_PEER,
    ("rc1", "quick-restart-stuck", "node2-GET-api-status", ".cluster.nodes.node3"): STALE_PEER,
    ("rc1", "quick-restart-stuck", "node2-GET-health-ready", ".components.quorum.detail"): STALE_PEER,
    ("rc1", "2-of-3-after-kill9", "node?-GET-api-events", ".DEPLOYMENT_COMPLETED.details.durationMs"): DURATION,
    ("rc1", "tls", "client-cert-of-other-secret", "alert"): "OpenSSL says that it does not know the authority, Java that it does not know the certificate",
    ("rc1", "2-of-3-after-kill9", "node?-GET-api-metrics", ".deployments"): "nothing reads how long a deployment took",
    ("*", "drain-stuck", "node1-GET-api-events", ".DEPLOYMENT_COMPLETED.details.durationMs"): DURATION,
    ("*", "scale", "12-status-after-scale-5", "*"): "seen once: an instance that was ACTIVE and stayed ACTIVATING in the state",
}
# (release, scenario, exchange): reason.
NOT_REPLAYED = {
    ("*", "blueprint", "10-app-*"): NO_ROUTES,
    ("rc1", "tls", "node1-GET-api-metrics-transport"): UNREAD,
    ("rc1", "repository", "*maven-metadata*"): UNREAD,
}
# (release, scenario): reason; scenarios that were recorded, but of which nothing is here.
LEFT_OUT = {
    ("rc1", "formation, rejoin-sync, resize"): "tables of attempts, not exchanges; docs/product.md 2 says what they come to",
    ("alpha", "mixed-alpha-rc1"): "the node has no releases that refuse each other",
    ("alpha", "1-of-3-up, 2-of-3-after-kill9, 3-ready, 4-nodes, 5-nodes, auth, blueprint-*-new-*, decommissioned, failures, repository, shutdown, tls*"): "the same as rc1's but for ids, ports and chance",
    ("v081", "*"): "a release that the dialect v1 does not speak to",
}
# What a timeline says and no test compares. (release, scenario): what, and why.
NOT_COMPARED = {
    ("rc1", "drain-restart, timeline"): "after t=60 a node that was killed and started at once, see quick-restart; and a cluster that lost its majority through it",
    ("alpha", "grow, timeline"): "node5 took longer than node4: it had its state for a moment, which is chance",
}
