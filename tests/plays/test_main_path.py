# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job, at the product's speed, on systemd hosts: bootstrap, grow, roll, and again."""

from __future__ import annotations

import pytest
from lab import Lab

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
pytestmark = pytest.mark.main_path


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Lab("t-main", FIVE, tmp_path_factory.mktemp("main")) as made:
        yield made


def test_check_mode_before_there_is_anything_changes_nothing(lab):
    result = lab.play("site", THREE, "--check")
    assert "would be started" in result.output
    assert lab.pool.exec("n1", "ls", "/etc/systemd/system/aether.service", check=False).returncode != 0


def test_three_form_a_cluster(lab):
    lab.form(THREE)
    assert lab.lists(THREE) == {h: THREE for h in THREE}


def test_again_changes_nothing(lab):
    result = lab.play("site", THREE)
    assert result.changed == 0, result.changes


def test_the_plan_of_growing_says_what_it_would_do_and_does_nothing(lab):
    result = lab.play("add_node", FIVE, "--check")
    for sentence in ("n4: new", "n5: new", "n2: would be restarted (its list lacks n4, n5)", "n1: would be restarted (its list lacks n4, n5), last"):
        assert sentence in result.text, result.tail()
    assert lab.lists(THREE) == {h: THREE for h in THREE} and not lab.runs("n4")


def test_three_grow_to_five_and_the_majority_is_kept(lab):
    with lab.witness() as witness:
        result = lab.play("add_node", FIVE)
    lab.judge(witness)
    assert lab.lists() == {h: FIVE for h in FIVE}
    for host in FIVE:
        assert lab.get(host, "/api/blueprints") == {"blueprints": [{"id": "org.example:shop:1.0.0", "sliceCount": 2}]}
        assert lab.get(host, "/api/thresholds")["cpu.usage"] == {"warning": 0.6, "critical": 0.85}
    assert lab.active("n5") == 5
    assert result.output.index("PLAY [1/") < result.output.index("PLAY [7/")


def test_growing_again_changes_nothing_also_in_check_mode(lab):
    for arguments in ([], ["--check"]):
        result = lab.play("add_node", FIVE, *arguments)
        assert result.changed == 0 and result.seconds < 60, result.changes


def test_a_sixth_would_make_it_even(lab, tmp_path):
    lab.pool.up(["n6"])
    result = lab.play("add_node", FIVE + ["n6"], ok=False)
    assert "aether_allow_even=true" in result.text and "nothing was touched" in result.text
    assert lab.lists() == {h: FIVE for h in FIVE}


def test_a_rolling_restart_keeps_the_majority_and_everything_else(lab):
    before = {h: lab.get(h, "/api/status")["uptimeSeconds"] for h in FIVE}
    with lab.witness() as witness:
        result = lab.play("rolling_restart", FIVE)
    lab.judge(witness)
    assert lab.active("n1") == 5 and "5 of 5 sound" in result.text
    assert all(lab.get(h, "/api/status")["uptimeSeconds"] < before[h] + result.seconds for h in FIVE)


def test_status_shows_a_member_that_is_down(lab):
    lab.pool.exec("n5", "systemctl", "stop", "aether")
    result = lab.play("status", FIVE)
    assert "4 of 5 sound, 3 needed; can lose 1" in result.text and "does not answer" in result.text
    assert result.changed == 0
