"""otadata is read as ESP-IDF's bootloader reads it."""

from __future__ import annotations

import struct

import pytest

from twinslot.formats import otadata
from twinslot.formats.otadata import ABORTED, INVALID, NEW, PENDING, VALID, Record

# CRC-32 of the sequence from 0xFFFFFFFF, as ESP-IDF's otatool writes it.
CRC = {1: 0x4743989A, 2: 0x55F63774, 3: 0xED4A5011}


def raw(sequence: int, state: int, crc: int | None = None) -> bytes:
    return struct.pack("<I20sII", sequence, b"\xff" * 20, state, crc or CRC.get(sequence, 0))


def test_a_record_says_sequence_and_state() -> None:
    for sequence in CRC:
        for number, state in enumerate((NEW, PENDING, VALID, INVALID, ABORTED)):
            assert state == number
            assert otadata.parse(raw(sequence, state)) == Record(sequence, state)
    assert otadata.parse(raw(1, otadata.UNDEFINED)) == Record(1, 0xFFFFFFFF)
    assert len(raw(1, NEW)) == otadata.LENGTH


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 32,
        bytes(32),
        raw(0, VALID, 0xFFFFFFFF),
        raw(0xFFFFFFFF, VALID, 0xFFFFFFFF),
        raw(1, VALID, CRC[2]),
        raw(1, VALID, 1),
        raw(2, VALID)[:28] + b"\xff" * 4,
    ],
)
def test_a_blank_or_torn_record_is_none(data: bytes) -> None:
    assert otadata.parse(data) is None


def test_the_record_of_the_highest_sequence_counts_unless_it_failed() -> None:
    old, new = Record(4, VALID), Record(5, PENDING)
    assert otadata.active([old, new]) == otadata.active([new, old]) == new
    assert otadata.active([None, old]) == old
    for state in (INVALID, ABORTED):
        assert otadata.active([old, Record(5, state)]) == old
        assert otadata.active([Record(4, state), Record(5, state)]) is None
    assert otadata.active([old, Record(5, NEW)]) == Record(5, NEW)
    assert otadata.active([None, None]) is None


def test_sequences_name_the_slots_in_turn() -> None:
    assert [Record(sequence, VALID).slot(2) for sequence in (1, 2, 3, 4)] == [0, 1, 0, 1]
    assert [Record(sequence, VALID).slot(3) for sequence in (1, 2, 3, 4)] == [0, 1, 2, 0]
