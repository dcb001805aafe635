# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated node of the runbook: every command of the scaling runbook works on it, and the collection reads it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import info, quorum_check
from ansible_collections.pragmatica.aether.plugins.module_utils.startup import Answers, Wanted, judge
from fakes import run
from simnode.runbook import read_runbook
from simnode.settings import Exit
from simnode.testing import SimCluster

NODE = Path(__file__).resolve().parents[1] / "sandbox" / "node"
SLICE = "org.example:my-slice:1.0.0"


@pytest.fixture
def three():
    with SimCluster(3, api="runbook") as cluster:
        cluster.start_all()
        yield cluster


def cli(cluster, node, command, **more):
    """What aether-cli prints."""
    host = cluster.endpoints[node][len("http://"):]
    done = subprocess.run([sys.executable, str(NODE / "aether-cli"), "--host", host, *(["-c", command] if command else [])], capture_output=True, text=True, timeout=30, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(cluster, node):
    return [n["id"] for n in cluster.get(node, "/cluster/status")["nodes"]]


def placed(cluster, node="n1"):
    return Counter(s["nodeId"] for s in cluster.get(node, "/slices") if s["state"] == "ACTIVE")


def with_instances(cluster, count, artifact=SLICE):
    cli(cluster, "n1", "blueprint update %s --instances=%d" % (artifact, count))
    cluster.wait(lambda: len([s for s in cluster.get("n1", "/slices") if s["artifact"] == artifact and s["state"] == "ACTIVE"]) == count, "%d instances" % count)


# --- the procedures of the runbook ----------------------------------------------------------------------------------


def test_adding_a_node(three):
    with_instances(three, 3)
    three.add_member("n4")
    three.start("n4")  # its list names the three others; theirs do not name it
    three.wait(lambda: "n4" in names(three, "n1"), "n4 in the node list")
    status, health = three.request("GET", "n1", "/health")
    assert status == 200 and health == {"status": "healthy", "quorum": True, "nodeCount": 4, "sliceCount": 1}
    three.wait(lambda: three.get("n4", "/health")["quorum"], "n4 to have a quorum")
    assert names(three, "n4") == ["n1", "n2", "n3", "n4"] and three.nodes["n4"].settings.size == 4 and three.nodes["n1"].settings.size == 3
    three.wait(lambda: placed(three, "n4") == {"n1": 1, "n2": 1, "n3": 1}, "n4 to know the slices")


def test_removing_a_node(three):
    three.add_member("n4")
    three.start("n4")
    three.wait(lambda: three.get("n4", "/health")["quorum"], "n4 to have a quorum")
    with_instances(three, 3)
    leaves = max(placed(three))
    assert three.request("POST", leaves, "/admin/drain") == (200, {"status": "draining"})
    three.wait(lambda: leaves not in placed(three) and len(placed(three)) == 3, "its slice to be elsewhere")
    assert three.request("POST", leaves, "/admin/drain")[0] == 200, "once more changes nothing"
    assert three.stop(leaves) == 143
    rest = [n for n in three.ids if n != leaves]
    three.wait(lambda: names(three, rest[0]) == rest, "it to be gone from the node list")
    assert three.get(rest[0], "/health")["quorum"] is True and three.get(rest[0], "/health")["nodeCount"] == 3


def test_scaling_slices(three):
    assert cli(three, "n1", "blueprint update %s --instances=3" % SLICE) == SLICE + " is to have 3 instances\n"
    three.wait(lambda: cli(three, "n2", "slices list").count("ACTIVE") == 3, "3 instances")
    assert sorted(line.split() for line in cli(three, "n3", "slices list").splitlines()) == [[SLICE, n, "ACTIVE"] for n in ("n1", "n2", "n3")]
    # At its prompt it takes the commands line by line.
    assert "is to have 2 instances" in cli(three, "n1", None, input="blueprint update %s --instances=2\n\n" % SLICE)
    three.wait(lambda: [s["artifact"] for s in three.get("n1", "/slices")] == [SLICE] * 2, "instances to decrease")
    with_instances(three, 2, SLICE.replace("1.0.0", "1.1.0"))
    three.wait(lambda: {s["artifact"] for s in three.get("n1", "/slices")} == {SLICE.replace("1.0.0", "1.1.0")}, "the old version to go")


def test_what_is_monitored(three):
    three.set("n1", cpu=0.95, heap=0.5)
    assert three.get("n1", "/metrics") == {"cpu.usage": 0.95, "heap.usage": 0.5}
    three.kill("n3")
    three.wait(lambda: three.get("n1", "/health")["status"] == "degraded", "the loss to be seen")
    three.kill("n2")
    three.wait(lambda: three.get("n1", "/health")["quorum"] is False, "the loss of the majority to be seen")
    assert three.request("GET", "n1", "/health") == (200, {"status": "unhealthy", "quorum": False, "nodeCount": 1, "sliceCount": 0})
    three.set("n1", health_503=True)
    assert three.request("GET", "n1", "/health")[0] == 503


def test_nothing_else_is_there(three):
    for path in ("/api/status", "/api/nodes/lifecycle", "/health/ready", "/api/cluster/topology", "/api/blueprints", "/"):
        assert three.request("GET", "n1", path) == (404, "File not found: " + path)
    assert three.request("GET", "n1", "/admin/drain")[0] == 404


# --- how it is started ----------------------------------------------------------------------------------------------


def test_a_line_of_the_runbook_starts_it():
    settings = read_runbook(["--node-id=node4", "--port=8090", "--peers=node1:8090,node2:8090,node3:8090"])
    assert (settings.node_id, settings.cluster_port, settings.management_port, settings.size) == ("node4", 8090, 8080, 4)
    apart = read_runbook("--node-id node4 --port 9000 --peers a:1 --management-port 9001".split())
    assert (apart.node_id, apart.cluster_port, apart.management_port, apart.peers) == ("node4", 9000, 9001, {"a:1": ("a", 1)})


@pytest.mark.parametrize("arguments, words", [
    ([], "no --node-id"),
    (["--node-id=a", "--port=x"], 'For input string: "x" (--port)'),
    (["--node-id=a", "--tls"], "no argument --tls"),
    (["--node-id=a", "--config=/does/not/exist"], "cannot be read"),
])
def test_what_it_cannot_do_is_refused_in_one_sentence(arguments, words):
    with pytest.raises(Exit) as caught:
        read_runbook(arguments)
    assert caught.value.code == 1 and len(caught.value.lines) == 1 and words in caught.value.lines[0]


def test_a_file_names_all_certificates_or_none(tmp_path):
    file = tmp_path / "aether.toml"
    file.write_text('[node]\nheap = "256m"\n')
    assert read_runbook(["--node-id=a", "--config=%s" % file]).size == 1
    file.write_text('[tls]\ncert_path = "node.pem"\n')
    with pytest.raises(Exit) as caught:
        read_runbook(["--node-id=a", "--config=%s" % file])
    assert caught.value.lines == ["The table [tls] of %s lacks ca_path, key_path." % file]
    file.write_text('[tls]\nca_path = "ca.pem"\ncert_path = "node.pem"\nkey_path = "node.key"\n')
    settings = read_runbook(["--node-id=a", "--config=%s" % file])
    assert settings.tls and settings.tls_files == ("ca.pem", "node.pem", "node.key")


def test_its_log_passes_the_look_after_a_start(three):
    peers = ["%s:127.0.0.1:%d" % (i, three.ports[i][0]) for i in three.ids]
    assert judge({"lines": three.logs["n2"]}, Answers(has_lists=False), Wanted(node_id="n2", peers=peers)) == []
    found = judge({"lines": three.logs["n2"]}, Answers(has_lists=False), Wanted(node_id="n2", peers=peers + ["n4:127.0.0.1:9"]))
    assert "without n4" in found[0].message


# --- what it can be told to do wrong ----------------------------------------------------------------------------------


def test_a_drain_that_never_ends(three):
    with_instances(three, 1)
    (host,) = placed(three)
    three.set(host, stuck_drain=True)
    assert three.request("POST", host, "/admin/drain")[0] == 200
    with pytest.raises(AssertionError):
        three.wait(lambda: host not in placed(three), "a drain that is stuck", seconds=three.t(20))


def test_a_drain_without_room_waits_for_it(three):
    with_instances(three, 3)
    assert three.request("POST", "n3", "/admin/drain")[0] == 200
    with pytest.raises(AssertionError):
        three.wait(lambda: "n3" not in placed(three), "a drain without room", seconds=three.t(20))
    cli(three, "n1", "blueprint update %s --instances=2" % SLICE)
    three.wait(lambda: "n3" not in placed(three), "the drain to go on")


def test_refused_hanging_failing(three):
    three.set("n1", reject_drain=True)
    assert three.request("POST", "n1", "/admin/drain") == (500, {"error": "Node n1 cannot be drained now"})
    three.set("n1", reject_drain=False, error_but_applied=True)
    assert three.request("POST", "n1", "/admin/drain")[0] == 500
    three.wait(lambda: three.nodes["n2"].store.get("lifecycle/n1")["state"] != "ON_DUTY", "what was answered with an error")
    three.set("n2", http_503=5)
    assert three.request("GET", "n2", "/health")[0] == 503
    three.set("n3", hang=True)
    assert three.request("GET", "n3", "/health", timeout=0.3)[0] == 0


def test_the_command_line_tool_says_what_went_wrong_and_ends_with_0(three):
    assert cli(three, "n1", "blueprint update org.example:x:1.0.0 --instances=0") == "Error: Instance count must be positive: 0\n"
    assert cli(three, "n1", "blueprint update nonsense --instances=1") == "Error: Invalid artifact format: nonsense\n"
    assert cli(three, "n1", "blueprint update com.elsewhere:x:1.0.0 --instances=1") == "Error: Artifact not found: com.elsewhere:x:1.0.0\n"
    assert cli(three, "n1", "slices").startswith("Error: unknown command 'slices'.")
    assert cli(three, "n1", "slices list") == "No slices.\n"
    three.kill("n1")
    with pytest.raises(AssertionError, match="cannot be reached"):
        cli(three, "n1", "slices list")


# --- and in the collection's eyes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["id", "nodeId", "strings"])
def test_the_collection_finds_it_complete_however_nodes_are_listed(three, shape):
    for node in three.ids:
        three.set(node, node_list=shape)
    result = run(quorum_check, three, require="complete", timeout=5)
    assert result["api"] == "runbook" and result["quorum"]["have"] == 3


def test_the_collection_sees_losses_and_slices(three):
    with_instances(three, 2)
    assert {node for node, slices in run(info, three)["slices"].items() if slices} == set(placed(three))
    three.kill("n3")
    three.wait(lambda: "n3" not in names(three, "n1"), "n3 to be gone")
    with pytest.raises(AetherError) as caught:
        run(quorum_check, three, require="complete")
    assert "down" in caught.value.data["codes"]


def test_a_whole_process_of_it(tmp_path):
    """As the JAR runs it: --api runbook puts the word into its main program."""
    done = subprocess.run([sys.executable, str(NODE / "simnode"), "--port=1"], env={"SIMNODE_API": "runbook", "AETHER_SIM_TIME_FACTOR": "0.01", "AETHER_SIM_SWITCHES": str(tmp_path / "none")}, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and done.stdout.startswith("There is no --node-id")
