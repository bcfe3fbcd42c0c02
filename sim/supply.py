"""The power supply of a simulated board: starts its process, hears its wire, bites, cuts.

The chip is a process that lives from one reset to the next (chip/run.py says what it tells on the
wire). What outlives a reset on a chip, its registers, is kept here, so that it ends with the power:

    the chip asks for a reset       it is killed and started again with that cause
    killed from outside             the power was cut: PWRON, registers lost
    ended by itself                 a panic: HARD
    watchdog not fed in time        killed: WDT
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

from sim.console import Console, Keyboard

PWRON, HARD, WDT, DEEPSLEEP, SOFT = 1, 2, 3, 4, 5

# A board that resets without end must not eat the machine: seconds between two starts.
_PACE_S = 0.05
# MicroPython's unix port takes Ctrl-C anywhere, even in the middle of a garbage collection; a chip
# does between two bytecodes only. So it waits for the program to sleep, for at most so long (s).
_CTRL_C_PATIENCE_S = 0.3
_CTRL_C_POLL_S = 0.002
_CTRL_C_AGAIN_S = 0.02
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Registers:
    """What outlives a reset. rtc: hex; clock: shift of the host's clock, s; wifi: associated.

    started: when the chip started last but by a soft reset (monotonic, s).
    """

    cause: int = PWRON
    slot: int | None = None
    rtc: str = ""
    clock: float | None = None
    wifi: bool = False
    watchdog_ms: int | None = None
    raw: bool = False
    started: float = 0.0

    def after(self, cause: int, *, raw: bool = False) -> Registers:
        """Return what a reset of this cause leaves of them."""
        if cause == PWRON:
            return Registers()
        if cause == SOFT:
            return replace(self, cause=cause, raw=raw)
        return Registers(cause=cause, slot=self.slot, rtc=self.rtc, clock=self.clock)


@dataclass
class Events:
    """Who wants to know: `boot(slot, cause)`, `dead()` when no slot boots, `shown()` for output."""

    boot: Callable[[int, int], None]
    dead: Callable[[], None]
    shown: Callable[[], None]


@dataclass
class Chip:
    """The running process. `wire`: what it tells; `following`: the reset it asked for."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    wire: int
    pending: bytes = b""
    open_pipes: int = 2
    following: Registers | None = None
    pause_s: float = 0.0


@dataclass
class Options:
    """What does not change from start to start: goes to the chip as it is."""

    command: list[str]
    folder: Path
    settings: dict[str, Any]
    first: dict[str, Any] = field(default_factory=dict)


class Supply:
    """Keeps one board running until `close`. Everything happens in one thread."""

    def __init__(self, options: Options, log: Path, port: int, events: Events) -> None:
        self._options = options
        self._events = events
        self._selector = selectors.DefaultSelector()
        self._keyboard = Keyboard(self._write, self._interrupt)
        self._console = Console(self._selector, log, port, self._keyboard.type)
        self.console = self._console.address
        self._knock, self._knocked = socket.socketpair()
        self._selector.register(self._knocked, selectors.EVENT_READ, self._obey)
        self._orders: list[Callable[[], None]] = []
        self._registers = Registers()
        self._chip: Chip | None = None
        self._start_at: float | None = 0.0
        self._bite_at: float | None = None
        self._interrupt_at: float | None = None
        self._interrupt_by = 0.0
        self._running = True
        self.pid = 0
        self.heap_share: int | None = None
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self._thread.start()

    def reset(self, cause: int) -> None:
        """Reset the board from outside: PWRON cuts the power, HARD is the reset button."""

        def order() -> None:
            self._start_at = self._start_at or time.monotonic()
            self._end(self._registers.after(cause))

        self._order(order)

    def close(self) -> None:
        """Switch off and wait until the chip is dark."""
        self._order(self._stop)
        self._thread.join()

    # -- orders from other threads ----------------------------------------------------------------

    def _order(self, action: Callable[[], None]) -> None:
        self._orders.append(action)
        self._knock.send(b"!")

    def _obey(self) -> None:
        self._knocked.recv(64)
        while self._orders:
            self._orders.pop(0)()

    def _stop(self) -> None:
        self._running = False
        self._end(Registers())

    # -- the loop ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._running or self._chip:
            for key, _ in self._selector.select(self._patience()):
                key.data()
            self._keyboard.tick()
            now = time.monotonic()
            if self._interrupt_at is not None and now >= self._interrupt_at:
                self._try_to_interrupt(now)
            if self._bite_at is not None and now >= self._bite_at and self._chip:
                self._console.show(b"\nTask watchdog got triggered. Rebooting...\n")
                self._end(self._registers.after(WDT))
            start_at = math.inf if self._start_at is None else self._start_at
            if self._running and not self._chip and now >= start_at:
                self._start()
        self._console.close()
        self._knock.close()
        self._knocked.close()
        self._selector.close()

    def _patience(self) -> float | None:
        """Return the seconds until something has to be done without being asked."""
        moments = [self._keyboard.held_until]
        if self._chip:
            moments += [self._bite_at, self._interrupt_at]
        else:
            moments.append(self._start_at)
        due = [moment for moment in moments if moment is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _start(self) -> None:
        read_end, write_end = os.pipe()
        now = time.monotonic()
        if self._registers.cause != SOFT:
            self._registers = replace(self._registers, started=now)
        settings = {
            **self._options.settings,
            **vars(self._registers),
            "uptime_ms": int((now - self._registers.started) * 1000),
            "cut_at": None,
            "seed": 0,
            **self._options.first,
            "wire": write_end,
        }
        self._options.first = {}
        self._keyboard.reset()
        process = subprocess.Popen(
            self._options.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._options.folder,
            bufsize=0,
            pass_fds=(write_end,),
            preexec_fn=_die_with_parent if _LIBC else None,
        )
        os.close(write_end)
        stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        stdin.write(json.dumps(settings).encode() + b"\n")
        os.set_blocking(stdin.fileno(), False)
        chip = Chip(process, stdin, stdout, read_end)
        self._chip = chip
        self._start_at = time.monotonic() + _PACE_S
        self._selector.register(stdout, selectors.EVENT_READ, lambda: self._output(chip))
        self._selector.register(read_end, selectors.EVENT_READ, lambda: self._told(chip))
        self.pid = process.pid

    def _end(self, following: Registers, pause_s: float = 0.0) -> None:
        """Kill the chip; it starts again with these registers."""
        if self._chip:
            self._chip.following = following
            self._chip.pause_s = pause_s
            self._chip.process.kill()

    def _pipe_closed(self, chip: Chip) -> None:
        """With its second pipe the chip is gone: find out why."""
        chip.open_pipes -= 1
        if chip.open_pipes:
            return
        status = chip.process.wait()
        chip.stdin.close()
        chip.stdout.close()
        following = chip.following
        if following is None:
            cut = status == -signal.SIGKILL
            if not cut:
                self._console.show(b"\nGuru Meditation Error: exit status %d\n" % status)
            following = self._registers.after(PWRON if cut else HARD)
        if following.cause != SOFT:
            self._bite_at = None
        self._registers = following
        self._interrupt_at = None
        self._chip = None
        self.pid = 0
        if self._start_at is not None:
            self._start_at = max(self._start_at, time.monotonic() + chip.pause_s)

    # -- what the chip says -----------------------------------------------------------------------

    def _output(self, chip: Chip) -> None:
        data = chip.stdout.read(4096)
        if data:
            self._console.show(data)
            self._events.shown()
        else:
            self._selector.unregister(chip.stdout)
            self._pipe_closed(chip)

    def _told(self, chip: Chip) -> None:
        data = os.read(chip.wire, 4096)
        if not data:
            self._selector.unregister(chip.wire)
            os.close(chip.wire)
            self._pipe_closed(chip)
            return
        *lines, chip.pending = (chip.pending + data).split(b"\n")
        for line in lines:
            word, *values = line.decode().split(" ")
            self._hear(word, *values)

    def _hear(self, word: str, *values: str) -> None:
        if word == "slot":
            slot = int(values[0])
            self._registers = replace(self._registers, slot=slot)
            self._events.boot(slot, self._registers.cause)
        elif word == "dead":
            self._start_at = None  # it tries again only when somebody switches it off and on
            self._events.dead()
        elif word in ("ready", "interrupted"):
            self._keyboard.ready()
        elif word == "interrupt":
            self._interrupt(_CTRL_C_AGAIN_S)
        elif word == "watchdog":
            milliseconds = int(values[0])
            # The chip tells of a feeding only when a sixteenth of the time has passed.
            self._bite_at = time.monotonic() + milliseconds * 17 / 16000
            self._registers = replace(self._registers, watchdog_ms=milliseconds)
        elif word == "rtc":
            self._registers = replace(self._registers, rtc=values[0] if values else "")
        elif word == "clock":
            self._registers = replace(self._registers, clock=float(values[0]))
        elif word == "wifi":
            self._registers = replace(self._registers, wifi=values[0] == "1")
        elif word == "heap":
            self.heap_share = int(values[0])
        elif word == "cut":
            self._end(Registers())
        elif word == "reset":
            cause, pause_ms, raw = (int(value) for value in values)
            self._end(self._registers.after(cause, raw=bool(raw)), pause_ms / 1000)

    # -- what the chip hears ----------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self._chip:
            # Where nobody reads it is lost: the receive buffer of a UART overflows just so.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                self._chip.stdin.write(data)

    def _interrupt(self, wait_s: float = 0.0) -> None:
        self._interrupt_at = time.monotonic() + wait_s
        self._interrupt_by = self._interrupt_at + _CTRL_C_PATIENCE_S

    def _try_to_interrupt(self, now: float) -> None:
        if self._chip and now < self._interrupt_by and not _sleeps(self.pid):
            self._interrupt_at = now + _CTRL_C_POLL_S
            return
        self._interrupt_at = None
        if self._chip:
            self._chip.process.send_signal(signal.SIGINT)


def _sleeps(pid: int) -> bool:
    """Say whether each thread of a process waits for something; yes where nobody tells.

    A thread that waits for the heap's lock must not be interrupted: another one holds it, and runs.
    """
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        states = [(thread / "stat").read_text(encoding="utf-8") for thread in threads]
    except OSError:
        return True
    return all(state.rpartition(") ")[2].startswith("S") for state in states)


def _die_with_parent() -> None:
    """In the child: the chip must not outlive its power supply."""
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
