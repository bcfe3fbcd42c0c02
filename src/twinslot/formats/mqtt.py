"""The one packet of MQTT that the service writes itself: a message of QoS 0. Pure.

Source: MQTT 5, 1.5.5 (variable byte integer) and 3.3 (PUBLISH).
"""

_PUBLISH = b"\x30"  # QoS 0, not retained
_NO_PROPERTIES = b"\0"


def publish(topic: str, payload: bytes) -> bytes:
    """Return the packet that brings a message to the broker."""
    name = topic.encode()
    head = len(name).to_bytes(2, "big") + name + _NO_PROPERTIES
    return b"".join((_PUBLISH, _variable(len(head) + len(payload)), head, payload))


def _variable(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
