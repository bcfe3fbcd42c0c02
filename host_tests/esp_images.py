"""ESP32 images and downloads as ESP-IDF and MicroPython's builds lay them out, for the tests."""

import hashlib
import struct

from twinslot.formats import image

SLOT = 0x1B0000
BANNER = b"\0MicroPython v1.26.1 on 2025-09-11; Generic ESP32 module with ESP32\0"
OTA_TABLE = [
    ("nvs", 1, 0x02, 0x9000, 0x5000),
    ("otadata", 1, 0x00, 0xE000, 0x2000),
    ("ota_0", 0, 0x10, 0x10000, 0x1B0000),
    ("ota_1", 0, 0x11, 0x1C0000, 0x1B0000),
    ("vfs", 1, 0x81, 0x370000, 0x90000),
]


def app(
    size: int = 40_000, *, chip: int = 0, descriptor: bool = True, text: bytes = BANNER
) -> bytes:
    """A valid image of about `size` bytes with the descriptor ESP-IDF 5.4 writes.

    text: what it has among its strings, as of MicroPython by default.
    """
    described = struct.pack("<III8s", image.DESCRIPTOR_MAGIC, 0, 0, b"") if descriptor else b""
    described = described[:16].ljust(16, b"\0") + b"".ljust(64, b"\0")
    described += b"12:00:00".ljust(16, b"\0") + b"Mar  1 2026".ljust(16, b"\0")
    described += b"v5.4.2".ljust(32, b"\0")
    body = (described.ljust(256, b"\0") + text).ljust(size - 200, b"\x5a")
    segments = [(0x3F400020, body[: len(body) // 4 * 4]), (0x40080000, b"\x12\x34\x56\x78" * 20)]
    return wrapped(segments, chip=chip)


def wrapped(segments: list[tuple[int, bytes]], *, chip: int = 0) -> bytes:
    """A valid image of segments: address, and contents of whole words."""
    header = struct.pack("<BBBBI", 0xE9, len(segments), 2, 0x20, 0x40080004)
    header += struct.pack("<B3sHBHH4sB", 0xEE, b"\0\0\0", chip, 0, 0, 65535, b"\0" * 4, 1)
    data, checksum = header, 0xEF
    for address, content in segments:
        data += struct.pack("<II", address, len(content)) + content
        for byte in content:
            checksum ^= byte
    data = data.ljust(len(data) // 16 * 16 + 15, b"\0") + bytes([checksum])
    return data + hashlib.sha256(data).digest()


def table(entries: list[tuple[str, int, int, int, int]]) -> bytes:
    data = b"".join(
        struct.pack("<2sBBII16sI", b"\xaa\x50", kind, subtype, offset, size, label.encode(), 0)
        for label, kind, subtype, offset, size in entries
    )
    return (data + b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(data).digest()).ljust(0xC00, b"\xff")


def merged(application: bytes, first_address: int = 0x1000) -> bytes:
    """As MicroPython's download for a board: bootloader, table, application, 0xFF between."""
    flash = bytearray(b"\xff" * 0x10000)
    boot = app(20_000, descriptor=False)
    flash[first_address : first_address + len(boot)] = boot
    flash[0x8000:0x8C00] = table(OTA_TABLE)
    return bytes(flash[first_address:]) + application
