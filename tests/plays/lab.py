# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster on sandbox hosts, driven by the commands a user types, for tests of plays and of faults."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import tomllib
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import hosts as sandbox
from sampler import RUNBOOK, V1, Sampler
from simnode.tls import Certificate

ROOT = Path(__file__).resolve().parents[2]
BLUEPRINT = (ROOT / "tests" / "sandbox" / "blueprint.toml").read_text(encoding="utf-8")
SLICES = tomllib.loads(BLUEPRINT)["slices"]
SWITCHES = "/etc/aether-sim.json"
KEPT = "/root/kept-%s.tar"  # and who the members were
PASSPHRASE = "words-for-the-authority-4711"  # of the key of a private authority
FILES = ("/etc/aether", "/etc/systemd/system/aether.service", "/opt/aether", "/var/lib/aether")
USERS = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow")
WIPE = """
systemctl kill --signal=KILL aether 2>/dev/null; systemctl disable --now --quiet aether 2>/dev/null
mountpoint -q /opt/aether && umount --lazy /opt/aether
rm -rf %s /etc/systemd/system/aether.service.d /run/aether.lock* && systemctl daemon-reload && systemctl reset-failed
""" % " ".join(FILES)
# Stands before a node's management port and answers in its stead, as its one argument says.
FRONT = r"""
import socketserver, sys, time
ANSWERS = {
    "500": b'HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 19\r\nconnection: close\r\n\r\n{"error": "broken"}',
    "closing": b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n\r\n{"error":',
}
class Front(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(65536)
        if sys.argv[1] == "hanging":
            time.sleep(600)
        self.request.sendall(ANSWERS[sys.argv[1]])
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
Server(("", 18080), Front).serve_forever()
"""
CLOSED = """table ip front {
  chain closed {
    type filter hook input priority filter;
    iifname "eth0" tcp dport 8080 reject with tcp reset
  }
}
"""
REDIRECT = """table ip front {
  chain before {
    type nat hook prerouting priority dstnat;
    iifname "eth0" tcp dport 8080 redirect to :18080
  }
}
"""
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s+skipped=(\d+)\s+rescued=(\d+)", re.M)


@dataclass(frozen=True)
class Result:
    """What a play left: its name, exit code, everything it printed, seconds, and per host the counts of its recap."""

    name: str
    code: int
    output: str
    seconds: float

    @property
    def recap(self) -> Dict[str, Dict[str, int]]:
        keys = ("ok", "changed", "unreachable", "failed", "skipped", "rescued")
        return {m[0]: dict(zip(keys, map(int, m[1:]))) for m in RECAP.findall(self.output)}

    @property
    def changed(self) -> int:
        return sum(counts["changed"] for counts in self.recap.values())

    @property
    def changes(self) -> List[str]:
        """TASK: host, for everything that was changed."""
        found, task = [], ""
        for line in self.output.splitlines():
            if line.startswith("TASK ["):
                task = line[6 : line.rindex("]")]
            elif line.startswith("changed: ["):
                found.append("%s: %s" % (task, line[10 : line.index("]")]))
        return found

    @property
    def deprecations(self) -> List[str]:
        """Whatever Ansible says is on its way out; in these plays everything that uses it is ours."""
        return [line for line in self.output.splitlines() if line.startswith("[DEPRECATION WARNING]")]

    @property
    def text(self) -> str:
        """The output without line breaks that only wrap it."""
        return " ".join(self.output.split())

    @property
    def phase(self) -> str:
        """Name of the play that the output ends in."""
        return (re.findall(r"^PLAY \[(.*)\] \**$", self.output, re.M) or [""])[-1]

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.output.splitlines()[-lines:])


class Lab:
    """A pool of hosts with an inventory. ``time_factor`` other than 1 makes the simulated nodes quicker; ``api``: v1 or runbook; ``secret``: with TLS from it; ``own_ca``: with TLS from a private authority."""

    def __init__(self, name: str, hosts: Sequence[str], folder: Path, time_factor: float = 1.0, api: str = V1, secret: str = "", own_ca: bool = False, **switches):
        # Each of the processes that run tests side by side has pools of its own.
        self.pool = sandbox.Pool("-".join(filter(None, (name, os.environ.get("PYTEST_XDIST_WORKER")))))
        self.pool.down()
        self.hosts, self.folder, self.time_factor = list(hosts), folder, time_factor
        self.switches, self.port = dict({"time_factor": time_factor}, **switches), 8080
        self.pool.up(self.hosts)
        self.formed: List[List[str]] = []
        self.names: Dict[str, str] = {}
        self.more: Dict[str, str] = {}
        self.results: List[Result] = []
        self.verdicts: List[bool] = []
        self.ips = {h: self.pool.ip(h) for h in self.hosts}
        self.api = api
        self.speak(secret)
        self.authority = self.folder / "authority" if own_ca else None
        self.tls = self.tls or own_ca
        self.jar = sandbox.jar(api=api)
        if self.authority:
            self.play("authority", self.hosts)
            self.context = ssl.create_default_context(cafile=str(self.authority / "ca.pem"))
            self.context.load_cert_chain(str(self.authority / "client.pem"), str(self.authority / "client.key"))
        for host in self.hosts:
            self.switch(host)

    def speak(self, secret: str = "") -> None:
        """From now on TLS from ``secret``, or none: to the nodes, and in the inventory."""
        self.secret, self.tls = secret, bool(secret)
        self.certificate = Certificate(secret, "witness", "localhost") if secret else None
        self.context = self.certificate.as_client() if secret else None

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *unused) -> None:
        self.pool.down()

    # what a user types

    def inventory(self, hosts: Sequence[str], ids: Optional[Dict[str, str]] = None, others: Sequence[str] = (), retired: Sequence[str] = (), monitoring: Sequence[str] = (), **variables) -> Path:
        """``ids``: node ids that differ from the host's name. ``others``: hosts that are not in aether_nodes; ``retired``: those in aether_retired.

        ``monitoring``: those in aether_monitoring, who have the variables that begin so.
        """
        path = self.folder / ("inventory-%s.json" % "-".join(hosts))
        common = {"aether_jar": str(self.jar), "aether_heap": "128m", "aether_heal_pause": 1}
        if self.api != V1:
            common["aether_api"] = self.api
        if self.secret:
            common.update(aether_tls=True, aether_cluster_secret=self.secret)
        if self.authority:
            common.update(aether_tls=True, aether_tls_own_ca=str(self.authority), aether_tls_ca_passphrase=PASSPHRASE)
            common.update(aether_ca_path="%s/ca.pem" % self.authority, aether_client_cert="%s/client.pem" % self.authority, aether_client_key="%s/client.key" % self.authority)
        watching = {name: variables.pop(name) for name in list(variables) if name.startswith("aether_monitoring_")}
        made = self.pool.inventory(hosts, dict(common, **variables))
        for host, identity in (ids or {}).items():
            made["aether_nodes"]["hosts"][host]["aether_node_id"] = identity
        for group, members in (("others", others), ("aether_retired", retired)):
            if members:
                made[group] = self.pool.inventory(members)["aether_nodes"]
        if monitoring:
            made["aether_monitoring"] = self.pool.inventory(monitoring, watching)["aether_nodes"]
        path.write_text(json.dumps(made), encoding="utf-8")
        return path

    def command(self, playbook: str, hosts: Sequence[str], *arguments: str, given: Optional[Dict[str, object]] = None, **variables) -> List[str]:
        """``variables`` are the inventory's, ``given`` those that a user gives with -e. With ``names``, {name: address}, the play knows these, too: in a name space of its own, the machine's files stay as they are."""
        words = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory(hosts, **variables)), playbook, *arguments]
        if given:
            words += ["-e", json.dumps(given)]
        if not self.names:
            return words
        known = self.folder / "hosts"
        known.write_text("127.0.0.1 localhost\n" + "".join("%s %s\n" % (address, name) for name, address in self.names.items()), encoding="utf-8")
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(known), *words]

    def of_hosts(self, **variables) -> List[str]:
        """Arguments of a play that give single hosts variables of their own: another inventory beside the first."""
        path = self.folder / "of-hosts.json"
        path.write_text(json.dumps({"aether_nodes": {"hosts": variables}}), encoding="utf-8")
        return ["-i", str(path)]

    def play(self, name: str, hosts: Optional[Sequence[str]] = None, *arguments: str, ok: Optional[bool] = True, **variables) -> Result:
        """Run playbooks/NAME.yml for ``hosts``; ``ok`` says how it must end (None: either way)."""
        start = time.monotonic()
        done = subprocess.run(
            self.command("playbooks/%s.yml" % name, hosts or self.hosts, *arguments, **variables),
            cwd=ROOT, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        result = Result(name, done.returncode, done.stdout, time.monotonic() - start)
        self.results.append(result)
        print("    %s %s ended with %d after %.0f s" % (name, " ".join(arguments), result.code, result.seconds), flush=True)
        assert result.deprecations == []
        if ok is not None:
            assert (result.code == 0) is ok, result.tail()
        return result

    def play_until(self, name: str, hosts: Sequence[str], line: str, then, **variables) -> Result:
        """Run a play and call ``then(process)`` as soon as its output has ``line``; the result once it has ended."""
        start, output = time.monotonic(), []
        process = subprocess.Popen(
            self.command("playbooks/%s.yml" % name, hosts, **variables),
            cwd=ROOT, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )
        done = False
        for printed in process.stdout:
            output.append(printed)
            if not done and line in printed:
                done = True
                then(process)
        process.wait()
        assert done, "'%s' was never printed:\n%s" % (line, "".join(output[-60:]))
        result = Result(name, process.returncode, "".join(output), time.monotonic() - start)
        self.results.append(result)
        print("    %s, met at '%s', ended with %d after %.0f s" % (name, line, result.code, result.seconds), flush=True)
        assert result.deprecations == []
        return result

    @staticmethod
    def interrupt(process) -> None:
        """Ctrl-C, which reaches the whole foreground group; again after 5 s, as a user would, for Ansible misses one now and then."""
        for _attempt in range(3):
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
                return

    def environment(self) -> Dict[str, str]:
        """What an interrupted drain leaves lies in the lab's own folder; ``more`` goes on top."""
        return dict(os.environ, XDG_STATE_HOME=str(self.folder / "state"), ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", ANSIBLE_INJECT_FACT_VARS="false", ANSIBLE_DEPRECATION_WARNINGS="true", PYTHONUNBUFFERED="1", **self.more)

    # what the test does to it

    def switch(self, host: str, **switches) -> None:
        """Set switches for the next start of the node on ``host``; what was set before for it is forgotten."""
        values = json.dumps(dict(self.switches, **switches))
        self.pool.exec(host, "sh", "-c", "cat > %s && rm -f /var/lib/aether/.sim-starts" % SWITCHES, input=values)

    def switch_now(self, host: str, **switches) -> None:
        """Set switches of the node that runs on ``host``, which takes them from its own host alone."""
        words = ["curl", "-sf"]
        if self.secret:
            self.pool.exec(host, "sh", "-c", "umask 077; cat > /run/own.pem", input=self.certificate.chain.decode())
            words += ["-k", "--cert", "/run/own.pem"]
        self.pool.exec(host, *words, "-X", "POST", "%s://127.0.0.1:8080/sim/switches" % ("https" if self.secret else "http"), "-d", json.dumps(switches))

    def form(self, hosts: Sequence[str]) -> None:
        """A cluster with something to lose: two slices, and where there are any a changed threshold."""
        self.play("site", hosts)
        self.fill(hosts)

    def form_again(self, hosts: Sequence[str]) -> None:
        """All hosts as they were after the first ``form_again`` with these members, whatever was done to them since: in seconds, without new hosts and without a play.

        ``hosts`` get back the files that site.yml had written there, and are started; the others are empty again.
        """
        self.empty()
        for host in set(self.hosts) - set(hosts):
            self.pool.exec(host, "userdel", "aether", check=False)
        kept = KEPT % "-".join(hosts)
        if list(hosts) not in self.formed:
            self.form(hosts)
            for host in hosts:
                self.pool.exec(host, "tar", "-cf", kept, *FILES, *USERS)
            self.formed.append(list(hosts))
            return
        for host in hosts:
            self.pool.exec(host, "tar", "-xpf", kept, "-C", "/")
            self.pool.exec(host, "sh", "-c", "rm -f /var/lib/aether/.running; systemctl daemon-reload && systemctl enable --now --quiet aether")
        self.wait(lambda: all(self.at_one(h, hosts) for h in hosts), "the cluster to form again")
        self.fill(hosts)
        self.wait(lambda: self.has_state(hosts[-1]), "everyone to have the blueprint")

    def empty(self) -> None:
        """No node and nothing of one on any host, but for its user; and whatever was done to the hosts is mended."""
        self.pool.heal()
        self.names = {}
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        with ThreadPoolExecutor(max_workers=len(self.hosts)) as workers:
            list(workers.map(self._wipe, self.hosts))

    def at_one(self, host: str, hosts: Sequence[str]) -> bool:
        """Does ``host`` see a formed cluster of all ``hosts``, led by the first of them?"""
        if self.api == RUNBOOK:
            health = self.get(host, "/health")
            return health["quorum"] and health["nodeCount"] == len(hosts)
        return self.get(host, "/api/status").get("leader") == hosts[0]

    def has_state(self, host: str) -> bool:
        """Does it show the slices that the cluster was given?"""
        if self.api == RUNBOOK:
            return len({i["artifact"] for i in self.get(host, "/slices")}) == len(SLICES)
        return bool(self.get(host, "/api/blueprints").get("blueprints"))

    def _wipe(self, host: str) -> None:
        if not self.pool.powered(host):
            self.pool.boot(host)
        self.pool.thaw(host)
        self.unfront(host)
        self.pool.exec(host, "sh", "-c", WIPE)
        self.switch(host)

    def turns(self, hosts: Sequence[str]) -> List[str]:
        """In which order the members get their turns: the first leads, if anybody does, and comes last."""
        return [*hosts[1:], hosts[0]] if self.api == V1 else list(hosts)

    def fill(self, hosts: Sequence[str]) -> None:
        if self.api == RUNBOOK:
            for entry in SLICES:
                if self.tls:  # which the command does not speak
                    self.request("POST", hosts[0], "/admin/blueprint", json.dumps(entry))
                else:
                    self.cli(hosts[0], "blueprint update %s --instances=%d" % (entry["artifact"], entry["instances"]))
        else:
            self.request("POST", hosts[0], "/api/blueprint", BLUEPRINT)
            self.request("POST", hosts[0], "/api/thresholds", json.dumps({"metric": "cpu.usage", "warning": 0.6, "critical": 0.85}))
        self.wait(lambda: self.active(hosts[0]) == 5, "the slices to be active")

    def cli(self, host: str, command: str) -> str:
        """What aether-cli says; it ends with 0 also when the node refused."""
        done = subprocess.run([sys.executable, str(sandbox.CLI), "--host", self.ips[host] + ":8080", "-c", command], capture_output=True, text=True, check=True)
        assert not done.stdout.startswith("Error:"), done.stdout
        return done.stdout

    def front(self, host: str, how: str) -> None:
        """From now on new connections to the management of ``host`` from outside are "500", "hanging", or "closing" in the middle of an answer."""
        self.pool.exec(host, "systemd-run", "--quiet", "--unit", "front", "python3", "-c", FRONT, how)
        self.wait(lambda: ":18080 " in self.pool.exec(host, "ss", "-lntH").stdout, "what stands before the node")
        self._nft(host, "-f", "-", input=REDIRECT)

    def close(self, host: str) -> None:
        """From now on the management port of ``host`` is closed to everybody else; the node goes on. ``unfront`` opens it again."""
        self._nft(host, "-f", "-", input=CLOSED)

    def unfront(self, host: str) -> None:
        self._nft(host, "delete", "table", "ip", "front", check=False)
        self.pool.exec(host, "systemctl", "stop", "front", check=False)

    def _nft(self, host: str, *arguments: str, check: bool = True, **options) -> None:
        subprocess.run(["ip", "netns", "exec", self.pool.netns(host), "nft", *arguments], check=check, text=True, stderr=None if check else subprocess.DEVNULL, **options)

    def active(self, host: str) -> int:
        """Active instances of all slices, in the view of ``host``."""
        if self.api == RUNBOOK:
            return sum(1 for i in self.get(host, "/slices") if i["state"] == "ACTIVE")
        return sum(1 for s in self.get(host, "/api/slices").get("slices", []) for i in s.get("instances", []) if i["state"] == "ACTIVE")

    def runs(self, host: str) -> bool:
        return self.pool.exec(host, "systemctl", "is-active", "--quiet", "aether", check=False).returncode == 0

    def enabled(self, host: str) -> bool:
        return self.pool.exec(host, "systemctl", "is-enabled", "--quiet", "aether", check=False).returncode == 0

    def get(self, host: str, path: str):
        return json.loads(self.request("GET", host, path))

    def request(self, method: str, host: str, path: str, body: Optional[str] = None) -> str:
        request = urllib.request.Request(self.url(host) + path, data=body.encode() if body else None, method=method)
        with urllib.request.urlopen(request, timeout=5, context=self.context) as response:
            return response.read().decode()

    def url(self, host: str) -> str:
        return "%s://%s:%d" % ("https" if self.tls else "http", self.ips[host], self.port)

    def release(self, host: str) -> str:
        """The release that the host's node is started with."""
        return self.pool.exec(host, "readlink", "/opt/aether/current").stdout.strip().rpartition("/")[2]

    def lists(self, hosts: Optional[Sequence[str]] = None) -> Dict[str, List[str]]:
        """The list that each host's node runs with, by its own word; where the API shows none, the one it will have at its next start."""
        return {h: self._list_of(h) for h in hosts or self.hosts}

    def _list_of(self, host: str) -> List[str]:
        if self.api == V1:
            return sorted(self.get(host, "/api/cluster/topology")["coreNodes"])
        peers = re.findall(r"--peers=(\S*)", self.pool.exec(host, "cat", "/etc/systemd/system/aether.service").stdout)[0].split(",")
        addresses = [peer.partition(":")[0] for peer in peers if peer]
        return sorted([h for h in self.hosts if self.ips[h] in addresses or h in addresses] + [host])

    def wait(self, condition, what: str, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except (OSError, KeyError, ValueError):
                pass  # not up yet
            time.sleep(0.2)
        raise AssertionError("waited %.0f s for %s" % (seconds, what))

    def witness(self, ids: Optional[Dict[str, str]] = None, **options) -> Sampler:
        """The outside observer of all hosts, those to come included; of ``ids``, id -> host, where ids are not the hosts' names."""
        places = ids or {h: h for h in self.hosts}
        return Sampler({i: self.url(h) for i, h in places.items()}, time_factor=self.time_factor, api=self.api, context=self.context, **options)

    def judge(self, witness: Sampler) -> None:
        """The majority was kept all the time, and no change of leader took longer than the product's own 25 s."""
        report = witness.report
        self.verdicts.append(report["majority_kept"])
        print("    witness: majority kept %s, longest without a leader %.1f s, %d samples" % (report["majority_kept"], report["max_leaderless_seconds"], report["samples"]), flush=True)
        assert report["majority_kept"], witness.table()
        assert report["max_leaderless_seconds"] < 25, witness.table()

    def judge_lost(self, witness: Sampler) -> None:
        """The fault itself took the majority, and the witness saw it."""
        self.verdicts.append(witness.report["majority_kept"])
        assert not witness.report["majority_kept"], witness.table()
