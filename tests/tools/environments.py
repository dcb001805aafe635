# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Environments beside the one that tests run in, made when they are first asked for and kept in .dev/gates."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GATES = ROOT / ".dev" / "gates"
# Each core, until there is a 2.22.0 its release candidate, with the oldest Python it supports and the newest it supports of those that are to be had. 2.20 and
# 2.21 support 3.14, and 2.22 supports 3.14 and 3.15, which are not: whoever has them puts them here.
CORES = {
    "2.18": ("2.18.0", "3.11", "3.13"), "2.20": ("2.20.0", "3.12", "3.13"), "2.21": ("2.21.0", "3.12", "3.13"), "2.22": ("2.22.0rc1", "3.13", "3.13"),
}
# Of one library ansible-test wants a commit from elsewhere; the release of that name does as well.
FROM_ELSEWHERE = re.compile(r"^([\w-]+) @ https:\S+", re.M)


class Environment:
    """A virtual environment with its programs. ``requirements``: what pip is given, ``python``: whose environment; another list makes it anew."""

    def __init__(self, name: str, requirements, python: str = sys.executable):
        self.path = GATES / name
        stamp, wanted = self.path / ".requirements", "\n".join([python, *requirements])
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            subprocess.run([python, "-m", "venv", "--clear", str(self.path)], check=True)
            subprocess.run([str(self.path / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *requirements], check=True)
            for file in self.path.glob("lib/python*/site-packages/ansible_test/_data/requirements/*.txt"):
                file.write_text(FROM_ELSEWHERE.sub(r"\1", file.read_text(encoding="utf-8")), encoding="utf-8")
            stamp.write_text(wanted, encoding="utf-8")

    def run(self, *words: str, cwd=ROOT, **environ):
        """(exit code, everything it printed)."""
        environment = dict(os.environ, PATH="%s:%s" % (self.path / "bin", os.environ["PATH"]), ANSIBLE_NOCOLOR="1", NO_COLOR="1", LC_ALL="C.UTF-8", **environ)
        environment.pop("ANSIBLE_CONFIG", None)
        done = subprocess.run(words, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout


def python(version: str) -> str:
    """Path of a Python ``version``, by name or among those that pyenv has installed; fails when there is none, for nothing else shows what it would."""
    found = sorted(glob.glob("%s/versions/%s.*/bin/python" % (os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")), version)))
    for candidate in [*found, shutil.which("python" + version)]:
        if candidate and subprocess.run([candidate, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL).returncode == 0:
            return candidate
    raise LookupError("Python %s with venv is needed and none was found; install it, for instance with 'pyenv install %s'." % (version, version))


def requirements(path):
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def core(version: str, release: str = "") -> Environment:
    """``release``: of Python, the oldest that this core supports by default."""
    release = release or CORES[version][1]
    return Environment("core-%s-python-%s" % (version, release), ["ansible-core~=" + CORES[version][0], *requirements(ROOT / "requirements.txt")], python(release))


def tools() -> Environment:
    """What builds the documentation and asks the gates."""
    return Environment("tools", requirements(ROOT / "tests" / "ecosystem" / "requirements.txt"))


def prometheus() -> Path:
    """The folder with the programs prometheus and promtool: this machine's, else from Debian's package, which is unpacked and not installed. Fails when there is neither."""
    found = [shutil.which(name) for name in ("promtool", "prometheus")]
    if all(found):
        return Path(found[0]).parent
    place = GATES / "prometheus"
    if not (place / "usr" / "bin" / "promtool").exists():
        place.mkdir(parents=True, exist_ok=True)
        # A fresh machine has no lists yet.
        for words in (["true"], ["apt-get", "update"]):
            subprocess.run(words, stdout=subprocess.DEVNULL)
            if subprocess.run(["apt-get", "download", "prometheus"], cwd=place).returncode == 0:
                break
        packages = sorted(place.glob("prometheus_*.deb"))
        if not packages:
            raise LookupError("promtool is needed, and neither is it here nor can Debian's package prometheus be had: 'apt-get download prometheus' has to work, or install it.")
        subprocess.run(["dpkg", "-x", str(packages[-1]), str(place)], check=True)
    return place / "usr" / "bin"
