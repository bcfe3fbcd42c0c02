"""MQTT file streams: which blocks a request yields, in which bytes, and to whom."""

import json
import random
import time
from pathlib import Path
from typing import Any

import cbor2
import pytest
from fleet_world import World
from hypothesis import given
from hypothesis import strategies as st

from twinslot.service import streams
from twinslot.service.streams import StreamError, Window

FILE = random.Random(3).randbytes(10_000)
ROOT = "$aws/things/board-1/streams/s-1"
HEX = bytes.fromhex


@pytest.fixture
def world(tmp_path: Path, database: str) -> World:
    made = World(tmp_path, database)
    made.things("board-1", "board-2")
    made.stream("s-1", FILE, b"second" * 100, description="meter firmware")
    made.job("job-1", "board-1", stream_id="s-1")
    return made


def ask(world: World, operation: str, payload: Any, root: str = ROOT) -> list[tuple[str, Any]]:
    """The decoded answers, topics without the stream's root."""
    service = world.streams
    form = operation.partition("/")[2]
    if not isinstance(payload, bytes):
        payload = cbor2.dumps(payload) if form == "cbor" else json.dumps(payload).encode()
    answers = service.handle(f"{root}/{operation}", payload)
    service.flush()
    loads = cbor2.loads if form == "cbor" else json.loads
    return [(answer.topic.removeprefix(root + "/"), loads(answer.payload)) for answer in answers]


def code(world: World, request: Any, operation: str = "get/cbor", root: str = ROOT) -> str:
    ((topic, message),) = ask(world, operation, request, root)
    assert topic == "rejected/" + operation.partition("/")[2]
    assert message["m"]
    found: str = message["o"]
    return found


@pytest.mark.compatibility(
    "3",
    "CBOR as the agents of 2019 know it: indefinite map, keys `c f i l p`, a short last block",
    path="MQTT",
)
def test_a_block_has_the_bytes_that_agents_of_2019_know(world: World) -> None:
    service = world.streams
    # The request of V1.0.2 for this file, then one of 256-byte blocks without a token.
    request = HEX("a56163637264796166 00616c190400616f00616242ff03")
    answers = service.handle(f"{ROOT}/get/cbor", request)
    assert [answer.topic for answer in answers] == [f"{ROOT}/data/cbor"] * 10
    assert answers[3].payload == (
        HEX("bf616363726479616600616903616c1904006170590400") + FILE[3072:4096] + b"\xff"
    )
    last = cbor2.loads(answers[9].payload)
    assert last == {"c": "rdy", "f": 0, "i": 9, "l": 784, "p": FILE[9216:]}
    (answer,) = service.handle(f"{ROOT}/get/cbor", cbor2.dumps({"f": 0, "l": 256, "n": 1}))
    assert answer.payload == HEX("bf616600616900616c1901006170590100") + FILE[:256] + b"\xff"


@pytest.mark.compatibility(
    "3",
    "a block of 4096 bytes costs 24 bytes more, so that it fits the agents' buffers",
    path="MQTT",
)
def test_a_4096_byte_block_costs_24_bytes_more(world: World) -> None:
    service = world.streams
    request = HEX("a6616363726479616600616c191000616f00616241076 16e01".replace(" ", ""))
    (answer,) = service.handle(f"{ROOT}/get/cbor", request)
    assert len(answer.payload) == 4096 + 24


@pytest.mark.compatibility("3", "JSON requests are answered in JSON", path="MQTT")
def test_json_requests_are_answered_in_json(world: World) -> None:
    asked = {"s": 1, "f": 0, "l": 4096, "o": 2, "n": 1, "c": "j1"}
    ((topic, message),) = ask(world, "get/json", asked)
    assert topic == "data/json"
    assert list(message) == ["c", "f", "i", "l", "p"]
    assert (message["i"], message["l"]) == (2, 10_000 - 8192)
    blocks = ask(world, "get/json", {"f": 0, "l": 256, "o": 20, "b": "0x130080"})
    assert [message["i"] for _, message in blocks] == [20, 21, 24]  # 43 lies behind the end


@pytest.mark.compatibility("3", "DescribeStream, in CBOR and JSON", path="MQTT")
def test_a_stream_describes_itself(world: World) -> None:
    expected = {
        "s": 1,
        "d": "meter firmware",
        "r": [{"f": 0, "z": 10_000}, {"f": 1, "z": 600}],
    }
    assert ask(world, "describe/json", {"c": "d-1"}) == [
        ("description/json", {"c": "d-1", **expected})
    ]
    assert ask(world, "describe/cbor", {}) == [("description/cbor", expected)]
    service = world.streams
    (answer,) = service.handle(f"{ROOT}/describe/cbor", cbor2.dumps({"c": "t"}))
    assert answer.payload.startswith(HEX("bf61636174617301"))
    assert answer.payload.endswith(HEX("617282bf6166 00617a192710ffbf616601617a190258ffff"))


def test_a_stream_of_many_files_describes_all_of_them(world: World) -> None:
    world.stream("s-50", *[b"x"] * 50)
    world.job("job-50", "board-1", stream_id="s-50")
    ((_, message),) = ask(world, "describe/cbor", {}, "$aws/things/board-1/streams/s-50")
    assert len(message["r"]) == 50


@pytest.mark.compatibility(
    "3",
    "a stream is served to a thing while it has an open job that names it",
    path="MQTT",
    unlike="serves whom its policy allows",
    because="a board gets no image that nobody offers it",
)
@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "REJECTED"])
def test_a_stream_is_served_while_an_open_execution_names_it(world: World, status: str) -> None:
    request = {"f": 0, "l": 4096, "n": 1}
    theirs = "$aws/things/board-2/streams/s-1"
    nobodys = "$aws/things/nobody/streams/s-1"
    assert code(world, request, root=theirs) == "Unauthorized"
    assert code(world, request, root=nobodys) == "Unauthorized"
    assert code(world, {}, "describe/cbor", theirs) == "Unauthorized"
    world.job("job-2", "board-1", stream_id="s-2")
    for update in ("IN_PROGRESS", status):
        assert ask(world, "get/cbor", request)[0][0] == "data/cbor"
        body = json.dumps({"status": update}).encode()
        world.ask_jobs("$aws/things/board-1/jobs/job-1/update", body)
    assert code(world, request) == "Unauthorized"


def test_served_blocks_are_counted_per_execution(world: World) -> None:
    ask(world, "get/cbor", {"f": 0, "l": 1024, "o": 4, "n": 2})
    ask(world, "get/cbor", {"f": 0, "l": 1024, "n": 3})
    with world.store.read() as transaction:
        assert {thing: vars(count) for thing, count in transaction.served("job-1").items()} == {
            "board-1": {"blocks": 5, "up_to": 6144}
        }
    ask(world, "get/cbor", {"f": 0, "l": 1024, "o": 9})
    with world.store.read() as transaction:
        assert transaction.served("job-1")["board-1"].up_to == 10_000


@pytest.mark.compatibility("3", "an object that changed since: ETagMismatch", path="MQTT")
def test_an_object_that_changed_since_is_not_served(world: World) -> None:
    world.object("s-1-0", FILE + b"more")
    assert code(world, {"f": 0, "l": 4096}) == "ETagMismatch"


@pytest.mark.compatibility("3", "a wrong request is rejected with AWS's code", path="MQTT")
@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"l": 4096}, "InvalidRequest"),
        ({"f": 0}, "InvalidRequest"),
        ({"f": 0, "l": 255}, "BlockSizeOutOfBounds"),
        ({"f": 0, "l": 131073}, "BlockSizeOutOfBounds"),
        ({"f": 0, "l": "4096"}, "InvalidRequest"),
        ({"f": 0, "l": 4096.0}, "InvalidRequest"),
        ({"f": True, "l": 4096}, "InvalidRequest"),
        ({"f": 256, "l": 4096}, "InvalidRequest"),
        ({"f": 2, "l": 4096}, "ResourceNotFound"),
        ({"f": 0, "l": 4096, "o": 3}, "OffsetOutOfBounds"),
        ({"f": 0, "l": 4096, "o": 98305}, "OffsetOutOfBounds"),
        ({"f": 0, "l": 4096, "o": -1}, "OffsetOutOfBounds"),
        ({"f": 0, "l": 4096, "n": 98305}, "BlockCountLimitExceeded"),
        ({"f": 0, "l": 4096, "n": 0}, "InvalidRequest"),
        ({"f": 0, "l": 4096, "b": b"\0"}, "InvalidRequest"),
        ({"f": 0, "l": 4096, "b": "MQ=="}, "InvalidRequest"),
        ({"f": 0, "l": 4096, "b": bytes(12288)}, "BlockBitmapLimitExceeded"),
        ({"f": 0, "l": 4096, "s": 2}, "VersionMismatch"),
        ({"f": 0, "l": 4096, "s": 65536}, "InvalidRequest"),
        ({"f": 0, "l": 4096, "c": "t" * 65}, "InvalidRequest"),
        ({"f": 0, "l": 4096, "c": b"t"}, "InvalidRequest"),
        ([], "InvalidRequest"),
        (b"", "InvalidCbor"),
        (b"\xa1", "InvalidCbor"),
        (b"\x9a\xff\xff\xff\xff", "InvalidCbor"),
        (b"\x81" * 30_000, "InvalidCbor"),
        (b"\xc0\x61x", "InvalidCbor"),
        (b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01", "InvalidCbor"),
        (b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x03", "InvalidCbor"),
    ],
)
def test_a_wrong_request_is_rejected_with_its_code(
    world: World, request_: Any, expected: str
) -> None:
    assert code(world, request_) == expected


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b"[" * 30_000])
def test_json_that_is_none_is_rejected(world: World, payload: bytes) -> None:
    assert code(world, payload, "get/json") == "InvalidJson"


def test_a_request_that_takes_long_to_decode_is_rejected_unread(world: World) -> None:
    """A decimal fraction: its time grows with the square of its length, minutes for a megabyte."""
    slow = b"\xc4\x82\x00\xc2\x5a" + (100_000).to_bytes(4, "big") + b"\xfe" * 100_000
    began = time.monotonic()
    assert code(world, slow) == "InvalidRequest"
    assert time.monotonic() - began < 0.5
    assert code(world, b"[" + b"9" * 100_000 + b"]", "get/json") == "InvalidRequest"


def test_a_number_too_long_to_be_written_is_rejected(world: World) -> None:
    assert code(world, {"f": 1 << 20_000, "l": 4096, "b": b"\x01"}) == "InvalidRequest"


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("$aws/things/board-1/streams/s-1/get/cbor", True),
        ("$aws/things/board-1/jobs/streams/update", False),
        ("$aws/things/streams/jobs/$next/get", False),
        ("$aws/things/streams/streams/s-1/get/json", True),
    ],
)
def test_a_thing_or_a_job_may_be_called_streams(topic: str, expected: bool) -> None:
    assert streams.concerns(topic) == expected


@pytest.mark.compatibility(
    "3", "a rejection echoes the token, unless that is what is wrong", path="MQTT"
)
def test_a_rejection_echoes_the_token_unless_that_is_what_is_wrong(world: World) -> None:
    ((_, message),) = ask(world, "get/cbor", {"c": "rdy", "f": 9, "l": 4096})
    assert message["c"] == "rdy"
    ((_, message),) = ask(world, "get/cbor", {"c": "t" * 65})
    assert "c" not in message


def test_an_unknown_stream_is_not_found(world: World) -> None:
    where = "$aws/things/board-1/streams/s-9"
    assert code(world, {"f": 0, "l": 4096}, root=where) == "ResourceNotFound"


@pytest.mark.parametrize(
    "topic",
    [
        f"{ROOT}/get/xml",
        f"{ROOT}/put/cbor",
        "$aws/things//streams/s-1/get/cbor",
        "$aws/things/board-1/streams/a.b/get/cbor",
        "$aws/things/board-1/streams/s-1/get",
    ],
)
def test_a_topic_that_nobody_listens_behind_is_refused(world: World, topic: str) -> None:
    with pytest.raises(StreamError) as error:
        world.streams.handle(topic, b"")
    assert error.value.code == "InvalidTopic"


@pytest.mark.compatibility(
    "3",
    "the bitmap of AWS's developer guide: least significant bit first, from `o` on",
    path="MQTT",
)
def test_the_example_of_the_developer_guide() -> None:
    window = Window(0, 256, origin=20, bitmap=HEX("130080"))
    assert list(window.indexes(100 * 256)) == [20, 21, 24, 43]


@pytest.mark.compatibility(
    "3",
    "the bitmap `MQ==` that FreeRTOS's modular library always sends is taken literally",
    path="MQTT",
)
def test_the_bitmap_that_the_modular_library_always_sends_is_taken_literally() -> None:
    assert list(Window(0, 256, 7, 1, b"MQ==").indexes(10**6)) == [7]
    assert list(Window(0, 256, 0, 5, b"MQ==").indexes(10**6)) == [0, 2, 3, 6, 8]


@pytest.mark.compatibility("3", "one request yields at most 128 KB", path="MQTT")
@pytest.mark.parametrize(("size", "most"), [(4096, 32), (1024, 128), (131072, 1), (100_000, 1)])
def test_one_request_yields_at_most_128_kilobytes(size: int, most: int) -> None:
    assert list(Window(0, size).indexes(10**7)) == list(range(most))


@pytest.mark.compatibility(
    "3", "blocks are those of bitmap, `o` and `n`, ascending, within file and cap", path="MQTT"
)
@given(
    st.integers(1, 200_000),
    st.integers(256, 9000),
    st.integers(0, 800),
    st.none() | st.integers(0, 500),
    st.none() | st.binary(max_size=40),
)
def test_blocks_are_those_asked_for_ascending_and_within_file_count_and_cap(
    file_size: int, size: int, origin: int, count: int | None, bitmap: bytes | None
) -> None:
    total = -(-file_size // size)
    asked = [
        index
        for index in range(origin, total)
        if bitmap is None
        or (
            ((index - origin) // 8 < len(bitmap))
            and bitmap[(index - origin) // 8] >> ((index - origin) % 8) & 1
        )
    ]
    expected = asked[: 131072 // size if count is None else min(count, 131072 // size)]
    try:
        assert list(Window(0, size, origin, count, bitmap).indexes(file_size)) == expected
    except StreamError as error:
        assert (error.code == "OffsetOutOfBounds") == (origin >= total)  # noqa: PT017
        assert expected == []


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_rejected(data: bytes) -> None:
    for form in ("cbor", "json"):
        try:
            streams._FORMS[form].loads(data)
        except StreamError as error:
            assert error.code.lower() == "invalid" + form  # noqa: PT017
