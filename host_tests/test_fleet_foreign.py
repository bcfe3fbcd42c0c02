"""Naming what somebody took for firmware, by its bytes alone: files as other programs make them."""

import bz2
import gzip
import io
import lzma
import random
import sqlite3
import struct
import zipfile
from pathlib import Path

import pytest
from esp_images import app, table, wrapped

from twinslot.formats import foreign
from twinslot.formats.head import PACKAGE_MAGIC

TAKE = "take that.bin"
ENCRYPTED = f"this is encrypted or compressed; {TAKE}"
TEXT = f"this is a text; {TAKE}"


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("app.bin", app())
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (gzip.compress(app()), "a gzip file"),
        (bz2.compress(app()), "a bzip2 file"),
        (lzma.compress(app()), "an xz file"),
        (lzma.compress(app(), lzma.FORMAT_ALONE), "an lzma file"),
        (zipped(), "a ZIP archive"),
        # what zstd, 7z and compress write of nothing, and how the others begin in their manuals
        (bytes.fromhex("28b52ffd240001000099e9d851"), "a zstd file"),
        (bytes.fromhex("377abcaf271c00048d9bd50f") + bytes(20), "a 7-Zip archive"),
        (bytes.fromhex("1f9d90"), "a compressed file (.Z)"),
        (b"Rar!\x1a\x07\x01\0" + bytes(20), "a RAR archive"),
        (b"MSCF" + bytes(4) + b"\x80\0\0\0" + bytes(20), "a cabinet archive"),
        (
            b"!<arch>\nboot.o/         0           0     0     644     4         `\n",
            "an ar archive",
        ),
        (b"070701" + b"0" * 104 + b"app.bin\0", "a cpio archive"),  # newc
        (b"070707" + b"0" * 70 + b"app.bin\0", "a cpio archive"),  # odc
    ],
)
def test_what_holds_a_file_is_to_be_unpacked_first(data: bytes, kind: str) -> None:
    assert foreign.refusal(data, TAKE) == f"this is {kind}: unpack it first"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x7fELF\1\1\1" + bytes(9) + b"\2\0\x5e\0", "an ELF file"),  # for Xtensa
        (bytes.fromhex("cffaedfe0c00000100000000"), "a program for macOS"),  # for arm64
        (bytes.fromhex("cafebabe00000002"), "a program for macOS or Java"),  # for two processors
        (bytes.fromhex("cafebabe00000041"), "a program for macOS or Java"),  # a class of Java 21
        (bytes.fromhex("ffd8ffe000104a46494600"), "a picture"),  # JFIF
        (b"GIF87a" + bytes(20), "a picture"),
        (b"GIF89a" + bytes(20), "a picture"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
        (b"DfuSe\1" + bytes(20), "a DFU file, for STM32"),
        (table([("nvs", 1, 0x02, 0x9000, 0x6000)]), "a partition table alone"),
        (table([("factory", 0, 0, 0x10000, 0x10000)]), "a partition table alone"),
        (b"S00600004844521B\nS1130000285F245F\n", "a Motorola S-record file"),
        (b":020000040800F2\n", "an Intel HEX file"),
    ],
)
def test_what_holds_no_firmware_has_its_name_and_the_file_to_take(data: bytes, kind: str) -> None:
    assert foreign.refusal(data, TAKE) == f"this is {kind}; {TAKE}"


def test_a_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "things.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE things (name)")
    connection.commit()
    connection.close()
    assert foreign.refusal(path.read_bytes(), TAKE) == f"this is a database; {TAKE}"


def test_a_package_is_named_with_what_shows_its_contents() -> None:
    wanted = "this is a package already; `fleet inspect` shows its contents"
    assert foreign.refusal(PACKAGE_MAGIC + bytes(100), TAKE) == wanted


# UF2


def uf2(family: int, flags: int = 0x2000) -> bytes:
    """A block's head, all 32 bytes of it."""
    return b"UF2\n" + struct.pack("<IIIIIII", 0x9E5D5157, flags, 0, 256, 0, 1, family)


@pytest.mark.parametrize(
    ("family", "chip"),
    [
        (0xE48BFF56, "RP2040 (Raspberry Pi Pico)"),
        (0xE48BFF57, "RP2350 (Raspberry Pi Pico 2)"),  # for any address
        (0xE48BFF58, "RP2350 (Raspberry Pi Pico 2)"),  # data
        (0xE48BFF59, "RP2350 (Raspberry Pi Pico 2)"),  # Arm, secure
        (0xE48BFF5A, "RP2350 (Raspberry Pi Pico 2)"),  # RISC-V
        (0xE48BFF5B, "RP2350 (Raspberry Pi Pico 2)"),  # Arm, not secure
        (0x68ED2B88, "SAMD21"),
        (0x55114460, "SAMD51"),
        (0xADA52840, "nRF52840"),
    ],
)
def test_the_uf2_file_of_another_board_says_that_none_will_do(family: int, chip: str) -> None:
    wanted = f"this is a UF2 file for {chip}; this project is for the ESP32 family"
    assert foreign.refusal(uf2(family), TAKE) == wanted


@pytest.mark.parametrize(
    ("family", "chip"),
    [
        (0x1C5F21B0, "ESP32"),
        (0xBFDD4EEE, "ESP32-S2"),
        (0xC47E5767, "ESP32-S3"),
        (0xD42BA06C, "ESP32-C3"),
    ],
)
def test_the_uf2_file_of_an_esp32_says_what_to_take_instead(family: int, chip: str) -> None:
    assert foreign.refusal(uf2(family), TAKE) == f"this is a UF2 file for {chip}; {TAKE}"


def test_a_uf2_file_that_tells_no_family_is_of_no_chip() -> None:
    """Without its flag the field of the family is a file's size; in a cut head there is none."""
    nobody = f"this is a UF2 file; {TAKE}"
    for flags in (0, 0x0001, 0xFFFF_DFFF):
        assert foreign.refusal(uf2(0xE48BFF56, flags), TAKE) == nobody
    for length in (4, 12, 31):
        assert foreign.refusal(uf2(0xE48BFF56)[:length], TAKE) == nobody


# Flash, archives without a name, noise


@pytest.mark.parametrize("first", [0xE9, 0xEA])
def test_the_image_of_an_esp8266_is_told_by_where_it_starts(first: int) -> None:
    """ESP8266's instruction RAM and cache: 64 KB from 0x40100000."""
    named = "this is an ESP8266's image; this project is for the ESP32 family"
    for entry in (0x40100000, 0x4010FFFF):
        head = struct.pack("<BBBBI", first, 1, 0, 0x40, entry)
        assert foreign.refusal(head, TAKE) == named
        assert foreign.refusal(head[:7], TAKE) != named
    for entry in (0x400FFFFF, 0x40110000):
        assert foreign.refusal(struct.pack("<BBBBI", first, 1, 0, 0x40, entry), TAKE) is None


@pytest.mark.parametrize(("at", "kind"), [(54, b"FAT12   "), (54, b"FAT16   "), (82, b"FAT32   ")])
def test_the_image_of_a_fat_file_system_is_named(at: int, kind: bytes) -> None:
    sector = bytearray(b"\xeb\x58\x90MSDOS5.0".ljust(512, b"\1"))
    sector[at : at + 8], sector[510:] = kind, b"\x55\xaa"
    wanted = f"this is an image of a file system (FAT); {TAKE}"
    assert foreign.refusal(bytes(sector), TAKE) == wanted


@pytest.mark.parametrize("written", [b"%06o\0 ", b"%6o\0 ", b"%07o\0", b"%07o "])
def test_an_archive_of_an_old_tar_is_told_however_it_writes_its_checksum(written: bytes) -> None:
    head = bytearray(b"firmware.bin".ljust(512, b"\0"))
    head[156] = ord("0")  # a plain file
    head[148:156] = written % (sum(head) + 8 * 0x20)
    wanted = "this is a tar archive: unpack it first"
    assert foreign.refusal(bytes(head), TAKE) == wanted
    assert foreign.refusal(bytes(head[:511]), TAKE) is None
    head[0] ^= 1
    assert foreign.refusal(bytes(head), TAKE) is None


def test_a_long_text_of_digits_is_no_archive() -> None:
    assert foreign.refusal(b"7" * 1000, TAKE) == TEXT


def test_noise_is_told_from_4_kilobytes_on() -> None:
    noise = random.Random(1).randbytes(4096)
    assert foreign.is_random(noise) is True
    assert foreign.is_random(noise[:-1]) is False
    assert foreign.refusal(b"\1" + noise, TAKE) == ENCRYPTED
    assert foreign.refusal(app(), TAKE) is None


def test_an_image_that_holds_compressed_data_is_an_image() -> None:
    data = wrapped([(0x3F400020, random.Random(3).randbytes(0x10000))])
    assert foreign.is_random(data)
    assert foreign.refusal(data, TAKE) is None


def test_an_encrypted_file_is_told_by_its_first_64_kilobytes() -> None:
    noise = b"\1" + random.Random(2).randbytes(0xFFFF)
    assert foreign.refusal(noise + bytes(0x20000), TAKE) == ENCRYPTED


# Texts


def test_a_text_may_be_cut_within_a_letter_and_holds_no_other_encoding() -> None:
    letters = "über Ångström, 5 €".encode()
    for length in range(1, len(letters)):
        assert foreign.refusal(letters[:length], TAKE) == TEXT
    assert foreign.refusal(("x" + "é" * 50_000).encode(), TAKE) == TEXT
    assert foreign.refusal("Müller, a name in another encoding".encode("latin-1"), TAKE) is None


def test_an_error_in_xml_is_told_by_its_first_two_texts() -> None:
    error = b"<Error><Code>TooBig</Code><Message>5 < 4</Message><Message>more</Message></Error>"
    wanted = "this is an XML text, the error of a web server: TooBig 5 < 4"
    assert foreign.refusal(error, TAKE) == wanted
    assert foreign.refusal(b"<Map>\n</Map>", TAKE) == f"this is an XML text; {TAKE}"


def test_bytes_that_begin_like_xml_and_hold_zeros_are_none() -> None:
    assert foreign.refusal(b"<A\0\2" + bytes(60), TAKE) is None
