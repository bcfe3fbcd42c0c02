"""Measure: every kind of download at every delay, on one board, in one run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import servers
from bench.delay import DelayedPort
from demo.stack import Stack
from sim import image
from twinslot.board import running
from twinslot.board.cable import Cable
from twinslot.board.files import compile_module
from twinslot.errors import FleetError
from twinslot.formats import chips

THING = "bench"
_LOOPBACK = "127.0.0.1"
SOURCE = Path(__file__).parent / "on_board" / "downloads.py"
MODULE = "bench_downloads"  # its name on the board
RAW, HTTP, ONE = "bare socket", "HTTP updater", "agent, one block per request"
DEFAULT, WIDE = "agent", "agent, 64 KB writes"
KINDS = (RAW, HTTP, ONE, DEFAULT, WIDE)
# Settings of the agent, by kind.
_AGENTS = {
    ONE: {"window": 1, "wide_writes": 0},
    DEFAULT: {"wide_writes": 0},
    WIDE: {"wide_writes": 1},
}
# Free heap (bytes) from which on the agent writes 64 KB at once, with room for its own modules.
_WIDE_HEAP = 1_200_000
# Longest silence of a download, seconds.
PATIENCE_S = 900
# Above what boards have accepted; nothing of the benchmark is ever accepted.
_FIRST_SEQUENCE = 0x70000000


class BenchError(FleetError):
    """The benchmark cannot be run; the text says why."""


@dataclass(frozen=True)
class Measurement:
    """One download. Times in seconds; size in bytes.

    transfer: from the first byte asked for to the last one here (of the agent: after the head is
    verified); total: from before the connection until everything is written, read back and hashed
    (of the bare socket: the transfer).
    """

    kind: str
    delay_ms: int
    size: int
    transfer: float
    total: float

    @property
    def rate(self) -> float:
        """KB/s of the transfer."""
        return self.size / 1000 / self.transfer


@dataclass(frozen=True)
class Board:
    """What the board says of itself: chip id, bytes of slot and free heap, MicroPython."""

    chip: int
    capacity: int
    heap: int
    version: str
    platform: str


@dataclass(frozen=True)
class FlashTimes:
    """How long a simulated flash chip takes, milliseconds: to erase a sector, to erase 64 KB by
    one command, to program a sector. None of them counts on a real board.
    """

    erase: int = 0
    erase_64k: int = 0
    program: int = 0


# The middle of what data sheets call typical; 64 KB cost as much as five sectors.
TYPICAL = FlashTimes(40, 200, 6)


class Bench:
    """One board, one broker, one service. host: where the board reaches this machine."""

    def __init__(self, stack: Stack, cable: Cable, size: int, host: str, flash: FlashTimes) -> None:
        self.stack = stack
        self._cable = cable
        self._host = host
        self._listen = _LOOPBACK if host == _LOOPBACK else "0.0.0.0"  # noqa: S104
        self._packages = 0
        self.size = size
        capacity = self._call("slot")["capacity"]
        if size > capacity:
            raise BenchError(f"{size} bytes do not fit a slot of {capacity}")
        if flash != FlashTimes():
            self._call("slow_flash", flash.erase, flash.erase_64k, flash.program)
        self.board = Board(**self._call("prepare", stack.config.public_key.read_text()))

    @property
    def kinds(self) -> list[str]:
        """Those of KINDS that this board can do."""
        return [kind for kind in KINDS if kind != WIDE or self.board.heap >= _WIDE_HEAP]

    def measure(self, kind: str, delay_ms: int) -> Measurement:
        """Carry out one download of this kind (of `kinds`)."""
        if kind == RAW:
            found = self._plain("raw", servers.raw, delay_ms)
        elif kind == HTTP:
            found = self._plain("http", servers.http_get, delay_ms)
        else:
            found = self._agent(_AGENTS[kind], delay_ms)
        return Measurement(
            kind, delay_ms, self.size, found["transfer"] / 1000, found["total"] / 1000
        )

    def clean_up(self) -> None:
        """Remove what the benchmark put on the board."""
        self._call("clean_up")

    def _call(self, function: str, *arguments: object) -> dict[str, Any]:
        return _call(self._cable, function, *arguments)

    def _plain(
        self,
        function: str,
        serve: Callable[[bytes], contextlib.AbstractContextManager[int]],
        delay_ms: int,
    ) -> dict[str, Any]:
        with serve(self._image()) as target, self._delayed(target, delay_ms) as port:
            return self._call(function, self._host, port, self.size)

    def _agent(self, settings: dict[str, int], delay_ms: int) -> dict[str, Any]:
        name = self._publish()
        given = {"product": self.stack.config.product, "request_ms": 10_000, **settings}
        with self._delayed(self.stack.broker_port, delay_ms) as port:
            found = self._call("agent", self._host, port, THING, given, PATIENCE_S * 1000)
        if found["dropped"]:
            raise BenchError(f"{found['dropped']} messages were dropped ({name})")
        return found

    @contextlib.contextmanager
    def _delayed(self, target: int, delay_ms: int) -> Iterator[int]:
        with DelayedPort(target, delay_ms, self._listen) as relay:
            yield relay.port

    def _image(self) -> bytes:
        """Return an image like no other, so that no sector of the one before is kept."""
        self._packages += 1
        version = f"0.0.{self._packages}"
        return image.firmware(version=version, size=self.size, chip=self.board.chip)

    def _publish(self) -> str:
        data = self._image()
        name = f"bench-{self._packages}"
        (self.stack.folder / f"{name}.bin").write_bytes(data)
        self.stack.fleet(
            "pack", f"{name}.bin", "--version", f"0.0.{self._packages}",
            "--sequence", str(_FIRST_SEQUENCE + self._packages), "-o", f"{name}.ota",
        )  # fmt: skip
        self.stack.fleet("publish", "--force", "--create-things", f"{name}.ota", THING)
        return name


@contextlib.contextmanager
def bench(
    folder: Path,
    *,
    size: int,
    port: str | None = None,
    host: str | None = None,
    flash: FlashTimes = TYPICAL,
) -> Iterator[Bench]:
    """Start broker and service, and a simulated board unless `port` names a real one.

    folder: emptied first; size: bytes of the image, a multiple of 16; host: this machine's address
    as a real board sees it; flash: times of the simulated board's.
    A real board must be able to take updates; what ran there is stopped, and started again by a
    soft reset. Raises BenchError, UnfitError, PendingError, StartError, NativeMissing, CableError.
    """
    if port and not host:
        raise BenchError("say where the board reaches this machine: HOST=address")
    if size % 16:
        raise BenchError("the size must be a multiple of 16 bytes")
    if port is None:
        with Stack(folder) as stack:
            board = stack.board(THING, application={"/main.py": b""})
            board.start()
            board.wait_console(">>> ")
            with Cable("socket://{}:{}".format(*board.console)) as cable, _module(cable):
                yield from _prepared(Bench(stack, cable, size, _LOOPBACK, flash))
        return
    with Cable(port) as cable:
        ran = cable.interrupt()
        try:
            running.check(running.look(cable))
            cable.bare_reset()  # which frees the memory of a stopped main.py
            with _module(cable):
                chip = chips.name_of(_call(cable, "slot")["chip"])
                with Stack(folder, init=("--chip", chip)) as stack:
                    yield from _prepared(Bench(stack, cable, size, host or "", FlashTimes()))
        finally:
            if ran:
                cable.soft_reset()


def _prepared(found: Bench) -> Iterator[Bench]:
    try:
        yield found
    finally:
        found.clean_up()


def _module(cable: Cable) -> contextlib.AbstractContextManager[None]:
    return cable.module(MODULE, compile_module(SOURCE))


def _call(cable: Cable, function: str, *arguments: object) -> dict[str, Any]:
    """Call a function of on_board/downloads.py; returns what it tells."""
    call = f"{MODULE}.{function}({', '.join(map(repr, arguments))})"
    result: dict[str, Any] = json.loads(cable.execute(call, PATIENCE_S).strip().splitlines()[-1])
    return result


def medians(found: list[Measurement]) -> list[Measurement]:
    """Return one measurement per kind and delay, with the median of its times."""
    groups: dict[tuple[int, str], list[Measurement]] = {}
    for one in found:
        groups.setdefault((one.delay_ms, one.kind), []).append(one)
    return [
        Measurement(
            kind,
            delay_ms,
            some[0].size,
            median(one.transfer for one in some),
            median(one.total for one in some),
        )
        for (delay_ms, kind), some in groups.items()
    ]


def to_json(board: Board, flash: FlashTimes, found: list[Measurement]) -> dict[str, Any]:
    """Return everything that was measured."""
    rows = [{**asdict(one), "rate": round(one.rate, 2)} for one in found]
    return {"board": asdict(board), "flash_ms": asdict(flash), "measurements": rows}
