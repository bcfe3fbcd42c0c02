"""Telling firmware from what looks like it; esptool is the independent judge of the test images."""

import hashlib
import random
from dataclasses import replace
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
        (b"PK\x03\x04" + bytes(100), "this is a ZIP archive"),
        (b"\x1f\x8b\x08" + bytes(100), "this is a gzip file"),
        (PACKAGE_MAGIC + bytes(5000), "package already"),
        (app(descriptor=False), "bootloader"),
        (b"\xe9", "does not begin"),
        (b"\xe9\x00" + app()[2:], "0 segments"),
        (b"\xe9\x11" + app()[2:], "17 segments"),
        (app()[:23] + b"\0" + app()[24:], "has no appended SHA-256"),
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


def small(segments: list[bytes]) -> bytes:
    """An image of these segments, whole."""
    data = b"\xe9" + bytes([len(segments)]) + bytes(21) + b"\1"
    checksum = 0xEF
    for segment in segments:
        data += bytes(4) + len(segment).to_bytes(4, "little") + segment
        for byte in segment:
            checksum ^= byte
    data = data.ljust(len(data) // 16 * 16 + 15, b"\0") + bytes([checksum])
    return data + hashlib.sha256(data).digest()


def test_an_image_has_1_to_16_segments_which_may_be_empty() -> None:
    for segments in ([b""], [b"four"] * 16, [b"", b"fourfour"]):
        found = image.parse(small(segments))
        assert (found.segments, found.length) == (len(segments), len(small(segments)))
    with pytest.raises(image.ImageError, match="17 segments; allowed are 1 to 16"):
        image.parse(small([b""] * 17))


def test_an_image_cut_at_any_byte_is_cut_short() -> None:
    whole = small([b"fourfour", b"more"])
    for length in range(24, len(whole)):
        with pytest.raises(image.ImageError, match="cut short"):
            image.parse(whole[:length])
    for length in range(24):
        with pytest.raises(image.ImageError, match="does not begin with 0xE9"):
            image.parse(whole[:length])
    assert image.parse(whole + b"more") == image.parse(whole)


def test_every_text_of_a_descriptor_is_read_to_its_last_byte() -> None:
    """esp_app_desc_t: version, project, time, date and ESP-IDF, which need no zero at their end."""
    texts = b"v" * 32 + b"p" * 32 + b"t" * 16 + b"d" * 16 + b"i" * 32
    descriptor = b"\x32\x54\xcd\xab" + bytes(12) + texts + b"#" * 80
    found = image.application(small([descriptor]))
    assert (found.version, found.project, found.idf) == ("v" * 32, "p" * 32, "i" * 32)
    assert found.built == "d" * 16 + " " + "t" * 16
    short = texts.replace(b"v" * 32, b"1.2".ljust(32, b"\0")).replace(b"i" * 32, bytes(32))
    found = image.application(small([descriptor[:16] + short]))
    assert (found.version, found.project, found.idf) == ("1.2", "p" * 32, "")


def test_an_image_says_how_it_lay_in_its_file_and_what_it_lacks() -> None:
    found = image.application(app())
    assert found.origin == "the file is the image"
    size = len(app())
    assert found.summary == (
        f"application image for esp32, {size} bytes, no MicroPython version, ESP-IDF v5.4.2"
    )
    assert replace(found, idf="").summary.endswith("ESP-IDF unknown")
    assert image.merged(app()) is None
    assert image.other_format(app()) is None


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
