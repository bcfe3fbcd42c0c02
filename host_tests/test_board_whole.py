"""A new board's flash, byte by byte: where each region lies, and that all else is blank."""

from __future__ import annotations

import hashlib

import pytest

from sim import image
from twinslot.board import download, whole
from twinslot.board import plan as planner
from twinslot.formats import table
from twinslot.formats.chips import CHIPS, Chip

ESP32 = CHIPS["esp32"]
MB = 1 << 20
TRAILER = b"trailer!".ljust(4096, b"\x01")
FILES = b"littlefs".ljust(0x1F0000, b"\x02")
RADIO = b"PHY!".ljust(0x1000, b"\x03")
BLANK = b"\xff"


def flashed(
    *,
    chip: Chip = ESP32,
    flash: int = 4 * MB,
    radio: bool = False,
    trailer: bytes | None = TRAILER,
    files: bytes | None = FILES,
) -> tuple[download.Download, planner.Plan, list[whole.Region]]:
    """Lay out a download of 100,000 bytes, which is no whole number of sectors."""
    data = bytearray(image.merged(application(chip), chip, image.PLAIN_TABLE))
    if radio:
        at = 0xF000 - chip.bootloader
        data[at : at + len(RADIO)] = RADIO
    found = download.read(bytes(data))
    plan = planner.plan(chip, flash, len(found.application.data), phy_init=radio)
    return found, plan, whole.regions(found, plan, trailer=trailer, filesystem=files)


def application(chip: Chip = ESP32) -> bytes:
    return image.firmware(chip=chip.chip_id, size=100_000)


def places(found: list[whole.Region]) -> list[tuple[str, int, int]]:
    return [(region.name, region.address, region.end) for region in found]


def held(found: list[whole.Region]) -> dict[str, bytes]:
    return {region.name: region.data for region in found}


def with_speed(bootloader: bytes, speed: int) -> bytes:
    """The same bootloader for another speed of flash: the low half of its fourth byte."""
    data = bytearray(bootloader[:-32])
    data[3] = data[3] & 0xF0 | speed
    return bytes(data) + hashlib.sha256(data).digest()


def test_a_board_of_4_mb_gets_these_regions_at_these_addresses_in_this_order() -> None:
    assert places(flashed()[2]) == [
        ("bootloader", 0x1000, 0x2000),
        ("table", 0x8000, 0x9000),
        ("nvs", 0x9000, 0xE000),
        ("otadata", 0xE000, 0x10000),
        ("application", 0x10000, 0x29000),
        ("trailer", 0x10F000, 0x110000),
        ("ota_1", 0x110000, 0x111000),
        ("ota_1-trailer", 0x20F000, 0x210000),
        ("vfs", 0x210000, 0x400000),
    ]


def test_data_for_the_radio_lies_between_otadata_and_the_first_slot() -> None:
    found = flashed(radio=True)[2]
    assert places(found)[2:6] == [
        ("nvs", 0x9000, 0xD000),
        ("otadata", 0xD000, 0xF000),
        ("phy_init", 0xF000, 0x10000),
        ("application", 0x10000, 0x29000),
    ]
    assert held(found)["phy_init"] == RADIO


def test_other_chips_and_more_flash_move_the_bootloader_and_the_slots() -> None:
    found = flashed(chip=CHIPS["esp32s3"], flash=16 * MB, files=None)[2]
    assert places(found) == [
        ("bootloader", 0x0, 0x1000),
        ("table", 0x8000, 0x9000),
        ("nvs", 0x9000, 0xE000),
        ("otadata", 0xE000, 0x10000),
        ("application", 0x10000, 0x29000),
        ("trailer", 0x40F000, 0x410000),
        ("ota_1", 0x410000, 0x411000),
        ("ota_1-trailer", 0x80F000, 0x810000),
    ]


def test_what_is_no_whole_sector_is_filled_up_with_blank_bytes() -> None:
    found = held(flashed()[2])
    bootloader = whole.for_flash_size(image.bootloader(), 4 * MB)
    assert found["bootloader"] == bootloader.ljust(0x1000, BLANK)
    assert found["application"] == application().ljust(0x19000, BLANK)
    assert found["trailer"] == TRAILER, "a whole sector gets nothing more"
    assert found["vfs"] == FILES


def test_the_table_on_the_board_is_the_planned_one_not_the_downloads() -> None:
    source, plan, found = flashed()
    data = held(found)["table"]
    assert table.parse(data) == plan.table != source.table
    assert data[0xC00:] == BLANK * 0x400


def test_records_of_old_images_and_the_ends_of_the_second_slot_are_made_blank() -> None:
    found = held(flashed()[2])
    for name, size in (("nvs", 0x5000), ("otadata", 0x2000), ("ota_1", 4096)):
        assert found[name] == BLANK * size
    assert found["ota_1-trailer"] == BLANK * 4096


def test_without_a_trailer_the_first_slots_last_sector_is_made_blank() -> None:
    found = flashed(trailer=None)[2]
    assert ("trailer", 0x10F000, 0x110000) in places(found)
    assert held(found)["trailer"] == BLANK * 4096


def test_files_and_radio_data_that_are_not_given_are_left_alone() -> None:
    names = {region.name for region in flashed(files=None)[2]}
    assert names.isdisjoint({"vfs", "phy_init"})


@pytest.mark.parametrize(("size", "code"), [(4 * MB, 2), (8 * MB, 3), (16 * MB, 4)])
@pytest.mark.parametrize("speed", [0x0, 0x2, 0xF])
def test_the_bootloader_is_told_the_flash_size_and_keeps_its_speed(
    size: int, code: int, speed: int
) -> None:
    before = with_speed(image.bootloader(), speed)
    after = whole.for_flash_size(before, size)
    assert after[3] == code << 4 | speed
    assert after[:3] + after[4:-32] == before[:3] + before[4:-32]
    assert after[-32:] == hashlib.sha256(after[:-32]).digest()


def test_what_follows_a_bootloader_in_its_file_does_not_come_along() -> None:
    before = image.bootloader()
    assert whole.for_flash_size(before + bytes(100), 4 * MB) == before


def test_the_image_of_the_flash_has_each_region_in_place_and_is_blank_elsewhere() -> None:
    found = flashed(radio=True)[2]
    made = whole.assemble(found, 4 * MB)
    pieces = [
        BLANK * 0x1000,
        whole.for_flash_size(image.bootloader(), 4 * MB).ljust(0x7000, BLANK),
        held(found)["table"],
        BLANK * 0x6000,  # nvs, otadata
        RADIO,
        application().ljust(0xFF000, BLANK),
        TRAILER,
        BLANK * 0x100000,  # ota_1
        FILES,
    ]
    assert made == b"".join(pieces)
    assert whole.assemble([], 8 * MB) == BLANK * (8 * MB)
