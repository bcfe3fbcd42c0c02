"""One judgement of a firmware image, for packing, publishing, flashing and inspecting. Pure.

It says what can be known from the file alone: MicroPython or not, which version, chip, size of
flash, PSRAM, the partition table that it needs, and whether its bootloader rolls back.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from twinslot.formats import frozen, image, releases, table
from twinslot.formats.chips import CHIPS, MMU_PAGE, TRAILER_LENGTH, name_of
from twinslot.formats.image import Application, ImageError, Merged

ROLLS_BACK = (1, 21)
"""The first release whose own builds all have a bootloader that rolls back (sdkconfig.base)."""
_UNKNOWN = "unknown until flashed"
_DESCRIBED = 80  # the first byte of esp_bootloader_desc_t, at offset 32 (ESP-IDF 5.2)
_PSRAM = {b"octal_psram\0": "octal PSRAM", b"quad_psram\0": "PSRAM", b"esp_psram\0": "PSRAM"}


@dataclass(frozen=True)
class Firmware:
    """An application image and its judgement.

    `merged`: the download that it was taken out of, None for an image alone; `bootloader`: the
    bytes of that download's bootloader, None where it has none that is whole.
    """

    application: Application
    merged: Merged | None = None
    bootloader: bytes | None = None

    @property
    def release(self) -> releases.Release | None:
        """MicroPython's release, None where the image names none."""
        return releases.of(self.application.micropython)

    @property
    def problem(self) -> str | None:
        """The reason for which no board of this project can run it, None for all others."""
        found = self.application
        if found.micropython is None and not frozen.names(found.data):
            if b"CircuitPython " in found.data:
                return "the application is not MicroPython but CircuitPython"
            other = f" (its project is called {found.project})" if found.project else ""
            return f"the application is not MicroPython: it names no version of it{other}"
        if self.release is not None and self.release < releases.OLDEST:
            oldest = releases.text(releases.OLDEST)
            return f"this is MicroPython {found.micropython}; the agent needs {oldest} or newer"
        return None

    @property
    def warnings(self) -> list[str]:
        """Sentences about what cannot be known."""
        if self.problem or self.release is not None:
            return []
        oldest = releases.text(releases.OLDEST)
        return [
            f"MicroPython {self.application.micropython or 'without a version'} tells no release: "
            f"nobody knows whether it is {oldest} or newer, which the agent needs"
        ]

    @property
    def psram(self) -> str:
        """The kind of PSRAM that it drives, by the drivers among its strings."""
        if "SPIRAM_OCT" in self.application.board:
            return "octal PSRAM"
        data = self.application.data
        return next((kind for text, kind in _PSRAM.items() if text in data), "no PSRAM")

    @property
    def least_slot(self) -> int:
        """Bytes of the smallest slot that holds the image and its trailer."""
        return -(-(self.application.image.length + TRAILER_LENGTH) // MMU_PAGE) * MMU_PAGE

    @property
    def rolls_back(self) -> str:
        """Whether the bootloader in the file rolls back, as far as the file says it."""
        if self.bootloader is None:
            return f"{_UNKNOWN}: the bootloader on the board decides, and this file has none"
        built = _idf_of(self.bootloader)
        by = f" (bootloader of ESP-IDF {built})" if built else ""
        if self.release is None:
            return f"{_UNKNOWN}: this is no release of MicroPython's{by}"
        if self.release >= ROLLS_BACK:
            return f"yes, as in all of MicroPython's own builds since 1.21{by}"
        return f"{_UNKNOWN}: before 1.21 only some of MicroPython's builds did{by}"

    @property
    def facts(self) -> Iterator[tuple[str, str]]:
        """All that is known, name and value, for people."""
        found = self.application
        if found.board:
            yield "board", found.board
        size = found.flash_size if self.bootloader is None else image.flash_size(self.bootloader)
        yield "flash", f"made for {size >> 20} MB" if size else "size unknown"
        yield "memory", self.psram
        yield "needs", f"two OTA slots of {self.least_slot >> 10} KB or more"
        if self.merged is not None:
            yield "its table", _table(self.merged.table)
        yield "rollback", self.rolls_back


def judge(data: bytes) -> Firmware:
    """Judge the file of a firmware image: an application, or a merged download that holds one.

    Raises ImageError for all others, naming them. What is no MicroPython, or too old a one, is
    returned with its `problem`.
    """
    found = image.application(data)
    merged = image.merged(data)
    return Firmware(found, merged, None if merged is None else _bootloader(data, found, merged))


def accept(data: bytes, *, chip: str, slot_size: int) -> Firmware:
    """Judge a file that is to go onto boards with this chip and slots of this size.

    `slot_size` in bytes; the last 4096 of a slot are its trailer. Raises ImageError for a file that
    `judge` refuses or has a problem with, for another chip and for an image that is too long.
    """
    found = judge(data)
    if found.problem:
        raise ImageError(found.problem)
    length, chip_id = found.application.image.length, found.application.image.chip_id
    if chip_id != CHIPS[chip].chip_id:
        raise ImageError(f"the image is for {name_of(chip_id)}, the board is {chip}")
    room = slot_size - TRAILER_LENGTH
    if length > room:
        raise ImageError(
            f"the image has {length} bytes, {length - room} too many: "
            f"a slot of {slot_size} has room for {room}, its last {TRAILER_LENGTH} are the trailer"
        )
    return found


def _bootloader(data: bytes, found: Application, merged: Merged) -> bytes | None:
    chip = next((one for one in CHIPS.values() if one.chip_id == found.image.chip_id), None)
    start = -1 if chip is None else chip.bootloader - merged.first_address
    if start < 0:
        return None
    held = data[start : table.ADDRESS - merged.first_address]
    try:
        return held[: image.parse(held).length]
    except ImageError:
        return None


def _idf_of(bootloader: bytes) -> str:
    """ESP-IDF's version in a bootloader's descriptor, "" for an older one, which has none."""
    if bootloader[32] != _DESCRIBED:
        return ""
    return bootloader[40:72].split(b"\0")[0].decode("ascii", "replace")


def _table(rows: table.Table) -> str:
    slots = table.slots(rows)
    if len(slots) >= 2:
        return f"{len(slots)} OTA slots of {min(row.size for row in slots) >> 10} KB"
    apps = [row for row in rows if row.type == table.APP]
    return ", ".join(f"{row.label} of {row.size >> 10} KB" for row in apps) + ", no pair of slots"
