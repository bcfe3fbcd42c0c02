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


def test_damage_is_told_from_what_is_no_table():
    data = table.build(ROWS)
    end = 32 * len(ROWS)
    assert table.parse(data[: end + 32]) == table.parse(data)
    with pytest.raises(table.TableError, match="MD5 does not match: it is damaged"):
        table.parse(data[:5] + b"\x77" + data[6:])
    foreign = b"\xab" + data[1:end]
    with pytest.raises(table.TableError, match="no row with its MD5"):
        table.parse(foreign + data[end : end + 16] + hashlib.md5(foreign).digest())


def test_types_and_subtypes_are_those_of_esp_idf():
    assert (table.APP, table.DATA, table.FACTORY, table.OTA_0) == (0, 1, 0, 0x10)
    assert (table.OTADATA, table.PHY, table.NVS, table.FAT) == (0, 1, 2, 0x81)
    assert table.Partition("nvs", table.DATA, table.NVS, 0x9000, 0x6000).flags == 0


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


def test_a_chip_is_named_by_the_id_in_its_images():
    for chip in chips.CHIPS.values():
        assert chips.name_of(chip.chip_id) == chip.name
    assert chips.name_of(99) == "chip 99"
    assert set(chips.FLASHED) == {"esp32", "esp32s2", "esp32s3", "esp32c3", "esp32c6"}


def test_native_code_is_xtensas_or_risc_vs():
    xtensa = {"esp32", "esp32s2", "esp32s3"}
    for name, chip in chips.CHIPS.items():
        assert chip.march == ("xtensawin" if name in xtensa else "rv32imc")


def test_flash_is_measured_as_esp_idf_does():
    """Its partition tables, image headers and MMU."""
    assert (chips.SECTOR, chips.MMU_PAGE, chips.TRAILER_LENGTH) == (4096, 65536, 4096)
    assert chips.DEFAULT_SLOT == 27 * chips.MMU_PAGE
    assert chips.FLASH_SIZES == {"4MB": 4 << 20, "8MB": 8 << 20, "16MB": 16 << 20}
    assert [size >> 20 for size in chips.FLASH_CODES] == [1, 2, 4, 8, 16, 32]


def test_a_partition_is_found_by_its_label_and_a_lack_is_said():
    rows = [
        table.Partition("otadata", 1, 0, 0xD000, 0x2000),
        table.Partition("ota_1", 0, 0x11, 0x1C0000, 0x1B0000),
        table.Partition("ota_0", 0, 0x10, 0x10000, 0x1B0000),
        table.Partition("factory", 0, 0, 0x370000, 0x10000),
    ]
    assert table.find(rows, "ota_0") is rows[2]
    assert table.find(rows, "vfs") is None
    assert table.need(rows, "otadata") is rows[0]
    with pytest.raises(table.TableError, match="the partition table has no vfs"):
        table.need(rows, "vfs")
    assert [row.label for row in table.slots(rows)] == ["ota_0", "ota_1"]
    assert table.has_otadata(rows)
    assert not table.has_otadata(rows[1:])
    assert not table.has_otadata([table.Partition("nvs", 1, 2, 0x9000, 0x4000)])
