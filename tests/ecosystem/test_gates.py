# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gates that a collection passes on its way to others, each with no warning and no exception."""

from __future__ import annotations

import sys

import pytest
from conftest import GATES, ROOT, Environment

CORES = ("2.18", "2.20", "2.21", "2.22")
PYTHON = "%d.%d" % sys.version_info[:2]


@pytest.fixture(scope="session")
def core():
    return lambda version: Environment("core-" + version, ["ansible-core~=%s.0rc1" % version if version == "2.22" else "ansible-core~=%s.0" % version, "-r", str(ROOT / "requirements.txt")])


@pytest.mark.parametrize("version", [CORES[0], CORES[2]])
def test_sanity(core, shipped, version):
    code, text = core(version).run("ansible-test", "sanity", "--requirements", "--python", PYTHON, "--color", "no", cwd=shipped)
    assert code == 0, "\n".join(line for line in text.splitlines() if line.startswith(("ERROR", "FATAL")))[-4000:]


def test_the_documentation_lints(tools, shipped):
    code, text = tools.run("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", ".", cwd=shipped, ANSIBLE_COLLECTIONS_PATH=str(GATES / "shipped"))
    assert code == 0 and not text.strip(), text


def test_the_changelog_lints(tools):
    code, text = tools.run("antsibull-changelog", "lint", cwd=ROOT)
    assert code == 0 and not text.strip(), text


def test_the_importer_takes_it(tools, tarball):
    code, text = tools.run("python", "-m", "galaxy_importer.main", str(tarball))
    assert code == 0 and "Importer processing completed successfully" in text, text[-3000:]
    assert "WARNING" not in text, text


def test_an_execution_environment_gets_the_libraries(tools, shipped):
    code, text = tools.run("ansible-builder", "introspect", str(GATES / "shipped"))
    assert code == 0 and all(name in text for name in ("httpx", "jmespath", "cryptography")), text


@pytest.mark.parametrize("version", CORES)
def test_it_is_installed_into_an_empty_place_and_its_plays_run_from_there(core, tarball, version, tmp_path):
    environment = core(version)
    place = tmp_path / "collections"
    code, text = environment.run("ansible-galaxy", "collection", "install", "--offline", "-p", str(place), str(tarball), cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(place))
    assert code == 0, text
    (tmp_path / "inventory.yml").write_text("aether_nodes: {hosts: {n1: {ansible_host: 127.0.0.1, aether_management_port: 1}}}", encoding="utf-8")
    for play in sorted(p.stem for p in (ROOT / "playbooks").glob("*.yml") if not p.stem.startswith("remove_")):
        code, text = environment.run("ansible-playbook", "--syntax-check", "-i", "inventory.yml", "pragmatica.aether." + play, cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(place))
        assert code == 0 and "WARNING" not in text, (play, text)
    code, text = environment.run("ansible-playbook", "-i", "inventory.yml", "pragmatica.aether.status", cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(place), ANSIBLE_INJECT_FACT_VARS="false", ANSIBLE_DEPRECATION_WARNINGS="true")
    assert code == 0 and "0 of 1 sound" in text and "DEPRECATION" not in text, text
