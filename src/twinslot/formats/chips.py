"""Facts about the chips that MicroPython runs on, by esptool's name of each."""

from dataclasses import dataclass

from twinslot.formats import image


@dataclass(frozen=True)
class Chip:
    """One member of the family.

    `name` as esptool's --chip takes it; `title` as esptool prints it; `chip_id` of the image header
    (ESP-IDF, esp_chip_id_t); `bootloader`: flash address where the ROM looks for it.
    """

    name: str
    title: str
    chip_id: int
    bootloader: int


def _chip(name: str, title: str, bootloader: int) -> Chip:
    return Chip(name, title, image.CHIPS[name], bootloader)


CHIPS = {
    chip.name: chip
    for chip in (
        _chip("esp32", "ESP32", 0x1000),
        _chip("esp32s2", "ESP32-S2", 0x1000),
        _chip("esp32s3", "ESP32-S3", 0x0),
        _chip("esp32c3", "ESP32-C3", 0x0),
        _chip("esp32c6", "ESP32-C6", 0x0),
    )
}

MB = 1 << 20
# Flash sizes by esptool's name: bytes, and the code in the high half of byte 3 of an image header.
FLASH_SIZES = {"4MB": 4 * MB, "8MB": 8 * MB, "16MB": 16 * MB}
FLASH_CODES = {1 * MB: 0, 2 * MB: 1, 4 * MB: 2, 8 * MB: 3, 16 * MB: 4, 32 * MB: 5}
