"""ESP-IDF's otadata, read. Pure.

Two records of 32 bytes, each at the start of a sector: u32 sequence, 20 bytes label, u32 state, u32
CRC-32 of the sequence from the start value 2^32 - 1. The bootloader goes by the record with the
highest sequence that is neither invalid nor aborted, and starts slot (sequence - 1) modulo their
number. (ESP-IDF, esp_flash_partitions.h and bootloader_common.c)
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

NEW, PENDING, VALID, INVALID, ABORTED = range(5)
UNDEFINED = 0xFFFFFFFF
LENGTH = 32  # bytes of a record

_RECORD = struct.Struct("<I20sII")


@dataclass(frozen=True)
class Record:
    """One record. `state`: one of the constants above."""

    sequence: int
    state: int

    def slot(self, count: int) -> int:
        """Return the index of the slot it names, among `count`."""
        return (self.sequence - 1) % count


def parse(data: bytes) -> Record | None:
    """Read a record's 32 bytes; None for one that is blank, torn or cut short."""
    if len(data) != LENGTH:
        return None
    sequence, _, state, stored = _RECORD.unpack(data)
    if sequence in (0, UNDEFINED) or crc(data[:4]) != stored:
        return None
    return Record(sequence, state)


def crc(sequence: bytes) -> int:
    """The CRC-32 of a sequence's four bytes, as a record has it."""
    return zlib.crc32(sequence, UNDEFINED)


def active(records: Sequence[Record | None]) -> Record | None:
    """Return the record that the bootloader goes by; None without one, when it starts ota_0."""
    usable = [record for record in records if record and record.state not in (INVALID, ABORTED)]
    return max(usable, key=lambda record: record.sequence, default=None)
