"""The link behaves alike on every version of umqtt.simple that a chip may have frozen.

The stand-ins of umqtt_versions.py have the versions' faults, which is shown first, with the
library's own client; then that the link made on each has none of them.
"""

from __future__ import annotations

import errno

import pytest
from fake_broker import CONNECT, PINGREQ, PUBACK, PUBLISH, SUBSCRIBE, FakeBroker, publish
from link_fixtures import PATIENT_MS, TIMEOUT_MS, MakeLink, broker, interpreter, make_link
from remote_link import PYPI_LIBRARY, LinkFailed, RemoteLink

__all__ = ["broker", "interpreter", "make_link"]

# PyPI's own file beside its stand-in: what holds for the one must hold for the other.
OLDEST = [PYPI_LIBRARY, "PyPI"]
VERSIONS = [*OLDEST, "1.3.4", "1.4.0", "1.6.0", "1.7.0", "1.8.0"]
MESSAGE = publish(b"topic", b"payload")
LONG = "t" * 200
LONG_FIELD = b"\x00\xc8" + LONG.encode()

each_version = pytest.mark.parametrize(
    "version", VERSIONS, ids=lambda version: "PyPI-itself" if "/" in version else version
)


def at_least(version: str, wanted: str) -> bool:
    """Say whether a version has what `wanted` brought."""
    return VERSIONS.index(version) >= VERSIONS.index(wanted)


def takes(client: RemoteLink, method: str, **options: object) -> bool:
    """Say whether the client has a method that takes these options."""
    try:
        getattr(client, method)(**options)
    except LinkFailed as failure:
        if failure.kind in ("AttributeError", "TypeError"):
            return False
        raise
    return True


# -- the library's own client, with the differences ---------------------------------------------


@pytest.fixture
def plain(make_link: MakeLink, broker: FakeBroker, version: str) -> RemoteLink:
    """The library's own client, connected."""
    client = make_link(broker.port, version=version, plain=True)
    client.connect()
    return client


@each_version
def test_the_library_tells_of_a_message_but_not_as_pypi_has_it(
    plain: RemoteLink, broker: FakeBroker, version: str
) -> None:
    broker.send(MESSAGE)
    assert plain.wait_msg() == (0x30 if at_least(version, "1.3.4") else None)
    assert plain.take_messages() == [(b"topic", b"payload")]


@each_version
def test_the_library_subscribes_to_long_topics_since_1_8(
    plain: RemoteLink, broker: FakeBroker, version: str
) -> None:
    plain.subscribe("t" * 100)
    if at_least(version, "1.8.0"):
        plain.subscribe(LONG)
        assert broker.wait_for(SUBSCRIBE, 2)[2:] == LONG_FIELD + b"\x00"
    else:
        with pytest.raises(LinkFailed, match="AssertionError"):
            plain.subscribe(LONG)


@each_version
def test_the_library_takes_a_timeout_since_1_5_and_unsubscribes_since_1_7(
    make_link: MakeLink, broker: FakeBroker, version: str
) -> None:
    client = make_link(broker.port, version=version, plain=True)
    if at_least(version, "1.6.0"):
        assert takes(client, "connect", timeout=5)
    else:
        assert not takes(client, "connect", timeout=5)
        client.connect()
    assert takes(client, "unsubscribe", topic="topic") == at_least(version, "1.7.0")


@each_version
def test_the_library_takes_parameters_of_tls_but_not_in_1_4(
    make_link: MakeLink, broker: FakeBroker, version: str
) -> None:
    if version == "1.4.0":
        with pytest.raises(AssertionError, match="process ended"):
            make_link(broker.port, version=version, plain=True, ssl_params={})
    else:
        make_link(broker.port, version=version, plain=True, ssl_params={})


@each_version
def test_the_library_falls_out_of_step_and_counts_characters(
    plain: RemoteLink, broker: FakeBroker, version: str
) -> None:
    broker.send(b"\x40\x02\x00\x63" + MESSAGE)
    assert [plain.wait_msg(), plain.wait_msg()] == [0x40, 0x02], "its length read as a packet"
    plain.publish("topic", "grüße")
    assert broker.wait_for(PUBLISH) != b"\x00\x05topic" + "grüße".encode()


# -- the link, without them ---------------------------------------------------------------------


@pytest.fixture
def link(make_link: MakeLink, broker: FakeBroker, version: str) -> RemoteLink:
    """A link made on a version of the library, connected."""
    made = make_link(broker.port, version=version, keepalive=30)
    made.connect()
    assert broker.wait_for(CONNECT) == b"\x00\x04MQTT\x04\x02\x00\x1e\x00\x06client"
    return made


@each_version
def test_subscriptions_of_any_length(link: RemoteLink, broker: FakeBroker, version: str) -> None:
    link.subscribe("topic")
    link.subscribe(LONG, 1)
    assert broker.wait_for(SUBSCRIBE, 1) == b"\x00\x01\x00\x05topic\x00"
    assert broker.wait_for(SUBSCRIBE, 2) == b"\x00\x02" + LONG_FIELD + b"\x01"
    link.unsubscribe(LONG)


@each_version
def test_messages_both_ways(link: RemoteLink, broker: FakeBroker, version: str) -> None:
    broker.send(MESSAGE + publish(b"topic", bytes(4096), pid=9))
    assert [link.check_msg(5000), link.check_msg(5000)] == [0x30, 0x32]
    assert link.take_messages() == [(b"topic", b"payload"), (b"topic", bytes(4096))]
    assert broker.wait_for(PUBACK) == b"\x00\x09"
    assert link.check_msg() is None
    link.publish("topic", "grüße")
    link.publish(b"topic", bytes(300), qos=1)
    assert broker.wait_for(PUBLISH, 1) == b"\x00\x05topic" + "grüße".encode()
    assert broker.wait_for(PUBLISH, 2) == b"\x00\x05topic\x00\x01" + bytes(300)


@each_version
def test_packet_ids_are_never_0(link: RemoteLink, broker: FakeBroker, version: str) -> None:
    link.set("pid", 65534)
    for _ in range(2):
        link.publish("topic", "text", qos=1)
    assert [body[7:9] for body in broker.bodies(PUBLISH)] == [b"\xff\xff", b"\x00\x01"]


@each_version
def test_unexpected_packets_and_pings(link: RemoteLink, broker: FakeBroker, version: str) -> None:
    broker.ahead = b"\x40\x02\x00\x63\xe0\x00\xb0\x02\x00\x63\xf0\x03abc"
    link.publish("topic", "text", qos=1)
    link.subscribe("topic")
    link.ping()
    broker.wait_for(PINGREQ)
    seen = []
    while 0xD0 not in seen:
        seen.append(link.check_msg(5000))
    assert seen == [0x40, 0xE0, 0xB0, 0xF0, 0xD0]
    broker.send(MESSAGE)
    assert link.check_msg(5000) == 0x30
    assert link.take_messages() == [(b"topic", b"payload")]


@each_version
def test_half_a_packet_ends_the_link_and_connect_begins_anew(
    link: RemoteLink, broker: FakeBroker, version: str
) -> None:
    link.set("_timeout_ms", TIMEOUT_MS)
    broker.send(MESSAGE[:7])
    with pytest.raises(LinkFailed, match="within the deadline") as caught:
        link.check_msg(5000)
    assert caught.value.number == errno.ETIMEDOUT
    link.set("_timeout_ms", PATIENT_MS)
    link.connect()
    broker.send(MESSAGE)
    assert link.check_msg(5000) == 0x30
    assert link.take_messages() == [(b"topic", b"payload")]
