# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters with TLS and keys: formed, grown and restarted with the secret alone; what cannot come about is recognised and explained; no secret is left anywhere."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from lab import Lab

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
SECRET, ANOTHER = "sesame-of-the-cluster-4711", "sesame-of-another-one-4712"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with Lab("t-tls", FIVE, tmp_path_factory.mktemp("tls"), time_factor=0.2, secret=SECRET, stateless="never", formation="ok") as lab:
        yield lab


@pytest.fixture
def lab(made):
    made.form_again(THREE)
    yield made


def test_it_forms_grows_and_restarts_with_the_secret_alone(lab):
    assert lab.play("site", THREE).changed == 0
    with lab.witness() as witness:
        lab.play("add_node", FIVE)
        assert lab.lists() == {h: FIVE for h in FIVE} and lab.active("n5") == 5
    lab.judge(witness)
    for host in FIVE:
        assert lab.pool.exec(host, "stat", "-c", "%a %U", "/etc/aether/secrets.env").stdout.strip() == "600 root"
        assert lab.pool.exec(host, "grep", "-rl", SECRET, "/etc", "/opt", "/var", check=False).stdout.split() == ["/etc/aether/secrets.env"]
    status = lab.play("status", FIVE)
    assert "TLS" in status.text, status.tail()


def test_another_secret_is_refused_before_anything_is_touched(lab):
    result = lab.play("add_node", FIVE, ok=False, aether_cluster_secret=ANOTHER)
    assert "comes from an authority that is not known here" in result.text and "othing was touched" in result.text, result.tail()
    result = lab.play("add_node", FIVE, ok=False, aether_tls=False, aether_cluster_secret="")
    assert "it speaks HTTPS there: name it with https://" in result.text and "othing was touched" in result.text, result.tail()
    assert not lab.runs("n4")
    lab.play("status", THREE)


class Processes:
    """The command lines of all processes of this machine, its sandbox hosts' among them, again and again."""

    def __enter__(self):
        self.seen, self.end = set(), threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.end.set()
        self.thread.join()

    def _look(self):
        while not self.end.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(path.read_bytes())


def test_no_secret_is_left_anywhere(lab, tmp_path):
    """Everything that a run prints, logs, caches or leaves in a folder, at its most talkative; the inventory has them, and the hosts' file for root."""
    keys = [{"key": "key-that-may-all-4711", "name": "ops", "role": "ADMIN"}, {"key": "key-that-may-read-4712", "name": "reader"}]
    words = [SECRET, "key-that-may-all-4711", "key-that-may-read-4712"]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    lab.more = {
        "ANSIBLE_LOG_PATH": str(tmp_path / "log"), "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "facts"),
        "ANSIBLE_LOCAL_TEMP": str(temporary), "ANSIBLE_KEEP_REMOTE_FILES": "0", "TMPDIR": str(temporary),
    }
    marks = {h: lab.pool.exec(h, "touch", "/run/before") for h in FIVE}
    assert marks
    with Processes() as processes:
        result = lab.play("add_node", FIVE, "-vvvv", "--diff", aether_api_keys=keys, aether_api_key=keys[0]["key"])
        failed = lab.play("add_node", FIVE, "-vvvv", "--diff", ok=False, aether_api_keys=[dict(keys[0], role="VIEWER")], aether_api_key=keys[1]["key"])
    lab.more = {}
    assert "has none with the role ADMIN" in failed.text
    assert len(result.output) > 100000 and (tmp_path / "log").stat().st_size > 100000 and len(processes.seen) > 100, "so there was something to look through"
    for word in words:
        for what, text in (("stdout", result.output), ("stdout", failed.output), ("log", (tmp_path / "log").read_text())):
            where = text.find(word)
            assert where < 0, (what, text[max(0, where - 300) : where].splitlines()[-1:])
        assert not [p for p in processes.seen if word.encode() in p]
        assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "state" and word.encode() in p.read_bytes()]
        for host in FIVE:
            found = lab.pool.exec(host, "sh", "-c", "find / -xdev -type f -newer /run/before -exec grep -l -e %s {} + 2>/dev/null" % word, check=False).stdout.split()
            assert [p for p in found if p != "/etc/aether/secrets.env"] == [], (host, found)
            assert word not in lab.pool.exec(host, "journalctl", "--no-pager").stdout


def test_tls_that_never_forms_is_recognised_and_explained(lab):
    for host in FIVE:
        lab._wipe(host)
        lab.switch(host, tls_forms=False)
    result = lab.play("site", THREE, ok=False, aether_ready_timeout=8)
    assert "the handshake between the nodes fails, which it always does in this release once TLS is on" in result.text, result.tail()


@pytest.fixture(scope="module")
def runbook(made, tmp_path_factory):
    made.pool.down()
    with Lab("t-tls", FIVE, tmp_path_factory.mktemp("tls-runbook"), time_factor=0.2, api="runbook", own_ca=True) as lab:
        yield lab


def test_the_runbooks_api_with_a_private_authority(runbook):
    """The nodes make their own keys; nobody without a certificate of the authority gets in; a certificate near its end is made anew."""
    lab = runbook
    lab.form(THREE)
    assert lab.play("authority", THREE).changed == 0 and lab.play("site", THREE).changed == 0
    with lab.witness() as witness:
        lab.play("add_node", FIVE)
    lab.judge(witness)
    assert lab.lists() == {h: [x for x in FIVE] for h in FIVE} and lab.active("n5") == 5
    assert lab.pool.exec("n1", "stat", "-c", "%a %U", "/etc/aether/node.key").stdout.strip() == "400 aether"
    assert "PRIVATE" not in "".join(p.read_text() for p in lab.folder.rglob("*.pem"))
    assert lab.pool.exec("n1", "curl", "-skf", "https://127.0.0.1:8080/health", check=False).returncode != 0  # no certificate shown
    before = lab.pool.exec("n1", "cat", "/etc/aether/node.pem").stdout
    lab.play("rolling_restart", FIVE, aether_tls_renew_days=400)
    assert lab.pool.exec("n1", "cat", "/etc/aether/node.pem").stdout != before
    lab.play("status", FIVE)
