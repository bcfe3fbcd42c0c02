"""The link against a real broker, plain and over TLS with client certificates.

Under MicroPython and CPython; the other side of every conversation is paho-mqtt.
"""

from __future__ import annotations

import queue
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from link_fixtures import MakeLink, interpreter, make_link, need
from local_ca import LocalCA
from paho.mqtt.enums import CallbackAPIVersion
from remote_link import LinkFailed, RemoteLink

from demo import children
from tools import natives

__all__ = ["interpreter", "make_link"]

LONG = "long/" + "t" * 195


@dataclass
class Broker:
    """A running mosquitto: its ports, and the files a client of each shows."""

    process: subprocess.Popen[bytes]
    plain_port: int
    tls_port: int
    ca: LocalCA
    client_files: list[Path]

    def options(self, transport: str) -> dict[str, Any]:
        """Return RemoteLink's arguments for "plain" or "tls"."""
        if transport == "plain":
            return {"port": self.plain_port}
        return {"port": self.tls_port, "host": "localhost", "tls": self.client_files}


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    need("mosquitto")
    folder = tmp_path_factory.mktemp("broker")
    ca = LocalCA(folder / "ca")
    certificate, key = ca.issue("localhost", "localhost", "127.0.0.1")
    plain_port, tls_port = children.free_port(), children.free_port()
    settings = folder / "mosquitto.conf"
    settings.write_text(
        "user root\n"  # of no effect unless root runs it; then it would lose sight of its keys
        f"listener {plain_port} 127.0.0.1\nallow_anonymous true\n"
        f"listener {tls_port} 127.0.0.1\n"
        f"cafile {ca.path}\ncertfile {certificate}\nkeyfile {key}\nrequire_certificate true\n"
    )
    command = [*natives.command("mosquitto"), "-c", str(settings)]
    process = children.start(command, folder / "log")
    for port in (plain_port, tls_port):
        children.wait_for(partial(children.listens, port), "the broker's start")
    yield Broker(process, plain_port, tls_port, ca, [ca.path, *ca.issue("client")])
    children.stop(process)


@pytest.fixture(params=["plain", "tls"])
def link(request: pytest.FixtureRequest, make_link: MakeLink, mosquitto: Broker) -> RemoteLink:
    """A connected link."""
    made = make_link(**mosquitto.options(request.param))
    assert made.connect() == 0
    return made


class Peer:
    """Somebody else at the broker."""

    def __init__(self, port: int) -> None:
        self.inbox: queue.Queue[tuple[str, bytes, int]] = queue.Queue()
        self._ready: queue.Queue[None] = queue.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _client, _data, message: self.inbox.put(
            (message.topic, bytes(message.payload), message.qos)
        )
        self._client.on_subscribe = lambda *_: self._ready.put(None)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def subscribe(self, topic: str) -> None:
        self._client.subscribe(topic, 1)
        self._ready.get(timeout=10)

    def publish(self, topic: str, payload: bytes, qos: int) -> None:
        self._client.publish(topic, payload, qos).wait_for_publish(10)

    def receive(self) -> tuple[str, bytes, int]:
        return self.inbox.get(timeout=10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def peer(mosquitto: Broker) -> Iterator[Peer]:
    made = Peer(mosquitto.plain_port)
    yield made
    made.close()


def receive(link: RemoteLink, count: int) -> list[tuple[bytes, bytes]]:
    """Let the link handle packets until so many messages came."""
    deadline = time.monotonic() + 10
    while len(link.messages) < count:
        assert time.monotonic() < deadline, f"{len(link.messages)} of {count} messages came"
        link.check_msg(500)
    return link.take_messages()


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_go_both_ways_on_a_topic_of_200_characters(
    link: RemoteLink, peer: Peer, qos: int
) -> None:
    assert len(LONG) == 200
    link.subscribe(LONG, qos)
    peer.subscribe("answer")
    payloads = [bytes([number]) * size for number, size in enumerate((0, 1, 127, 4096))]
    for payload in payloads:
        peer.publish(LONG, payload, qos)
        link.publish("answer", payload, qos=qos)
    assert receive(link, 4) == [(LONG.encode(), payload) for payload in payloads]
    assert [peer.receive() for _ in payloads] == [("answer", payload, qos) for payload in payloads]
    assert link.check_msg() is None


def test_an_ended_subscription_brings_nothing_more(link: RemoteLink, peer: Peer) -> None:
    for topic in ("first", "second"):
        link.subscribe(topic, 1)
    link.unsubscribe("first")
    for topic in ("first", "second"):
        peer.publish(topic, b"text", 1)
    assert receive(link, 1) == [(b"second", b"text")]


def test_a_ping_is_answered(link: RemoteLink) -> None:
    link.ping()
    assert link.check_msg(10_000) == 0xD0


@pytest.mark.slow
def test_pings_keep_an_idle_link_beyond_the_keepalive(
    make_link: MakeLink, mosquitto: Broker
) -> None:
    """The broker drops a silent client after one and a half times its keepalive."""
    link = make_link(mosquitto.plain_port, keepalive=10)
    link.connect()
    end = time.monotonic() + 16
    answers = 0
    while time.monotonic() < end:
        answers += link.check_msg(1000) == 0xD0
    assert answers >= 2


def test_a_burst_larger_than_the_socket_s_buffer_arrives_whole(
    link: RemoteLink, peer: Peer
) -> None:
    link.subscribe("blocks", 0)
    blocks = [bytes([number]) * 4096 for number in range(64)]
    for block in blocks:
        peer.publish("blocks", block, 0)
    assert [payload for _, payload in receive(link, 64)] == blocks


def test_a_session_is_kept_when_it_is_not_clean(make_link: MakeLink, mosquitto: Broker) -> None:
    link = make_link(mosquitto.plain_port)
    link.connect(True)
    link.connect(False)
    link.disconnect()
    assert link.connect(False) == 1
    assert link.connect(True) == 0


def test_the_broker_s_death_is_an_error_at_once_and_connect_waits_for_nobody(
    make_link: MakeLink, mosquitto: Broker, tmp_path: Path
) -> None:
    port = children.free_port()
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    command = [*natives.command("mosquitto"), "-c", str(settings)]
    process = children.start(command, tmp_path / "log")
    children.wait_for(lambda: children.listens(port), "the broker's start")
    link = make_link(port)
    link.connect()
    process.kill()
    process.wait()
    with pytest.raises(LinkFailed) as caught:
        link.check_msg(9000)
    assert caught.value.is_os_error and link.ms < 5000
    with pytest.raises(LinkFailed) as caught:
        link.connect()
    assert caught.value.is_os_error and link.ms < 5000


# -- who may talk to whom -----------------------------------------------------------------------


def test_a_broker_of_another_ca_is_refused_in_words(
    make_link: MakeLink, mosquitto: Broker, tmp_path: Path
) -> None:
    stranger = LocalCA(tmp_path)
    files = [stranger.path, *mosquitto.client_files[1:]]
    link = make_link(mosquitto.tls_port, host="localhost", tls=files)
    with pytest.raises(LinkFailed, match=r"the link cannot be opened: \S") as caught:
        link.connect()
    assert caught.value.is_os_error


def test_a_broker_of_another_name_is_refused(
    make_link: MakeLink, mosquitto: Broker, tmp_path: Path
) -> None:
    """The certificate is for localhost and 127.0.0.1, not for what was asked for."""
    link = make_link(mosquitto.tls_port, host="127.0.0.2", tls=mosquitto.client_files)
    with pytest.raises(LinkFailed) as caught:
        link.connect()
    assert caught.value.is_os_error


def test_a_client_of_another_ca_gets_no_link(
    make_link: MakeLink, mosquitto: Broker, tmp_path: Path
) -> None:
    files = [mosquitto.ca.path, *LocalCA(tmp_path).issue("client")]
    link = make_link(mosquitto.tls_port, host="localhost", tls=files)
    with pytest.raises(LinkFailed) as caught:
        link.connect()
    assert caught.value.is_os_error
