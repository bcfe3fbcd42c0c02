"""The fleet's sets of keys, kept in its folder as a chain: who may sign, and who might before.

    trust/1.json     the first set, as people read it
    trust/2.json     the set after it
    trust/2.ota      the package that brings it to boards; a first set that boards are flashed with
                     has none
    trust/draft.json the set that `fleet keys` is working on, which no board has yet

A set is never written twice. Its package may be replaced by another one that brings the same set.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twinslot import disk
from twinslot.errors import FleetError, PackageError
from twinslot.formats.trust_set import RELEASE, ROOT, Entry, TrustSet, make_set

FOLDER = "trust"
_DRAFT = "draft.json"
_ROLES = {"release": RELEASE, "root": ROOT}


class KeychainError(FleetError):
    """The chain of sets in the fleet's folder is damaged, or does not allow this."""


@dataclass(frozen=True)
class Draft:
    """A set that is being worked on: its keys, and their names for people by key id."""

    entries: tuple[Entry, ...]
    names: Mapping[bytes, str] = field(default_factory=dict)


class Keychain:
    """The chain in the folder of a fleet. sets: in their order; names: of keys, by id."""

    def __init__(self, folder: Path) -> None:
        """Raises KeychainError, FileError. A fleet without a folder `trust` has no sets."""
        self.folder = folder / FOLDER
        self.sets: list[TrustSet] = []
        self.names: dict[bytes, str] = {}
        while (path := self._path(len(self.sets) + 1)).exists():
            found, names = _read(path, len(self.sets) + 1)
            self.sets.append(found)
            self.names |= names

    @property
    def present(self) -> TrustSet | None:
        """The newest set, None for a fleet whose boards trust the one key of their files."""
        return self.sets[-1] if self.sets else None

    @property
    def links(self) -> list[int]:
        """The versions of the sets that a package brings to boards, in their order."""
        return [found.version for found in self.sets if self.package(found.version).exists()]

    @property
    def draft(self) -> Draft | None:
        """The set that is being worked on, None without one. Raises KeychainError."""
        path = self.folder / _DRAFT
        if not path.exists():
            return None
        entries, names = _entries(path, _json(path))
        return Draft(entries, {**self.names, **names})

    def package(self, version: int) -> Path:
        """Where the package lies, or will, that brings a set to boards."""
        return self.folder / f"{version}.ota"

    def keep_draft(self, draft: Draft) -> None:
        """Write the set that is being worked on. Raises FileError."""
        disk.replace(self.folder / _DRAFT, _text(None, draft.entries, draft.names))

    def drop_draft(self) -> None:
        """Forget the set that is being worked on."""
        (self.folder / _DRAFT).unlink(missing_ok=True)

    def name(self, kid: bytes) -> str:
        """The name of a key for people; its id where it has none."""
        return self.names.get(kid, kid.hex())

    def add(self, after: TrustSet, names: Mapping[bytes, str], package: bytes) -> None:
        """Keep a new set with its package. The package first: a set without one would be stuck.

        Raises KeychainError for a version that is not the next one, FileError.
        """
        if after.version != len(self.sets) + 1:
            raise KeychainError(
                f"the chain ends at set {len(self.sets)}; set {after.version} does not follow it"
            )
        disk.replace(self.package(after.version), package)
        disk.create({self._path(after.version): (text_of(after, names), disk.PUBLIC)})
        self.drop_draft()

    def replace_package(self, version: int, package: bytes) -> None:
        """Let another package bring a set that the chain has. Raises FileError."""
        disk.replace(self.package(version), package)

    def _path(self, version: int) -> Path:
        return self.folder / f"{version}.json"


def first_path(folder: Path) -> Path:
    """Where the first set of the fleet in `folder` lies."""
    return folder / FOLDER / "1.json"


def text_of(found: TrustSet, names: Mapping[bytes, str]) -> bytes:
    """A set as its file has it."""
    return _text(found.version, found.entries, names)


def _text(version: int | None, entries: tuple[Entry, ...], names: Mapping[bytes, str]) -> bytes:
    rows = [
        {
            "key": entry.kid.hex(),
            "name": names.get(entry.kid, ""),
            "roles": [name for name, bit in _ROLES.items() if entry.roles & bit],
            "public": entry.public.hex(),
        }
        for entry in entries
    ]
    head: dict[str, Any] = {} if version is None else {"version": version}
    return (json.dumps({**head, "keys": rows}, indent=2) + "\n").encode()


def _read(path: Path, version: int) -> tuple[TrustSet, dict[bytes, str]]:
    found = _json(path)
    entries, names = _entries(path, found)
    if found.get("version") != version:
        raise KeychainError(f"{path} does not hold set {version}; bring it back from a backup")
    try:
        return make_set(version, entries), names
    except PackageError as error:
        raise KeychainError(f"{path}: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(disk.read(path, "the set of keys"))
    except (ValueError, RecursionError) as error:
        raise KeychainError(f"{path} is not JSON: bring it back from a backup") from error
    if not isinstance(found, dict):
        raise KeychainError(f"{path} holds no set of keys: bring it back from a backup")
    return found


def _entries(path: Path, found: dict[str, Any]) -> tuple[tuple[Entry, ...], dict[bytes, str]]:
    entries, names = [], {}
    try:
        for row in found["keys"]:
            roles = sum(_ROLES[name] for name in set(row["roles"]))
            entry = Entry(bytes.fromhex(row["public"]), roles)
            entries.append(entry)
            if row.get("name"):
                names[entry.kid] = str(row["name"])
            if row["key"] != entry.kid.hex():
                raise KeychainError(f"{path}: key {row['key']!r} is not the id of its public key")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise KeychainError(f"{path} holds no set of keys: bring it back from a backup") from error
    return tuple(entries), names
