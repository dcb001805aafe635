# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the commands in bin/ say when they cannot get what they need: one sentence, with the command that helps."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# In the place of every Python: makes an environment of itself, and its pip reaches no index.
PYTHON = """#!/bin/sh
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") exit 1 ;;
esac
"""


@pytest.mark.parametrize("installed, missing", [(False, "Python packages of tests/requirements.txt"), (True, "Python package ansible")])
def test_without_the_package_index_it_is_said_how_to_go_on(tmp_path, installed, missing):
    for name in ("bin/_env", "bin/docs", "requirements.txt", "tests/requirements.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "python3.14"
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    if installed:
        (tmp_path / ".dev" / "venv" / "bin").mkdir(parents=True)
        shutil.copy(python, tmp_path / ".dev" / "venv" / "bin" / "python")
        both = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", "tests/requirements.txt"))
        (tmp_path / ".dev" / "venv" / ".requirements").write_text(both, encoding="utf-8")
    done = subprocess.run([str(tmp_path / "bin" / "docs"), "-x"], env={"PATH": "%s:/usr/bin:/bin" % tmp_path}, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith("docs: the " + missing) and last.endswith("'PIP_INDEX_URL=URL bin/docs -x'."), done.stderr
