"""The images of the simulated board are ESP32 application images, by esptool's own judgement."""

from __future__ import annotations

from pathlib import Path

import pytest
from esptool.bin_image import LoadFirmwareImage

from sim import image
from sim.chip import layout
from twinslot.formats import image as identify


def parsed(path: Path, data: bytes):
    """Read an image as esptool does."""
    path.write_bytes(data)
    found = LoadFirmwareImage("esp32", str(path))
    assert found.checksum == found.calculate_checksum()
    assert found.stored_digest == found.calc_digest
    return found


@pytest.mark.parametrize("behaviour", sorted(image.BEHAVIOURS))
def test_esptool_accepts_every_image(behaviour: str, tmp_path: Path) -> None:
    found = parsed(tmp_path / "image", image.firmware(behaviour, version="1.2.3"))
    assert found.chip_id == 0
    first = found.segments[0]
    assert first.data[:4] == b"\x32\x54\xcd\xab"
    mapped = [
        s for s in found.segments if s.addr >= 0x400D0000 or 0x3F400000 <= s.addr < 0x3F800000
    ]
    assert len(mapped) == 2
    for segment in mapped:
        assert (segment.file_offs + 8 - segment.addr) % 0x10000 == 0


@pytest.mark.parametrize("size", [4096, 100_000, 1_672_976])
def test_an_image_has_the_size_that_was_asked_for(size: int, tmp_path: Path) -> None:
    data = image.firmware(size=size)
    assert len(data) == size
    parsed(tmp_path / "image", data)


def test_a_size_is_rounded_up_to_what_an_image_can_have() -> None:
    assert len(image.firmware(size=9000)) == 9008


def test_a_size_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        image.firmware(size=100)


def test_modules_read_back_as_they_were_frozen() -> None:
    modules = {"a.py": b"x = 1\n", "pkg/b.mpy": bytes(range(256)), "empty.py": b""}
    assert image.modules_of(image.firmware(modules=modules)) == modules


def test_each_version_and_behaviour_has_its_own_bytes() -> None:
    images = {
        image.firmware(behaviour, version=version, size=40_000)
        for behaviour in image.BEHAVIOURS
        for version in ("1.0.0", "1.0.1")
    }
    assert len(images) == 2 * len(image.BEHAVIOURS)


def test_the_same_image_is_built_twice() -> None:
    assert image.firmware(size=40_000) == image.firmware(size=40_000)


def test_the_host_tools_tell_the_merged_download_from_the_image_in_it() -> None:
    application = image.firmware(size=40_000)
    merged = image.merged(application)
    assert merged[:1] == b"\xe9"
    assert merged[layout.SLOTS[0][3] - 0x1000 :] == application
    assert identify.application(merged).data == application
