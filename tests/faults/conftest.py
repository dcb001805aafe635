# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster of the tests of faults, and the table of what happened in them.

Five hosts, which all modules share. A module says who the members are before each of its tests, where they are not the first three (MEMBERS), and the
API where it is not v1 (API). What a test marked ``fault`` saw becomes a line of the table; marked ``faults`` it has several, one for each of its first plays.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "plays"))

FACTOR = 0.2
HOSTS = ["n1", "n2", "n3", "n4", "n5"]
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
    config.addinivalue_line("markers", "faults((when, what), ...): a line for each of the test's first plays; its last play is the second run of all of them")
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
    if hasattr(session.config, "workerinput"):
        return  # one of several processes, which has seen only its own tests
    path, rows = session.config.getoption("--faults-table"), sorted(session.config.stash[ROWS].rows)
    if path and rows and exitstatus == 0:
        path.write_text(HEAD + "".join("| %s |\n" % " | ".join(row) for row in rows), encoding="utf-8")


@pytest.fixture(scope="session")
def labs(tmp_path_factory):
    """One lab per API, made when it is first asked for."""
    from lab import Lab  # its folder, and those it imports from, are known only when pytest is configured

    made = {}

    with contextlib.ExitStack() as down:

        def of(api):
            if api not in made:
                made[api] = down.enter_context(Lab("t-" + api, HOSTS, tmp_path_factory.mktemp(api), time_factor=FACTOR, api=api, stateless="never", formation="ok"))
            return made[api]

        yield of


@pytest.fixture
def lab(labs, request):
    """Members with something to lose; the other hosts are to come. Chance is off; each test says what goes wrong."""
    made = labs(getattr(request.module, "API", "v1"))
    made.form_again(getattr(request.module, "MEMBERS", ["n1", "n2", "n3"]))
    made.results, made.verdicts = [], []
    yield made
    values = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    single, several = request.node.get_closest_marker("fault"), request.node.get_closest_marker("faults")
    for position, (when, what) in enumerate([single.args] if single else several.args if several else ()):
        request.node.user_properties.append(("fault", row(made, when, what, values, position)))


def row(lab, when, what, values, position):
    """(while, fault, API, what happened, majority, second run) of a test that has passed; ``position``: of the play that met the fault."""
    plays = [result for result in lab.results if result.name != "status"]
    majority = "-" if not lab.verdicts else "kept" if all(lab.verdicts) else "lost to the fault itself"
    return when, what.format(**values), lab.api, how(plays[position]) if plays else "no play ran", majority, how(plays[-1], again=True) if len(plays) > position + 1 else "-"


def how(result, again=False):
    """How a play ended, in a few words."""
    name = result.name + ": "
    if result.code == 0:
        return name + ("nothing left to do" if again and result.changed == 0 and result.name != "preflight" else "ready" if result.name == "preflight" else "done")
    if result.changed == 0 and "othing was touched" in result.text:  # a drain that is refused in the middle of a roll says so, too
        return name + "refused, nothing was touched"
    if "was not added" in result.text:
        return name + "the new node was taken out again"
    return name + "%s in %s" % ("interrupted" if "nterrupted execution" in result.text else "stopped", result.phase)
