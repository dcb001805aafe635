# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of faults, docs/faults.md: a line for each fault that a test provoked, made of what its plays really left."""

from __future__ import annotations

import re

HEAD = """# What goes wrong, and what happens then

Written by `bin/test --all` from its own run (part `faults`): each line is a test on systemd hosts, with its plays' real ends. A run of single tests, `bin/test tests/faults/FILE`, renews the lines of
those tests. The majority is sampled every 200 ms from outside, by a witness that shares no code with the collection; a dash: that test does not watch it.
*Afterwards*: the play that came once the fault was mended, with its name, for it is not always the same one. Where a test provokes several faults one after the other,
one play at its end serves them all; a dash: the fault itself was survived, or the test ends there.

| while | fault | API | what happened | majority | afterwards |
|---|---|---|---|---|---|
"""


PROBES = ("inside", "verify_start")  # plays of the tests' own, which never change anything


def line(lab, mark, values):
    """(while, fault, API, what happened, majority, afterwards) of a test that has passed. ``values``: of its parameters, for {name} in the mark.

    The mark's ``play``: position of the play that met the fault among those of the test, or several; ``then``: of the one that came afterwards, or None.
    """
    when, what = mark.args
    plays, positions = lab.results, range(len(lab.results))
    met, then = mark.kwargs.get("play", 0), mark.kwargs.get("then", -1)
    met = [positions[p] for p in (met if isinstance(met, tuple) else (met,))]
    happened = "; ".join(how(plays[p]) for p in met)
    majority = "-" if not lab.verdicts else "kept" if all(lab.verdicts) else "lost to the fault itself"
    afterwards = how(plays[then], again=True) if then is not None and positions[then] > max(met) else "-"
    made = (when, what.format(**values), lab.api, happened, majority, afterwards)
    if any("|" in cell for cell in made):
        raise ValueError("a cell of the table of faults may not have a '|': %s" % (made,))
    return made


def how(result, again=False):
    """How a play ended, in a few words."""
    name = result.name + ": "
    sound = re.findall(r"\d+ of \d+ sound", result.text) if result.name == "status" else []
    if sound:
        return name + sound[-1]
    if result.code == 0:
        if result.name == "preflight":
            return name + "ready"
        return name + ("nothing left to do" if again and result.changed == 0 and result.name not in PROBES else "done")
    if result.changed == 0 and "othing was touched" in result.text:  # a drain that is refused in the middle of a roll says so, too
        return name + "refused, nothing was touched"
    if "was not added" in result.text:
        return name + "the new node was taken out again"
    if result.name == "verify_start":
        return name + "the start is found wanting"
    return name + "%s in %s" % ("killed" if result.code < 0 else "interrupted" if "nterrupted execution" in result.text else "stopped", result.phase)


def read(path):
    """The lines of a table that is there, without its head."""
    text = path.read_text(encoding="utf-8").partition(HEAD.splitlines()[-1] + "\n")[2] if path.exists() else ""
    return [tuple(row[2:-2].split(" | ")) for row in text.splitlines()]


def renewed(old, new):
    """``old`` with the lines of ``new`` in the place of those about the same fault (while, fault, API)."""
    keys = {row[:3] for row in new}
    return [row for row in old if row[:3] not in keys] + new


def write(path, rows):
    path.write_text(HEAD + "".join("| %s |\n" % " | ".join(row) for row in sorted(rows)), encoding="utf-8")
