"""The host's readers of firmware: images, merged downloads, names of frozen modules."""

import _samples

from twinslot.formats import firmware, frozen, image, table

ALLOWED = (image.ImageError,)
COVERS = tuple(
    f"src/twinslot/formats/{name}.py" for name in ("image", "firmware", "foreign", "frozen")
)
_IMAGE = _samples.image()
SEEDS = (
    _IMAGE,
    _samples.image(b"_boot.py\0asyncio/core.py\0\0"),
    _samples.image(b"xy.py\0_boot.py\0\0"),
    _IMAGE[:288] + b"MODS\x01\x00\x04a.py\x01\x00\x00\x00x" + _IMAGE[320:],
    _samples.partitions() + _IMAGE,
    b"\x7fELF",
    _IMAGE[:24],
    _samples.partitions(slots=False) + _IMAGE,
    b"OTA\x01",
    b"\xeb\x3c\x90MSDOS5.0".ljust(54, b"\0") + b"FAT12".ljust(456, b"\0") + b"\x55\xaa",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>no</Message></Error>",
    b"text" * 8 + b"\xff" + b"text" * 8,
)
_SLOT = 0x10000
# A merged download begins 28 KB before its table; the input has the table, then the image. Its
# bootloader has a descriptor or none, or is damaged, by the input's last byte.
_BOOT = _samples.image()
_BEFORE = tuple(
    boot.ljust(0x7000, b"\xff")
    for boot in (_BOOT, _samples.sealed_image(_BOOT[:32] + b"\x50" + _BOOT[33:]), b"\xe9")
)


def run(data: bytes) -> None:
    """Read an image, one with right digests, and a merged download of table and image."""
    cut = data.find(b"\xe9", table.LENGTH)
    rest = data[cut:] if cut >= 0 else data[table.LENGTH :]
    whole = _BEFORE[data[-1] % 3 if data else 0] + data[: table.LENGTH].ljust(0x8000, b"\xff")
    for variant in (_samples.sealed_image(data), whole + _samples.sealed_image(rest), data):
        frozen.modules(frozen.names(variant))
        try:
            found = firmware.judge(variant)
        except image.ImageError:
            continue
        assert found.application.summary
        assert all(map(len, [*found.facts, *found.warnings, found.rolls_back]))
        for size in (_SLOT, 0x1000):
            try:
                firmware.accept(variant, chip="esp32", slot_size=size)
            except image.ImageError:
                pass
        frozen.names(found.application.data)
        assert image.sections(found.application.data)
    firmware.judge(data)
