# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operations against a simulated cluster: real sockets, views over the network, a fiftieth of the product's time."""

from __future__ import annotations

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import info, node, plan_info, quorum_check
from ansible_collections.pragmatica.aether.plugins.module_utils.operations.session import Look, Session
from builders import cluster, gone, member
from fakes import parameters, run
from simnode.testing import SimCluster

BLUEPRINT = 'id = "org.example:shop:1.0.0"\n[[slices]]\nartifact = "org.example:cart:1.0.0"\ninstances = 2\n[[slices]]\nartifact = "org.example:checkout:1.0.0"\ninstances = 3\n'


def with_state(cluster):
    assert cluster.request("POST", cluster.ids[0], "/api/blueprint", BLUEPRINT)[0] == 200
    cluster.post(cluster.ids[0], "/api/thresholds", {"metric": "cpu.usage", "warning": 0.6, "critical": 0.85})
    return cluster


@pytest.fixture
def three():
    with SimCluster(3) as cluster:
        cluster.start_all()
        yield with_state(cluster)


@pytest.fixture
def growing():
    """Three founders with lists of three, and two ids more that are not started."""
    with SimCluster(3) as cluster:
        cluster.start_all()
        with_state(cluster)
        cluster.add_member("n4")
        cluster.add_member("n5")
        yield cluster


def refused(task, cluster, /, **given):
    with pytest.raises(AetherError) as caught:
        run(task, cluster, **given)
    return caught.value


def test_a_healthy_cluster_is_complete(three):
    result = run(quorum_check, three, require="complete", timeout=5)
    assert result["quorum"]["have"] == 3 and result["quorum"]["state_evidence"] == "compared" and not result["changed"]
    assert result["api"] == "v1" and result["cluster"]["leader"] == "n1" and "complete" in result["msg"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_member_down_keeps_the_majority_but_not_completeness(three, check_mode):
    three.kill("n3")
    assert run(quorum_check, three, check_mode=check_mode)["quorum"]["can_lose"] == 0
    error = refused(quorum_check, three, require="complete", check_mode=check_mode)
    assert error.kind == "quorum" and "down" in error.data["codes"] and "n3" in error.message
    assert "would_not_survive" in refused(quorum_check, three, without=["n2"], check_mode=check_mode).data["codes"]


def test_a_hanging_member_is_told_from_one_that_is_down(three):
    three.freeze("n3")
    (reason,) = refused(quorum_check, three, require="complete").data["reasons"]
    assert reason["code"] == "hanging" and reason["sentence"].startswith("n3: %s accepts connections but did not answer /" % three.endpoints["n3"])
    assert run(quorum_check, three)["quorum"]["have"] == 2


def test_a_member_without_state_is_found_out(three):
    three.stop("n3")
    three.start("n3", stateless="always")
    three.wait(lambda: three.request("GET", "n3", "/health/ready")[0] == 200, "n3 ready")
    error = refused(quorum_check, three, require="complete")
    assert "no_state" in error.data["codes"] and "org.example:shop:1.0.0" in error.message


def test_the_last_survivor_says_it_is_well_and_is_not_believed(three):
    three.kill("n1")
    three.kill("n2")
    assert three.get("n3", "/api/health")["quorum"] is True
    error = refused(quorum_check, three)
    assert {"lost_majority", "no_quorum", "dead_leader"} <= set(error.data["codes"])


def test_a_cut_member_and_waiting_until_it_is_back(three):
    three.cut(["n3"], ["n1", "n2"])
    three.wait(lambda: three.get("n1", "/api/health")["nodeCount"] == 2, "n3 dropped")
    three.wait(lambda: not {"n1", "n2"} & {e["nodeId"] for e in three.get("n3", "/api/nodes/lifecycle")}, "n3 alone")
    error = refused(quorum_check, three, require="complete")
    assert {(r["code"], r["node"]) for r in error.data["reasons"]} == {("not_ready", "n3"), ("no_state", "n3")}
    assert "n3 answers but is not ready. n3 is up but without state: it lacks n1 in its lifecycle list, n2 in its lifecycle list, " in error.message
    three.heal()
    assert run(quorum_check, three, require="complete", timeout=20, stable_for=0.3)["waited"]["polls"] >= 2


def test_a_wait_says_what_it_waits_for_and_ends(three):
    three.kill("n3")
    lines = []
    error = refused(quorum_check, three, require="complete", timeout=4, progress=lines.append)
    assert lines and "n3" in lines[0] and "asked" in error.message and error.data["result"]["waited"]["seconds"] >= 1


def test_keys_missing_and_wrong():
    with SimCluster(3, api_keys={"sesame": "ADMIN"}) as cluster:
        for number, name in enumerate(cluster.ids):
            cluster.start(name)
            cluster.wait(lambda n=name, c=number: cluster.nodes[n].connecting_since is not None and len(cluster.nodes[n].links) >= c, "connected")
        cluster.wait(lambda: all(n.ready for n in cluster.nodes.values()), "ready")
        run(quorum_check, cluster, api_key="sesame", timeout=10)
        missing, wrong = refused(quorum_check, cluster), refused(quorum_check, cluster, api_key="tremendous")
        assert "needs an API key" in missing.message and "refuses the API key" in wrong.message
        assert "unauthorized" in missing.data["codes"] and "tremendous" not in str(wrong.data) + wrong.message


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_key_missing_or_wrong_at_one_endpoint(three, check_mode):
    three.nodes["n2"].settings.keys = {"sesame": "ADMIN"}
    for key, sentence in ((None, "needs an API key (401: X-API-Key header required)"), ("tremendous", "refuses the API key (403: Invalid API key)")):
        error = refused(quorum_check, three, require="complete", api_key=key, check_mode=check_mode)
        (reason,) = error.data["reasons"]
        assert (reason["code"], reason["node"]) == ("unauthorized", "n2")
        assert reason["sentence"] == "n2: %s %s; set 'api_key' or AETHER_API_KEY." % (three.endpoints["n2"], sentence)
    assert "complete" in run(quorum_check, three, require="complete", api_key="sesame", timeout=10, check_mode=check_mode)["msg"]


def test_names_that_are_not_voters_are_refused(three):
    assert "n9" in refused(quorum_check, three, without=["n9"]).message
    assert "n9" in refused(node, three, name="n9").message
    assert "'voters' does not name" in refused(quorum_check, three, voters=["n1", "n2"]).message


def test_present_waits_for_a_restarted_node(three):
    three.stop("n2")
    three.start("n2")
    result = run(node, three, name="n2", timeout=20)
    assert result["node"]["sound"] and result["has_state"] and not result["needs_restart"] and not result["missing_in"]


def test_present_tells_that_a_restart_is_needed(three):
    three.stop("n2")
    three.start("n2", stateless="always")
    report = run(node, three, name="n2", timeout=20, settle=0.5, on_stateless="report")
    assert report["needs_restart"] and report["restart_reason"] == "no_state"
    assert refused(node, three, name="n2", timeout=20, settle=0.5).kind == "needs_restart"
    assert run(node, three, name="n2", must_have_state=False, timeout=10)["has_state"] is False


def test_a_node_that_runs_a_slices_only_active_instance_is_not_to_be_stopped_as_long_as_it_does(three, monkeypatch):
    only = {"cart": 3}  # looks until another instance is active
    three.stop("n2")
    three.start("n2", stateless="always")

    def only_host_of(observation, verdict, name):
        only["cart"] -= 1
        return ["org.example:cart:1.0.0"] if only["cart"] >= 0 else []

    monkeypatch.setattr(node, "only_host_of", only_host_of)
    report = run(node, three, name="n2", timeout=20, settle=0.5, on_stateless="report")
    assert report["needs_restart"] and report["only_host_of"] == [] and only["cart"] == -1
    only["cart"] = 1000
    report = run(node, three, name="n2", timeout=1, settle=0.5, on_stateless="report")
    assert report["needs_restart"] and report["only_host_of"] == ["org.example:cart:1.0.0"]
    assert "it is not stopped as long as it runs the only active instance of org.example:cart:1.0.0" in report["msg"]


def test_present_gives_up_on_a_node_that_never_gets_ready(three):
    three.stop("n2")
    three.start("n2", never_ready=True)
    three.wait(lambda: three.request("GET", "n2", "/health/live")[0] == 200, "n2 live")
    report = run(node, three, name="n2", timeout=1, on_stateless="report")
    assert report["needs_restart"] and report["restart_reason"] == "not_ready"


def test_present_is_not_content_with_a_node_that_a_member_sees_and_that_does_not_see_the_member():
    everyone = ["n1", "n2", "n3"]
    views = [member("n1", everyone), member("n2", everyone), member("n3", everyone, peers=frozenset(["n1", "n3"]))]
    lacks = node.Presence("n3", (), True, 5.0).lacking(Look(cluster(*views)))
    assert lacks == ["n3 does not see n2 (is a way between them blocked?)"]
    assert node.Presence("n3", ("n1",), True, 5.0).lacking(Look(cluster(*views))) == []
    assert node.Presence("n3", (), True, 5.0).lacking(Look(cluster(views[0], gone("n2"), views[2]))) == []


def test_present_names_a_node_that_is_not_there(three):
    three.stop("n2")
    error = refused(node, three, name="n2", timeout=1)
    assert error.kind == "not_present" and "is the node running?" in error.message


@pytest.mark.parametrize("check_mode", [True, False])
def test_present_puts_a_decommissioned_node_back_on_duty(three, check_mode):
    three.wait(lambda: all(i["state"] == "ACTIVE" for s in three.get("n1", "/api/slices")["slices"] for i in s["instances"]), "active")
    three.post("n1", "/api/scale", {"artifact": "org.example:checkout:1.0.0", "instances": 2})
    three.post("n1", "/api/node/drain/n3")
    three.wait(lambda: three.get("n2", "/api/node/lifecycle/n3")["state"] == "DECOMMISSIONED", "n3 drained")
    result = run(node, three, name="n3", timeout=10, check_mode=check_mode)
    assert result["changed"] and result["actions"][0]["path"] == "/api/node/activate/n3" and result["actions"][0]["sent"] is not check_mode
    assert three.get("n2", "/api/node/lifecycle/n3")["state"] == ("DECOMMISSIONED" if check_mode else "ON_DUTY")
    if not check_mode:
        assert not run(node, three, name="n3", timeout=10)["changed"]


def test_absent_needs_a_witness_and_no_view_that_holds_it(three):
    assert "still in the views of n1, n2" in refused(node, three, name="n3", state="absent", timeout=0.3).message
    three.stop("n3")
    assert run(node, three, name="n3", state="absent", timeout=10)["held_by"] == []
    three.kill("n1")
    three.kill("n2")
    assert "nobody can tell" in refused(node, three, name="n3", state="absent", timeout=0.3).message


def test_connected_counts_the_earlier_ones(three):
    assert not run(node, three, name="n3", state="connected", peers=["n1", "n2"])["needs_restart"]
    three.stop("n3")
    report = run(node, three, name="n3", state="connected", peers=["n1", "n2"], timeout=0.5, on_stateless="report")
    assert report["needs_restart"] and report["restart_reason"] == "not_ready"


def test_growing_three_to_five_by_the_plan(growing):
    """The order of docs/product.md 2, decided anew at each step from what the cluster shows."""
    plan = run(plan_info, growing, operation="grow")["plan"]
    assert (plan["to_add"], plan["to_roll"], plan["baseline"]) == (["n4", "n5"], ["n2", "n3", "n1"], ["n1", "n2", "n3"])
    for new in plan["to_add"]:
        growing.start(new, peers=growing.ids)
        run(node, growing, name=new, timeout=20, must_have_state=False)
        run(quorum_check, growing, baseline=plan["baseline"])
    for turn in range(3):
        now = run(plan_info, growing, operation="grow")["plan"]
        assert now["to_add"] == [] and len(now["to_roll"]) == 3 - turn and now["old_lists_touched"] is (turn > 0)
        old = now["to_roll"][0]
        run(quorum_check, growing, without=[old], baseline=plan["baseline"], timeout=10)
        growing.stop(old)
        growing.start(old, peers=growing.ids)
        run(node, growing, name=old, timeout=20)
    done = run(plan_info, growing, operation="grow")["plan"]
    assert done["done"] and run(quorum_check, growing, require="complete", timeout=10)["quorum"]["can_lose"] == 2
    assert growing.get("n5", "/api/blueprints") == {"blueprints": [{"id": "org.example:shop:1.0.0", "sliceCount": 2}]}


def test_a_plan_that_is_refused_names_everything_at_once(growing):
    growing.kill("n3")
    error = refused(plan_info, growing, operation="grow", ids=["n1", "n2", "n3", "n4"])
    assert error.kind == "refused" and {r["code"] for r in error.data["refusals"]} >= {"member_down", "even", "no_margin"}
    report = run(plan_info, growing, operation="grow", ids=["n1", "n2", "n3", "n4"], on_refusal="report")
    assert report["plan"]["refusals"] and report["plan"]["nodes"]["n4"]["action"] == "add"


def test_info_reports_whatever_the_state(three):
    healthy = run(info, three, settle_timeout=10)
    assert healthy["majority"] and healthy["complete"] and healthy["settled"]
    assert sorted(len(s) for s in healthy["slices"].values()) == [1, 2, 2]
    assert healthy["table"][0].startswith("MEMBER") and "n1 *" in healthy["table"][1]
    three.kill("n2")
    three.kill("n3")
    unwell = run(info, three)
    assert not unwell["majority"] and any("NO MAJORITY" in line for line in unwell["table"]) and any("does not answer" in line for line in unwell["table"])


def test_an_endpoint_that_is_no_aether_is_named():
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *unused):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    class Stranger:
        def endpoint_list(self, ids):
            return ["n1=http://127.0.0.1:%d" % server.server_port]

    try:
        error = refused(quorum_check, Stranger())
        assert error.kind == "unknown_api" and "not as Aether does" in error.message
    finally:
        server.shutdown()
        server.server_close()


def test_the_api_is_told_once_not_once_for_each_member(three):
    with Session(parameters(quorum_check, endpoints=three.endpoint_list())) as session:
        asked = []
        once = session.client._once
        session.client._once = lambda endpoint, method, path, *rest: asked.append(path) or once(endpoint, method, path, *rest)
        session.observe()
        session.observe()
    assert asked.count("/health") == len(three.ids)
