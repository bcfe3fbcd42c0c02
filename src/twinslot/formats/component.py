"""A component of a package: what goes in, and how the manifest describes it (package format 1).

Pure. `firmware_content` and `application_content` make the content of a package; `described` and
`read_component` are the map in the manifest.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twinslot.errors import BaseMismatchError, PackageError
from twinslot.formats.chips import SECTOR, XTENSA, march_of
from twinslot.formats.fields import Fields
from twinslot.formats.segments import chain, decoder

FIRMWARE, APPLICATION = 0, 1
KINDS = {FIRMWARE: "firmware", APPLICATION: "application"}
RAW, SEGMENTS = 0, 1
ENCODINGS = {RAW: "raw", SEGMENTS: "segments"}

_DIGEST = 32  # bytes of a SHA-256
_FROZEN = 64  # key of a component that older boards ignore
_FROZEN_LENGTH = 700  # bytes of names
_ROOM = 65  # another one: of an application, what it takes of a board's file system
_OF_SEGMENTS = {7: "first", 8: "base", 9: "base_size"}


@dataclass(frozen=True)
class Base:
    """The image, or the archive, that a delta copies from. `size` in bytes; `sha256` of it all."""

    size: int
    sha256: bytes


@dataclass(frozen=True)
class Content:
    """The content of a component: `kind` FIRMWARE or APPLICATION, `data` as it lies in the package.

    `encoding`: of the data; `size` and `sha256`: of what a board makes of them, the result, in
    bytes. `chip`: a firmware's chip_id. `frozen`: names of the modules frozen into a firmware, by
    which a board warns of files that hide them; nothing else depends on them. `room`: of an
    application, see there. `first`: of encoding SEGMENTS, SHA-256 of the first stored block;
    `base`: of a delta, None for a package that any board can take.
    """

    kind: int
    data: bytes
    encoding: int
    size: int
    sha256: bytes
    chip: int | None = None
    frozen: tuple[str, ...] = ()
    room: tuple[int | str, ...] = ()
    first: bytes | None = None
    base: Base | None = None


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
    the result; `offset`: where it starts in the package; `room`, `first` and `base`: as of a
    Content; `frozen`: as of a Content, as far as they make sense.
    """

    kind: int
    encoding: int
    length: int
    size: int
    sha256: bytes
    chip: int | None
    offset: int
    room: tuple[int | str, ...] = ()
    first: bytes | None = None
    base: Base | None = None
    frozen: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """Offset of the first byte after the component's padding."""
        return self.offset + padded(self.length)

    def of(self, data: bytes) -> bytes:
        """The component's bytes in a whole package, encoded as they lie there."""
        return data[self.offset : self.offset + self.length]

    def result(self, data: bytes, base: bytes | None = None) -> bytes:
        """The board's result from the component in a whole package.

        base: for a delta, the bytes of its base. Raises BaseMismatchError where these are missing
        or others, EncodingError for stored bytes that break a rule, and PackageError for an
        encoding that the host does not decode.
        """
        if self.encoding == RAW:
            return self.of(data)
        if self.encoding != SEGMENTS or self.first is None:
            raise PackageError(f"component, encoding (2): {self.encoding} is not decoded here")
        known = None if self.base is None else _checked(self.base, base)
        return decoder.decode(self.of(data), self.first, self.size, known, self._may_have)

    def content(self, data: bytes) -> Content:
        """The raw content that the component in a whole package brings; not of a delta.

        Raises as `result` does.
        """
        found = self.result(data)
        return _raw(self.kind, found, chip=self.chip, frozen=self.frozen, room=self.room)

    def check_stored(self, data: bytes) -> None:
        """Check what can be checked of a delta without its base. Raises EncodingError."""
        if self.first is not None:
            payload = chain.payload_of(self.of(data), self.first)
            decoder.prologue_of(payload, self.size, self._may_have)

    @property
    def _may_have(self) -> decoder.Kind:
        return may_have(self.kind, self.chip, with_base=self.base is not None)


def may_have(kind: int, chip: int | None, *, with_base: bool) -> decoder.Kind:
    """Return the parts that the prologue of such a component may have in encoding SEGMENTS."""
    firmware = kind == FIRMWARE
    codes = firmware and chip is not None and march_of(chip) == XTENSA
    return decoder.Kind(codes=codes, shifts=firmware and with_base)


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
    if content.first is not None:
        fields[7] = content.first
    if content.base is not None:
        fields[8] = content.base.sha256
        fields[9] = content.base.size
    if content.frozen:
        fields[_FROZEN] = list(content.frozen)
    if content.room:
        fields[_ROOM] = list(content.room)
    return fields


def read_component(item: Any, offset: int) -> Component:
    """Read a component's map. `offset`: of its first byte in the package. Raises PackageError."""
    fields = Fields(item, "component", known=range(1, 10))
    kind = fields.uint(1, "kind")
    if kind not in KINDS:
        raise PackageError(f"component, kind (1): {kind} is not defined")
    encoding = fields.uint(2, "encoding")
    if encoding not in ENCODINGS:
        raise PackageError(f"component, encoding (2): {encoding} is not defined")
    length = fields.uint(3, "length", least=1)
    size = fields.uint(4, "size", least=1)
    if encoding == RAW and size != length:
        raise PackageError(f"component, size (4): {size}, but a raw component has length {length}")
    digest = _digest(fields, 5, "sha256")
    if kind != FIRMWARE and fields.has(6):
        raise PackageError("component, chip (6): for firmware only")
    chip = fields.uint(6, "chip", most=0xFFFF) if kind == FIRMWARE else None
    room = _room(fields.get(_ROOM, "room")) if kind != FIRMWARE and fields.has(_ROOM) else ()
    first, base = _stored(fields, length) if encoding == SEGMENTS else _nothing_stored(fields)
    frozen = _names(fields.get(_FROZEN, "frozen")) if fields.has(_FROZEN) else ()
    return Component(kind, encoding, length, size, digest, chip, offset, room, first, base, frozen)


def _stored(fields: Fields, length: int) -> tuple[bytes, Base | None]:
    """SHA-256 of the first stored block of encoding SEGMENTS, and the base of a delta."""
    if length % chain.BLOCK:
        raise PackageError(
            f"component, length (3): {length} is no multiple of {chain.BLOCK}, as encoding 1 needs"
        )
    first = _digest(fields, 7, "first")
    if not fields.has(8) and not fields.has(9):
        return first, None
    return first, Base(fields.uint(9, "base_size", least=1), _digest(fields, 8, "base"))


def _nothing_stored(fields: Fields) -> tuple[None, None]:
    for key, name in _OF_SEGMENTS.items():
        if fields.has(key):
            raise PackageError(f"component, {name} ({key}): for encoding 1 only")
    return None, None


def _digest(fields: Fields, key: int, name: str) -> bytes:
    value = fields.get(key, name)
    if not isinstance(value, bytes) or len(value) != _DIGEST:
        raise PackageError(f"component, {name} ({key}): {_DIGEST} bytes")
    return value


def _checked(base: Base, data: bytes | None) -> bytes:
    """The bytes of a base, if these are them."""
    if data is None:
        raise BaseMismatchError(
            f"this is a delta: it needs the {base.size} bytes with SHA-256 {base.sha256.hex()}"
        )
    if len(data) != base.size or hashlib.sha256(data).digest() != base.sha256:
        raise BaseMismatchError(
            f"this is a delta on {base.size} bytes with SHA-256 {base.sha256.hex()}; the base that "
            f"was given has {len(data)} bytes and SHA-256 {hashlib.sha256(data).hexdigest()}"
        )
    return data


def _room(value: Any) -> tuple[int | str, ...]:
    """The value of `room`, if it is blocks, and then paths and bytes. Raises PackageError."""
    kinds = [type(one) for one in value] if isinstance(value, list) else []
    if kinds != [int, *[str, int] * (len(kinds) // 2)]:
        raise PackageError(f"component, room ({_ROOM}): no list of blocks, paths and bytes")
    return tuple(value)


def _names(value: Any) -> tuple[str, ...]:
    """The names of frozen modules; none of a value that older hosts ignore, too."""
    good = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return tuple(value) if good else ()


def padded(length: int) -> int:
    """Return the bytes of whole sectors that hold `length` bytes."""
    return -(-length // SECTOR) * SECTOR


def _raw(kind: int, data: bytes, **more: Any) -> Content:
    return Content(kind, data, RAW, len(data), hashlib.sha256(data).digest(), **more)
