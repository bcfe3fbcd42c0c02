"""What is in a download, and what is told before anything is written."""

import re

import pytest

from sim import image
from twinslot.board import download, whole
from twinslot.formats import image as fleet_image
from twinslot.formats.chips import CHIPS, FLASHED
from twinslot.formats.head import PACKAGE_MAGIC

EACH_CHIP = pytest.mark.parametrize("chip", FLASHED.values(), ids=lambda chip: chip.name)


def app(chip=CHIPS["esp32"], text="MicroPython v1.26.1 on 2025-09-11"):
    """An application image that says this of itself."""
    descriptor = image.firmware().partition(b"MODS")[0][32:]
    return image.image(
        [(0x3F400000, descriptor + text.encode()), (0x400D0000, b"code")], chip.chip_id
    )


@EACH_CHIP
@pytest.mark.parametrize(("rows", "variant"), [(image.PLAIN_TABLE, "plain"), (image.TABLE, "OTA")])
def test_a_download_is_taken_apart(chip, rows, variant):
    data = image.merged(app(chip), chip, rows)
    found = download.read(data, chip.name)
    assert found.chip == chip == download.read(data).chip
    assert found.application.data == app(chip)
    assert found.bootloader == image.bootloader(chip.chip_id)
    assert found.table == rows
    assert found.flash_size == 4 << 20
    assert found.phy_init is None
    assert found.summary == (
        f"MicroPython v1.26.1 for {chip.name}, {variant} variant, application of {len(app(chip))} "
        "bytes, made for 4 MB of flash"
    )


@EACH_CHIP
def test_an_image_of_the_whole_flash_is_read_alike(chip):
    data = image.merged(app(chip), chip)
    flash = (b"\xff" * chip.bootloader + data).ljust(4 << 20, b"\xff")
    found = download.read(flash)
    assert (found.chip, found.application.data) == (chip, app(chip))
    assert found.bootloader == image.bootloader(chip.chip_id)


def test_data_for_the_radio_is_found():
    data = bytearray(image.merged(app(), rows=image.PLAIN_TABLE))
    data[0xF000 - 0x1000 : 0xF000 - 0x1000 + 4] = b"PHY!"
    assert download.read(bytes(data)).phy_init == b"PHY!".ljust(0x1000, b"\xff")


@pytest.mark.parametrize("version", ["v1.21.0", "v1.9", "v0.99", "v1.21.9-dirty"])
def test_a_micropython_that_is_too_old_is_refused(version):
    with pytest.raises(
        download.DownloadError, match=rf"{re.escape(version)}; the agent needs 1.22"
    ):
        download.read(image.merged(app(text=f"MicroPython {version} on 2023-01-01")))


@pytest.mark.parametrize("version", ["v1.22.0", "v1.25.0", "v1.100.0", "v2.0.0"])
def test_newer_ones_are_taken(version):
    data = image.merged(app(text=f"MicroPython {version} on 2023-01-01"))
    assert download.read(data).application.micropython == version


def test_what_is_not_micropython_is_refused():
    with pytest.raises(download.DownloadError, match="not MicroPython"):
        download.read(image.merged(app(text="CircuitPython 9.0.0 on 2024-03-19")))


@EACH_CHIP
def test_another_chip_is_refused(chip):
    other = CHIPS["esp32s3" if chip.name == "esp32" else "esp32"]
    with pytest.raises(
        download.DownloadError, match=f"the download is for {chip.name}, the board is {other.name}"
    ):
        download.read(image.merged(app(chip), chip), other.name)


def test_a_chip_that_this_tool_does_not_know_is_named():
    data = image.merged(image.firmware(chip=CHIPS["esp32p4"].chip_id))
    with pytest.raises(download.DownloadError, match="for esp32p4; known are esp32, "):
        download.read(data)


def test_a_bootloader_of_another_chip_is_refused():
    data = image.merged(app())
    alien = image.bootloader(9)
    with pytest.raises(download.DownloadError, match="bootloader is for esp32s3, the application"):
        download.read(alien + data[len(alien) :])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (app(), r"an application alone \(.app-bin\)"),
        (image.bootloader(), "cut short .* or a bootloader alone"),
        (image.merged(app())[:0x7000], "the file is cut short"),
        (b"UF2\n" + bytes(508), "a UF2 file; take the .bin"),
        (b"\x7fELF" + bytes(508), "an ELF file; take the .bin"),
        (b"PK\x03\x04" + bytes(508), "a ZIP archive"),
        (PACKAGE_MAGIC + bytes(5000), "a package for updates over the air"),
        (b"import machine\n", "this is a text; take the .bin"),
        (b"", "an empty file"),
        (b"\1\2\3", "no MicroPython download"),
    ],
)
def test_what_is_no_download_is_refused_by_name(data, words):
    with pytest.raises(download.DownloadError, match=words):
        download.read(data)


def test_a_download_cut_short_anywhere_is_refused():
    data = image.merged(app())
    for length in [*range(0, 0xF000, 0x777), *range(0xF000, len(data), 17), len(data) - 1]:
        with pytest.raises((download.DownloadError, fleet_image.ImageError)):
            download.read(data[:length])


def test_a_damaged_bootloader_is_refused():
    data = bytearray(image.merged(app()))
    data[40] ^= 1
    with pytest.raises(fleet_image.ImageError, match="damaged"):
        download.read(bytes(data))


@EACH_CHIP
@pytest.mark.parametrize("size", [4, 8, 16])
def test_the_bootloaders_flash_size_is_set_as_esptool_sets_it(chip, size):
    from esptool import cmds
    from esptool.logger import log

    before = image.bootloader(chip.chip_id)
    log.set_verbosity("silent")
    expected = cmds.merge_bin(
        [(chip.bootloader, before)],
        chip.name,
        flash_size=f"{size}MB",
        target_offset=chip.bootloader,
    )
    log.set_verbosity("auto")
    assert whole.for_flash_size(before, size << 20) == expected
