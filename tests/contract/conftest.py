# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends the run with the counts and with all that deviates."""

from __future__ import annotations


def pytest_terminal_summary(terminalreporter):
    from deviations import LEFT_OUT, NOT_COMPARED  # not before tests/conftest.py has set the path
    from replay import counts, report

    if counts:
        terminalreporter.section("recordings of the product, replayed against the simulated node")
        for line in report() + ["  %s %s: %s" % (*where, reason) for where, reason in sorted({**LEFT_OUT, **NOT_COMPARED}.items())]:
            terminalreporter.write_line(line)
