# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Preflight: every finding from facts made by hand, who reaches whom against a network made by hand, and the modules over real sockets."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
from ansible_collections.pragmatica.aether.plugins.filter.preflight import preflight_hosts, preflight_targets, preflight_unanswered
from ansible_collections.pragmatica.aether.plugins.module_utils import listening
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import preflight as operation
from ansible_collections.pragmatica.aether.plugins.module_utils.ports import named_ports
from ansible_collections.pragmatica.aether.plugins.module_utils.preflight import ERROR, NOTE, WARNING, judge, lines, reach_findings, reach_targets
from fakes import parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from simnode.testing import SimCluster, free_ports

MODULES = "ansible_collections.pragmatica.aether.plugins.modules."


def entry(name, state="free", **changes):
    """A host with nothing wrong. ``changes`` of wants by name, of facts as facts={…}, of the entry as entry={…}."""
    number = int(name[1:])
    wants = dict(
        id=name, address="10.0.0.%d" % number, cluster_port=8090, management_port=8080, app_http_port=8070, cluster_protocol="quic", heap="512m", gc="zgc", environment="local",
        content='[cluster]\nenvironment = "local"\nnodes = 3\n', profile="", disk_mb=1024, java="java", java_version=25, java_install=True, java_package="openjdk-25-jre-headless",
        jar="/j.jar", jar_url="", jar_sha256="",
    )
    facts_changes, entry_changes = changes.pop("facts", {}), changes.pop("entry", {})
    wants.update(changes)
    ports = [dict(name=p.name, protocol=p.protocol, port=p.number, state=state, process="", pid=0, unit="") for p in named_ports(wants)]
    facts = dict(
        cores=16, memory_mb=64 * 1024, disks=[dict(path="/opt", free_mb=9000, jar=True), dict(path="/var/lib", free_mb=9000, jar=False)], java_version=25, apt=True, active=False,
        node_id="", peers=[], ports=ports, spare_port=20001, unprivileged_port_start=1024, clock=dict(sent=100.0, began=100.4, ended=100.6, received=101.0),
    )
    facts.update(facts_changes)
    made = dict(host=name, in_play=True, unreachable="", wants=wants, facts=facts, listen_errors=[], probes=[], arrived=[], jar=dict(path="/j.jar", url="", wanted="", found="f" * 64, size=10_000_000, trouble=""))
    made.update(entry_changes)
    return made


def hosts(count=3, state="free", **of_n2):
    return [entry("n%d" % i, state, **(copy.deepcopy(of_n2) if i == 2 else {})) for i in range(1, count + 1)]


class Network:
    """Carries what reach_targets asks for. ``closed(a, b, protocol, port)``: does a packet from a to b with that port at the listening side get lost?

    It is asked for the way there and for the way back: filters without a memory, the worst case.
    """

    def __init__(self, closed, silent=()):
        self.closed, self.silent = closed, set(silent)

    def carry(self, entries):
        looked_at = [e for e in entries if e.get("facts")]
        heard = {e["host"]: [] for e in looked_at}
        for asker in looked_at:
            a = asker["host"]
            for target in reach_targets(entries):
                b = target["host"]
                there = a == b or not self.closed(a, b, target["protocol"], target["port"], True)
                back = a == b or not self.closed(b, a, target["protocol"], target["port"], False)
                if target["method"] == "listener" and there and (target["protocol"] == "udp" or back):
                    heard[b].append(dict(host=a, name=target["name"]))
                answers = there and back and (b, target["name"]) not in self.silent
                asker["probes"].append(dict(host=b, name=target["name"], result="ok" if answers else "timeout", detail=""))
        # As the role does it: nobody asks the listeners when every question was answered.
        missing = any(p["result"] != "ok" for e in looked_at for p in e["probes"])
        for one in looked_at:
            one["arrived"] = heard[one["host"]] if missing else None
        return entries


def open_network(entries):
    return Network(lambda *packet: False).carry(entries)


def codes(found, level=None):
    return sorted({f.code for f in found if level in (None, f.level)})


def one(found, code):
    matching = [f for f in found if f.code == code]
    assert len(matching) == 1, lines(found)
    return matching[0]


# --- one finding each ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["free", "service"])
@pytest.mark.parametrize("count", [3, 5, 7])
def test_a_sound_description_has_no_errors_and_no_warnings(count, state):
    found = judge(open_network(hosts(count, state)))
    assert [f for f in found if f.level != NOTE] == []
    assert codes(found) == (["not_judged"] if state == "service" else [])  # the gossip ports in use


FOUND = [
    ("id_twice", ERROR, dict(id="n1"), "n1 and n2"),
    ("id_changed", ERROR, dict(facts=dict(node_id="n9")), "The node on this host is n9 and the inventory calls it n2"),
    ("configuration", ERROR, dict(id="n 2"), "is no node id"),
    ("configuration", ERROR, dict(cluster_port="abc"), "aether_cluster_port is 'abc'"),
    ("configuration", ERROR, dict(cluster_port=65500), "65600 is not a port"),
    ("configuration", ERROR, dict(management_port=8090), "are both 8090"),
    ("configuration", ERROR, dict(app_http_port=8190), "the gossip port"),
    ("configuration", ERROR, dict(heap="2gb"), "like 512m or 4g"),
    ("configuration", ERROR, dict(gc="parallel"), "zgc or g1"),
    ("configuration", ERROR, dict(environment="prod"), "must be one of local"),
    ("configuration", ERROR, dict(content="[cluster\n"), "drop the whole file"),
    ("configuration", ERROR, dict(content="[cluster]\nnodes = 4\n"), "must be 3, 5 or 7"),
    ("lists", ERROR, dict(facts=dict(peers=["n1:a:1", "n2:b:1", "n3:c:1", "n8:d:1"])), "n2 runs with n8 in its list"),
    ("port_twice", ERROR, dict(address="10.0.0.1"), "n1 has its ports cluster 8090/udp, gossip 8190/udp, management 8080/tcp, app-http 8070/tcp under the same address"),
    ("port_privileged", ERROR, dict(management_port=443), "only root may open"),
    ("java", NOTE, dict(facts=dict(java_version=17)), "openjdk-25-jre-headless will be installed"),
    ("java", ERROR, dict(facts=dict(java_version=17), java_install=False), "'java' is Java 17, and this release needs Java 25"),
    ("java", ERROR, dict(facts=dict(java_version=0), java_install=False), "There is no Java under 'java'"),
    ("java", ERROR, dict(facts=dict(java_version=17), java="/opt/j/java"), "a package does not change what is under that path"),
    ("java", ERROR, dict(facts=dict(java_version=17, apt=False)), "Install it, name it with aether_java."),
    ("cores", WARNING, dict(facts=dict(cores=1)), "1 core and the profile development, the usual one for 3 nodes, wants 2"),
    ("cores", ERROR, dict(facts=dict(cores=7), profile="medium"), "aether_profile medium wants 8"),
    ("memory", WARNING, dict(facts=dict(memory_mb=3000)), "2.9 GB of memory and the profile development"),
    ("memory", ERROR, dict(facts=dict(memory_mb=14000), profile="medium"), "aether_profile medium wants 16"),
    ("profile", ERROR, dict(profile="huge"), "must be one of development, small, medium, large"),
    ("heap", ERROR, dict(heap="64g"), "does not fit into its memory of 65536 MB"),
    ("heap", WARNING, dict(heap="60g"), "more than 75 % of its memory"),
    ("disk", WARNING, dict(facts=dict(disks=[dict(path="/opt", free_mb=500, jar=True)])), "500 MB are free at /opt, less than aether_disk_mb (1024)"),
    ("disk", ERROR, dict(facts=dict(disks=[dict(path="/opt", free_mb=500, jar=True)]), profile="small"), "less than aether_disk_mb"),
    ("disk", ERROR, dict(facts=dict(disks=[dict(path="/opt", free_mb=15, jar=True)])), "too little for the JAR (10 MB)"),
    ("clock", ERROR, dict(facts=dict(clock=dict(sent=100.0, began=3700.4, ended=3700.6, received=101.0))), "about 3600 s ahead of the others'"),
    ("clock", ERROR, dict(facts=dict(clock=dict(sent=100.0, began=96.4, ended=96.6, received=101.0))), "about 4 s behind the others'"),
    ("unreachable", ERROR, dict(entry=dict(facts=None, unreachable="Connection timed out.")), "cannot be reached (Connection timed out), so"),
    ("left_out", NOTE, dict(entry=dict(facts=None, in_play=False)), "--limit leaves this host out"),
    ("jar", ERROR, dict(entry=dict(jar=dict(path="/j.jar", url="", wanted="a" * 64, found="b" * 64, size=1, trouble=""))), "is " + "b" * 64 + " and aether_jar_sha256 says " + "a" * 64),
    ("jar", ERROR, dict(entry=dict(jar=dict(path="/x.jar", url="", wanted="", found="", size=0, trouble="No such file"))), "cannot be read on the controller (No such file)"),
    ("jar", ERROR, dict(entry=dict(jar=dict(path="/x.jar", url="http://x", wanted="", found="", size=0, trouble=""))), "Both aether_jar and aether_jar_url"),
    ("jar", ERROR, dict(entry=dict(jar=dict(path="", url="http://x", wanted="abc", found="", size=0, trouble=""))), "64 hexadecimal digits"),
    ("not_judged", NOTE, dict(entry=dict(jar=dict(path="", url="", wanted="", found="", size=0, trouble=""))), "no JAR was judged"),
]


@pytest.mark.parametrize("code, level, change, part", FOUND, ids=["%s-%d" % (f[0], n) for n, f in enumerate(FOUND)])
def test_each_finding_comes_alone_and_says_what_is_wrong(code, level, change, part):
    found = judge(open_network(hosts(3, **change)))
    assert codes(found) == [code], lines(found)
    mine = [f for f in found if f.code == code]
    assert any(f.level == level and part in f.message for f in mine), lines(found)
    assert all(f.host in ("", "n2") for f in mine)


@pytest.mark.parametrize(
    "count, allow_even, leaving, level",
    [(1, False, (), ERROR), (2, False, (), ERROR), (4, False, (), ERROR), (4, True, (), NOTE), (6, True, (), NOTE), (8, True, (), ERROR), (9, False, (), ERROR), (4, False, ("n4",), None), (5, False, ("n4",), ERROR)],
)
def test_voters_are_three_five_or_seven(count, allow_even, leaving, level):
    found = [f for f in judge(open_network(hosts(count)), allow_even, leaving) if f.code == "voters"]
    assert [f.level for f in found] == ([level] if level else [])


def test_a_port_that_somebody_else_holds_is_named_with_its_holder_and_not_asked():
    entries = hosts(3)
    entries[1]["facts"]["ports"][0].update(state="other", process="nc", pid=42, unit="old.service")
    found = judge(open_network(entries))
    assert codes(found) == ["port_taken"] and "8090/udp is taken by nc (pid 42, unit old.service)" in one(found, "port_taken").message


def test_a_listener_that_was_left_behind_is_told_as_such():
    entries = hosts(3)
    entries[1]["facts"]["ports"][0].update(state="other", process=listening.LISTENER, pid=42)
    assert "Run this again in a minute" in one(judge(open_network(entries)), "port_taken").message


def test_a_port_that_cannot_be_opened_is_said_once():
    entries = hosts(3)
    entries[1]["listen_errors"] = [dict(name="management", error="Address already in use")]
    entries = Network(lambda *packet: False, silent=[("n2", "management")]).carry(entries)
    assert "Address already in use" in one(judge(entries), "port_taken").message and codes(judge(entries)) == ["port_taken"]


def test_clocks_that_the_time_on_the_way_explains_are_not_judged():
    entries = hosts(3, facts=dict(clock=dict(sent=100.0, began=104.0, ended=104.1, received=105.0)))
    assert judge(open_network(entries)) == []


def test_two_clocks_on_either_side_of_the_middle_are_found():
    entries = hosts(3)
    for number, shift in ((0, -1.9), (2, 1.9)):
        entries[number]["facts"]["clock"] = dict(sent=100.0, began=100.0 + shift, ended=100.0 + shift, received=100.0)
    entries[1]["facts"]["clock"] = dict(sent=100.0, began=100.0, ended=100.0, received=100.0)
    assert one(judge(open_network(entries)), "clock").host == "n3"


def test_releases_before_quic_are_asked_over_tcp_and_for_no_gossip():
    assert [(p.name, p.protocol) for p in named_ports(dict(cluster_port=8090, management_port=8080, app_http_port=8070, cluster_protocol="tcp"))] == [
        ("cluster", "tcp"), ("management", "tcp"), ("app-http", "tcp"),
    ]


def test_accepted_findings_are_warnings():
    found = judge(open_network(hosts(3, facts=dict(node_id="n9"))), accept=["id_changed"])
    assert [(f.code, f.level) for f in found] == [("id_changed", WARNING)] and "aether_preflight_accept" in found[0].message


def test_all_findings_come_at_once_errors_first():
    entries = hosts(4, id="n1", heap="lots", facts=dict(java_version=8, cores=1), java_install=False)
    found = judge(Network(lambda a, b, *packet: (a, b) == ("n1", "n3")).carry(entries))
    assert {"id_twice", "configuration", "java", "cores", "blocked"} <= set(codes(found))
    assert [f.level for f in found] == sorted([f.level for f in found], key=[ERROR, WARNING, NOTE].index)


def test_what_is_the_same_on_several_hosts_is_one_line():
    entries = [entry(h, facts=dict(cores=1)) for h in ("n1", "n2", "n3")]
    assert [line.split(":")[0] for line in lines(judge(open_network(entries)))] == ["WARNING (cores) n1, n2, n3"]


# --- who reaches whom ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["free", "service"])
def test_a_one_way_block_is_found_with_its_direction(state):
    entries = Network(lambda a, b, *packet: (a, b) == ("n1", "n2")).carry(hosts(3, state))
    found = one(reach_findings(entries), "blocked")
    assert (found.host, found.peer) == ("n1", "n2") and "one-way, from n1 to n2" in found.message
    assert "cluster 8090/udp" in found.message and "management 8080/tcp" in found.message


def test_one_port_blocked_one_way_names_only_that_port():
    entries = Network(lambda a, b, protocol, port, asking: asking and (a, b, protocol, port) == ("n1", "n2", "udp", 8190)).carry(hosts(3))
    message = one(reach_findings(entries), "blocked").message
    assert "n1 does not reach n2 (10.0.0.2) on gossip 8190/udp; the other way is open" in message and "cluster" not in message


def test_a_way_that_could_not_be_asked_is_not_called_open():
    entries = hosts(3)
    entries[0] = entry("n1", "service")
    Network(lambda a, b, protocol, port, asking: asking and (a, b, port) == ("n1", "n2", 8190)).carry(entries)
    message = one(reach_findings(entries), "blocked").message
    assert "n1 does not reach n2 (10.0.0.2) on gossip 8190/udp; the other way cannot be judged, since n1 answers no stranger there" in message and "open:" not in message


def test_answers_that_get_lost_are_held_against_the_way_back():
    entries = Network(lambda a, b, protocol, port, asking: not asking and (a, b, port) == ("n2", "n1", 8090)).carry(hosts(3))
    found = one(reach_findings(entries), "blocked")
    assert (found.host, found.peer) == ("n2", "n1") and "do not get back to n1" in found.message


def test_without_a_witness_a_silence_is_not_given_a_direction():
    entries = hosts(3, "service")
    for each in entries:
        each["facts"]["spare_port"] = 0
    found = [f for f in reach_findings(Network(lambda a, b, *packet: (a, b) == ("n1", "n2")).carry(entries)) if f.code == "blocked"]
    assert {(f.host, f.peer) for f in found} == {("n1", "n2"), ("n2", "n1")} and all("either of them may be lost" in f.message for f in found)


def test_a_service_that_is_silent_even_to_its_host_is_no_block():
    entries = Network(lambda *packet: False, silent=[("n2", "cluster")]).carry(hosts(3, "service"))
    found = [f for f in reach_findings(entries) if "QUIC" in f.message]
    assert [(f.code, f.level, f.host) for f in found] == [("not_judged", NOTE, "n2")]
    entries = Network(lambda *packet: False, silent=[("n2", "management")]).carry(hosts(3, "service"))
    assert one(reach_findings(entries), "no_answer").host == "n2" and "blocked" not in codes(reach_findings(entries))


def test_a_rejected_connection_and_an_unknown_name():
    entries = open_network(hosts(3))
    next(p for p in entries[0]["probes"] if (p["host"], p["name"]) == ("n2", "management"))["result"] = "refused"
    assert "management 8080/tcp (rejected)" in one(reach_findings(entries), "blocked").message
    entries = open_network(hosts(3))
    for probe in entries[0]["probes"]:
        if probe["host"] == "n2":
            probe.update(result="unresolved", detail="Name or service not known")
    assert "Name or service not known" in one(reach_findings(entries), "unresolved").message


NAMES = ["n1", "n2", "n3", "n4", "n5"]
PAIRS = [(a, b) for a in NAMES for b in NAMES if a != b]


@settings(max_examples=150, deadline=None)
@given(st.sets(st.sampled_from(PAIRS)), st.lists(st.sampled_from(["free", "service"]), min_size=5, max_size=5))
def test_every_blocked_ordered_pair_yields_exactly_one_finding_and_no_other_does(closed, states):
    entries = [entry(name, state) for name, state in zip(NAMES, states)]
    found = [f for f in judge(Network(lambda a, b, *packet: (a, b) in closed).carry(entries)) if f.level == ERROR]
    assert {f.code for f in found} <= {"blocked"}
    assert sorted((f.host, f.peer) for f in found) == sorted(closed)
    for f in found:
        assert ("one-way" in f.message) is ((f.peer, f.host) not in closed)


@settings(max_examples=150, deadline=None)
@given(st.sets(st.tuples(st.sampled_from(PAIRS), st.sampled_from([8090, 8190, 8080])), max_size=6))
def test_every_blocked_port_is_named_by_the_finding_of_its_pair_and_no_other(closed):
    """Filters that remember who asked: only the question is lost."""
    entries = [entry(name) for name in NAMES]
    found = reach_findings(Network(lambda a, b, protocol, port, asking: asking and ((a, b), port) in closed).carry(entries))
    assert {(f.host, f.peer) for f in found} == {pair for pair, _port in closed} and len(found) == len({pair for pair, _port in closed})
    for f in found:
        assert {port for port in (8090, 8190, 8080) if " %d/" % port in f.message} == {port for pair, port in closed if pair == (f.host, f.peer)}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_sound_cluster_of_any_shape_has_no_errors(data):
    count = data.draw(st.sampled_from([3, 5, 7]))
    rng = random.Random(data.draw(st.integers(0, 10**6)))
    entries = []
    for number in range(1, count + 1):
        state = rng.choice(["free", "service"])
        began = rng.uniform(100, 101)
        offset = rng.uniform(0, 1.9)
        made = entry("n%d" % number, state, cluster_port=rng.randrange(9000, 9050), management_port=rng.randrange(8000, 8050), app_http_port=rng.randrange(7000, 7050), heap=rng.choice(["256m", "4g"]), gc=rng.choice(["zgc", "g1"]))
        made["facts"]["clock"] = dict(sent=began - rng.uniform(0, 1), began=began + offset, ended=began + offset + 0.3, received=began + 0.3 + rng.uniform(0, 1))
        made["facts"]["node_id"] = "n%d" % number if state == "service" else ""
        entries.append(made)
    assert [f for f in judge(open_network(entries)) if f.level == ERROR] == []


# --- the operation and the filter ---------------------------------------------------------------------------------------


def params(entries, **changes):
    return parameters(operation, **dict(dict(hosts=entries, retired=[], connect_timeout=0.5, read_timeout=0.7), **changes))


def test_the_operation_reads_the_jar_and_fails_with_everything(tmp_path):
    jar = tmp_path / "aether-node.jar"
    jar.write_bytes(b"jar")
    entries = open_network([entry("n%d" % i, jar=str(jar), jar_sha256="0" * 64, facts=dict(node_id="n%d" % (i + 1 if i == 3 else i))) for i in (1, 2, 3)])
    with pytest.raises(AetherError) as caught:
        operation.run(params(entries), None)
    assert caught.value.kind == "preflight" and caught.value.data["codes"] == ["id_changed", "jar"]
    assert hashlib.sha256(b"jar").hexdigest() in caught.value.message and "The node on this host is n4" in caught.value.message
    report = operation.run(params(entries, on_errors="report"), None)
    assert report["ready"] is False and len(report["lines"]) == 2
    good = open_network([entry("n%d" % i, jar=str(jar), jar_sha256=hashlib.sha256(b"jar").hexdigest()) for i in (1, 2, 3)])
    assert operation.run(params(good), None)["ready"] is True
    json.dumps(report)


def test_nodes_that_run_say_what_the_key_may_do():
    keys = {"reading-key-000000": "VIEWER", "drain-key-00000000": "OPERATOR", "admin-key-00000000": "ADMIN"}
    with SimCluster(3, api_keys=keys) as cluster:
        cluster.key = "admin-key-00000000"
        cluster.start_all()
        places = {n: urlsplit(url) for n, url in cluster.endpoints.items()}
        running = [entry(n, address=p.hostname, management_port=str(p.port), facts=dict(active=True, node_id=n)) for n, p in places.items()]
        before = {n: node.store.entries.copy() for n, node in cluster.nodes.items()}

        def codes(entries=running, **changes):
            result = operation.run(params(entries, on_errors="report", **changes), None)
            assert not any(key in str(result) for key in keys)
            return [f["code"] for f in result["findings"] if f["code"] in ("key", "unauthorized", "tls") or f["message"].startswith("What the nodes")]

        for key, role, said in (
            ("reading-key-000000", "OPERATOR", ["key"]), ("drain-key-00000000", "OPERATOR", []), ("drain-key-00000000", "ADMIN", ["key"]), ("admin-key-00000000", "ADMIN", []),
            ("reading-key-000000", "VIEWER", []), ("no-key-of-theirs-0", "OPERATOR", ["unauthorized"] * 3), (None, "OPERATOR", ["unauthorized"] * 3),
        ):
            assert codes(key_role=role, api_key=key) == said, (key, role)
        secure = [dict(e, wants=dict(e["wants"], tls=True)) for e in running]
        assert codes([entry("n1", facts=dict(active=False))], key_role="ADMIN", api_key="reading-key-000000") == []  # nobody there to ask
        assert codes(running, key_role="OPERATOR", api_key="admin-key-00000000", cluster_secret="a secret", ca_path="both") == []  # plain HTTP needs none of them
        assert codes(secure, key_role="OPERATOR", cluster_secret="a secret", ca_path="both") == ["not_judged"]
        assert {n: node.store.entries for n, node in cluster.nodes.items()} == before


def test_the_filter_puts_together_what_there_is():
    look = dict(clock={"sent": 1}, changed=False, listen_errors=[3])
    hostvars = {
        "a": {"aether__wants": {"id": "n1"}, "aether__look": look, "aether__probed": {"probes": [1]}, "aether__heard": {"arrived": [2]}},
        "b": {"aether__look": {"unreachable": True, "msg": "timed out"}, "ansible_host": "10.0.0.9", "aether_node_id": "n2"},
        "c": {},
    }
    a, b, c = preflight_hosts(hostvars, ["a", "b", "c"], ["a", "b"])
    assert (a["facts"], a["probes"], a["arrived"], a["listen_errors"], a["in_play"]) == (look, [1], [2], [3], True)
    assert (b["facts"], b["unreachable"], b["wants"]["id"], b["wants"]["address"]) == (None, "timed out", "n2", "10.0.0.9")
    assert (c["in_play"], c["wants"]["id"], c["wants"]["management_port"]) == (False, "c", 8080)


def test_the_filters_say_whom_to_ask_and_whether_anybody_was_silent():
    facts = dict(entry("n1")["facts"], nonce="abc")
    hostvars = {"n%d" % i: {"aether__wants": {"id": "n%d" % i, "address": "10.0.0.%d" % i}, "aether__look": facts, "aether__probed": {"probes": [dict(result="ok")]}} for i in (1, 2)}
    asked = preflight_targets(hostvars, ["n1", "n2"])
    assert [(t["address"], t["name"], t["method"], t["nonce"]) for t in asked] == [(a, n, "listener", "abc") for a in ("10.0.0.1", "10.0.0.2") for n in ("cluster", "gossip", "management", "spare")]
    assert preflight_unanswered(hostvars, ["n1", "n2"]) is False
    assert preflight_unanswered(dict(hostvars, n3={}), ["n1", "n2", "n3"]) is True  # a host that asked nothing
    hostvars["n2"]["aether__probed"] = {"probes": [dict(result="ok"), dict(result="timeout")]}
    assert preflight_unanswered(hostvars, ["n1", "n2"]) is True


# --- the modules on this machine ----------------------------------------------------------------------------------------


def call(module, **arguments):
    """A module as Ansible runs it: its own process, arguments on standard input."""
    code = (
        "import json,sys\n"
        "from ansible.module_utils import basic\n"
        "basic._ANSIBLE_ARGS = sys.stdin.buffer.read()\n"
        "basic._ANSIBLE_PROFILE = 'legacy'\n"
        "from %s%s import main\nmain()\n" % (MODULES, module)
    )
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode(), capture_output=True, env=dict(os.environ, PYTHONPATH=":".join(p for p in sys.path if p)), timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def ports():
    cluster, management = free_ports()
    return [dict(name="cluster", protocol="udp", port=cluster), dict(name="management", protocol="tcp", port=management)]


def targets(ports, host="n2", address="127.0.0.1", method="listener", nonce="x"):
    return [dict(p, host=host, address=address, method=method, nonce=nonce) for p in ports]


def look(ports, **options):
    return call("aether_preflight_info", cluster_port=str(ports[0]["port"]), management_port=str(ports[1]["port"]), app_http_port="0", service="none", **options)


def with_nobodys(found, ports):
    """The targets of a host as it was seen: its own ports and the spare one."""
    gossip = dict(name="gossip", protocol="udp", port=ports[0]["port"] + 100)
    return targets([*ports, gossip, dict(name="spare", protocol="udp", port=found["spare_port"])], nonce=found["nonce"])


def free_again(ports):
    for port, kind in zip(ports, (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
        with socket.socket(socket.AF_INET, kind) as again:
            again.bind(("0.0.0.0", port["port"]))  # without SO_REUSEADDR: nothing of ours is left


def test_listen_probe_and_stop_know_each_other_and_leave_the_ports_free(ports):
    first = look(ports, listen=20, askers=2)
    assert (first["listen_errors"], {p["state"] for p in first["ports"]}) == ([], {"free"})
    taken = look(ports)  # waits for a moment, and then says who is there
    assert {p["process"] for p in taken["ports"]} == {listening.LISTENER} and taken["nonce"] == ""
    found = call("aether_reach_info", mode="probe", me="n1", targets=with_nobodys(first, ports))
    assert [(p["name"], p["result"]) for p in found["probes"]] == [(n, "ok") for n in ("cluster", "management", "gossip", "spare")]
    stranger = call("aether_reach_info", mode="probe", seconds=0.5, me="n1", targets=targets(ports, nonce="another"))
    assert {p["result"] for p in stranger["probes"]} == {"timeout"}
    heard = call("aether_reach_info", mode="stop", nonce=first["nonce"])["arrived"]
    assert sorted((h["host"], h["name"]) for h in heard) == [("n1", n) for n in ("cluster", "gossip", "management", "spare")]
    free_again(ports)
    assert call("aether_reach_info", mode="stop", nonce=first["nonce"])["arrived"] is None


def test_a_listener_that_has_heard_everybody_ends_by_itself_and_the_next_look_waits_for_it(ports):
    first = look(ports, listen=20, askers=2)
    for me in ("n1", "n2"):
        found = call("aether_reach_info", mode="probe", me=me, targets=with_nobodys(first, ports))
        assert {p["result"] for p in found["probes"]} == {"ok"}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stop = threading.Event()
        asking = threading.Thread(target=lambda: [stranger.sendto(b"hello", ("127.0.0.1", ports[0]["port"])) for _ in range(200) if not stop.wait(0.1)])
        asking.start()
        try:
            assert {p["state"] for p in look(ports)["ports"]} == {"free"}
        finally:
            stop.set()
            asking.join()
    free_again(ports)


def test_a_listener_that_has_heard_everybody_stays_for_one_who_still_asks(ports):
    """On a cable that loses packets the question arrives and the answer does not; ended by then, the listener would look like a block."""
    first = look(ports, listen=20, askers=1)
    call("aether_reach_info", mode="probe", me="n1", targets=with_nobodys(first, ports))
    question = listening.question(first["nonce"], "n1", "cluster")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        asker.connect(("127.0.0.1", ports[0]["port"]))
        for _again in range(4):
            threading.Event().wait(0.4 * listening.LINGER)
            asker.send(question)
            assert asker.recv(2 * listening.DATAGRAM) == question


def test_a_port_that_cannot_be_listened_on_is_named(ports):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.bind(("0.0.0.0", ports[1]["port"]))  # held, and yet no listener that could be seen
        found = look(ports, listen=0.1)
    assert [e["name"] for e in found["listen_errors"]] == ["management"]


def test_a_listener_that_nobody_stops_ends_by_itself(ports):
    first = look(ports, listen=0.3)
    threading.Event().wait(0.8)
    found = call("aether_reach_info", mode="probe", seconds=1, me="n1", targets=targets(ports, nonce=first["nonce"]))
    assert {p["result"] for p in found["probes"]} == {"refused"}


def test_a_name_that_does_not_resolve_and_a_silent_port(ports):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", ports[0]["port"]))
        found = call("aether_reach_info", mode="probe", seconds=0.4, targets=targets(ports[:1], "a", "no-such-name.invalid") + targets(ports[:1], "b", method="quic"))
    assert [(p["host"], p["result"]) for p in found["probes"]] == [("a", "unresolved"), ("b", "timeout")]


@pytest.mark.parametrize("right", [True, False])
def test_a_quic_server_is_told_by_the_versions_it_offers(ports, right):
    """The answer as RFC 8999 writes it: our source id is its destination, its source is our destination."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", ports[0]["port"]))
        server.settimeout(10)
        seen = []

        def answer():
            data, address = server.recvfrom(2000)
            seen.append(data)
            theirs, ours = data[6:14], data[15:23]
            server.sendto(b"\x80\0\0\0\0\x08" + (ours if right else theirs) + b"\x08" + theirs + b"\0\0\0\x01", address)

        thread = threading.Thread(target=answer)
        thread.start()
        found = call("aether_reach_info", mode="probe", seconds=0.6, targets=targets(ports[:1], method="quic"))
        thread.join()
    assert found["probes"][0]["result"] == ("ok" if right else "timeout")
    assert len(seen[0]) == 1200 and seen[0][0] & 0xC0 == 0xC0 and all(byte & 0x0F == 0x0A for byte in seen[0][1:5]) and seen[0][5] == seen[0][14] == 8


def test_what_a_host_offers(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        datagrams.bind(("127.0.0.1", 0))
        tcp, udp = listener.getsockname()[1], datagrams.getsockname()[1]
        facts = call(
            "aether_preflight_info", cluster_port=str(udp), management_port=str(tcp), app_http_port="abc", java="no-such-java", install_dir=str(tmp_path / "not" / "there"), data_dir=str(tmp_path),
            service="no-such-service",
        )
    by_name = {p["name"]: p for p in facts["ports"]}
    assert set(by_name) == {"cluster", "gossip", "management"}  # what is no port is left to the findings
    assert by_name["cluster"]["state"] == by_name["management"]["state"] == "other" and "python" in by_name["management"]["process"]
    assert facts["java_version"] == 0 and facts["node_id"] == "" and not facts["active"] and facts["spare_port"] >= 20000
    assert facts["cores"] >= 1 and facts["memory_mb"] > 100 and facts["clock"]["began"] <= facts["clock"]["ended"]
    assert [d["path"] for d in facts["disks"]] == [str(tmp_path), str(tmp_path)] and all(d["free_mb"] > 0 for d in facts["disks"])


def test_questions_of_others_are_not_answered():
    assert listening.asked(listening.question("abc", "n1", "cluster"), "abc") == ("n1", "cluster")
    assert listening.asked(listening.question("abc", "n1", "cluster"), "abd") is None and listening.asked(b"", "abc") is None and listening.asked(b"\xff" * 1200, "abc") is None


def jdk(folder, says, release):
    """Where its java is, which runs no virtual machine."""
    (folder / "bin").mkdir()
    java = folder / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"%s\" 2026-11-17' >&2\n" % says)
    java.chmod(0o755)
    if release:
        (folder / "release").write_text(release)
    return java


@pytest.mark.parametrize(
    ("says", "release", "version"),
    [
        ("21.0.1", 'IMPLEMENTOR="Debian"\nJAVA_VERSION="25.0.5.1"\nJAVA_VERSION_DATE="2026-11-17"\n', 25),
        ("21.0.1", 'JAVA_VERSION="1.8.0_402"\n', 8),
        ("21.0.1", "", 21),
        ("1.8.0_402", "NAME=something else\n", 8),
        ("nonsense", "", 0),
    ],
)
def test_the_version_of_java_is_what_its_jdk_says_or_else_what_it_says_itself(tmp_path, says, release, version):
    link = tmp_path / "java"
    (tmp_path / "jdk").mkdir()
    link.symlink_to(jdk(tmp_path / "jdk", says, release))  # as /usr/bin/java is one
    done = call("aether_host_info", java=str(link), install_dir=str(tmp_path), data_dir=str(tmp_path), service="no-such-service", user="nobody")
    assert done["java_version"] == version
