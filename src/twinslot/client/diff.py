"""The differences between two packages. Pure: bytes in, a Difference out."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from twinslot.formats import archive, image, package
from twinslot.formats.component import APPLICATION, FIRMWARE
from twinslot.formats.manifest import Manifest

_FIELDS = ("product", "version", "sequence", "created", "expires")


@dataclass(frozen=True)
class Firmware:
    """A firmware component: `size` in bytes, `micropython` its version where the image says so."""

    size: int
    sha256: bytes
    micropython: str | None

    def __str__(self) -> str:
        """The firmware for people."""
        name = f"MicroPython {self.micropython}" if self.micropython else "unknown version"
        return f"{name}, {self.size} bytes"


@dataclass(frozen=True)
class Change:
    """A file that differs: its sizes in bytes, None where it is not there."""

    path: str
    old: int | None
    new: int | None

    @property
    def word(self) -> str:
        """The file's change: added, removed or changed."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"


@dataclass(frozen=True)
class Difference:
    """The differences between two packages, and between the contents they bring.

    `fields`: name, old and new value of what the heads say; `firmware`: old and new, None for none;
    `application`: whether old and new bring one; `unchanged`: files in both that are the same.
    """

    fields: tuple[tuple[str, object, object], ...]
    firmware: tuple[Firmware | None, Firmware | None]
    application: tuple[bool, bool]
    changes: tuple[Change, ...]
    unchanged: int

    @property
    def same_firmware(self) -> bool:
        """Whether both bring the same firmware, or none."""
        old, new = self.firmware
        return (old and old.sha256) == (new and new.sha256)

    @property
    def same_contents(self) -> bool:
        """Whether both bring the same, whatever version, sequence and dates say."""
        same_kinds = self.application[0] == self.application[1]
        return self.same_firmware and same_kinds and not self.changes


def compare(old: bytes, new: bytes) -> Difference:
    """Compare two packages. Raises PackageError or ArchiveError for what is none.

    Signatures are not checked: see trust.signing.
    """
    heads = package.inspect(old), package.inspect(new)
    manifests = heads[0].manifest, heads[1].manifest
    fields = [(name, getattr(manifests[0], name), getattr(manifests[1], name)) for name in _FIELDS]
    fields.append(("signed by", f"key {heads[0].kid.hex()}", f"key {heads[1].kid.hex()}"))
    before, after = _files(manifests[0], old), _files(manifests[1], new)
    changes = tuple(_changes(before or {}, after or {}))
    return Difference(
        fields=tuple(field for field in fields if field[1] != field[2]),
        firmware=(_firmware(manifests[0], old), _firmware(manifests[1], new)),
        application=(before is not None, after is not None),
        changes=changes,
        unchanged=len(before or {}) - sum(change.old is not None for change in changes),
    )


def _changes(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[Change]:
    for path in sorted({*old, *new}):
        before, after = old.get(path), new.get(path)
        if before != after:
            yield Change(
                path,
                None if before is None else len(before),
                None if after is None else len(after),
            )


def _firmware(manifest: Manifest, data: bytes) -> Firmware | None:
    component = manifest.component(FIRMWARE)
    if component is None:
        return None
    version = None
    with contextlib.suppress(image.ImageError):  # the package is whole, whatever is in it
        version = image.application(component.result(data)).micropython
    return Firmware(component.size, component.sha256, version)


def _files(manifest: Manifest, data: bytes) -> dict[str, bytes] | None:
    component = manifest.component(APPLICATION)
    return None if component is None else archive.contents(component.result(data))
