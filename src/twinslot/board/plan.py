"""Where everything lies in flash. Pure: sizes in, a partition table or a PlanError out.

nvs, otadata, two slots, vfs, around the data partitions that a board keeps. A slot has room for the
image and 5 % more, because releases grow, and for its trailer; where flash allows a quarter of it.
The rest is the file system. vfs is in the table: MicroPython 1.26 adds it by itself, but after a
rollback an older one would find no files.
"""

from dataclasses import dataclass

from twinslot.errors import FleetError
from twinslot.formats.chips import FLASH_SIZES, MMU_PAGE, SECTOR, TRAILER_LENGTH, Chip
from twinslot.formats.table import (
    ADDRESS,
    APP,
    DATA,
    FAT,
    NVS,
    OTA_0,
    OTADATA,
    PHY,
    Partition,
    Table,
    slots,
)

LEAST_FILESYSTEM = 0x50000  # bytes; what `fleet flash` puts there takes some 276 KB
GROWTH = 20  # a slot has room for one part in so many more than the image: 5 %

_FIRST_SLOT = MMU_PAGE
_HEAD = (
    Partition("nvs", DATA, NVS, 0x9000, 0x5000),
    Partition("otadata", DATA, OTADATA, 0xE000, 0x2000),
)
# With calibration data of its own for the radio. MicroPython's builds compile it in.
_HEAD_WITH_PHY = (
    Partition("nvs", DATA, NVS, 0x9000, 0x4000),
    Partition("otadata", DATA, OTADATA, 0xD000, 0x2000),
    Partition("phy_init", DATA, PHY, 0xF000, 0x1000),
)
_TYPES = {APP: "app", DATA: "data"}


class PlanError(FleetError):
    """Two slots and a file system do not fit; the sentence has the numbers."""


@dataclass(frozen=True)
class Plan:
    """A layout. `flash_size` and `image_length` in bytes."""

    chip: Chip
    flash_size: int
    image_length: int
    table: Table

    @property
    def slot_size(self) -> int:
        """Bytes of one slot, trailer included."""
        return slots(self.table)[0].size

    def __str__(self) -> str:
        """The layout as a table for people."""
        rows = [("bootloader", "", self.chip.bootloader, ADDRESS - self.chip.bootloader)]
        rows += [("table", "", ADDRESS, SECTOR)]
        rows += [
            (row.label, _TYPES.get(row.type, f"{row.type:#x}"), row.offset, row.size)
            for row in self.table
        ]
        lines = [f"{'':12}{'type':6}{'from':>10}{'to':>10}{'size':>10}"]
        lines += [
            f"{label:12}{kind:6}{start:#10x}{start + size:#10x}{size >> 10:7} KB"
            for label, kind, start, size in rows
        ]
        room = self.slot_size - TRAILER_LENGTH
        spare = room - self.image_length
        lines.append(
            f"An image may have {room} bytes; this one leaves {spare} ({100 * spare // room} %)."
        )
        return "\n".join(lines)


def plan(
    chip: Chip,
    flash_size: int,
    image_length: int,
    *,
    phy_init: bool = False,
    least_slot: int = 0,
    kept: Table = (),
) -> Plan:
    """Lay out flash for updates over the air.

    flash_size: bytes, 4, 8 or 16 MB; image_length: bytes of the application image; phy_init: keep
    a partition for radio data; least_slot: bytes that a slot has at least; kept: data partitions
    that stay where they are. Raises PlanError.
    """
    if flash_size not in FLASH_SIZES.values():
        raise PlanError(f"flash of {flash_size} bytes: known are {', '.join(FLASH_SIZES)}")
    grown = image_length + -(-image_length // GROWTH)
    needed = _round_up(max(grown + TRAILER_LENGTH, least_slot))
    slot = max(needed, flash_size // 4)
    if kept:
        return _around(chip, flash_size, image_length, (slot, needed), phy_init, kept)
    first, second, rest = (_FIRST_SLOT + number * slot for number in range(3))
    if rest + LEAST_FILESYSTEM > flash_size:
        most = (flash_size - _FIRST_SLOT - LEAST_FILESYSTEM) // 2 // MMU_PAGE * MMU_PAGE
        reason = (
            f"an image of {image_length} bytes, 5 % to grow and a trailer of {TRAILER_LENGTH}"
            if slot > _round_up(least_slot)
            else f"slots of {least_slot} bytes, as asked for"
        )
        raise PlanError(
            f"{reason}: two slots of {slot} bytes and a file system of {LEAST_FILESYSTEM} do not "
            f"fit {flash_size >> 20} MB of flash, where a slot has {most} at most; take a smaller "
            "build or a board with more flash"
        )
    places = (first, second), slot, (rest, flash_size - rest)
    return Plan(chip, flash_size, image_length, (*_head(phy_init), *_rows(*places)))


def _around(
    chip: Chip,
    flash_size: int,
    image_length: int,
    sizes: tuple[int, int],
    phy_init: bool,
    kept: Table,
) -> Plan:
    """Plan around partitions that stay. sizes: of a slot, the wished and the least one."""
    head = _head(phy_init)
    names = ", ".join(f"{row.label} ({row.size >> 10} KB at {row.offset:#x})" for row in kept)
    for slot in sizes:
        places = _places(_gaps(kept, flash_size), slot)
        if places and all(head[-1].end <= row.offset < row.end <= flash_size for row in kept):
            rows = sorted((*head, *kept, *_rows(*places)), key=lambda row: row.offset)
            return Plan(chip, flash_size, image_length, tuple(rows))
    raise PlanError(
        f"the board's own data stays where it is, {names}: around it nvs and otadata below "
        f"{head[-1].end:#x}, two slots of {sizes[-1]} bytes and a file system of "
        f"{LEAST_FILESYSTEM} do not fit {flash_size >> 20} MB of flash. Save its content and let "
        "it go: --drop LABEL"
    )


def _gaps(kept: Table, flash_size: int) -> list[tuple[int, int]]:
    """Return the free ranges behind the head, as (start, end)."""
    found, at = [], _FIRST_SLOT
    for row in sorted(kept, key=lambda row: row.offset):
        found.append((at, row.offset))
        at = max(at, row.end)
    return [(start, end) for start, end in (*found, (at, flash_size)) if start < end]


def _places(
    gaps: list[tuple[int, int]], slot: int
) -> tuple[tuple[int, int], int, tuple[int, int]] | None:
    """Return the slots' offsets, their size, and offset and size of the file system; or None."""
    offsets = []
    for _ in range(2):
        for number, (start, end) in enumerate(gaps):
            at = _round_up(start)
            if at + slot <= end:
                offsets.append(at)
                gaps[number] = at + slot, end
                break
    start, end = max(gaps, key=lambda gap: gap[1] - gap[0])
    if len(offsets) < 2 or end - start < LEAST_FILESYSTEM:
        return None
    return (offsets[0], offsets[1]), slot, (start, end - start)


def _head(phy_init: bool) -> Table:
    return _HEAD_WITH_PHY if phy_init else _HEAD


def _rows(offsets: tuple[int, int], slot: int, files: tuple[int, int]) -> Table:
    first, second = offsets
    return (
        Partition("ota_0", APP, OTA_0, first, slot),
        Partition("ota_1", APP, OTA_0 + 1, second, slot),
        Partition("vfs", DATA, FAT, *files),
    )


def _round_up(size: int) -> int:
    return -(-size // MMU_PAGE) * MMU_PAGE
