# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hard faults while a cluster grows: networks, hosts, disks, names and answers. The majority is kept unless the fault itself takes it."""

from __future__ import annotations

import re
import threading

import pytest

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
FAKE_JAVA = "#!/bin/sh\necho 'openjdk version \"17.0.1\" 2021-10-19' >&2\n"
LATE = "import time\nreal = time.time\ntime.time = lambda: real() - 3600\n"
LATE_PYTHON = '#!/bin/sh\nPYTHONPATH=/opt/late exec /usr/bin/python3 "$@"\n'


def file(lab, host, path, text, mode="644"):
    lab.pool.exec(host, "sh", "-c", "mkdir -p $(dirname %s) && cat > %s && chmod %s %s" % (path, path, mode, path), input=text)


def untouched(lab):
    """No file on the new hosts, nobody runs there, and the old members are as they were."""
    for host in ("n4", "n5"):
        assert not lab.pool.exec(host, "sh", "-c", "ls -d /opt/aether/releases /etc/aether /var/lib/aether /etc/systemd/system/aether.service 2>/dev/null", check=False).stdout
    members_as_before(lab)


def members_as_before(lab):
    assert not lab.runs("n4") and not lab.runs("n5")
    assert lab.lists(THREE) == {h: THREE for h in THREE} and lab.active("n1") == 5


def refused(lab, *arguments, **variables):
    """The play ends in its first phase with everybody untouched."""
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE, *arguments, ok=False, **variables)
    lab.judge(witness)
    assert "nothing was touched" in result.text and result.phase.startswith("1/"), result.tail()
    untouched(lab)
    return result


def grows(lab):
    """The second run: the new nodes are there; the faults are about them, so the old members keep their lists, which is quicker."""
    with lab.witness() as witness:
        lab.play("add_node", FIVE, aether_roll_lists=False)
    lab.judge(witness)
    assert lab.lists() == {h: THREE if h in THREE else FIVE for h in FIVE} and lab.active("n5") == 5


# --- known beforehand -----------------------------------------------------------------------------------------------------


@pytest.mark.fault("known beforehand", "single ports between a new node and a member are blocked, one-way and two-way", play=0)
@pytest.mark.fault("known beforehand", "everything between a new node and a member is blocked, one-way and two-way", play=1)
@pytest.mark.fault("known beforehand", "one new host has a Java that is too old, the clock of the other is an hour off", play=2)
@pytest.mark.fault("known beforehand", "a configuration that the product would silently drop", play=3)
@pytest.mark.fault("known beforehand", "a node id that is none", play=4)
@pytest.mark.fault("known beforehand", "one member's management answers 500, another's closes in the middle of an answer", play=5)
def test_what_is_refused_before_anything_is_touched(lab):
    lab.pool.fault("cut1", ["n2"], ["n4"], udp=8090)
    lab.pool.fault("cut1", ["n3"], ["n5"], udp=8190)
    lab.pool.fault("cut", ["n5"], ["n1"], udp=8190)
    lab.pool.fault("cut", ["n4"], ["n1"], udp=8090)
    result = refused(lab)
    for sentence in (
        "n2 does not reach n4 ({n4}) on cluster 8090/udp", "n3 does not reach n5 ({n5}) on gossip 8190/udp",
        "n1 does not reach n5 ({n5}) on gossip 8190/udp; the other way cannot be judged", "n4 does not reach n1 ({n1}) on cluster 8090/udp", "n1 does not reach n4 ({n4}) on cluster 8090/udp",
    ):
        assert sentence.format(**lab.ips) in result.text, result.tail()
    lab.pool.heal()

    lab.pool.fault("cut1", ["n4"], ["n2"])
    lab.pool.fault("cut", ["n5"], ["n3"])
    result = refused(lab)
    for sentence in ("n4 does not reach n2 ({n2})", "the block is one-way, from n4 to n2", "n5 does not reach n3 ({n3})", "n3 does not reach n5 ({n5})", "nor does n5 reach n3"):
        assert sentence.format(**lab.ips) in result.text, result.tail()
    lab.pool.heal()

    # The sandbox has one clock for all; the Python of the one host is told another time.
    file(lab, "n4", "/usr/local/bin/java17", FAKE_JAVA, "755")
    file(lab, "n5", "/opt/late/sitecustomize.py", LATE)
    file(lab, "n5", "/opt/late/python3", LATE_PYTHON, "755")
    result = refused(lab, *lab.of_hosts(n4={"aether_java": "/usr/local/bin/java17", "aether_java_install": False}, n5={"ansible_python_interpreter": "/opt/late/python3"}))
    assert "'/usr/local/bin/java17' is Java 17, and this release needs Java 25" in result.text
    assert re.search(r"ERROR \(clock\) n5: Its clock is about 3(599|600|601) s behind the others'", result.text), result.tail()

    result = refused(lab, *lab.of_hosts(n4={"aether_heap": "lots", "aether_app_http_port": 8190}, n5={"aether_environment": "${env:STAGE}"}))
    for sentence in (
        "aether_heap is 'lots'; write it like 512m or 4g.", "aether_app_http_port and the gossip port (aether_cluster_port + 100) are both 8190",
        "aether_environment is '${env:STAGE}'; it must be one of local, docker, kubernetes.",
    ):
        assert sentence in result.text, result.tail()

    result = lab.play("add_node", FIVE, *lab.of_hosts(n4={"aether_node_id": "${NODE_ID}"}), ok=False)
    assert "The inventory is refused: aether_node_id of n4 is '${NODE_ID}', which is no node id" in result.text, result.tail()

    lab.front("n2", "500")
    lab.front("n3", "closing")
    result = lab.play("add_node", FIVE, ok=False)
    assert "Refused, nothing was touched: n2, n3" in result.text, result.tail()
    lab.unfront("n2")
    lab.unfront("n3")
    untouched(lab)
    lab.play("preflight", FIVE)


@pytest.mark.fault("known beforehand", "a name that a member cannot resolve any more")
def test_a_name_that_a_member_cannot_resolve_any_more_is_refused(lab):
    """The new hosts are called by name, in the inventory and in every list."""
    lab.names = {"n4": lab.ips["n4"], "n5": lab.ips["n5"]}
    named = lab.of_hosts(n4={"aether_address": "n4"}, n5={"aether_address": "n5"})
    names = lab.pool.exec("n2", "cat", "/etc/hosts").stdout
    file(lab, "n2", "/etc/hosts", "".join(line + "\n" for line in names.splitlines() if not line.endswith(" n4")))
    result = refused(lab, *named)
    assert "n2 cannot ask n4 under n4" in result.text and "Mend the name or aether_address" in result.text, result.tail()
    file(lab, "n2", "/etc/hosts", names)
    with lab.witness() as witness:
        lab.play("add_node", FIVE, *named, aether_roll_lists=False)
    lab.judge(witness)
    assert lab.lists(["n4", "n5"]) == {"n4": FIVE, "n5": FIVE}


# --- while it goes on -----------------------------------------------------------------------------------------------------


@pytest.mark.fault("the join of a new node", "its name is known to the members and not to the controller", play=0, then=4)
@pytest.mark.fault("the join of a new node", "its cluster port is blocked from a member, one-way", play=1, then=4)
@pytest.mark.fault("the join of a new node", "its cluster port is blocked from a member, two-way", play=2, then=4)
@pytest.mark.fault("the installation on a new host", "the disk is full while the JAR is written", play=3, then=4)
@pytest.mark.fault("the join of a new node", "a member's management hangs for 8 s", play=4, then=5)
def test_what_takes_the_new_node_out_again_or_is_waited_for(lab):
    """One after the other on the same hosts: after each the members are as before, and the last one is survived."""

    def taken_out(result):
        assert result.code != 0
        members_as_before(lab)
        assert not lab.enabled("n4")

    with lab.witness() as witness:
        result = lab.play("add_node", FIVE, *lab.of_hosts(n4={"aether_address": "n4"}), ok=False, aether_ready_timeout=8, aether_gone_timeout=20)
        assert re.search(r"n4 was not added: n4 is not a member after \d+ s: no connection to http://n4:8080", result.text), result.tail()
        taken_out(result)

        for kind in ("cut1", "cut"):
            result = lab.play_until("add_node", FIVE, "PLAY [3/7", lambda process: lab.pool.fault(kind, ["n2"], ["n4"], udp=8090), aether_ready_timeout=8)
            assert "n4 was not added" in result.text and "n4 does not see n2 (is a way between them blocked?)" in result.text and "stopped and disabled again" in result.text, result.tail()
            taken_out(result)
            lab.pool.heal()

        lab.pool.exec("n4", "sh", "-c", "rm -rf /opt/aether/*; mount -t tmpfs -o size=16m,mode=755 small /opt/aether")
        fill = lambda process: lab.pool.exec("n4", "sh", "-c", "cat /dev/zero > /opt/aether/full", check=False)
        result = lab.play_until("add_node", FIVE, "PLAY [3/7", fill, aether_disk_mb=4)
        assert "n4" in result.text and "No space left on device" in result.text
        taken_out(result)
        assert not lab.pool.exec("n4", "sh", "-c", "ls /opt/aether/releases/*/aether-node.jar", check=False).stdout, "whole or not at all"
        lab.pool.exec("n4", "rm", "/opt/aether/full")

        def hang(process):
            lab.front("n2", "hanging")
            threading.Timer(8.0, lambda: lab.unfront("n2")).start()

        result = lab.play_until("add_node", FIVE, "Wait for the membership of n4", hang, aether_roll_lists=False, aether_disk_mb=4)
        assert result.code == 0
    lab.judge(witness)
    assert lab.lists() == {h: THREE if h in THREE else FIVE for h in FIVE} and lab.active("n5") == 5
    assert lab.play("add_node", FIVE, aether_roll_lists=False, aether_disk_mb=4).changed == 0


@pytest.mark.fault("the restart of an old member", "its host is frozen for 20 s")
def test_a_member_that_is_frozen_for_20_seconds_during_its_restart(lab):
    def freeze(process):
        lab.pool.freeze("n2")
        threading.Timer(20.0, lambda: lab.pool.thaw("n2")).start()

    with lab.witness() as witness:
        result = lab.play_until("add_node", FIVE, "Wait for the membership of n2", freeze)
    lab.judge(witness)
    assert result.code == 0
    assert lab.lists() == {h: FIVE for h in FIVE}
    assert lab.play("add_node", FIVE).changed == 0


@pytest.mark.fault("the join of a new node", "two hosts lost at once")
def test_two_members_lost_at_once_take_the_majority_and_nothing_more_is_touched(lab):
    def lose(process):
        lab.pool.kill("n2")
        lab.pool.kill("n3")

    with lab.witness() as witness:
        result = lab.play_until("add_node", FIVE, "PLAY [3/7", lose, aether_leader_timeout=10)
        assert result.code != 0
        assert not lab.runs("n4") and not lab.runs("n5") and lab.runs("n1")
    lab.judge_lost(witness)
    refused_again = lab.play("add_node", FIVE, ok=False)
    assert "n2, n3 cannot be reached" in refused_again.text and "Nothing was touched" in refused_again.text
    lab.pool.boot("n2")
    lab.pool.boot("n3")
    lab.wait(lambda: all(lab.has_state(h) for h in THREE), "the members to be back with their state", 90)
    grows(lab)
