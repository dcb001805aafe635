#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_preflight_info
short_description: What a host offers a node, in one look
version_added: 0.1.0
description:
  - Cores, memory, disks, Java, clock, the ports that the node needs and who holds them, and the node that is on the host already. Changes nothing, needs no
    library.
  - With O(listen) it leaves a listener on the free ports, for M(pragmatica.aether.aether_reach_info) to ask from the other hosts. It ends by itself.
  - Run as root, else the holder of a port cannot be seen.
options:
  cluster_port:
    description: Port of the cluster. Gossip takes this port + 100. What is no port is left out here, and found by M(pragmatica.aether.aether_preflight).
    type: str
    required: true
  management_port:
    description: Port of the management API.
    type: str
    required: true
  app_http_port:
    description: Port of the application's HTTP.
    type: str
    required: true
  cluster_protocol:
    description: V(quic), or V(tcp) for releases before QUIC.
    type: str
    choices: [quic, tcp]
    default: quic
  java:
    description: The Java command.
    type: str
    default: java
  install_dir:
    description: Where releases are installed.
    type: path
    default: /opt/aether
  data_dir:
    description: The node's working directory.
    type: path
    default: /var/lib/aether
  service:
    description: Name of the systemd service.
    type: str
    default: aether
  listen:
    description: For how many seconds a child of this module answers on the ports that are free, at most. It writes nothing and answers only those who know
      RV(nonce). 0 for none.
    type: float
    default: 0
  askers:
    description: How many hosts will ask it at each port. It ends a moment after it has heard them all.
    type: int
    default: 1
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
- name: What does the host offer?
  pragmatica.aether.aether_preflight_info:
    cluster_port: 8090
    management_port: 8080
    app_http_port: 8070
  become: true
"""

RETURN = r"""
clock:
  description:
    - The host's clock in seconds since 1970 when the look began and when it ended (C(began), C(ended)).
    - Also the controller's before and after (C(sent), C(received)), so that the time on the way can be taken into account.
  returned: always
  type: dict
cores:
  description: Processor cores that may be used.
  returned: always
  type: int
memory_mb:
  description: Memory in MB of 2^20 bytes.
  returned: always
  type: int
disks:
  description: For O(install_dir) and O(data_dir), or what there is of their path, C(path), C(free_mb), and C(jar) where the JAR goes.
  returned: always
  type: list
  elements: dict
java_version:
  description: Major version of Java; 0 when there is none.
  returned: always
  type: int
apt:
  description: Whether the host installs packages with apt.
  returned: always
  type: bool
active:
  description: Whether the service runs.
  returned: always
  type: bool
node_id:
  description: The id of the node on the host, from its running process, else from its unit; empty when there is none.
  returned: always
  type: str
peers:
  description: The list of peers that it runs with, else that of its unit.
  returned: always
  type: list
  elements: str
ports:
  description: >-
    For each port C(name), C(protocol), C(port), C(state) (V(free), V(service) when the node itself holds it, V(other)), and of the holder C(process),
    C(pid), C(unit).
  returned: always
  type: list
  elements: dict
spare_port:
  description: A UDP port that nobody holds, for telling in which direction packets pass.
  returned: always
  type: int
nonce:
  description: What questions to the listener have to carry; empty without O(listen).
  returned: always
  type: str
listen_errors:
  description: C(name) and C(error) of the ports on which it could not listen.
  returned: always
  type: list
  elements: dict
unprivileged_port_start:
  description: The first port that a user other than root may open.
  returned: always
  type: int
"""

import os
import re
import shutil
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import listening
from ..module_utils.machine import cores, existing, free_mb, java_version, memory_mb, read_text
from ..module_utils.ports import between_nodes, named_ports

LISTENING = "0A"  # the state of a listening TCP socket in /proc/net/tcp
HIGH_PORTS = range(20000, 30000)  # below the range the kernel hands out by itself


def sockets(protocol):
    """Local port -> inodes of the sockets that hold it, in both families."""
    held = {}
    for family in ("", "6"):
        for line in read_text("/proc/net/%s%s" % (protocol, family)).splitlines()[1:]:
            fields = line.split()
            if protocol == "udp" or fields[3] == LISTENING:
                held.setdefault(int(fields[1].rsplit(":", 1)[1], 16), set()).add(fields[9])
    return held


def owners(inodes):
    """inode -> pid, for those that can be seen."""
    found, wanted = {}, {"socket:[%s]" % i for i in inodes}
    for pid in filter(str.isdigit, os.listdir("/proc")) if wanted else ():
        try:
            for descriptor in os.listdir("/proc/%s/fd" % pid):
                target = os.readlink("/proc/%s/fd/%s" % (pid, descriptor))
                if target in wanted:
                    found[target[8:-1]] = int(pid)
        except OSError:
            continue  # gone meanwhile, or not ours to see
    return found


def unit_of(pid):
    """The systemd service that a process belongs to; empty when none."""
    found = re.findall(r"/([^/\n]+\.service)", read_text("/proc/%d/cgroup" % pid))
    return found[-1] if found else ""


def look_at_ports(wanted, service):
    held = {protocol: sockets(protocol) for protocol in ("tcp", "udp")}
    pids = owners({inode for port in wanted for inode in held[port.protocol].get(port.number, ())})
    found = []
    for port in wanted:
        entry = dict(name=port.name, protocol=port.protocol, port=port.number, state="free", process="", pid=0, unit="")
        inodes = held[port.protocol].get(port.number)
        if inodes:
            holders = sorted(pids[i] for i in inodes if i in pids)
            units = [unit_of(pid) for pid in holders]
            entry["state"] = "service" if service + ".service" in units else "other"
            if holders:
                entry.update(pid=holders[0], process=read_text("/proc/%d/comm" % holders[0]).strip(), unit=units[0])
        found.append(entry)
    return found, held["udp"]


def spare_port(held, wanted):
    """The first free one from a point that differs by host and process; 0 when none is left."""
    start = os.getpid() % len(HIGH_PORTS)
    for offset in range(len(HIGH_PORTS)):
        port = HIGH_PORTS[(start + offset) % len(HIGH_PORTS)]
        if port not in held and port not in [w.number for w in wanted]:
            return port
    return 0


def listen(ports, spare, parameters):
    """(nonce, errors) of a listener on the free ports whose users are other nodes, and on the spare one."""
    if not parameters["listen"]:
        return "", []
    nonce = os.urandom(8).hex()
    free = [port for port in between_nodes(ports, spare) if port["state"] == "free"]
    return nonce, listening.listen(free, nonce, parameters["listen"], parameters["askers"])


def look_at_node(module, service):
    """(active, id, peers): of the process that runs, else of the unit."""
    shown = (
        module.run_command(["systemctl", "show", "-p", "MainPID", "-p", "ActiveState", "-p", "ExecStart", service], handle_exceptions=False)[1]
        if shutil.which("systemctl")
        else ""
    )
    properties = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    pid = int(properties.get("MainPID") or 0)
    arguments = read_text("/proc/%d/cmdline" % pid).split("\0") if pid else []
    if not any(a.startswith("--node-id=") for a in arguments):
        arguments = properties.get("ExecStart", "").split()
    given = dict(a[2:].split("=", 1) for a in arguments if a.startswith("--") and "=" in a)
    peers = [p for p in given.get("peers", "").split(",") if p]
    return properties.get("ActiveState") in ("active", "activating", "reloading"), given.get("node-id", ""), peers


def disk(path, jar):
    place = existing(path)
    return dict(path=place, free_mb=free_mb(place), jar=jar)


def main():
    began = time.time()
    module = AnsibleModule(
        argument_spec=dict(
            cluster_port=dict(type="str", required=True),
            management_port=dict(type="str", required=True),
            app_http_port=dict(type="str", required=True),
            cluster_protocol=dict(type="str", choices=["quic", "tcp"], default="quic"),
            java=dict(type="str", default="java"),
            install_dir=dict(type="path", default="/opt/aether"),
            data_dir=dict(type="path", default="/var/lib/aether"),
            service=dict(type="str", default="aether"),
            listen=dict(type="float", default=0),
            askers=dict(type="int", default=1),
        ),
        supports_check_mode=True,
    )
    parameters = module.params
    wanted = named_ports(parameters)
    ports, udp = look_at_ports(wanted, parameters["service"])
    while any(port["process"] == listening.LISTENER for port in ports) and time.time() < began + listening.LINGER + 3:
        time.sleep(0.2)  # another preflight has just ended, and its listener is about to
        ports, udp = look_at_ports(wanted, parameters["service"])
    spare = spare_port(udp, wanted)
    nonce, listen_errors = listen(ports, spare, parameters)
    active, node_id, peers = look_at_node(module, parameters["service"])
    module.exit_json(
        changed=False,
        cores=cores(),
        memory_mb=memory_mb(),
        disks=[disk(parameters["install_dir"], True), disk(parameters["data_dir"], False)],
        java_version=java_version(module.run_command, parameters["java"]),
        apt=shutil.which("apt-get") is not None,
        active=active,
        node_id=node_id,
        peers=peers,
        ports=ports,
        spare_port=spare,
        nonce=nonce,
        listen_errors=listen_errors,
        unprivileged_port_start=int(read_text("/proc/sys/net/ipv4/ip_unprivileged_port_start") or 1024),
        clock=dict(began=began, ended=time.time()),
    )


if __name__ == "__main__":
    main()
