# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put on a test's hosts as ``usercustomize.py``: Python keeps there what it compiled of archives.

Ansible sends each module as an archive of sources, which Python compiles again for every task: 0.34 s of processor per
task on a host, 0.22 s with this. Only tests have it; a benchmark on such hosts would not be one.
"""

import marshal
import os
import zipimport
from hashlib import sha1

KEPT = "/var/cache/compiled"  # for root only, as the tests' plays
compile_source = zipimport._compile_source


def compile_once(pathname, source):
    kept = os.path.join(KEPT, sha1(source).hexdigest())
    try:
        with open(kept, "rb") as file:
            return marshal.load(file)
    except (OSError, EOFError, ValueError):
        code = compile_source(pathname, source)
    try:
        os.makedirs(KEPT, mode=0o700, exist_ok=True)
        part = "%s.%d" % (kept, os.getpid())
        with open(part, "wb") as file:
            marshal.dump(code, file)
        os.replace(part, kept)
    except OSError:
        pass
    return code


zipimport._compile_source = compile_once
