#!/usr/bin/env python3
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sandbox's hosts need of this machine: packages, cgroup2, and the root file system that they share.

The root is a Debian with systemd, sshd and a JDK, unpacked once into the cache (``AETHER_SANDBOX_CACHE``, by default
``~/.cache/aether-sandbox``). Hosts only read it; each writes to a layer of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator

CACHE = Path(os.environ.get("AETHER_SANDBOX_CACHE") or Path.home() / ".cache" / "aether-sandbox")
SUITE = "trixie"  # the first Debian with a JDK 25
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What must be there, and the Debian package that brings it.
PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    str(KEYRING): "debian-archive-keyring",
}
INCLUDE = (
    "systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,iproute2,iputils-ping,nftables,procps,sudo,curl,"
    "ca-certificates,kmod,openjdk-25-jdk-headless,python3-cryptography"  # the last for simulated nodes with TLS
)
# Units that make no sense without hardware, or cost time at boot.
MASKED = """
console-getty.service getty.target getty@tty1.service
systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service systemd-resolved.service
systemd-timesyncd.service systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket
systemd-udev-trigger.service systemd-modules-load.service systemd-sysctl.service systemd-firstboot.service
modprobe@.service modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service modprobe@loop.service
modprobe@dm_mod.service modprobe@fuse.service systemd-remount-fs.service dev-hugepages.mount dev-mqueue.mount
sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount
systemd-journal-flush.service systemd-update-utmp.service systemd-update-utmp-runlevel.service
apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
""".split()
SETTINGS = {
    "etc/ssh/sshd_config.d/10-sandbox.conf": "UseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
    "GSSAPIAuthentication no\nMaxStartups 100:30:200\nMaxSessions 100\n",
    "etc/systemd/journald.conf.d/10-sandbox.conf": "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nRuntimeMaxUse=64M\n",
    "etc/systemd/system.conf.d/10-sandbox.conf": "[Manager]\nDefaultTimeoutStopSec=15s\nLogColor=no\nShowStatus=no\n",
    "etc/machine-id": "",  # empty: each host makes its own at its first boot
}


class SandboxError(Exception):
    """One sentence: what, where, what to do."""


def say(text: str) -> None:
    print("sandbox: %s" % text, file=sys.stderr, flush=True)


def run(*command: object, check: bool = True, **options) -> subprocess.CompletedProcess:
    """Run a program and keep what it prints. Raises SandboxError when it fails, unless ``check`` is false."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if check and done.returncode:
        raise SandboxError("'%s' failed with code %d: %s" % (" ".join(words), done.returncode, (done.stderr or done.stdout).strip()[-500:]))
    return done


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- the machine ------------------------------------------------------------------------------------------------------


def ensure_machine() -> None:
    """Root, cgroup2, and the packages; those that are missing are installed."""
    if os.geteuid() != 0:
        raise SandboxError("The sandbox's hosts need root, because they are made of namespaces and mounts: run the same command with sudo.")
    cgroup_root()
    ensure_packages()


def cgroup_root() -> Path:
    """Where cgroup2 is mounted: alone, or beside version 1."""
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _source, target, kind = line.split()[:3]
        if kind == "cgroup2":
            return Path(target)
    raise SandboxError(
        "No cgroup2 is mounted on this machine; mount it: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"
    )


def ensure_packages() -> None:
    missing = sorted({package for needed, package in PACKAGES.items() if shutil.which(needed, path=PATH) is None and not Path(needed).is_file()})
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise SandboxError("This machine lacks %s and has no apt-get to install them: install them with its own package manager." % ", ".join(missing))
    say("installing Debian packages: %s" % " ".join(missing))
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends", *missing]
    if run(*install, check=False, env=environment).returncode:
        run("apt-get", "update", check=False, env=environment)  # a fresh machine has no lists yet
        done = run(*install, check=False, env=environment)
        if done.returncode:
            names = " ".join(missing)
            said = done.stderr.strip()[-500:]
            raise SandboxError("Debian packages could not be installed; 'apt-get update && apt-get install %s' has to work first. apt-get says: %s" % (names, said))


# --- the root file system ---------------------------------------------------------------------------------------------


def rootfs() -> Path:
    """Its name changes with what goes into it, so that nobody runs on one that lacks something."""
    return CACHE / ("rootfs-%s-%s" % (SUITE, hashlib.sha256(repr((INCLUDE, MASKED, SETTINGS)).encode()).hexdigest()[:8]))


def ssh_key() -> Path:
    """The private key for root and ansible on every host; 0600, made at the first use."""
    key = CACHE / "id_ed25519"
    if not key.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "aether-sandbox", "-f", key)
    return key


def build(force: bool = False) -> Path:
    """The shared root, built when it is missing or ``force`` is given: about half a minute.

    Raises SandboxError when hosts run on the root that would be replaced, or when it cannot be built.
    """
    ensure_machine()
    with locked(CACHE / "lock"):
        root = rootfs()
        key = ssh_key()
        if (root / ".complete").exists() and not force:
            return root
        if "lowerdir=%s," % root in Path("/proc/mounts").read_text(encoding="utf-8"):
            raise SandboxError("Hosts are running on %s; take them down before it is built anew: hosts.py down --all" % root)
        say("building the hosts' root file system, once: Debian %s with systemd, sshd and JDK 25 (about half a minute)" % SUITE)
        start = time.monotonic()
        part = CACHE / "rootfs.part"
        shutil.rmtree(part, ignore_errors=True)
        _mmdebstrap(part, key)
        (part / ".complete").touch()
        shutil.rmtree(root, ignore_errors=True)
        part.rename(root)
        say("built in %.0f s: %s" % (time.monotonic() - start, root))
        return root


def _mmdebstrap(folder: Path, key: Path) -> None:
    """Downloads, unpacks and configures, and says every ten seconds that it is still at it."""
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--include=" + INCLUDE,
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        # The JDK's post-installation fails where its manual pages have no directory.
        "--dpkgopt=path-include=/usr/share/man/man1",
        '--essential-hook=mkdir -p "$1/usr/share/man/man1"',
        '--customize-hook="%s" "%s" customize "$1"' % (sys.executable, Path(__file__).resolve()),
        "--keyring=%s" % KEYRING,
        SUITE,
        str(folder),
        *archives(),
    ]
    log = CACHE / "build.log"
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=dict(os.environ, AETHER_SANDBOX_KEY="%s.pub" % key))
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
                break
            say("still building, %.0f s" % (time.monotonic() - start))
    if process.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        raise SandboxError(
            "The hosts' root file system could not be built; when the Debian archive can be reached, 'tests/sandbox/hosts.py build' tries again. "
            "mmdebstrap wrote to %s, at the end:\n%s" % (log, tail)
        )


def archives() -> list[str]:
    """Sources of the suite from where this machine's own apt gets Debian; none where it gets none, and mmdebstrap takes the public ones."""
    found = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", check=False).stdout.split("\n")
    uris = [line.removeprefix("Debian ").rstrip("/") for line in found if line.startswith("Debian ")]
    main = next((uri for uri in uris if uri.endswith("/debian")), None)
    if main is None:
        return []
    security = next((uri for uri in uris if uri.endswith("/debian-security")), main + "-security")
    suites = [(main, SUITE), (main, SUITE + "-updates"), (security, SUITE + "-security")]
    return ["deb [signed-by=%s] %s %s main" % (KEYRING, uri, suite) for uri, suite in suites]


def customize(folder: str) -> None:
    """Called by mmdebstrap on the unpacked root: users, keys, settings, and no units for hardware."""
    root = Path(folder)
    key = Path(os.environ["AETHER_SANDBOX_KEY"]).read_text(encoding="utf-8")
    run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", "ansible")
    for home, owner in (("root", "root"), ("home/ansible", "ansible")):
        write(root / home / ".ssh/authorized_keys", key, 0o600)
        (root / home / ".ssh").chmod(0o700)
        run("chroot", root, "chown", "-R", "%s:%s" % (owner, owner), "/%s/.ssh" % home)
    write(root / "etc/sudoers.d/ansible", "ansible ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    for name, text in SETTINGS.items():
        write(root / name, text)
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


# --- the JDK in it ----------------------------------------------------------------------------------------------------


def javac(source: Path, output: Path) -> None:
    """Compile every ``*.java`` of one folder into another with the hosts' own JDK, so that this machine needs none."""
    root = build()
    script = 'mount --bind "$1" "$2/mnt" && mount -t proc proc "$2/proc" && exec chroot "$2" sh -c "javac --release 25 -d /mnt/classes /mnt/source/*.java"'
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(source, folder / "source")
        (folder / "classes").mkdir()
        # The mounts are made in a namespace that ends with the compiler.
        run("unshare", "--mount", "sh", "-c", script, "sh", folder, root)
        shutil.copytree(folder / "classes", output, dirs_exist_ok=True)


def jar(release: str = "", api: str = "v1") -> Path:
    """The simulated node's JAR in the cache, built anew when a source changed.

    ``release``: a word that goes into the JAR, so that a test can have two releases with different checksums. ``api``: v1 or runbook.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parent / "node"))
    import jar as packing

    out = CACHE / "jar" / ("aether-node-%s.jar" % packing.sources_digest(release, api)[:12])
    with locked(CACHE / "jar.lock"):
        if not out.exists():
            say("building the simulated node's JAR")
            packing.build_jar(out, javac, release, api)
    return out


if __name__ == "__main__":
    if sys.argv[1:2] != ["customize"]:
        sys.exit("This file is called by mmdebstrap; a person calls hosts.py.")
    customize(sys.argv[2])
