# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pack the simulated node as ``aether-node.jar``: a runnable JAR for Java 25 that is a Python archive as well.

``api``: which node it is, ``v1`` or ``runbook``; ``release``: a word put into it, so that a test can have two releases
with different checksums.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
STAMP = (2026, 1, 1, 0, 0, 0)  # the same bytes from the same sources
MAIN = "import sys\n\nfrom simnode.__main__ import main\n\nsys.exit(main(sys.argv[1:], %r))\n"
MANIFEST = "Manifest-Version: 1.0\nMain-Class: Launcher\nCreated-By: pragmatica.aether sandbox\n\n"


def sources_digest(release: str = "", api: str = "v1") -> str:
    """Changes when a source does; ``release`` and ``api`` tell builds of the same sources apart."""
    digest = hashlib.sha256(("%s %s" % (api, release)).encode())
    for path in sorted([*HERE.glob("simnode/*.py"), *HERE.glob("launcher/*.java"), Path(__file__)]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build_jar(out: Path, compile_java: Callable[[Path, Path], None], release: str = "", api: str = "v1") -> Path:
    """Write the JAR to ``out``. ``compile_java(source folder, output folder)`` runs javac."""
    with tempfile.TemporaryDirectory() as folder:
        classes = Path(folder)
        compile_java(HERE / "launcher", classes)
        entries = {"META-INF/MANIFEST.MF": MANIFEST.encode(), "__main__.py": (MAIN % api).encode(), "release.txt": release.encode()}
        entries.update({path.name: path.read_bytes() for path in sorted(classes.glob("*.class"))})
        entries.update({"simnode/%s" % p.name: p.read_bytes() for p in sorted(HERE.glob("simnode/*.py")) if p.name != "testing.py"})
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_suffix(".part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as jar:
            for name, data in entries.items():
                jar.writestr(zipfile.ZipInfo(name, STAMP), data)
        part.replace(out)
    return out


def javac(command: list) -> Callable[[Path, Path], None]:
    """A compiler from a javac on this machine."""

    def compile_java(source: Path, output: Path) -> None:
        subprocess.run([*command, "--release", "25", "-d", str(output), *map(str, source.glob("*.java"))], check=True)

    return compile_java
