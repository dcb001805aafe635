# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gates that a collection passes on its way to others, each with no warning and no exception."""

from __future__ import annotations

import json
import os
import re

import pytest
from environments import CORES, GATES, ROOT, Environment, core, python, requirements
from simnode.testing import SimCluster, free_ports

TARGET = "3.9"  # the oldest Python on a host
# What ansible-test says of a machine that lacks the American locale. It is not about the collection.
OF_THE_MACHINE = ("Using locale", "Reviewing previous 1 warning")
PLAY = ("ansible-playbook", "-i", "inventory.json")
STATUS = (*PLAY, "pragmatica.aether.status")
# Each core with the Pythons that it runs on.
PAIRS = [(version, release) for version, (_core, *releases) in CORES.items() for release in dict.fromkeys(releases)]
CART = "org.example:cart:1.0.0"
SHOP = 'id = "org.example:shop:1.0.0"\n[[slices]]\nartifact = "%s"\ninstances = 2\n' % CART
# What decides and what asks, as far as it needs neither Ansible nor a cluster.
PURE = ("quorum", "reasons", "client", "growth", "shrinking", "placement", "config_rules", "waiting")
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
def members():
    """Three simulated nodes on loopback with a blueprint."""
    with SimCluster(3) as cluster:
        cluster.start_all()
        assert cluster.request("POST", "n1", "/api/blueprint", SHOP)[0] == 200
        cluster.wait(lambda: active(cluster) == 2, "the slices to be active")
        yield cluster


def active(cluster):
    return sum(i["state"] == "ACTIVE" for s in cluster.get("n1", "/api/slices")["slices"] for i in s["instances"])


@pytest.fixture
def installed(tarball, tmp_path):
    """Called with a core: the tarball in an otherwise empty place, an inventory of the nodes at ``ports``, and how to run a command."""

    def made(version, release, ports):
        environment, place = core(version, release), tmp_path / "collections"

        def run(*words, **environ):
            # Facts are found in ansible_facts only, and a deprecation is as good as an error below.
            return environment.run(*words, cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(place), ANSIBLE_INJECT_FACT_VARS="false", ANSIBLE_DEPRECATION_WARNINGS="true", **environ)

        code, text = run("ansible-galaxy", "collection", "install", "--offline", "-p", str(place), str(tarball))
        assert code == 0 and "WARNING" not in text, text
        # Every host is this machine, so each has a lock of its own, and nobody is to become another user.
        of_each = {
            "ansible_host": "127.0.0.1", "ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "aether_lock_path": "%s/lock-{{ inventory_hostname }}" % tmp_path,
        }
        hosts = {node: dict(of_each, aether_cluster_port=cluster, aether_management_port=management) for node, (cluster, management) in ports.items()}
        (tmp_path / "inventory.json").write_text(json.dumps({"aether_nodes": {"hosts": hosts}}), encoding="utf-8")
        return run

    return made


def asking(cluster):
    """A play that asks whether the cluster holds its majority, through both doors, and whether it could do without two of three."""
    endpoints, shipped = {"endpoints": cluster.endpoint_list()}, {"aether_in_process": False}
    check = "pragmatica.aether.aether_quorum_check"
    return [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [
        {check: dict(endpoints, require="complete", timeout=10)},
        {check: dict(endpoints, require="complete", timeout=10), "vars": shipped},
        {check: dict(endpoints, without=["n1", "n2"]), "register": "two", "failed_when": "two is not failed or 'would_not_survive' not in two.failure.codes"},
    ]}]


@pytest.mark.parametrize(("version", "release"), PAIRS)
def test_it_is_installed_into_an_empty_place_and_its_plays_run_from_there(installed, members, tmp_path, version, release):
    run = installed(version, release, members.ports)
    plays = sorted("pragmatica.aether." + p.stem for p in (ROOT / "playbooks").glob("*.yml"))
    code, text = run(*PLAY, "--syntax-check", *plays)
    assert code == 0 and "WARNING" not in text, text
    code, text = run(*STATUS)
    assert code == 0 and "3 of 3 sound, 2 needed; can lose 1; leader n1" in text and "WARNING" not in text, text
    (tmp_path / "ask.json").write_text(json.dumps(asking(members)), encoding="utf-8")
    code, text = run(*PLAY, "ask.json")
    assert code == 0 and "ok=3 " in text and "WARNING" not in text, text


def test_what_is_installed_shows_the_slices_and_scales_them(installed, members):
    run = installed(max(CORES), "", members.ports)
    code, text = run(*PLAY, "pragmatica.aether.slices")
    assert code == 0 and CART in text and "WARNING" not in text, text
    for changed in (1, 0):
        code, text = run(*PLAY, "pragmatica.aether.scale_slices", "-e", "artifact=" + CART, "-e", "instances=3")
        assert code == 0 and sum(map(int, re.findall(r"changed=(\d+)", text))) == changed and "WARNING" not in text, text
        assert active(members) == 3


def test_a_role_that_is_installed_finds_the_template_of_another(installed):
    """An added zero makes the port no number of TOML: only the file that role aether_service would write can say so."""
    run = installed(max(CORES), "", {"n1": free_ports()})
    given = {"aether_preflight_stop": False, "aether_preflight_listen": 2, "aether_app_http_port": "08070"}
    code, text = run(*PLAY, "pragmatica.aether.preflight", "-e", json.dumps(given))
    assert code == 0 and "aether.toml: " in text and "The product would drop the whole file" in text and "WARNING" not in text, text


def test_the_oldest_python_of_a_host_imports_everything_and_runs_a_module(installed, members, shipped):
    old = Environment("python-" + TARGET, ["ansible-core", "pytest", "pytest-timeout", "hypothesis", *requirements(ROOT / "requirements.txt")], python(TARGET))
    place, tests = shipped.parents[2], ROOT / "tests" / "unit"
    code, text = old.run("python", "-W", "error", "-c", IMPORTS, str(place), str(shipped.relative_to(place)), cwd=place, PYTHONPATH=str(place))
    assert code == 0 and "imported by %s." % TARGET in text, text
    # What the collection decides there, and how its client takes what it is answered.
    files = [str(tests / ("test_%s.py" % name)) for name in PURE]
    only = ("-c", os.devnull, "--rootdir", str(tests), "--noconftest", "-p", "no:cacheprovider", "-q")
    code, text = old.run("python", "-m", "pytest", *only, *files, cwd=old.path, PYTHONPATH=os.pathsep.join([str(place), str(tests)]))
    assert code == 0 and re.search(r"^\d{3,} passed", text, re.M), text[-4000:]
    # The newest core ships the module to that Python instead of running the operation in its own process.
    run = installed(max(CORES), "", members.ports)
    code, text = run(*STATUS, "-e", "ansible_python_interpreter=%s" % (old.path / "bin" / "python"), "-e", "aether_in_process=false")
    assert code == 0 and "3 of 3 sound" in text and "WARNING" not in text, text
