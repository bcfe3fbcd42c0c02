"""The Device Shadow service: AWS's answers over MQTT, and what boto3 reads of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from fleet_site import Site, refused
from fleet_world import NOW, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = "$aws/things/board-1/shadow/name/ota"


@pytest.fixture
def world(tmp_path: Path, database: str) -> World:
    made = World(tmp_path, database)
    made.things("board-1", "board-2")
    return made


def ask(world: World, operation: str, body: Any = None, root: str = ROOT) -> tuple[str, Any]:
    """The one answer to a request: accepted or rejected, and its message."""
    payload = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    world.ask_shadows(f"{root}/{operation}", payload)
    ((topic, message),) = world.sent()
    assert topic.startswith(f"{root}/{operation}/")
    assert message["timestamp"] == world.now
    return topic.rpartition("/")[2], message


def update(world: World, **state: Any) -> Any:
    answer, message = ask(world, "update", {"state": state})
    assert answer == "accepted", message
    return message


def state(world: World) -> Any:
    return ask(world, "get")[1]["state"]


def rejected(world: World, body: Any, operation: str = "update") -> tuple[int, str]:
    answer, message = ask(world, operation, body)
    assert answer == "rejected"
    return message["code"], message["message"]


@pytest.mark.compatibility(
    "10", "an update of a named shadow is answered with the change, its metadata and the version"
)
def test_an_update_is_accepted_with_what_it_changed(world: World) -> None:
    body = {"state": {"reported": {"version": "1.0.0", "tags": ["a"]}}, "clientToken": "t"}
    answer, message = ask(world, "update", body)
    assert answer == "accepted"
    stamp = {"timestamp": NOW}
    assert message == {
        "state": {"reported": {"version": "1.0.0", "tags": ["a"]}},
        "metadata": {"reported": {"version": stamp, "tags": [stamp]}},
        "version": 1,
        "timestamp": NOW,
        "clientToken": "t",
    }
    assert "clientToken" not in update(world, reported={"version": "1.1.0"})


@pytest.mark.compatibility(
    "10", "get answers with state, metadata and version; 404 where nothing was reported yet"
)
def test_get_answers_with_all_of_it_or_that_there_is_none(world: World) -> None:
    assert rejected(world, b"", "get") == (404, "No shadow exists with name: 'ota'")
    update(world, reported={"version": "1.0.0", "cause": "crash"})
    world.now += 5
    update(world, reported={"version": "1.1.0"})
    answer, message = ask(world, "get", {"clientToken": "g"})
    assert answer == "accepted"
    assert message == {
        "state": {"reported": {"version": "1.1.0", "cause": "crash"}},
        "metadata": {"reported": {"version": {"timestamp": NOW + 5}, "cause": {"timestamp": NOW}}},
        "version": 2,
        "timestamp": NOW + 5,
        "clientToken": "g",
    }


@pytest.mark.compatibility("10", "what is null goes, what is not named stays, a list is replaced")
def test_null_takes_a_value_away_and_what_is_not_named_stays(world: World) -> None:
    update(world, reported={"cause": "crash", "of": {"a": 1, "b": 2}, "list": [1, 2]})
    update(world, reported={"cause": None, "of": {"a": None}, "list": [3], "never": None})
    assert state(world) == {"reported": {"of": {"b": 2}, "list": [3]}}
    update(world, reported={"of": 7})
    update(world, reported={"of": {"timestamp": 1}})
    message = ask(world, "get")[1]
    assert message["metadata"]["reported"]["of"] == {"timestamp": {"timestamp": NOW}}
    update(world, reported=None)
    assert state(world) == {}


def test_what_is_desired_is_not_lost_to_reports(world: World) -> None:
    update(world, desired={"speed": 3})
    for number in range(3):
        update(world, reported={"speed": number})
    assert state(world) == {"desired": {"speed": 3}, "reported": {"speed": 2}}


@pytest.mark.compatibility("10", "a `version` that is not the shadow's: 409, Version conflict")
def test_another_version_than_the_shadows_is_refused(world: World) -> None:
    body = {"state": {"reported": {"a": 1}}, "version": 0}
    assert ask(world, "update", body)[0] == "accepted"
    assert rejected(world, body) == (409, "Version conflict")
    assert ask(world, "update", {**body, "version": 1})[0] == "accepted"


DEEP: Any = 1
for _ in range(7):
    DEEP = {"a": DEEP}


@pytest.mark.compatibility("10", "requests that are wrong are rejected with AWS's codes and words")
@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"nonsense", 400, "Invalid JSON"),
        (b"[]", 400, "Invalid JSON"),
        (b"\xff", 400, "Invalid JSON"),
        (b'{"state":{"reported":{"a":NaN}}}', 400, "Invalid JSON"),
        (b"[" * 8000, 400, "Invalid JSON"),
        (b'{"state":{"reported":{"a":' + b"9" * 7000 + b"}}}", 400, "Invalid JSON"),
        ({}, 400, "Missing required node: state"),
        ({"state": None}, 400, "State node must be an object"),
        ({"state": [1]}, 400, "State node must be an object"),
        ({"state": {"delta": {}}}, 400, "State contains an invalid node"),
        ({"state": {"reported": 1}}, 400, "Reported node must be an object"),
        ({"state": {"desired": []}}, 400, "Desired node must be an object"),
        ({"state": {"reported": DEEP}}, 400, "too many levels of nesting"),
        ({"state": {}, "version": "1"}, 400, "Invalid version"),
        ({"state": {}, "version": True}, 400, "Invalid version"),
        ({"state": {}, "version": 2**70}, 400, "Invalid version"),
        ({"state": {}, "clientToken": 1}, 400, "Invalid clientToken"),
        ({"state": {}, "clientToken": "x" * 65}, 400, "Invalid clientToken"),
        ({"state": {"reported": {"a": "x" * 8192}}}, 413, "exceeds the maximum size"),
    ],
)
def test_what_is_wrong_is_refused_with_a_code_and_changes_nothing(
    world: World, body: Any, code: int, words: str
) -> None:
    update(world, reported={"a": 1})
    found, message = rejected(world, body)
    assert found == code
    assert words in message
    assert state(world) == {"reported": {"a": 1}}


def test_a_shadow_does_not_grow_beyond_its_limit_by_many_small_updates(world: World) -> None:
    for number in range(8):
        update(world, reported={f"k{number}": "x" * 1000})
    assert rejected(world, {"state": {"reported": {"k8": "x" * 1000}}})[0] == 413
    assert len(state(world)["reported"]) == 8


def test_an_unknown_thing_gets_no_shadow(world: World) -> None:
    root = ROOT.replace("board-1", "board-9")
    for operation in ("update", "get"):
        answer, message = ask(world, operation, {"state": {"reported": {}}}, root)
        assert (answer, message["code"]) == ("rejected", 404)


def test_one_thing_neither_sees_nor_changes_anothers_shadow(world: World) -> None:
    update(world, reported={"version": "1.0.0"})
    other = ROOT.replace("board-1", "board-2")
    assert ask(world, "get", root=other)[0] == "rejected"
    ask(
        world, "update", {"state": {"reported": {"version": "evil"}}, "thingName": "board-1"}, other
    )
    assert state(world) == {"reported": {"version": "1.0.0"}}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=200) | _VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_answered_once(world: World, payload: bytes) -> None:
    ask(world, "update", payload)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.dictionaries(st.text(), _VALUES, max_size=4))
def test_whatever_is_reported_can_be_read_again_as_it_was(
    world: World, reported: dict[str, Any]
) -> None:
    update(world, reported=None)
    answer, message = ask(world, "update", json.dumps({"state": {"reported": reported}}).encode())
    if answer == "rejected":
        assert message["code"] == 400
        return
    assert ask(world, "get")[0] == "accepted"


# -- through boto3 ------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, database: str) -> Iterator[Site]:
    made = Site(tmp_path, database=database)
    made.world.things("board-1")
    yield made
    made.close()


@pytest.mark.compatibility("10", "`boto3` reads a shadow by GetThingShadow, and that there is none")
def test_awss_own_client_reads_the_shadow(site: Site) -> None:
    data = site.clients.client("iot-data")
    with pytest.raises(ClientError) as error:
        data.get_thing_shadow(thingName="board-1", shadowName="ota")
    assert refused(error) == ("ResourceNotFoundException", 404)
    update(site.world, reported={"version": "1.0.0", "name": "Käfig"}, desired={"speed": 3})
    answer = data.get_thing_shadow(thingName="board-1", shadowName="ota")
    found = json.loads(answer["payload"].read())
    assert found["state"] == {
        "reported": {"version": "1.0.0", "name": "Käfig"},
        "desired": {"speed": 3},
    }
    assert found["metadata"]["reported"]["version"] == {"timestamp": site.world.now}
    assert (found["version"], found["timestamp"]) == (1, site.world.now)
    for other in ({"shadowName": "other"}, {}):
        with pytest.raises(ClientError) as error:
            data.get_thing_shadow(thingName="board-1", **other)
        assert refused(error) == ("ResourceNotFoundException", 404)
