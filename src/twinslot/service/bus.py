"""The service's one MQTT connection: requests in, acknowledged after commit; the outbox out.

Two threads. paho's network thread handles requests one after another, so the order per thing is
kept. The sender thread alone publishes the outbox, in the order of its ids, and deletes what the
broker has acknowledged. A crash at any point leaves the request unacknowledged at the broker (the
session is persistent) or the answer in the outbox; either is done again, so at least once.
"""

import contextlib
import json
import logging
import queue
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from twinslot import config as configuration
from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.service import jobs, shadows, states, streams
from twinslot.service.store import Store

KEEPALIVE = 30  # seconds
MAX_UNACKNOWLEDGED = 100  # messages of the outbox on their way at once
TICK = 0.5  # seconds between two looks at timers and counters

_log = logging.getLogger(__name__)


class BusError(FleetError):
    """The connection to the broker cannot be set up."""


class Bus:
    """Connects Jobs, Streams and Shadows to the broker. `clock` returns Unix seconds."""

    def __init__(
        self,
        settings: configuration.Broker,
        client_id: str,
        store: Store,
        jobs_service: jobs.Jobs,
        streams_service: streams.Streams,
        shadows_service: shadows.Shadows,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the connection. Raises BusError or ConfigError for files that cannot be used."""
        self._settings = settings
        self._store = store
        self._jobs = jobs_service
        self._streams = streams_service
        self._shadows = shadows_service
        self._clock = clock
        self._ready = threading.Event()
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._on_the_way: dict[int, int] = {}  # MQTT message id -> outbox id
        self._last_published = 0  # outbox id
        self._acknowledged_mids: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._delivered: list[int] = []  # outbox ids to be deleted
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True
        )
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._not_reached
        self._client.on_disconnect = self._disconnected
        self._client.on_socket_open = _send_at_once
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._received
        self._client.on_publish = self._acknowledged
        self._client.reconnect_delay_set(1, 30)
        if settings.user:
            self._client.username_pw_set(settings.user, configuration.read_password(settings))
        if settings.tls:
            self._client.tls_set_context(_tls_context(settings))
        self._sender = threading.Thread(target=self._send, name="outbox", daemon=True)

    def start(self) -> None:
        """Connect in the background, again and again until it works."""
        self._store.on_messages(lambda: self._events.put(self._publish_outbox))
        self._sender.start()
        self._events.put(self._publish_outbox)
        address = self._settings.address
        self._client.connect_async(address.host, address.port, KEEPALIVE)
        self._client.loop_start()

    def wait_until_ready(self, timeout: float) -> bool:
        """True as soon as the broker has confirmed the subscriptions; waits `timeout` seconds."""
        return self._ready.wait(timeout)

    def stop(self) -> None:
        """Disconnect, and write down what was served. What is unsent stays in the outbox."""
        self._client.disconnect()
        self._client.loop_stop()
        self._events.put(None)
        self._sender.join()
        self._streams.flush()

    # paho's network thread

    def _connected(
        self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            _log.error("the broker %s refuses the service: %s", self._settings.address, reason)
            return
        topics = [(topic, 1) for topic in (*jobs.SUBSCRIPTIONS, *shadows.SUBSCRIPTIONS)]
        topics += [(topic, 0) for topic in streams.SUBSCRIPTIONS]
        client.subscribe(topics)

    def _subscribed(
        self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Any, _properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            _log.error("the broker refuses the service's subscriptions: check its access list")
            return
        _log.info("connected to the broker %s", self._settings.address)
        self._ready.set()

    def _not_reached(self, _client: mqtt.Client, _data: Any) -> None:
        why = sys.exc_info()[1]  # paho calls this while it handles what went wrong
        _log.warning("no broker at %s: %s; trying again", self._settings.address, why)

    def _disconnected(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            _log.warning("lost the broker %s: %s", self._settings.address, reason)

    def _received(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        if message.retain or not topic or len(topic.encode()) > aws.MAX_TOPIC:
            _log.warning("ignored a retained request, or one with an impossible topic")
        elif len(message.payload) > aws.MAX_PAYLOAD:
            _log.warning("ignored a request of more than %d bytes: %s", aws.MAX_PAYLOAD, topic)
        else:
            self._answer(client, topic, bytes(message.payload))
        if message.qos:
            client.ack(message.mid, message.qos)

    def _answer(self, client: mqtt.Client, topic: str, payload: bytes) -> None:
        try:
            if self._is_revoked(topic):
                _log.warning("ignored a request of a revoked thing: %s", topic)
                return
            if streams.concerns(topic):
                for answer in self._streams.handle(topic, payload):
                    client.publish(answer.topic, answer.payload)
            elif shadows.concerns(topic):
                self._shadows.handle(topic, payload)
            else:
                self._jobs.handle(topic, payload)
        except streams.StreamError as error:
            _log.warning("ignored a request: %s", error)
        except Exception:  # noqa: BLE001 - whatever a device sends or a disk does: stay up, answer
            _log.exception("failed to answer %s", topic)
            with contextlib.suppress(streams.StreamError):  # no answer belongs to such a topic
                self._refuse(client, topic)

    def _is_revoked(self, topic: str) -> bool:
        """Say whether the thing that a topic names is revoked: it gets no answer, leaves no trace.

        The broker still lets it in until it reads the new revocation list and cuts the connection.
        """
        with self._store.read() as transaction:
            return transaction.is_revoked(aws.of_thing(topic)[0])

    def _refuse(self, client: mqtt.Client, topic: str) -> None:
        """Tell the device that the fault is here; not by the outbox, which may be the fault."""
        message = "the service failed; its log says why"
        if streams.concerns(topic):
            refusal = streams.refuse(topic, states.INTERNAL_ERROR, message)
            client.publish(refusal.topic, refusal.payload)
            return
        now = int(self._clock())
        of_shadow = shadows.concerns(topic)
        code = shadows.INTERNAL_ERROR if of_shadow else states.INTERNAL_ERROR
        rejection = {"timestamp": now, "code": code, "message": message}
        client.publish(f"{topic}/rejected", json.dumps(rejection), qos=1)

    def _acknowledged(
        self, _client: mqtt.Client, _data: Any, mid: int, _reason: Any, _properties: Any
    ) -> None:
        self._acknowledged_mids.put(mid)
        self._events.put(self._forget_acknowledged)

    # The sender thread

    def _send(self) -> None:
        next_tick = time.monotonic()
        while True:
            wait = next_tick - time.monotonic()
            event: Callable[[], None] | None = self._tick
            if wait > 0:
                try:
                    event = self._events.get(timeout=wait)
                except queue.Empty:
                    continue
            else:
                next_tick = time.monotonic() + TICK
            if event is None:
                return
            try:
                event()
            except Exception:  # noqa: BLE001 - a full disk must not end the only sender
                _log.exception("the outbox is stuck; trying again")
                time.sleep(TICK)

    def _tick(self) -> None:
        self._streams.flush()
        self._jobs.time_out_overdue()
        self._forget_acknowledged()
        self._publish_outbox()

    def _publish_outbox(self) -> None:
        room = MAX_UNACKNOWLEDGED - len(self._on_the_way)
        if room <= 0:
            return
        with self._store.read() as transaction:
            messages = transaction.messages(after=self._last_published, limit=room)
        for message in messages:
            # Without a connection paho keeps the message and sends it with the next one.
            sent = self._client.publish(message.topic, message.payload, qos=1)
            if sent.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                raise BusError(f"cannot publish to {message.topic}: {mqtt.error_string(sent.rc)}")
            self._on_the_way[sent.mid] = message.id
            self._last_published = message.id

    def _forget_acknowledged(self) -> None:
        while not self._acknowledged_mids.empty():
            outbox_id = self._on_the_way.pop(self._acknowledged_mids.get(), None)
            if outbox_id is not None:  # else it was a block of a stream
                self._delivered.append(outbox_id)
        if self._delivered:
            with self._store.write() as transaction:
                transaction.forget(self._delivered)
            self._delivered.clear()
            self._publish_outbox()


def _tls_context(settings: configuration.Broker) -> ssl.SSLContext:
    """How to talk TLS to the broker. Raises BusError, naming the file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except OSError as error:  # also ssl.SSLError
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
