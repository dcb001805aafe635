# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A saved state on disk: one directory, for its owner only, complete or not there.

    DIRECTORY/
        manifest.json                       written last: whose state, of when, from whom, and each other file's size and SHA-256
        state.json                          what module_utils/state.py makes of it
        blueprints/GROUP_NAME_VERSION.toml  as it is put back
        artifacts/GROUP_NAME_VERSION.jar    the bytes
        journal.json                        how far a full restart is; not in the manifest, for it goes on

Everything is written into ``DIRECTORY.part`` and synced, the manifest last, and then renamed. So whatever moment a process is killed at, there is a whole
state, or none and at most a ``.part`` that nothing reads; a directory somebody has taken files from is told by its manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from .model import AetherError
from .state import State, as_data, from_data

FORMAT = 1
PART = ".part"
MANIFEST, STATE, JOURNAL = "manifest.json", "state.json", "journal.json"
# How far a full restart is. From ``stopping`` to ``formed`` the members may be without state, and this one is all there is.
PHASES = ("saved", "stopping", "stopped", "formed", "restored")
UNFINISHED = ("stopping", "stopped", "formed")


@dataclass(frozen=True)
class Saved:
    """A complete one, as it was read back. ``about``: the manifest; ``texts``: blueprint -> TOML; ``jars``: artifact -> path;
    ``journal``: entries with ``phase`` and ``at``.
    """

    path: str
    about: Mapping[str, Any]
    state: State
    texts: Mapping[str, str]
    jars: Mapping[str, str]
    journal: Sequence[Mapping[str, Any]] = ()

    @property
    def phase(self) -> str:
        return self.journal[-1]["phase"] if self.journal else PHASES[0]

    @property
    def left_out(self) -> List[str]:
        """Names of what was known to be lost when it was saved."""
        return list(self.about["left_out"])


def file_of(folder: str, name: str, ending: str) -> str:
    """``blueprints/org.example_shop_1.0.0.toml``: no two coordinates have the same, for only a group may have an underscore."""
    return "%s/%s.%s" % (folder, name.replace(":", "_"), ending)


class Writer:
    """Writes one state; what is not finished is no state.

        with Writer(path) as writer:
            writer.file("artifacts/…", lambda take: …)
            writer.finish(about, state, texts)
    """

    def __init__(self, path: str):
        self.path, self.scratch = path, path + PART
        self.files: Dict[str, Dict[str, Any]] = {}

    def __enter__(self) -> "Writer":
        try:
            shutil.rmtree(self.scratch, ignore_errors=True)
            os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)
            os.mkdir(self.scratch, 0o700)
        except OSError as error:
            raise _unwritable(self.path, error)
        return self

    def __exit__(self, *unused) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)  # after the rename there is none

    def file(self, name: str, fill: Callable[[Callable[[bytes], Any]], None]) -> None:
        """Write a file with what ``fill`` hands to the function it is given, and note its sum."""
        path, digest, size = os.path.join(self.scratch, name), hashlib.sha256(), 0

        def take(data: bytes) -> None:
            nonlocal size
            size += len(data)
            digest.update(data)
            file.write(data)

        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                fill(take)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(path, error)
        self.files[name] = {"sha256": digest.hexdigest(), "size": size}

    def drop(self, name: str) -> None:
        """Forget a file that turned out not to be what it should be."""
        os.unlink(os.path.join(self.scratch, name))
        self.files.pop(name, None)

    def finish(self, about: Mapping[str, Any], state: State, texts: Mapping[str, str]) -> None:
        """The rest, the manifest last; there is a state at ``path`` when this returns, and not before."""
        for identity, text in texts.items():
            self.file(file_of("blueprints", identity, "toml"), lambda take, text=text: take(text.encode()))
        self.file(STATE, lambda take: take(_json(as_data(state))))
        files = dict(self.files)
        self.file(MANIFEST, lambda take: take(_json(dict(about, format=FORMAT, files=files))))
        try:
            for folder in {os.path.dirname(name) for name in files} | {""}:
                _sync(os.path.join(self.scratch, folder))
            os.rename(self.scratch, self.path)
            _sync(os.path.dirname(self.path) or ".")
        except OSError as error:
            raise _unwritable(self.path, error)


def read(path: str) -> Saved:
    """Read it back and compare everything with the manifest; AetherError (``incomplete``) when anything is missing, changed or not ours."""
    if not os.path.isdir(path):
        half = " A save was interrupted there: %s is not a whole state, remove it." % (path + PART) if os.path.isdir(path + PART) else ""
        raise AetherError("incomplete", "There is no saved state in '%s'.%s" % (path, half), path=path)
    about = _read_json(path, MANIFEST)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise _incomplete(path, "its manifest is not of this collection, or of another release of it")
    try:
        for name, known in about["files"].items():
            size, digest = _sum(os.path.join(path, name))
            if (size, digest) != (known["size"], known["sha256"]):
                raise _incomplete(path, "%s is not as it was written (%d bytes, %d then)" % (name, size, known["size"]))
        state = from_data(_read_json(path, STATE))
        texts, jars = {}, {}
        for blueprint in state.blueprints:
            if blueprint.id not in about["left_out"]:
                with open(os.path.join(path, file_of("blueprints", blueprint.id, "toml")), encoding="utf-8") as file:
                    texts[blueprint.id] = file.read()
        for artifact, (sha1, size) in state.artifacts.items():
            if artifact not in about["left_out"]:
                jars[artifact] = os.path.join(path, file_of("artifacts", artifact, "jar"))
                if _sum(jars[artifact], "sha1")[1] != sha1:
                    raise _incomplete(path, "the JAR of %s has not the SHA-1 %s that the repository said" % (artifact, sha1))
    except OSError as error:
        raise _incomplete(path, "%s cannot be read (%s)" % (os.path.relpath(error.filename or path, path), error.strerror))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _incomplete(path, "it holds something that was not written by this collection (%s)" % error)
    return Saved(path, about, state, texts, jars, read_journal(path))


def listing(directory: str) -> List[Dict[str, Any]]:
    """Every state in ``directory``, the newest first: ``path``, ``complete``, ``cluster``, ``at``, ``endpoints``, ``voters``, ``phase``, and ``why`` it is
    not complete. Only manifests and journals are looked at; ``read`` looks at the rest.
    """
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise AetherError("incomplete", "The directory '%s' cannot be read (%s)." % (directory, error.strerror), path=directory)
    found = []
    for name in names:
        path = os.path.join(directory, name)
        if not os.path.isdir(path):
            continue
        entry = {"path": path, "complete": False, "cluster": "", "at": "", "endpoints": [], "voters": [], "phase": "", "why": ""}
        try:
            if name.endswith(PART):
                raise _incomplete(path, "a save was interrupted")
            about = _read_json(path, MANIFEST)
            entry.update({key: about[key] for key in ("cluster", "at", "endpoints", "voters")}, complete=True)
            journal = read_journal(path)
            entry["phase"] = journal[-1]["phase"] if journal else PHASES[0]
        except AetherError as error:
            entry["why"] = error.message
        except (KeyError, TypeError):
            entry["why"] = "It has no manifest of a saved state."
        found.append(entry)
    return sorted(found, key=lambda e: (e["at"], e["path"]), reverse=True)


def unfinished(found: Sequence[Mapping[str, Any]], cluster: str, endpoints: Sequence[str]) -> Optional[Mapping[str, Any]]:
    """The newest of ``found``, where a full restart of this cluster was interrupted with it: of its name, and with one of its endpoints, for many have
    the default name.
    """
    for entry in found:
        if entry["complete"] and entry["cluster"] == cluster and _places(entry["endpoints"]) & _places(endpoints):
            return entry if entry["phase"] in UNFINISHED else None
    return None


def _places(endpoints):
    """Without the scheme, which a restart may change."""
    return {url.partition("://")[2] for url in endpoints}


# --- how far a full restart is -------------------------------------------------------------------------------------------------


def read_journal(path: str) -> List[Dict[str, Any]]:
    if not os.path.exists(os.path.join(path, JOURNAL)):
        return []
    found = _read_json(path, JOURNAL)
    if not isinstance(found, list) or not all(isinstance(e, dict) and e.get("phase") in PHASES and isinstance(e.get("at"), float) for e in found):
        raise _incomplete(path, "its journal is not of this collection")
    return found


def note(path: str, phase: str, at: float, **more: Any) -> List[Dict[str, Any]]:
    """Add an entry, on disk for good when this returns; the journal as it is then."""
    journal = read_journal(path) + [dict(more, phase=phase, at=round(at, 3))]
    scratch = os.path.join(path, JOURNAL + PART)
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(_json(journal))
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, os.path.join(path, JOURNAL))
        _sync(path)
    except OSError as error:
        raise _unwritable(path, error)
    return journal


def downtime(journal: Sequence[Mapping[str, Any]]) -> Optional[float]:
    """Seconds from the first stop to the moment when every slice was active again; None as long as one of them is not known."""
    begun = [e["at"] for e in journal if e["phase"] == "stopping"]
    ended = [e.get("active_at") or e["at"] for e in journal if e["phase"] == "restored"]
    return round(ended[-1] - begun[0], 1) if begun and ended else None


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(data) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def _read_json(path, name):
    try:
        with open(os.path.join(path, name), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise _incomplete(path, "it has no %s" % name)
    except (OSError, ValueError) as error:
        raise _incomplete(path, "%s cannot be read (%s)" % (name, error))


def _sum(path, algorithm="sha256"):
    digest, size = hashlib.new(algorithm), 0
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def _sync(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _incomplete(path, why):
    return AetherError("incomplete", "'%s' is no complete saved state: %s. Nothing is put back from it." % (path, why), path=path)


def _unwritable(path, error):
    return AetherError("unwritable", "The state cannot be saved in '%s' (%s), so nothing is begun: give another directory." % (path, error.strerror), path=path)
