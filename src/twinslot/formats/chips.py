"""Facts about the chips that MicroPython runs on, and about their flash: the one table of them."""

from dataclasses import dataclass

XTENSA, RISC_V = "xtensawin", "rv32imc"


@dataclass(frozen=True)
class Chip:
    """One member of the family.

    `name` as esptool's --chip takes it; `title` as esptool prints it; `chip_id` of the image header
    (ESP-IDF, esp_chip_id_t); `bootloader`: flash address where the ROM looks for it; `march`: the
    architecture of native code, in mpy-cross's words; `flashed`: whether `fleet flash` knows how to
    make it a board.
    """

    name: str
    title: str
    chip_id: int
    bootloader: int
    march: str
    flashed: bool = False


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("esp32", "ESP32", 0, 0x1000, XTENSA, flashed=True),
        Chip("esp32s2", "ESP32-S2", 2, 0x1000, XTENSA, flashed=True),
        Chip("esp32c3", "ESP32-C3", 5, 0x0, RISC_V, flashed=True),
        Chip("esp32s3", "ESP32-S3", 9, 0x0, XTENSA, flashed=True),
        Chip("esp32c2", "ESP32-C2", 12, 0x0, RISC_V),
        Chip("esp32c6", "ESP32-C6", 13, 0x0, RISC_V, flashed=True),
        Chip("esp32h2", "ESP32-H2", 16, 0x0, RISC_V),
        Chip("esp32p4", "ESP32-P4", 18, 0x2000, RISC_V),
        Chip("esp32c61", "ESP32-C61", 20, 0x0, RISC_V),
        Chip("esp32c5", "ESP32-C5", 23, 0x2000, RISC_V),
    )
}
"""Every chip whose images are known, by name."""
FLASHED = {name: chip for name, chip in CHIPS.items() if chip.flashed}
"""Those that `fleet flash` takes."""

SECTOR = 4096  # bytes; what flash erases at once
MMU_PAGE = 0x10000  # bytes; what an application begins at, and what flash erases fastest
TRAILER_LENGTH = SECTOR  # bytes at the end of a slot that belong to the slot trailer
DEFAULT_SLOT = 0x1B0000  # bytes: two of them and a file system fit 4 MB

MB = 1 << 20
FLASH_SIZES = {"4MB": 4 * MB, "8MB": 8 * MB, "16MB": 16 * MB}
"""Sizes of flash that are planned for, by esptool's name, in bytes."""
FLASH_CODES = {1 * MB: 0, 2 * MB: 1, 4 * MB: 2, 8 * MB: 3, 16 * MB: 4, 32 * MB: 5}
"""Bytes of flash to the code in the high half of byte 3 of an image header."""


def name_of(chip_id: int) -> str:
    """Return the name of the chip with this chip_id, or its number where it has none here."""
    for chip in CHIPS.values():
        if chip.chip_id == chip_id:
            return chip.name
    return f"chip {chip_id}"


def march_of(chip_id: int) -> str | None:
    """Return the architecture of the chip with this chip_id, None where it is not known."""
    return next((chip.march for chip in CHIPS.values() if chip.chip_id == chip_id), None)
