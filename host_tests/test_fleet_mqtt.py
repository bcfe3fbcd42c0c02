"""The bytes of MQTT that the service writes itself, held against the standard."""

import pytest

from twinslot.formats import mqtt


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_151, "ffff7f"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_a_length_takes_as_few_bytes_as_table_1_1_of_mqtt_5_says(number: int, encoded: str) -> None:
    assert mqtt.variable(number).hex() == encoded


def test_a_message_is_of_qos_0_not_retained_and_without_properties() -> None:
    """MQTT 5, 3.3: fixed header, length, topic name, length of the properties, payload."""
    packet = bytes((0x30, 9, 0, 4)) + "a/ü".encode() + bytes((0,)) + b"hi"
    assert mqtt.publish("a/ü", b"hi") == packet
