"""The planner: every layout boots and has room, or is refused with the numbers."""

import itertools

import pytest

from sim.chip import layout
from twinslot.board import plan
from twinslot.formats import table
from twinslot.formats.chips import CHIPS, FLASH_SIZES, FLASHED

OFFICIAL = 1_672_976  # bytes of MicroPython v1.26.1's application for ESP32_GENERIC
MB = 1 << 20


def test_the_layout_of_4_mb_is_the_one_that_was_measured():
    found = plan.plan(CHIPS["esp32"], 4 * MB, OFFICIAL)
    assert found.table == tuple(table.Partition(*row) for row in layout.TABLE)
    assert found.slot_size == layout.SLOT_SIZE


@pytest.mark.parametrize(
    ("chip", "size", "length"),
    [*itertools.product(FLASHED.values(), FLASH_SIZES.values(), (300_000, 1_400_000, OFFICIAL))],
)
def test_every_layout_has_room_for_the_image_and_fills_flash(chip, size, length):
    found = plan.plan(chip, size, length)
    rows = found.table
    assert table.parse(table.build(rows)) == rows  # aligned, ascending, no overlap
    assert [row.label for row in rows] == ["nvs", "otadata", "ota_0", "ota_1", "vfs"]
    assert rows[0].offset == 0x9000
    assert rows[-1].end == size
    assert all(left.end == right.offset for left, right in itertools.pairwise(rows))
    first, second = table.slots(rows)
    assert first.size == second.size >= length * 1.05 + 4096
    assert first.size % 0x10000 == 0
    assert rows[-1].size >= plan.LEAST_FILESYSTEM


@pytest.mark.parametrize(("flash", "slot"), [("4MB", 0x1B0000), ("8MB", 2 * MB), ("16MB", 4 * MB)])
def test_more_flash_gives_larger_slots(flash, slot):
    assert plan.plan(CHIPS["esp32s3"], FLASH_SIZES[flash], OFFICIAL).slot_size == slot


def test_a_slot_grows_with_the_first_byte_that_needs_it():
    fits = (0x1B0000 - 4096) * 20 // 21
    assert plan.plan(CHIPS["esp32"], 4 * MB, fits).slot_size == 0x1B0000
    assert plan.plan(CHIPS["esp32"], 4 * MB, fits + 1).slot_size == 0x1C0000


def test_two_slots_that_do_not_fit_are_refused_with_the_numbers():
    most = (0x1D0000 - 4096) * 20 // 21
    assert plan.plan(CHIPS["esp32"], 4 * MB, most).slot_size == 0x1D0000
    with pytest.raises(plan.PlanError) as caught:
        plan.plan(CHIPS["esp32"], 4 * MB, most + 1)
    sentence = str(caught.value)
    for number in (most + 1, 4096, 0x1E0000, plan.LEAST_FILESYSTEM, 0x1D0000, "4 MB"):
        assert str(number) in sentence


def test_a_slot_can_be_asked_for_and_is_refused_when_it_does_not_fit():
    assert plan.plan(CHIPS["esp32"], 4 * MB, 300_000, least_slot=0x1B0000).slot_size == 0x1B0000
    with pytest.raises(plan.PlanError, match=f"slots of {0x1F0000} bytes, as asked for"):
        plan.plan(CHIPS["esp32"], 4 * MB, 300_000, least_slot=0x1F0000)


def test_radio_data_keeps_its_partition_and_nothing_else_moves():
    found = plan.plan(CHIPS["esp32"], 4 * MB, OFFICIAL, phy_init=True)
    assert [(row.label, row.offset, row.size) for row in found.table[:3]] == [
        ("nvs", 0x9000, 0x4000),
        ("otadata", 0xD000, 0x2000),
        ("phy_init", 0xF000, 0x1000),
    ]
    assert found.table[3:] == plan.plan(CHIPS["esp32"], 4 * MB, OFFICIAL).table[2:]


@pytest.mark.parametrize("size", [2 * MB, 32 * MB, 4 * MB + 1])
def test_other_flash_sizes_are_refused(size):
    with pytest.raises(plan.PlanError, match="known are 4MB, 8MB, 16MB"):
        plan.plan(CHIPS["esp32"], size, OFFICIAL)


def test_the_plan_is_shown_as_a_table():
    text = str(plan.plan(CHIPS["esp32"], 4 * MB, OFFICIAL)).splitlines()
    assert text[1].split() == ["bootloader", "0x1000", "0x8000", "28", "KB"]
    assert text[5].split() == ["ota_0", "app", "0x10000", "0x1c0000", "1728", "KB"]
    assert text[-1] == "An image may have 1765376 bytes; this one leaves 92400 (5 %)."


def own(label, offset, size):
    return table.Partition(label, table.DATA, 0x99, offset, size)


@pytest.mark.parametrize(
    "kept",
    [
        [own("end", 0x3F0000, 0x10000)],
        [own("begin", 0x10000, 0x3000)],
        [own("amid", 0x1C1000, 0x1000), own("late", 0x3A0000, 0x1000)],
        [own("late", 0x300000, 0x1000), own("amid", 0x180000, 0x20000)],
    ],
)
def test_a_plan_goes_around_what_stays(kept):
    found = plan.plan(CHIPS["esp32"], 4 << 20, 1_000_000, kept=tuple(kept))
    assert table.parse(table.build(found.table)) == found.table  # ascends, aligned, no overlap
    assert table.strangers(found.table) == tuple(sorted(kept, key=lambda row: row.offset))
    assert len(table.slots(found.table)) == 2
    assert found.slot_size >= 1_050_000
    assert table.need(found.table, "vfs").size >= plan.LEAST_FILESYSTEM
    assert max(row.end for row in found.table) <= 4 << 20


@pytest.mark.parametrize(
    "kept",
    [own("low", 0xC000, 0x1000), own("large", 0x100000, 0x200000), own("far", 0x3F0000, 0x20000)],
)
def test_what_cannot_stay_is_named_with_what_to_do(kept):
    with pytest.raises(plan.PlanError, match=rf"{kept.label} \(.*--drop LABEL"):
        plan.plan(CHIPS["esp32"], 4 << 20, 1_600_000, kept=(kept,))
