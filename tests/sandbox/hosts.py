#!/usr/bin/env python3
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disposable systemd hosts in network namespaces, with faults. Root only; README.md beside this file shows the verbs.

A host is a layer over one read-only Debian root, namespaces of its own, a cable to its pool's bridge, and in it real
systemd and sshd. Pools don't see each other. What belongs to a pool is named in /run/aether-sandbox/POOL/pool.json
before it is made, so that ``down`` finds it also when its creator died half-way.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterable, Iterator, Optional, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent))

from hosts_rootfs import CACHE, PATH, SandboxError, build, cgroup_root, ensure_machine, jar, javac, locked, rootfs, run, say, ssh_key, write  # noqa: E402

__all__ = ["CACHE", "CLI", "Pool", "SandboxError", "build", "jar", "javac", "main", "pools", "rootfs", "ssh_key", "wait_for"]  # what tests and the quickstart use

RUN = Path("/run/aether-sandbox")
LOCK = Path("/run/lock/aether-sandbox.lock")  # held while resources are made or removed, never during a boot
INIT = Path(__file__).resolve().parent / "hosts_init.py"
PYTHON = Path(__file__).resolve().parent / "hosts_python.py"
CLI = Path(__file__).resolve().parent / "node" / "aether-cli"  # of the simulated node with the runbook's API
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
NETWORKS = ["10.77.%d" % n for n in range(10, 250)]
FIRST_OCTET = 11  # .1 is the controller, this machine
DISK_SIZE = "4G"  # at most; a tmpfs takes what is written
BOOT_TIMEOUT = 60  # seconds; a boot takes one or two
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
# Joins the host's cgroup, then boots it again for as long as it ends by reboot(2): the process 1 of a pid namespace
# ends with SIGHUP then, which is 129 to a shell. A host that is off has no link: nobody refuses connections to it.
SUPERVISOR = """
cgroup=$1 netns=$2 python=$3 init=$4 root=$5 name=$6 veth=$7
echo $$ > "$cgroup/cgroup.procs" || exit 1
while :; do
  nsenter --net="$netns" unshare --mount --uts --ipc --pid --cgroup --fork --kill-child "$python" -I "$init" "$root" "$name"
  code=$?
  [ "$code" = 129 ] || break
  echo "== $name: reboot"
done
ip link set "$veth" down
echo "== $name: off, code $code"
"""
# A command joins the host's cgroup as well: it freezes and dies with the host.
INSIDE = """
cgroup=$1 pid=$2 path=$3; shift 3
echo $$ > "$cgroup/cgroup.procs" || exit 1
exec nsenter -t "$pid" -a -- env -i PATH="$path" HOME=/root LANG=C.UTF-8 "$@"
"""
SSH_OPTIONS = [
    "-F /dev/null",
    "-o StrictHostKeyChecking=no",
    "-o UserKnownHostsFile=/dev/null",
    "-o ControlMaster=auto",
    "-o ControlPersist=60s",
    "-o ServerAliveInterval=5",
    "-o ServerAliveCountMax=2",
    "-o ConnectTimeout=5",
]


def pools() -> list[Pool]:
    return [Pool(path.name) for path in sorted(RUN.glob("*")) if path.is_dir() and NAME.fullmatch(path.name)]


class Pool:
    """Hosts that see each other.

    ``facts`` (pool.json) hold ``network`` (three octets), ``hosts`` {name: last octet}, ``faults`` in force, ``online``
    and ``firewall_opened``; every command reads them anew, so that several processes can work on a pool.
    """

    def __init__(self, name: str):
        check_name(name, "pool")
        self.name = name
        self.path = RUN / name
        self.cgroup = cgroup_root() / "aether-sandbox" / name

    @property
    def exists(self) -> bool:
        return self.path.is_dir()

    @property
    def facts(self) -> dict:
        try:
            return json.loads((self.path / "pool.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SandboxError("There is no pool '%s'; 'hosts.py list' shows those that there are." % self.name) from None

    def _save(self, facts: dict) -> None:
        part = self.path / "pool.json.part"
        part.write_text(json.dumps(facts), encoding="utf-8")
        part.rename(self.path / "pool.json")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict]:
        """The facts, to be changed by nobody else meanwhile."""
        with locked(LOCK):
            facts = self.facts
            yield facts
            self._save(facts)

    # --- names and addresses

    def hosts(self) -> list[str]:
        return list(self.facts["hosts"])

    def octet(self, host: str) -> int:
        facts = self.facts
        if host not in facts["hosts"]:
            raise SandboxError("There is no host '%s' in pool '%s', only %s." % (host, self.name, ", ".join(facts["hosts"]) or "none at all"))
        return facts["hosts"][host]

    def ip(self, host: str) -> str:
        return "%s.%d" % (self.facts["network"], self.octet(host))

    def bridge(self) -> str:
        return "as" + self.facts["network"].rsplit(".", 1)[1]

    def veth(self, host: str) -> str:
        return "%s-%d" % (self.bridge(), self.octet(host))

    def netns(self, host: str) -> str:
        return "%s-%s" % (self.name, host)

    # --- life

    def up(self, hosts: Sequence[str], online: bool = True) -> dict[str, dict]:
        """Make and boot those of ``hosts`` that are missing or off; the pool is made with its first hosts.

        ``online``: the pool's hosts reach the world outside; decided when the pool is made.
        Returns ``describe(hosts)`` when all of them run. Raises SandboxError with the end of the console of one that doesn't.
        """
        build()
        for host in hosts:
            check_name(host, "host")
        with locked(LOCK):
            if not self.exists:
                self._create(online)
            facts = self.facts
            for host in hosts:
                if host not in facts["hosts"]:
                    facts["hosts"][host] = max([FIRST_OCTET - 1, *facts["hosts"].values()]) + 1
            self._save(facts)
            self._connect(facts)
            new = [host for host in facts["hosts"] if not (self.path / host / "made").exists() and not self.powered(host)]
            for host in new:
                self._remove_host(host)  # what an interrupted run left of it
                self._cable(host)
                self._disk(host)
                (self.path / host / "made").touch()
            if new:
                for host in facts["hosts"]:
                    self._write_names(host)
            for host in hosts:
                if not self.powered(host):
                    self._start(host)
        with ThreadPoolExecutor(max_workers=8) as workers:
            list(workers.map(self._wait, hosts))
        return self.describe(hosts)

    def _create(self, online: bool) -> None:
        """An empty pool with a network of its own. The directory appears with the facts in it."""
        RUN.mkdir(parents=True, exist_ok=True)
        if not (RUN / "ip_forward").exists():
            (RUN / "ip_forward").write_text(IP_FORWARD.read_text(encoding="utf-8"), encoding="utf-8")
        links = run("ip", "-brief", "link").stdout
        taken = {pool.facts["network"] for pool in pools()}
        free = (n for n in NETWORKS if n not in taken and not re.search(r"^as%s\b" % n.rsplit(".", 1)[1], links, re.M))
        network = next(free, None)
        if network is None:
            raise SandboxError("All networks of the sandbox (10.77.10 to 10.77.249) are in use; take pools down: hosts.py down --all")
        new = RUN / ("." + self.name)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        facts = {"network": network, "hosts": {}, "faults": [], "online": online, "firewall_opened": False}
        (new / "pool.json").write_text(json.dumps(facts), encoding="utf-8")
        new.rename(self.path)

    def _connect(self, facts: dict) -> None:
        """The bridge and the way out, where they are not there yet."""
        bridge, network = self.bridge(), facts["network"]
        if link_exists(bridge):
            return
        if not facts["firewall_opened"] and forwarding_is_refused():
            facts["firewall_opened"] = True
            self._save(facts)
            let_through(bridge, "-I")
        if facts["online"]:
            IP_FORWARD.write_text("1", encoding="utf-8")
            masquerade = ["ip saddr %s.0/24 ip daddr != %s.0/24 masquerade" % (network, network)]
            replace_table("ip", bridge + "_nat", "type nat hook postrouting priority srcnat", masquerade)
        ip_commands("link add %s type bridge" % bridge, "addr add %s.1/24 dev %s" % (network, bridge), "link set %s up" % bridge)

    def _cable(self, host: str) -> None:
        netns, veth = self.netns(host), self.veth(host)
        run("ip", "netns", "add", netns)
        ip_commands("link add %s type veth peer name eth0 netns %s" % (veth, netns), "link set %s master %s up" % (veth, self.bridge()))
        gateway = "%s.1" % self.facts["network"]
        ip_commands("link set lo up", "addr add %s/24 dev eth0" % self.ip(host), "link set eth0 up", "route add default via " + gateway, netns=netns)

    def _disk(self, host: str) -> None:
        folder = self.path / host
        disk, root = folder / "disk", folder / "root"
        disk.mkdir(parents=True)
        root.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=%s,mode=755" % DISK_SIZE, "sandbox-" + host, disk)
        (disk / "up").mkdir()
        (disk / "work").mkdir()
        layers = "lowerdir=%s,upperdir=%s,workdir=%s" % (rootfs(), disk / "up", disk / "work")
        run("mount", "-t", "overlay", "-o", layers, "sandbox-" + host, root)
        write(root / "etc/hostname", host + "\n")
        write(root / "etc/resolv.conf", name_servers())
        write(root / "usr/local/bin/aether-cli", CLI.read_text(encoding="utf-8"), 0o755)
        if os.environ.get("AETHER_SANDBOX_KEEP_COMPILED"):
            write(root / "usr/lib/python3/dist-packages/usercustomize.py", PYTHON.read_text(encoding="utf-8"))

    def _write_names(self, host: str) -> None:
        """Every host knows every host by name."""
        facts = self.facts
        lines = ["127.0.0.1 localhost", "::1 localhost", "%s.1 controller" % facts["network"]]
        lines += ["%s.%d %s" % (facts["network"], octet, name) for name, octet in facts["hosts"].items()]
        write(self.path / host / "root/etc/hosts", "\n".join(lines) + "\n")

    def _start(self, host: str) -> None:
        """Switch on. Returns when the supervisor is in its cgroup, so that nobody starts a second one."""
        group = self.cgroup / host
        if not remove_groups(group):  # what systemd left there when the host was on before
            return  # a creator that was killed since had switched it on: what it started goes on without it
        group.mkdir(parents=True)
        arguments = [str(group), "/run/netns/" + self.netns(host), sys.executable, str(INIT), str(self.path / host / "root"), host, self.veth(host)]
        run("ip", "link", "set", self.veth(host), "up")
        with open(self.path / host / "console.log", "w", encoding="utf-8") as console:
            supervisor = subprocess.Popen(
                ["sh", "-c", SUPERVISOR, "supervisor", *arguments], stdin=subprocess.DEVNULL, stdout=console, stderr=console, cwd="/", start_new_session=True
            )
        while not self.powered(host) and supervisor.poll() is None:
            time.sleep(0.002)

    def _wait(self, host: str) -> None:
        """Until systemd says that it has started everything, sshd included. Asked without the network: a fault may be in force."""
        end = time.monotonic() + BOOT_TIMEOUT
        while time.monotonic() < end and self.powered(host):
            if self.init_pid(host):
                with contextlib.suppress(SandboxError, subprocess.TimeoutExpired):
                    remaining = max(1.0, end - time.monotonic())
                    state = self.exec(host, "systemctl", "is-system-running", "--wait", check=False, timeout=remaining).stdout.strip()
                    if state == "degraded":
                        failed = self.exec(host, "systemctl", "--failed", "--plain", "--no-legend").stdout
                        say("host %s runs, but these units failed: %s" % (host, " ".join(line.split()[0] for line in failed.splitlines())))
                    if state in ("running", "degraded"):
                        return
            time.sleep(0.05)
        tail = "\n".join(self.console(host).splitlines()[-15:])
        raise SandboxError("Host %s of pool %s did not come up within %d s; its console ends with:\n%s" % (host, self.name, BOOT_TIMEOUT, tail))

    def powered(self, host: str) -> bool:
        """Whether anything runs in the host (or it is just booting)."""
        return populated(self.cgroup / host)

    def init_pid(self, host: str) -> Optional[int]:
        """The host's systemd as this machine counts; None when it does not run (yet)."""
        for procs in sorted((self.cgroup / host).rglob("cgroup.procs")):
            with contextlib.suppress(OSError):
                for pid in procs.read_text(encoding="utf-8").split():
                    status = Path("/proc", pid, "status").read_text(encoding="utf-8")
                    if re.search(r"^Name:\s+systemd$", status, re.M) and re.search(r"^NSpid:.*\t1$", status, re.M):
                        return int(pid)
        return None

    def exec(self, host: str, *command: str, check: bool = True, **options) -> subprocess.CompletedProcess:
        """Run a command in the host, as root and without ssh; options as for subprocess.run."""
        return run(*self.inside(host, command), check=check, **options)

    def inside(self, host: str, command: Sequence[str]) -> list[str]:
        """The words of a command on this machine that runs ``command`` in the host."""
        self.octet(host)
        pid = self.init_pid(host)
        if pid is None:
            raise SandboxError("Host %s of pool %s is off; switch it on: hosts.py boot %s %s" % (host, self.name, self.name, host))
        return ["sh", "-c", INSIDE, "exec", str(self.cgroup / host), str(pid), PATH, *command]

    def kill(self, host: str) -> None:
        """Power loss: every process and the link are gone at once, the disk stays."""
        run("ip", "link", "set", self.veth(host), "down")
        kill_group(self.cgroup / host)

    def boot(self, host: str) -> None:
        """Switch a host on again, with the disk that it had."""
        with locked(LOCK):
            self.octet(host)
            if self.powered(host):
                raise SandboxError("Host %s of pool %s is on already." % (host, self.name))
            self._start(host)
        self._wait(host)

    def freeze(self, host: str, frozen: bool = True) -> None:
        """Stop every process of the host where it stands, or let them go on."""
        self.octet(host)
        if not self.powered(host):
            raise SandboxError("Host %s of pool %s is off; only a running host can be frozen." % (host, self.name))
        (self.cgroup / host / "cgroup.freeze").write_text("1" if frozen else "0", encoding="utf-8")
        wait_for(lambda: "frozen %d" % frozen in (self.cgroup / host / "cgroup.events").read_text(encoding="utf-8"), "Host %s does not freeze or thaw" % host)

    def thaw(self, host: str) -> None:
        self.freeze(host, False)

    def console(self, host: str) -> str:
        self.octet(host)
        return (self.path / host / "console.log").read_text(encoding="utf-8", errors="replace")

    def down(self) -> None:
        """Remove the pool and everything that belongs to it; nothing happens when there is none."""
        with locked(LOCK):
            if self.exists:
                self._remove()
            shutil.rmtree(RUN / ("." + self.name), ignore_errors=True)
            if RUN.is_dir() and not pools():
                with contextlib.suppress(FileNotFoundError):
                    IP_FORWARD.write_text((RUN / "ip_forward").read_text(encoding="utf-8"), encoding="utf-8")
                with contextlib.suppress(OSError):
                    self.cgroup.parent.rmdir()
                shutil.rmtree(RUN)

    def _remove(self) -> None:
        kill_group(self.cgroup)
        facts, bridge = self.facts, self.bridge()
        for host in facts["hosts"]:
            self._remove_host(host)
        run("ip", "link", "del", bridge, check=False)
        for family, table in (("ip", bridge + "_nat"), ("ip", bridge + "_ssh"), ("bridge", bridge)):
            run("nft", "delete", "table", family, table, check=False)
        if facts.get("firewall_opened"):
            let_through(bridge, "-D")
        while not remove_groups(self.cgroup):
            kill_group(self.cgroup)  # who was just about to join it
        shutil.rmtree(self.path)

    def _remove_host(self, host: str) -> None:
        """Whatever there is of a host that is off."""
        folder = self.path / host
        run("ip", "netns", "del", self.netns(host), check=False)
        run("ip", "link", "del", self.veth(host), check=False)
        for target in (folder / "root", folder / "disk"):
            while target.is_mount():
                if run("umount", target, check=False).returncode:
                    run("umount", "--lazy", target)
        shutil.rmtree(folder, ignore_errors=True)

    # --- faults

    def fault(self, kind: str, ones: Iterable[str], others: Iterable[str] = (), **more) -> None:
        """Add a fault to those in force.

        ``kind``: ``cut`` (both ways between ones and others), ``cut1`` (only from ones to others), ``lossy`` (both ways,
        with ``percent``), ``ssh`` (this machine's ssh to ones). ``udp``, ``tcp``: only packets to this port.
        """
        ones, others = list(ones), list(others)
        for host in [*ones, *others]:
            self.octet(host)
        with self._changing() as facts:
            facts["faults"].append(dict(kind=kind, ones=ones, others=others, **more))
            self._enforce(facts["faults"])

    def isolate(self, host: str) -> None:
        """Cut a host off from all others of the pool; this machine still reaches it."""
        self.fault("cut", [host], [other for other in self.hosts() if other != host])

    def ssh_cut(self, host: str) -> None:
        """This machine's ssh to the host is lost, open connections included; all else goes on."""
        self.fault("ssh", [host])

    def heal(self) -> None:
        """Remove every fault of the network."""
        with self._changing() as facts:
            facts["faults"] = []
            self._enforce([])

    def _enforce(self, faults: Sequence[dict]) -> None:
        on_the_bridge, to_ssh = [], []
        for fault in faults:
            if fault["kind"] == "ssh":
                to_ssh += ["ip daddr %s tcp dport 22 drop" % self.ip(host) for host in fault["ones"]]
                continue
            ones, others = ("{ %s }" % ", ".join('"%s"' % self.veth(host) for host in side) for side in (fault["ones"], fault["others"]))
            match = "".join(" %s dport %d" % (protocol, fault[protocol]) for protocol in ("udp", "tcp") if fault.get(protocol))
            if fault["kind"] == "lossy":
                match += " numgen random mod 100 < %d" % fault["percent"]
            on_the_bridge.append("iifname %s oifname %s%s drop" % (ones, others, match))
            if fault["kind"] != "cut1":
                on_the_bridge.append("iifname %s oifname %s%s drop" % (others, ones, match))
        replace_table("bridge", self.bridge(), "type filter hook forward priority 0", on_the_bridge)
        replace_table("ip", self.bridge() + "_ssh", "type filter hook output priority 0", to_ssh)

    # --- what others need to know

    def describe(self, hosts: Optional[Sequence[str]] = None) -> dict[str, dict]:
        return {
            host: {
                "ip": self.ip(host),
                "user": "root",
                "port": 22,
                "key": str(ssh_key()),
                "netns": self.netns(host),
                "veth": self.veth(host),
                "running": self.init_pid(host) is not None,
            }
            for host in (hosts or self.hosts())
        }

    def inventory(self, hosts: Sequence[str] = (), variables: Optional[dict] = None) -> dict:
        """An Ansible inventory: the group ``aether_nodes`` with ``hosts`` (by default all), and variables for all of them."""
        common = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(ssh_key()),
            "ansible_ssh_common_args": " ".join(SSH_OPTIONS),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        entries = {host: {"ansible_host": self.ip(host)} for host in (hosts or self.hosts())}
        return {"aether_nodes": {"hosts": entries, "vars": dict(common, **(variables or {}))}}


# --- small tools --------------------------------------------------------------------------------------------------------


def check_name(name: str, what: str) -> None:
    if not NAME.fullmatch(name):
        raise SandboxError("'%s' cannot name a %s: use a-z, 0-9 and '-', at most 31 characters." % (name, what))


def wait_for(condition, otherwise: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SandboxError("%s within %d s." % (otherwise, seconds))
        time.sleep(0.01)


def ip_commands(*lines: str, netns: Optional[str] = None) -> None:
    run("ip", *(["-n", netns] if netns else []), "-batch", "-", input="\n".join(lines) + "\n")


def link_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def replace_table(family: str, name: str, hook: str, rules: Sequence[str]) -> None:
    """One transaction, so that a fault in force isn't lifted while another is added. No rules: no table."""
    text = "table %s %s\ndelete table %s %s\n" % (family, name, family, name)
    if rules:
        text += "table %s %s {\n chain sandbox {\n %s; policy accept\n %s\n }\n}\n" % (family, name, hook, "\n ".join(rules))
    run("nft", "-f", "-", input=text)


def forwarding_is_refused() -> bool:
    """A container engine or a firewall lets this machine forward nothing by default, which hits bridges as well."""
    if shutil.which("iptables", path=PATH) is None:
        return False
    return "-P FORWARD DROP" in run("iptables", "-w", "-S", "FORWARD", check=False).stdout


def let_through(bridge: str, action: str) -> None:
    for direction in ("-i", "-o"):
        run("iptables", "-w", action, "FORWARD", direction, bridge, "-j", "ACCEPT", check=False)


def name_servers() -> str:
    """This machine's resolv.conf; where that names a resolver on the loopback, the one behind it."""
    text = Path("/etc/resolv.conf").read_text(encoding="utf-8") if Path("/etc/resolv.conf").exists() else ""
    behind = Path("/run/systemd/resolve/resolv.conf")
    return behind.read_text(encoding="utf-8") if re.search(r"^nameserver\s+127\.", text, re.M) and behind.exists() else text


def populated(group: Path) -> bool:
    try:
        return "populated 1" in (group / "cgroup.events").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def kill_group(group: Path) -> None:
    if group.is_dir():
        (group / "cgroup.kill").write_text("1", encoding="utf-8")
        wait_for(lambda: not populated(group), "Processes in %s do not end" % group)


def remove_groups(group: Path) -> bool:
    """A cgroup and all below it; false when a process is in them."""

    def removed() -> bool:
        for folder, _folders, _files in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not group.exists()

    wait_for(lambda: populated(group) or removed(), "The cgroup %s cannot be removed" % group)
    return not group.exists()


def to_yaml(value: object, depth: int = 0) -> str:
    """Mappings as indented lines, all else as JSON, which is YAML."""
    if not isinstance(value, dict) or not value:
        return " %s\n" % json.dumps(value)
    lines = "".join("%s%s:%s" % ("  " * depth, key, to_yaml(item, depth + 1)) for key, item in value.items())
    return "\n" + lines if depth else lines


def variable(text: str) -> tuple[str, object]:
    """NAME=VALUE of the command line; true, false, numbers, lists and mappings as such, anything else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise SandboxError("'%s' is no variable; write --var NAME=VALUE." % text)
    if re.fullmatch(r"true|false|\d{1,9}|[\[{].*", value):
        with contextlib.suppress(ValueError):
            return name, json.loads(value)
    return name, value


# --- the command line ---------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="hosts.py", description=(__doc__ or "").splitlines()[0])
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, *arguments: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        for argument in arguments:
            sub.add_argument(argument)
        return sub

    verb("build", "make the hosts' root file system, once").add_argument("--force", action="store_true", help="also when there is one")
    sub = verb("jar", "build the simulated node's JAR and print its path")
    sub.add_argument("out", nargs="?", type=Path, help="copy it here")
    sub.add_argument("--api", choices=["v1", "runbook"], default="v1", help="which API the node has; by default %(default)s")
    sub.add_argument("--release", default="", help="a word that goes into it, for another checksum")
    sub = verb("javac", "compile with the hosts' JDK")
    sub.add_argument("source", type=Path, help="folder with *.java")
    sub.add_argument("output", type=Path, help="folder for the classes")
    sub = verb("up", "make and boot hosts, or add some to a pool", "pool")
    sub.add_argument("hosts", nargs="+", metavar="host")
    sub.add_argument("--offline", action="store_true", help="a new pool whose hosts reach only each other and this machine")
    sub = verb("down", "remove a pool, or all")
    sub.add_argument("pool", nargs="?")
    sub.add_argument("--all", action="store_true")
    verb("list", "show the hosts of a pool, or of all pools").add_argument("pool", nargs="?")
    sub = verb("inventory", "print an Ansible inventory", "pool")
    sub.add_argument("hosts", nargs="*", metavar="host", help="by default all of the pool")
    sub.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="a variable for all hosts")
    sub.add_argument("--out", type=Path, help="write it here instead")
    sub = verb("exec", "run a command in a host, without ssh", "pool", "host")
    sub.add_argument("command", nargs=argparse.REMAINDER)
    for name, text in (
        ("kill", "power loss"),
        ("boot", "switch on again, with the disk that it had"),
        ("freeze", "stop every process of a host"),
        ("thaw", "let them go on"),
        ("isolate", "cut a host off from all others of the pool"),
        ("ssh-cut", "drop this machine's ssh to a host"),
        ("log", "print a host's console"),
    ):
        verb(name, text, "pool", "host")
    for name, text in (("cut", "drop everything between A and B (comma lists)"), ("cut1", "drop everything from A to B"), ("lossy", "drop some packets between A and B")):
        sub = verb(name, text, "pool", "a", "b")
        if name == "lossy":
            sub.add_argument("percent", type=int, nargs="?", default=30)
        for protocol in ("udp", "tcp"):
            sub.add_argument("--" + protocol, type=int, metavar="PORT", help="only %s to this port" % protocol.upper())
    verb("heal", "remove every fault of the network", "pool")
    return top


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        ensure_machine()
        return act(options)
    except SandboxError as error:
        say(str(error))
        return 1


def act(options: argparse.Namespace) -> int:
    verb = options.verb
    if verb == "build":
        print(build(options.force))
    elif verb == "jar":
        made = jar(options.release, options.api)
        print(shutil.copyfile(made, options.out) if options.out else made)
    elif verb == "javac":
        javac(options.source, options.output)
    elif verb == "list" and options.pool is None:
        print(json.dumps({pool.name: pool.describe() for pool in pools()}, indent=2))
    elif verb == "down":
        if options.all == bool(options.pool):
            raise SandboxError("Say which pool to take down, or --all.")
        for pool in pools() if options.all else [Pool(options.pool)]:
            pool.down()
    else:
        return act_on(Pool(options.pool), verb, options)
    return 0


def act_on(pool: Pool, verb: str, options: argparse.Namespace) -> int:
    if verb == "up":
        print(json.dumps(pool.up(options.hosts, online=not options.offline), indent=2))
    elif verb == "list":
        print(json.dumps(pool.describe(), indent=2))
    elif verb == "inventory":
        text = to_yaml(pool.inventory(options.hosts, dict(variable(text) for text in options.var)))
        if options.out:
            write(options.out, text)
        else:
            sys.stdout.write(text)
    elif verb == "exec":
        # Taken over by the command: its input, output, signals and exit code are this program's.
        command = pool.inside(options.host, options.command)
        os.execvp(command[0], command)
    elif verb == "log":
        sys.stdout.write(pool.console(options.host))
    elif verb in ("cut", "cut1", "lossy"):
        more = {name: value for name in ("udp", "tcp", "percent") if (value := getattr(options, name, None))}
        pool.fault(verb, options.a.split(","), options.b.split(","), **more)
    elif verb == "heal":
        pool.heal()
    else:
        getattr(pool, verb.replace("-", "_"))(options.host)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
