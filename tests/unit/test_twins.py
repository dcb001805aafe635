# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two nodes under one id: a host that was said to be dead is back while another one has its id."""

from __future__ import annotations

import pytest
from ansible_collections.pragmatica.aether.plugins.filter import members as filters
from ansible_collections.pragmatica.aether.plugins.module_utils.growth import plan_grow, plan_roll
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import info, plan_info
from ansible_collections.pragmatica.aether.plugins.module_utils.quorum import judge
from builders import cluster, member
from fakes import run
from simnode.testing import SimCluster

THREE = ["n1", "n2", "n3"]


def seen(age):
    """n2 answers at its own endpoint, 1000 s old, and at that of n3, so many seconds old."""
    twin = member("n2", THREE, name="n3", endpoint="http://n3:8080", uptime=age)
    return cluster(member("n1", THREE, uptime=9), member("n2", THREE, uptime=1000), twin, voters=THREE)


def test_two_nodes_of_one_id_are_told_from_one_at_two_addresses_by_their_ages():
    (reason,) = [r for r in judge(seen(40)).reasons if r.code == "runs_twice"]
    assert reason.node == "n2" and reason.blocks == {"complete"}
    assert "n2 runs twice, at http://n2:8080 and at http://n3:8080: two nodes of one id must never run" in reason.sentence
    codes = {r.code for r in judge(seen(1001)).reasons}
    assert "wrong_id" in codes and "runs_twice" not in codes


@pytest.mark.parametrize("plan", [plan_grow, plan_roll])
def test_a_plan_is_refused(plan):
    assert "runs_twice" in {r.code for r in plan(seen(40)).refusals}


@pytest.fixture(scope="module")
def back():
    """A cluster of three, and the n3 that it had before, alone at an address of its own."""
    with SimCluster(3) as made, SimCluster(0) as old:
        made.start_all()
        old.add_member("n3")
        old.start("n3", THREE[2:])
        old.wait(lambda: old.get("n3", "/api/status"), "the old n3 to answer")
        old.nodes["n3"].started -= 1000
        yield made, old


def test_what_runs_at_a_former_address_is_refused_before_anything_is_touched(back):
    made, old = back
    former = old.endpoint_list()
    with pytest.raises(AetherError) as caught:
        run(plan_info, made, operation="roll", former=former)
    assert caught.value.kind == "refused" and "Refused, nothing was touched: n3 runs twice, at %s and at %s" % (made.endpoints["n3"], old.endpoints["n3"]) in caught.value.message
    report = run(plan_info, made, operation="grow", former=former, on_refusal="report")
    assert [r["code"] for r in report["plan"]["refusals"]] == ["runs_twice"]


def test_nobody_there_or_the_same_node_there_is_no_obstacle(back):
    made, _old = back
    former = ["n2=http://127.0.0.1:%d" % made.ports["n2"][0], "n3=" + made.endpoints["n3"].replace("127.0.0.1", "localhost")]
    assert run(plan_info, made, operation="roll", former=former)["plan"]["refusals"] == []


def test_the_status_shows_it(back):
    made, old = back
    endpoints = made.endpoint_list(["n1", "n3"]) + ["n2=" + old.endpoints["n3"]]
    assert any("n3 runs twice" in line for line in run(info, made, endpoints=endpoints)["table"])


def test_former_addresses_are_read_from_the_lists_on_the_disks():
    peers = ["n1:10.0.0.1:8090", "n2:10.0.0.2:8090", "n3:10.0.0.3:8090", "n9:10.0.0.9:8090"]
    hostvars = {
        "n1": {"ansible_host": "10.0.0.1", "aether__host": {"peers": peers}},
        "n2": {"ansible_host": "10.0.0.2", "aether__host": {"peers": ["10.0.0.1:8090", "10.0.0.7:8090"]}},
        "new": {"ansible_host": "10.0.0.4", "aether_node_id": "n3", "aether_management_port": 9080, "aether_tls": True},
    }
    assert filters.elsewhere(hostvars, list(hostvars)) == ["n3=https://10.0.0.3:9080"]
