"""Right inputs of the host's formats, for targets to begin with."""

import hashlib
import struct

from twinslot.formats import archive, head, packed, table
from twinslot.formats.component import application_content, firmware_content
from twinslot.formats.manifest import write_manifest
from twinslot.formats.package import assemble


def image(text: bytes = b"MicroPython v1.26.1 on 2025-09-11") -> bytes:
    """A small application image in ESP-IDF's form."""
    described = struct.pack("<I12x", 0xABCD5432) + b"1.0".ljust(32, b"\0") + b"app".ljust(32, b"\0")
    described += b"12:00:00".ljust(16, b"\0") + b"Mar  1 2026".ljust(16, b"\0") + b"v5.4.2"
    body = (described.ljust(256, b"\0") + text).ljust(320, b"\0")
    data = bytes([0xE9, 1, 2, 0x20]) + bytes(19) + b"\1"
    data += struct.pack("<II", 0x3F400020, len(body)) + body
    return sealed_image(data.ljust(len(data) // 16 * 16 + 16, b"\0") + bytes(32))


def sealed_image(data: bytes) -> bytes:
    """The same bytes with a right checksum and digest, as far as the header makes sense."""
    at, check = 24, 0xEF
    for _ in range(data[1] if len(data) > 24 else 0):
        if at + 8 > len(data):
            return data
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if at + length > len(data):
            return data
        for byte in data[at : at + length]:
            check ^= byte
        at += length
    end = at // 16 * 16 + 16
    if len(data) < end + 32:
        return data
    body = data[: end - 1] + bytes([check])
    return body + hashlib.sha256(body).digest() + data[end + 32 :]


def partitions(*, slots: bool = True) -> bytes:
    """A table with two slots or none, with its MD5."""
    rows = (
        table.Partition("nvs", 1, 2, 0x9000, 0x6000),
        table.Partition("ota_0", 0, 0x10, 0x10000, 0x20000),
        table.Partition("ota_1", 0, 0x11, 0x30000, 0x20000),
    )
    return table.build(rows if slots else rows[:1])


def files() -> bytes:
    """An application archive."""
    return archive.build({"main.py": b"print(1)\n", "lib/a.py": b""})


def entries(*paths: str) -> bytes:
    """An archive of empty entries, in this order, whatever the rules say."""
    headers = (archive._header(path, 0) for path in paths)
    return b"".join(headers) + bytes(1024)


def manifest() -> bytes:
    """A manifest of firmware and application."""
    return write_manifest(
        [firmware_content(image(), 0, ["_boot"]), application_content(files(), [3, "main.py", 9])],
        "demo-board",
        "1.1.0",
        2,
        86400,
        172800,
    )


def record(payload: bytes) -> bytes:
    """A record over a payload, with a signature of zeros."""
    return head.write_record(head.protected_header(bytes(8)), payload, bytes(64))


def package() -> bytes:
    """A whole package of an application alone."""
    content = application_content(files())
    payload = write_manifest([content], "demo-board", "1.1.0", 2, 86400)
    return assemble([content], head.protected_header(bytes(8)), payload, bytes(64))


def smaller(base: bytes | None = None) -> bytes:
    """A whole package of an application in encoding 1. base: makes it a delta."""
    raw = application_content(archive.build({"main.py": b"print('line')\n" * 400}))
    content = packed.smaller(raw, base)
    payload = write_manifest([content], "demo-board", "1.1.0", 2, 86400)
    return assemble([content], head.protected_header(bytes(8)), payload, bytes(64))
