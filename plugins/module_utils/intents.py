# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What would have to be undone if this process died now: written to disk before the first write, dropped after the last.

One file per drain in one directory, readable by its owner only. An intent is plain data::

    {"node": "n3", "endpoints": ["http://10.0.0.3:8080", ...], "phase": "draining" | "drained", "hold": true,
     "restore": {"org.example:cart:1.0.0": {"from": 3, "to": 2}}, "since": "2026-01-31T12:00:00Z", "owner": "user@host"}

``restore``: counts to put back. ``hold``: whether a node found drained is meant to stay so. A lock beside the file, which the
system lets go when its process ends, tells a drain that goes on from one that was abandoned.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import socket
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, Optional, Sequence
from urllib.parse import quote

from .model import AetherError

FIELDS = {"node": str, "endpoints": list, "phase": str, "restore": dict, "since": str}


def default_directory() -> str:
    """The state directory of whoever runs this, by the XDG rules."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "pragmatica.aether")


class Intents:
    """The intents of one cluster: those in ``directory`` that share an endpoint with it, and those ``found`` elsewhere.

    :param endpoints: URLs of the members; a cluster has no name of its own, and its members change one at a time.
    """

    def __init__(self, directory: Optional[str], endpoints: Sequence[str], found: Sequence[Dict[str, Any]] = ()):
        self.directory = os.path.expanduser(directory) if directory else default_directory()
        self.endpoints = sorted(endpoints)
        self.found = [_checked(dict(i), "option 'intents'") for i in found]

    def path(self, node: str) -> str:
        """The file of ``node``: the one there is, else a new name, with a sum of the endpoints that keeps clusters with equal ids apart."""
        for intent, path in self._files():
            if intent["node"] == node:
                return path
        sign = hashlib.sha256(" ".join(self.endpoints).encode()).hexdigest()[:8]
        return os.path.join(self.directory, "drain-%s-%s.json" % (quote(node, safe=""), sign))

    def all(self) -> List[Dict[str, Any]]:
        """Every intent of this cluster, one per node; what is on this disk goes before what was found elsewhere."""
        known = {intent["node"]: intent for intent in self.found if self._ours(intent)}
        known.update({found[0]["node"]: found[0] for found in self._files()})
        return [known[node] for node in sorted(known)]

    def get(self, node: str) -> Optional[Dict[str, Any]]:
        return next((i for i in self.all() if i["node"] == node), None)

    def make(self, node: str, restore: Dict[str, Dict[str, int]], hold: bool, phase: str = "draining", since: Optional[str] = None) -> Dict[str, Any]:
        return {
            "node": node,
            "endpoints": self.endpoints,
            "phase": phase,
            "restore": restore,
            "hold": hold,
            "since": since or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "owner": "%s@%s" % (_user(), socket.gethostname()),
        }

    def store(self, intent: Dict[str, Any]) -> None:
        """On disk for good when this returns; raises AetherError (kind ``intent``)."""
        path = self.path(intent["node"])
        scratch = path + ".new"
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(intent, file, indent=1, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)
            self._sync_directory()
        except OSError as error:
            raise AetherError(
                "intent",
                "What would have to be undone cannot be stored in %s (%s), so nothing is begun: set 'intent_path' to a directory that can be written."
                % (self.directory, error.strerror),
            )

    def drop(self, node: str) -> None:
        self.found = [i for i in self.found if i["node"] != node]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(node))
            self._sync_directory()

    @contextlib.contextmanager
    def locked(self, node: str) -> Iterator[None]:
        """Nobody else on this machine drains ``node`` meanwhile; AetherError (kind ``busy``) when somebody does."""
        path = self.path(node) + ".lock"
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise AetherError("intent", "%s cannot be written (%s): set 'intent_path' to a directory that can." % (self.directory, error.strerror))
        try:
            if not _alone(handle, path):
                raise AetherError("busy", "Another run on this machine is draining %s or putting it back on duty right now: wait for it to end." % node)
            try:
                yield
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        finally:
            os.close(handle)

    def _files(self):
        """(intent, path) of this cluster's files."""
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AetherError("intent", "%s cannot be read (%s): set 'intent_path' to a directory that can." % (self.directory, error.strerror))
        found = []
        for name in names:
            if name.startswith("drain-") and name.endswith(".json"):
                path = os.path.join(self.directory, name)
                intent = _read(path)
                if self._ours(intent):
                    found.append((intent, path))
        return found

    def _ours(self, intent) -> bool:
        return bool(set(intent["endpoints"]) & set(self.endpoints))

    def _sync_directory(self):
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _alone(handle, path) -> bool:
    """Locked, and the file still is the one that others would find: its last owner removes it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(handle).st_ino == os.stat(path).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return _checked(json.load(file), path)
    except (OSError, ValueError) as error:
        raise AetherError(
            "intent", "The intent of an earlier drain in %s cannot be read (%s): look at it, put back by hand what it names, and remove it." % (path, error)
        )


def _checked(intent, where):
    wrong = [name for name, kind in FIELDS.items() if not isinstance(intent.get(name) if isinstance(intent, dict) else None, kind)]
    if wrong:
        raise AetherError("intent", "%s holds no intent of a drain: %s missing or of the wrong kind." % (where, ", ".join(wrong)))
    return intent


def _user():
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in the password file
        return str(os.getuid())
