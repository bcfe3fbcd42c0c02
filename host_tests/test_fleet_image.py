"""Telling firmware from what looks like it; esptool is the independent judge of the test images."""

import hashlib
import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from esp_images import OTA_TABLE, SLOT, app, merged, table, wrapped

from twinslot.formats import firmware, image
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
    assert found.board == ""
    assert image.application(app(text=b"")).micropython is None


@pytest.mark.parametrize("first_address", [0x1000, 0x0, 0x2000])
def test_the_application_is_taken_out_of_a_merged_download_and_that_is_said(
    first_address: int,
) -> None:
    download = merged(app(), first_address) + b"\xff" * 300
    found = firmware.accept(download, chip="esp32", slot_size=SLOT).application
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
        image.application(merged(b"\xff" * 99))
    with pytest.raises(image.ImageError, match="holds no application"):
        image.application(merged(app(descriptor=False)))
    without = bytearray(merged(app()))
    without[0x7000:0x7C00] = table([("nvs", 1, 2, 0x9000, 0x4000)])
    with pytest.raises(image.ImageError, match="its partition table has no app partition"):
        image.application(bytes(without))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\1\2" * 50, "cannot identify"),
        (b"\x7fELF" + bytes(100), "ELF"),
        (b"PK\x03\x04" + bytes(100), "this is a ZIP archive"),
        (b"\x1f\x8b\x08" + bytes(100), "this is a gzip file"),
        (PACKAGE_MAGIC + bytes(5000), "package already"),
        (app(descriptor=False), "bootloader"),
        (b"\xe9", "23 bytes are missing"),
        (b"\xe9\x00" + app()[2:], "0 segments"),
        (b"\xe9\x11" + app()[2:], "17 segments"),
        (app()[:23] + b"\0" + app()[24:], "has no appended SHA-256"),
        (app()[:-1], "cut short"),
        (app()[:1000], rf"at least \d+ bytes are missing \(1000 of {39_800 + 32}\)"),
        (app()[:28], "at least 4 bytes are missing"),
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
    for length in range(1, len(whole)):
        with pytest.raises(image.ImageError, match=rf"cut short.* bytes are missing \({length} of"):
            image.parse(whole[:length])
    with pytest.raises(image.ImageError, match="does not begin with 0xE9"):
        image.parse(b"")
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
        f"application image for esp32, {size} bytes, MicroPython v1.26.1, ESP-IDF v5.4.2"
    )
    assert replace(found, idf="").summary.endswith("ESP-IDF unknown")
    assert image.merged(app()) is None


def test_the_wrong_chip_is_refused_by_name() -> None:
    with pytest.raises(image.ImageError, match="for esp32s3, the board is esp32"):
        firmware.accept(app(chip=9), chip="esp32", slot_size=SLOT)
    with pytest.raises(image.ImageError, match="for chip 77"):
        firmware.accept(app(chip=77), chip="esp32", slot_size=SLOT)


def test_an_image_that_reaches_into_the_trailer_is_refused_with_the_numbers() -> None:
    data = app(200_000)
    assert firmware.accept(data, chip="esp32", slot_size=len(data) + 4096)
    with pytest.raises(image.ImageError, match=rf"{len(data)} bytes, 16 too many"):
        firmware.accept(data, chip="esp32", slot_size=len(data) + 4080)


def test_no_bytes_make_the_reader_fail_otherwise() -> None:
    noise = random.Random(2)
    for length in (0, 1, 23, 24, 32, 40, 0x7000, 0x7C20):
        for first in (b"", b"\xe9", b"\xe9\x01", app()[:60]):
            with pytest.raises(image.ImageError):
                image.application((first + noise.randbytes(length))[: max(length, 1)])


# What a file is instead


def uf2(family: int, flags: int = 0x2000) -> bytes:
    head = b"UF2\n" + struct.pack("<IIIIIII", 0x9E5D5157, flags, 0, 256, 0, 1, family)
    return head.ljust(512, b"\0")


def esp8266(first: int = 0xE9) -> bytes:
    code = random.Random(8266).randbytes(4096)
    head = struct.pack("<BBBBI", first, 4 if first == 0xEA else 1, 0, 0x40, 0x40100004)
    return head + struct.pack("<II", 0x40100000, len(code)) + code + b"\xef"


def signed(version: int) -> bytes:
    if version == 1:
        return app() + bytes(4) + random.Random(1).randbytes(64)
    sector = bytes([0xE7, version]) + bytes(2) + random.Random(2).randbytes(1212)
    return app().ljust(0x10000, b"\xff") + sector.ljust(4096, b"\xff")


def old_tar() -> bytes:
    """A header of before POSIX, whose checksum is all that tells it."""
    head = bytearray(b"firmware.bin".ljust(512, b"\0"))
    head[148:156] = b"%06o\0 " % (sum(head) + 8 * 0x20)
    return bytes(head) + bytes(1024)


def fat() -> bytes:
    start = bytearray(b"\xeb\xfe\x90MSDOS5.0".ljust(512, b"\x01"))
    start[54:62], start[510:512] = b"FAT12   ", b"\x55\xaa"
    return bytes(start)


HTML = (
    b"\xef\xbb\xbf \n<!-- proxy --><!DOCTYPE html>\n"
    b"<html><head><title> 404\nNot Found</title></head>"
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file: the download has failed"),
        (b"\xff" * 4096, "a blank file: 4096 bytes of 0xff"),
        (bytes(100), "a blank file"),
        (signed(1), "signed for secure boot .version 1.: take it before it was signed"),
        (signed(2), "signed for secure boot .version 2."),
        (signed(3), "signed for secure boot .version 2."),
        (esp8266(), "an ESP8266's image; this project is for the ESP32 family"),
        (esp8266(0xEA), "an ESP8266's image"),
        (uf2(0xE48BFF56), r"a UF2 file for RP2040 .*; this project is for the ESP32 family"),
        (uf2(0xE48BFF59), "a UF2 file for RP2350"),
        (uf2(0xC47E5767), "a UF2 file for ESP32-S3.*; take the .app-bin"),
        (uf2(0, 0), "a UF2 file; take the .app-bin"),
        (HTML, r"an HTML page \(404 Not Found\)"),
        (b"<html>", "an HTML page, not the file"),
        (b'{"message": "Not Found"}', "JSON, perhaps the error of a web server"),
        (b"{", "a text"),
        (b"print('hello')\n" * 50, "a text; take the .app-bin"),
        (b":020000040800F2\n", "Intel HEX"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (bytes(257) + b"ustar\x0000", "a tar archive"),
        (old_tar(), "a tar archive: unpack it first"),
        (b"PK\x05\x06" + bytes(18), "an empty ZIP archive: the download has failed"),
        (b"PK\x07\x08PK\x03\x04", "a part of a ZIP archive"),
        (b"]\0\0\x80\0" + bytes(99), "an lzma file: unpack it first"),
        (b"\x04\x22\x4d\x18" + bytes(99), "an lz4 file: unpack it first"),
        (b"MZ" + bytes(99), "a program for Windows; take the .app-bin"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "a picture; take the .app-bin"),
        (b"M\x06\0\x1f" + bytes(99), "a compiled module of MicroPython"),
        (b"HTTP/1.1 200 OK\r\n\r\n\xe9\x05", "the whole answer of a web server"),
        (b"-----BEGIN CERTIFICATE-----\n", "a key or a certificate"),
        (HTML[3:].decode().encode("utf-16"), r"an HTML page \(404 Not Found\)"),
        (b"<center><h1>502 Bad Gateway</h1></center>", "an HTML page"),
        (
            b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>no</Message></Error>",
            "an XML text, the error of a web server: NoSuchKey no",
        ),
        (fat(), r"an image of a file system \(FAT\)"),
        (b"\xf0\x0f\xff\xf7" + bytes(4) + b"littlefs" + bytes(99), "a file system"),
        (table([("nvs", 1, 2, 0x9000, 0x4000)]), "a partition table alone"),
        (random.Random(5).randbytes(65536), "encrypted or compressed"),
        (b"\xe9" + random.Random(6).randbytes(65536), "encrypted or compressed"),
        (merged(random.Random(7).randbytes(65536)), "encrypted flash: partition ota_0"),
        (merged(b""), "begins at byte 61440, there are 61440"),
        (merged(app())[:0x6000], "a merged download that is cut short or damaged"),
        (merged(signed(2)), "the application in this merged download is signed for secure boot"),
        (merged(app())[:-1000], "at least 864 bytes are missing"),
        (app()[:-40], "short: 40 bytes are missing"),
    ],
)
def test_a_file_is_named_for_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(image.ImageError, match=words):
        firmware.judge(data)


def test_a_merged_image_with_its_table_elsewhere_says_how_to_cut_it() -> None:
    download = bytearray(merged(app()))
    download[0x7000:0x7C00] = b"\xff" * 0xC00
    with pytest.raises(image.ImageError, match=r"tail -c \+61441 FILE") as caught:
        firmware.judge(bytes(download))
    assert "a bootloader, and an application at byte 61440" in str(caught.value)


# The judgement


@pytest.mark.parametrize(
    ("banner", "version", "known"),
    [
        ("MicroPython v1.26.1 on 2025-09-11; Generic ESP32 module with ESP32", "v1.26.1", True),
        ("MicroPython 1.26.1 on 2025-11-11; Our board with ESP32", "1.26.1", True),
        ("MicroPython v1.27.0-preview.12.g7c1f5e3b2 on 2025-11-11", "v1.27.0-preview.12", True),
        ("MicroPython 7c1f5e3b29-dirty on 2025-11-11; Our board", "7c1f5e3b29-dirty", False),
        ("MicroPython pump-2.4 on 2025-11-11; Pump with ESP32", "pump-2.4", False),
        ("MicroPython 2.4 on 2025-11-11", "2.4", False),
        ("MicroPython ESP32_LoBo_v3.2.24 on 2018-09-06", "ESP32_LoBo_v3.2.24", False),
    ],
)
def test_every_banner_of_micropython_is_one(banner: str, version: str, known: bool) -> None:
    found = firmware.judge(app(text=f"\0MicroPython\0{banner}\0".encode()))
    assert found.problem is None
    assert (found.application.micropython or "").startswith(version)
    assert (found.release is not None) == known
    assert len(found.warnings) == (not known)
    assert f"MicroPython {version}" in found.application.summary


def test_a_build_without_any_banner_is_known_by_its_frozen_modules() -> None:
    found = firmware.judge(app(text=b"_boot.py\0flashbdev.py\0\0"))
    assert found.problem is None
    (warning,) = found.warnings
    assert "without a version" in warning


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"an application of our own", "is not MicroPython: it names no version of it"),
        (b"Adafruit CircuitPython 9.0.0 on 2024-03-19; S3 Feather", "but CircuitPython"),
        (b"MicroPython v1.20.0 on 2023-04-26", "MicroPython v1.20.0; the agent needs 1.22"),
        (b"MicroPython 1.20.2.r6 [v1.11-c5a0a97] on 2021-10-28; GPy", "the agent needs 1.22"),
    ],
)
def test_what_no_board_could_run_has_its_problem(text: bytes, words: str) -> None:
    found = firmware.judge(app(text=text))
    assert words in (found.problem or "")
    assert found.warnings == []
    with pytest.raises(image.ImageError, match=words):
        firmware.accept(app(text=text), chip="esp32", slot_size=SLOT)


def other(project: bytes) -> bytes:
    """An application of this project that is not MicroPython."""
    descriptor = b"\x32\x54\xcd\xab" + bytes(12) + b"1.0".ljust(32, b"\0")
    return small([descriptor + project.ljust(32, b"\0") + bytes(64)])


def test_an_application_that_is_not_micropython_is_told_by_its_project() -> None:
    said = "the application is not MicroPython: it names no version of it"
    assert firmware.judge(other(b"")).problem == said
    assert firmware.judge(other(b"blink")).problem == f"{said} (its project is called blink)"


def test_a_board_with_octal_psram_is_told_by_its_name_alone() -> None:
    banner = b"MicroPython v1.26.1 on 2025-09-11; ESP32_GENERIC_S3-SPIRAM_OCT with ESP32S3\0"
    assert firmware.judge(app(text=banner)).psram == "octal PSRAM"
    assert firmware.judge(app(text=banner + b"quad_psram\0")).psram == "octal PSRAM"


def test_the_slot_that_an_image_needs_is_the_smallest_that_takes_it() -> None:
    for size in (40_000, 0x10000 - 4096, 0x10000 - 2048, 0x10000, 0x20000 - 4096, 0x20000):
        data = app(size)
        least = firmware.judge(data).least_slot
        assert least % 0x10000 == 0
        assert firmware.accept(data, chip="esp32", slot_size=least)
        with pytest.raises(image.ImageError, match="too many"):
            firmware.accept(data, chip="esp32", slot_size=least - 0x10000)


def test_the_facts_of_an_image_are_told() -> None:
    facts = dict(firmware.judge(app()).facts)
    assert facts["board"] == "Generic ESP32 module with ESP32"
    assert facts["flash"] == "made for 4 MB"
    assert facts["memory"] == "no PSRAM"
    assert facts["needs"] == "two OTA slots of 64 KB or more"
    assert facts["rollback"].startswith("unknown until flashed")
    assert "its table" not in facts
    banner = b"MicroPython v1.26.1 on 2025-09-11"
    for text, memory in ((b"quad_psram\0", "PSRAM"), (b"octal_psram\0", "octal PSRAM")):
        assert firmware.judge(app(text=banner + b"\0" + text)).psram == memory


def test_a_bootloader_in_the_file_says_whether_it_rolls_back() -> None:
    facts = dict(firmware.judge(merged(app())).facts)
    assert facts["rollback"].startswith("yes, as in all of MicroPython's own builds since 1.21")
    assert facts["its table"] == "2 OTA slots of 1728 KB"
    for text in (b"MicroPython v1.20.0 on 2023-04-26", b"MicroPython 7c1f5e on 2025-11-11"):
        found = firmware.judge(merged(app(text=text)))
        assert found.rolls_back.startswith("unknown until flashed")
    descriptor = struct.pack("<B7s32s24s16s", 80, b"", b"v5.5.1", b"", b"")
    boot = small([descriptor])
    described = boot + merged(app())[len(boot) :]
    assert firmware.judge(described).rolls_back.endswith("(bootloader of ESP-IDF v5.5.1)")
    damaged = boot[:-1] + b"!" + described[len(boot) :]
    assert "this file has none" in firmware.judge(damaged).rolls_back


def test_a_bootloader_of_1_21_is_the_first_that_surely_rolls_back() -> None:
    for release, answer in (
        (b"1.21.0", "yes, "),
        (b"1.20.0", "unknown until flashed: before 1.21"),
    ):
        text = b"MicroPython v" + release + b" on 2023-10-06"
        assert firmware.judge(merged(app(text=text))).rolls_back.startswith(answer)


def test_a_bootloader_without_a_descriptor_names_no_esp_idf() -> None:
    """Before ESP-IDF 5.2; another byte than ASCII in a descriptor is shown as such."""
    found = firmware.judge(merged(app()))
    assert found.rolls_back == "yes, as in all of MicroPython's own builds since 1.21"
    boot = small([struct.pack("<B7s32s24s16s", 80, b"", b"v5.5\xff", b"", b"")])
    found = firmware.judge(boot + merged(app())[len(boot) :])
    assert found.rolls_back.endswith("(bootloader of ESP-IDF v5.5\ufffd)")


def test_the_bootloader_is_found_where_the_chip_looks_for_it() -> None:
    for chip, first_address in ((0, 0x1000), (5, 0x0), (9, 0x0), (18, 0x2000)):
        data = merged(app(chip=chip), first_address)
        assert firmware.judge(data).bootloader == data[: image.parse(data).length]
    early = bytes(0x1000) + merged(app())  # the same flash, from address 0 on
    assert firmware.judge(early).bootloader == firmware.judge(merged(app())).bootloader
    assert firmware.judge(merged(app(chip=77))).bootloader is None


def test_a_bootloader_that_reaches_into_the_table_is_none() -> None:
    before = bytes(0x7000 - 32)
    boot = wrapped([(0x3FFF0000, before + table(OTA_TABLE) + bytes(64))])
    found = firmware.judge(boot.ljust(0xF000, b"\xff") + app())
    assert found.application.data == app()
    assert found.bootloader is None


def test_a_table_without_a_pair_of_slots_is_told_by_its_applications() -> None:
    nvs = ("nvs", 1, 0x02, 0x9000, 0x6000)
    factory = ("factory", 0, 0x00, 0x10000, 0x1F0000)
    slot = ("ota_0", 0, 0x10, 0x200000, 0x100000)
    for rows, told in (
        ([nvs, factory], "factory of 1984 KB, no pair of slots"),
        ([nvs, factory, slot], "factory of 1984 KB, ota_0 of 1024 KB, no pair of slots"),
    ):
        data = bytearray(merged(app()))
        data[0x7000:0x7C00] = table(rows)
        assert dict(firmware.judge(bytes(data)).facts)["its table"] == told
