"""The parts of a MicroPython download. Pure: the file's bytes in, its parts or a DownloadError out.

The `.bin` of a build is flash from the bootloader on: bootloader, partition table at 0x8000 and
application in its first app partition. An image of the whole flash, from address 0, is read alike.
"""

from dataclasses import dataclass

from twinslot.errors import FleetError
from twinslot.formats import chips, firmware, foreign, image
from twinslot.formats.chips import FLASHED, Chip
from twinslot.formats.firmware import Firmware
from twinslot.formats.head import PACKAGE_MAGIC
from twinslot.formats.table import ADDRESS, DATA, PHY, Table, has_otadata

_TAKE = "take the .bin of the same build"


class DownloadError(FleetError):
    """The file is nothing that a board can be flashed with; the sentence says which to take."""


@dataclass(frozen=True)
class Download:
    """A download taken apart.

    `judged`: what is known of it; `bootloader`: a whole image; `table`: its own partition table;
    `flash_size`: bytes, as the bootloader's header says; `phy_init`: what it brings for the radio,
    None when it leaves that blank, as MicroPython's own builds do.
    """

    chip: Chip
    judged: Firmware
    bootloader: bytes
    table: Table
    flash_size: int
    phy_init: bytes | None

    @property
    def application(self) -> image.Application:
        """The application image."""
        return self.judged.application

    @property
    def summary(self) -> str:
        """One line for people."""
        variant = "OTA variant" if has_otadata(self.table) else "plain variant"
        version = self.application.micropython or "without a version"
        return (
            f"MicroPython {version} for {self.chip.name}, {variant}, "
            f"application of {self.application.image.length} bytes, "
            f"made for {self.flash_size >> 20} MB of flash"
        )


def read(data: bytes, chip: str | None = None) -> Download:
    """Take a download apart.

    chip: the board's, by esptool's name; None: the file says. Raises DownloadError for what is no
    download, for another chip, or older than MicroPython 1.22; ImageError for damaged images.
    """
    merged = image.merged(data)
    if merged is None:
        raise DownloadError(_what_else(data))
    judged = firmware.judge(data)
    application = judged.application
    found = _chip(application.image.chip_id, chip)
    start = found.bootloader - merged.first_address
    if start < 0:
        raise DownloadError(
            f"the file begins at flash address {merged.first_address:#x}, after the bootloader of "
            f"{found.name}"
        )
    bootloader = image.parse(data[start : ADDRESS - merged.first_address])
    if bootloader.chip_id != found.chip_id:
        raise DownloadError(
            f"the bootloader is for {chips.name_of(bootloader.chip_id)}, the application for "
            f"{found.name}; {_TAKE}"
        )
    if judged.problem:
        raise DownloadError(judged.problem)
    size = image.flash_size(data[start:])
    if size is None:
        code = data[start + 3] >> 4
        raise DownloadError(f"the bootloader's header names flash size {code}, which is unknown")
    return Download(
        found,
        judged,
        data[start : start + bootloader.length],
        merged.table,
        size,
        _phy_init(data, merged),
    )


def _what_else(data: bytes) -> str:
    """Say what a file without a partition table is."""
    if data.startswith(PACKAGE_MAGIC):
        return "this is a package for updates over the air; a board is flashed with the .bin"
    if said := foreign.refusal(data, _TAKE):
        return said
    if data[:1] != bytes([image.IMAGE_MAGIC]):
        return f"this is no MicroPython download: nothing in it is a partition table; {_TAKE}"
    if image.is_application(data):
        return (
            "this is an application alone (.app-bin), without bootloader and partition table; "
            + _TAKE
        )
    return (
        f"no partition table at flash address {ADDRESS:#x}: the file is cut short ({len(data)} "
        "bytes), damaged, or a bootloader alone; download it again"
    )


def _chip(chip_id: int, wanted: str | None) -> Chip:
    name = chips.name_of(chip_id)
    if wanted is not None and name != wanted:
        raise DownloadError(f"the download is for {name}, the board is {wanted}")
    if name not in FLASHED:
        raise DownloadError(f"the download is for {name}; known are {', '.join(FLASHED)}")
    return FLASHED[name]


def _phy_init(data: bytes, merged: image.Merged) -> bytes | None:
    for row in merged.table:
        if (row.type, row.subtype) == (DATA, PHY):
            held = data[row.offset - merged.first_address : row.end - merged.first_address]
            return held if held.strip(b"\xff") else None
    return None
