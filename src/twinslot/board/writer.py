"""From regions of flash to esptool's commands, and their run.

The bootloader is erased first and written last: whenever the cable is pulled in between, the ROM
finds nothing to start, and nothing boots half-written. Between the commands the chip stays in its
ROM loader.
"""

import contextlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from twinslot import disk
from twinslot.board.whole import Region
from twinslot.errors import FleetError
from twinslot.formats.chips import SECTOR, Chip

BAUD = 460800
BOOTLOADER = "bootloader"

_UNFINISHED = (
    "Until a whole run has passed the board does not start; nothing on it is half-new. Run it again"
)


class WriteError(FleetError):
    """A command of esptool failed; what it said is above."""


@dataclass(frozen=True)
class Port:
    """How a board is reached: device or URL as esptool takes it, baud rate."""

    name: str
    baud: int = BAUD

    @property
    def has_reset(self) -> bool:
        """Say whether the board can be reset through it: a TCP socket carries no reset line."""
        return not self.name.startswith("socket:")


def commands(port: Port, chip: Chip, regions: Sequence[Region]) -> list[list[str]]:
    """Return esptool's arguments, command by command, that write and verify the regions.

    Files are named after their region, without a folder.
    """
    first = [region for region in regions if region.name == BOOTLOADER]
    rest = [region for region in regions if region.name != BOOTLOADER]
    return [
        _command(port, chip, "erase-region", f"{chip.bootloader:#x}", f"{SECTOR:#x}"),
        _command(port, chip, "write-flash", *_places(rest)),
        _command(port, chip, "verify-flash", *_places(rest)),
        _command(port, chip, "write-flash", *_places(first)),
        _command(port, chip, "verify-flash", *_places(first), after="hard-reset"),
    ]


def shown(command: Sequence[str]) -> str:
    """Return a command as a shell takes it."""
    return shlex.join(["esptool", *command])


def run(found: Sequence[Sequence[str]], regions: Sequence[Region], folder: Path) -> None:
    """Write the regions' files into `folder` and run the commands there.

    The files may hold the board's own key: nobody else may read them, and SIGTERM and SIGHUP end
    Python by SystemExit meanwhile, so that who made the folder can remove it. Raises WriteError at
    the first command that fails, and at Ctrl-C.
    """
    with _signals_as_exit():
        for region in regions:
            disk.replace(folder / file_name(region), region.data, disk.SECRET)
        for command in found:
            try:
                code = esptool(command, folder)
            except KeyboardInterrupt as error:
                raise WriteError(f"stopped by Ctrl-C. {_UNFINISHED}") from error
            if code:
                raise WriteError(
                    f"`esptool ... {_verb(command)}` ended with {code}. {_UNFINISHED}; "
                    "docs/flashing.md answers common complaints"
                )


@contextlib.contextmanager
def _signals_as_exit() -> Iterator[None]:
    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def esptool(command: Sequence[str], folder: Path | None = None) -> int:
    """Run one command of esptool in `folder`; it prints for itself. Returns its exit code."""
    argv = [sys.executable, "-m", "esptool", *command]
    return subprocess.run(argv, cwd=folder, check=False).returncode


def file_name(region: Region) -> str:
    """Return the name of the file that holds a region."""
    return f"{region.name}.bin"


def _verb(command: Sequence[str]) -> str:
    return next(word for word in command if word.endswith(("-flash", "-region")))


def _places(regions: Sequence[Region]) -> list[str]:
    return [word for region in regions for word in (f"{region.address:#x}", file_name(region))]


def _command(port: Port, chip: Chip, *words: str, after: str = "no-reset") -> list[str]:
    head = ["--chip", chip.name, "--port", port.name, "--baud", str(port.baud), "--after", after]
    return [*head, *words]
