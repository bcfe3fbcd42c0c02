"""Firmware images for the simulated board: valid ESP32 application images with modules inside.

The first segment begins with the application descriptor, as ESP-IDF lays it out, and goes on with
the frozen modules: `MODS`, u16 count, then for each u8 name length, file name, u32 size, bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from itertools import starmap

from sim.chip import layout
from twinslot.formats import table
from twinslot.formats.chips import CHIPS, Chip

CHIP_ESP32 = 0
_DROM = 0x3F400000
_IROM = 0x400D0000
_IRAM = 0x40080000
_DRAM = 0x3FFB0000
_MMU_PAGE = 0x10000
_DESCRIPTOR_MAGIC = 0xABCD5432

TABLE = tuple(starmap(table.Partition, layout.TABLE))
# Of MicroPython's plain download for 4 MB of flash.
PLAIN_TABLE = (
    table.Partition("nvs", 1, 2, 0x9000, 0x6000),
    table.Partition("phy_init", 1, 1, 0xF000, 0x1000),
    table.Partition("factory", 0, 0, 0x10000, 0x1F0000),
    table.Partition("vfs", 1, 0x81, 0x200000, 0x200000),
)

_PANIC = "import machine\nprint('Guru Meditation Error')\nmachine.reset()\n"
_CRASH = "raise RuntimeError('this image crashes on purpose')\n"

# What each behaviour freezes into the image, by module name.
BEHAVIOURS: dict[str, dict[str, str]] = {
    "good": {},
    "crash_before_boot": {"_boot": _PANIC},
    "hang_before_boot": {"_boot": "while True:\n    pass\n"},
    "crash_after_boot": {"app": _CRASH},
    "hang_after_boot": {"app": "def start():\n    while True:\n        pass\n"},
    "selftest_fails": {
        "selftest": "def run():\n    raise ValueError('the sensor does not answer')\n"
    },
    "no_wifi": {"_boot": "import network\nnetwork.radio(False)\n"},
}


def firmware(
    behaviour: str = "good",
    *,
    version: str = "1.0.0",
    size: int | None = None,
    modules: dict[str, bytes] | None = None,
    chip: int = CHIP_ESP32,
) -> bytes:
    """Build an application image.

    behaviour: a key of BEHAVIOURS; version: into the image, so that each version's bytes differ;
    size: bytes of the image, rounded up to a multiple of 16; modules: further frozen
    modules, file name (`a/b.py` or `.mpy`) to bytes; chip: chip_id of the header.
    Raises ValueError when everything does not fit into `size`.
    """
    frozen = {f"{name}.py": text.encode() for name, text in BEHAVIOURS[behaviour].items()}
    frozen.update(modules or {})
    rodata = _descriptor(version, behaviour) + _archive(frozen)
    text = f"MicroPython v1.26.1 on 2025-09-11; simulated {version} {behaviour}".encode()

    def with_code(code: bytes) -> bytes:
        return image([(_DROM, rodata), (_DRAM, text), (_IRAM, bytes(64)), (_IROM, code)], chip)

    smallest = with_code(_filler(version, 64))
    if size is None:
        return smallest
    if size < len(smallest):
        raise ValueError(f"{size} bytes are too few: the image needs {len(smallest)}")
    return with_code(_filler(version, 64 + (size - len(smallest) + 15) // 16 * 16))


def image(segments: list[tuple[int, bytes]], chip: int = CHIP_ESP32) -> bytes:
    """Assemble header, segments (load address, bytes), checksum and SHA-256 (ESP-IDF format).

    The address of a flash-mapped segment is moved within its 64 KiB page to where the segment lies
    in the file, because the chip's MMU maps whole pages.
    """
    header = struct.pack(
        "<BBBBIB3sHBHH4sB", 0xE9, len(segments), 2, 0x20, _IRAM, 0xEE, bytes(3), chip,
        0, 0, 399, bytes(4), 1,
    )  # fmt: skip
    body = bytearray()
    checksum = 0xEF
    for load, data in segments:
        padded = data + bytes(-len(data) % 4)
        at = len(header) + len(body) + 8
        mapped = load in (_DROM, _IROM)
        body += struct.pack("<II", load + at % _MMU_PAGE if mapped else load, len(padded)) + padded
        checksum ^= _xor(padded)
    out = header + bytes(body)
    out += bytes(15 - len(out) % 16) + bytes([checksum])
    return out + hashlib.sha256(out).digest()


def bootloader(chip: int = CHIP_ESP32) -> bytes:
    """Build a second-stage bootloader: an image that loads where only an ESP32's may."""
    code = _filler("bootloader", 64)
    return image([(0x3FFF0030, code), (0x40078000, code), (0x40080400, code)], chip)


def merged(
    application: bytes,
    chip: Chip = CHIPS["esp32"],
    rows: Sequence[table.Partition] = TABLE,
) -> bytes:
    """Build MicroPython's merged download: bootloader, partition table and application in one.

    application: for this chip; rows: of the table, whose first app partition it goes to.
    """
    start = next(row.offset for row in rows if row.type == table.APP)
    out = bytearray(b"\xff" * (start - chip.bootloader)) + application
    for at, part in (
        (chip.bootloader, bootloader(chip.chip_id)),
        (table.ADDRESS, table.build(rows)),
    ):
        out[at - chip.bootloader : at - chip.bootloader + len(part)] = part
    return bytes(out)


def modules_of(data: bytes) -> dict[str, bytes]:
    """Read the frozen modules back out of an image; empty for an image without any."""
    at = 24 + 8 + 256
    found: dict[str, bytes] = {}
    if data[at : at + 4] != b"MODS":
        return found
    (count,) = struct.unpack_from("<H", data, at + 4)
    at += 6
    for _ in range(count):
        length = data[at]
        name = data[at + 1 : at + 1 + length].decode()
        at += 1 + length
        (size,) = struct.unpack_from("<I", data, at)
        found[name] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return found


def _descriptor(version: str, behaviour: str) -> bytes:
    """esp_app_desc_t. MicroPython leaves version and name empty; the ELF's SHA differs."""
    elf = hashlib.sha256(f"{version} {behaviour}".encode()).digest()
    return struct.pack(
        "<II8s32s32s16s16s32s32s80s", _DESCRIPTOR_MAGIC, 0, b"", b"", b"",
        b"00:00:00", b"Jan  1 2026", b"v5.4.2", elf, b"",
    )  # fmt: skip


def _archive(modules: dict[str, bytes]) -> bytes:
    out = b"MODS" + struct.pack("<H", len(modules))
    for name, source in sorted(modules.items()):
        out += bytes([len(name)]) + name.encode() + struct.pack("<I", len(source)) + source
    return out


def _filler(seed: str, length: int) -> bytes:
    """Bytes that look like code: incompressible, the same for the same seed."""
    return hashlib.shake_256(seed.encode()).digest(length)


def _xor(data: bytes) -> int:
    """XOR all bytes together."""
    value, length = int.from_bytes(data, "little"), len(data)
    while length > 1:
        length = (length + 1) // 2
        value = (value >> 8 * length) ^ (value & ((1 << 8 * length) - 1))
    return value
