# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster of the tests of faults, and the table of what happened in them.

A module says its pool's name (POOL), its hosts (HOSTS), where they are not the first three, the members before each test (MEMBERS) and, where it
is not v1, its API (API). What a test marked ``fault`` saw becomes a line of the table.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "plays"))

FACTOR = 0.2
ROWS = pytest.StashKey()
HEAD = """# What goes wrong, and what happens then

Written by `bin/test --all` from its own run (part `faults`): each line is a test on systemd hosts, with its plays' real ends. The majority is sampled every 200 ms from
outside, by a witness that shares no code with the collection. *Second run*: the same play again, once the fault was mended.

| while | fault | API | what happened | majority | second run |
|---|---|---|---|---|---|
"""


def pytest_addoption(parser):
    parser.addoption("--faults-table", type=Path, help="write the table of faults here, when every test has passed")


def pytest_configure(config):
    config.addinivalue_line("markers", "fault(when, what): a line of the table; {name} in what is the value of the test's parameter")
    config.stash[ROWS] = Rows()
    config.pluginmanager.register(config.stash[ROWS])


class Rows:
    """Collects the lines of the table, also where the tests run in processes of their own."""

    def __init__(self):
        self.rows = []

    def pytest_runtest_logreport(self, report):
        if report.when == "teardown" and report.passed:
            self.rows += [value for name, value in report.user_properties if name == "fault"]


def pytest_sessionfinish(session, exitstatus):
    path, rows = session.config.getoption("--faults-table"), sorted(session.config.stash[ROWS].rows)
    if path and rows and exitstatus == 0:
        path.write_text(HEAD + "".join("| %s |\n" % " | ".join(row) for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def shared(request, tmp_path_factory):
    from lab import Lab  # its folder, and those it imports from, are known only when pytest is configured

    with Lab(request.module.POOL, request.module.HOSTS, tmp_path_factory.mktemp(request.module.POOL), time_factor=FACTOR, api=getattr(request.module, "API", "v1"), stateless="never", formation="ok") as made:
        yield made


@pytest.fixture
def lab(shared, request):
    """Members with something to lose; the other hosts are to come. Chance is off; each test says what goes wrong."""
    shared.form_again(getattr(request.module, "MEMBERS", ["n1", "n2", "n3"]))
    shared.results, shared.verdicts = [], []
    yield shared
    mark = request.node.get_closest_marker("fault")
    if mark:
        request.node.user_properties.append(("fault", row(shared, *mark.args, values=request.node.callspec.params if hasattr(request.node, "callspec") else {})))


def row(lab, when, what, values):
    """(while, fault, API, what happened, majority, second run) of a test that has passed."""
    plays = [result for result in lab.results if result.name != "status"]
    majority = "-" if not lab.verdicts else "kept" if all(lab.verdicts) else "lost to the fault itself"
    return when, what.format(**values), lab.api, how(plays[0]) if plays else "no play ran", majority, how(plays[-1], again=True) if len(plays) > 1 else "-"


def how(result, again=False):
    """How a play ended, in a few words."""
    name = result.name + ": "
    if result.code == 0:
        return name + ("nothing left to do" if again and result.changed == 0 and result.name != "preflight" else "ready" if result.name == "preflight" else "done")
    if "othing was touched" in result.text:
        return name + "refused, nothing was touched"
    if "was not added" in result.text:
        return name + "the new node was taken out again"
    return name + "%s in %s" % ("interrupted" if "nterrupted execution" in result.text else "stopped", result.phase)
