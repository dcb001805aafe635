# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster of the tests of faults, and the table of what happened in them.

Five hosts, which all modules share. A module says who the members are before each of its tests, where they are not the first three (MEMBERS), and the
API where it is not v1 (API). Each mark ``fault`` of a test becomes a line of the table, whichever lab the test has (faults_table.py).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import faults_table
import pytest

FACTOR = 0.2
HOSTS = ["n1", "n2", "n3", "n4", "n5"]
ROWS = pytest.StashKey()


def pytest_addoption(parser):
    parser.addoption("--faults-table", type=Path, help="write the table of faults here, when every test has passed")
    parser.addoption("--faults-table-lines", type=Path, help="renew here the lines of the tests that ran, when every one has passed; the others stay")


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "fault(when, what, play=0, then=-1): a line of the table; {name} in what is the value of the test's parameter. play: position of the play that met the"
        " fault, or a tuple of several; then: of the one that came afterwards, None without",
    )
    config.stash[ROWS] = Rows()
    config.pluginmanager.register(config.stash[ROWS])


class Rows:
    """Collects the lines of the table, also where the tests run in processes of their own."""

    def __init__(self):
        self.rows = []

    def pytest_runtest_logreport(self, report):
        if report.when == "teardown" and report.passed:
            self.rows += [tuple(value) for name, value in report.user_properties if name == "fault"]


def pytest_sessionfinish(session, exitstatus):
    if hasattr(session.config, "workerinput"):
        return  # one of several processes, which has seen only its own tests
    rows = session.config.stash[ROWS].rows
    if not rows or exitstatus:
        return
    for path, old in (("--faults-table", lambda path: []), ("--faults-table-lines", faults_table.read)):
        path = session.config.getoption(path)
        if path:
            faults_table.write(path, faults_table.renewed(old(path), rows))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """The lines of a test are made of the plays between its set-up and its end, once it has passed."""
    from lab import Lab  # its folder, and those it imports from, are known only when pytest is configured

    labs = list({id(value): value for value in item.funcargs.values() if isinstance(value, Lab)}.values())
    for lab in labs:
        lab.results, lab.verdicts = [], []
    result = yield
    marks = list(item.iter_markers("fault"))
    if marks:
        (lab,) = [lab for lab in labs if lab.results]
        values = item.callspec.params if hasattr(item, "callspec") else {}
        item.user_properties += [("fault", faults_table.line(lab, mark, values)) for mark in marks]
    return result


@pytest.fixture(scope="session")
def labs(tmp_path_factory):
    """One lab per API, made when it is first asked for."""
    from lab import Lab

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
    return made
