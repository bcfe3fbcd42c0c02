"""The layout of flash: the regions of a board, and one image of them all. Pure.

The same regions are written to a board by cable and assembled into the image that a production line
flashes from address 0.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from twinslot.board.download import Download
from twinslot.board.plan import Plan
from twinslot.formats import image, table
from twinslot.formats.chips import FLASH_CODES, SECTOR

_SIZE_AND_SPEED = 3  # offset: flash size in the high half, speed in the low one


@dataclass(frozen=True)
class Region:
    """Bytes at a flash address, whole sectors. `name` is for people and for file names."""

    name: str
    address: int
    data: bytes

    @property
    def end(self) -> int:
        """Flash address of the first byte after it."""
        return self.address + len(self.data)


def for_flash_size(bootloader: bytes, flash_size: int) -> bytes:
    """Return the bootloader with this flash size (bytes) in its header, its SHA-256 redone.

    The bootloader refuses partitions beyond what its header says. The checksum covers the segments
    alone. (ESP-IDF, esp_image_format.h)
    """
    out = bytearray(bootloader[: image.parse(bootloader).length])
    out[_SIZE_AND_SPEED] = FLASH_CODES[flash_size] << 4 | out[_SIZE_AND_SPEED] & 0x0F
    return bytes(out[:-32]) + hashlib.sha256(out[:-32]).digest()


def regions(
    download: Download, plan: Plan, *, trailer: bytes | None, filesystem: bytes | None
) -> list[Region]:
    """Return what a board gets, bootloader first, in the order of addresses, without overlap.

    trailer: 4096 bytes for ota_0, None for a blank one; filesystem: the vfs partition's bytes, None
    to leave it alone. NVS and otadata are blank: the bootloader then starts ota_0 and records it
    as valid. The first and the last sector of ota_1 are blank too, so that nothing old boots there
    or describes it.
    """
    nvs, otadata = (table.need(plan.table, label) for label in ("nvs", "otadata"))
    first, second = table.slots(plan.table)
    found = [
        _region(
            "bootloader", plan.chip.bootloader, for_flash_size(download.bootloader, plan.flash_size)
        ),
        _region("table", table.ADDRESS, table.build(plan.table)),
        _blank("nvs", nvs.offset, nvs.size),
        _blank("otadata", otadata.offset, otadata.size),
        _region("application", first.offset, download.application.data),
        _region("trailer", first.end - SECTOR, trailer or b"\xff" * SECTOR),
        _blank("ota_1", second.offset, SECTOR),
        _blank("ota_1-trailer", second.end - SECTOR, SECTOR),
    ]
    if download.phy_init is not None:
        found.append(
            _region("phy_init", table.need(plan.table, "phy_init").offset, download.phy_init)
        )
    if filesystem is not None:
        found.append(_region("vfs", table.need(plan.table, "vfs").offset, filesystem))
    found.sort(key=lambda region: region.address)
    return found


def assemble(found: Sequence[Region], flash_size: int) -> bytes:
    """Return the whole flash: exactly `flash_size` bytes, 0xFF wherever nothing lies."""
    out = bytearray(b"\xff" * flash_size)
    for region in found:
        out[region.address : region.end] = region.data
    return bytes(out)


def _region(name: str, address: int, data: bytes) -> Region:
    return Region(name, address, data + b"\xff" * (-len(data) % SECTOR))


def _blank(name: str, address: int, size: int) -> Region:
    return Region(name, address, b"\xff" * size)
