"""Partition tables and chips: other tools read what is built here; what is damaged is refused."""

import hashlib

import pytest
from esptool.targets import CHIP_DEFS
from mp_image_tool_esp32.partition_table import PartitionTable

from sim.chip import layout
from twinslot.errors import FleetError
from twinslot.formats import chips, table

ROWS = tuple(table.Partition(*row) for row in layout.TABLE)


def test_a_table_reads_back_as_it_was_built():
    data = table.build(ROWS)
    assert len(data) == 0xC00
    assert table.parse(data) == ROWS
    assert table.parse(data + b"anything") == ROWS


def test_another_projects_reader_finds_the_same_rows():
    read = PartitionTable.from_bytes(table.build(ROWS), layout.FLASH_SIZE)
    assert [(p.name, p.type, p.subtype, p.offset, p.size) for p in read] == list(layout.TABLE)


def test_the_md5_covers_every_row():
    data = table.build(ROWS)
    end = 32 * len(ROWS)
    assert data[end + 16 : end + 32] == hashlib.md5(data[:end]).digest()
    for at in range(end):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(table.TableError):
            table.parse(damaged)


@pytest.mark.parametrize("data", [b"", b"\xff" * 0xC00, b"\xaa\x50" * 0x600, bytes(31)])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(table.TableError, match="no partition table"):
        table.parse(data)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (table.Partition("a", 1, 2, 0x9100, 0x1000), "not aligned"),
        (table.Partition("a", 1, 2, 0x9000, 0x1001), "not aligned"),
        (table.Partition("a", 1, 2, 0x9000, 0), "not aligned"),
        (table.Partition("a", 0, 0, 0x11000, 0x1000), "not aligned"),
        (table.Partition("a", 1, 2, 0x8000, 0x1000), "lies before 0x9000"),
        (table.Partition("a" * 16, 1, 2, 0x9000, 0x1000), "1 to 15"),
        (table.Partition("ä", 1, 2, 0x9000, 0x1000), "1 to 15"),
        (table.Partition("", 1, 2, 0x9000, 0x1000), "1 to 15"),
    ],
)
def test_a_row_that_cannot_be_is_refused(row, words):
    with pytest.raises(table.TableError, match=words):
        table.build([row])


def test_overlapping_rows_and_too_many_rows_are_refused():
    row = table.Partition("a", 1, 2, 0x9000, 0x2000)
    with pytest.raises(table.TableError, match="a at 0x9000 lies before 0xb000"):
        table.build([row, row])
    many = [table.Partition("a", 1, 2, 0x9000 + n * 0x1000, 0x1000) for n in range(95)]
    with pytest.raises(table.TableError, match="too many"):
        table.build(many)
    assert len(table.parse(table.build(many[:94]))) == 94


@pytest.mark.parametrize("chip", chips.CHIPS.values(), ids=lambda chip: chip.name)
def test_esptool_has_the_same_facts_about_every_chip(chip):
    known = CHIP_DEFS[chip.name]
    assert chip.bootloader == known.BOOTLOADER_FLASH_OFFSET
    assert chip.chip_id == known.IMAGE_CHIP_ID
    assert chip.title == known.CHIP_NAME
    for size, code in chips.FLASH_CODES.items():
        assert known.FLASH_SIZES[f"{size >> 20}MB"] == code << 4


def test_refusals_are_errors_that_the_command_line_shows():
    assert issubclass(table.TableError, FleetError)
