# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each silent downgrade of a start is found, by the product's own recorded words, and a good start is not blamed for anything."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import start_check
from ansible_collections.pragmatica.aether.plugins.module_utils.startup import Answers, Wanted, judge, placeholders
from ansible_collections.pragmatica.aether.plugins.modules import aether_start_info
from fakes import run
from hypothesis import given, settings
from hypothesis import strategies as st
from simnode.testing import SimCluster

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"
PEERS = ("node1:127.0.0.1:22010", "node2:127.0.0.1:22020", "node3:127.0.0.1:22030")
SHA = "0123456789ab" + "c" * 52

EXPECTED = {
    "bad-heap": ["config_dropped"],
    "bad-toml": ["config_dropped"],
    "cluster-port-in-use": ["exited"],
    "docker-env-no-tls": [],  # as configured; with TLS wanted it is another matter, see below
    "lone-no-peers": ["exited"],
    "mgmt-port-in-use": ["exited"],
    "no-node-id": ["random_id"],
    "nodes-4": ["config_dropped"],
    "peers-2-part": ["peers_invented"],
    "peers-bad": ["peers_dropped"],
    "peers-bad-port": ["exited"],
    "port-abc": ["exited"],
    "same-ports": ["config_dropped"],
    "self-missing": ["peers_invented"],
    "swim-port-in-use": ["gossip_port_taken"],
    "tls-env-literal": ["config_dropped", "not_formed"],
    "tls-no-secret": ["no_tls"],
    "unknown-arg": [],
}
CASES = sorted((release, path.stem) for release in ("rc1", "alpha") for path in (RECORDINGS / release / "startup").glob("*.json"))


def recorded(release, case):
    return json.loads((RECORDINGS / release / "startup" / (case + ".json")).read_text(encoding="utf-8"))


def started(release, case, **differs):
    """What the host would have known of a recorded start."""
    record = recorded(release, case)
    runs = record["exit"] == "still running"
    # Neither release says a word of a taken gossip port: who holds it is the host's to say.
    gossip = {"held_by": "other", "holder": "socat (812)"} if case == "swim-port-in-use" else {"held_by": "service", "holder": ""}
    return dict(
        {"running": runs, "exit_code": None if runs else record["exit"], "lines": record["log"], "sha256": SHA, "config": "aether.toml", "placeholders": placeholders(record["toml"]), "ports": {"gossip": gossip}},
        **differs,
    )


def answers(release, case, **differs):
    """What the recorded node says of itself."""
    http = recorded(release, case).get("http") or {}
    live, topology = (http.get(path, [None, None]) for path in ("/health/live", "/api/cluster/topology"))
    values = {"node_id": live[1]["nodeId"] if live[0] else None, "core_nodes": frozenset(topology[1]["coreNodes"]) if topology[0] else frozenset()}
    return Answers(**dict(values, **differs))


def wanted(**differs):
    return Wanted(**dict({"node_id": "node1", "peers": PEERS, "release": SHA[:12], "cluster_port": 22010}, **differs))


def codes(findings):
    return [f.code for f in findings]


GOOD = started("rc1", "unknown-arg")
KNOWN = answers("rc1", "unknown-arg")
LINES = GOOD["lines"]


# recordings


def test_every_recorded_start_has_an_expectation():
    assert {case for _, case in CASES} == set(EXPECTED) and {r for r, _ in CASES} == {"rc1", "alpha"}


@pytest.mark.parametrize("release, case", CASES)
def test_a_recorded_start(release, case):
    found = judge(started(release, case), answers(release, case), wanted())
    assert codes(found) == EXPECTED[case]
    for finding in found:
        assert finding.message.startswith("node1 ") and finding.message.endswith(".") and finding.evidence


@pytest.mark.parametrize("release, case", [c for c in CASES if recorded(*c)["exit"] == "still running" and c[1] not in ("peers-2-part", "no-node-id")])
def test_a_recorded_start_whose_node_does_not_answer_is_judged_by_its_journal(release, case):
    assert codes(judge(started(release, case), Answers(), wanted())) == EXPECTED[case]


# one test per row


@pytest.mark.parametrize(
    "case, part",
    [
        ("bad-toml", "TOML syntax error at line 1: [cluster."),
        ("bad-heap", "Invalid heap format: lots."),
        ("nodes-4", "Node count must be odd"),
        ("same-ports", "Port ranges overlap"),
    ],
)
def test_a_dropped_file_says_why_and_that_keys_and_tls_are_gone(case, part):
    (finding,) = judge(started("rc1", case), answers("rc1", case), wanted())
    assert part in finding.message and "without API keys and TLS" in finding.message and "Failed to load config" in finding.evidence


def test_no_file_at_all_is_a_dropped_file():
    start = dict(GOOD, lines=[line for line in LINES if "Config: environment" not in line])
    (finding,) = judge(start, KNOWN, wanted())
    assert finding.code == "config_dropped" and "--config=FILE" in finding.message
    assert judge(start, Answers(has_lists=False), wanted()) == []  # the runbook's API comes with fewer lines


def test_a_placeholder_that_is_taken_literally_names_the_line_and_not_the_value():
    text = 'a = 1\n[tls]\ncluster_secret = "${env:AETHER_CLUSTER_SECRET}"\n# b = "${C}"\n'
    assert placeholders(text) == ["line 3: cluster_secret = ${env:AETHER_CLUSTER_SECRET}"]
    (finding,) = judge(dict(GOOD, placeholders=placeholders(text), config="/etc/aether/aether.toml"), KNOWN, wanted())
    assert finding.code == "config_dropped" and "/etc/aether/aether.toml" in finding.message and "line 3" in finding.message


def test_an_open_api_counts_when_keys_are_configured():
    (finding,) = judge(GOOD, answers("rc1", "unknown-arg", anonymous=True), wanted(keys=True))
    assert finding.code == "api_open" and "[app-http] enabled = true" in finding.message
    assert judge(GOOD, answers("rc1", "unknown-arg", anonymous=True), wanted()) == []
    assert judge(GOOD, answers("rc1", "unknown-arg", anonymous=False), wanted(keys=True)) == []
    assert judge(GOOD, answers("rc1", "unknown-arg", anonymous=None), wanted(keys=True)) == []


def test_dropped_peers_are_named_with_the_entries_that_could_not_be_read():
    (finding,) = judge(started("rc1", "peers-bad"), answers("rc1", "peers-bad"), wanted())
    assert "'garbage', 'a:b:c:d'" in finding.message and "without node2, node3" in finding.message and "Invalid peer format: garbage" in finding.evidence


def test_a_list_that_lacks_a_peer_without_a_word_is_found_in_the_nodes_own_answer():
    (finding,) = judge(GOOD, KNOWN, wanted(peers=PEERS + ("node4:127.0.0.1:22040",)))
    assert finding.code == "peers_dropped" and "without node4" in finding.message


def test_invented_peers_are_named():
    (finding,) = judge(started("rc1", "peers-2-part"), answers("rc1", "peers-2-part"), wanted())
    assert "node-127.0.0.1-22010, node-127.0.0.1-22020, node-127.0.0.1-22030" in finding.message
    (finding,) = judge(GOOD, KNOWN, wanted(peers=PEERS[:2]))
    assert finding.code == "peers_invented" and "node3" in finding.message


def test_a_node_that_lacks_itself_made_up_localhost():
    (finding,) = judge(started("rc1", "self-missing"), answers("rc1", "self-missing"), wanted())
    assert "'localhost'" in finding.message and "node1:127.0.0.1:22010" in finding.message
    assert judge(started("rc1", "self-missing"), answers("rc1", "self-missing"), wanted(peers=("node1:localhost:22010",) + PEERS[1:])) == []


def test_a_list_is_not_judged_where_none_is_wanted():
    assert judge(started("rc1", "peers-2-part"), answers("rc1", "peers-2-part"), wanted(peers=())) == []


def test_where_the_api_has_no_lists_peers_go_by_their_addresses_and_by_the_journal_alone():
    two_part = "Peers: [%s]" % ", ".join("NodeInfo[id=NodeId[id=node-127.0.0.1-%d], address=NodeAddress[host=127.0.0.1, port=%d], role=ACTIVE]" % (p, p) for p in (22020, 22030))
    start, silent = dict(GOOD, lines=[two_part]), Answers(has_lists=False)
    assert judge(start, silent, wanted()) == judge(dict(GOOD, lines=[]), silent, wanted()) == []
    (finding,) = judge(start, silent, wanted(peers=PEERS + ("node4:127.0.0.1:22040",)))
    assert finding.code == "peers_dropped" and "without node4" in finding.message
    assert judge(dict(GOOD, lines=[two_part[:-1]]), silent, wanted(peers=PEERS + ("node4:127.0.0.1:22040",))) == []  # cut
    assert judge(started("rc1", "self-missing"), silent, wanted()) == []  # there the list names the others only
    (finding,) = judge(started("rc1", "peers-bad"), silent, wanted())
    assert finding.code == "peers_dropped" and "'garbage'" in finding.message


def test_a_random_id_is_shown():
    (finding,) = judge(started("rc1", "no-node-id"), answers("rc1", "no-node-id"), wanted())
    assert "node-3MXik3wHXbYf5aElY0bGRFzYbM3" in finding.message and "--node-id=node1" in finding.message
    (finding,) = judge(dict(GOOD, lines=[]), answers("rc1", "unknown-arg", node_id="node7"), wanted())
    assert finding.code == "random_id" and "answers as node7" in finding.evidence


def test_a_taken_gossip_port_names_the_port_and_who_has_it():
    (finding,) = judge(started("rc1", "swim-port-in-use"), KNOWN, wanted())
    assert "UDP 22110" in finding.message and "socat (812)" in finding.message
    for held_by in ("nobody", "unknown", "service"):
        assert judge(dict(GOOD, ports={"gossip": {"held_by": held_by}}), KNOWN, wanted()) == []


def test_another_release_is_told_by_its_checksum():
    (finding,) = judge(dict(GOOD, jar="/opt/aether/releases/x/aether-node.jar"), KNOWN, wanted(release="f" * 12))
    assert finding.code == "wrong_release" and SHA[:12] in finding.message and "f" * 12 in finding.message and "/opt/aether/releases/x" in finding.message
    assert judge(dict(GOOD, sha256=""), KNOWN, wanted(release="f" * 12)) == []
    assert judge(GOOD, KNOWN, wanted(release=SHA.upper())) == []


def test_another_release_is_told_by_its_banner_when_one_is_wanted():
    (finding,) = judge(GOOD, KNOWN, wanted(banner="Aether 1.0.0-rc2"))
    assert finding.code == "wrong_release" and "1.0.0-rc2" in finding.message
    assert judge(dict(GOOD, lines=["  Aether 1.0.0-rc2  "] + LINES), KNOWN, wanted(banner="Aether 1.0.0-rc2")) == []
    assert judge(dict(GOOD, lines=[]), KNOWN, wanted(banner="Aether 1.0.0-rc2")) == []  # a journal that says nothing at all


@pytest.mark.parametrize(
    "line, part",
    [
        ("WARN onConnectFailed() - Failed to connect: NO_APPLICATION_PROTOCOL", "once TLS is on"),
        ("WARN x - Failed to deserialize Hello response", "the same release"),
        ("ERROR startClusterAsync - Cluster formation failed: who knows", "gave up forming"),
    ],
)
def test_a_node_that_is_never_going_to_be_a_member(line, part):
    (finding,) = judge(dict(GOOD, lines=LINES + [line]), KNOWN, wanted())
    assert finding.code == "not_formed" and part in finding.message and finding.evidence == line


@pytest.mark.parametrize(
    "case, code, part",
    [
        ("mgmt-port-in-use", 1, "Failed to bind to port 22501: Address already in use. Another process"),
        ("cluster-port-in-use", 1, "BindException: Address already in use. Another process"),
        ("lone-no-peers", 1, "must be in coreNodes. The unit passes no --peers"),
        ("port-abc", 1, 'NumberFormatException: For input string: "abc". A port'),
    ],
)
def test_a_node_that_ended_says_with_which_code_and_why(case, code, part):
    (finding,) = judge(started("rc1", case), Answers(), wanted())
    assert "exit code %d" % code in finding.message and part in finding.message, finding.message


def test_a_node_that_ended_without_a_word():
    (finding,) = judge({"running": False, "exit_code": None, "lines": []}, Answers(), wanted())
    assert finding.code == "exited" and "does not run" in finding.message and finding.evidence == ""
    (finding,) = judge({"running": False, "exit_code": 137, "lines": ["something"]}, Answers(), wanted())
    assert "exit code 137" in finding.message and "It said: something." in finding.message


def test_a_node_that_ended_over_a_dropped_file_has_both():
    assert codes(judge(dict(started("rc1", "bad-toml"), running=False, exit_code=1), Answers(), wanted(release="f" * 12))) == ["exited", "config_dropped", "wrong_release"]


def test_tls_that_failed_and_tls_that_nobody_configured():
    (finding,) = judge(started("rc1", "tls-no-secret"), answers("rc1", "tls-no-secret"), wanted())
    assert "No cluster secret configured" in finding.message
    assert codes(judge(started("rc1", "docker-env-no-tls"), answers("rc1", "docker-env-no-tls"), wanted(tls=True))) == ["no_tls"]
    assert codes(judge(GOOD, KNOWN, wanted(tls=True))) == ["no_tls"]


def test_several_downgrades_come_together():
    start = dict(started("rc1", "bad-toml"), ports={"gossip": {"held_by": "other"}}, sha256="f" * 64)
    assert codes(judge(start, answers("rc1", "bad-toml", anonymous=True), wanted(keys=True))) == ["config_dropped", "wrong_release", "api_open", "gossip_port_taken"]


BENIGN = LINES + [line for line in recorded("rc1", "docker-env-no-tls")["log"] if "SECURITY" in line] + ["", "Node node1 is ready with 2 peers", "INFO x - Failed to connect to node2, will retry"]


@settings(deadline=None)
@given(st.permutations(BENIGN), st.lists(st.sampled_from(BENIGN), max_size=5))
def test_a_clean_journal_is_clean_in_any_order(lines, again):
    assert judge(dict(GOOD, lines=lines + again), KNOWN, wanted()) == []
    assert judge(dict(GOOD, lines=lines + again), Answers(), wanted()) == []


# the operation, against a simulated node


@pytest.fixture
def three():
    with SimCluster(3) as cluster:
        cluster.start_all()
        yield cluster


def start_of(cluster, name, **differs):
    # The simulated nodes of these tests are given no file, so the line that tells of one is added.
    lines = cluster.logs.get(name, []) + ["Config: environment=local, nodes=3, heap=256m"]
    return dict({"running": True, "exit_code": None, "lines": lines, "ports": {"gossip": {"held_by": "service"}}, "keys": False}, **differs)


def peers_of(cluster):
    return ["%s:127.0.0.1:%d" % (i, ports[0]) for i, ports in cluster.ports.items()]


def check(cluster, name, **given):
    return run(start_check, cluster, name=name, **dict({"start": start_of(cluster, name), "peers": peers_of(cluster), "timeout": 0.5}, **given))


def refused(cluster, name, **given):
    with pytest.raises(AetherError) as caught:
        check(cluster, name, **given)
    return caught.value


def test_a_healthy_start_passes(three):
    result = check(three, "n2")
    assert result["msg"] == "n2 started as it was meant." and result["findings"] == [] and result["answered"] and not result["changed"] and result["actions"] == []


def test_all_findings_are_in_the_failure(three):
    error = refused(three, "n2", peers=peers_of(three)[:2], keys_configured=True)
    assert error.kind == "bad_start" and error.data["codes"] == ["peers_invented", "api_open"] == [f["code"] for f in error.data["result"]["findings"]]
    assert error.message.startswith("n2 did not start as it was meant. ") and "n3" in error.message and "answers everybody" in error.message


def test_the_hosts_own_word_on_keys_counts_too(three):
    assert refused(three, "n1", start=start_of(three, "n1", keys=True)).data["codes"] == ["api_open"]


def test_a_closed_api_passes_with_the_key_and_with_a_wrong_one_and_tells_neither():
    with SimCluster(1, api_keys={"open-sesame": "ADMIN"}) as cluster:
        cluster.start("n1")
        cluster.wait(lambda: cluster.request("GET", "n1", "/health/live")[0] == 200, "n1 to answer")
        right = check(cluster, "n1", keys_configured=True, api_key="open-sesame")
        assert right["answered"] and "open-sesame" not in str(right)
        wrong = check(cluster, "n1", keys_configured=True, api_key="tremendous")
        assert not wrong["answered"] and "refuses the API key" in wrong["msg"] and "tremendous" not in str(wrong)


def test_a_node_that_does_not_answer_is_judged_by_its_journal(three):
    three.kill("n2")
    result = check(three, "n2", keys_configured=True)
    assert not result["answered"] and "by its journal alone" in result["msg"]
    error = refused(three, "n2", start=started("rc1", "no-node-id"))
    assert error.data["codes"][0] == "random_id" and not error.data["result"]["answered"]


def test_a_node_that_ended_is_not_waited_for(three):
    three.kill("n2")
    error = refused(three, "n2", start={"running": False, "exit_code": 1, "lines": []}, timeout=60)
    assert error.data["codes"] == ["exited"] and error.data["result"]["waited"]["polls"] == 0


def test_bad_input_is_refused_in_a_sentence(three):
    assert "'start' lacks lines and running" in refused(three, "n1", start={}).message
    assert "'127.0.0.1:80', which is not id:host:port" in refused(three, "n1", peers=["127.0.0.1:80"]).message
    assert "No endpoint is named for n9" in refused(three, "n9", start=GOOD).message


# what the host knows


def unit(**differs):
    return dict({"ActiveState": "active", "SubState": "running", "MainPID": str(os.getpid()), "ExecMainCode": "0", "ExecMainStatus": "0", "ControlGroup": "", "ExecStart": "", "WorkingDirectory": "/"}, **differs)


@pytest.mark.parametrize(
    "differs, ended, code",
    [
        ({}, False, None),
        ({"ActiveState": "activating", "SubState": "start-pre"}, False, None),
        ({"ActiveState": "activating", "SubState": "auto-restart", "ExecMainCode": "1", "ExecMainStatus": "1"}, True, 1),
        ({"ActiveState": "failed", "SubState": "failed", "ExecMainCode": "2", "ExecMainStatus": "9"}, True, 137),
        ({"ActiveState": "inactive", "SubState": "dead", "ExecMainCode": "1", "ExecMainStatus": "143"}, True, 143),
        ({"ActiveState": "inactive", "SubState": "dead"}, True, None),
    ],
)
def test_how_a_service_ended(differs, ended, code):
    assert (aether_start_info.ended(unit(**differs)), aether_start_info.exit_code(unit(**differs))) == (ended, code)


def test_who_holds_a_port():
    me = str(os.getpid())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert aether_start_info.holder(port, {me}) == {"held_by": "service", "holder": ""}
        other = aether_start_info.holder(port, {"1"})
        assert other["held_by"] == "other" and "(%s)" % me in other["holder"]
    assert aether_start_info.holder(port, {me}) == {"held_by": "nobody", "holder": ""}
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        assert not aether_start_info.listening(unit(), server.getsockname()[1])
        server.listen()
        assert aether_start_info.listening(unit(), server.getsockname()[1])
        assert not aether_start_info.listening(unit(MainPID="1"), server.getsockname()[1])


def test_the_jar_that_a_process_has_open_counts_and_not_the_link_it_was_started_by(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "aether-node.jar").write_text(name, encoding="utf-8")
    link = tmp_path / "current"
    link.symlink_to("old")
    command = ["java", "-jar", str(link / "aether-node.jar")]
    with open(link / "aether-node.jar", "rb"):
        link.unlink()
        link.symlink_to("new")
        path, digest = aether_start_info.jar_of(unit(), command)
        assert path == str(tmp_path / "old" / "aether-node.jar") and digest == aether_start_info.sha256(tmp_path / "old" / "aether-node.jar")
    path, digest = aether_start_info.jar_of(unit(MainPID="0"), command)
    assert path == str(tmp_path / "new" / "aether-node.jar") and digest == aether_start_info.sha256(tmp_path / "new" / "aether-node.jar")
    assert aether_start_info.jar_of(unit(), ["java", "-jar"]) == ("", "")


def test_the_command_of_a_service_that_ended_is_the_units():
    shown = "{ path=/usr/bin/java ; argv[]=java -Xmx1g -jar a.jar --port=1 ; ignore_errors=no ; start_time=[n/a] }"
    assert aether_start_info.command_of(unit(MainPID="0", ExecStart=shown)) == ["java", "-Xmx1g", "-jar", "a.jar", "--port=1"]
    assert aether_start_info.command_of(unit())[0].endswith(("python", "python3")) or "pytest" in " ".join(aether_start_info.command_of(unit()))


def test_secrets_are_known_also_in_a_file_that_is_broken():
    text = '[app-http.api-keys.sesame-1\nname = "x"\n[app-http.api-keys."sesame-2"]\n[tls]\ncluster_secret = "hush-hush\n'
    environment = {"AETHER_API_KEYS": "sesame-3:ops:role:ADMIN;sesame-4:view:role:VIEWER", "AETHER_CLUSTER_SECRET": "psst-psst", "HOME": "/var/lib/aether"}
    assert aether_start_info.secrets(text, environment) == {"sesame-1", "sesame-2", "sesame-3", "sesame-4", "hush-hush", "psst-psst"}
    assert aether_start_info.secrets('[tls]\ncluster_secret = "${env:X_Y_Z}"\n', {}) == set()


class Commands:
    """Runs commands as AnsibleModule.run_command does."""

    def run_command(self, words, encoding="utf-8"):
        done = subprocess.run(words, capture_output=True, encoding=encoding)
        return done.returncode, done.stdout, done.stderr


def test_of_a_long_journal_the_beginning_and_the_end_are_read(tmp_path, monkeypatch):
    lines = ["line %06d %s" % (n, "x" * 90) for n in range(4000)]
    (tmp_path / "journal").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "journalctl").write_text('#!/bin/sh\ncase "$*" in *--lines*) tail -n 200 %s/journal;; *) cat %s/journal;; esac\n' % (tmp_path, tmp_path), encoding="utf-8")
    (tmp_path / "journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, os.environ["PATH"]))
    read, truncated = aether_start_info.journal(Commands(), "0123")
    assert truncated and read[0] == lines[0] and read[-1] == lines[-1] and set(read) <= set(lines)
    assert aether_start_info.HEAD // 2 < sum(map(len, read)) < aether_start_info.HEAD + aether_start_info.TAIL
    (tmp_path / "journal").write_text("one\ntwo\n", encoding="utf-8")
    assert aether_start_info.journal(Commands(), "0123") == (["one", "two"], False)
    assert aether_start_info.journal(Commands(), "") == ([], False)
