#!/usr/bin/env python3
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disposable systemd hosts in network namespaces, with faults. Root only; see README.md.

A host is an overlay on one read-only Debian root, its own namespaces, a cable to a bridge, real systemd and sshd.
Everything of a pool lives under /run/aether-sandbox/POOL and is gone after ``down``.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence

HERE = Path(__file__).resolve().parent
RUN = Path("/run/aether-sandbox")
LOCK = Path("/run/lock/aether-sandbox.lock")
CACHE = Path(os.environ.get("AETHER_SANDBOX_CACHE") or Path.home() / ".cache" / "aether-sandbox")
SUITE = "trixie"
NETWORKS = ["10.77.%d" % n for n in range(10, 250)]
FIRST_OCTET = 11
REBOOT = 129  # a pid namespace whose init called reboot(2) ends with SIGHUP
BOOT_TIMEOUT = 60
NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,30}$")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What the machine needs, by the command that a package brings.
PACKAGES = {"mmdebstrap": "mmdebstrap", "nft": "nftables", "ip": "iproute2", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "unshare": "util-linux", "setpriv": "util-linux", "zstd": "zstd"}
INCLUDE = "systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,iproute2,iputils-ping,ca-certificates,nftables,procps,sudo,curl,kmod,openjdk-25-jdk-headless"
# Units that make no sense without hardware, or cost time at boot.
MASKED = """console-getty.service getty.target getty@tty1.service systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service
systemd-resolved.service systemd-timesyncd.service systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service
systemd-modules-load.service systemd-sysctl.service modprobe@.service modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service
modprobe@loop.service modprobe@dm_mod.service modprobe@fuse.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
e2scrub_reap.service fstrim.timer systemd-firstboot.service systemd-remount-fs.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount
sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount systemd-journal-flush.service systemd-update-utmp.service
systemd-update-utmp-runlevel.service""".split()
DROPPED_CAPABILITIES = "-sys_time,-sys_module,-sys_rawio,-mac_admin,-mac_override,-wake_alarm,-block_suspend"
SSH = ["-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]


class SandboxError(Exception):
    """One sentence: what, where, what to do."""


def run(*command, check=True, **options) -> subprocess.CompletedProcess:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if check and done.returncode:
        raise SandboxError("'%s' failed: %s" % (" ".join(map(str, command)), (done.stderr or done.stdout).strip()[-500:]))
    return done


# --- the machine ----------------------------------------------------------------------------------------------------

def ensure_machine() -> None:
    """Root, cgroup2 and the packages; installs the packages that are missing."""
    if os.geteuid() != 0:
        raise SandboxError("The sandbox hosts need root; run it again with sudo.")
    cgroup_root()
    missing = sorted({package for command, package in PACKAGES.items() if shutil.which(command, path=PATH) is None})
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        missing.append("debian-archive-keyring")
    if missing:
        install_packages(missing)


def install_packages(packages: Sequence[str]) -> None:
    if shutil.which("apt-get") is None:
        raise SandboxError("These are missing: %s. Install them; only Debian and Ubuntu are done by itself." % ", ".join(packages))
    say("installing Debian packages: %s" % ", ".join(packages))
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if run(*install, check=False, env=environment).returncode:
        run("apt-get", "update", env=environment)
        run(*install, env=environment)


def cgroup_root() -> Path:
    """Where cgroup2 is mounted: the whole hierarchy, or beside version 1."""
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == "cgroup2":
                return Path(fields[1])
    raise SandboxError("No cgroup2 is mounted; mount one: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified")


def say(text: str) -> None:
    print("sandbox: %s" % text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- the root that all hosts share -------------------------------------------------------------------------------------

def rootfs() -> Path:
    return CACHE / ("rootfs-%s" % SUITE)


def ssh_key() -> Path:
    key = CACHE / "id_ed25519"
    if not key.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "aether-sandbox", "-f", key)
    return key


def build(force: bool = False) -> Path:
    """The shared root; about half a minute the first time."""
    ensure_machine()
    with locked(CACHE / "lock"):
        key, root = ssh_key(), rootfs()
        if (root / ".complete").exists() and not force:
            return root
        say("building the hosts' root file system (once, about half a minute)")
        start = time.monotonic()
        part = CACHE / "rootfs.part"
        shutil.rmtree(part, ignore_errors=True)
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        main, security = mirrors()
        sources = ["deb [signed-by=%s] %s %s main" % (keyring, main, suite) for suite in (SUITE, SUITE + "-updates")]
        sources.append("deb [signed-by=%s] %s %s-security main" % (keyring, security, SUITE))
        environment = dict(os.environ, AETHER_SANDBOX_KEY=str(key) + ".pub")
        done = run(
            "mmdebstrap", "--mode=root", "--variant=minbase", "--include=" + INCLUDE,
            "--aptopt=Acquire::Languages \"none\"", "--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Check-Valid-Until \"false\"",
            "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-include=/usr/share/man/man1", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--essential-hook=mkdir -p \"$1/usr/share/man/man1\"",  # without it the JDK's post-installation fails
            "--customize-hook=%s %s _customize \"$1\"" % (sys.executable, Path(__file__).resolve()),
            SUITE, part, *sources, check=False, env=environment,
        )
        if done.returncode:
            raise SandboxError("The root file system could not be built: %s" % done.stderr.strip()[-800:])
        shutil.rmtree(root, ignore_errors=True)
        (part / ".complete").touch()
        part.rename(root)
        say("built in %.0f s" % (time.monotonic() - start))
        return root


def mirrors():
    """(main, security) archives as this machine's own apt uses them, else the public ones."""
    uris = set(run("apt-get", "indextargets", "--format", "$(REPO_URI)", check=False).stdout.split())
    main = sorted(u for u in uris if re.search(r"/debian/?$", u))
    security = sorted(u for u in uris if re.search(r"/debian-security/?$", u))
    return (main or ["http://archive.example/debian"])[0], (security or ["http://archive.example/debian-security"])[0]


def _customize(folder: str) -> None:
    """Called by mmdebstrap: users, keys, and units that a host without hardware does not need."""
    root, key = Path(folder), Path(os.environ["AETHER_SANDBOX_KEY"]).read_text(encoding="utf-8")
    run("chroot", root, "useradd", "-m", "-s", "/bin/bash", "ansible")
    for home, owner in ((root / "root", "root"), (root / "home/ansible", "ansible")):
        (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
        (home / ".ssh/authorized_keys").write_text(key, encoding="utf-8")
        (home / ".ssh/authorized_keys").chmod(0o600)
        run("chroot", root, "chown", "-R", "%s:%s" % (owner, owner), "/%s/.ssh" % home.relative_to(root))
    write(root / "etc/sudoers.d/ansible", "ansible ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    write(root / "etc/ssh/sshd_config.d/10-sandbox.conf", "UseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nGSSAPIAuthentication no\nMaxStartups 100:30:200\nMaxSessions 100\n")
    write(root / "etc/systemd/journald.conf.d/10-sandbox.conf", "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nRuntimeMaxUse=64M\n")
    write(root / "etc/systemd/system.conf.d/10-sandbox.conf", "[Manager]\nDefaultTimeoutStopSec=15s\nLogColor=no\nShowStatus=no\n")
    write(root / "etc/machine-id", "")
    for name in ("var/lib/dbus/machine-id", "etc/hostname", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)
    for unit in MASKED:
        link(root / "etc/systemd/system" / unit, "/dev/null")
    link(root / "etc/systemd/system/default.target", "/lib/systemd/system/multi-user.target")


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def compile_in_rootfs(source: Path, output: Path) -> None:
    """javac from the hosts' own JDK, so that this machine needs none."""
    script = 'mount --bind "$1" "$2/mnt" && mount -t proc proc "$2/proc" && exec chroot "$2" sh -c "cd /mnt && javac --release 25 -d /mnt/out /mnt/src/*.java"'
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(source, Path(folder) / "src")
        (Path(folder) / "out").mkdir()
        run("unshare", "--mount", "sh", "-c", script, "sh", folder, rootfs())
        for path in (Path(folder) / "out").iterdir():
            shutil.copy(path, output)


def jar(release: str = "") -> Path:
    """The simulated node as a JAR, built when its sources changed."""
    sys.path.insert(0, str(HERE / "node"))
    import jar as packing

    digest = packing.sources_digest(release)
    out = CACHE / "jar" / ("aether-node-%s.jar" % digest[:12])
    if not out.exists():
        build()
        packing.build_jar(out, compile_in_rootfs, release)
    return out


# --- pools ----------------------------------------------------------------------------------------------------------------

class Pool:
    """Hosts that see each other. ``facts``: network, bridge, host -> last octet, faults in force."""

    def __init__(self, name: str):
        if not NAME.match(name):
            raise SandboxError("'%s' is no name for a pool: use up to 30 of a-z, 0-9 and '-'." % name)
        self.name, self.path = name, RUN / name
        self.cgroup = cgroup_root() / "aether-sandbox" / name

    # facts on disk: another process goes on with the pool

    @property
    def exists(self) -> bool:
        return self.path.is_dir()

    @property
    def facts(self) -> dict:
        try:
            return json.loads((self.path / "pool.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SandboxError("There is no pool '%s'; 'pool.py list' shows what there is." % self.name)

    def save(self, facts: dict) -> None:
        part = self.path / "pool.json.part"
        part.write_text(json.dumps(facts), encoding="utf-8")
        part.rename(self.path / "pool.json")

    def number(self) -> str:
        return self.facts["network"].rsplit(".", 1)[1]

    def bridge(self) -> str:
        return "as" + self.number()

    def veth(self, host: str) -> str:
        return "as%s-%d" % (self.number(), self.octet(host))

    def octet(self, host: str) -> int:
        try:
            return self.facts["hosts"][host]
        except KeyError:
            raise SandboxError("There is no host '%s' in pool '%s'." % (host, self.name))

    def ip(self, host: str) -> str:
        return "%s.%d" % (self.facts["network"], self.octet(host))

    def netns(self, host: str) -> str:
        return "%s-%s" % (self.name, host)

    def hosts(self) -> List[str]:
        return list(self.facts["hosts"])

    # life

    def up(self, hosts: Sequence[str], online: bool = True) -> Dict[str, dict]:
        """Create and boot what is missing; hosts may be added later."""
        build()
        for host in hosts:
            if not NAME.match(host):
                raise SandboxError("'%s' is no host name: use up to 30 of a-z, 0-9 and '-'." % host)
        if not self.exists:
            self._create(online)
        facts = self.facts
        new = [h for h in hosts if h not in facts["hosts"]]
        for host in new:
            facts["hosts"][host] = max([FIRST_OCTET - 1, *facts["hosts"].values()]) + 1
        self.save(facts)
        for host in new:
            self._cable(host)
            self._disk(host)
        if new:
            for host in self.hosts():
                self._names(host)
        booting = [h for h in hosts if not self.init_pid(h)]
        for host in booting:
            self._boot(host)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._wait, booting))
        return self.describe(hosts)

    def _create(self, online):
        with locked(LOCK):
            RUN.mkdir(parents=True, exist_ok=True)
            if not (RUN / "ip_forward").exists():
                (RUN / "ip_forward").write_text(Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="utf-8"), encoding="utf-8")
            taken = {p.facts["network"] for p in pools()}
            links = run("ip", "-o", "link").stdout
            network = next(n for n in NETWORKS if n not in taken and " as%s:" % n.rsplit(".", 1)[1] not in links)
            self.path.mkdir()
            self.save({"network": network, "hosts": {}, "faults": []})
        bridge = self.bridge()
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "addr", "add", network + ".1/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        if online:
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="utf-8")
            nft("table ip %s_nat {\n chain post {\n type nat hook postrouting priority srcnat\n ip saddr %s.0/24 ip daddr != %s.0/24 masquerade\n }\n}\n" % (bridge, network, network))

    def _cable(self, host):
        veth, netns, network = self.veth(host), self.netns(host), self.facts["network"]
        run("ip", "netns", "add", netns)
        run("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", netns)
        run("ip", "link", "set", veth, "master", self.bridge(), "up")
        for command in ("link set lo up", "addr add %s/24 dev eth0" % self.ip(host), "link set eth0 up", "route add default via %s.1" % network):
            run("ip", "-n", netns, *command.split())

    def _disk(self, host):
        folder = self.path / host
        for name in ("disk", "root"):
            (folder / name).mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", "size=4G,mode=755", "sandbox-" + host, folder / "disk")
        for name in ("up", "work"):
            (folder / "disk" / name).mkdir()
        run("mount", "-t", "overlay", "sandbox-" + host, "-o", "lowerdir=%s,upperdir=%s/disk/up,workdir=%s/disk/work" % (rootfs(), folder, folder), folder / "root")
        write(folder / "root/etc/hostname", host + "\n")
        shutil.copyfile(os.path.realpath("/etc/resolv.conf"), folder / "root/etc/resolv.conf")

    def _names(self, host):
        lines = ["127.0.0.1 localhost", "::1 localhost", "%s.1 controller" % self.facts["network"]]
        write(self.path / host / "root/etc/hosts", "\n".join(lines + ["%s %s" % (self.ip(h), h) for h in self.hosts()]) + "\n")

    def _boot(self, host):
        log = open(self.path / host / "console.log", "a", encoding="utf-8")
        group = self.cgroup / host
        group.mkdir(parents=True, exist_ok=True)
        with log, open(os.devnull, encoding="utf-8") as nothing:
            subprocess.Popen([sys.executable, str(Path(__file__).resolve()), "_supervise", self.name, host], stdin=nothing, stdout=log, stderr=log, cwd="/", start_new_session=True)

    def _wait(self, host):
        end = time.monotonic() + BOOT_TIMEOUT
        while time.monotonic() < end:
            done = run("ssh", *SSH, "-o", "ConnectTimeout=2", "-i", ssh_key(), "root@" + self.ip(host), "systemctl is-system-running --wait", check=False)
            if done.stdout.strip() in ("running", "degraded"):
                return
            time.sleep(0.05)
        tail = "\n".join((self.path / host / "console.log").read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise SandboxError("Host %s of pool %s did not come up within %d s:\n%s" % (host, self.name, BOOT_TIMEOUT, tail))

    def init_pid(self, host: str) -> Optional[int]:
        """The host's systemd as this machine sees it; None when the host is off."""
        for procs in (self.cgroup / host).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                for pid in procs.read_text(encoding="utf-8").split():
                    status = Path("/proc/%s/status" % pid).read_text(encoding="utf-8")
                    if re.search(r"^Name:\s+systemd$", status, re.M) and re.search(r"^NSpid:.*\t1$", status, re.M):
                        return int(pid)
        return None

    def kill(self, host: str) -> None:
        """Power loss: every process of the host is gone at once, its disk stays."""
        self.octet(host)
        self._kill(self.cgroup / host)

    def _kill(self, group: Path):
        if not group.is_dir():
            return
        (group / "cgroup.kill").write_text("1", encoding="utf-8")
        for _ in range(500):
            if "populated 0" in (group / "cgroup.events").read_text(encoding="utf-8"):
                return
            time.sleep(0.01)
        raise SandboxError("Processes of %s do not die." % group)

    def boot(self, host: str) -> None:
        if self.init_pid(host):
            raise SandboxError("Host %s is running." % host)
        self._kill(self.cgroup / host)
        remove_groups(self.cgroup / host)
        self._boot(host)
        self._wait(host)

    def freeze(self, host: str, frozen: bool = True) -> None:
        self.octet(host)
        (self.cgroup / host / "cgroup.freeze").write_text("1" if frozen else "0", encoding="utf-8")

    def exec(self, host: str, *command: str, check: bool = True, **options) -> subprocess.CompletedProcess:
        """Run inside the host without ssh."""
        pid = self.init_pid(host)
        if pid is None:
            raise SandboxError("Host %s is not running." % host)
        return run("nsenter", "-t", pid, "-a", "--", "env", "-i", "PATH=" + PATH, "HOME=/root", "LANG=C.UTF-8", *command, check=check, **options)

    def down(self) -> None:
        if not self.exists:
            return
        with contextlib.suppress(SandboxError, OSError):
            self.freeze_all(False)
        self._kill(self.cgroup)
        for folder in sorted(p for p in self.path.iterdir() if p.is_dir()):
            run("ip", "netns", "del", self.netns(folder.name), check=False)
            for name in ("root", "disk"):
                run("umount", folder / name, check=False)
        with contextlib.suppress(SandboxError):
            bridge = self.bridge()
            for host in self.hosts():
                run("ip", "link", "del", self.veth(host), check=False)
            run("ip", "link", "del", bridge, check=False)
            for family, table in (("ip", bridge + "_nat"), ("ip", bridge + "_ssh"), ("bridge", bridge)):
                run("nft", "delete", "table", family, table, check=False)
        remove_groups(self.cgroup)
        shutil.rmtree(self.path)
        with locked(LOCK):
            if not pools():
                with contextlib.suppress(OSError):
                    Path("/proc/sys/net/ipv4/ip_forward").write_text((RUN / "ip_forward").read_text(encoding="utf-8"), encoding="utf-8")
                remove_groups(self.cgroup.parent)
                shutil.rmtree(RUN)

    def freeze_all(self, frozen):
        for host in self.hosts():
            self.freeze(host, frozen)

    # faults

    def fault(self, kind: str, ones: Iterable[str], others: Iterable[str] = (), **more) -> None:
        """Add a fault: ``cut`` (both ways), ``cut1`` (one way), ``lossy`` (``percent``), ``ssh`` (controller's ssh only).

        ``udp``/``tcp``: only packets to this port.
        """
        facts = self.facts
        facts["faults"].append(dict(kind=kind, ones=list(ones), others=list(others), **more))
        self.save(facts)
        self._apply_faults()

    def heal(self) -> None:
        facts = self.facts
        facts["faults"] = []
        self.save(facts)
        self._apply_faults()

    def isolate(self, host: str) -> None:
        """Cut off from every other host; the controller still reaches it."""
        self.fault("cut", [host], [h for h in self.hosts() if h != host])

    def _apply_faults(self):
        bridge, rules, ssh = self.bridge(), [], []
        for fault in self.facts["faults"]:
            port = "".join(" %s dport %s" % (p, fault[p]) for p in ("udp", "tcp") if fault.get(p))
            action = "%s numgen random mod 100 < %d drop" % (port, fault["percent"]) if fault["kind"] == "lossy" else port + " drop"
            ones, others = ("{ %s }" % ", ".join('"%s"' % self.veth(h) for h in side) for side in (fault["ones"], fault["others"]))
            if fault["kind"] == "ssh":
                ssh.extend("ip daddr %s tcp dport 22 drop" % self.ip(h) for h in fault["ones"])
                continue
            rules.append("iifname %s oifname %s%s" % (ones, others, action))
            if fault["kind"] in ("cut", "lossy"):
                rules.append("iifname %s oifname %s%s" % (others, ones, action))
        replace_table("bridge", bridge, "type filter hook forward priority 0; policy accept", rules)
        replace_table("ip", bridge + "_ssh", "type filter hook output priority 0; policy accept", ssh)

    # what others use

    def describe(self, hosts: Optional[Sequence[str]] = None) -> Dict[str, dict]:
        return {h: {"ip": self.ip(h), "user": "root", "port": 22, "key": str(ssh_key()), "netns": self.netns(h), "running": self.init_pid(h) is not None} for h in hosts or self.hosts()}

    def inventory(self, hosts: Sequence[str] = (), variables: Optional[dict] = None) -> dict:
        """An Ansible inventory: the group aether_nodes with ``hosts`` (by default all)."""
        common = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(ssh_key()),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": "-F /dev/null -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlMaster=auto -o ControlPersist=60s -o ConnectTimeout=5 -o ServerAliveInterval=5 -o ServerAliveCountMax=2",
        }
        entries = {h: {"ansible_host": self.ip(h)} for h in hosts or self.hosts()}
        return {"aether_nodes": {"hosts": entries, "vars": dict(common, **(variables or {}))}}


def pools() -> List[Pool]:
    return [Pool(p.parent.name) for p in sorted(RUN.glob("*/pool.json"))]


def nft(rules: str) -> None:
    run("nft", "-f", "-", input=rules)


def replace_table(family: str, name: str, hook: str, rules: Sequence[str]) -> None:
    run("nft", "delete", "table", family, name, check=False)
    if rules:
        nft("table %s %s {\n chain faults {\n %s\n %s\n }\n}\n" % (family, name, hook, "\n ".join(rules)))


def remove_groups(group: Path) -> None:
    for _ in range(100):
        folders = sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True) if group.is_dir() else []
        for folder in [*folders, group]:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if not group.is_dir():
            return
        time.sleep(0.02)


# --- inside: from this machine's namespaces to the host's systemd ------------------------------------------------------------

def _supervise(pool_name: str, host: str) -> None:
    """Keeps one host running through its reboots; ends when it is switched off."""
    pool = Pool(pool_name)
    (pool.cgroup / host / "cgroup.procs").write_text(str(os.getpid()), encoding="utf-8")
    me = [sys.executable, str(Path(__file__).resolve())]
    while True:
        code = subprocess.run(
            ["nsenter", "--net=/run/netns/" + pool.netns(host), "unshare", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child", *me, "_init", str(pool.path / host / "root"), host]
        ).returncode
        print("== %s: %s" % (host, "reboot" if code == REBOOT else "off (%d)" % code), flush=True)
        if code != REBOOT:
            return


def _init(folder: str, host: str) -> None:
    """Process 1 of a host: mounts, a new root, and then systemd."""

    def mount(*arguments):
        subprocess.run(["mount", *arguments], check=True)

    os.chdir(folder)
    mount("--make-rprivate", "/")
    subprocess.run(["hostname", host], check=True)
    mount("-t", "proc", "-o", "nosuid,nodev,noexec", "proc", "proc")
    mount("-t", "sysfs", "-o", "nosuid,nodev,noexec", "sysfs", "sys")
    # Settings of the kernel belong to the machine; those of the network to the host.
    mount("--bind", "proc/sys", "proc/sys")
    mount("--bind", "proc/sys/net", "proc/sys/net")
    mount("-o", "remount,bind,ro", "proc/sys")
    mount("-t", "tmpfs", "-o", "nosuid,mode=755", "tmpfs", "dev")
    for device in ("null", "zero", "full", "random", "urandom", "tty"):
        Path("dev", device).touch()
        mount("--bind", "/dev/" + device, "dev/" + device)
    for name in ("pts", "shm", "mqueue"):
        Path("dev", name).mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620,gid=5", "devpts", "dev/pts")
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        Path("dev", name).symlink_to(target)
    mount("-t", "tmpfs", "-o", "nosuid,nodev", "tmpfs", "dev/shm")
    mount("-t", "mqueue", "-o", "nosuid,nodev,noexec", "mqueue", "dev/mqueue")
    mount("-t", "tmpfs", "-o", "nosuid,nodev,mode=755", "tmpfs", "run")
    Path("run/lock").mkdir()
    mount("-t", "tmpfs", "-o", "nosuid,nodev,mode=1777", "tmpfs", "tmp")
    mount("-t", "cgroup2", "-o", "nosuid,nodev,noexec", "cgroup2", "sys/fs/cgroup")
    Path(".old").mkdir(exist_ok=True)
    subprocess.run(["pivot_root", ".", ".old"], check=True)
    os.chdir("/")
    mount_program = "/usr/bin/mount"
    subprocess.run(["/usr/bin/umount", "-l", "/.old"], check=True, env={"PATH": PATH})
    Path("/.old").rmdir()
    subprocess.run([mount_program, "--make-rshared", "/"], check=True, env={"PATH": PATH})
    os.execve("/usr/bin/setpriv", ["setpriv", "--bounding-set", DROPPED_CAPABILITIES, "env", "-i", "container=sandbox", "PATH=" + PATH, "TERM=dumb", "/sbin/init"], {"PATH": PATH})


# --- the command line ------------------------------------------------------------------------------------------------------------

def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="pool.py", description=__doc__.splitlines()[0])
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, text, *arguments, **options):
        sub = verbs.add_parser(name, help=text)
        for argument in arguments:
            sub.add_argument(argument, nargs="+" if argument == "hosts" else "*" if argument == "any_hosts" else None)
        for option, settings in options.items():
            sub.add_argument("--" + option, **settings)

    verb("build", "make the hosts' root file system", force=dict(action="store_true"))
    verb("jar", "make the simulated node's JAR and print its path", release=dict(default=""))
    verb("up", "create and boot hosts, or add some", "pool", "hosts", offline=dict(action="store_true", help="hosts that reach only each other"))
    verb("down", "remove a pool", all=dict(action="store_true"), pool=dict())
    verb("list", "show the pools, or one", "any_hosts")
    verb("inventory", "print an Ansible inventory", "pool", "any_hosts", var=dict(action="append", default=[], metavar="NAME=VALUE"))
    for name, text in (("kill", "power loss"), ("boot", "switch on again"), ("freeze", "stop every process"), ("thaw", "let them go on"), ("isolate", "cut a host from all others"), ("ssh-cut", "drop the controller's ssh to a host"), ("log", "the console")):
        verb(name, text, "pool", "host")
    for name, text in (("cut", "drop everything between A and B (comma lists)"), ("cut1", "drop only A to B"), ("lossy", "drop some of it")):
        verb(name, text, "pool", "a", "b", udp=dict(type=int), tcp=dict(type=int), percent=dict(type=int, default=30))
    verb("heal", "remove every cut and loss", "pool")
    sub = verbs.add_parser("exec", help="run a command in a host")
    sub.add_argument("pool"), sub.add_argument("host"), sub.add_argument("command", nargs=argparse.REMAINDER)
    return top


def main(argv: Sequence[str]) -> int:
    hidden = {"_supervise": _supervise, "_init": _init, "_customize": _customize}
    if argv and argv[0] in hidden:
        hidden[argv[0]](*argv[1:])
        return 0
    options = parser().parse_args(argv)
    try:
        return act(options)
    except SandboxError as error:
        print("sandbox: %s" % error, file=sys.stderr)
        return 1


def act(options) -> int:
    verb = options.verb
    if verb == "build":
        print(build(options.force))
    elif verb == "jar":
        print(jar(options.release))
    elif verb == "list":
        chosen = [Pool(n) for n in options.any_hosts] or pools()
        print(json.dumps({p.name: p.describe() for p in chosen}, indent=2))
    elif verb == "down":
        for pool in pools() if options.all else [Pool(options.pool or "")]:
            pool.down()
    else:
        pool = Pool(options.pool)
        if verb == "up":
            print(json.dumps(pool.up(options.hosts, online=not options.offline), indent=2))
        elif verb == "inventory":
            print(json.dumps(pool.inventory(options.any_hosts, dict(v.split("=", 1) for v in options.var)), indent=2))
        elif verb == "exec":
            done = pool.exec(options.host, *options.command, check=False)
            sys.stdout.write(done.stdout), sys.stderr.write(done.stderr)
            return done.returncode
        elif verb == "log":
            print((pool.path / options.host / "console.log").read_text(encoding="utf-8", errors="replace"))
        elif verb in ("cut", "cut1", "lossy"):
            ports = {p: getattr(options, p) for p in ("udp", "tcp") if getattr(options, p)}
            pool.fault(verb, options.a.split(","), options.b.split(","), percent=options.percent, **ports)
        elif verb == "ssh-cut":
            pool.fault("ssh", [options.host])
        elif verb == "thaw":
            pool.freeze(options.host, False)
        elif verb == "heal":
            pool.heal()
        else:
            getattr(pool, verb)(options.host)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
