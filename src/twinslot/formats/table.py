"""ESP-IDF's partition table, read and built. Pure.

At flash address 0x8000, 32 bytes per row: u16 0x50AA, u8 type, u8 subtype, u32 offset, u32 size, 16
bytes label, u32 flags; then a row 0xEBEB whose last 16 bytes are the MD5 over all rows before it.
(ESP-IDF, partition-tables.rst and gen_esp32part.py)
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twinslot.errors import FleetError
from twinslot.formats.chips import MMU_PAGE, SECTOR

ADDRESS = 0x8000
LENGTH = 0xC00  # bytes that the bootloader reads

FILE_SYSTEMS = ("vfs", "ffat")  # the labels MicroPython looks for (ports/esp32, flashbdev.py)
APP, DATA = 0, 1
FACTORY, OTA_0 = 0x00, 0x10  # subtypes of APP; ota_1 is 0x11, up to ota_15
OTADATA, PHY, NVS, FAT = 0x00, 0x01, 0x02, 0x81  # of DATA; MicroPython's littlefs is declared FAT

_ROW = struct.Struct("<HBBII16sI")
_MAGIC = 0x50AA
_MD5 = b"\xeb\xeb" + b"\xff" * 14


class TableError(FleetError):
    """The bytes are no partition table, or the rows make none."""


@dataclass(frozen=True)
class Partition:
    """One row. `offset`: flash address; `size` in bytes; `flags`: bit 0 encrypted, 1 read-only."""

    label: str
    type: int
    subtype: int
    offset: int
    size: int
    flags: int = 0

    @property
    def end(self) -> int:
        """Flash address of the first byte after it."""
        return self.offset + self.size

    @property
    def is_slot(self) -> bool:
        """Say whether this is an OTA slot."""
        return self.type == APP and OTA_0 <= self.subtype < OTA_0 + 16


Table = tuple[Partition, ...]


def find(table: Iterable[Partition], label: str) -> Partition | None:
    """Return the partition with this label, None without one."""
    return next((row for row in table if row.label == label), None)


def need(table: Iterable[Partition], label: str) -> Partition:
    """Return the partition with this label. Raises TableError without one."""
    row = find(table, label)
    if row is None:
        raise TableError(f"the partition table has no {label}")
    return row


def slots(table: Iterable[Partition]) -> Table:
    """Return the OTA slots, ota_0 first."""
    return tuple(sorted((row for row in table if row.is_slot), key=lambda row: row.subtype))


def has_otadata(table: Iterable[Partition]) -> bool:
    """Say whether the table has the partition in which the bootloader looks for the slot."""
    return any((row.type, row.subtype) == (DATA, OTADATA) for row in table)


def strangers(table: Iterable[Partition]) -> Table:
    """Return the data that is neither MicroPython's nor the agent's: of the application's own."""
    return tuple(
        row
        for row in table
        if row.type != APP
        and (row.type, row.subtype) not in ((DATA, OTADATA), (DATA, PHY))
        and row.label not in ("nvs", *FILE_SYSTEMS)
    )


def build(table: Sequence[Partition]) -> bytes:
    """Return the table's bytes, 0xC00 long, with its MD5 row.

    Raises TableError unless the rows ascend without overlap, begin and end on sectors (an
    application on 64 KB, which the MMU maps), and have labels of 1 to 15 ASCII characters.
    """
    at = ADDRESS + SECTOR
    rows = b""
    for row in table:
        unit = MMU_PAGE if row.type == APP else SECTOR
        if row.offset % unit or row.size % SECTOR or not row.size:
            raise TableError(f"{row.label}: {row.offset:#x}/{row.size:#x} is not aligned")
        if row.offset < at:
            raise TableError(f"{row.label} at {row.offset:#x} lies before {at:#x}")
        at = row.end
        label = row.label.encode("ascii", "replace")
        if not 1 <= len(label) <= 15 or b"?" in label:
            raise TableError(f"label {row.label!r}: 1 to 15 ASCII characters")
        rows += _ROW.pack(_MAGIC, row.type, row.subtype, row.offset, row.size, label, row.flags)
    data = rows + _MD5 + hashlib.md5(rows, usedforsecurity=False).digest()
    if len(data) > LENGTH - 32:
        raise TableError(f"{len(table)} rows are too many for {LENGTH} bytes")
    return data.ljust(LENGTH, b"\xff")


def parse(data: bytes) -> Table:
    """Read a table at the start of `data`; what follows its MD5 row is not looked at.

    Raises TableError without a right MD5 row, since any bytes may lie where a table is looked for.
    """
    found: list[Partition] = []
    for at in range(0, min(len(data), LENGTH) - 31, 32):
        if data[at : at + 2] == _MD5[:2]:
            digest = hashlib.md5(data[:at], usedforsecurity=False).digest()
            if digest != data[at + 16 : at + 32]:
                raise TableError("the partition table's MD5 does not match: it is damaged")
            return tuple(found)
        magic, kind, subtype, offset, size, label, flags = _ROW.unpack_from(data, at)
        if magic != _MAGIC:
            break
        text = label.split(b"\0")[0].decode("ascii", "replace")
        found.append(Partition(text, kind, subtype, offset, size, flags))
    raise TableError("no partition table: no row with its MD5")
