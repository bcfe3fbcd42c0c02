"""A board on the desk: its flash file, its power, its console, and a look inside.

with Board(folder) as board:
    board.flash_firmware(0, firmware(version="1.0.0"))
    board.install(application_files())
    board.start()
    board.wait_console("State: Ready")
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from sim import filesystem, tables
from sim.build import CHIP, command, default_interpreter, firmware
from sim.chip import layout
from sim.supply import DEEPSLEEP, HARD, PWRON, SOFT, WDT, Events, Options, Supply
from sim.wear import Wear
from twinslot.board.files import application as application_files
from twinslot.board.files import compile_module
from twinslot.board.filesystem import FilesystemError, write
from twinslot.formats import table
from twinslot.formats.otadata import PENDING

# The chip's own modules are the one implementation of what lies in flash.
if str(CHIP) not in sys.path:
    sys.path.append(str(CHIP))

import bootloader
import layout as chip_layout
import nor
import nvs

__all__ = [
    "DEEPSLEEP",
    "FACTORY",
    "HARD",
    "PWRON",
    "SOFT",
    "WDT",
    "Board",
    "BoardError",
    "application_files",
    "compile_module",
    "default_interpreter",
    "firmware",
]


class BoardError(Exception):
    """The simulated board cannot do this."""


FACTORY = layout.FACTORY

# How much later boot.py's watchdog comes than the deadline; what a slow machine may add (s).
_SPARE_S = 5
_SLACK_S = 15
_DEADLINE_S = 300  # boot.py's, where the settings have none between these
_SHORTEST_S, _LONGEST_S = 10, 3600


class Board:
    """One simulated board, kept in `folder`: flash.bin, console.log.

    interpreter: "micropython", or "cpython" where none can be had; heapsize: MicroPython's
    `-X heapsize` value; rollback: False for an old bootloader; partitions: CSV file of a new
    board's partition table (sim/tables.py), None for the one that `fleet flash` makes; flash_size:
    bytes of a new board's flash; encrypted: whether flash encryption is on; ssid, password: of the
    only Wi-Fi there is; console_port: of the console's TCP socket, 0 for a free one.
    layout: its table, as the chip reads it.
    boots: (slot, reset cause) of every boot so far, FACTORY for a factory application; on_boot:
    called with both at every boot; wear: set it while the board is off, and it counts what happens
    to each sector.
    """

    def __init__(
        self,
        folder: Path,
        *,
        interpreter: str | None = None,
        heapsize: str | None = None,
        rollback: bool = True,
        partitions: Path | None = None,
        flash_size: int = layout.FLASH_SIZE,
        encrypted: bool = False,
        ssid: str = "sim",
        password: str = "",
        console_port: int = 0,
    ) -> None:
        self.folder = folder
        self.interpreter = interpreter or default_interpreter()
        self.heapsize = heapsize
        self.rollback = rollback
        self.encrypted = encrypted
        self.wifi = (ssid, password)
        self.boots: list[tuple[int, int]] = []
        self.on_boot: Callable[[int, int], None] = lambda _slot, _cause: None
        self.dead = False  # no slot boots
        self.flash_path = folder / "flash.bin"
        self.wear: Wear | None = None
        self.log_path = folder / "console.log"
        self._console_port = console_port
        self._supply: Supply | None = None
        self._under_test: tuple[float, float] | None = None  # since (monotonic), for how long (s)
        self._changed = threading.Condition()
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path.touch()
        if not self.flash_path.exists():
            rows = tables.read(partitions) if partitions else ()
            blank = bytearray(b"\xff" * flash_size)
            if rows:
                blank[table.ADDRESS : table.ADDRESS + table.LENGTH] = table.build(rows)
            self.flash_path.write_bytes(blank)

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # -- while it is off --------------------------------------------------------------------------

    def flash_firmware(self, slot: int, image: bytes, trailer: bytes | None = None) -> None:
        """Write an image (and a slot trailer) into a slot, or FACTORY, by cable.

        Raises BoardError.
        """
        self._only_off()
        _, _, _, start, size = self.layout.app(slot)
        if len(image) + len(trailer or b"") > size:
            raise BoardError(f"{len(image)} bytes do not fit a slot of {size}")
        data = bytearray(b"\xff" * size)
        data[: len(image)] = image
        if trailer is not None:
            data[-len(trailer) :] = trailer
        with self.flash_path.open("r+b") as file:
            file.seek(start)
            file.write(data)

    def install(self, files: dict[str, bytes]) -> None:
        """Write files (absolute path to bytes) into the board's littlefs; others stay."""
        self._only_off()
        with filesystem.mounted(self.flash_path, write=True) as fs:
            write(fs, files)

    # -- power ------------------------------------------------------------------------------------

    def start(self, *, cut_at: int | None = None, seed: int = 0) -> None:
        """Switch the power on. Returns at once; `boots` and the console tell how far it is.

        cut_at: number of the flash operation after this start in which the power fails once; seed:
        how much of that operation is done.
        """
        self._only_off()
        self.dead = False
        settings: dict[str, Any] = {
            "flash": str(self.flash_path.resolve()),
            "rollback": self.rollback,
            "encrypted": self.encrypted,
            "ssid": self.wifi[0],
            "password": self.wifi[1],
            "wear": str(self.wear.path.resolve()) if self.wear else None,
        }
        self._supply = Supply(
            Options(
                command(self.interpreter, self.heapsize),
                self.folder,
                settings,
                {"cut_at": cut_at, "seed": seed},
            ),
            self.log_path,
            self._console_port,
            Events(self._booted, self._died, self._notify),
        )
        self._console_port = self._supply.console[1]

    def stop(self) -> None:
        """Switch the power off and wait until the chip is dark. Raises BoardError, see `_judge`."""
        if self._supply:
            self._supply.close()
            self._supply = None
            self._judge()

    close = stop

    def power_cut(self) -> None:
        """Cut the power, as `kill -9` of the chip does; it comes back. Waits for that boot."""
        self._reset(PWRON)

    def reset(self) -> None:
        """Push the reset button. Waits for the boot."""
        self._reset(HARD)

    @property
    def console(self) -> tuple[str, int]:
        """Host and port of the console, for people and `mpremote connect socket://HOST:PORT`."""
        return self._on().console

    @property
    def pid(self) -> int:
        """The chip's process, 0 between two."""
        return self._on().pid

    @property
    def heap_share(self) -> int | None:
        """Bytes of the heap that the simulation takes from the application (MicroPython)."""
        return self._on().heap_share

    # -- waiting ----------------------------------------------------------------------------------

    def wait_console(self, text: str, timeout: float = 30, since: int = 0) -> int:
        """Wait until the console shows `text` after byte `since` of its log.

        Returns the position after it. Raises BoardError, with the log's end, after `timeout` s.
        """
        needle = text.encode()
        found = -1

        def shown() -> bool:
            nonlocal found
            found = self.log_path.read_bytes().find(needle, since)
            return found >= 0

        if not self._wait(shown, timeout):
            raise BoardError(f"the console never showed {text!r}:\n{self._log_end()}")
        return found + len(needle)

    def wait_boots(self, count: int, timeout: float = 30) -> tuple[int, int]:
        """Wait for the `count`th boot. Returns its (slot, reset cause). Raises BoardError."""
        self._wait(lambda: len(self.boots) >= count or self.dead, timeout)
        if len(self.boots) < count:
            raise BoardError(f"{len(self.boots)} boots, {count} awaited:\n{self._log_end()}")
        return self.boots[count - 1]

    # -- what its flash holds ---------------------------------------------------------------------

    def slot_bytes(self, slot: int, length: int | None = None) -> bytes:
        """Return the first `length` bytes of a slot."""
        _, _, _, start, size = self.layout.app(slot)
        with self.flash_path.open("rb") as file:
            file.seek(start)
            return file.read(size if length is None else length)

    def trailer(self, slot: int) -> bytes:
        """Return the last sector of a slot."""
        return self.slot_bytes(slot)[-layout.SECTOR :]

    @property
    def layout(self) -> Any:
        """The partition table (layout.Layout) as it is in flash."""
        with self.flash_path.open("rb") as file:
            return chip_layout.of(_nor(file))

    def partition(self, label: str) -> bytes:
        """Return all bytes of a partition."""
        _, _, _, start, size = self.layout.find(label)
        with self.flash_path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def otadata(self) -> list[tuple[int, int] | None]:
        """Return both otadata records as (sequence, state), None for a blank or torn one."""
        with self.flash_path.open("rb") as file:
            found: list[tuple[int, int] | None] = bootloader.records(_nor(file))
            return found

    def nvs(self, namespace: str, key: str) -> bytes | None:
        """Return a blob from NVS, or an integer's 4 bytes (little-endian); None without either."""
        with self.flash_path.open("rb") as file:
            value = nvs.Store(_nor(file)).get(namespace, key)
        return bytes(value[1:]) if value else None

    def read_file(self, path: str) -> bytes:
        """Return a file of the board's littlefs as it is in flash."""
        with filesystem.mounted(self.flash_path) as fs, fs.open(path, "rb") as file:
            return bytes(file.read())

    def list_files(self, path: str = "/") -> list[str]:
        """Return the names in a directory of the board's littlefs."""
        with filesystem.mounted(self.flash_path) as fs:
            return list(fs.listdir(path))

    def files(self) -> dict[str, bytes]:
        """Return all files of the board's littlefs as they are in flash, by absolute path."""
        found: dict[str, bytes] = {}
        with filesystem.mounted(self.flash_path) as fs:
            for folder, _, names in fs.walk("/"):
                for name in names:
                    path = f"{folder.rstrip('/')}/{name}"
                    with fs.open(path, "rb") as file:
                        found[path] = bytes(file.read())
        return found

    # -- inside -----------------------------------------------------------------------------------

    def _reset(self, cause: int) -> None:
        before = len(self.boots)
        self._on().reset(cause)
        if not self._wait(lambda: len(self.boots) > before or self.dead, 30):
            raise BoardError(f"the board does not boot:\n{self._log_end()}")

    def _booted(self, slot: int, cause: int) -> None:
        self.boots.append((slot, cause))
        if cause != SOFT:  # which gains no time
            self._under_test = None
            if self._is_under_test():
                self._under_test = time.monotonic(), self._deadline()
        self.on_boot(slot, cause)
        self._notify()

    def _is_under_test(self) -> bool:
        newest = max((record for record in self.otadata() if record), default=None)
        return newest is not None and newest[1] == PENDING

    def _deadline(self) -> float:
        """Return the seconds that a new image has on this board, as boot.py reads its settings."""
        try:
            found = json.loads(self.read_file("/etc/settings.json")).get("self_test_s")
        except (OSError, ValueError, AttributeError, FilesystemError):
            found = None  # FAT is not looked into
        fits = isinstance(found, (int, float)) and _SHORTEST_S <= found <= _LONGEST_S
        return found if fits else _DEADLINE_S

    def _judge(self) -> None:
        """Raise BoardError where an image was under test beyond its deadline.

        Judged out here: an interpreter that believes in more time changes nothing about it.
        """
        under_test, self._under_test = self._under_test, None
        if under_test is None:
            return
        since, deadline = under_test
        seconds = time.monotonic() - since
        if seconds > deadline + _SPARE_S + _SLACK_S and self._is_under_test():
            raise BoardError(
                f"an image is under test for {seconds:.0f} s already; its deadline is "
                f"{deadline:.0f} s"
            )

    def _died(self) -> None:
        self.dead = True
        self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def _on(self) -> Supply:
        if self._supply is None:
            raise BoardError("the board is off")
        return self._supply

    def _only_off(self) -> None:
        if self._supply:
            raise BoardError("switch the board off first")

    def _log_end(self) -> str:
        return self.log_path.read_bytes()[-2000:].decode(errors="replace")


def _nor(file: Any) -> Any:
    """Return a flash over an open file."""
    return nor.Nor(file, file.seek(0, 2))
