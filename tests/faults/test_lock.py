# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two controllers, one cluster: never two inside, and nobody is kept out for ever."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time

import pytest
from lab import ROOT, Result

THREE = ["n1", "n2", "n3"]
LOCK = "/run/aether.lock"
ROUNDS = 20


class Controllers:
    """Starts plays that go inside, and reads who was there; they are plays of the lab like others. ``elsewhere``: on a machine of another name, which sees no process of ours."""

    def __init__(self, lab, folder):
        self.lab, self.log = lab, folder / "log"
        self.log.write_text("", encoding="utf-8")

    def start(self, me, stay=0.3, elsewhere=False, **variables):
        given = dict(variables, me=me, log=str(self.log), stay=stay)
        words = self.lab.command("tests/faults/inside.yml", THREE) + ["-e", json.dumps(given)]
        if elsewhere:
            words = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh", *words]
        return subprocess.Popen(
            words, cwd=ROOT, env=self.lab.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )

    def run(self, me, **options):
        return self.end(self.start(me, **options))

    def end(self, process):
        """(exit code, what it printed in one line)."""
        output = process.communicate()[0]
        self.lab.results.append(Result("inside", process.returncode, output, 0.0))
        return process.returncode, self.lab.results[-1].text

    def inside(self):
        return [tuple(line.split()) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def kill_inside(self, me):
        """SIGKILL of the controller while ``me`` is inside."""
        process = self.start(me, stay=60)
        self.lab.wait(lambda: ("in", me) in self.inside(), me + " to be inside")
        os.killpg(process.pid, signal.SIGKILL)
        self.end(process)


def locks(lab):
    return [h for h in THREE if lab.pool.powered(h) and lab.pool.exec(h, "test", "-e", LOCK, check=False).returncode == 0]


@pytest.fixture
def controllers(lab, tmp_path):
    return Controllers(lab, tmp_path)


@pytest.mark.fault("anything", "two controllers start within 50 ms, 20 times: the best and the worst end", play=(0, -1))
def test_of_two_that_start_together_never_two_are_inside(lab, controllers):
    wait, codes = random.Random(5), []
    for number in range(ROUNDS):
        first = controllers.start("%d-a" % number)
        time.sleep(wait.uniform(0.0, 0.05))
        second = controllers.start("%d-b" % number)
        ended = [controllers.end(first), controllers.end(second)]
        for code, text in ended:
            assert code == 0 or "Another run changes this cluster: " in text and "for inside.yml; it runs out in" in text and "aether_break_lock=" in text, text
        codes.append(sorted(code == 0 for code, _ in ended))
        assert locks(lab) == []
    went = controllers.inside()
    # Whoever goes in comes out before the next one does.
    assert all(went[i][0] == "in" and went[i + 1] == ("out", went[i][1]) for i in range(0, len(went), 2)), went
    assert codes.count([False, True]) >= ROUNDS // 2, codes  # most of the time one was refused because the other was inside
    lab.results.sort(key=lambda result: result.code)


@pytest.mark.fault("anything", "SIGKILL of the controller that has the lock: another controller is refused, and told which run to name", play=(0, 1), then=2)
@pytest.mark.fault("anything", "SIGKILL of the controller that has the lock: the same controller sees it", play=3, then=4)
def test_the_lock_of_a_dead_controller(lab, controllers):
    controllers.kill_inside("first")
    assert locks(lab) == THREE
    code, text = controllers.run("second", elsewhere=True)
    assert code != 0 and "Another run changes this cluster: " in text and "Nothing was touched." in text and ("in", "second") not in controllers.inside()
    run = text.partition("aether_break_lock=")[2].split()[0].strip("\"")
    code, text = controllers.run("third", elsewhere=True, aether_break_lock=run)
    assert code == 0 and locks(lab) == [], text
    # The same controller sees that the process is gone and asks nobody.
    controllers.kill_inside("fourth")
    code, text = controllers.run("fifth")
    assert code == 0 and ("out", "fifth") in controllers.inside() and locks(lab) == [], text


@pytest.mark.fault("anything", "SIGKILL of the controller that has the lock: it runs out")
def test_the_lock_runs_out(lab, controllers):
    process = controllers.start("first", stay=60, aether_lock_planning_seconds=4)
    lab.wait(lambda: ("in", "first") in controllers.inside(), "the first to be inside")
    os.killpg(process.pid, signal.SIGKILL)
    controllers.end(process)
    time.sleep(4)
    code, text = controllers.run("second", elsewhere=True)
    assert code == 0 and locks(lab) == [], text


@pytest.mark.fault("anything", "two of three hosts cannot be asked for the lock", play=1)
def test_a_host_that_cannot_be_asked_is_no_obstacle_and_two_are(lab, controllers):
    lab.pool.kill("n3")
    code, text = controllers.run("first")
    assert ("out", "first") in controllers.inside(), text
    lab.pool.kill("n2")
    code, text = controllers.run("second")
    assert code != 0 and "Only 1 of the 3 hosts of aether_nodes could be asked for the lock" in text and ("in", "second") not in controllers.inside(), text
    assert locks(lab) == []


@pytest.mark.fault("a roll", "the lock is broken by another controller")
def test_a_lost_lock_stops_the_play_before_its_next_change(lab):
    def break_it(process):
        for host in THREE:
            lab.pool.exec(host, "sh", "-c", "sed -i 's/\"run\": \"[^\"]*\"/\"run\": \"elsewhere\\/1\\/2\\/3\"/' " + LOCK)

    before = {h: lab.pool.exec(h, "systemctl", "show", "--property", "MainPID", "--value", "aether").stdout for h in THREE}
    with lab.witness() as witness:
        result = lab.play_until("rolling_restart", THREE, "TASK [pragmatica.aether.aether_roll : Start the node]", break_it)
    lab.judge(witness)
    assert result.code != 0 and "The lock of this cluster is lost: " in result.text
    after = {h: lab.pool.exec(h, "systemctl", "show", "--property", "MainPID", "--value", "aether").stdout for h in THREE}
    assert [h for h in THREE if before[h] != after[h]] == lab.turns(THREE)[:1]
