# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sandbox's hosts themselves: real ones, so as root. Without root these tests fail and say so."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import hosts
import pytest
from hosts import Pool, SandboxError, run

pytestmark = pytest.mark.sandbox

COMMAND = [sys.executable, hosts.__file__]
SSH = ["ssh", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=2"]


def ssh(facts, *command, user="root"):
    return run(*SSH, "-i", facts["key"], "%s@%s" % (user, facts["ip"]), *command, check=False, timeout=20)


def reaches(pool, one, other, count=1):
    """How many of ``count`` pings get an answer."""
    done = pool.exec(one, "ping", "-c", str(count), "-i", "0.02", "-W", "1", other, check=False)
    return int(re.search(r"(\d+) received", done.stdout).group(1))


def traces(name):
    """Whatever of a pool can be found on this machine, without asking the pool."""
    found = [line for line in run("ip", "netns").stdout.splitlines() if line.startswith(name + "-")]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if "/%s/" % name in line]
    found += [str(path) for path in (hosts.RUN / name, hosts.RUN / ("." + name), hosts.cgroup_root() / "aether-sandbox" / name) if path.exists()]
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = cmdline.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(b"/run/aether-sandbox/%s/" % name.encode() in word for word in words):
            found.append(b" ".join(words).decode())
    return found


def links_and_tables(bridge):
    links = [line.split()[0] for line in run("ip", "-brief", "link").stdout.splitlines()]
    tables = run("nft", "list", "tables").stdout.split("\n")
    return [name for name in links + tables if re.search(r"\b%s\b|\b%s[-_]" % (bridge, bridge), name)]


@pytest.fixture(scope="module")
def pool():
    """Three hosts for all tests that leave them as they were."""
    pool = Pool("h-%d" % os.getpid())
    try:
        pool.up(["n1", "n2", "n3"])
        yield pool
    finally:
        pool.down()


@pytest.fixture
def healed(pool):
    yield pool
    pool.heal()


def test_hosts_run_systemd_and_let_both_users_in(pool):
    for host, facts in pool.describe().items():
        assert ssh(facts, "systemctl", "is-system-running").stdout.strip() == "running"
        assert ssh(facts, "sudo", "hostname", user="ansible").stdout.strip() == host
    assert oct(Path(facts["key"]).stat().st_mode & 0o777) == "0o600"


def test_hosts_find_each_other_by_name(pool):
    for one in pool.hosts():
        for other in pool.hosts():
            assert reaches(pool, one, other)
            assert pool.exec(one, "getent", "hosts", other).stdout.split()[0] == pool.ip(other)


def test_up_again_changes_nothing(pool):
    before = {host: pool.init_pid(host) for host in pool.hosts()}
    assert set(pool.up(["n1", "n2", "n3"])) == set(before)
    assert {host: pool.init_pid(host) for host in pool.hosts()} == before


def test_a_host_cannot_change_the_machine(pool):
    assert pool.exec("n1", "sysctl", "-w", "vm.max_map_count=65531", check=False).returncode != 0
    assert pool.exec("n1", "sh", "-c", "echo 0 > /sys/kernel/mm/ksm/run", check=False).returncode != 0
    assert pool.exec("n1", "sysctl", "-w", "net.ipv4.ip_default_ttl=63").returncode == 0  # its own network is its own


def test_cut_both_ways_and_heal(healed):
    healed.fault("cut", ["n1", "n2"], ["n3"])
    assert [reaches(healed, *pair) for pair in (("n1", "n3"), ("n3", "n2"))] == [0, 0]
    assert reaches(healed, "n1", "n2")
    assert ssh(healed.describe()["n3"], "true").returncode == 0
    healed.heal()
    assert reaches(healed, "n1", "n3")
    assert "table bridge %s" % healed.bridge() not in run("nft", "list", "tables").stdout


def receives(pool, sender, receiver, port):
    """Does a datagram from one host arrive at another's port?"""
    listen = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(1.0); s.bind(('', %d)); print('bound', flush=True); print(s.recv(9))" % port
    listener = subprocess.Popen(pool.inside(receiver, ["python3", "-c", listen]), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert listener.stdout.readline() == "bound\n"
    pool.exec(sender, "python3", "-c", "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'hello', ('%s', %d))" % (pool.ip(receiver), port))
    return "hello" in listener.communicate(timeout=10)[0]


def test_cut_one_way_and_one_port(healed):
    healed.fault("cut1", ["n1"], ["n2"], udp=8190)
    assert not receives(healed, "n1", "n2", 8190)
    assert receives(healed, "n1", "n2", 8090)
    assert receives(healed, "n2", "n1", 8190)
    healed.fault("cut1", ["n1"], ["n2"])  # on top of the other
    assert not receives(healed, "n1", "n2", 8090)
    assert receives(healed, "n2", "n1", 8090)


def test_lossy(healed):
    healed.fault("lossy", ["n1"], ["n2"], percent=30)
    assert 10 <= reaches(healed, "n1", "n2", count=60) <= 50  # about half: each ping needs two packets
    assert reaches(healed, "n1", "n3", count=10) == 10


def test_isolate(healed):
    healed.isolate("n2")
    assert [reaches(healed, *pair) for pair in (("n1", "n2"), ("n2", "n3"), ("n1", "n3"))] == [0, 0, 1]
    assert ssh(healed.describe()["n2"], "true").returncode == 0


def test_ssh_lost_while_all_else_goes_on(healed):
    facts = healed.describe()
    server = subprocess.Popen(healed.inside("n2", ["python3", "-m", "http.server", "8080"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        healed.ssh_cut("n2")
        assert ssh(facts["n2"], "true").returncode == 255
        assert ssh(facts["n1"], "true").returncode == 0
        assert reaches(healed, "n1", "n2")
        assert run("curl", "--silent", "--fail", "--max-time", "5", "--retry", "5", "--retry-connrefused", "--retry-delay", "1", "--noproxy", "*", "http://%s:8080/" % facts["n2"]["ip"]).stdout
        healed.heal()
        assert ssh(facts["n2"], "true").returncode == 0
    finally:
        server.kill()
        server.wait()
        healed.exec("n2", "pkill", "-f", "http.server", check=False)


def test_freeze_and_thaw(pool):
    pool.freeze("n3")
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            pool.exec("n3", "true", timeout=1)
        assert reaches(pool, "n1", "n3")  # the kernel still answers, no process does
    finally:
        pool.thaw("n3")
    assert ssh(pool.describe()["n3"], "true").returncode == 0


def test_power_loss_and_boot_keep_the_disk_and_the_faults(healed):
    healed.exec("n2", "sh", "-c", "echo kept > /var/lib/mark; echo lost > /run/mark")
    healed.ssh_cut("n2")
    healed.kill("n2")
    assert healed.describe()["n2"]["running"] is False
    assert reaches(healed, "n1", "n2") == 0
    with pytest.raises(SandboxError, match="Host n2 of pool .* is off; switch it on: hosts.py boot"):
        healed.exec("n2", "true")
    healed.boot("n2")
    assert healed.exec("n2", "cat", "/var/lib/mark").stdout == "kept\n"
    assert healed.exec("n2", "test", "-e", "/run/mark", check=False).returncode == 1
    assert ssh(healed.describe()["n2"], "true").returncode == 255
    with pytest.raises(SandboxError, match="is on already"):
        healed.boot("n2")


def test_reboot_from_inside(pool):
    before = pool.init_pid("n1")
    pool.exec("n1", "systemctl", "reboot", check=False)
    end = time.monotonic() + 20
    while pool.init_pid("n1") in (before, None) and time.monotonic() < end:
        time.sleep(0.1)
    pool.up(["n1"])  # waits for what is booting
    assert pool.init_pid("n1") != before
    assert "== n1: reboot" in pool.console("n1")


def test_power_off_from_inside_and_up_again(pool):
    pool.exec("n1", "systemctl", "poweroff", check=False)
    hosts.wait_for(lambda: not pool.powered("n1"), "n1 is not off", 20)
    assert pool.up(["n1"])["n1"]["running"] is True


def test_grow_a_pool_and_two_pools_at_once(pool):
    other = Pool(pool.name + "-b")
    try:
        added = pool.up(["n4", "n5"])
        other.up(["n1"], online=False)
        assert sorted(added) == ["n4", "n5"]
        assert reaches(pool, "n1", "n5") and reaches(pool, "n4", "n2")
        assert pool.bridge() != other.bridge()
        tables = run("nft", "list", "tables").stdout.split()
        assert pool.bridge() + "_nat" in tables
        assert other.bridge() + "_nat" not in tables  # offline
    finally:
        other.down()
    assert traces(other.name) == []
    assert reaches(pool, "n1", "n4")


def test_inventory_for_some_hosts(pool, tmp_path):
    out = tmp_path / "hosts.yml"
    run(*COMMAND, "inventory", pool.name, "n1", "n3", "--var", "aether_jar=/tmp/node.jar", "--var", "aether_allow_even=true", "--out", out)
    listed = json.loads(run(Path(sys.executable).with_name("ansible-inventory"), "-i", out, "--list").stdout)
    assert listed["aether_nodes"]["hosts"] == ["n1", "n3"]
    facts = listed["_meta"]["hostvars"]["n3"]
    assert (facts["ansible_host"], facts["aether_jar"], facts["aether_allow_even"]) == (pool.ip("n3"), "/tmp/node.jar", True)
    ping = run(Path(sys.executable).with_name("ansible"), "-i", out, "-m", "ansible.builtin.ping", "aether_nodes").stdout
    assert ping.count("SUCCESS") == 2


def test_the_command_line_passes_output_and_exit_code_on(pool):
    done = run(*COMMAND, "exec", pool.name, "n1", "sh", "-c", "cat; exit 7", input="through\n", check=False)
    assert (done.stdout, done.returncode) == ("through\n", 7)
    done = run(*COMMAND, "kill", pool.name, "n9", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("sandbox: There is no host 'n9' in pool '%s', only n1, n2, n3" % pool.name)


def test_javac_and_jar_from_the_root_file_system(tmp_path):
    (tmp_path / "Hello.java").write_text("final class Hello {}\n")
    hosts.javac(tmp_path, tmp_path / "classes")
    assert (tmp_path / "classes" / "Hello.class").read_bytes()[6:8] == bytes([0, 69])  # Java 25's version
    run(*COMMAND, "jar", tmp_path / "node.jar")
    assert (tmp_path / "node.jar").read_bytes()[:2] == b"PK"


def test_down_leaves_nothing():
    pool = Pool("h-%d-x" % os.getpid())
    forwarding = hosts.IP_FORWARD.read_text()
    pool.up(["a", "b"])
    bridge = pool.bridge()
    pool.fault("cut", ["a"], ["b"])
    pool.ssh_cut("a")
    pool.freeze("b")
    background = subprocess.Popen(pool.inside("a", ["sleep", "1000"]))
    time.sleep(0.2)
    pool.down()
    assert background.wait(5) != 0  # it went with its host
    assert traces(pool.name) == []
    assert links_and_tables(bridge) == []
    assert hosts.RUN.exists() or hosts.IP_FORWARD.read_text() == forwarding
    pool.down()  # again is nothing


@pytest.mark.parametrize("after", [0.1, 0.25, 0.4, 0.6, 0.9])
def test_a_pool_whose_creator_was_killed_can_be_finished_or_removed(after):
    pool = Pool("h-%d-k" % os.getpid())
    creator = subprocess.Popen([*COMMAND, "up", pool.name, "a", "b", "c"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(after)
        creator.send_signal(signal.SIGKILL)
        creator.wait()
        if after in (0.25, 0.6):  # go on instead
            pool.up(["a", "b", "c"])
            assert reaches(pool, "a", "c")
    finally:
        bridge = pool.bridge() if pool.exists else "none"
        run(*COMMAND, "down", pool.name)
    assert traces(pool.name) == []
    assert links_and_tables(bridge) == []


def test_down_all_takes_every_pool_of_its_directory(tmp_path, monkeypatch):
    # A directory of its own: other people's pools on this machine are none of this test's business.
    monkeypatch.setattr(hosts, "RUN", tmp_path / "run")
    ones = [Pool("h-%d-%s" % (os.getpid(), letter)) for letter in "pq"]
    for one in ones:
        one.up(["a"], online=False)
    assert [one.name for one in hosts.pools()] == [one.name for one in ones]
    assert hosts.main(["down", "--all"]) == 0
    assert hosts.pools() == []
    for one in ones:
        assert traces(one.name) == []
    assert hosts.main(["down"]) == 1


def test_without_root_one_sentence(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match="need root.*run the same command with sudo"):
        hosts.ensure_machine()


def test_names_that_cannot_be():
    with pytest.raises(SandboxError, match="cannot name a pool"):
        Pool("No/Name")
    with pytest.raises(SandboxError, match="cannot name a host"):
        Pool("h-none").up(["../x"])
    assert not Pool("h-none").exists
