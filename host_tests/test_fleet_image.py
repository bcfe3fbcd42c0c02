"""Telling firmware from what looks like it; esptool is the independent judge of the test images."""

import random
from pathlib import Path
from typing import Any

import pytest
from esp_images import SLOT, app, merged, table

from twinslot.formats import image
from twinslot.formats.head import PACKAGE_MAGIC


@pytest.mark.parametrize("size", [4000, 40_001, 40_007, 40_015])
def test_the_test_images_are_images_for_esptool_too(size: int, tmp_path: Path) -> None:
    from esptool.bin_image import ESP32FirmwareImage

    path = tmp_path / "app.bin"
    path.write_bytes(app(size))
    with path.open("rb") as file:
        judged: Any = ESP32FirmwareImage(file)
    assert judged.checksum == judged.calculate_checksum()
    assert judged.stored_digest == judged.calc_digest
    found = image.parse(app(size))
    assert found.segments == len(judged.segments)
    assert found.length == path.stat().st_size


def test_an_application_image_is_described() -> None:
    text = b"\0MicroPython v1.26.0 on 2025-08-09\0"
    found = image.application(app(text=text))
    assert found.data == app(text=text)
    assert found.micropython == "v1.26.0"
    assert (found.idf, found.built) == ("v5.4.2", "Mar  1 2026 12:00:00")
    assert "esp32, " in found.summary
    assert "v1.26.0" in found.summary
    assert image.application(app()).micropython is None


@pytest.mark.parametrize("first_address", [0x1000, 0x0, 0x2000])
def test_the_application_is_taken_out_of_a_merged_download_and_that_is_said(
    first_address: int,
) -> None:
    download = merged(app(), first_address) + b"\xff" * 300
    found = image.firmware(download, chip="esp32", slot_size=SLOT)
    assert found.data == app()
    assert "partition ota_0, flash address 0x10000" in found.origin


def test_padding_after_an_image_is_left_out_and_anything_else_is_refused() -> None:
    found = image.application(app() + b"\xff" * 100)
    assert found.data == app()
    assert "100 bytes of padding" in found.origin
    with pytest.raises(image.ImageError, match="3 bytes follow"):
        image.application(app() + b"abc")


def test_a_merged_download_without_application_is_refused() -> None:
    with pytest.raises(image.ImageError, match=r"ota_0 at 0x10000 holds no application"):
        image.application(merged(b""))
    with pytest.raises(image.ImageError, match="holds no application"):
        image.application(merged(app(descriptor=False)))
    without = bytearray(merged(app()))
    without[0x7000:0x7C00] = table([("nvs", 1, 2, 0x9000, 0x4000)])
    with pytest.raises(image.ImageError, match="its partition table has no app partition"):
        image.application(bytes(without))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot identify"),
        (b"print('hello')\n" * 50, "cannot identify"),
        (b"\x7fELF" + bytes(100), "ELF"),
        (b"UF2\n" + bytes(508), "UF2"),
        (PACKAGE_MAGIC + bytes(5000), "package already"),
        (app(descriptor=False), "bootloader"),
        (b"\xe9", "does not begin"),
        (b"\xe9\x00" + app()[2:], "0 segments"),
        (b"\xe9\x11" + app()[2:], "17 segments"),
        (app()[:23] + b"\0" + app()[24:], "appended SHA-256"),
        (app()[:-1], "cut short"),
        (app()[:1000], "segment 0 ends at byte"),
        (app()[:28], "header of segment 0"),
        (app()[:28] + b"\x01" + app()[29:], "not a multiple of 4"),
        (app()[:500] + b"!" + app()[501:], "checksum"),
        (app()[:-1] + b"!", "appended SHA-256"),
    ],
)
def test_what_is_no_firmware_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(image.ImageError, match=words):
        image.application(data)


def test_the_wrong_chip_is_refused_by_name() -> None:
    with pytest.raises(image.ImageError, match="for esp32s3, the board is esp32"):
        image.firmware(app(chip=9), chip="esp32", slot_size=SLOT)
    with pytest.raises(image.ImageError, match="for chip 77"):
        image.firmware(app(chip=77), chip="esp32", slot_size=SLOT)


def test_an_image_that_reaches_into_the_trailer_is_refused_with_the_numbers() -> None:
    data = app(200_000)
    assert image.firmware(data, chip="esp32", slot_size=len(data) + 4096).data == data
    with pytest.raises(image.ImageError, match=rf"{len(data)} bytes, 16 too many"):
        image.firmware(data, chip="esp32", slot_size=len(data) + 4080)


def test_no_bytes_make_the_reader_fail_otherwise() -> None:
    noise = random.Random(2)
    for length in (0, 1, 23, 24, 32, 40, 0x7000, 0x7C20):
        for first in (b"", b"\xe9", b"\xe9\x01", app()[:60]):
            with pytest.raises(image.ImageError):
                image.application((first + noise.randbytes(length))[: max(length, 1)])
