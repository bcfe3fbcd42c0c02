"""The service's one MQTT connection: requests in, acknowledged after commit; the outbox out.

One thread does all of it, a piece at a time: it reads what has come into the queues of the things,
answers one request of each of the next few things, and publishes the outbox in the order of its
ids. So one thing's requests follow one another, and no thing waits behind another's pile. What is
written for the requests of one round is committed together, and acknowledged afterwards. While the
broker does not take what is written nobody is answered, and a window that is asked for again
meanwhile is answered once. A crash at any point leaves the request unacknowledged at the broker
(the session is persistent) or the answer in the outbox; either is done again, so at least once.
"""

import contextlib
import json
import logging
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from twinslot import config as configuration
from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.formats import mqtt as packets
from twinslot.service import jobs, shadows, states, streams
from twinslot.service.access import Access
from twinslot.service.outgoing import Outgoing
from twinslot.service.rollouts import Rollouts
from twinslot.service.rows.base import Changes
from twinslot.service.store import Store
from twinslot.service.turns import Turns
from twinslot.trust import authority

KEEPALIVE = 30  # seconds
MAX_UNACKNOWLEDGED = 100  # messages of the outbox on their way at once
TICK = 0.5  # seconds between two looks at timers and counters
WAITING = 100  # requests of one thing; AWS takes so many a second of one connection
WAITING_BYTES = 2 * aws.MAX_PAYLOAD  # of one thing's requests
ALL_WAITING_BYTES = 64 * 2**20
READING = 500  # reads, at most, between two rounds of answers: some 30 ms
ROUND = 16  # things that are answered in one round

_IN_FLIGHT = 1000  # requests that the broker may have out without an acknowledgement
_FOR_EVER = 2**32 - 1  # seconds that the broker keeps the session (MQTT 5, 3.1.2.11.2)
_FIRST_PAUSE, _LAST_PAUSE = 1, 30  # seconds between two attempts to connect
_SHORT = 10.0  # seconds of a connection that somebody ended
_SUSPICIOUS = 3  # of these in a row
_SUMMARY = 10  # seconds between two lines about what was throttled

_log = logging.getLogger(__name__)


class BusError(FleetError):
    """The connection to the broker cannot be set up."""


class _Request(NamedTuple):
    """A request as it came; `connection` counts connections: only this one knows its `mid`."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    connection: int


class Bus:
    """Connects Jobs, Streams and Shadows to the broker. `clock` returns Unix seconds."""

    def __init__(
        self,
        settings: configuration.Broker,
        client_id: str,
        store: Store,
        access: Access,
        rollouts: Rollouts,
        jobs_service: jobs.Jobs,
        streams_service: streams.Streams,
        shadows_service: shadows.Shadows,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the connection. Raises BusError or ConfigError for files that cannot be used."""
        self._settings = settings
        self._store = store
        self._access = access
        self._rollouts = rollouts
        self._jobs = jobs_service
        self._streams = streams_service
        self._shadows = shadows_service
        self._clock = clock
        self._client_id = client_id
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)

        self._turns: Turns[_Request] = Turns(
            each=WAITING, each_bytes=WAITING_BYTES, all_bytes=ALL_WAITING_BYTES
        )
        self._throttled: Counter[str] = Counter()  # requests, by thing
        self._next_summary = 0.0
        self._next_tick = 0.0

        self._connection = 0
        self._subscribed_at = -_SHORT  # by the monotonic clock
        self._short = 0  # connections in a row that ended within _SHORT
        self._next_attempt = 0.0
        self._pause = _FIRST_PAUSE
        self._arrived = False

        self._outbox_changed = True
        self._on_the_way: dict[int, int] = {}  # MQTT message id -> outbox id
        self._last_published = 0  # outbox id
        self._delivered: list[int] = []  # outbox ids to be deleted
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5,
            manual_ack=True,
        )
        self._outgoing = Outgoing(self._client)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_socket_open = _send_at_once
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._received
        self._client.on_publish = self._acknowledged
        if settings.user:
            self._client.username_pw_set(settings.user, configuration.read_password(settings))
        if settings.tls:
            self._client.tls_set_context(_tls_context(settings))
        kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        kept.SessionExpiryInterval = _FOR_EVER
        kept.ReceiveMaximum = _IN_FLIGHT
        self._client.connect_async(
            settings.address.host,
            settings.address.port,
            KEEPALIVE,
            clean_start=False,
            properties=kept,
        )

    def start(self) -> None:
        """Connect in the background, again and again until it works."""
        self._store.on_commit(self._note_outbox)
        self._thread.start()

    @property
    def broker(self) -> dict[str, Any]:
        """Where the broker is, and whether it answers the service now."""
        connected = self._ready.is_set() and self._client.is_connected()
        return {"broker": str(self._settings.address), "connected": connected}

    def wait_until_ready(self, timeout: float) -> bool:
        """True as soon as the broker has confirmed the subscriptions; waits `timeout` seconds."""
        return self._ready.wait(timeout)

    def stop(self) -> None:
        """Disconnect, and write down what was served. What is unsent stays in the outbox."""
        self._stopping.set()
        self._wake()
        self._thread.join()
        self._woken.close()
        self._waker.close()

    def _note_outbox(self, changes: Changes) -> None:
        """Any thread calls it, after a commit."""
        if not changes.messages:
            return
        self._outbox_changed = True
        if threading.current_thread() is not self._thread:
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is full: the thread wakes up anyway
            self._waker.send(b"!")

    # The thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._connect()
                self._wait()
                self._read()
                self._serve()
                self._tick()
                self._publish_outbox()
                self._outgoing.write()
            except FleetError as error:
                _log.error("the bus is stuck; trying again: %s", error)
                self._stopping.wait(TICK)
            except Exception:  # noqa: BLE001 - nothing may end the only thread
                _log.exception("the bus is stuck; trying again")
                self._stopping.wait(TICK)
        self._client.disconnect()
        self._outgoing.write()
        try:
            self._streams.flush()
        except FleetError as error:
            _log.error("what was served last is not counted: %s", error)

    def _connect(self) -> None:
        if self._client.socket() is not None or time.monotonic() < self._next_attempt:
            return
        self._next_attempt = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LAST_PAUSE)
        try:
            self._client.reconnect()
        except (OSError, ValueError) as error:  # ValueError: a name that is no host name
            _log.warning(
                "no broker at %s: %s; trying again", self._settings.address, _reason(error)
            )

    def _wait(self) -> None:
        """Wait until something has come, can be sent or is due."""
        found = select.poll()
        found.register(self._woken, select.POLLIN)
        link: Any = self._client.socket()
        busy = bool(self._turns) and not self._outgoing.full
        if link is not None:
            writing = select.POLLOUT if self._outgoing.waits else 0
            found.register(link, select.POLLIN | writing)
            busy = busy or bool(isinstance(link, ssl.SSLSocket) and link.pending())
        pause = 0.0 if busy else max(0.0, self._next_tick - time.monotonic())
        for number, _ in found.poll(pause * 1000):
            if number == self._woken.fileno():
                with contextlib.suppress(BlockingIOError):
                    while self._woken.recv(4096):
                        pass

    def _read(self) -> None:
        """Take in what has come, and send what could not be sent at once."""
        for _ in range(READING):
            self._arrived = False
            self._client.loop_read()
            self._outgoing.write()
            if not self._arrived:
                break
        self._client.loop_misc()

    def _serve(self) -> None:
        """Answer one request of each of the things whose turn it is."""
        if self._outgoing.full:
            return
        written = []
        for request in self._turns.round(ROUND):
            if self._access.is_revoked(aws.of_thing(request.topic)[0]):
                # It gets no answer and leaves no trace. The broker still lets it in until it reads
                # the new revocation list and cuts the connection.
                _log.warning("ignored a request of a revoked thing: %s", request.topic)
                self._acknowledge(request)
            elif streams.concerns(request.topic):
                self._answer(request)
            else:
                written.append(request)
        if written:
            self._commit(written)

    def _tick(self) -> None:
        now = time.monotonic()
        if now < self._next_tick:
            return
        self._next_tick = now + TICK
        self._streams.flush()
        self._rollouts.tick(self._store, int(self._clock()))
        self._access.refresh()
        self._forget_delivered()
        self._outbox_changed = True  # another process may have filled it
        if self._throttled and now >= self._next_summary:
            self._next_summary = now + _SUMMARY
            for thing, count in self._throttled.most_common(10):
                _log.warning("throttled %d requests of %s", count, ascii(thing))
            if len(self._throttled) > 10:
                _log.warning("throttled %d other things, too", len(self._throttled) - 10)
            self._throttled.clear()

    # What paho calls, in the thread

    def _connected(
        self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            _log.error("the broker %s refuses the service: %s", self._settings.address, reason)
            return
        self._connection += 1
        # The service hears of jobs' topics all that things publish, and nothing of its own there.
        wanted = [(topic, 1) for topic in (*jobs.SUBSCRIPTIONS, *shadows.SUBSCRIPTIONS)]
        wanted += [(topic, 0) for topic in streams.SUBSCRIPTIONS]
        client.subscribe([(topic, SubscribeOptions(qos, noLocal=True)) for topic, qos in wanted])

    def _subscribed(
        self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Any, _properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            _log.error("the broker refuses the service's subscriptions: check its access list")
            return
        _log.info("connected to the broker %s", self._settings.address)
        self._pause = _FIRST_PAUSE
        self._subscribed_at = time.monotonic()
        self._ready.set()

    def _disconnected(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        self._outgoing.forget()
        self._next_attempt = time.monotonic() + self._pause
        short = time.monotonic() - self._subscribed_at < _SHORT
        self._short = self._short + 1 if short else 0
        if self._short >= _SUSPICIOUS:  # mosquitto 2.0 says nothing when it gives a name away
            self._next_attempt = time.monotonic() + _LAST_PAUSE
            _log.error(
                "the broker %s lets the service in, and puts it out again within seconds: does "
                "another service call itself %s there? Two fleets of one product need a broker "
                "each, or other product names",
                self._settings.address,
                self._client_id,
            )
        elif reason.is_failure:
            _log.warning("lost the broker %s: %s", self._settings.address, reason)

    def _received(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._arrived = True
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        request = _Request(
            topic, bytes(message.payload), message.mid, message.qos, self._connection
        )
        size = len(request.payload)
        thing = aws.of_thing(topic)[0]
        if message.retain or not topic or len(topic.encode()) > aws.MAX_TOPIC:
            _log.warning("ignored a retained request, or one with an impossible topic")
        elif size > aws.MAX_PAYLOAD:
            _log.warning("ignored a request of more than %d bytes: %s", aws.MAX_PAYLOAD, topic)
        elif jobs.is_answer(topic):
            pass  # brokers that know no `noLocal` bring the service its own words
        elif streams.concerns(topic) and self._turns.waits(thing, request):
            pass  # the answer that is still to come is the answer to both
        elif self._turns.add(thing, size, request):
            return
        elif not self._access.is_revoked(thing):
            self._throttled[thing] += 1
            self._refuse(topic, request.payload, _THROTTLED)
        self._acknowledge(request)

    def _acknowledged(
        self, _client: mqtt.Client, _data: Any, mid: int, _reason: Any, _properties: Any
    ) -> None:
        outbox_id = self._on_the_way.pop(mid, None)
        if outbox_id is not None:  # else it was a refusal
            self._delivered.append(outbox_id)

    # Answers

    def _answer(self, request: _Request) -> None:
        """Answer the request of a stream."""
        try:
            self._publish(self._streams.handle(request.topic, request.payload))
        except streams.StreamError as error:
            _log.warning("ignored a request: %s", error)
        except Exception as error:  # noqa: BLE001 - whatever a device sends: stay up, answer
            self._fail(request, error)

    def _commit(self, requests: Sequence[_Request]) -> None:
        """Answer requests of jobs and shadows in one transaction, and acknowledge them.

        Where that fails each has a transaction of its own, so that one cannot be in another's way.
        """
        try:
            with self._store.write() as transaction:
                for request in requests:
                    service = self._shadows if shadows.concerns(request.topic) else self._jobs
                    service.answer(transaction, request.topic, request.payload)
        except Exception as error:  # noqa: BLE001 - whatever a device sends: stay up, answer
            if len(requests) > 1:
                for request in requests:
                    self._commit([request])
                return
            self._fail(requests[0], error)
        for request in requests:
            self._acknowledge(request)

    def _fail(self, request: _Request, error: Exception) -> None:
        """Note why a request cannot be answered, and say so to the thing."""
        if isinstance(error, FleetError):  # of the disk or the database
            _log.error("failed to answer %s: %s", request.topic, error)
        else:
            _log.error("failed to answer %s", request.topic, exc_info=error)
        self._refuse(request.topic, request.payload, _FAILED)

    def _publish(self, answers: Iterable[streams.Answer]) -> None:
        """Send the answers to a stream's request, at most once and as one piece."""
        written = (packets.publish(answer.topic, answer.payload) for answer in answers)
        self._outgoing.put(b"".join(written))

    def _refuse(self, topic: str, payload: bytes, trouble: "_Trouble") -> None:
        """Tell the device that the fault is here; not by the outbox, which may be the fault."""
        if streams.concerns(topic):
            token = streams.token_of(topic, payload)
            with contextlib.suppress(streams.StreamError):  # no answer belongs to such a topic
                self._publish([streams.refuse(topic, trouble.word, trouble.message, token)])
            return
        of_shadow = shadows.concerns(topic)
        rejection = {
            **(shadows if of_shadow else jobs).token_of(payload),
            "timestamp": int(self._clock()),
            "code": trouble.number if of_shadow else trouble.word,
            "message": trouble.message,
        }
        self._client.publish(f"{topic}/rejected", json.dumps(rejection), trouble.qos)

    def _acknowledge(self, request: _Request) -> None:
        """Tell the broker that a request is done with; another connection brings it once more.

        Brokers take acknowledgements in any order, and the order here is that of the turns.
        """
        if request.qos and request.connection == self._connection:
            self._client.ack(request.mid, request.qos)

    # The outbox

    def _publish_outbox(self) -> None:
        room = MAX_UNACKNOWLEDGED - len(self._on_the_way)
        if len(self._delivered) >= MAX_UNACKNOWLEDGED:
            self._forget_delivered()
        if room <= 0 or not self._outbox_changed:
            return
        self._outbox_changed = False
        with self._store.read() as transaction:
            messages = transaction.messages(after=self._last_published, limit=room)
        if len(messages) == room:
            self._outbox_changed = True  # there may be more
        for message in messages:
            # Without a connection paho keeps the message and sends it with the next one.
            sent = self._client.publish(message.topic, message.payload, qos=1)
            if sent.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                raise BusError(f"cannot publish to {message.topic}: {mqtt.error_string(sent.rc)}")
            self._on_the_way[sent.mid] = message.id
            self._last_published = message.id

    def _forget_delivered(self) -> None:
        if self._delivered:
            with self._store.write() as transaction:
                transaction.forget(self._delivered)
            self._delivered.clear()


@dataclass(frozen=True)
class _Trouble:
    """Why a request is not answered as asked: AWS's word, its number for shadows, a sentence."""

    word: str
    number: int
    message: str
    qos: int


_FAILED = _Trouble(
    states.INTERNAL_ERROR, shadows.INTERNAL_ERROR, "the service failed; its log says why", 1
)
# QoS 0: these come by thousands, and paho would keep all of them until they are acknowledged.
_THROTTLED = _Trouble(
    states.REQUEST_THROTTLED,
    shadows.TOO_MANY_REQUESTS,
    f"more than {WAITING} requests wait: ask again, more slowly",
    0,
)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def _tls_context(settings: configuration.Broker) -> ssl.SSLContext:
    """How to talk TLS to the broker. Raises BusError, naming the file that cannot be used."""
    try:
        context = authority.tls_context(settings.ca)
    except (OSError, FleetError) as error:  # also ssl.SSLError
        raise BusError(f"cannot trust {settings.ca}: {error}") from error
    if settings.certificate is not None and settings.key is not None:
        try:
            context.load_cert_chain(settings.certificate, settings.key)
        except OSError as error:
            raise BusError(
                f"cannot use {settings.certificate} with {settings.key}: {error}"
            ) from error
    return context


def _send_at_once(_client: mqtt.Client, _data: Any, sock: Any) -> None:
    """The blocks of a request go out together; else each waits for its forerunner's TCP ACK."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
