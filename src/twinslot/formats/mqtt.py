"""The one packet of MQTT that the service writes itself: a message of QoS 0. Pure.

Source: MQTT 5, 1.5.5 (variable byte integer) and 3.3 (PUBLISH).
"""

_PUBLISH = b"\x30"  # QoS 0, not retained
_NO_PROPERTIES = b"\0"


def publish(topic: str, payload: bytes) -> bytes:
    """Return the packet that brings a message to the broker."""
    head = text(topic) + _NO_PROPERTIES
    return b"".join((_PUBLISH, variable(len(head) + len(payload)), head, payload))


def text(value: str) -> bytes:
    """Return a UTF-8 string as packets have it (MQTT 5, 1.5.4; the same in 3.1.1)."""
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def variable(number: int) -> bytes:
    """Return a variable byte integer, such as a packet's length (the same in 3.1.1)."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
