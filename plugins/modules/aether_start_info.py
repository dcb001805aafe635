#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_start_info
short_description: What a host knows of the last start of its Aether node
version_added: 0.1.0
description:
  - The journal of the service since its last start, whether and how it ended, the JAR that runs, and who holds its ports. Changes nothing, needs no library.
  - Waits until the node answers on its management port or has ended, and for as long as O(settle) after that.
  - Secrets that the node's configuration or environment holds are taken out of everything that is returned.
  - Run it as root. As another user it cannot tell who holds the ports, and may not see the journal.
options:
  service:
    description: Name of the systemd service.
    type: str
    default: aether
  cluster_port:
    description: UDP port of the cluster. Gossip takes this port + 100.
    type: int
    default: 8090
  management_port:
    description: TCP port of the management API.
    type: int
    default: 8080
  timeout:
    description: Seconds to wait for an answer on the management port, at most. V(0) looks once.
    type: float
    default: 30.0
  settle:
    description: Seconds from the first answer until the look that counts. A node that cannot have its cluster port may answer shortly before it ends.
    type: float
    default: 0.5
attributes:
  check_mode:
    support: full
    description: Only looks.
  diff_mode:
    support: none
    description: Has no differences to show.
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: How did the last start go?
  pragmatica.aether.aether_start_info:
  register: host

- name: Did the node start as it was meant?
  pragmatica.aether.aether_start_check:
    endpoints: [n1=http://10.0.0.1:8080]
    name: n1
    start: "{{ host.start }}"
  delegate_to: localhost
"""

RETURN = r"""
start:
  description:
    - C(running), whether the process runs; C(exit_code) of one that ended (128 and the number of the signal that ended it), else null; C(invocation),
      systemd's id of this start.
    - C(listening), whether it listens on its management port; C(ports), who holds the C(cluster) and the C(gossip) port,
      with C(held_by) one of C(service), C(other), C(nobody), C(unknown), and the C(holder).
    - C(lines) of the journal, the first 128 and the last 32 KiB of them, and whether lines between are left out (C(truncated)).
    - C(command), what the process was started with; C(jar) and its C(sha256); C(release), the folder that it lies in.
    - C(config), the configuration file; C(placeholders) in it that the product takes literally; C(keys), whether it or the environment names API keys.
  returned: always
  type: dict
  sample:
    running: true
    exit_code: null
    listening: true
    ports: {cluster: {held_by: service, holder: ""}, gossip: {held_by: other, holder: socat (812)}}
    lines: ["07:11:32.662 [main] INFO  o.p.a.Main.logStartupInfo() [rid=] - Starting Aether node NodeId[id=n1] on port 8090"]
    truncated: false
"""

import hashlib
import os
import re
import socket
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.machine import read_text
from ..module_utils.ports import GOSSIP_OFFSET
from ..module_utils.startup import placeholders

HEAD = 128 * 1024
TAIL = 32 * 1024
PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "MainPID",
    "ExecMainCode",
    "ExecMainStatus",
    "InvocationID",
    "ControlGroup",
    "ExecStart",
    "WorkingDirectory",
)
TCP_LISTEN = "0A"  # states as /proc/net has them
UDP_BOUND = "07"
KILLED = ("2", "3")  # ExecMainCode of a process that a signal ended
KEY_TABLE = re.compile(r"^\s*\[\s*app-http\.api-keys\.\s*[\"']?([^\"'\]\n]+)", re.M)
SECRET_VALUE = re.compile(r"^\s*(?:cluster_secret|[\w.-]*password)\s*=\s*[\"']?([^\"'\n]+)", re.M)
SECRET_ARGUMENT = re.compile(r"((?:secret|passw|token|key)[\w.-]*=).+", re.I)
LOOK_EVERY = 0.1  # seconds between two looks at the sockets
ASK_EVERY = 2.0  # seconds between two questions to systemd while the process lives
ASK_SOON = 0.25  # and while there is none
SILENT = 10.0  # seconds after which a port that is listened on and says nothing is taken for one that speaks TLS
SHORTEST_SECRET = 4  # shorter ones would take half of every line with them


def properties(module, service):
    """What systemd says of the service, as text by name."""
    code, out, err = module.run_command(["systemctl", "show", service, "--property", ",".join(PROPERTIES)])
    if code != 0:
        module.fail_json(
            msg="systemd on this host does not tell about the service %s: %s. Is it a systemd host, and the name right?"
            % (service, err.strip() or "no reason given")
        )
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def ended(unit):
    return unit["ActiveState"] in ("inactive", "failed") or unit["SubState"].startswith("auto-restart")


def exit_code(unit):
    """The process's exit code, as a shell would give it; None when it runs or never ran."""
    if not ended(unit) or unit.get("ExecMainCode", "0") == "0":
        return None
    status = int(unit["ExecMainStatus"])
    return 128 + status if unit["ExecMainCode"] in KILLED else status


def processes(unit):
    """Ids of the processes of the service: the main one, and those of its control group."""
    found = {unit["MainPID"]} - {"0", ""}
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd"):
        found.update(read_text(root + unit.get("ControlGroup", "") + "/cgroup.procs").split() if unit.get("ControlGroup") else ())
    return found


def sockets(protocol, state, port):
    """Inodes of the sockets that are bound to ``port``."""
    found = set()
    for family in ("", "6"):
        for line in read_text("/proc/net/%s%s" % (protocol, family)).splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rsplit(":", 1)[1], 16) == port and fields[3] == state:
                found.add(fields[9])
    return found


def holders(inodes, pids):
    """Those of ``pids`` that have one of the sockets open."""
    links = {"socket:[%s]" % inode for inode in inodes}
    found = []
    for pid in pids:
        try:
            if any(link in links for link in map(link_of, os.scandir("/proc/%s/fd" % pid))):
                found.append(pid)
        except OSError:
            continue  # it has ended meanwhile, or is not ours to look at
    return found


def link_of(entry):
    try:
        return os.readlink(entry.path)
    except OSError:
        return ""


def holder(port, service_pids):
    """Who holds the UDP port: {held_by, holder}."""
    inodes = sockets("udp", UDP_BOUND, port)
    if not inodes:
        return {"held_by": "nobody", "holder": ""}
    if holders(inodes, service_pids):
        return {"held_by": "service", "holder": ""}
    others = holders(inodes, [p for p in os.listdir("/proc") if p.isdigit()])
    if not others and os.geteuid() != 0:
        return {"held_by": "unknown", "holder": ""}
    return {"held_by": "other", "holder": ", ".join("%s (%s)" % (read_text("/proc/%s/comm" % p).strip() or "?", p) for p in others)}


def listening(unit, port):
    inodes = sockets("tcp", TCP_LISTEN, port)
    return bool(inodes and holders(inodes, processes(unit)))


def speaks(port):
    """Whether something comes back over plain HTTP. Which answer, and from which API, does not matter."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def wait(module, service, port, timeout, settle):
    """The properties of the service once it answers and has had time to settle, or has ended, or ``timeout`` seconds are over."""
    deadline = time.monotonic() + timeout
    unit, asked = properties(module, service), time.monotonic()
    listening_since = None
    while not ended(unit) and time.monotonic() < deadline:
        now = time.monotonic()
        if listening(unit, port):
            listening_since = listening_since or now
            if speaks(port) or now - listening_since >= SILENT:
                time.sleep(settle)
                return properties(module, service)
        time.sleep(LOOK_EVERY)
        # The kernel tells for nothing whether it listens and lives. systemd is asked through processes of their own, which a
        # starting JVM could use better: when the process is gone, and now and then.
        if now - asked >= (ASK_EVERY if os.path.exists("/proc/%s" % unit["MainPID"]) else ASK_SOON):
            unit, asked = properties(module, service), time.monotonic()
    return unit


def journal(module, invocation):
    """(lines of this start, whether some in the middle are left out)."""
    if not invocation:
        return [], False
    command = ["journalctl", "--no-pager", "--quiet", "--output", "cat", "_SYSTEMD_INVOCATION_ID=" + invocation]
    head = module.run_command(["sh", "-c", '"$@" | head -c %d' % (HEAD + 1), "sh", *command], encoding=None)[1]
    lines = head[:HEAD].decode("utf-8", "replace").splitlines()
    if len(head) <= HEAD:
        return lines, False
    tail = module.run_command([*command, "--lines", "200"], encoding=None)[1][-TAIL:]
    return lines[:-1] + tail.decode("utf-8", "replace").splitlines()[1:], True


def command_of(unit):
    """The arguments of the running process, else those of the unit."""
    running = read_text("/proc/%s/cmdline" % unit["MainPID"])
    if running:
        return running.rstrip("\0").split("\0")
    found = re.search(r"argv\[\]=(.*?) ; ignore_errors", unit.get("ExecStart", ""))
    return found.group(1).split() if found else []


def jar_of(unit, command):
    """(path of the JAR that runs, sha256 of its bytes), each empty when unknown.

    The running process has its JAR open: that file counts, wherever the link in the command points now.
    """
    named = command[command.index("-jar") + 1] if "-jar" in command[:-1] else ""
    if not named:
        return "", ""
    named = os.path.join(unit.get("WorkingDirectory") or "/", named)
    try:
        for entry in os.scandir("/proc/%s/fd" % unit["MainPID"]):
            link = link_of(entry)
            if link.replace(" (deleted)", "").endswith("/" + os.path.basename(named)):
                return link, sha256(entry.path)
    except OSError:
        pass  # it has ended: what the unit would start is what it did start
    return os.path.realpath(named), sha256(named)


def sha256(path):
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def secrets(text, environment):
    """Everything in an aether.toml and an environment that must not leave the host."""
    found = KEY_TABLE.findall(text) + SECRET_VALUE.findall(text)
    found += [entry.split(":")[0] for entry in environment.get("AETHER_API_KEYS", "").split(";")]
    found += [value for name, value in environment.items() if re.search("SECRET|PASSWORD|TOKEN", name)]
    return {s.strip() for s in found if len(s.strip()) >= SHORTEST_SECRET and not s.startswith("${")}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            service=dict(type="str", default="aether"),
            cluster_port=dict(type="int", default=8090),
            management_port=dict(type="int", default=8080),
            timeout=dict(type="float", default=30.0),
            settle=dict(type="float", default=0.5),
        ),
        supports_check_mode=True,
    )
    given = module.params
    unit = wait(module, given["service"], given["management_port"], given["timeout"], given["settle"])
    running = not ended(unit)
    command = command_of(unit)
    jar, digest = jar_of(unit, command)
    config = next((a.split("=", 1)[1] for a in command if a.startswith("--config=")), "")
    config = os.path.join(unit.get("WorkingDirectory") or "/", config) if config else ""
    text = read_text(config) if config else ""
    environment = dict(v.split("=", 1) for v in read_text("/proc/%s/environ" % unit["MainPID"]).split("\0") if "=" in v)
    lines, truncated = journal(module, unit.get("InvocationID", ""))
    pids = processes(unit)
    module.no_log_values.update(secrets(text, environment))
    module.exit_json(
        changed=False,
        start=dict(
            running=running,
            exit_code=exit_code(unit),
            invocation=unit.get("InvocationID", ""),
            listening=running and listening(unit, given["management_port"]),
            ports={"cluster": holder(given["cluster_port"], pids), "gossip": holder(given["cluster_port"] + GOSSIP_OFFSET, pids)},
            lines=lines,
            truncated=truncated,
            command=[SECRET_ARGUMENT.sub(r"\1***", a) for a in command],
            jar=jar,
            sha256=digest,
            release=os.path.basename(os.path.dirname(jar)),
            config=config,
            placeholders=placeholders(text),
            keys=bool(KEY_TABLE.search(text) or environment.get("AETHER_API_KEYS")),
        ),
    )


if __name__ == "__main__":
    main()
