"""The properties of a connected board: read once by esptool, judged before anything is written."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from twinslot.board.plan import Plan
from twinslot.board.port import BAUD, complaint
from twinslot.board.writer import Port
from twinslot.errors import FleetError, PackageError
from twinslot.formats import otadata, table
from twinslot.formats.chips import SECTOR
from twinslot.formats.trailer import read_trailer


class DeviceError(FleetError):
    """This board must not be flashed this way, or cannot be read."""


@dataclass(frozen=True)
class Device:
    """A board as its ROM loader shows it.

    `chip`: esptool's name; `flash_size`: bytes, None where the flash does not say; `table`: None
    for a blank or foreign flash; `directory`: in which the application that runs lies, "" for `/`.
    """

    chip: str
    flash_size: int | None
    secure_boot: bool
    flash_encryption: bool
    table: table.Table | None
    directory: str = ""

    def remarks(self) -> list[str]:
        """Say what flashing changes for a board that ran something else, for people."""
        if self.table is None:
            return ["The board holds no partition table: it is new, or ran something else."]
        found = []
        if not table.has_otadata(self.table):
            found.append("The board's table has no otadata: as it is, it cannot be updated.")
        count = len(table.slots(self.table))
        if count < 2:
            found.append(f"The board's table has {'one OTA slot' if count else 'no OTA slots'}.")
        if table.find(self.table, "vfs") is None:
            found.append(
                "The board's table has no vfs: its files lie behind the last partition, and only "
                "MicroPython 1.26 or newer finds them there. The new table names it."
            )
        return found


def own_data(device: Device, drop: Sequence[str]) -> table.Table:
    """Return the partitions with data of the board's own, which stay, but for those to drop.

    drop: labels. Raises DeviceError for one that is not there.
    """
    found = table.strangers(device.table or ())
    labels = [row.label for row in found]
    for label in drop:
        if label not in labels:
            said = f"it has {', '.join(labels)}" if labels else "it has none"
            raise DeviceError(f"the board has no data of its own called {label}: {said}")
    return tuple(row for row in found if row.label not in drop)


def check(device: Device, plan: Plan, keep: Sequence[str], *, signed: bool = False) -> None:
    """Judge whether the plan may be written to the board.

    keep: labels of partitions whose content stays; signed: with a trailer. Raises
    DeviceError for another chip, less flash, secure boot, flash encryption, a partition to keep
    that does not lie where it will, or files of a directory that no trailer would name.
    """
    if device.chip != plan.chip.name:
        raise DeviceError(f"the board is an {device.chip}, the plan is for {plan.chip.name}")
    if device.secure_boot:
        raise DeviceError(
            "secure boot is on: the chip starts only images that its owner's key signed, and would "
            "never start this bootloader; update such a board with its own tools"
        )
    if device.flash_encryption:
        raise DeviceError(
            "flash encryption is on: a chip starts no image written in plain, and MicroPython's "
            "builds do not support it; update such a board with its own tools"
        )
    if device.flash_size is not None and device.flash_size < plan.flash_size:
        raise DeviceError(
            f"the board has {device.flash_size >> 20} MB of flash, the plan is for "
            f"{plan.flash_size >> 20} MB; choose it with --flash"
        )
    for label in keep:
        _check_kept(device, plan, label)
    if "vfs" in keep and device.directory and not signed:
        raise DeviceError(
            f"the application on the board runs from /{device.directory}, which only a signed "
            "record can name: give --fleet or --package (FLEET=, PACKAGE=), or let the files go"
        )


def _check_kept(device: Device, plan: Plan, label: str) -> None:
    planned = table.need(plan.table, label)
    there = table.find(device.table or (), label)
    if there is None:
        raise DeviceError(f"nothing to keep: the partition table on the board has no {label}")
    if (there.offset, there.size) != (planned.offset, planned.size):
        raise DeviceError(
            f"{label} cannot be kept: on the board it lies at {there.offset:#x} with "
            f"{there.size:#x} bytes, the plan has it at {planned.offset:#x} with "
            f"{planned.size:#x}"
        )


@contextlib.contextmanager
def connected(port: Port) -> Iterator[Device]:
    """Ask the board behind a port, and hold it for a `with` that judges it.

    It stays in its ROM loader. Raises DeviceError; then, and after one that the `with` raises, the
    board starts again, or the sentence says that a person has to start it.
    """
    from esptool import FatalError, cmds
    from esptool.logger import log

    log.set_verbosity("silent")
    try:
        with _open(port) as esp:
            try:
                yield _ask(esp)
            except (DeviceError, FatalError, OSError) as error:
                if not port.has_reset:
                    raise DeviceError(
                        f"{error}. The board waits in its ROM loader: press EN, its reset button"
                    ) from error
                with contextlib.suppress(FatalError, OSError):
                    cmds.reset_chip(esp, "hard-reset")
                raise
    except (FatalError, OSError) as error:
        raise DeviceError(f"{port.name}: {error}") from error
    finally:
        log.set_verbosity("auto")


def _open(port: Port) -> Any:
    from esptool import FatalError, cmds

    try:
        # esptool's own commands begin no faster, and change only when the stub runs.
        return cmds.detect_chip(port.name, min(port.baud, BAUD))
    except (FatalError, ValueError) as error:
        # pyserial, which esptool asked, tells more about a port that cannot be opened.
        said = error.__context__ if isinstance(error, FatalError) else error
        if isinstance(said, (OSError, ValueError)):
            raise DeviceError(complaint(port.name, said)) from error
        raise


def _ask(esp: Any) -> Device:
    from esptool import cmds
    from esptool.util import flash_size_bytes

    chip = esp.CHIP_NAME.lower().replace("-", "")
    if esp.secure_download_mode:  # then its eFuses cannot be read
        return Device(chip, None, True, False, None)
    encrypted = bool(esp.get_flash_encryption_enabled())
    secure = bool(esp.get_secure_boot_enabled())
    if secure or encrypted:
        return Device(chip, None, secure, encrypted, None)
    stub = cmds.run_stub(esp)
    cmds.attach_flash(stub)
    size = cmds.detect_flash_size(stub)
    data = cmds.read_flash(stub, table.ADDRESS, table.LENGTH, no_progress=True) or b""
    try:
        found = table.parse(data)
    except table.TableError:
        found = None

    def read(address: int, length: int) -> bytes:
        return cmds.read_flash(stub, address, length, no_progress=True) or b""

    directory = _directory(found, read) if found else ""
    cmds.reset_chip(stub, "no-reset")
    return Device(
        chip, flash_size_bytes(size) if size else None, secure, encrypted, found, directory
    )


def _directory(found: table.Table, read: Callable[[int, int], bytes]) -> str:
    """The directory that the trailer of the slot names which the bootloader starts."""
    slots = table.slots(found)
    if len(slots) < 2 or not table.has_otadata(found):
        return ""
    start = next(
        row.offset for row in found if (row.type, row.subtype) == (table.DATA, table.OTADATA)
    )
    records = [otadata.parse(read(start + at, otadata.LENGTH)) for at in (0, SECTOR)]
    active = otadata.active(records)
    slot = slots[active.slot(len(slots)) if active else 0]
    try:
        return read_trailer(read(slot.end - SECTOR, SECTOR))[1]
    except PackageError:
        return ""
