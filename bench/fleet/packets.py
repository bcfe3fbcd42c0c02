"""MQTT 3.1.1 packets of a client that asks at QoS 0 or 1 and is answered at QoS 0. Pure.

Source: MQTT 3.1.1, chapters 2 and 3. Nothing is checked: the other side is the benchmark's broker.
"""

from __future__ import annotations

from twinslot.formats import mqtt

PUBLISH = 3
"""Type of the packet that carries a message."""
CONNECT_ACK, SUBSCRIBE_ACK = 2, 9

_KEEPALIVE = 600  # seconds; no run takes as long, so that nobody has to ping


def connect(client_id: str) -> bytes:
    """Return a CONNECT with a clean session."""
    variable = mqtt.text("MQTT") + bytes([4, 2]) + _KEEPALIVE.to_bytes(2, "big")
    return _packet(0x10, variable + mqtt.text(client_id))


def subscribe(topics: list[str]) -> bytes:
    """Return a SUBSCRIBE for topics, each at QoS 0."""
    return _packet(0x82, b"\0\1" + b"".join(mqtt.text(topic) + b"\0" for topic in topics))


def publish(topic: str, payload: bytes) -> bytes:
    """Return a PUBLISH at QoS 0."""
    return _packet(0x30, mqtt.text(topic) + payload)


def publish_acknowledged(topic: str, payload: bytes, number: int) -> bytes:
    """Return a PUBLISH at QoS 1. number: of the packet, 1 to 65535."""
    return _packet(0x32, mqtt.text(topic) + number.to_bytes(2, "big") + payload)


def split(data: bytes) -> tuple[list[tuple[int, int, int]], int]:
    """Return the packets in `data` (type, start of its body, end), and where the rest begins."""
    found = []
    at, end = 0, len(data)
    while end - at >= 2:
        body, shift, length = at + 1, 0, 0
        while body < end:
            byte = data[body]
            body += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        else:
            break
        if body + length > end:
            break
        found.append((data[at] >> 4, body, body + length))
        at = body + length
    return found, at


def payload_at(data: bytes, body: int) -> int:
    """Return where the payload of a PUBLISH at QoS 0 begins. body: start of the packet's body."""
    return body + 2 + (data[body] << 8 | data[body + 1])


def topic_of(data: bytes, body: int) -> str:
    """Return the topic of a PUBLISH. body: start of the packet's body."""
    return data[body + 2 : payload_at(data, body)].decode()


def _packet(head: int, body: bytes) -> bytes:
    return bytes([head]) + mqtt.variable(len(body)) + body
