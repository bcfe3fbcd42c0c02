"""No call of the link waits longer than its deadline; nothing a broker sends puts it out of step.

Against a broker that misbehaves, under MicroPython and CPython.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_broker import (
    CONNECT,
    PINGREQ,
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    UNSUBSCRIBE,
    FakeBroker,
    length,
    publish,
)
from link_fixtures import (
    PATIENT_MS,
    SLACK_MS,
    TIMEOUT_MS,
    MakeLink,
    broker,
    interpreter,
    link,
    make_link,
    need,
)
from local_ca import LocalCA
from remote_link import LinkFailed, RemoteLink

__all__ = ["broker", "interpreter", "link", "make_link"]

MESSAGE = publish(b"topic", b"payload", pid=7)

# What a client that asked for nothing of the kind may still receive.
UNEXPECTED = {
    "late PUBACK": b"\x40\x02\x00\x63",
    "PUBREC": b"\x50\x02\x00\x63",
    "late SUBACK": b"\x90\x03\x00\x63\x80",
    "SUBACK of nothing": b"\x90\x00",
    "UNSUBACK": b"\xb0\x02\x00\x63",
    "PINGRESP": b"\xd0\x00",
    "DISCONNECT": b"\xe0\x00",
    "MQTT 5's DISCONNECT": b"\xe0\x02\x8e\x00",
    "MQTT 5's AUTH": b"\xf0\x05\x18\x03\x15\x00\x00",
    "no type at all": b"\x00\x81\x01" + bytes(129),
}


def fails_in_time(link: RemoteLink, method: str, *arguments: object) -> LinkFailed:
    """Call what must fail at the deadline, not much before and not much later."""
    link.set("_timeout_ms", TIMEOUT_MS)
    with pytest.raises(LinkFailed) as caught:
        getattr(link, method)(*arguments)
    link.set("_timeout_ms", PATIENT_MS)
    assert caught.value.is_os_error
    assert TIMEOUT_MS - 100 <= link.ms <= TIMEOUT_MS + SLACK_MS
    return caught.value


def repeat_until_failure(link: RemoteLink, method: str, *arguments: object) -> LinkFailed:
    """Make the same call again and again until it fails."""
    for _ in range(200):
        try:
            getattr(link, method)(*arguments)
        except LinkFailed as failure:
            return failure
    raise AssertionError(f"{method} never failed")


def next_message(link: RemoteLink) -> tuple[bytes, bytes]:
    """Let the link handle packets until a message came."""
    deadline = time.monotonic() + 5
    while not link.messages:
        assert time.monotonic() < deadline, "no message came"
        link.check_msg(200)
    return link.take_messages()[0]


@contextlib.contextmanager
def endless(broker: FakeBroker, piece: bytes, pause_s: float) -> Iterator[None]:
    """Send a piece again and again, until the link is gone."""

    def send() -> None:
        with contextlib.suppress(OSError):
            while True:
                broker.send(piece, pause_s)

    sender = threading.Thread(target=send)
    sender.start()
    yield
    sender.join(10)
    assert not sender.is_alive(), "the link goes on"


def written(link: RemoteLink) -> bool:
    """Let the link write what waits; says whether TCP has taken all of it."""
    return bool(link._call("sock.flush"))


# -- silence ----------------------------------------------------------------------------------


def test_a_packet_that_stops_anywhere_ends_the_link_at_the_deadline(
    link: RemoteLink, broker: FakeBroker
) -> None:
    # In the fixed header, topic's length, topic, packet id, payload.
    for cut in (1, 2, 3, 6, 9, 10, 12):
        broker.send(MESSAGE[:cut])
        failure = fails_in_time(link, "check_msg", 5000)
        assert failure.text == "the broker did not go on within the deadline"
        assert failure.number == errno.ETIMEDOUT
        assert link.messages == []
        link.connect()


def test_the_end_of_the_connection_in_mid_packet_is_an_os_error_at_once(
    link: RemoteLink, broker: FakeBroker
) -> None:
    for cut in range(len(MESSAGE)):
        broker.send(MESSAGE[:cut])
        broker.hang_up()
        with pytest.raises(LinkFailed, match=r"the broker close[ds] the link") as caught:
            link.check_msg(5000)
        assert caught.value.kind == "MQTTError" and caught.value.is_os_error
        link.connect()


def test_a_link_that_the_broker_closes_again_and_again_asks_for_a_second_board_of_its_name(
    link: RemoteLink, broker: FakeBroker
) -> None:
    said = []
    for _ in range(5):
        broker.hang_up()
        with pytest.raises(LinkFailed) as caught:
            link.check_msg(5000)
        said.append("has another board this name?" in caught.value.text)
        link.connect()
    assert said == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("silent", "call"),
    [
        (PUBLISH, ("publish", "topic", "text", False, 1)),
        (SUBSCRIBE, ("subscribe", "topic", 1)),
        (UNSUBSCRIBE, ("unsubscribe", "topic")),
    ],
)
def test_an_answer_that_never_comes_ends_the_call_at_the_deadline(
    link: RemoteLink, broker: FakeBroker, silent: int, call: tuple[object, ...]
) -> None:
    broker.silent.add(silent)
    fails_in_time(link, *call)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("silent", "call"),
    [
        (PUBLISH, ("publish", "topic", "text", False, 1)),
        (SUBSCRIBE, ("subscribe", "topic", 1)),
        (UNSUBSCRIBE, ("unsubscribe", "topic")),
    ],
)
def test_a_link_that_does_not_wait_goes_on_at_once_and_ends_without_the_answer(
    make_link: MakeLink, broker: FakeBroker, silent: int, call: tuple[object, ...]
) -> None:
    link = make_link(broker.port, waits=False)
    link.connect()
    link.set("_timeout_ms", TIMEOUT_MS)
    broker.silent.add(silent)
    getattr(link, str(call[0]))(*call[1:])
    assert link.ms < TIMEOUT_MS // 2
    broker.wait_for(silent)
    broker.send(MESSAGE)
    assert next_message(link) == (b"topic", b"payload")
    failure = repeat_until_failure(link, "check_msg", 50)
    assert "the broker does not answer" in failure.text
    assert failure.number == errno.ETIMEDOUT


def test_a_link_that_does_not_wait_lives_on_when_every_answer_comes(
    make_link: MakeLink, broker: FakeBroker
) -> None:
    link = make_link(broker.port, waits=False)
    link.connect()
    link.set("_timeout_ms", TIMEOUT_MS)
    link.publish("topic", "text", qos=1)
    link.subscribe("topic", 1)
    link.unsubscribe("topic")
    broker.wait_for(UNSUBSCRIBE)
    broker.send(MESSAGE)
    assert next_message(link) == (b"topic", b"payload")
    for _ in range(2 * TIMEOUT_MS // 50):
        link.check_msg(50)


@contextlib.contextmanager
def chatter(broker: FakeBroker) -> Iterator[None]:
    """Let messages come all the time."""
    done = threading.Event()

    def talk() -> None:
        with contextlib.suppress(OSError):  # the link has given up
            while not done.wait(0.01):
                broker.send(publish(b"topic", b"text"))

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("waits", [True, False])
def test_an_answer_that_never_comes_ends_the_link_though_messages_come(
    make_link: MakeLink, broker: FakeBroker, waits: bool
) -> None:
    link = make_link(broker.port, waits=waits)
    link.connect()
    link.set("_timeout_ms", TIMEOUT_MS)
    broker.silent.add(PUBLISH)
    with chatter(broker):
        if waits:
            failure = repeat_until_failure(link, "publish", "topic", "text", False, 1)
            assert link.ms <= TIMEOUT_MS + SLACK_MS
        else:
            link.publish("topic", "text", qos=1)
            failure = repeat_until_failure(link, "check_msg", 50)
            assert failure.text == "the broker does not answer"
    assert failure.number == errno.ETIMEDOUT


def test_messages_are_as_good_a_sign_of_life_as_the_answer_to_a_ping(
    link: RemoteLink, broker: FakeBroker
) -> None:
    """It waits behind them on a slow link."""
    link.set("_timeout_ms", TIMEOUT_MS)
    broker.silent.add(PINGREQ)
    link.ping()
    with chatter(broker):
        end = time.monotonic() + 4 * TIMEOUT_MS / 1000
        while time.monotonic() < end:
            link.check_msg(200)
    assert "does not answer" in repeat_until_failure(link, "check_msg", 50).text


def test_what_could_not_be_sent_is_not_waited_for(make_link: MakeLink, broker: FakeBroker) -> None:
    link = make_link(broker.port, waits=False)
    link.connect()
    link.set("_timeout_ms", TIMEOUT_MS)
    with pytest.raises(LinkFailed) as caught:
        link.publish("topic", 5, qos=1)
    assert caught.value.kind == "TypeError"
    for _ in range(2 * TIMEOUT_MS // 50):
        link.check_msg(50)


def test_a_broker_that_does_not_read_ends_publish_at_the_deadline(
    link: RemoteLink, broker: FakeBroker
) -> None:
    broker.reading = False
    link.set("_timeout_ms", TIMEOUT_MS)
    failure = repeat_until_failure(link, "publish", "topic", bytes(200_000))
    assert failure.number == errno.ETIMEDOUT
    assert link.ms <= TIMEOUT_MS + SLACK_MS


def test_a_server_that_never_answers_connect_is_given_up(
    make_link: MakeLink, broker: FakeBroker
) -> None:
    broker.connack = None
    fails_in_time(make_link(broker.port), "connect")


def test_half_a_connack_is_given_up(make_link: MakeLink, broker: FakeBroker) -> None:
    broker.connack = b"\x20\x02\x00"
    fails_in_time(make_link(broker.port), "connect")


@pytest.mark.parametrize("trickle", [False, True])
def test_a_tls_handshake_that_never_ends_is_given_up(
    make_link: MakeLink, trickle: bool, tls_files: list[Path]
) -> None:
    """Also when its bytes keep coming: a timeout of the socket alone would wait for ever."""
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            header = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"
            at = 0
            while not done.wait(0.05):
                if trickle:
                    try:
                        client.send(header[at : at + 1] or b"\x00")
                    except OSError:
                        return
                at += 1

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        link = make_link(listener.getsockname()[1], tls=tls_files)
        try:
            fails_in_time(link, "connect")
        finally:
            done.set()
            thread.join()


@pytest.fixture
def tls_files(tmp_path: Path) -> list[Path]:
    ca = LocalCA(tmp_path)
    return [ca.path, *ca.issue("client")]


def test_slow_bytes_within_the_deadline_are_a_message(link: RemoteLink, broker: FakeBroker) -> None:
    sender = threading.Thread(target=broker.send, args=[MESSAGE, 0.02])
    sender.start()
    assert next_message(link) == (b"topic", b"payload")
    sender.join()


def test_slow_bytes_beyond_the_deadline_end_the_link(link: RemoteLink, broker: FakeBroker) -> None:
    """The deadline is the whole packet's; it does not start again with every byte."""

    def trickle() -> None:
        with contextlib.suppress(OSError):  # the link has given up
            broker.send(publish(b"topic", bytes(100)), 0.05)

    sender = threading.Thread(target=trickle)
    sender.start()
    assert "within the deadline" in fails_in_time(link, "check_msg", 5000).text
    sender.join()


# -- pings ------------------------------------------------------------------------------------


def test_a_ping_without_an_answer_ends_the_link(link: RemoteLink, broker: FakeBroker) -> None:
    broker.silent.add(PINGREQ)
    link.set("_timeout_ms", TIMEOUT_MS)
    link.ping()
    failure = repeat_until_failure(link, "check_msg", 50)
    assert failure.text == "the broker does not answer"
    assert failure.number == errno.ETIMEDOUT


def test_an_answered_ping_keeps_the_link(link: RemoteLink, broker: FakeBroker) -> None:
    link.set("_timeout_ms", TIMEOUT_MS)
    link.ping()
    broker.wait_for(PINGREQ)
    assert link.check_msg(5000) == 0xD0
    time.sleep(TIMEOUT_MS / 1000 + 0.1)
    assert link.check_msg() is None


def test_an_answer_that_waited_for_a_busy_program_counts(
    link: RemoteLink, broker: FakeBroker
) -> None:
    """Flash may be erased or an image verified while answers lie in the socket."""
    link.set("_timeout_ms", TIMEOUT_MS)
    link.ping()
    broker.wait_for(PINGREQ)
    broker.send(MESSAGE)
    time.sleep(TIMEOUT_MS / 1000 + 0.1)
    assert link.check_msg(1000) == 0xD0
    assert next_message(link) == (b"topic", b"payload")


@pytest.mark.slow
def test_check_msg_pings_at_half_the_keepalive(make_link: MakeLink, broker: FakeBroker) -> None:
    link = make_link(broker.port, keepalive=1)
    link.connect()
    assert broker.wait_for(CONNECT)[8:10] == b"\x00\x0a", "keepalive is at least 10 s"
    began = time.monotonic()
    while not broker.bodies(PINGREQ):
        link.check_msg(100)
        assert time.monotonic() - began < 8
    assert time.monotonic() - began > 4


# -- in step ----------------------------------------------------------------------------------


def test_packets_nobody_waits_for_are_read_to_their_end(
    link: RemoteLink, broker: FakeBroker
) -> None:
    for name, packet in UNEXPECTED.items():
        broker.send(packet + MESSAGE)
        assert link.check_msg(5000) == packet[0], name
        assert next_message(link) == (b"topic", b"payload"), name


def test_packets_nobody_waits_for_do_not_disturb_those_awaited(
    link: RemoteLink, broker: FakeBroker
) -> None:
    broker.ahead = b"".join(UNEXPECTED.values()) + MESSAGE
    link.publish("topic", "text", qos=1)
    link.subscribe("topic", 1)
    link.unsubscribe("topic")
    assert link.take_messages() == [(b"topic", b"payload")] * 3
    broker.wait_for(PUBACK, 3)


def test_a_message_too_long_is_skipped_and_acknowledged_and_the_next_one_arrives(
    link: RemoteLink, broker: FakeBroker
) -> None:
    broker.send(publish(b"topic", bytes(1001), pid=8) + publish(b"topic", bytes(1000)))
    assert next_message(link) == (b"topic", bytes(1000))
    assert broker.wait_for(PUBACK) == b"\x00\x08"
    assert len(link.messages) == 0


@pytest.mark.parametrize(
    "nonsense",
    [b"\x30\x03\x00\x09ab", b"\x32\x04\x00\x02ab", b"\x30\xff\xff\xff\xff\x01"],
    ids=["PUBLISH shorter than its topic", "PUBLISH without its id", "length of five bytes"],
)
def test_what_is_no_mqtt_ends_the_link_with_a_sentence(
    link: RemoteLink, broker: FakeBroker, nonsense: bytes
) -> None:
    broker.send(nonsense)
    with pytest.raises(LinkFailed, match="not MQTT") as caught:
        link.check_msg(5000)
    assert caught.value.is_os_error
    assert link.messages == []


@pytest.mark.parametrize("pause_s", [0, 0.05], ids=["as fast as it can", "20 pieces a second"])
def test_a_packet_of_200_mb_ends_the_link_at_the_deadline_while_its_bytes_come(
    make_link: MakeLink, broker: FakeBroker, pause_s: float
) -> None:
    link = make_link(broker.port, timeout_ms=TIMEOUT_MS)
    link.connect()
    broker.send(b"\x30" + length(200_000_000) + b"\x00\x05topic")
    # Larger pieces bring the whole packet before the deadline where loopback is quick.
    with endless(broker, bytes(1024 if not pause_s else 1), pause_s):
        failure = fails_in_time(link, "check_msg", 5000)
        assert failure.text == "the broker did not go on within the deadline"


def test_without_waiting_no_publish_waits_for_a_broker_that_reads_nothing(
    make_link: MakeLink, broker: FakeBroker
) -> None:
    link = make_link(broker.port, waits=False, timeout_ms=PATIENT_MS)
    link.connect()
    link.subscribe("before", 1)
    broker.wait_for(SUBSCRIBE)
    link.check_msg(5000)
    broker.reading = False
    broker.send(publish(b"go", b"on"))  # the broker reads one packet more before it stops
    while written(link):
        link.publish("topic", bytes(8192), qos=0)
    for number in range(4):
        link.publish("topic", f"waits {number}", qos=0)
        assert link.ms < 400
    broker.reading = True
    for _ in range(200):
        link.check_msg(20)
        if any(body.endswith(b"waits 3") for body in broker.bodies(PUBLISH)):
            break
    told = [body[7:] for body in broker.bodies(PUBLISH) if b"waits" in body]
    assert told == [b"waits 0", b"waits 1", b"waits 2", b"waits 3"], "in their order, and whole"


def test_after_an_error_the_link_stays_closed_until_connect(
    link: RemoteLink, broker: FakeBroker
) -> None:
    """Else the next call would take the rest of a packet for the beginning of one."""
    broker.send(MESSAGE[:5])
    fails_in_time(link, "check_msg", 5000)
    with contextlib.suppress(OSError):  # nobody listens any more
        broker.send(MESSAGE[5:])
    for call in (("check_msg", 200), ("publish", "topic", "text"), ("ping",)):
        with pytest.raises(LinkFailed) as caught:
            getattr(link, call[0])(*call[1:])
        assert caught.value.is_os_error
    assert link.messages == []
    link.connect()
    broker.send(MESSAGE)
    assert next_message(link) == (b"topic", b"payload")


def test_the_callback_may_publish_and_subscribe_while_a_publish_waits(
    link: RemoteLink, broker: FakeBroker
) -> None:
    """The inner call reads the outer one's answer; it must not be lost."""
    broker.silent.add(PUBLISH)
    link.in_callback(
        ("publish", "inner", "text", False, 0), ("subscribe", "more"), ("unsubscribe", "more")
    )

    def answer() -> None:
        broker.wait_for(PUBLISH)
        broker.send(MESSAGE)
        broker.wait_for(SUBSCRIBE)

    broker.ahead = b"\x40\x02\x00\x01"  # the outer answer comes ahead of the inner SUBACK
    thread = threading.Thread(target=answer)
    thread.start()
    link.publish("outer", "text", qos=1)
    thread.join()
    assert len(broker.bodies(UNSUBSCRIBE)) == 1
    assert link.take_messages() == [(b"topic", b"payload")]


def test_an_error_of_the_callback_s_own_is_not_the_link_s(
    link: RemoteLink, broker: FakeBroker
) -> None:
    link.in_callback(("no_such_method",))
    broker.send(MESSAGE + publish(b"topic", b"next"))
    with pytest.raises(LinkFailed) as caught:
        link.check_msg(5000)
    assert caught.value.kind == "AttributeError" and not caught.value.is_os_error
    assert PUBACK not in {kind for kind, _, _ in broker.received}, "it will be sent again"
    link.take_messages()
    assert next_message(link) == (b"topic", b"next")


def test_a_packet_without_memory_for_it_ends_the_link_not_the_program(broker: FakeBroker) -> None:
    need("micropython")
    with RemoteLink("micropython", broker.port) as link:
        link.connect()
        with pytest.raises(LinkFailed, match="memory is short") as caught:
            link.subscribe(bytes(3_000_000))
        assert caught.value.kind == "MQTTError" and caught.value.is_os_error
        link.connect()


# -- what is sent -----------------------------------------------------------------------------


def test_packet_ids_go_from_65535_to_1(link: RemoteLink, broker: FakeBroker) -> None:
    link.set("pid", 65533)
    for _ in range(2):
        link.publish("topic", "text", qos=1)
        link.subscribe("topic")
    ids = [body[7:9] for body in broker.bodies(PUBLISH)]
    ids += [body[:2] for body in broker.bodies(SUBSCRIBE)]
    assert sorted(ids) == [b"\x00\x01", b"\x00\x02", b"\xff\xfe", b"\xff\xff"]


@pytest.mark.parametrize("size", [0, 1, 122, 123, 127, 128, 200, 16_384, 65_535])
def test_topics_of_any_length_subscribe(link: RemoteLink, broker: FakeBroker, size: int) -> None:
    link.subscribe("t" * size, 1)
    link.unsubscribe("t" * size)
    field = size.to_bytes(2, "big") + b"t" * size
    assert broker.wait_for(SUBSCRIBE)[2:] == field + b"\x01"
    assert broker.wait_for(UNSUBSCRIBE)[2:] == field


def test_texts_hold_any_character(link: RemoteLink, broker: FakeBroker) -> None:
    link.publish("straße", "grüße €")
    link.subscribe("straße")
    field = b"\x00\x07" + "straße".encode()
    assert broker.wait_for(PUBLISH) == field + "grüße €".encode()
    assert broker.wait_for(SUBSCRIBE)[2:] == field + b"\x00"


@pytest.mark.parametrize("size", [0, 118, 119, 16_374, 16_375, 300_000])
def test_payloads_of_any_length_are_published(
    make_link: MakeLink, broker: FakeBroker, size: int
) -> None:
    link = make_link(broker.port)
    link.connect()
    link.publish(b"topic", bytes(size), True)
    link.publish(b"topic", bytes(size), qos=1)
    assert broker.wait_for(PUBLISH, 1) == b"\x00\x05topic" + bytes(size)
    assert broker.wait_for(PUBLISH, 2) == b"\x00\x05topic\x00\x01" + bytes(size)
    assert [flags for kind, flags, _ in broker.received if kind == PUBLISH] == [1, 2]


def test_connect_says_who_how_and_what_to_say_when_it_dies(
    make_link: MakeLink, broker: FakeBroker
) -> None:
    link = make_link(broker.port, user="usér", password="secret", keepalive=100_000)
    link.set_last_will("will", "gone", True, 1)
    link.connect(False)
    fields = b"".join(
        len(text.encode()).to_bytes(2, "big") + text.encode()
        for text in ("client", "will", "gone", "usér", "secret")
    )
    assert broker.wait_for(CONNECT) == b"\x00\x04MQTT\x04\xec\xff\xff" + fields


def test_quality_of_service_2_is_refused_before_anything_is_sent(
    link: RemoteLink, broker: FakeBroker
) -> None:
    for call in (("publish", "topic", "text", False, 2), ("subscribe", "topic", 2)):
        with pytest.raises(LinkFailed, match="qos must be 0 or 1") as caught:
            getattr(link, str(call[0]))(*call[1:])
        assert caught.value.kind == "ValueError"
    link.publish("topic", "text", qos=1)
    assert len(broker.received) == 2


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (1, "the broker does not speak MQTT 3.1.1"),
        (2, "the broker refuses this client id"),
        (3, "the broker's MQTT service is not available"),
        (4, "the broker refuses user name or password"),
        (5, "the broker does not let this client in"),
        (99, "the broker refuses the connection"),
    ],
)
def test_a_refused_connection_says_why(
    make_link: MakeLink, broker: FakeBroker, code: int, sentence: str
) -> None:
    broker.connack = bytes([0x20, 2, 0, code])
    link = make_link(broker.port)
    with pytest.raises(LinkFailed) as caught:
        link.connect()
    assert caught.value.text == sentence and caught.value.is_os_error
    broker.connack = b"\x20\x02\x01\x00"
    assert link.connect() == 1, "the broker kept a session"


def test_a_server_that_speaks_something_else_is_no_broker(
    make_link: MakeLink, broker: FakeBroker
) -> None:
    broker.connack = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(LinkFailed, match="not MQTT"):
        make_link(broker.port).connect()


def test_a_refused_subscription_names_the_topic(link: RemoteLink, broker: FakeBroker) -> None:
    broker.granted = 0x80
    with pytest.raises(LinkFailed, match="refuses the subscription to some/topic") as caught:
        link.subscribe("some/topic")
    assert caught.value.is_os_error


def test_a_link_that_does_not_wait_names_a_refused_subscription_later(
    make_link: MakeLink, broker: FakeBroker
) -> None:
    broker.granted = 0x80
    link = make_link(broker.port, waits=False)
    link.connect()
    link.subscribe("some/topic", 1)
    with pytest.raises(LinkFailed, match="refuses the subscription to some/topic") as caught:
        link.check_msg(5000)
    assert caught.value.is_os_error


def test_without_a_broker_the_pauses_grow_and_a_good_link_ends_them(
    make_link: MakeLink, broker: FakeBroker
) -> None:
    with socket.socket() as bound:  # bound and not listening: refuses
        bound.bind(("127.0.0.1", 0))
        link = make_link(bound.getsockname()[1])
        pauses = []
        for _ in range(8):
            with pytest.raises(LinkFailed) as caught:
                link.connect()
            assert caught.value.is_os_error
            pauses.append(link.pause_ms())
    longest = [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    link.set("_address", ["127.0.0.1", broker.port])
    link.connect()
    assert 500 <= link.pause_ms() <= 1000


def test_boards_that_lost_one_broker_do_not_come_back_in_step(make_link: MakeLink) -> None:
    link = make_link(1)
    pauses = sorted(link.pause_ms() for _ in range(100))
    assert len(set(pauses)) > 50
    assert pauses[0] < 650
    assert pauses[-1] > 850


def test_before_connect_every_call_says_so(make_link: MakeLink, broker: FakeBroker) -> None:
    link = make_link(broker.port)
    for call in (("check_msg",), ("publish", "topic", "text"), ("disconnect",)):
        with pytest.raises(LinkFailed, match="the link is not connected") as caught:
            getattr(link, call[0])(*call[1:])
        assert caught.value.is_os_error


def test_disconnect_says_good_bye(link: RemoteLink, broker: FakeBroker) -> None:
    link.disconnect()
    assert broker.wait_for(0xE0) == b""
