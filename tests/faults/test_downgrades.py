# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts with less than was meant, provoked by hand on a host: each fails the play with its own sentence.

One cluster for all of them. A test breaks n3, starts it and runs the tasks that plays run after a start; afterwards n3 is as it was.
"""

from __future__ import annotations

import json
import subprocess

import pytest
from lab import ROOT, Lab, Result

THREE = ["n1", "n2", "n3"]
TOML, ENVIRONMENT, UNIT = "/etc/aether/aether.toml", "/etc/aether/aether.env", "/etc/systemd/system/aether.service"
KEYS = "sesame-open:ops:role:ADMIN"
SITS = "import socket, sys, time; s = socket.socket(socket.AF_INET, getattr(socket, sys.argv[1])); s.bind(('0.0.0.0', int(sys.argv[2]))); %s time.sleep(600)"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Lab("b-start", THREE, tmp_path_factory.mktemp("downgrades"), time_factor=0.2, stateless="never", formation="ok") as made:
        made.play("site", THREE)
        yield made


@pytest.fixture
def lab(cluster):
    kept = {path: shell(cluster, "cat " + path) for path in (TOML, ENVIRONMENT, UNIT)}
    yield cluster
    shell(cluster, "systemctl stop aether squatter; systemctl reset-failed aether squatter", check=False)
    for path, text in kept.items():
        write(cluster, path, text)
    shell(cluster, "systemctl daemon-reload && systemctl start aether")


def shell(lab, command, check=True):
    return lab.pool.exec("n3", "sh", "-c", command, check=check).stdout


def write(lab, path, text):
    lab.pool.exec("n3", "sh", "-c", "cat > " + path, input=text)


def change(lab, path, old, new):
    text = shell(lab, "cat " + path)
    assert old in text, text
    write(lab, path, text.replace(old, new))


def start(lab):
    shell(lab, "systemctl daemon-reload && systemctl restart aether")


def squat(lab, kind, port):
    """Another process takes a port while the node is stopped."""
    listen = "s.listen();" if kind == "SOCK_STREAM" else ""
    shell(lab, "systemctl stop aether")
    lab.pool.exec("n3", "systemd-run", "--quiet", "--unit", "squatter", "python3", "-c", SITS % listen, kind, str(port))
    lab.wait(lambda: ":%d " % port in shell(lab, "ss -lntuH"), "the port to be taken")


def verify(lab, *arguments, ok=False, **variables) -> Result:
    done = subprocess.run(
        lab.command("tests/faults/verify_start.yml", THREE, "--limit", "n3", *arguments, **variables),
        cwd=ROOT, env=lab.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    result = Result("verify_start", done.returncode, done.stdout, 0.0)
    lab.results.append(result)
    assert (result.code == 0) is ok, result.tail()
    return result


def findings(result):
    """Codes of the failure that the play shows."""
    failure = json.loads(result.output.split("FAILED! => ", 1)[1].splitlines()[0])["failure"]
    assert failure["kind"] == "bad_start" and failure["node"] == "n3"
    return failure["codes"]


def test_a_good_start_passes(lab):
    start(lab)
    verify(lab, ok=True)


@pytest.mark.fault("the start of a node", "its file is dropped: {part}")
@pytest.mark.parametrize("old, new, part", [("[cluster]", "[cluster", "TOML syntax error"), ("nodes = 3", "nodes = 4", "must be odd"), ('heap = "128m"', 'heap = "lots"', "Invalid heap format: lots")])
def test_a_file_that_is_dropped(lab, old, new, part):
    change(lab, TOML, old, new)
    start(lab)
    result = verify(lab)
    assert findings(result) == ["config_dropped"] and "n3 dropped the whole of /etc/aether/aether.toml" in result.text and part in result.text


@pytest.mark.fault("the start of a node", "its unit names no file")
def test_a_unit_without_a_file(lab):
    change(lab, UNIT, "--config=/etc/aether/aether.toml ", "")
    start(lab)
    result = verify(lab)
    assert findings(result) == ["config_dropped"] and "loaded no configuration file" in result.text


@pytest.mark.fault("the start of a node", "a placeholder in the file is taken literally")
def test_a_placeholder_in_the_file(lab):
    change(lab, TOML, "[app-http]", '[tls]\ncluster_secret = "${env:AETHER_CLUSTER_SECRET}"\n\n[app-http]')
    start(lab)
    result = verify(lab)
    assert findings(result) == ["config_dropped"] and "cluster_secret = ${env:AETHER_CLUSTER_SECRET}" in result.text


@pytest.mark.fault("the start of a node", "the API is open though keys are configured", then=None)
def test_keys_that_do_not_count_leave_the_api_open(lab):
    write(lab, ENVIRONMENT, 'AETHER_API_KEYS="%s"\n' % KEYS)
    change(lab, TOML, "enabled = true", "enabled = false")
    start(lab)
    result = verify(lab)  # the host knows of the keys
    assert findings(result) == ["api_open"] and "n3 answers everybody" in result.text and "sesame-open" not in result.output
    write(lab, ENVIRONMENT, "")
    start(lab)
    result = verify(lab, aether_extra_env={"AETHER_API_KEYS": KEYS})  # the inventory does
    assert findings(result) == ["api_open"] and "sesame-open" not in result.output


@pytest.mark.fault("the start of a node", "the API is open, for the keys are in a file that is dropped")
def test_keys_in_a_file_that_is_dropped_leave_the_api_open_and_stay_secret(lab):
    change(lab, TOML, "[app-http]", '[app-http.api-keys.sesame-open\nname = "x"\n\n[app-http]')
    start(lab)
    result = verify(lab)
    assert findings(result) == ["config_dropped", "api_open"] and "sesame-open" not in result.output


def test_keys_that_count_pass(lab):
    write(lab, ENVIRONMENT, 'AETHER_API_KEYS="%s"\n' % KEYS)
    start(lab)
    result = verify(lab, ok=True, aether_api_key="sesame-open", aether_extra_env={"AETHER_API_KEYS": KEYS})
    assert "sesame-open" not in result.output


@pytest.mark.fault("the start of a node", "peers are dropped")
def test_peers_that_cannot_be_read_are_dropped(lab):
    change(lab, UNIT, "--peers=n1:", "--peers=x:n1:")
    start(lab)
    result = verify(lab)
    assert findings(result) == ["peers_dropped"] and "'x:n1:" in result.text and "It runs without n1." in result.text


@pytest.mark.fault("the start of a node", "peers are invented")
def test_peers_without_ids_are_invented(lab):
    change(lab, UNIT, "--peers=n1:%s:8090,n2:%s:8090" % (lab.ips["n1"], lab.ips["n2"]), "--peers=%s:8090,%s:8090" % (lab.ips["n1"], lab.ips["n2"]))
    start(lab)
    result = verify(lab)
    assert findings(result) == ["peers_invented"] and "node-%s-8090, node-%s-8090" % (lab.ips["n1"], lab.ips["n2"]) in result.text


@pytest.mark.fault("the start of a node", "it is not in its own list")
def test_a_node_that_is_not_in_its_own_list(lab):
    change(lab, UNIT, ",n3:%s:8090" % lab.ips["n3"], "")
    start(lab)
    result = verify(lab)
    assert findings(result) == ["peers_invented"] and "find it at 'localhost'" in result.text


@pytest.mark.fault("the start of a node", "it gives itself a random id")
def test_a_random_id(lab):
    change(lab, UNIT, "--node-id=n3 ", "--node-id=${NOT_THERE} ")
    start(lab)
    result = verify(lab)
    assert findings(result) == ["random_id"] and "n3 runs under the id node-" in result.text


@pytest.mark.fault("the start of a node", "the gossip port is taken")
def test_the_gossip_port_is_taken(lab):
    squat(lab, "SOCK_DGRAM", 8190)
    start(lab)
    result = verify(lab)
    assert findings(result) == ["gossip_port_taken"] and "UDP 8190 on its host is held by python3 (" in result.text


@pytest.mark.fault("the start of a node", "port {port} is taken")
@pytest.mark.parametrize("kind, port", [("SOCK_DGRAM", 8090), ("SOCK_STREAM", 8080)])
def test_the_cluster_or_the_management_port_is_taken(lab, kind, port):
    squat(lab, kind, port)
    start(lab)
    result = verify(lab)
    assert findings(result) == ["exited"] and "n3 ended with exit code 1" in result.text and "Address already in use" in result.text


@pytest.mark.fault("the start of a node", "a port is no number")
def test_a_port_that_is_no_number(lab):
    change(lab, UNIT, "--port=8090", "--port=abc")
    start(lab)
    result = verify(lab)
    assert findings(result) == ["exited"] and "NumberFormatException" in result.text


@pytest.mark.fault("the start of a node", "another release than the wanted one runs", play=1)
def test_another_release_runs(lab):
    """The wanted one is not set in a play that only verifies, so it is given by hand."""
    start(lab)
    digest = shell(lab, "sha256sum /opt/aether/current/aether-node.jar").split()[0]
    verify(lab, ok=True, aether__wanted_release=digest[:12])
    result = verify(lab, aether__wanted_release="0123456789ab")
    assert findings(result) == ["wrong_release"] and digest[:12] in result.text and "0123456789ab" in result.text


@pytest.mark.fault("the start of a node", "a secret is missing for TLS")
def test_a_secret_is_missing_for_tls(lab):
    change(lab, TOML, "tls = false", "tls = true")
    start(lab)
    result = verify(lab)
    assert findings(result) == ["no_tls"] and "No cluster secret configured" in result.text


@pytest.mark.fault("the start of a node", "several of these at once")
def test_several_at_once_come_in_one_failure(lab):
    change(lab, TOML, "nodes = 3", "nodes = 4")
    change(lab, UNIT, "--node-id=n3 ", "")
    squat(lab, "SOCK_DGRAM", 8190)
    start(lab)
    assert findings(verify(lab)) == ["config_dropped", "random_id", "gossip_port_taken"]


@pytest.mark.fault("the start of a node", "it is killed")
def test_a_node_that_was_killed(lab):
    start(lab)
    shell(lab, "systemctl kill --signal=KILL aether")
    lab.wait(lambda: shell(lab, "systemctl show aether --property SubState --value").strip() == "auto-restart", "systemd to see it")
    result = verify(lab)
    assert findings(result) == ["exited"] and "exit code 137" in result.text


@pytest.mark.parametrize("in_process", [True, False])
def test_both_doors_and_check_mode_judge_alike(lab, in_process):
    """In a play that has started nothing, as in check mode, the last start is judged all the same."""
    local = {"aether_in_process": in_process}
    verify(lab, "--check", ok=True, **local)
    change(lab, UNIT, "--node-id=n3 ", "")
    start(lab)
    assert findings(verify(lab, "--check", **local)) == findings(verify(lab, **local)) == ["random_id"]
