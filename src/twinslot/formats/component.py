"""A component of a package: what goes in, and how the manifest describes it (package format 1).

Pure. `firmware_content` and `application_content` make the content of a package; `described` and
`read_component` are the map in the manifest.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twinslot.errors import PackageError
from twinslot.formats.chips import SECTOR
from twinslot.formats.fields import Fields

FIRMWARE, APPLICATION = 0, 1
KINDS = {FIRMWARE: "firmware", APPLICATION: "application"}
RAW = 0

_FROZEN = 64  # key of a component that older boards ignore
_FROZEN_LENGTH = 700  # bytes of names
_ROOM = 65  # another one: of an application, what it takes of a board's file system


@dataclass(frozen=True)
class Content:
    """The content of a component: `kind` FIRMWARE or APPLICATION, `data` as it lies in the package.

    `encoding`: of the data; `size` and `sha256`: of what a board makes of them, the result, in
    bytes. `chip`: a firmware's chip_id. `frozen`: names of the modules frozen into a firmware, by
    which a board warns of files that hide them; nothing else depends on them. `room`: of an
    application, see there.
    """

    kind: int
    data: bytes
    encoding: int
    size: int
    sha256: bytes
    chip: int | None = None
    frozen: tuple[str, ...] = ()
    room: tuple[int | str, ...] = ()


def firmware_content(image: bytes, chip: int = 0, frozen: Iterable[str] = ()) -> Content:
    """An ESP32 application image for the chip with this chip_id (0 is the ESP32).

    `frozen`: names of its modules; of very many, as many as the head has room for.
    """
    names: list[str] = []
    for name in sorted(frozen):
        if sum(map(len, names)) + len(name) <= _FROZEN_LENGTH:
            names.append(name)
    return _raw(FIRMWARE, image, chip=chip, frozen=tuple(names))


def application_content(archive: bytes, room: Sequence[int | str] = ()) -> Content:
    """A whole application directory as an uncompressed ustar archive.

    `room`: blocks of a board's file system that the directory takes, then path and bytes of each of
    its largest files; a board judges by it, before anything is written. Without it a board has the
    archive's bytes to judge by.
    """
    return _raw(APPLICATION, archive, room=tuple(room))


@dataclass(frozen=True)
class Component:
    """One component as the manifest describes it.

    `length`: bytes in the package, in this `encoding`; `size`: bytes of the result; `sha256`: of
    the result; `offset`: where it starts in the package; `room`: as of a Content.
    """

    kind: int
    encoding: int
    length: int
    size: int
    sha256: bytes
    chip: int | None
    offset: int
    room: tuple[int | str, ...] = ()

    @property
    def end(self) -> int:
        """Offset of the first byte after the component's padding."""
        return self.offset + padded(self.length)

    def of(self, data: bytes) -> bytes:
        """The component's bytes in a whole package, encoded as they lie there."""
        return data[self.offset : self.offset + self.length]

    def result(self, data: bytes) -> bytes:
        """The board's result from the component in a whole package.

        Raises PackageError for an encoding that the host does not decode.
        """
        if self.encoding != RAW:
            raise PackageError(f"component, encoding (2): {self.encoding} is not decoded here")
        return self.of(data)


def described(content: Content) -> dict[int, Any]:
    """Return the map that describes a content in the manifest."""
    fields: dict[int, Any] = {
        1: content.kind,
        2: content.encoding,
        3: len(content.data),
        4: content.size,
        5: content.sha256,
    }
    if content.chip is not None:
        fields[6] = content.chip
    if content.frozen:
        fields[_FROZEN] = list(content.frozen)
    if content.room:
        fields[_ROOM] = list(content.room)
    return fields


def read_component(item: Any, offset: int) -> Component:
    """Read a component's map. `offset`: of its first byte in the package. Raises PackageError."""
    fields = Fields(item, "component", known=range(1, 7))
    kind = fields.uint(1, "kind")
    if kind not in KINDS:
        raise PackageError(f"component, kind (1): {kind} is not defined")
    encoding = fields.uint(2, "encoding")
    if encoding != RAW:
        raise PackageError(f"component, encoding (2): {encoding} is not defined")
    length = fields.uint(3, "length", least=1)
    size = fields.uint(4, "size")
    if size != length:
        raise PackageError(f"component, size (4): {size}, but a raw component has length {length}")
    digest = fields.get(5, "sha256")
    if not isinstance(digest, bytes) or len(digest) != 32:
        raise PackageError("component, sha256 (5): 32 bytes")
    if kind != FIRMWARE and fields.has(6):
        raise PackageError("component, chip (6): for firmware only")
    chip = fields.uint(6, "chip", most=0xFFFF) if kind == FIRMWARE else None
    room = _room(fields.get(_ROOM, "room")) if kind != FIRMWARE and fields.has(_ROOM) else ()
    return Component(kind, encoding, length, size, digest, chip, offset, room)


def _room(value: Any) -> tuple[int | str, ...]:
    """The value of `room`, if it is blocks, and then paths and bytes. Raises PackageError."""
    kinds = [type(one) for one in value] if isinstance(value, list) else []
    if kinds != [int, *[str, int] * (len(kinds) // 2)]:
        raise PackageError(f"component, room ({_ROOM}): no list of blocks, paths and bytes")
    return tuple(value)


def padded(length: int) -> int:
    """Return the bytes of whole sectors that hold `length` bytes."""
    return -(-length // SECTOR) * SECTOR


def _raw(kind: int, data: bytes, **more: Any) -> Content:
    return Content(kind, data, RAW, len(data), hashlib.sha256(data).digest(), **more)
