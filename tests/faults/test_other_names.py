# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other names for service, user, folders and ports; what the roles aether_service and aether_install refuse; and releases that come and go."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import threading
from functools import partial

import hosts as sandbox
import pytest

THREE = ["n1", "n2", "n3"]
PORT = 18080
NAMES = {
    "aether_service_name": "lattice", "aether_user": "weaver", "aether_group": "weavers", "aether_install_dir": "/srv/lattice/program",
    "aether_config_dir": "/etc/lattice", "aether_data_dir": "/srv/lattice/data",
    "aether_cluster_port": 9190, "aether_management_port": PORT, "aether_app_http_port": 9170,
}
DEFAULTS = "ls -d /opt/aether /etc/aether /var/lib/aether /etc/systemd/system/aether.service 2>/dev/null; getent passwd aether; getent group aether; true"
AWAY = """
systemctl kill --signal=KILL lattice; systemctl disable --now --quiet lattice
rm -rf /etc/systemd/system/lattice.service* /srv/lattice /etc/lattice /usr/local/sbin/systemctl
systemctl daemon-reload; systemctl reset-failed; userdel weaver; groupdel weavers; true
"""
# While the node is to be started there is time for an interruption, and afterwards nothing more happens.
SLOW = """#!/bin/sh
case "$1" in start|daemon-reload) sleep 8; exit 1;; esac
exec /usr/bin/systemctl "$@"
"""
JAVA_17 = "#!/bin/sh\necho 'openjdk version \"17.0.1\" 2021-10-19' >&2\n"


@pytest.fixture
def bare(labs):
    """Hosts that never heard of a node; those that are to come are asked at another port."""
    made = labs("v1")
    made.empty()
    for host in THREE:
        made.pool.exec(host, "userdel", "aether", check=False)
    made.port, made.results, made.verdicts = PORT, [], []
    yield made
    made.port = 8080
    for host in THREE:
        made.pool.exec(host, "sh", "-c", AWAY)


def shown(lab, host, service, *properties):
    """What systemd says of a service."""
    return lab.pool.exec(host, "systemctl", "show", service, "--value", *["--property=" + name for name in properties]).stdout.split()


def command_line(lab, host, service="lattice"):
    (pid,) = shown(lab, host, service, "MainPID")
    return lab.pool.exec(host, "cat", "/proc/%s/cmdline" % pid).stdout.split("\0")


def put(lab, host, path, text):
    lab.pool.exec(host, "sh", "-c", 'cat > "$0" && chmod 755 "$0"', path, input=text)


def test_everything_may_have_another_name(bare):
    """Formed, rolled, shown; and a roll that ends between the writing of the unit and its start is gone on with, and starts what was written."""
    lab = bare
    lab.play("site", THREE, **NAMES)
    lab.fill(THREE)
    for host in THREE:
        assert sorted(shown(lab, host, "lattice", "User", "Group", "ActiveState", "UnitFileState")) == ["active", "enabled", "weaver", "weavers"]
        assert lab.pool.exec(host, "stat", "-c", "%U:%G %a", "/srv/lattice/data").stdout.strip() == "weaver:weavers 750"
        assert {"/srv/lattice/program/current/aether-node.jar", "--config=/etc/lattice/aether.toml"} <= set(command_line(lab, host))
        open_ports = lab.pool.exec(host, "ss", "-lntuH").stdout
        assert ":18080 " in open_ports and ":9190 " in open_ports and ":8080 " not in open_ports and ":8090 " not in open_ports
        assert lab.pool.exec(host, "sh", "-c", DEFAULTS).stdout == ""
    result = lab.play("site", THREE, **NAMES)
    assert result.changed == 0, result.changes

    first = lab.turns(THREE)[0]
    with lab.witness() as witness:
        lab.play("rolling_restart", THREE, aether_heap="160m", **NAMES)
        assert all("-Xmx160m" in command_line(lab, host) for host in THREE)
        put(lab, first, "/usr/local/sbin/systemctl", SLOW)
        line = "TASK [pragmatica.aether.aether_roll : Start the node]"
        result = lab.play_until("rolling_restart", THREE, line, lab.interrupt, aether_heap="192m", **NAMES)
        assert result.code != 0
        lab.pool.exec(first, "rm", "/usr/local/sbin/systemctl")
        assert shown(lab, first, "lattice", "ActiveState") == ["inactive"]
        assert "-Xmx192m" in lab.pool.exec(first, "cat", "/etc/systemd/system/lattice.service").stdout
        assert lab.pool.exec(first, "cat", "/srv/lattice/data/.rolling").stdout.startswith(first + " is being changed")
        lab.play("rolling_restart", THREE, aether_heap="192m", **NAMES)
    lab.judge(witness)
    assert all("-Xmx192m" in command_line(lab, host) for host in THREE)
    assert lab.pool.exec(first, "ls", "/srv/lattice/data/.rolling", check=False).returncode != 0
    result = lab.play("status", THREE, **NAMES)
    assert "3 of 3 sound, 2 needed; can lose 1" in result.text and lab.active("n1") == 5


def started(lab):
    return {host: shown(lab, host, "aether", "ExecMainStartTimestampMonotonic") for host in THREE}


def on_disk(lab):
    seen = "cat /etc/systemd/system/aether.service /etc/aether/aether.toml; ls -l /opt/aether /opt/aether/releases"
    return {host: lab.pool.exec(host, "sh", "-c", seen).stdout for host in THREE}


def test_what_the_roles_refuse_changes_nothing(lab):
    before = started(lab), on_disk(lab)
    result = lab.play("../tests/faults/one_role", ["n1", "n2"], ok=False, role="aether_service")
    refusal = "The configuration of n1 is refused, nothing was written: peers: n1 runs with n3 in its list, and the new list lacks it: "
    assert refusal in result.text, result.tail()
    assert result.changed == 0 and (started(lab), on_disk(lab)) == before

    result = lab.play("rolling_restart", THREE, ok=False, aether_restart_sec=29)
    refusal = "aether_restart_sec is 29: a node that is back from a crash before the others have dropped it never gets in again. Use 30 or more."
    assert refusal in result.text, result.tail()
    assert (started(lab), on_disk(lab)) == before

    for host in THREE:
        put(lab, host, "/usr/local/bin/java17", JAVA_17)
    result = lab.play("rolling_restart", THREE, ok=False, aether_java="/usr/local/bin/java17", aether_java_install=False)
    assert "n1 has Java 17 and this release needs Java 25: install it there, name it with aether_java, or let aether_java_install" in result.text, result.tail()
    assert (started(lab), on_disk(lab)) == before


@pytest.fixture
def served(tmp_path):
    """A folder, and the address at which its files are to be had."""
    (tmp_path / "served").mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / "served", "http://127.0.0.1:%d/" % server.server_port
        server.shutdown()


def releases(lab, host):
    """(the current one, all that are there)."""
    return lab.release(host), set(lab.pool.exec(host, "ls", "/opt/aether/releases").stdout.split())


def test_releases_are_fetched_verified_rolled_in_and_the_oldest_removed(lab, served, tmp_path):
    folder, address = served
    sums = {"one": hashlib.sha256(lab.jar.read_bytes()).hexdigest()}
    for name in ("two", "three"):
        shutil.copy(sandbox.jar(name), folder / (name + ".jar"))
        sums[name] = hashlib.sha256((folder / (name + ".jar")).read_bytes()).hexdigest()
    assert len(set(sums.values())) == 3
    told = {name: value[:12] for name, value in sums.items()}

    def given(name, **more):
        where = {"aether_jar": "", "aether_jar_url": "%s%s.jar" % (address, name), "aether_download_dir": str(tmp_path / "downloads")}
        return dict(where, **dict({"aether_jar_sha256": sums[name]}, **more))

    before = started(lab), on_disk(lab)
    result = lab.play("rolling_restart", THREE, ok=False, **given("two", aether_jar_sha256="0" * 64))
    assert "%stwo.jar is refused, nothing was touched on n1: " % address in result.text, result.tail()
    assert "Correct aether_jar_url or aether_jar_sha256." in result.text
    assert (started(lab), on_disk(lab)) == before and not list((tmp_path / "downloads").glob("*.jar"))

    with lab.witness() as witness:
        lab.play("rolling_restart", THREE, **given("two"))
        assert all(releases(lab, host) == (told["two"], {told["one"], told["two"]}) for host in THREE)
        lab.play("rolling_restart", THREE, **given("three", aether_keep_releases=2))
        assert all(releases(lab, host) == (told["three"], {told["two"], told["three"]}) for host in THREE)
    lab.judge(witness)
    for host in THREE:
        jar = lab.pool.exec(host, "sha256sum", "/opt/aether/current/aether-node.jar").stdout.split()[0]
        assert jar == sums["three"] and lab.has_state(host)
