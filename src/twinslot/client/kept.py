"""Packages that were made before, kept in the fleet's folder: bases of deltas, and their forms.

    packages/SHA256.ota      a package as it was packed, by its own SHA-256
    packages/IDENTITY-KEY.ota  a smaller form of a package, made once

Nothing there is needed: without it packages travel less small, and forms are made once more. The
oldest go when there are many.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from twinslot import disk
from twinslot.client.forms import Form
from twinslot.errors import FleetError, PackageError
from twinslot.formats import package
from twinslot.formats.chips import SECTOR
from twinslot.formats.component import RAW
from twinslot.formats.head import Head, read_head

FOLDER = "packages"
MOST = 60  # files


class Kept:
    """The kept packages of a fleet, whose folder is `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._heads: dict[Path, Head] = {}
        for path in sorted(self._folder.glob("*.ota")):
            self._note(path)

    @property
    def known(self) -> frozenset[tuple[int, str]]:
        """Kind and SHA-256 (hexadecimal) of the components that can be bases."""
        return frozenset(self._bases())

    def base(self, kind: int, digest: str) -> bytes | None:
        """The bytes of a base, None where they are not there or damaged."""
        path = self._bases().get((kind, digest))
        if path is None or (whole := _whole(path)) is None:
            return None
        found, data = whole
        component = found.manifest.component(kind)
        return None if component is None else component.result(data)

    def add(self, data: bytes) -> None:
        """Keep a package, so that later ones can be the difference to it."""
        self._write(self._folder / f"{hashlib.sha256(data).hexdigest()}.ota", data)

    def newest_first(self, fits: Callable[[Head], bool]) -> Iterator[tuple[Head, bytes]]:
        """The undamaged packages whose head fits, the highest sequence first; read one by one."""
        fitting = [path for path, found in self._heads.items() if fits(found)]
        for path in sorted(fitting, key=lambda one: -self._heads[one].manifest.sequence):
            if (whole := _whole(path)) is not None:
                yield whole

    def form(self, identity: bytes, form: Form) -> bytes | None:
        """A form of the package with this identity, None where it was not made yet, or damaged."""
        whole = _whole(self._place(identity, form))
        return None if whole is None else whole[1]

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
            self._heads.pop(old, None)

    def _note(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._heads[path] = read_head(file.read(SECTOR))
        except (OSError, PackageError):
            return  # not ours, or gone meanwhile

    def _bases(self) -> dict[tuple[int, str], Path]:
        """Where the bases of deltas lie: the components that travel as they are."""
        return {
            (component.kind, component.sha256.hex()): path
            for path, found in self._heads.items()
            for component in found.manifest.components
            if component.encoding == RAW
        }


def _whole(path: Path) -> tuple[Head, bytes] | None:
    """A kept package, None where it is not there or damaged."""
    try:
        data = disk.read(path, "the kept package")
        return package.inspect(data), data
    except FleetError:
        return None
