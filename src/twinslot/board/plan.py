"""Where everything lies in flash. Pure: sizes in, a partition table or a PlanError out.

nvs, otadata, two slots, vfs. A slot has room for the image and 5 % more, because releases grow, and
for its trailer; where flash allows a quarter of it. The rest is the file system. vfs is in the
table: MicroPython 1.26 adds it by itself, but after a rollback an older one would find no files.
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
        rows += [(row.label, _TYPES[row.type], row.offset, row.size) for row in self.table]
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
) -> Plan:
    """Lay out flash for updates over the air.

    flash_size: bytes, 4, 8 or 16 MB; image_length: bytes of the application image; phy_init: keep
    a partition for radio data; least_slot: bytes that a slot has at least. Raises PlanError.
    """
    if flash_size not in FLASH_SIZES.values():
        raise PlanError(f"flash of {flash_size} bytes: known are {', '.join(FLASH_SIZES)}")
    grown = image_length + -(-image_length // GROWTH)
    slot = _round_up(max(grown + TRAILER_LENGTH, flash_size // 4, least_slot))
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
    table = (
        *(_HEAD_WITH_PHY if phy_init else _HEAD),
        Partition("ota_0", APP, OTA_0, first, slot),
        Partition("ota_1", APP, OTA_0 + 1, second, slot),
        Partition("vfs", DATA, FAT, rest, flash_size - rest),
    )
    return Plan(chip, flash_size, image_length, table)


def _round_up(size: int) -> int:
    return -(-size // MMU_PAGE) * MMU_PAGE
