# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JARs into the repository of a simulated cluster, and a blueprint from nothing."""

from __future__ import annotations

import hashlib
import zipfile

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils import client
from ansible_collections.pragmatica.aether.plugins.module_utils.dialects import v1
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import artifact, blueprint, session
from fakes import run
from simnode.testing import SimCluster

NAME = "com.example:greeter:1.0.0"
INFO = "/repository/info/com/example/greeter/1.0.0"
TOML = '[app-http]\nenabled = false\n[cluster]\nenvironment = "local"\nnodes = 3\ntls = false\n[slice]\nrepositories = ["builtin"]\n'


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(session, "SECOND_LOOK", 0.05)
    monkeypatch.setattr(client, "FIRST_BACK_OFF", 0.03)


@pytest.fixture(scope="module")
def three():
    """One cluster; each test has a name of its own in its repository."""
    with SimCluster(3) as cluster:
        cluster.start_all()
        yield cluster


def jar(folder, text="one"):
    path = folder / ("%s.jar" % text)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("text"), text)
    return path


def put(cluster, path, check_mode=False, **options):
    return run(artifact, cluster, check_mode=check_mode, **dict({"artifact": NAME, "src": str(path), "timeout": 5.0}, **options))


def refused(cluster, path, **options):
    with pytest.raises(AetherError) as caught:
        put(cluster, path, **options)
    return caught.value


def test_a_jar_is_stored_once_and_every_member_shows_it(three, tmp_path):
    path = jar(tmp_path)
    sha1 = hashlib.sha1(path.read_bytes()).hexdigest()
    plan = put(three, path, check_mode=True)
    assert plan["changed"] and not plan["actions"][0]["sent"] and three.request("GET", "n1", INFO)[0] == 500
    done = put(three, path)
    assert done["changed"] and done["diff"] == plan["diff"] and done["artifact"]["sha1"] == plan["artifact"]["sha1"] == sha1
    assert all(three.get(n, INFO)["sha1"] == sha1 for n in three.ids) and "3 members show it" in done["msg"]
    again = put(three, path)
    assert not again["changed"] and again["actions"] == []


def test_other_content_under_the_same_name_is_refused(three, tmp_path):
    mine = {"artifact": "com.example:other:1.0.0"}
    put(three, jar(tmp_path), **mine)
    error, told = refused(three, jar(tmp_path, "two"), **mine), refused(three, jar(tmp_path, "two"), check_mode=True, **mine)
    assert error.kind == "refused" and "new version" in error.message and "overwrite: true" in error.message and error.message == told.message
    assert put(three, jar(tmp_path, "two"), overwrite=True, **mine)["changed"] and not put(three, jar(tmp_path, "two"), **mine)["changed"]


def test_an_error_or_a_lost_answer_after_the_write_is_no_failure(three, tmp_path):
    mine = {"artifact": "com.example:third:1.0.0", "read_timeout": 0.3}
    three.set("n1", error_but_applied=True)
    assert len(put(three, jar(tmp_path), **mine)["actions"]) == 1
    three.set("n1", error_but_applied=False, hang_writes="after")
    assert len(put(three, jar(tmp_path, "two"), overwrite=True, **mine)["actions"]) == 1
    three.set("n1", hang_writes="")


def test_a_member_that_does_not_show_it_is_named_at_the_deadline(three, tmp_path, monkeypatch):
    original = v1.stored
    monkeypatch.setattr(v1, "stored", lambda asker, endpoint, name: None if endpoint.name == "n3" else original(asker, endpoint, name))
    error = refused(three, jar(tmp_path), artifact="com.example:partly:1.0.0", timeout=0.3)
    assert error.kind == "not_stored" and error.message.endswith("n3 shows none.") and error.data["result"]["changed"]


def test_nothing_is_stored_while_a_node_starts_unless_that_is_allowed(three, tmp_path, monkeypatch):
    mine = {"artifact": "com.example:early:1.0.0"}
    monkeypatch.setattr(artifact.slices, "cluster_refusals", lambda plan, observation, verdict, allowed: plan.refuse("starting", "n3 is not ready.", allowed))
    error, told = refused(three, jar(tmp_path), **mine), refused(three, jar(tmp_path), check_mode=True, **mine)
    assert error.kind == "refused" and "n3 is not ready. (allow_starting: true)" in error.message and error.message == told.message and error.data["result"]["actions"] == []
    assert put(three, jar(tmp_path), allow_starting=True, **mine)["changed"]
    assert not put(three, jar(tmp_path), **mine)["changed"]


def test_bad_input_at_once_and_what_the_runbook_lacks(three, tmp_path):
    text = tmp_path / "text.jar"
    text.write_text("no archive", encoding="utf-8")
    error = refused(three, text, artifact="greeter")
    assert error.kind == "bad_input" and len(error.data["findings"]) == 2 and "no whole JAR (10 bytes)" in error.message
    assert "cannot be read" in refused(three, tmp_path / "none.jar").message
    assert refused(three, jar(tmp_path), api="runbook").kind == "cannot"


def test_a_blueprint_from_nothing_needs_its_artifact_first(tmp_path):
    wanted = {"id": "com.example:app:1.0.0", "slices": [{"artifact": NAME, "instances": 2, "min_available": 1}], "stable_for": 0.1}
    with SimCluster(3) as cluster:
        for position, node in enumerate(cluster.ids):
            cluster.start(node, toml=TOML, time_factor=0.02)
            cluster.wait(lambda: cluster.get(node, "/api/health")["connectedPeers"] >= position, node)
        cluster.wait(lambda: all(cluster.sees_all(n, cluster.ids) for n in cluster.ids), "all")
        with pytest.raises(AetherError) as caught:
            run(blueprint, cluster, check_mode=True, **wanted)
        assert [r["code"] for r in caught.value.data["refusals"]] == ["artifact"] and "aether_artifact" in caught.value.message
        put(cluster, jar(tmp_path))
        assert run(blueprint, cluster, **wanted)["changed"] and put(cluster, jar(tmp_path))["artifact"]["deployed"]
