"""Packages that were made before, kept in the fleet's folder: bases of deltas, and their forms.

    packages/SHA256.ota      a package as it was packed, by its own SHA-256
    packages/IDENTITY-KEY.ota  a smaller form of a package, made once

Nothing there is needed: without it packages travel less small, and forms are made once more. The
oldest go when there are many.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from twinslot import disk
from twinslot.client.forms import Form
from twinslot.errors import FleetError, PackageError
from twinslot.formats import head, package
from twinslot.formats.chips import SECTOR
from twinslot.formats.component import RAW
from twinslot.formats.head import Head

FOLDER = "packages"
MOST = 60  # files


class Kept:
    """The kept packages of a fleet, whose folder is `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._bases: dict[tuple[int, str], Path] = {}
        for path in sorted(self._folder.glob("*.ota")):
            self._note(path)

    @property
    def known(self) -> frozenset[tuple[int, str]]:
        """Kind and SHA-256 (hexadecimal) of the components that can be bases."""
        return frozenset(self._bases)

    def base(self, kind: int, digest: str) -> bytes | None:
        """The bytes of a base, None where they are not there or damaged."""
        path = self._bases.get((kind, digest))
        if path is None:
            return None
        try:
            data = disk.read(path, "the kept package")
            component = package.inspect(data).manifest.component(kind)
        except FleetError:
            return None
        return None if component is None else component.result(data)

    def add(self, data: bytes) -> None:
        """Keep a package, so that later ones can be the difference to it."""
        self._write(self._folder / f"{hashlib.sha256(data).hexdigest()}.ota", data)

    def newest(self, fits: Callable[[Head, bytes], bool]) -> bytes | None:
        """The kept package with the highest sequence of those that fit, None without one."""
        found: tuple[int, bytes] | None = None
        for path in set(self._bases.values()):
            try:
                data = disk.read(path, "the kept package")
                head = package.inspect(data)
                fitting = fits(head, data)
            except FleetError:
                continue
            if fitting and (found is None or head.manifest.sequence > found[0]):
                found = head.manifest.sequence, data
        return None if found is None else found[1]

    def form(self, identity: bytes, form: Form) -> bytes | None:
        """A form of the package with this identity, None where it was not made yet, or damaged."""
        try:
            data = disk.read(self._place(identity, form), "the kept package")
            package.inspect(data)
        except FleetError:
            return None
        return data

    def add_form(self, identity: bytes, form: Form, data: bytes) -> None:
        """Keep a form of the package with this identity."""
        self._write(self._place(identity, form), data)

    def _place(self, identity: bytes, form: Form) -> Path:
        mark = hashlib.sha256(repr(form).encode()).hexdigest()[:16]
        return self._folder / f"{identity.hex()}-{mark}.ota"

    def _write(self, path: Path, data: bytes) -> None:
        disk.folder(self._folder)
        disk.replace(path, data)
        self._note(path)
        by_age = sorted(self._folder.glob("*.ota"), key=lambda one: one.stat().st_mtime)
        for old in by_age[:-MOST]:
            old.unlink(missing_ok=True)
            self._bases = {key: found for key, found in self._bases.items() if found != old}

    def _note(self, path: Path) -> None:
        """Note what a kept package can be the base of: its components that travel as they are."""
        try:
            with path.open("rb") as file:
                found = head.read_head(file.read(SECTOR)).manifest
        except (OSError, PackageError):
            return  # not ours, or gone meanwhile
        for component in found.components:
            if component.encoding == RAW:
                self._bases[component.kind, component.sha256.hex()] = path
