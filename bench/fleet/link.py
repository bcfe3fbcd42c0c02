"""The connection of a light board: packets in, one request at a time out, and again where need be.

A kind of board (bench/fleet/boards.py) says which topics it listens to, what it asks, and what a
message means to it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from bench.fleet import packets
from bench.fleet.identities import HOST, context
from bench.fleet.orders import Order, Told
from bench.fleet.patience import Patience


@dataclass
class Work:
    """An order, the end of its time (monotonic clock), and what was seen so far."""

    order: Order
    end: float = 0
    told: Told = field(default_factory=Told)


class Board(asyncio.Protocol):
    """One board, and the answer that it waits for."""

    def __init__(self, work: Work, thing: str) -> None:
        self.told = work.told
        self.order = work.order
        self.thing = thing
        self._work = work
        self._patience = Patience()
        self._rest = b""
        self._begun = self._wait = 0.0
        self._measures = False  # a round trip, with the first part of the answer
        self._due = float("inf")
        self._link: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when the connection is no more."""

    # What a kind of board brings

    def answers(self) -> list[str]:
        """Return the topics of the answers."""
        raise NotImplementedError

    def request(self) -> bytes:
        """Return the packet that asks for what is missing."""
        raise NotImplementedError

    def message(self, data: bytes, at: int, end: int) -> None:
        """Take in the message that lies in data from `at` to `end`."""
        raise NotImplementedError

    # What it finds here

    @property
    def in_time(self) -> bool:
        """Say whether the time of the order is not over."""
        return time.monotonic() < self._work.end

    async def connect(self) -> None:
        """Connect and subscribe. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._ready, self.gone, self._rest = loop.create_future(), loop.create_future(), b""
        await loop.create_connection(
            lambda: self, HOST, self.order.port, ssl=context(self.order.identities, self.thing)
        )
        await self._ready

    def ask(self) -> None:
        """Send a new request."""
        self._begun = time.monotonic()
        self._measures = True
        self._send()

    def heard(self) -> None:
        """Begin to wait again: a part of the answer has come."""
        self._measure()
        self._due = time.monotonic() + self._wait

    def answered(self) -> float:
        """Wait no more; return the seconds that the answer took."""
        self._measure()
        self._due = float("inf")
        return time.monotonic() - self._begun

    def look(self, now: float) -> None:
        """Ask again, if that is due. now: by the monotonic clock."""
        if now >= self._due and not self.gone.done():
            self.told.repeats += 1
            self._patience.repeated()
            self._measures = False
            self._send()

    def repeat(self) -> None:
        """Ask again over a new connection, if an answer is still to come."""
        if self._due < float("inf"):
            self._measures = False
            self._send()

    def write(self, packet: bytes) -> None:
        """Send a packet to which no answer belongs."""
        if self._link is not None:
            self._link.write(packet)

    def close(self) -> None:
        """End the connection."""
        if self._link is not None:
            link, self._link = self._link, None
            link.abort()

    def _send(self) -> None:
        self.told.requests += 1
        self._wait = self._patience.wait()
        self._due = time.monotonic() + self._wait
        self.write(self.request())

    def _measure(self) -> None:
        if self._measures:
            self._measures = False
            self._patience.measured(time.monotonic() - self._begun)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce the board."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self._link = transport
        transport.write(packets.connect(self.thing) + packets.subscribe(self.answers()))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the broker has ended the connection, or never accepted it."""
        if self._link is not None:
            self._link = None
            self.told.lost += 1
        if not self._ready.done():
            self._ready.set_exception(ConnectionError(f"the broker refused {self.thing}: {exc}"))
        if not self.gone.done():
            self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take packets out of what has come."""
        if self._rest:
            data = self._rest + data
        found, end = packets.split(data)
        self._rest = data[end:]
        for kind, body, packet_end in found:
            if kind == packets.PUBLISH:
                self.message(data, packets.payload_at(data, body), packet_end)
            elif kind == packets.SUBSCRIBE_ACK and not self._ready.done():
                self._ready.set_result(None)
