"""Two write to one connection, paho and the service: packets stay whole, and none is lost."""

import random
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from local_ca import LocalCA
from paho.mqtt.enums import CallbackAPIVersion

from twinslot.formats import mqtt as packets
from twinslot.service.outgoing import Outgoing

CONNACK = bytes([0x20, 3, 0, 0, 0])


class Slow:
    """A broker that lets the client in, and reads as little as it is told.

    ca: that of its certificate, None for plain TCP.
    """

    def __init__(self, ca: LocalCA | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.trusted = ca and ssl.create_default_context(cafile=str(ca.path))
        if ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*ca.issue("broker", "127.0.0.1"))
            self._listener = context.wrap_socket(
                self._listener,
                server_side=True,
                do_handshake_on_connect=False,  # `recv` does it
            )

    def accept(self) -> socket.socket:
        link, _ = self._listener.accept()
        link.settimeout(10)
        link.recv(4096)
        link.sendall(CONNACK)
        return link

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def broker() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.close()


@pytest.fixture(params=["plain", "TLS"])
def any_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Slow]:
    made = Slow(LocalCA(tmp_path) if request.param == "TLS" else None)
    yield made
    made.close()


def connected(broker: Slow) -> tuple[mqtt.Client, Outgoing, socket.socket]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "service", protocol=mqtt.MQTTv5)
    outgoing = Outgoing(client)

    def shrink(_client: mqtt.Client, _data: Any, link: Any) -> None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    client.on_socket_open = shrink
    if broker.trusted:
        client.tls_set_context(broker.trusted)
    client.connect_async("127.0.0.1", broker.port)
    return client, outgoing, let_in(broker, client, outgoing)


def let_in(broker: Slow, client: mqtt.Client, outgoing: Outgoing) -> socket.socket:
    """Connect the client. Returns the broker's end."""
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(broker.accept)
        client.reconnect()
        outgoing.write()
        link = accepted.result(10)
    wanted: Any = client.socket()
    while not client.is_connected():
        select.select([wanted], [], [], 10)
        client.loop_read()
    return link


def written(client: mqtt.Client, outgoing: Outgoing) -> None:
    """Write until nothing waits."""
    link: Any = client.socket()
    while outgoing.waits:
        select.select([], [link], [], 10)
        outgoing.write()


def read_packets(link: socket.socket, count: int) -> list[tuple[str, bytes]]:
    """Topic and payload of the next PUBLISH packets."""
    stream = link.makefile("rb")
    found = []
    for _ in range(count):
        kind = stream.read(1)[0]
        assert kind >> 4 == 3, "a packet begins where the last one ends"
        length = shift = 0
        while True:
            byte = stream.read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        body = stream.read(length)
        end = 2 + int.from_bytes(body[:2], "big")
        properties = end + (2 if kind & 6 else 0)
        assert body[properties] == 0
        found.append((body[2:end].decode(), body[properties + 1 :]))
    return found


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 16_383, 16_384, 200_000])
def test_a_packet_is_what_paho_writes(broker: Slow, size: int) -> None:
    client, outgoing, link = connected(broker)
    payload = random.Random(size).randbytes(size)
    client.publish("tópic/a", payload)
    outgoing.put(packets.publish("tópic/a", payload))
    reading = threading.Thread(target=lambda: found.extend(read_packets(link, 2)))
    found: list[tuple[str, bytes]] = []
    reading.start()
    written(client, outgoing)
    reading.join(10)
    assert found == [("tópic/a", payload)] * 2
    link.close()


def test_packets_of_both_stay_whole_while_the_broker_reads_slowly(any_broker: Slow) -> None:
    """Windows and messages of QoS 1 by turns, over a socket that never takes a whole one."""
    client, outgoing, link = connected(any_broker)
    for number in range(20):
        outgoing.put(b"".join(packets.publish(f"block/{number}", bytes(40_000)) for _ in range(2)))
        client.publish(f"job/{number}", bytes(30_000), 1)
    assert outgoing.full
    reading = threading.Thread(target=lambda: found.extend(read_packets(link, 60)))
    found: list[tuple[str, bytes]] = []
    reading.start()
    written(client, outgoing)
    reading.join(10)
    topics = [topic for topic, _ in found]
    assert [topic for topic in topics if topic.startswith("job")] == [f"job/{n}" for n in range(20)]
    assert [topic for topic in topics if topic.startswith("block")] == [
        f"block/{n // 2}" for n in range(40)
    ]
    assert {len(payload) for topic, payload in found if topic.startswith("block")} == {40_000}
    link.close()


def test_without_a_connection_blocks_are_dropped_and_a_new_one_begins_with_a_packet(
    broker: Slow,
) -> None:
    client, outgoing, link = connected(broker)
    outgoing.put(packets.publish("lost", bytes(10_000_000)))
    assert outgoing.full
    link.close()
    while client.is_connected():
        client.loop_read()
    outgoing.forget()
    outgoing.put(packets.publish("lost", b"nobody hears it"))
    assert not outgoing.waits
    link = let_in(broker, client, outgoing)
    outgoing.put(packets.publish("heard", b"!"))
    assert read_packets(link, 1) == [("heard", b"!")]
    link.close()
