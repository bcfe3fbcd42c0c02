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
from twinslot.formats import foreign, table
from twinslot.formats.chips import CHIPS, FLASH_CODES, MMU_PAGE, name_of

IMAGE_MAGIC = 0xE9
DESCRIPTOR_MAGIC = 0xABCD5432
DESCRIPTOR_OFFSET = 32

_HEADER_LENGTH = 24
_MAX_SEGMENTS = 16
_CHECKSUM_SEED = 0xEF
_DIGEST = 32  # bytes of the SHA-256 at the end
# The merged download begins at the flash address of the bootloader, which depends on the chip.
_FIRST_ADDRESSES = tuple(dict.fromkeys(chip.bootloader for chip in CHIPS.values()))
# py/mpconfig.h, MICROPY_BANNER_NAME_AND_VERSION, and "; " MICROPY_BANNER_MACHINE. The version is
# a tag as git describes it, or a commit's hash; Pycom's has another one in brackets behind it.
_BANNER = re.compile(
    rb"MicroPython ([!-~]{1,64}(?: \[[!-~]{1,64}\])?) on \d{4}-\d\d-\d\d"
    rb"(?:; ([ -~]{1,100}))?"
)
_PLAIN = re.compile(rb"v?[12]\.\d")
_TAKE = "take the .app-bin of the same build"


class ImageError(FleetError):
    """The file is not the firmware that was asked for; the sentence carries the numbers."""


@dataclass(frozen=True)
class Image:
    """A whole image in ESP-IDF's form. `length` in bytes, from the header to the digest's end."""

    chip_id: int
    segments: int
    length: int


@dataclass(frozen=True)
class Section:
    """A segment of an image: its bytes begin at `start` of the file, and at `address` in memory."""

    start: int
    length: int
    address: int


@dataclass(frozen=True)
class Merged:
    """A file that holds flash from one address on. `first_address`: flash address of its byte 0."""

    first_address: int
    table: table.Table


@dataclass(frozen=True)
class Application:
    """An application image and what it says about itself; empty texts are common.

    `micropython` is the version of the interpreter ("v1.26.0", or a commit's hash), `board` the
    name of the board that it was built for, both found in the image's strings.
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
    board: str = ""

    @property
    def flash_size(self) -> int | None:
        """Bytes of flash that it was built for, None for a code that is not known."""
        return flash_size(self.data)

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
    if data[:1] != bytes([IMAGE_MAGIC]):
        raise ImageError("not an ESP32 image: it does not begin with 0xE9")
    if len(data) < _HEADER_LENGTH:
        raise _cut(_HEADER_LENGTH, len(data), "at least ")
    count = data[1]
    (chip_id,) = struct.unpack_from("<H", data, 12)
    if not 1 <= count <= _MAX_SEGMENTS:
        raise ImageError(f"the image header names {count} segments; allowed are 1 to 16")
    if data[23] != 1:
        raise ImageError("the image has no appended SHA-256 (hash_appended is not set)")
    at, checksum = _HEADER_LENGTH, _CHECKSUM_SEED
    for number in range(count):
        if at + 8 > len(data):
            raise _cut(at + 8, len(data), "at least ")
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += 8
        if length % 4:
            raise ImageError(f"segment {number} has {length} bytes, not a multiple of 4")
        if at + length > len(data):
            last = number == count - 1
            needed = _end(at + length) if last else at + length
            raise _cut(needed, len(data), "" if last else "at least ")
        checksum ^= _xor(data[at : at + length])
        at += length
    if len(data) < _end(at):
        raise _cut(_end(at), len(data))
    end = _end(at) - _DIGEST
    if data[end - 1] != checksum:
        raise ImageError(
            f"the image is damaged: checksum {data[end - 1]:#04x}, computed {checksum:#04x}"
        )
    if hashlib.sha256(data[:end]).digest() != data[end : end + _DIGEST]:
        raise ImageError("the image is damaged: its appended SHA-256 does not match")
    return Image(chip_id, count, end + _DIGEST)


def sections(data: bytes) -> tuple[Section, ...]:
    """The segments of an image that `parse` takes, in the order of the file. Raises ImageError."""
    found = []
    at = _HEADER_LENGTH
    for _ in range(parse(data).segments):
        address, length = struct.unpack_from("<II", data, at)
        found.append(Section(at + 8, length, address))
        at += 8 + length
    return tuple(found)


def application(data: bytes) -> Application:
    """The application image in a file: the file itself, or the one inside a merged download.

    Raises ImageError, saying what the file is instead.
    """
    found = merged(data)
    if found is not None:
        return _first_application(data, found)
    if said := foreign.refusal(data, _TAKE):
        raise ImageError(said)
    if data[:1] != bytes([IMAGE_MAGIC]):
        raise ImageError(
            "cannot identify this file: neither an ESP32 image (0xE9) nor a merged download with "
            "a partition table; MicroPython's builds call the right file .app-bin"
        )
    try:
        image = parse(data)
    except ImageError as error:
        if foreign.is_random(data):
            raise ImageError(f"this is encrypted or compressed; {_TAKE}") from error
        raise
    if not is_application(data):
        raise ImageError(_without_descriptor(data, image))
    following = len(data) - image.length
    if data[image.length :].strip(b"\xff"):
        kind = foreign.signature(data, image.length)
        if kind:
            raise ImageError(f"this is an image signed for {kind}: take it before it was signed")
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


def is_application(data: bytes) -> bool:
    """Whether the image at the start of `data` has an application descriptor."""
    magic = DESCRIPTOR_MAGIC.to_bytes(4, "little")
    return data[DESCRIPTOR_OFFSET : DESCRIPTOR_OFFSET + 4] == magic


def flash_size(data: bytes) -> int | None:
    """Bytes of flash that the header of an image names, None for a code that is not known."""
    sizes = {code: size for size, code in FLASH_CODES.items()}
    return sizes.get(data[3] >> 4)


def _end(at: int) -> int:
    """The end of an image whose segments end at `at`: the checksum ends a multiple of 16."""
    return at // 16 * 16 + 16 + _DIGEST


def _cut(needed: int, there: int, least: str = "") -> ImageError:
    return ImageError(
        f"the image is cut short: {least}{needed - there} bytes are missing ({there} of "
        f"{needed}); download it again"
    )


def _without_descriptor(data: bytes, image: Image) -> str:
    """The sentence about an image that no slot boots."""
    if foreign.is_random(data[image.length :].lstrip(b"\xff")):
        return (
            "this is an encrypted flash: a bootloader, and bytes that only its board can read; "
            + _TAKE
        )
    for offset in range(MMU_PAGE // 16, len(data), MMU_PAGE // 16):
        if data[offset] == IMAGE_MAGIC and is_application(data[offset:]):
            return (
                f"this is a merged image: a bootloader, and an application at byte {offset}, but "
                f"no partition table at {table.ADDRESS:#x} says so; cut it out with "
                f"`tail -c +{offset + 1} FILE > app.bin`"
            )
    if len(data) > image.length:
        return (
            f"this is a bootloader, and {len(data) - image.length} bytes behind it without "
            "partition table and application: a merged download that is cut short or damaged; "
            "download it again"
        )
    return (
        "this is a bootloader, or an image without application descriptor (0xABCD5432 at "
        "offset 32): a slot that holds it does not boot"
    )


def _describe(data: bytes, image: Image, origin: str) -> Application:
    data = data[: image.length]
    banner = _banner(data)
    return Application(
        data=data,
        image=image,
        version=_text(data, 48, 32),
        project=_text(data, 80, 32),
        built=f"{_text(data, 128, 16)} {_text(data, 112, 16)}".strip(),
        idf=_text(data, 144, 32),
        micropython=banner[1].decode() if banner else None,
        board=(banner[2] or b"").decode() if banner else "",
        origin=origin,
    )


def _banner(data: bytes) -> re.Match[bytes] | None:
    """The interpreter's banner; one with a plain version before all others."""
    found = list(_BANNER.finditer(data))
    return next((one for one in found if _PLAIN.match(one[1])), found[0] if found else None)


def _first_application(data: bytes, found: Merged) -> Application:
    """The application at a merged download's first app partition."""
    row = next((row for row in found.table if row.type == table.APP), None)
    if row is None:
        raise ImageError("a merged download, but its partition table has no app partition")
    offset = row.offset - found.first_address
    rest = data[offset:]
    if offset >= len(data):
        raise ImageError(
            f"the merged download is cut short: partition {row.label} begins at byte {offset}, "
            f"there are {len(data)}: more than {offset - len(data)} are missing; download it again"
        )
    if not is_application(rest) and foreign.is_random(rest):
        raise ImageError(
            f"this is an encrypted flash: partition {row.label} can be read by its board alone; "
            + _TAKE
        )
    if offset < 0 or not is_application(rest):
        raise ImageError(
            f"a merged download, but partition {row.label} at {row.offset:#x} holds no application "
            f"image (offset {offset} of {len(data)})"
        )
    found_image = parse(rest)
    if kind := foreign.signature(rest[: row.size], found_image.length):
        raise ImageError(
            f"the application in this merged download is signed for {kind}: take the download "
            "before it was signed"
        )
    return _describe(
        rest,
        found_image,
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
