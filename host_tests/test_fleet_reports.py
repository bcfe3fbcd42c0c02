"""What boards say of themselves, from a simulated board by real broker and service to people."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from fleet_service import until
from link_fixtures import need
from paho.mqtt.enums import CallbackAPIVersion
from test_looking_inside import Person

from demo import children
from demo.stack import THING, Stack
from twinslot import gate

ALL_SHADOWS = "$aws/things/+/shadow/#"


def shadow(stack: Stack) -> dict[str, Any]:
    """What AWS's own client reads: `state.reported`, {} before the first report."""
    data = stack.clients.client("iot-data")
    try:
        answer = data.get_thing_shadow(thingName=THING, shadowName="ota")
    except data.exceptions.ResourceNotFoundException:
        return {}
    found: dict[str, Any] = json.loads(answer["payload"].read())["state"]["reported"]
    return found


def wait_reported(stack: Stack, **expected: Any) -> dict[str, Any]:
    """Wait until the board has reported these values. Returns all that it reported."""

    def found() -> dict[str, Any] | None:
        said = shadow(stack)
        return said if said.items() >= expected.items() else None

    reported: dict[str, Any] = until(found, f"a report of {expected}", 60)
    return reported


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A fleet as `fleet broker-config` and `fleet provision` make it."""
    need("mosquitto")
    with Stack(tmp_path_factory.mktemp("reports") / "stack", tls=True) as stack:
        yield stack


@pytest.mark.slow
def test_a_push_a_rollback_and_an_install_by_file_appear_in_the_shadow(secured: Stack) -> None:
    """The settings are as `fleet provision` wrote them, and the access list is in force."""
    board = secured.board()
    assert json.loads(board.read_file("/etc/settings.json"))["report"] == 1
    board.start()
    first = wait_reported(secured, version="1.0.0", sequence=1, origin="cable")
    assert first["agent"] and first["micropython"]
    assert first["room"] > 0

    job = secured.publish(secured.pack("1.1.0", 2))
    wait_reported(secured, version="1.1.0", sequence=2, origin="job", result="SUCCEEDED")
    assert secured.execution(job)["status"] == "SUCCEEDED", "not before it was accepted"
    shown = secured.fleet("status").splitlines()
    assert shown[1].split()[:3] == [THING, "1.1.0", "(2)"]
    assert f"SUCCEEDED  -      {job}" in shown[1]

    job = secured.publish(secured.pack("1.2.0", 3, "selftest_fails"))
    told = wait_reported(secured, version="1.1.0", result="FAILED", cause="self_test")
    assert "the sensor does not answer" in told["detail"]
    assert secured.execution(job)["statusDetails"]["cause"] == told["cause"]
    assert " FAILED " in secured.fleet("status") and " self_test " in secured.fleet("status")
    assert "the sensor does not answer" in secured.fleet("status", THING)

    package = secured.pack("1.3.0", 4)
    board.stop()
    board.install({"/x.ota": package.read_bytes()})
    board.start()
    board.wait_console("main: running version 1.1.0")
    person = Person(board)
    person.stop_main()
    person.wait_for_echo("ota.install('/x.ota')")
    last = wait_reported(secured, version="1.3.0", sequence=4, origin="local")
    assert not {"cause", "detail"} & set(last), "what is over is taken out"
    assert "1.3.0 (4) by file" in secured.fleet("status")


def test_a_board_whose_access_list_forbids_it_updates_and_says_that_reports_are_given_up(
    tmp_path: Path,
) -> None:
    """As with a broker whose folder an older `fleet broker-config` wrote."""
    need("mosquitto")
    with Stack(tmp_path / "stack", tls=True) as stack:
        acl = gate.Paths(stack.folder / "broker").acl
        lines = acl.read_text().splitlines(keepends=True)
        acl.write_text("".join(line for line in lines if "shadow" not in line))
        os.kill(int((stack.folder / "broker/mosquitto.pid").read_text()), signal.SIGHUP)
        board = stack.board(settings={"retry_max_ms": 1000})
        board.start()
        job = stack.publish(stack.pack("1.1.0", 2))
        children.wait_for(lambda: stack.finished(job), "the update", 90)
        assert stack.execution(job)["status"] == "SUCCEEDED"
        board.wait_console("main: running version 1.1.0")
        seen = len(board.log_path.read_bytes())
        for _ in range(3):  # the application goes on, for longer than an answer may take
            seen = board.wait_console("State: Ready", since=seen)
        person = Person(board)
        person.stop_main()
        assert "Report    given up: no answer" in person.run("ota.status()")
        assert shadow(stack) == {}


@pytest.mark.slow
def test_nothing_is_published_when_the_setting_is_off(tmp_path: Path) -> None:
    need("mosquitto")
    heard: list[str] = []
    with Stack(tmp_path / "stack") as stack:
        spy = mqtt.Client(CallbackAPIVersion.VERSION2)
        spy.on_message = lambda _client, _data, message: heard.append(message.topic)
        spy.connect("127.0.0.1", stack.broker_port)
        spy.subscribe(ALL_SHADOWS)
        spy.loop_start()
        board = stack.board()
        board.start()
        job = stack.publish(stack.pack("1.1.0", 2))
        children.wait_for(lambda: stack.finished(job), "the update", 90)
        spy.publish("$aws/things/other/shadow/name/ota/get", b"{}", qos=1)
        until(lambda: heard, "what the spy itself has said")
        spy.loop_stop()
        assert {topic.split("/")[2] for topic in heard} == {"other"}
        assert shadow(stack) == {}
        assert stack.fleet("status").splitlines()[1].split()[:2] == [THING, "-"]
