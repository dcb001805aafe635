# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated node takes a command line and an aether.toml as the product does: recordings of starts, good and bad.

Each recorded start is repeated with a process of its own (other ports, a fraction of the time): does it end, when, with
which code, what does it answer over HTTP, and are the lines in its log that somebody would look for?
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from recordings import RECORDINGS, Answer, Exchange, compare
from replay import SAME, Pace, counts, patient
from simnode.testing import free_ports
from simnode.tls import Certificate

SIMNODE = Path(__file__).resolve().parents[1] / "sandbox" / "node" / "simnode"
FACTOR = 0.15
# Where the time until the process ends is measured, the interpreter's own start and end must not weigh.
FACTOR_OF_STOPS, FACTOR_OF_ENDS = 0.3, 0.5
CASES = sorted((release, path.stem) for release in ("rc1", "alpha") for path in (RECORDINGS / release / "startup").glob("*.json"))
CLUSTER_PORT, MANAGEMENT_PORT = 22010, 22501  # as recorded
OCCUPIED = {"mgmt-port-in-use": "management", "cluster-port-in-use": "cluster", "swim-port-in-use": "gossip"}

# Lines of which the text matters to nobody but the product's developers: traces, and what repeats another line.
UNREAD = re.compile(r"^\tat |Caused by: |SSLHandshakeException|onStartFailed|startClusterAsync|startH1Server")


@pytest.fixture(scope="module")
def starts(request, tmp_path_factory):
    """(release, case) -> the future of its ``start``: most of a start is waiting, so they run side by side."""
    chosen = [i.callspec.params for i in request.session.items if "starts" in getattr(i, "fixturenames", ())]
    with ThreadPoolExecutor(3) as pool:
        yield {(c["release"], c["case"]): pool.submit(start, c["release"], c["case"], tmp_path_factory.mktemp("start")) for c in chosen}


@pytest.mark.parametrize("release, case", CASES)
@patient
def test_start(release, case, starts, tmp_path):
    first = starts.pop((release, case), None)
    recorded, ports, (lines, code, seconds, answers, stopped) = first.result() if first else start(release, case, tmp_path)
    problems = []
    if recorded["exit"] == "still running":
        assert code is None, "ended with %s: %s" % (code, lines)
        assert stopped[0] == recorded["sigterm"][0]
        assert stopped[1] / FACTOR_OF_STOPS / Pace.now == pytest.approx(recorded["sigterm"][1], rel=0.2)
        own = own_id(lines)
        for path, (status, body) in recorded["http"].items():
            exchange = Exchange(release, "startup", case, "", "GET", path, {}, None, status, "application/json; charset=UTF-8" if status else "", body)
            found = compare(named(exchange, recorded, own, ports), answers[path])
            problems += [("/", "%s: %s %s" % (path, d.field, d.text)) for d in found]
    else:
        assert code == recorded["exit"]
        # The product's own start-up is part of the recorded time; below a second that is all there is.
        assert seconds / FACTOR_OF_ENDS / Pace.now == pytest.approx(recorded["seconds"], rel=0.2, abs=1.0)
    said = [plain(line, ports) for line in lines]
    own = own_id(lines)
    for line in recorded["log"]:
        wanted = plain(named_line(line, recorded, own), (CLUSTER_PORT, MANAGEMENT_PORT))
        if "Peers: [" in wanted and not wanted.endswith("]"):
            wanted = wanted[: wanted.rindex("NodeInfo[")]  # the recorder cut long lines
        if not UNREAD.search(line) and not any(s.startswith(wanted) for s in said):
            problems.append("does not say %r" % wanted)
    assert not problems, "\n".join(problems + lines)
    counts[release, "startup"][SAME] += 1


def start(release, case, folder):
    """(the recording, the ports it has here, what ``run`` returns)."""
    recorded = json.loads((RECORDINGS / release / "startup" / (case + ".json")).read_text())
    ports = free_ports()
    kind, port = {"management": (socket.SOCK_STREAM, ports[1]), "cluster": (socket.SOCK_DGRAM, ports[0]), "gossip": (socket.SOCK_DGRAM, ports[0] + 100)}[OCCUPIED.get(case, "cluster")]
    with socket.socket(socket.AF_INET, kind) as taken:
        if case in OCCUPIED:
            taken.bind(("0.0.0.0", port))
        return recorded, ports, run(recorded, ports, folder)


def run(recorded, ports, folder):
    """(log lines, exit code or None, seconds until it ended, answers by path, (exit code, seconds) of SIGTERM)."""
    secret = tomllib.loads(recorded["toml"] or "").get("tls", {}).get("cluster_secret") if recorded["case"] != "bad-toml" else None
    context = Certificate(secret, "somebody", "localhost").as_client() if secret else None
    (folder / "aether.toml").write_text(ported(recorded["toml"] or "", ports))
    arguments = [ported(a, ports) for a in recorded["cmdline"][3:]]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AETHER_", "NODE_ID", "CLUSTER_", "MANAGEMENT_", "CORE_"))}
    factor = FACTOR if recorded["exit"] == "still running" else FACTOR_OF_ENDS
    environment.update(AETHER_SIM_TIME_FACTOR=str(factor * Pace.now), AETHER_SIM_SWITCHES=str(folder / "none.json"), AETHER_SIM_SEED="1", AETHER_SIM_TLS_FORMS="false")
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, str(SIMNODE), *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        answers, stopped = {}, None
        if recorded["exit"] == "still running":
            wait_until_it_answers(process, ports[1], context)
            answers = {path: ask(ports[1], path) for path in recorded["http"]}
            ask(ports[1], "/sim/switches", {"time_factor": FACTOR_OF_STOPS * Pace.now}, context)
            begin = time.monotonic()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                stopped = (process.wait(20), time.monotonic() - begin)
        else:
            process.wait(20)
        seconds = time.monotonic() - start
        return process.stdout.read().splitlines(), None if stopped else process.returncode, seconds, answers, stopped
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def wait_until_it_answers(process, port, context):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None and ask(port, "/health/live", context=context).status is None:
        time.sleep(0.05)


def ask(port, path, switches=None, context=None) -> Answer:
    """``context``: with TLS; without one in plain HTTP, whatever the node speaks."""
    if context:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST" if switches else "GET", path, json.dumps(switches) if switches else None)
        response = connection.getresponse()
        return Answer(response.status, response.headers["content-type"], json.loads(response.read()))
    except (OSError, http.client.HTTPException):
        return Answer(None, "", None)
    finally:
        connection.close()


def ported(text, ports):
    return text.replace(str(CLUSTER_PORT), str(ports[0])).replace(str(MANAGEMENT_PORT), str(ports[1]))


def plain(line, ports):
    """Without time and place in the program, with the ports by name."""
    line = re.sub(r"^\d\d:\d\d:\d\d\.\d+ \[\w*\] (\w+) +\S+ \[rid=\] - ", r"\1 ", line.rstrip())
    for port, name in ((ports[1], "MANAGEMENT"), (ports[0], "CLUSTER")):
        for step in (0, 1, 2):
            line = line.replace(str(port + step), "%s+%d" % (name, step))
    return re.sub(r", labels=\{.*?\}", "", line)  # alpha has no labels; the host's name stands in some


def own_id(lines):
    return next((m.group(1) for m in (re.search(r"Starting Aether node NodeId\[id=(.+?)\] on port", line) for line in lines) if m), "")


def named_line(line, recorded, own):
    return line.replace(own_id(recorded["log"]) or "\0", own or "\0")


def named(exchange, recorded, own, ports):
    """The recorded answer with this run's id and ports."""
    text = ported(named_line(json.dumps(exchange.body), recorded, own), ports)
    return exchange._replace(body=json.loads(text))
