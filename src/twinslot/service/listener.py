"""A port of the service: its deadlines and limits hold before anybody is asked who he is.

Every port is one `Listener`. Behind it uvicorn speaks HTTP; who gets a connection, and for how
long, is decided here. uvicorn has no deadline for a request's head or body, none for a peer that
takes no answer, and no limit of connections of one address.
"""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from twinslot.addresses import Address
from twinslot.errors import FleetError
from twinslot.service.seats import Seat, Seats, Standing

_BACKLOG = 1024  # connections that the kernel holds until they are accepted
_NO_ROOM = 0.2  # seconds until accepting is tried again where the process has no descriptor left
_OTHER_FILES = 64  # descriptors for the database, the broker and the rest
_FILES = 2  # descriptors of a connection: the socket, and the object that it gets

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)


class ListenerError(FleetError):
    """A port cannot be opened, or its certificate cannot be used."""


class LateError(FleetError):
    """A body has not come in time."""


@dataclass(frozen=True)
class Limits:
    """The limits of one port: connections in all and of one address; the rest in seconds.

    head: for TLS, and then for the whole head of a request; keep_alive: from an answer to the next
    request, so that a board that erases flash between two ranges keeps its connection; body: for a
    body, beside a second for each `body_rate` bytes of it; taking: for a peer to take 48 KB of an
    answer, as much as is sent ahead.
    """

    every: int = 512
    of_address: int = 128
    head: float = 10
    keep_alive: float = 60
    body: float = 20
    body_rate: int = 16_384
    taking: float = 60


def affordable(wanted: Limits, ports: int) -> Limits:
    """Return the limits that this process has file descriptors for, at each of so many ports.

    The process's own limit is raised first, as far as it may be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _OTHER_FILES + ports * _FILES * wanted.every
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    every = max(8, (soft - _OTHER_FILES) // (ports * _FILES))
    _log.warning(
        "%d file descriptors: %d connections at each port, not %d", soft, every, wanted.every
    )
    return replace(wanted, every=every, of_address=min(every, wanted.of_address))


class Listener:
    """A port that is open, with its limits; `serve` makes it answer."""

    def __init__(
        self,
        address: Address,
        limits: Limits,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        """Open the port; with certificate and key it talks TLS.

        Raises ListenerError for a port that is taken, and for files that cannot be used.
        """
        self._tls = _tls_context(certificate, key)
        self._limits = limits
        self.seats = Seats(every=limits.every, of_address=limits.of_address)
        try:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            self._socket = socket.create_server(
                (address.host, address.port), family=family, backlog=_BACKLOG
            )
        except OSError as error:
            other = "; another program has it: name another port in fleet.toml, or 0 for any"
            said = other if error.errno == errno.EADDRINUSE else ""
            raise ListenerError(f"cannot listen on {address}: {error.strerror}{said}") from error
        self._socket.setblocking(False)
        host = "127.0.0.1" if address.host == "0.0.0.0" else address.host  # noqa: S104 - compared
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://{Address(host, self.port)}"

    def close(self) -> None:
        """Close the port."""
        self._socket.close()

    def server(self, application: Application) -> uvicorn.Server:
        """Return the server that answers here, not running yet."""
        settings = uvicorn.Config(
            _guarded(application, self._limits),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_keep_alive=ceil(self._limits.keep_alive),
            timeout_graceful_shutdown=3,
        )
        return _Server(settings, self._socket, self._tls, self.seats, self._limits)


class _Server(uvicorn.Server):
    """Accepts by itself, so that a connection is counted before it has said anything.

    It leaves the signals to `serve`, which has more to end than one port.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        seats: Seats,
        limits: Limits,
    ) -> None:
        super().__init__(config)
        self._limits = limits
        self._listener = listener
        self._tls = tls
        self._seats = seats
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: Any = None) -> None:  # noqa: ARG002 - uvicorn's signature
        await self.lifespan.startup()
        self.servers = []  # of asyncio, which would accept without asking
        self._start(self._accept())
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._tasks:
            task.cancel()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                link, peer = await loop.sock_accept(self._listener)
            except OSError as error:  # no descriptors are left, or the peer is gone already
                _log.warning("cannot accept a connection: %s", error.strerror)
                await asyncio.sleep(_NO_ROOM)
                continue
            before = len(self._seats)
            seat = self._seats.take(peer[0], partial(_hang_up, link))
            if seat is None:
                _log.warning("refused a connection: too many are being answered")
                link.close()
                continue
            self._start(self._open(link, seat))
            if len(self._seats) == before:
                _log.warning("too many connections: closed one that was not being answered")
            await asyncio.sleep(0)  # a crowd at the door must not keep those inside waiting

    async def _open(self, link: socket.socket, seat: Seat) -> None:
        connection = _Connection(self.config, self.server_state, self._seats, seat, self._limits)
        try:
            link.setblocking(False)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                link,
                ssl=self._tls,
                ssl_handshake_timeout=self._limits.head if self._tls else None,
            )
        except OSError as error:  # also ssl.SSLError, and a handshake that takes too long
            _log.info("a connection failed before it began: %s", error)
        finally:
            if not connection.begun:
                self._seats.give_up(seat)
                link.close()


class _Connection(H11Protocol):
    """One connection, with a clock that runs whenever the peer is to send a head."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        seats: Seats,
        seat: Seat,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, {"connection": self})
        self._limits = limits
        self._seats = seats
        self._seat = seat
        self._clock: asyncio.TimerHandle | None = None
        self._over = False
        self.begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.begun = True
        self._seat.close = transport.abort
        super().connection_made(transport)
        self._await_head(self._limits.head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._stop_clock()
        self._seats.give_up(self._seat)
        super().connection_lost(exc)

    def recognize(self) -> None:
        """Note that the request is signed by somebody who is known."""
        self._seats.stand(self._seat, Standing.ANSWERED)

    def begin(self) -> None:
        """A head is here, and is being answered."""
        self._stop_clock()

    def end(self) -> None:
        """The answer has been sent, or given up."""
        if self._seat.standing is Standing.ANSWERED:
            self._seats.stand(self._seat, Standing.RESTING)
        # Also where it closes, which waits for the peer.
        self._await_head(self._limits.keep_alive + self._limits.head)

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def _await_head(self, seconds: float) -> None:
        self._stop_clock()
        if not self._over:
            self._clock = self.loop.call_later(seconds, self._give_up)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _give_up(self) -> None:
        _log.info("closed a connection that sent no request in time")
        self.abort()


def _hang_up(link: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the peer has done so already
        link.shutdown(socket.SHUT_RDWR)


def _guarded(application: Application, limits: Limits) -> Application:
    """The application, with a deadline for the body that it reads and the answer that it sends.

    Reading raises LateError. The scope's state has the `connection`.
    """

    async def answer(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        connection: _Connection = scope["state"]["connection"]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.body
        more = True

        async def receive_in_time() -> Message:
            nonlocal deadline, more
            if not more:
                return await receive()  # until the peer hangs up
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise LateError(
                    f"the body came too slowly: less than {limits.body_rate} bytes a second"
                ) from error
            deadline += len(message.get("body", b"")) / limits.body_rate
            more = message.get("more_body", False)
            return message

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(limits.taking):
                    await send(message)
            except TimeoutError:
                _log.warning("closed a connection whose peer does not take its answer")
                connection.abort()

        connection.begin()
        try:
            await application(scope, receive_in_time, send_in_time)
        finally:
            connection.end()

    return answer


def _tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # also ssl.SSLError
        raise ListenerError(f"cannot use {certificate} with {key}: {error}") from error
    return context
