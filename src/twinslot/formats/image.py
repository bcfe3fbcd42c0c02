"""Recognise ESP32 application images, and the files that people take for one.

Layout after ESP-IDF: a 24-byte header, segments, padding up to a checksum byte that ends a multiple
of 16, then SHA-256 over everything before it. An application's first segment begins with the
application descriptor (esp_app_desc_t) at offset 32; a bootloader has the same outer form, so only
the descriptor tells the two apart, and `set_boot()` on the board takes either.
"""

import contextlib
import hashlib
import re
import struct
from dataclasses import dataclass

from twinslot.errors import FleetError
from twinslot.formats import table
from twinslot.formats.chips import CHIPS, TRAILER_LENGTH, name_of
from twinslot.formats.head import PACKAGE_MAGIC

IMAGE_MAGIC = 0xE9
DESCRIPTOR_MAGIC = 0xABCD5432
DESCRIPTOR_OFFSET = 32

_HEADER_LENGTH = 24
_MAX_SEGMENTS = 16
_CHECKSUM_SEED = 0xEF
# The merged download begins at the flash address of the bootloader, which depends on the chip.
_FIRST_ADDRESSES = tuple(dict.fromkeys(chip.bootloader for chip in CHIPS.values()))
_MICROPYTHON = re.compile(rb"MicroPython (v[0-9][!-~]*) on \d{4}-\d\d-\d\d")
_OTHER_FORMATS = {
    b"\x7fELF": "an ELF file",
    b"UF2\n": "a UF2 file",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip file",
}


class ImageError(FleetError):
    """The file is not the firmware that was asked for; the sentence carries the numbers."""


@dataclass(frozen=True)
class Image:
    """A whole image in ESP-IDF's form. `length` in bytes, from the header to the digest's end."""

    chip_id: int
    segments: int
    length: int


@dataclass(frozen=True)
class Merged:
    """A file that holds flash from one address on. `first_address`: flash address of its byte 0."""

    first_address: int
    table: table.Table


@dataclass(frozen=True)
class Application:
    """An application image and what it says about itself; empty texts are common.

    `micropython` is the version of the interpreter ("v1.26.0"), found in the image's strings.
    """

    data: bytes
    image: Image
    version: str
    project: str
    built: str
    idf: str
    micropython: str | None
    origin: str
    """How the image lay in the file it came from, as a sentence."""

    @property
    def summary(self) -> str:
        """One line for people."""
        name = f"MicroPython {self.micropython}" if self.micropython else "no MicroPython version"
        return (
            f"application image for {name_of(self.image.chip_id)}, {self.image.length} bytes, "
            f"{name}, ESP-IDF {self.idf or 'unknown'}"
        )


def parse(data: bytes) -> Image:
    """Parse the image at the start of `data`; bytes that follow it are not looked at.

    Raises ImageError unless header, segments, checksum and appended SHA-256 are right.
    """
    if len(data) < _HEADER_LENGTH or data[0] != IMAGE_MAGIC:
        raise ImageError("not an ESP32 image: it does not begin with 0xE9")
    count = data[1]
    (chip_id,) = struct.unpack_from("<H", data, 12)
    if not 1 <= count <= _MAX_SEGMENTS:
        raise ImageError(f"the image header names {count} segments; allowed are 1 to 16")
    if data[23] != 1:
        raise ImageError("the image has no appended SHA-256 (hash_appended is not set)")
    at, checksum = _HEADER_LENGTH, _CHECKSUM_SEED
    for number in range(count):
        if at + 8 > len(data):
            raise ImageError(f"the image is cut short in the header of segment {number}")
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += 8
        if length % 4:
            raise ImageError(f"segment {number} has {length} bytes, not a multiple of 4")
        if at + length > len(data):
            raise ImageError(
                f"the image is cut short: segment {number} ends at byte {at + length}, "
                f"there are {len(data)}"
            )
        checksum ^= _xor(data[at : at + length])
        at += length
    end = at // 16 * 16 + 16  # the checksum is the last byte of a multiple of 16
    if len(data) < end + 32:
        raise ImageError(
            f"the image is cut short: it needs {end + 32} bytes, there are {len(data)}"
        )
    if data[end - 1] != checksum:
        raise ImageError(
            f"the image is damaged: checksum {data[end - 1]:#04x}, computed {checksum:#04x}"
        )
    if hashlib.sha256(data[:end]).digest() != data[end : end + 32]:
        raise ImageError("the image is damaged: its appended SHA-256 does not match")
    return Image(chip_id, count, end + 32)


def application(data: bytes) -> Application:
    """The application image in a file: the file itself, or the one inside a merged download.

    Raises ImageError, saying what the file is instead.
    """
    if data[:4] == PACKAGE_MAGIC:
        raise ImageError("this is a package already; `fleet inspect` shows its contents")
    other = other_format(data)
    if other:
        raise ImageError(f"this is {other}; take the .app-bin of the same build")
    found = merged(data)
    if found is not None:
        return _first_application(data, found)
    if data[:1] != bytes([IMAGE_MAGIC]):
        raise ImageError(
            "cannot identify this file: neither an ESP32 image (0xE9) nor a merged download with "
            "a partition table; MicroPython's builds call the right file .app-bin"
        )
    image = parse(data)
    if not is_application(data):
        raise ImageError(
            "this is a bootloader, or an image without application descriptor (0xABCD5432 at "
            "offset 32): a slot that holds it does not boot"
        )
    following = len(data) - image.length
    if data[image.length :].strip(b"\xff"):
        raise ImageError(f"{following} bytes follow the image that do not belong to it")
    padding = f" and {following} bytes of padding, left out" if following else ""
    return _describe(data, image, "the file is the image" + padding)


def merged(data: bytes) -> Merged | None:
    """The partition table of a merged download; None if this is no such file."""
    for first_address in _FIRST_ADDRESSES:
        offset = table.ADDRESS - first_address
        with contextlib.suppress(table.TableError):
            return Merged(first_address, table.parse(data[offset : offset + table.LENGTH]))
    return None


def other_format(data: bytes) -> str | None:
    """The file's kind, with its article, when it is one of the formats that builds leave beside
    the images; None otherwise.
    """
    for magic, name in _OTHER_FORMATS.items():
        if data.startswith(magic):
            return name
    return None


def is_application(data: bytes) -> bool:
    """Whether the image at the start of `data` has an application descriptor."""
    magic = DESCRIPTOR_MAGIC.to_bytes(4, "little")
    return data[DESCRIPTOR_OFFSET : DESCRIPTOR_OFFSET + 4] == magic


def firmware(data: bytes, *, chip: str, slot_size: int) -> Application:
    """The application image in a file, if it belongs on this chip and into a slot of this size.

    `slot_size` in bytes; the last 4096 of a slot are its trailer. Raises ImageError.
    """
    found = application(data)
    if found.image.chip_id != CHIPS[chip].chip_id:
        raise ImageError(f"the image is for {name_of(found.image.chip_id)}, the board is {chip}")
    room = slot_size - TRAILER_LENGTH
    if found.image.length > room:
        raise ImageError(
            f"the image has {found.image.length} bytes, {found.image.length - room} too many: "
            f"a slot of {slot_size} has room for {room}, its last {TRAILER_LENGTH} are the trailer"
        )
    return found


def _describe(data: bytes, image: Image, origin: str) -> Application:
    data = data[: image.length]
    version_text = _MICROPYTHON.search(data)
    return Application(
        data=data,
        image=image,
        version=_text(data, 48, 32),
        project=_text(data, 80, 32),
        built=f"{_text(data, 128, 16)} {_text(data, 112, 16)}".strip(),
        idf=_text(data, 144, 32),
        micropython=version_text.group(1).decode() if version_text else None,
        origin=origin,
    )


def _first_application(data: bytes, found: Merged) -> Application:
    """The application at a merged download's first app partition."""
    row = next((row for row in found.table if row.type == table.APP), None)
    if row is None:
        raise ImageError("a merged download, but its partition table has no app partition")
    offset = row.offset - found.first_address
    rest = data[offset:]
    if offset < 0 or not is_application(rest):
        raise ImageError(
            f"a merged download, but partition {row.label} at {row.offset:#x} holds no application "
            f"image (offset {offset} of {len(data)})"
        )
    return _describe(
        rest,
        parse(rest),
        f"taken out of a merged download: partition {row.label}, flash address {row.offset:#x}, "
        f"offset {offset} of {len(data)} bytes",
    )


def _text(data: bytes, offset: int, length: int) -> str:
    return data[offset : offset + length].split(b"\0")[0].decode("ascii", "replace")


def _xor(data: bytes) -> int:
    """XOR of all bytes, folded through one large integer: megabytes in milliseconds."""
    length = 1 << (max(len(data), 1) - 1).bit_length()
    value = int.from_bytes(data, "little")
    while length > 1:
        length //= 2
        value = (value >> (8 * length)) ^ (value & ((1 << (8 * length)) - 1))
    return value
