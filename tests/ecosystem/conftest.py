# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as a user gets it, and the environments in which it is looked at."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import environments  # noqa: E402
from environments import GATES, ROOT  # noqa: E402

# What a network without the rest of the world lacks: ansible-test fetches get-pip.py, and ensurepip does the same.
# It is put into the user's own home, as CONTRIBUTING.md says: there alone ansible-test looks for it, and another home would hide the settings of pip and pyenv from it.
GET_PIP = "import ensurepip; ensurepip.bootstrap()\n"


@pytest.fixture(scope="session")
def tools():
    return environments.tools()


@pytest.fixture(scope="session")
def tarball(tools):
    """Built by ansible-galaxy, as it is published."""
    subprocess.run(["rm", "-rf", str(GATES / "built")], check=True)
    code, text = tools.run("ansible-galaxy", "collection", "build", "--output-path", str(GATES / "built"), str(ROOT))
    assert code == 0 and "WARNING" not in text, text
    (found,) = (GATES / "built").glob("pragmatica-aether-*.tar.gz")
    return found


@pytest.fixture(scope="session")
def shipped(tarball):
    """What is in the tarball, where ansible-test wants it."""
    folder = GATES / "shipped" / "ansible_collections" / "pragmatica" / "aether"
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.mkdir(parents=True)
    with tarfile.open(tarball) as archive:
        archive.extractall(folder, filter="data")
    subprocess.run(["git", "init", "--quiet", "."], cwd=folder, check=True)  # so that ansible-test sees its files and no others
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    for name in ("get_pip_%s.py" % release for release in ("24_2", "25_2")):
        path = Path.home() / ".ansible" / "test" / "cache" / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(GET_PIP, encoding="utf-8")
    return folder
