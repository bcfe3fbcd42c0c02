"""Firmware images for the simulated board: valid ESP32 application images with modules inside.

The first segment begins with the application descriptor, as ESP-IDF lays it out, and goes on
with the frozen modules: `MODS`, u16 count, then for each u8 name length, file name, u32 size, bytes.
"""

from __future__ import annotations

import hashlib
import struct
from functools import reduce
from operator import xor

CHIP_ESP32 = 0
_DROM = 0x3F400020
_DRAM = 0x3FFB0000
_DESCRIPTOR_MAGIC = 0xABCD5432

_CRASH = "raise RuntimeError('this image crashes on purpose')\n"
_HANG = "while True:\n    pass\n"

# What each behaviour freezes into the image, by module name.
BEHAVIOURS: dict[str, dict[str, str]] = {
    "good": {},
    "crash_before_boot": {"_boot": "import hardware\nhardware.reset()\n"},
    "hang_before_boot": {"_boot": _HANG},
    "crash_after_boot": {"app": _CRASH},
    "hang_after_boot": {"app": "def start():\n    while True:\n        pass\n"},
    "selftest_fails": {
        "selftest": "def run():\n    raise ValueError('the sensor does not answer')\n"
    },
    "no_wifi": {"_boot": "import hardware\nhardware.board.radio = False\n"},
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
    size: bytes the image shall have (a multiple of 16 is met exactly); modules: further
    frozen modules, file name (`a/b.py` or `.mpy`) to bytes; chip: chip_id of the header.
    """
    frozen = {f"{name}.py": text.encode() for name, text in BEHAVIOURS[behaviour].items()}
    frozen.update(modules or {})
    rodata = _descriptor(version) + _archive(frozen)
    code = f"MicroPython simulated {version} {behaviour}".encode().ljust(64, b"\0")
    if size is not None:
        small = len(image([(_DROM, rodata), (_DRAM, code)], chip))
        code += _filler(version, max(0, size - small) // 16 * 16)
    return image([(_DROM, rodata), (_DRAM, code)], chip)


def image(segments: list[tuple[int, bytes]], chip: int = CHIP_ESP32) -> bytes:
    """Assemble header, segments (load address, bytes), checksum and SHA-256 (ESP-IDF format)."""
    segments = [(load, data + bytes(-len(data) % 4)) for load, data in segments if data]
    header = struct.pack(
        "<BBBBIB3sHBHH4sB", 0xE9, len(segments), 2, 0x20, 0x400812E4, 0xEE, bytes(3), chip,
        0, 0, 399, bytes(4), 1,
    )
    body = b"".join(struct.pack("<II", load, len(data)) + data for load, data in segments)
    checksum = reduce(xor, (byte for _, data in segments for byte in data), 0xEF)
    out = header + body
    out += bytes(15 - len(out) % 16) + bytes([checksum])
    return out + hashlib.sha256(out).digest()


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


def _descriptor(version: str) -> bytes:
    """esp_app_desc_t. MicroPython leaves version and name empty; the time tells builds apart."""
    return struct.pack(
        "<II8s32s32s16s16s32s32s80s", _DESCRIPTOR_MAGIC, 0, b"", b"", b"",
        version.encode()[:15], b"Jan  1 2026", b"v5.4.2",
        hashlib.sha256(version.encode()).digest(), b"",
    )


def _archive(modules: dict[str, bytes]) -> bytes:
    out = b"MODS" + struct.pack("<H", len(modules))
    for name, source in sorted(modules.items()):
        out += bytes([len(name)]) + name.encode() + struct.pack("<I", len(source)) + source
    return out


def _filler(seed: str, length: int) -> bytes:
    """Bytes that look like code: incompressible, the same for the same seed."""
    return hashlib.shake_256(seed.encode()).digest(length)
