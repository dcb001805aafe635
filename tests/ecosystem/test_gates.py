# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gates that a collection passes on its way to others, each with no warning and no exception."""

from __future__ import annotations

import pytest
from environments import CORES, GATES, ROOT, Environment, core, python, requirements

TARGET = "3.9"  # the oldest Python on a host
# What ansible-test says of a machine that lacks the American locale. It is not about the collection.
OF_THE_MACHINE = ("Using locale", "Reviewing previous 1 warning")
STATUS = ("ansible-playbook", "-i", "inventory.yml", "pragmatica.aether.status")
IMPORTS = """
import importlib, pathlib, sys
names = [str(p.relative_to(sys.argv[1]).with_suffix("")).replace("/", ".") for place in ("module_utils", "modules") for p in pathlib.Path(sys.argv[1], sys.argv[2], place).rglob("*.py")]
for name in names:
    importlib.import_module(name)
print(len(names), "imported by", sys.version.split()[0])
"""


@pytest.mark.parametrize("version", [min(CORES), max(CORES)])
def test_sanity(shipped, version):
    code, text = core(version).run("ansible-test", "sanity", "--requirements", "--python", CORES[version][1], "--color", "no", cwd=shipped)
    assert code == 0, "\n".join(line for line in text.splitlines() if line.startswith(("ERROR", "FATAL")))[-4000:]
    assert [line for line in text.splitlines() if line.startswith("WARNING") and not any(words in line for words in OF_THE_MACHINE)] == []
    assert not list(shipped.glob("tests/sanity/ignore*")), "an entry there wants its reason beside it"


def test_the_documentation_lints(tools, shipped):
    code, text = tools.run("antsibull-docs", "lint-collection-docs", "--plugin-docs", ".", cwd=shipped, ANSIBLE_COLLECTIONS_PATH=str(GATES / "shipped"))
    assert code == 0 and not text.strip(), text


def test_the_changelog_lints_and_has_this_release(tools):
    code, text = tools.run("antsibull-changelog", "lint", cwd=ROOT)
    assert code == 0 and not text.strip(), text
    version = next(line.split()[1] for line in (ROOT / "galaxy.yml").read_text(encoding="utf-8").splitlines() if line.startswith("version:"))
    assert "\nv%s\n" % version in (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")


def test_the_importer_takes_it(tools, tarball):
    code, text = tools.run("python", "-m", "galaxy_importer.main", str(tarball), cwd=GATES)  # where it leaves its report
    assert code == 0 and "Importer processing completed successfully" in text, text[-3000:]
    assert not [line for line in text.splitlines() if line.startswith(("WARNING", "ERROR"))], text


def test_an_execution_environment_gets_the_libraries(tools, shipped):
    code, text = tools.run("ansible-builder", "introspect", str(GATES / "shipped"))
    assert code == 0 and all("'%s  # from collection pragmatica.aether'" % line in text for line in requirements(ROOT / "requirements.txt")), text


@pytest.fixture
def installed(tarball, tmp_path):
    """Called with a core: the tarball in an otherwise empty place, an inventory of one node that is not there, and how to run a command."""

    def made(version):
        environment, place = core(version), tmp_path / "collections"

        def run(*words, **environ):
            # Facts are found in ansible_facts only, and a deprecation is as good as an error below.
            return environment.run(*words, cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(place), ANSIBLE_INJECT_FACT_VARS="false", ANSIBLE_DEPRECATION_WARNINGS="true", **environ)

        code, text = run("ansible-galaxy", "collection", "install", "--offline", "-p", str(place), str(tarball))
        assert code == 0 and "WARNING" not in text, text
        (tmp_path / "inventory.yml").write_text("aether_nodes: {hosts: {n1: {ansible_host: 127.0.0.1, aether_management_port: 1}}}", encoding="utf-8")
        return run

    return made


@pytest.mark.parametrize("version", CORES)
def test_it_is_installed_into_an_empty_place_and_its_plays_run_from_there(installed, version):
    run = installed(version)
    plays = sorted("pragmatica.aether." + p.stem for p in (ROOT / "playbooks").glob("*.yml"))
    code, text = run("ansible-playbook", "--syntax-check", "-i", "inventory.yml", *plays)
    assert code == 0 and "WARNING" not in text, text
    code, text = run(*STATUS)
    assert code == 0 and "0 of 1 sound" in text and "WARNING" not in text, text


def test_the_oldest_python_of_a_host_imports_everything_and_runs_a_module(installed, shipped):
    old = Environment("python-" + TARGET, ["ansible-core", *requirements(ROOT / "requirements.txt")], python(TARGET))
    place = shipped.parents[2]
    code, text = old.run("python", "-W", "error", "-c", IMPORTS, str(place), str(shipped.relative_to(place)), cwd=place, PYTHONPATH=str(place))
    assert code == 0 and "imported by %s." % TARGET in text, text
    # The newest core ships the module to that Python instead of running the operation in its own process.
    run = installed(max(CORES))
    code, text = run(*STATUS, "-e", "ansible_python_interpreter=%s" % (old.path / "bin" / "python"), "-e", "aether_in_process=false")
    assert code == 0 and "0 of 1 sound" in text and "WARNING" not in text, text
