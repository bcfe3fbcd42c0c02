"""Recognise files that people take for firmware, by their first bytes. Pure.

Sources: Microsoft's uf2families.json; ESP-IDF's docs for secure boot and flash encryption;
esptool's image formats; the magic numbers of the formats themselves.
"""

import json
import math
import re
import struct
from collections import Counter

from twinslot.formats.head import PACKAGE_MAGIC

_UF2_FAMILIES = {
    0xE48BFF56: "RP2040 (Raspberry Pi Pico)",
    0xE48BFF57: "RP2350 (Raspberry Pi Pico 2)",
    0xE48BFF58: "RP2350 (Raspberry Pi Pico 2)",
    0xE48BFF59: "RP2350 (Raspberry Pi Pico 2)",
    0xE48BFF5A: "RP2350 (Raspberry Pi Pico 2)",
    0xE48BFF5B: "RP2350 (Raspberry Pi Pico 2)",
    0x68ED2B88: "SAMD21",
    0x55114460: "SAMD51",
    0xADA52840: "nRF52840",
    0x1C5F21B0: "ESP32",
    0xBFDD4EEE: "ESP32-S2",
    0xC47E5767: "ESP32-S3",
    0xD42BA06C: "ESP32-C3",
}
_UF2_HAS_FAMILY = 0x2000
_BEGINNINGS = (
    (b"\x7fELF", "an ELF file"),
    (b"PK\x03\x04", "a ZIP archive: unpack it first"),
    (b"PK\x05\x06", "an empty ZIP archive: the download has failed"),
    (b"PK\x07\x08", "a part of a ZIP archive: unpack it first"),
    (b"\x1f\x9d", "a compressed file (.Z): unpack it first"),
    (b"\x04\x22\x4d\x18", "an lz4 file: unpack it first"),
    (b"]\0\0", "an lzma file: unpack it first"),
    (b"MSCF", "a cabinet archive: unpack it first"),
    (b"!<arch>\n", "an ar archive: unpack it first"),
    (b"07070", "a cpio archive: unpack it first"),
    (b"MZ", "a program for Windows"),
    (b"\xcf\xfa\xed\xfe", "a program for macOS"),
    (b"\xca\xfe\xba\xbe", "a program for macOS or Java"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"SQLite format 3", "a database"),
    (b"M\x06", "a compiled module of MicroPython (.mpy), which belongs into an application"),
    (b"HTTP/1.", "the whole answer of a web server, its head included: download it again"),
    (b"-----BEGIN ", "a key or a certificate (PEM)"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"BZh", "a bzip2 file: unpack it first"),
    (b"\xfd7zXZ\0", "an xz file: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"%PDF", "a PDF"),
    (b"DfuSe", "a DFU file, for STM32"),
    (b"\xaa\x50\x01", "a partition table alone"),
    (b"\xaa\x50\x00", "a partition table alone"),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the file itself: `git lfs pull` gets it",
    ),
)
_HTML = re.compile(
    rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body|title|center|h1|pre|p|div)\b",
    re.I | re.S,
)
_XML = re.compile(rb"\s*<[A-Za-z?!]")
_XML_TEXT = re.compile(rb"<(?:code|message)>\s*(.{1,200}?)\s*</", re.I | re.S)
_TITLE = re.compile(rb"<title[^>]*>\s*(.{1,200}?)\s*</title>", re.I | re.S)
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_ESP8266_ENTRY = range(0x40100000, 0x40110000)  # its instruction RAM; no ESP32 has code there
_ENTROPY = 7.9  # bits per byte; code and strings have less than 7.5
_SAMPLE = 1 << 16  # bytes


def refusal(data: bytes, take: str) -> str | None:
    """A sentence that says what a file is that is no image of the ESP32 family; None if unknown.

    take: the file to take in its place, where nothing better is known.
    """
    what = _name(data)
    if what is None:
        return None
    return f"this is {what}" if ":" in what or ";" in what else f"this is {what}; {take}"


def _name(data: bytes) -> str | None:
    """The name of the file's kind, with its article; behind ":" or ";" stands the remedy."""
    if not data:
        return "an empty file: the download has failed"
    if not data.strip(b"\xff") or not data.strip(b"\0"):
        return f"a blank file: {len(data)} bytes of {data[0]:#04x}"
    if data.startswith(PACKAGE_MAGIC):
        return "a package already; `fleet inspect` shows its contents"
    for magic, said in _BEGINNINGS:
        if data.startswith(magic):
            return said
    if data.startswith(b"UF2\n"):
        return _uf2(data)
    if data[257:262] == b"ustar" or _is_old_tar(data):
        return "a tar archive: unpack it first"
    if data[510:512] == b"\x55\xaa" and b"FAT" in (data[54:57], data[82:85]):
        return "an image of a file system (FAT)"
    if data[8:16] == b"littlefs":
        return "an image of a file system (littlefs)"
    if _is_esp8266(data):
        return "an ESP8266's image; this project is for the ESP32 family"
    if data[0] == 0xE9:
        return None
    return _text(data) or ("encrypted or compressed" if is_random(data) else None)


def is_random(data: bytes) -> bool:
    """Whether bytes look encrypted: no byte is more frequent than another. From 4 KB on."""
    sample = data[:_SAMPLE]
    if len(sample) < 4096:
        return False
    counts = Counter(sample).values()
    entropy = -sum(count / len(sample) * math.log2(count / len(sample)) for count in counts)
    return entropy > _ENTROPY


def signature(data: bytes, end: int) -> str | None:
    """The kind of signature that follows an image that ends at byte `end`; None without one.

    Secure boot: version 1 appends a version of 0 and 64 bytes (secure-boot-v1.rst), version 2 pads
    with 0xFF to a sector that begins with 0xE7 and 2 or 3 (secure-boot-v2.rst).
    """
    rest = data[end:]
    if len(rest) == 68 and rest[:4] == bytes(4):
        return "secure boot (version 1)"
    at = len(data) - len(rest.lstrip(b"\xff"))
    if at % 4096 == 0 and data[at : at + 1] == b"\xe7" and data[at + 1 : at + 2] in (b"\2", b"\3"):
        return "secure boot (version 2)"
    return None


def _uf2(data: bytes) -> str:
    family = None
    if len(data) >= 32:
        flags, family = struct.unpack_from("<I16xI", data, 8)
        family = family if flags & _UF2_HAS_FAMILY else None
    chip = _UF2_FAMILIES.get(family or 0)
    if chip is None:
        return "a UF2 file"
    if chip.startswith("ESP32"):
        return f"a UF2 file for {chip}"
    return f"a UF2 file for {chip}; this project is for the ESP32 family"


def _is_esp8266(data: bytes) -> bool:
    """By the first byte of either of its formats, and the entry point."""
    if len(data) < 8 or data[0] not in (0xE9, 0xEA):
        return False
    return int.from_bytes(data[4:8], "little") in _ESP8266_ENTRY


def _is_old_tar(data: bytes) -> bool:
    """A tar archive of before ustar: by the checksum of its first header."""
    try:
        told = int(data[148:156].split(b"\0")[0], 8)
    except ValueError:
        return False
    return len(data) >= 512 and told == sum(data[:148]) + 8 * 0x20 + sum(data[156:512])


def _text(data: bytes) -> str | None:
    start = data[:_SAMPLE].removeprefix(b"\xef\xbb\xbf")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        start = start[: len(start) & ~1].decode("utf-16", "replace").encode()
    if _HTML.match(start):
        title = _TITLE.search(start)
        words = f" ({' '.join(title[1].decode('utf-8', 'replace').split())})" if title else ""
        return f"an HTML page{words}, not the file that a browser would save: download it again"
    if _XML.match(start) and b"\0" not in start:
        said = " ".join(text.decode("utf-8", "replace") for text in _XML_TEXT.findall(start)[:2])
        error = f", the error of a web server: {' '.join(said.split())}" if said else ""
        return f"an XML text{error}"
    if re.match(rb":[0-9A-Fa-f]{10}", start):
        return "an Intel HEX file"
    if re.match(rb"S0[0-9A-Fa-f]{6}", start):
        return "a Motorola S-record file"
    if _CONTROL.search(start):
        return None
    try:
        start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return None
    with_json = start.lstrip()[:1] in (b"{", b"[")
    return "JSON, perhaps the error of a web server" if with_json and _is_json(data) else "a text"


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
