# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the parts of the test suite one after the other, says how long each took, and ends with one line of counts.

A part is a pytest run, counted by its own report, or one command, counted as one test. A part that runs no test has failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import List, Tuple

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / ".dev" / "reports"
QUORUM = "ansible_collections.pragmatica.aether.plugins.module_utils.quorum"
FAULTS = "docs/faults.md"
# A play alone keeps one core busy, with a rest for the nodes: two clusters at once fill two cores.
TWO_AT_A_TIME = ("-v", "-n", "2", "--durations=100")


@dataclass(frozen=True)
class Part:
    """``command``: what to run; a pytest run when it begins with "pytest". ``always``: also without --all."""

    name: str
    what: str
    command: Tuple[str, ...]
    always: bool = True


PARTS = (
    Part("lint", "ansible-lint, profile production, and what must never be in the tree", ("pytest", "tests/tree")),
    Part("unit", "decisions, client, waits, both doors; quorum.py covered by 95 % at least", ("pytest", "tests/unit", "--cov=" + QUORUM, "--cov-report=term", "--cov-fail-under=95", "-n", "2")),
    Part("contract", "the simulated node against recordings of the product", ("pytest", "tests/contract", "-s")),
    Part("sandbox", "the hosts of the sandbox and their faults", ("pytest", "tests/sandbox_hosts")),
    Part(
        "plays", "the main path: the plays at the product's speed, watched from outside, and its Molecule scenarios",
        ("pytest", "tests/plays", "tests/scenarios", "-m", "main_path", *TWO_AT_A_TIME, "--dist", "loadfile"),
    ),
    Part(
        "faults", "everything that may go wrong, and the other Molecule scenarios; writes docs/faults.md",
        ("pytest", "tests/scenarios", "tests/faults", "-m", "not main_path", *TWO_AT_A_TIME, "--dist", "worksteal", "--faults-table=" + FAULTS), always=False,
    ),
    Part(
        "ecosystem", "what a collection passes on its way to others: four cores, ansible-test, the importer, the site of its documentation, and every module's examples",
        ("pytest", "tests/ecosystem", "-v", "--durations=15"), always=False,
    ),
)


def run_part(part: Part) -> Tuple[int, int]:
    """(passed, failed)."""
    report = REPORTS / (part.name + ".xml")
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", *part.command, *([] if "-v" in part.command else ["-q"]), "--color=no", "-p", "no:cacheprovider", "--junitxml=%s" % report]
    code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode
    return count(report, code)


def count(report: Path, code: int) -> Tuple[int, int]:
    """Passed and failed of a pytest report; a run that failed without a failed test counts as one failure, so does an empty one."""
    passed = failed = 0
    if report.exists():
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            passed += int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0))
            failed += bad
    if failed == 0 and (code != 0 or passed == 0):
        failed = 1
    return passed, failed


def main(argv: List[str]) -> int:
    parser = argparse.ArgumentParser(prog="bin/test", description="Run the tests: all parts that are quick enough for every change, or those named.")
    parser.add_argument("--all", action="store_true", help="also the parts that take longer")
    parser.add_argument("parts", nargs="*", metavar="PART", help="files of tests, or " + ", ".join("%s (%s)" % (p.name, p.what.replace("%", "%%")) for p in PARTS))
    options = parser.parse_args(argv)
    files = tuple(name for name in options.parts if "/" in name)
    unknown = sorted(set(options.parts) - {p.name for p in PARTS} - set(files))
    if unknown:
        parser.error("there is no part %s; the parts are %s" % (", ".join(unknown), ", ".join(p.name for p in PARTS)))
    chosen = [p for p in PARTS if p.name in options.parts] if options.parts else [p for p in PARTS if p.always or options.all]
    if files:
        # Single tests of faults renew their own lines of the table.
        table = ("--faults-table-lines=" + FAULTS,) if any(name.startswith("tests/faults") for name in files) else ()
        chosen.append(Part("chosen", " ".join(files), ("pytest", *files, *table)))
    REPORTS.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    os.environ.setdefault("AETHER_SANDBOX_KEEP_COMPILED", "1")
    results = []
    for number, part in enumerate(chosen, 1):
        print("\n=== %d/%d %s: %s" % (number, len(chosen), part.name, part.what), flush=True)
        start = time.monotonic()
        passed, failed = run_part(part)
        results.append((part, passed, failed, time.monotonic() - start))
        print("=== %s: %d passed, %d failed in %.0f s" % (part.name, passed, failed, results[-1][3]), flush=True)
    print()
    for part, passed, failed, seconds in results:
        print("%-10s %4d passed %3d failed %6.0f s" % (part.name, passed, failed, seconds))
    failures = sum(r[2] for r in results)
    print("%d passed, %d failed" % (sum(r[1] for r in results), failures), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
