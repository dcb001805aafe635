# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state that members share: a replica of keys, each the last write that was agreed on.

Every key carries a version (logical time, writer); the higher one wins, so replicas that saw the same writes in
another order agree. A deleted key stays as None, else an old write could bring it back.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, Dict, Iterator, Tuple

Version = Tuple[int, str]
WRITE_TIMEOUT = 10.0  # seconds before time_factor
DEFAULT_THRESHOLDS = {"cpu.usage": {"warning": 0.7, "critical": 0.9}, "heap.usage": {"warning": 0.7, "critical": 0.85}}


class Inactive(Exception):
    """A write that this node cannot take now."""


def wall_ms() -> int:
    return int(time.time() * 1000)


class Store:
    def __init__(self):
        self.entries: Dict[str, Tuple[Any, Version]] = {}
        self.time = 0
        self._digest = ""

    def apply(self, changes: Dict[str, Any], version: Version) -> bool:
        """Take over what is newer; returns whether anything was."""
        self.time = max(self.time, version[0])
        changed = False
        for key, value in changes.items():
            known = self.entries.get(key)
            if known is None or tuple(version) > tuple(known[1]):
                self.entries[key] = (value, tuple(version))
                changed = True
        if changed:
            self._digest = ""
        return changed

    def merge(self, entries: Dict[str, Any]) -> None:
        for key, (value, version) in entries.items():
            self.apply({key: value}, tuple(version))

    def get(self, key: str, default: Any = None) -> Any:
        value = self.entries.get(key, (None,))[0]
        return default if value is None else value

    def items(self, prefix: str) -> Iterator[Tuple[str, Any]]:
        """(rest of the key, value) of every key that begins with ``prefix`` and is not deleted."""
        for key, (value, _) in list(self.entries.items()):
            if value is not None and key.startswith(prefix):
                yield key[len(prefix):], value

    @property
    def digest(self) -> str:
        if not self._digest:
            text = json.dumps(sorted(self.entries.items()), sort_keys=True)
            self._digest = hashlib.sha1(text.encode()).hexdigest()[:12]
        return self._digest
