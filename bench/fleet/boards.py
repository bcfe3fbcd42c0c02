"""Light boards, many in one process: `python -m bench.fleet.boards`, orders on standard input.

Each has a connection of its own and asks for the windows of one object, one after the other and
from its beginning again, in the words of the agent (firmware/ota/stream_cbor.py), and again where
one has not come within the agent's time. It looks at each block's number and passes the bytes over.
Or it reports progress, again and again.
An order is a line of JSON (`Order`); the answer is one, too (`Told`).
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field, replace

import cbor2

from bench.fleet import packets
from twinslot.formats import aws

SERVICE, BARE = "$aws", "bare"
"""The first level of topics: by the service, and by the bare publisher; equally long."""
BLOCKS, REPORTS = "blocks", "reports"
"""The kinds of orders: boards ask for windows of the object, or report the progress of the job."""
STREAM = JOB = "bench"
BLOCK, WINDOW = 4096, 8
"""Bytes of a block, and blocks of a window, as the agent has them."""
REPEAT = 2.5
"""Seconds after which the agent asks again, its setting `request_ms`."""

_SWEEP = 0.05  # seconds between two looks at windows that are late
_AT_ONCE = 100  # connections that are being opened
_PATIENCE = 60  # seconds until connections and subscriptions are there


@dataclass(frozen=True)
class Order:
    """The work of one measurement.

    kind: BLOCKS or REPORTS; blocks: of the object; seconds: how long to ask.
    """

    kind: str
    port: int
    root: str
    things: list[str]
    blocks: int
    seconds: float


@dataclass
class Told:
    """What the boards saw: blocks or answers that were new and that had come before, requests,
    repeats of requests, refusals; seconds of asking; seconds of each whole window or answer.
    """

    seconds: float = 0
    new: int = 0
    again: int = 0
    requests: int = 0
    repeats: int = 0
    refused: int = 0
    waits: list[float] = field(default_factory=list)


def get_topic(root: str, thing: str) -> str:
    """Return the topic of a board's requests."""
    return root + aws.topic(thing, f"streams/{STREAM}/get/cbor").removeprefix(SERVICE)


def data_topic(root: str, thing: str) -> str:
    """Return the topic of the blocks for a board."""
    return get_topic(root, thing).replace("/get/", "/data/")


def message(index: int, block: bytes) -> bytes:
    """Return a block's message as the service encodes it."""
    told = {"l": len(block), "p": block}
    rest = b"".join(cbor2.dumps(key) + cbor2.dumps(value) for key, value in told.items())
    return _HEAD + cbor2.dumps(index) + rest + b"\xff"


_HEAD = b"\xbf" + b"".join(map(cbor2.dumps, ("c", "rdy", "f", 0, "i")))


def _index(data: bytes, at: int) -> int:
    """Return the block's number in a message. Raises ValueError for one of another form."""
    start = at + len(_HEAD)
    if data[at:start] != _HEAD:
        raise ValueError(f"no block of the stream: {data[at : start + 40]!r}")
    head = data[start]
    if head < 24:
        return head
    return int.from_bytes(data[start + 1 : start + 1 + (1 << (head - 24))], "big")


@dataclass
class _Work:
    """An order, the end of its time (monotonic clock), and what was seen so far."""

    order: Order
    end: float = 0
    told: Told = field(default_factory=Told)


class _Board(asyncio.Protocol):
    """One connection, and the answer that it waits for."""

    def __init__(self, work: _Work, thing: str) -> None:
        self._work = work
        self._told = work.told
        self._thing = thing
        self._rest = b""
        self._begun = self._heard = 0.0
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self._link = transport
        transport.write(packets.connect(self._thing) + packets.subscribe(self._answers()))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"the broker refused {self._thing}: {exc}"))

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        found, end = packets.split(data)
        self._rest = data[end:]
        for kind, body, packet_end in found:
            if kind == packets.PUBLISH:
                self._message(data, body, packet_end)
            elif kind == packets.SUBSCRIBE_ACK and not self.ready.done():
                self.ready.set_result(None)

    def begin(self) -> None:
        """Ask for the next, unless time is over."""
        self._begun = time.monotonic()
        if self._begun < self._work.end:
            self._next()
            self._send()

    def ask_again(self, late: float) -> None:
        """Ask again, if nothing has come since `late` (of the monotonic clock)."""
        if self._heard < late:
            self._told.repeats += 1
            self._send()

    def close(self) -> None:
        """End the connection."""
        self._link.abort()

    def _send(self) -> None:
        self._told.requests += 1
        self._heard = time.monotonic()
        self._link.write(self._request())

    def _answered(self) -> None:
        self._told.waits.append(self._heard - self._begun)
        self.begin()

    def _answers(self) -> list[str]:
        """Return the topics of the answers."""
        raise NotImplementedError

    def _next(self) -> None:
        """Choose what to ask for next."""
        raise NotImplementedError

    def _request(self) -> bytes:
        """Return the packet that asks for what is missing."""
        raise NotImplementedError

    def _message(self, data: bytes, body: int, end: int) -> None:
        """Take in a PUBLISH packet. body, end: where its body begins and ends in data."""
        raise NotImplementedError


class _Reader(_Board):
    """Asks for windows of the object."""

    def __init__(self, work: _Work, thing: str) -> None:
        super().__init__(work, thing)
        self._topic = get_topic(work.order.root, thing)
        self._first = -WINDOW  # block of the window
        self._missing: set[int] = set()

    def _answers(self) -> list[str]:
        data = data_topic(self._work.order.root, self._thing)
        return [data, data.replace("/data/", "/rejected/")]

    def _next(self) -> None:
        self._first = (self._first + WINDOW) % self._work.order.blocks
        self._missing = set(range(self._first, min(self._first + WINDOW, self._work.order.blocks)))

    def _request(self) -> bytes:
        origin, last = min(self._missing), max(self._missing)
        bits = sum(1 << (index - origin) for index in self._missing)
        wanted = {"c": "rdy", "f": 0, "l": BLOCK, "o": origin}
        wanted |= {"b": bits.to_bytes((last - origin) // 8 + 1, "little"), "n": len(self._missing)}
        return packets.publish(self._topic, cbor2.dumps(wanted))

    def _message(self, data: bytes, body: int, end: int) -> None:
        at = packets.payload_at(data, body)
        if end - at < BLOCK:
            self._told.refused += 1
            return
        index = _index(data, at)
        if index not in self._missing:
            self._told.again += 1
            return
        self._missing.remove(index)
        self._told.new += 1
        self._heard = time.monotonic()  # the agent's timer begins again with each block
        if not self._missing:
            self._answered()


class _Reporter(_Board):
    """Reports its progress, at QoS 1, as soon as the report before has been answered."""

    def __init__(self, work: _Work, thing: str) -> None:
        super().__init__(work, thing)
        self._topic = aws.topic(thing, f"jobs/{JOB}/update")
        self._number = 0

    def _answers(self) -> list[str]:
        return [f"{self._topic}/{end}" for end in ("accepted", "rejected")]

    def _next(self) -> None:
        self._number += 1

    def _request(self) -> bytes:
        details = {"receive": f"{self._number}/{self._work.order.blocks}"}
        report = {"status": aws.IN_PROGRESS, "statusDetails": details}
        report["clientToken"] = str(self._number)
        return packets.publish_acknowledged(
            self._topic, json.dumps(report).encode(), self._number % 65535 + 1
        )

    def _message(self, data: bytes, body: int, end: int) -> None:
        answer = json.loads(data[packets.payload_at(data, body) : end])
        if "code" in answer:
            self._told.refused += 1
        elif answer["clientToken"] != str(self._number):
            self._told.again += 1
        else:
            self._told.new += 1
            self._heard = time.monotonic()
            self._answered()


_KINDS = {BLOCKS: _Reader, REPORTS: _Reporter}


async def _carry_out(order: Order) -> Told:
    work = _Work(order)
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(_AT_ONCE)

    async def connected(thing: str) -> _Board:
        async with gate, asyncio.timeout(_PATIENCE):
            _, board = await loop.create_connection(
                lambda: _KINDS[order.kind](work, thing), "127.0.0.1", order.port
            )
            await board.ready
            return board

    boards = await asyncio.gather(*map(connected, order.things))
    _say({"ready": len(boards)})
    await loop.run_in_executor(None, sys.stdin.readline)
    begun = time.monotonic()
    work.end = begun + order.seconds
    for board in boards:
        board.begin()
    while time.monotonic() < work.end:
        await asyncio.sleep(_SWEEP)
        for board in boards:
            board.ask_again(time.monotonic() - REPEAT)
    told = replace(work.told, seconds=time.monotonic() - begun)
    for board in boards:
        board.close()
    return told


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Carry out orders until standard input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for line in sys.stdin:
        _say(asdict(asyncio.run(_carry_out(Order(**json.loads(line))))))


if __name__ == "__main__":
    main()
