# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The product's silent reactions to bad configuration are all refused beforehand (docs/product.md 1)."""

from __future__ import annotations

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.config_rules import check, toml_findings

PEERS = ["n1:10.0.0.1:8090", "n2:10.0.0.2:8090", "n3:10.0.0.3:8090"]
GOOD = dict(
    node_id="n1", peers=PEERS, cluster_port=8090, management_port=8080, app_http_port=8070, heap="512m", gc="zgc", environment="local",
    content='[cluster]\nenvironment = "local"\nnodes = 3\n[cluster.ports]\nmanagement = 8080\ncluster = 8090\n[node]\nheap = "512m"\ngc = "zgc"\n',
)


def test_a_good_configuration_has_no_findings():
    assert check(GOOD) == []


@pytest.mark.parametrize(
    "differs, part",
    [
        (dict(node_id=""), "random one at every start"),
        (dict(peers=["10.0.0.1:8090"] + PEERS), "is not id:host:port"),
        (dict(peers=PEERS[1:]), "advertise 'localhost'"),
        (dict(peers=PEERS + ["n4:10.0.0.4:abc"]), "no port from 1 to 65535"),
        (dict(peers=PEERS + ["n1:10.0.0.9:8090"]), "the id n1 stands there twice"),
        (dict(peers=PEERS + ["n9:10.0.0.1:8090"]), "10.0.0.1:8090 stands there twice"),
        (dict(peers=PEERS + ["n 4:10.0.0.4:8090"]), "is no node id"),
        (dict(management_port=8090), "are both 8090"),
        (dict(app_http_port=8190), "the gossip port"),
        (dict(cluster_port=65500), "65600 is not a port"),
        (dict(heap="2gb"), "like 512m or 4g"),
        (dict(gc="parallel"), "zgc or g1"),
        (dict(environment="prod"), "must be one of local"),
        (dict(content="[cluster\n"), "drop the whole file"),
        (dict(content="[cluster]\nnodes = 4\n"), "must be 3, 5 or 7"),
        (dict(content="[cluster]\nnodes = true\n"), "must be 3, 5 or 7"),
        (dict(content="cluster = 3\n"), "cluster is no table"),
        (dict(content="[cluster.ports]\nmanagement = 9999\n"), "the unit says 8080"),
        (dict(content='[cluster]\nenvironment = "moon"\n'), "cluster.environment"),
        (dict(content='[node]\nheap = "lots"\n'), "aether.toml: node.heap"),
        (dict(running_lists={"n2": ["n1", "n2", "n3", "n7"]}), "lacks it: writing it would drop a voter"),
    ],
)
def test_each_silent_downgrade_is_refused(differs, part):
    findings = check(dict(GOOD, **differs))
    assert any(part in f for f in findings), findings


def test_all_findings_come_at_once():
    assert len(check(dict(GOOD, heap="x", gc="y", management_port=8090))) >= 3


def test_a_removal_may_shorten_the_list():
    assert check(dict(GOOD, running_lists={"n2": ["n1", "n2", "n3", "n7"]}, leaving=["n7"])) == []


def test_defaults_of_the_file_are_the_products():
    assert toml_findings("", 8090, 8080) == []
