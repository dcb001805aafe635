# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What preflight.yml finds on real hosts, all at once, without leaving a trace; and that it is content once things are mended."""

from __future__ import annotations

import re

import pytest
from lab import Lab

THREE, FOUR = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4"]
# Every file of the host's disk that is newer than the host, with size and time; without what ssh and systemd write by themselves.
FILES = "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /var/log -o -path /var/lib/systemd \\) -prune -o -type f -newer /etc/hostname -printf '%p %s %T@ %m %u\\n' | sort"
FOUND = re.compile(r'"(ERROR|WARNING|NOTE) \((\w+)\)([^:]*): ')
FAKE_JAVA = "#!/bin/sh\necho 'openjdk version \"17.0.1\" 2021-10-19' >&2\n"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    with Lab("t-preflight", FOUR, tmp_path_factory.mktemp("preflight"), time_factor=0.2, stateless="never", formation="ok") as made:
        yield made


@pytest.fixture(scope="module")
def formed(tmp_path_factory):
    """Three members, and a host that is to come."""
    with Lab("t-preflight-run", FOUR, tmp_path_factory.mktemp("preflight"), time_factor=0.2, stateless="never", formation="ok") as made:
        made.form(THREE)
        yield made


@pytest.fixture
def lab(fresh):
    yield fresh
    fresh.pool.heal()


@pytest.fixture
def cluster(formed):
    yield formed
    formed.pool.heal()


def found(result, level="ERROR"):
    """{(code, "n1, n2")} of what was shown at this level."""
    return {(code, names.strip()) for shown, code, names in FOUND.findall(result.output) if shown == level}


def clean(lab, names=THREE, *arguments, **variables):
    result = lab.play("preflight", names, *arguments, **variables)
    assert "Ready: %d hosts, 0 errors" % len(names) in result.text and not found(result), result.tail()
    assert result.changed == 0
    for host in names:
        lab.wait(lambda: "aether-preflight" not in lab.pool.exec(host, "cat", "/proc/net/unix").stdout, "the listener of %s to end by itself" % host, 3)
    return result


def files(lab, names=FOUR):
    return {h: lab.pool.exec(h, "sh", "-c", FILES).stdout for h in names}


def test_fresh_hosts_are_ready_and_nothing_is_left_on_them(lab):
    clean(lab)  # what a first login leaves
    before = files(lab)
    assert all("aether-sim.json" in shown for shown in before.values())  # so it would see a file
    clean(lab)
    clean(lab, THREE, "--check")
    assert files(lab) == before
    for host in THREE:
        assert "AnsiballZ" not in lab.pool.exec(host, "ps", "-eo", "args").stdout  # no listener either
        assert "aether-preflight" not in lab.pool.exec(host, "cat", "/proc/net/unix").stdout


def test_a_user_with_sudo_is_enough(lab):
    clean(lab, THREE, *lab.of_hosts(**{h: {"ansible_user": "ansible"} for h in THREE}))


@pytest.mark.fault("known beforehand", "everything from one host to another is blocked, one-way")
def test_a_one_way_block_is_found_with_its_direction(lab):
    lab.pool.fault("cut1", ["n1"], ["n2"])
    result = lab.play("preflight", THREE, ok=False)
    assert found(result) == {("blocked", "n1")}
    assert (
        "n1 does not reach n2 (%s) on cluster 8090/udp, gossip 8190/udp, management 8080/tcp; the other way is open: the block is one-way, from n1 to n2" % lab.ips["n2"] in result.text
    ), result.tail()
    lab.pool.heal()
    clean(lab)


@pytest.mark.fault("known beforehand", "a single port is blocked, one-way")
def test_a_single_port_blocked_one_way_is_named(lab):
    lab.pool.fault("cut1", ["n3"], ["n1"], udp=8190)
    result = lab.play("preflight", THREE, ok=False)
    assert found(result) == {("blocked", "n3")} and "n3 does not reach n1 (%s) on gossip 8190/udp; the other way is open" % lab.ips["n1"] in result.text


@pytest.mark.fault("known beforehand", "everything between two hosts is blocked, two-way")
def test_a_two_way_block_is_found_from_both_sides(lab):
    lab.pool.fault("cut", ["n1"], ["n2"])
    result = lab.play("preflight", THREE, "--check", ok=False)
    assert found(result) == {("blocked", "n1"), ("blocked", "n2")}
    assert "nor does n2 reach n1" in result.text and "nor does n1 reach n2" in result.text and "one-way" not in result.text


@pytest.mark.fault("known beforehand", "one packet in ten is lost")
def test_a_lossy_cable_is_no_block(lab):
    """In either direction; of more, the kernel's own three questions for an address would too often be lost."""
    lab.pool.fault("lossy", ["n1"], ["n2"], percent=10)
    clean(lab)


@pytest.mark.fault("known beforehand", "a clock is an hour off")
def test_a_wrong_clock_is_found(lab):
    """The sandbox has one clock for all; the Python of one host is told another time."""
    lab.pool.exec("n3", "sh", "-c", "mkdir -p /opt/late && cat > /opt/late/sitecustomize.py", input="import time\nreal = time.time\ntime.time = lambda: real() - 3600\n")
    lab.pool.exec("n3", "sh", "-c", "cat > /opt/late/python3 && chmod 755 /opt/late/python3", input='#!/bin/sh\nPYTHONPATH=/opt/late exec /usr/bin/python3 "$@"\n')
    late = lab.of_hosts(n3={"ansible_python_interpreter": "/opt/late/python3"})
    result = lab.play("preflight", THREE, *late, ok=False)
    assert found(result) == {("clock", "n3")} and re.search(r"Its clock is about 3(599|600|601) s behind the others'", result.text)
    clean(lab, THREE, *late, aether_preflight_accept=["clock"])
    clean(lab)


@pytest.mark.fault("known beforehand", "eight things are wrong at once")
def test_everything_wrong_at_once_is_one_list_and_mended_it_is_gone(lab):
    lab.pool.exec("n2", "sh", "-c", "cat > /usr/local/bin/java17 && chmod 755 /usr/local/bin/java17", input=FAKE_JAVA)
    lab.pool.exec("n3", "systemd-run", "--unit=squatter", "python3", "-m", "http.server", "8080")
    lab.wait(lambda: ":1F90 " in lab.pool.exec("n3", "cat", "/proc/net/tcp").stdout, "the squatter")
    lab.pool.fault("cut1", ["n1"], ["n2"])
    lab.pool.kill("n4")
    before = files(lab, THREE)
    wrong = lab.of_hosts(n2={"aether_java": "/usr/local/bin/java17"}, n3={"aether_node_id": "n2", "aether_gc": "parallel"})
    result = lab.play("preflight", FOUR, *wrong, ok=False, aether_jar_sha256="0" * 64)
    assert files(lab, THREE) == before
    assert found(result) == {
        ("id_twice", ""), ("voters", ""), ("unreachable", "n4"), ("configuration", "n3"), ("port_taken", "n3"), ("java", "n2"), ("jar", ""), ("blocked", "n1"),
    }, result.tail()
    for part in (
        "The node id n2 belongs to n2 and n3", "4 voters, an even number", "8080/tcp is taken by python3", "unit squatter.service", "'/usr/local/bin/java17' is Java 17, and this release needs Java 25",
        "aether_jar_sha256 says " + "0" * 64, "aether_gc is 'parallel'", "one-way, from n1 to n2",
    ):
        assert part in result.text, part
    lab.pool.exec("n3", "systemctl", "stop", "squatter")
    lab.pool.heal()
    lab.pool.boot("n4")
    assert found(lab.play("preflight", FOUR, ok=False)) == {("voters", "")}
    assert ("voters", "") in found(clean(lab, FOUR, aether_allow_even=True), "NOTE")
    clean(lab)


@pytest.mark.fault("known beforehand", "everything from a new host to a member is blocked, one-way", play=2, then=None)
@pytest.mark.fault("known beforehand", "the management port between two running members is blocked, one-way", play=3)
def test_a_running_cluster_and_a_host_that_is_to_come(cluster):
    clean(cluster)
    result = clean(cluster, FOUR, aether_allow_even=True)
    assert ("not_judged", "n1, n2, n3") in found(result, "NOTE")  # gossip in use
    assert all(cluster.runs(h) for h in THREE)
    with cluster.witness() as witness:
        cluster.pool.fault("cut1", ["n4"], ["n1"])
        result = cluster.play("preflight", FOUR, ok=False, aether_allow_even=True)
    cluster.judge(witness)
    assert found(result) == {("blocked", "n4")} and "the block is one-way, from n4 to n1" in result.text, result.tail()
    cluster.pool.heal()
    cluster.pool.fault("cut1", ["n1"], ["n3"], tcp=8080)
    result = cluster.play("preflight", THREE, ok=False)
    assert found(result) == {("blocked", "n1")} and "n1 does not reach n3 (%s) on management 8080/tcp; the other way is open" % cluster.ips["n3"] in result.text


@pytest.mark.fault("known beforehand", "the cluster port between two running members is blocked, from {source} to {target}")
@pytest.mark.parametrize("source, target", [("n1", "n3"), ("n3", "n2")])
def test_a_one_way_block_of_the_cluster_port_between_two_running_members_is_found(cluster, source, target):
    """QUIC answers a version that nobody speaks, so the port is judged although it is in use."""
    cluster.pool.fault("cut1", [source], [target], udp=8090)
    result = cluster.play("preflight", THREE, ok=False)
    assert ("blocked", source) in found(result) and "%s does not reach %s (%s) on cluster 8090/udp" % (source, target, cluster.ips[target]) in result.text, result.tail()
    assert "one-way, from %s to %s" % (source, target) in result.text
    cluster.pool.heal()
    cluster.wait(lambda: all(cluster.at_one(h, THREE) for h in THREE), "the members to find each other again")
    clean(cluster)


@pytest.mark.fault("known beforehand", "the inventory gives a member another id than its node has", play=(0, 1))
def test_an_id_that_is_not_that_of_the_running_node_is_refused(cluster):
    result = cluster.play("preflight", THREE, *cluster.of_hosts(n3={"aether_node_id": "n7"}), ok=False)
    assert found(result) == {("id_changed", "n3"), ("lists", "")} and "The node on this host is n3 and the inventory calls it n7" in result.text
    cluster.pool.exec("n3", "systemctl", "stop", "aether")
    result = cluster.play("preflight", THREE, *cluster.of_hosts(n3={"aether_node_id": "n7"}), ok=False)
    assert ("id_changed", "n3") in found(result)  # its unit says so, too
    cluster.pool.exec("n3", "systemctl", "start", "aether")
    cluster.wait(lambda: cluster.has_state("n3"), "n3 to be back")
    clean(cluster)


@pytest.mark.fault("known beforehand", "ssh to a host is lost")
def test_a_dead_host_and_one_left_out_are_named(cluster):
    cluster.pool.ssh_cut("n2")
    result = cluster.play("preflight", THREE, ok=False)
    assert found(result) == {("unreachable", "n2")} and ("not_judged", "n1, n3") in found(result, "NOTE")
    cluster.pool.heal()
    result = cluster.play("preflight", THREE, "--limit", "n1,n2")
    assert ("left_out", "n3") in found(result, "NOTE")
