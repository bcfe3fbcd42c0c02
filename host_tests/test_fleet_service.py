"""`fleet serve` beside a real broker: devices are answered, and no crash loses anything."""

import contextlib
import http.client
import json
import os
import queue
import re
import signal
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import cbor2
import paho.mqtt.client as mqtt
import pytest
import sqlalchemy as sa
from esp_images import app
from fleet_service import DEADLINE, ROOT, Broker, Service, running, until
from local_ca import LocalCA
from paho.mqtt.enums import CallbackAPIVersion

from twinslot.client import backup
from twinslot.client.broker import LIMITS
from twinslot.client.publish import publish
from twinslot.formats.component import firmware_content
from twinslot.service import bus
from twinslot.service.database import EXTRA, Database
from twinslot.trust import keys, signing

THING = "board-1"
JOBS = f"$aws/things/{THING}/jobs"


class Device:
    """A board's MQTT client with a persistent session, as far as the service can tell."""

    def __init__(self, broker: Broker, thing: str = THING) -> None:
        self._heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, thing, clean_session=False)
        self._client.on_message = self._received
        self._client.on_connect = self._connected
        self._client.reconnect_delay_set(1, 1)
        self._thing = thing
        self._subscribed = False
        self._client.on_subscribe = self._confirmed
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        until(lambda: self._subscribed, "the subscriptions")

    def _connected(self, client: mqtt.Client, *_: Any) -> None:
        root = f"$aws/things/{self._thing}"
        topics = ["jobs/notify-next", "jobs/notify"]
        topics += [f"jobs/{op}/{end}" for op in ("get", "start-next", "+/get", "+/update")
                   for end in ("accepted", "rejected")]  # fmt: skip
        topics += ["streams/+/data/+", "streams/+/rejected/+", "streams/+/description/+"]
        client.subscribe([(f"{root}/{topic}", 1) for topic in topics])

    def _confirmed(self, *_: Any) -> None:
        self._subscribed = True

    def _received(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._heard.put((message.topic, bytes(message.payload)))

    def send(self, topic: str, message: Any, qos: int = 1) -> None:
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        self._client.publish(topic, payload, qos)

    def hear(self, topic: str, deadline: float = DEADLINE) -> bytes:
        """The next message of this topic; others before it are passed over."""
        end = time.monotonic() + deadline
        while True:
            try:
                where, payload = self._heard.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"waited {deadline} s in vain for {topic}") from None
            if where == topic:
                return payload

    def ask(self, topic: str, message: Any) -> Any:
        self.send(topic, message)
        return json.loads(self.hear(f"{topic}/accepted"))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def pair(tmp_path: Path, database: str) -> Iterator[tuple[Service, Broker]]:
    with running(tmp_path, "--database", database) as made:
        yield made


@pytest.fixture
def service(pair: tuple[Service, Broker]) -> Service:
    return pair[0]


@pytest.fixture
def broker(pair: tuple[Service, Broker]) -> Broker:
    return pair[1]


@pytest.fixture
def device(broker: Broker) -> Iterator[Device]:
    made = Device(broker)
    yield made
    made.close()


def packed(service: Service, size: int = 300_000, sequence: int = 2) -> bytes:
    key = keys.read_private(service.config.signing_key)
    image = app(size)
    return signing.build([firmware_content(image)], key, "demo-board", "1.1.0", sequence, 1)


def published(service: Service, data: bytes, job: str = "job-1") -> None:
    publish(service.clients(), data, "app.ota", [THING], job_id=job, create_things=True)


def execution(service: Service, job: str = "job-1") -> Any:
    answer = service.clients().iot.describe_job_execution(jobId=job, thingName=THING)
    return answer["execution"]


def test_a_published_package_arrives_block_by_block_and_is_counted(
    service: Service, device: Device
) -> None:
    data = packed(service, 1_600_000)
    published(service, data)
    told = json.loads(device.hear(f"{JOBS}/notify-next"))["execution"]
    update = told["jobDocument"]["afr_ota"]
    assert (told["status"], update["streamname"]) == ("QUEUED", "job-1")
    assert update["files"] == [{"filepath": "app.ota", "filesize": len(data), "fileid": 0}]
    stream = f"$aws/things/{THING}/streams/{update['streamname']}"
    received = bytearray(len(data))
    total = -(-len(data) // 4096)
    began = time.monotonic()
    for first in range(0, total, 8):
        request = {"f": 0, "l": 4096, "o": first, "n": 8}
        device.send(f"{stream}/get/cbor", cbor2.dumps(request), qos=0)
        for _ in range(min(8, total - first)):
            block = cbor2.loads(device.hear(f"{stream}/data/cbor"))
            received[block["i"] * 4096 : block["i"] * 4096 + block["l"]] = block["p"]
    assert bytes(received) == data
    assert time.monotonic() - began < 10  # 400 blocks; no fsync for each of them
    until(
        lambda: (
            service.clients().traffic("job-1")["things"][THING]
            == {"blocks": total, "bytes": len(data)}
        ),
        "the counters",
    )


def test_a_device_reports_and_the_operator_sees_it(service: Service, device: Device) -> None:
    published(service, packed(service))
    progress = {"status": "IN_PROGRESS", "statusDetails": {"receive": "1/74"}}
    assert "timestamp" in device.ask(f"{JOBS}/job-1/update", progress)
    assert execution(service)["statusDetails"]["detailsMap"] == {"receive": "1/74"}
    answer = device.ask(f"{JOBS}/$next/get", {"clientToken": "0:board-1"})
    assert answer["clientToken"] == "0:board-1"
    assert answer["execution"]["statusDetails"] == {"receive": "1/74"}
    done = {"status": "SUCCEEDED", "statusDetails": {"reason": "accepted v1.1.0"}}
    device.ask(f"{JOBS}/job-1/update", done)
    assert json.loads(device.hear(f"{JOBS}/notify-next")).keys() == {"timestamp"}
    assert execution(service)["status"] == "SUCCEEDED"


@pytest.mark.compatibility("1", "a forced cancel is followed by `notify-next` at once")
def test_a_forced_cancel_reaches_the_device_at_once(service: Service, device: Device) -> None:
    published(service, packed(service))
    device.hear(f"{JOBS}/notify-next")
    device.ask(f"{JOBS}/job-1/update", {"status": "IN_PROGRESS"})
    assert service.fleet("cancel", "job-1").returncode == 0
    assert service.fleet("cancel", "job-1", "--force").returncode == 0
    assert json.loads(device.hear(f"{JOBS}/notify-next")).keys() == {"timestamp"}
    device.send(f"{JOBS}/job-1/update", {"status": "SUCCEEDED"})
    refusal = json.loads(device.hear(f"{JOBS}/job-1/update/rejected"))
    assert refusal["executionState"]["status"] == "CANCELED"


def test_a_job_called_streams_is_done_as_any_other(service: Service, device: Device) -> None:
    published(service, packed(service), "streams")
    device.ask(f"{JOBS}/streams/update", {"status": "SUCCEEDED"})
    assert execution(service, "streams")["status"] == "SUCCEEDED"


def test_rubbish_from_a_device_is_answered_and_ends_nothing(
    service: Service, device: Device
) -> None:
    published(service, packed(service))
    stream = f"$aws/things/{THING}/streams/job-1"
    for topic, rubbish, where, word in (
        (f"{JOBS}/get", b"\xff", f"{JOBS}/get/rejected", "InvalidJson"),
        (f"{JOBS}//update", b"{}", f"{JOBS}//update/rejected", "InvalidTopic"),
        (f"{JOBS}/job-1/update", b"[]", f"{JOBS}/job-1/update/rejected", "InvalidRequest"),
        (f"{stream}/get/cbor", b"\xff", f"{stream}/rejected/cbor", "InvalidCbor"),
        (f"{stream}/describe/json", b"\xff", f"{stream}/rejected/json", "InvalidJson"),
    ):
        device.send(topic, rubbish)
        assert word.encode() in device.hear(where)
    device.send(f"{stream}/get/xml", b"")
    device.send(f"$aws/things/{'x' * 300}/jobs/get", b"{}")
    assert "execution" in device.ask(f"{JOBS}/$next/get", {})


def test_every_other_topic_of_jobs_is_answered_with_invalid_topic_and_no_answer_is(
    service: Service, broker: Broker
) -> None:
    service.clients().iot.create_thing(thingName=THING)
    odd = ["stop", "job-1/delete", "job-1/get/now", "a/b/c/d", "$next/update", "$next", "update"]
    odd += ["job.1/get", "get/more", "notify/more", "accepted/x"]
    ours = ["get/accepted", "job-1/get/rejected", "stop/accepted", "notify", "notify-next"]
    ours += ["stop/rejected/rejected"]
    with listening(broker, f"{JOBS}/#") as (client, heard):
        for topic in [*ours, *odd]:
            message = {"clientToken": topic} if topic != "stop" else {}
            client.publish(f"{JOBS}/{topic}", json.dumps(message), 1)
        client.publish(f"{JOBS}/get", json.dumps({"clientToken": "last"}), 1)
        until(lambda: any(topic == f"{JOBS}/get/accepted" and "queuedJobs" in message
                          for topic, message in heard), "the last answer")  # fmt: skip
    refused = {
        topic.removeprefix(f"{JOBS}/").removesuffix("/rejected"): message
        for topic, message in heard
        if "code" in message
    }
    assert refused.keys() == {*odd}
    assert {message["code"] for message in refused.values()} == {"InvalidTopic"}
    assert "clientToken" not in refused["stop"]
    assert refused["job-1/delete"]["clientToken"] == "job-1/delete"


@contextlib.contextmanager
def listening(
    broker: Broker, *topics: str
) -> Iterator[tuple[mqtt.Client, list[tuple[str, dict[str, Any]]]]]:
    """A client without a session, and all that it hears."""
    heard: list[tuple[str, dict[str, Any]]] = []
    subscribed = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.on_message = lambda _client, _data, message: heard.append(
        (message.topic, json.loads(message.payload))
    )
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe([(topic, 1) for topic in topics])
    assert subscribed.wait(DEADLINE)
    yield client, heard
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize(
    ("rest", "code"),
    [("jobs/$next/get", "RequestThrottled"), ("shadow/name/ota/get", 429)],
)
def test_what_one_thing_asks_too_much_is_refused_by_name_and_no_request_of_anybody_is_lost(
    service: Service, broker: Broker, device: Device, rest: str, code: str | int, qos: int
) -> None:
    iot = service.clients().iot
    for thing in (THING, "loud"):
        iot.create_thing(thingName=thing)
    loud = f"$aws/things/loud/{rest}"
    with listening(broker, f"{loud}/accepted", f"{loud}/rejected") as (client, heard):
        for number in range(1000):
            client.publish(loud, json.dumps({"clientToken": str(number)}), qos)
        for number in range(5):
            answer = device.ask(f"{JOBS}/$next/get", {"clientToken": str(number)})
            assert answer["clientToken"] == str(number)
        until(lambda: len(heard) >= 1000, "an answer to each request")
    assert sorted(int(message["clientToken"]) for _, message in heard) == [*range(1000)]
    refused = [message for _, message in heard if message.get("code") == code]
    assert 0 < len(refused) <= 1000 - bus.WAITING
    assert "ask again" in refused[0]["message"]
    until(lambda: "throttled" in service.log.read_text(), "the line that counts them")
    counted = sum(map(int, re.findall(r"throttled (\d+) requests of 'loud'",
                                      service.log.read_text())))  # fmt: skip
    assert 0 < counted <= len(refused)
    assert service.log.read_text().count("\n") < 10


def test_with_the_limits_of_broker_config_a_service_that_was_away_misses_no_request(
    tmp_path: Path,
) -> None:
    """Mosquitto keeps 1000 of a client's messages by default, and drops those of anybody else."""
    broker = Broker(tmp_path / "broker", LIMITS)
    broker.start()
    service = Service(tmp_path / "fleet", broker)
    service.start()
    things = [f"board-{number}" for number in range(30)]
    for thing in things:
        service.clients().iot.create_thing(thingName=thing)
    service.kill()
    ends = [f"$aws/things/+/jobs/get/{end}" for end in ("accepted", "rejected")]
    with listening(broker, *ends) as (client, heard):
        for number in range(50):
            for thing in things:
                token = f"{thing}/{number}"
                client.publish(
                    f"$aws/things/{thing}/jobs/get", json.dumps({"clientToken": token}), 1
                )
        until(lambda: broker.log.read_text().count("Received PUBLISH") >= 1500, "the requests")
        service.start()
        until(lambda: len(heard) >= 1500, "an answer to each request", 60)
    service.stop()
    broker.kill()
    assert len({message["clientToken"] for _, message in heard}) == 1500
    assert [topic for topic, _ in heard if topic.endswith("rejected")] == []


def test_blocks_that_one_thing_asks_too_fast_are_refused_by_name(
    service: Service, broker: Broker
) -> None:
    published(service, packed(service))
    stream = f"$aws/things/{THING}/streams/job-1"
    with listening(broker, f"{stream}/data/json", f"{stream}/rejected/json") as (client, heard):
        for number in range(1000):
            ask = {"f": 0, "l": 4096, "n": 1, "c": str(number)}
            client.publish(f"{stream}/get/json", json.dumps(ask), 0)
        until(lambda: len(heard) >= 1000, "an answer to each request")
    assert sorted(int(message["c"]) for _, message in heard) == [*range(1000)]
    refused = [message for _, message in heard if "o" in message]
    assert {message["o"] for message in refused} <= {"RequestThrottled"}
    assert len(refused) <= 1000 - bus.WAITING


def test_a_window_that_is_asked_for_again_while_its_answer_waits_is_answered_once(
    service: Service, broker: Broker, device: Device
) -> None:
    published(service, packed(service))
    stream = f"$aws/things/{THING}/streams/job-1"
    ask = {"f": 0, "l": 4096, "n": 8, "c": "window"}
    with listening(broker, f"{stream}/data/json") as (client, heard):
        with service.stopped():
            for _ in range(5):
                client.publish(f"{stream}/get/json", json.dumps(ask), 0)
            client.publish(f"{stream}/get/json", json.dumps({**ask, "n": 1, "c": "last"}), 0)
            until(lambda: _asked(broker, f"{stream}/get/json") == 6, "the requests at the service")
            client.publish(f"{stream}/get/json", b"", 1).wait_for_publish(10)  # all are written
        until(lambda: heard and heard[-1][1]["c"] == "last", "the last answer")
    assert [(message["c"], message["i"]) for _, message in heard] == [
        *(("window", index) for index in range(8)),
        ("last", 0),
    ]


def _asked(broker: Broker, topic: str) -> int:
    """How many requests by this topic the broker has passed on to the service."""
    passed_on = rf"Sending PUBLISH to fleet-demo-board .*{re.escape(topic)}"
    return len(re.findall(passed_on, broker.log.read_text()))


def test_a_service_killed_before_it_could_write_is_asked_again_by_the_broker(
    service: Service, broker: Broker, device: Device, database: str
) -> None:
    published(service, packed(service))
    topic = f"{JOBS}/job-1/update"
    other = Database(database)
    with other.transaction(writing=True):  # the service waits for this, its request unanswered
        device.send(topic, {"status": "SUCCEEDED"})
        until(lambda: _asked(broker, topic), "the request at the service")
        service.kill()
    with other.transaction(writing=False) as connection:
        assert connection.scalar(sa.text("SELECT status FROM executions")) == "QUEUED"
    other.close()
    service.start()
    device.hear(f"{topic}/accepted")
    assert execution(service)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("seed", range(4))
def test_a_request_made_while_the_service_is_dead_is_answered_when_it_lives(
    service: Service, device: Device, seed: int
) -> None:
    published(service, packed(service))
    topic = f"{JOBS}/job-1/update"
    device.ask(topic, {"status": "IN_PROGRESS"})
    if seed % 2:
        device.send(topic, {"status": "SUCCEEDED", "clientToken": "result"})
        service.kill()  # somewhere between request and answer
    else:
        service.kill()
        device.send(topic, {"status": "SUCCEEDED", "clientToken": "result"})
    service.start()
    # At least once: the answer to the first update may come again before it.
    until(
        lambda: json.loads(device.hear(f"{topic}/accepted")).get("clientToken") == "result",
        "the answer",
    )
    assert execution(service)["status"] == "SUCCEEDED"


def test_a_job_made_while_the_broker_is_dead_is_told_when_it_lives(
    service: Service, broker: Broker, device: Device
) -> None:
    broker.kill()
    published(service, packed(service))
    broker.start()
    # The broker has forgotten its sessions, so the device asks again, as every agent does.
    until(lambda: _answers(device), "an answer after the broker's restart")
    service.kill()
    service.start()
    assert "execution" in device.ask(f"{JOBS}/$next/get", {})


def _answers(device: Device) -> bool:
    device.send(f"{JOBS}/$next/get", {})
    try:
        return "execution" in json.loads(device.hear(f"{JOBS}/$next/get/accepted", 1))
    except AssertionError:
        return False


def test_answers_left_in_the_outbox_are_sent_after_a_crash_in_their_order(
    service: Service, broker: Broker, device: Device
) -> None:
    service.clients().iot.create_thing(thingName=THING)
    broker.kill()
    for number in range(5):
        published(service, packed(service, sequence=number + 2), f"job-{number}")
    service.kill()
    broker.start()
    device.close()
    listener = Device(broker)
    service.start()
    counts = []
    for _ in range(5):
        listed = json.loads(listener.hear(f"{JOBS}/notify"))["jobs"]["QUEUED"]
        counts.append([job["jobId"] for job in listed])
    assert counts == [[f"job-{job}" for job in range(number + 1)] for number in range(5)]
    listener.close()


def test_a_board_gets_its_file_by_https_in_ranges(tmp_path: Path) -> None:
    ca = LocalCA(tmp_path / "ca")
    certificate, key = ca.issue("data", "127.0.0.1")
    broker = Broker(tmp_path / "broker")
    broker.start()
    service = Service(tmp_path / "fleet", broker)
    service.set(certificate=certificate, key=key)
    try:
        assert " data=https://127.0.0.1:" in service.start()
        device = Device(broker)
        data = packed(service)
        publish(service.clients(), data, "app.ota", [THING], protocols=["HTTP"], create_things=True)
        told = json.loads(device.hear(f"{JOBS}/notify-next"))["execution"]
        (file,) = told["jobDocument"]["afr_ota"]["files"]
        url = urlsplit(file["update_data_url"])
        context = ssl.create_default_context(cafile=ca.path)
        connection = http.client.HTTPSConnection(url.netloc, timeout=10, context=context)
        received = b""
        while len(received) < file["filesize"]:
            wanted = {"Range": f"bytes={len(received)}-{len(received) + 99_999}"}
            connection.request("GET", f"{url.path}?{url.query}", headers=wanted)
            response = connection.getresponse()
            assert response.status == 206
            received += response.read()
        assert received == data
        connection.close()
        device.close()
    finally:
        service.stop()
        broker.kill()


def test_a_certificate_of_the_data_listener_that_cannot_be_used_is_named(service: Service) -> None:
    service.stop()
    service.set(certificate="c", key="k")
    refused = service.fleet("serve")
    assert refused.returncode == 1
    assert f"cannot use {service.folder / 'c'} with {service.folder / 'k'}" in refused.stderr


def test_a_second_service_in_the_same_folder_is_refused(service: Service) -> None:
    second = service.fleet("serve")
    assert second.returncode == 1
    assert "another `fleet serve` runs" in second.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    broker.start()
    service = Service(tmp_path / "fleet", broker)
    service.set(data=f"127.0.0.1:{broker.port}")
    try:
        refused = service.fleet("serve")
        assert refused.returncode == 1
        assert f"cannot listen on 127.0.0.1:{broker.port}" in refused.stderr
    finally:
        broker.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_cleanly(service: Service, number: signal.Signals) -> None:
    assert service.process is not None
    assert (service.folder / "state" / "endpoint.json").exists()
    service.process.send_signal(number)
    assert service.process.wait(DEADLINE) == 0
    assert not (service.folder / "state" / "endpoint.json").exists()
    assert service.fleet("status").returncode == 4


def test_the_service_ends_with_its_parent(tmp_path: Path) -> None:
    with running(tmp_path) as (service, _broker):
        service.stop()
        parent = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import subprocess, sys\n"
                "child = subprocess.Popen([sys.executable, '-m', 'twinslot', 'serve', "
                "'--die-with-parent'])\n"
                "print(child.pid, flush=True)\n"
                "child.wait()\n",
            ],
            cwd=service.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline().startswith("ready ")
        parent.kill()
        parent.wait()
        parent.stdout.close()
        until(lambda: _gone(child), "the end of the service")


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_the_ready_line_names_what_the_other_commands_find(service: Service) -> None:
    line = service.stop() or service.start()
    endpoint = json.loads((service.folder / "state" / "endpoint.json").read_text())
    assert isinstance(line, str)
    assert line == (
        f"ready control={endpoint['control']} data={endpoint['data']} broker={endpoint['broker']}\n"
    )


# The command line against the service


def commands(service: Service, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    (service.folder / "app.bin").write_bytes(app(60_000))
    made = service.fleet(
        "pack", "app.bin", "--version", "1.1.0", "--sequence", "2", "-o", "app.ota"
    )
    assert made.returncode == 0, made.stderr
    return service.fleet


def test_from_an_image_to_a_finished_job_on_the_command_line(
    service: Service, device: Device, tmp_path: Path
) -> None:
    fleet = commands(service, tmp_path)
    unknown = fleet("publish", "app.ota", THING)
    assert unknown.returncode == 1
    assert "--create-things" in unknown.stderr
    made = fleet("publish", "app.ota", THING, "--create-things", "--json")
    assert made.returncode == 0, made.stderr
    job = json.loads(made.stdout)["job"]
    assert json.loads(made.stdout)["version"] == "1.1.0"
    early = fleet("watch", job, "--timeout", "0.1")
    assert early.returncode == 5
    assert "waiting for the board" in early.stdout
    details = {"reason": "accepted v1.1.0", "version": "1.1.0"}
    device.ask(f"{JOBS}/{job}/update", {"status": "SUCCEEDED", "statusDetails": details})
    done = fleet("watch", job)
    assert done.returncode == 0
    assert done.stdout == "board-1  SUCCEEDED: accepted v1.1.0\n"
    shown = fleet("status")
    assert shown.returncode == 0
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())
    assert "SUCCEEDED" in shown.stdout
    assert "reason     accepted v1.1.0" in fleet("status", THING).stdout
    (only,) = json.loads(fleet("status", "--json").stdout)[THING]["updates"]
    assert (only["job"], only["status"], only["details"]) == (job, "SUCCEEDED", details)


def test_a_package_is_offered_by_the_protocols_that_are_named(
    service: Service, device: Device, tmp_path: Path
) -> None:
    fleet = commands(service, tmp_path)
    size = (service.folder / "app.ota").stat().st_size
    plain = {"filepath": "app.ota", "filesize": size, "fileid": 0}
    for named, protocols in (("http", ["HTTP"]), ("both", ["MQTT", "HTTP"])):
        job = f"job-{named}"
        arguments = ("--create-things", "--job", job, "--protocol", named)
        made = fleet("publish", "app.ota", THING, *arguments)
        assert made.returncode == 0, made.stderr
        update = device.ask(f"{JOBS}/{job}/get", {})["execution"]["jobDocument"]["afr_ota"]
        assert update["protocols"] == protocols
        assert update.get("streamname") == (job if "MQTT" in protocols else None)
        (file,) = update["files"]
        assert file.pop("auth_scheme") == "aws.s3.presigned"
        url = file.pop("update_data_url")
        with urlopen(Request(url, headers={"Range": "bytes=0-3"}), timeout=DEADLINE) as got:
            assert got.read() == (service.folder / "app.ota").read_bytes()[:4]
        assert file == plain


def test_a_failed_board_makes_watch_fail_and_status_show_why(
    service: Service, device: Device, tmp_path: Path
) -> None:
    fleet = commands(service, tmp_path)
    job = "job-1"
    fleet("publish", "app.ota", THING, "--create-things", "--job", job)
    cause = "the self-test raised ValueError: sensor 3 does not answer " * 3
    details = {"reason": "rejected: 0x00000000", "detail": cause.strip(), "cause": "watchdog"}
    device.ask(f"{JOBS}/{job}/update", {"status": "FAILED", "statusDetails": details})
    ended = fleet("watch", job)
    assert ended.returncode == 1
    assert "rejected: 0x00000000" in ended.stdout
    shown = fleet("status", THING)
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())
    for word in ("FAILED", "reason", "detail", "cause", "watchdog"):
        assert word in shown.stdout
    assert fleet("status", "board-9").returncode == 1


def test_what_the_boards_would_refuse_is_refused_before_it_is_sent(
    service: Service, tmp_path: Path
) -> None:
    fleet = commands(service, tmp_path)
    image = app(60_000)
    mine = keys.read_private(service.config.signing_key)
    good, other_chip = [firmware_content(image)], [firmware_content(app(chip=9), 9)]
    for name, data, words in (
        (
            "stranger",
            signing.build(good, keys.generate(), "demo-board", "1", 1, 1),
            "signed with key",
        ),
        ("product", signing.build(good, mine, "toaster", "1", 1, 1), "is for toaster"),
        ("chip", signing.build(other_chip, mine, "demo-board", "1", 1, 1), "esp32s3"),
        ("image", image, "not a package"),
    ):
        (service.folder / name).write_bytes(data)
        refused = fleet("publish", name, THING, "--create-things")
        assert refused.returncode == 1
        assert words in refused.stderr
    assert fleet("publish", "stranger", THING, "--create-things", "--force").returncode == 0


@pytest.mark.slow
def test_watch_waits_for_a_service_that_is_started_again(
    service: Service, device: Device, tmp_path: Path
) -> None:
    commands(service, tmp_path)
    service.fleet("publish", "app.ota", THING, "--create-things", "--job", "job-1")
    watching = subprocess.Popen(
        [sys.executable, "-m", "twinslot", "watch", "job-1"],
        cwd=service.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert "waiting for the board" in watching.stdout.readline()
    service.kill()
    assert "waiting for it" in watching.stdout.readline()
    service.start()
    device.ask(f"{JOBS}/job-1/update", {"status": "SUCCEEDED"})
    assert watching.wait(DEADLINE) == 0
    watching.stdout.close()


@pytest.mark.slow
def test_commands_without_a_service_say_what_to_start(service: Service) -> None:
    service.kill()
    dead = service.fleet("status")
    assert dead.returncode == 4
    assert "does not answer" in dead.stderr
    service.start()
    service.stop()
    stopped = service.fleet("watch", "job-1", "--timeout", "1")
    assert stopped.returncode in (4, 5)
    assert "fleet serve" in stopped.stdout + stopped.stderr


def test_an_unknown_job_is_refused_by_name(service: Service) -> None:
    for command in (("watch", "job-9"), ("cancel", "job-9")):
        refused = service.fleet(*command)
        assert refused.returncode == 1
        assert "no job job-9" in refused.stderr


# Where it keeps what it remembers


def test_the_database_is_where_the_operator_says_and_nowhere_else(tmp_path: Path) -> None:
    options = ("--database", f"sqlite:///{tmp_path}/elsewhere.db")
    with running(tmp_path, *options) as (service, _):
        service.clients().iot.create_thing(thingName="board-1")
        service.kill()
        service.start(*options)
        assert service.clients().iot.describe_thing(thingName="board-1")["thingName"] == "board-1"
        assert not list(service.config.state.glob("*.db*"))


def test_a_backup_takes_the_database_that_the_service_was_told_to_use(tmp_path: Path) -> None:
    with running(tmp_path) as (service, _):
        service.clients().iot.create_thing(thingName="of-the-old-one")
        service.kill()
        service.start("--database", f"sqlite:///{tmp_path}/elsewhere.db")
        service.clients().iot.create_thing(thingName="of-the-new-one")
        done = service.fleet("backup", str(tmp_path / "a.tgz"))
        assert done.returncode == 0, done.stderr
        assert "fleet.db, which is not the database of the service" in done.stdout
    (tmp_path / "again").mkdir()
    backup.restore(tmp_path / "a.tgz", tmp_path / "again", ())
    with sqlite3.connect(tmp_path / "again/state/elsewhere.db") as copy:
        assert copy.execute("SELECT name FROM things").fetchall() == [("of-the-new-one",)]
    assert not (tmp_path / "again/state/fleet.db").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("fleet.db", "DRIVER://PLACE"),
        ("nosuchdriver://user:secret@host/fleet", "no driver for nosuchdriver"),
        ("sqlite:////no/such/folder/fleet.db", "cannot open the database /no/such"),
        ("sqlite:///fleet.toml", "file is not a database"),
        ("postgresql://fleet:secret@/fleet?host=/no/such/folder", "Is the server running"),
    ],
)
def test_a_database_that_cannot_be_used_is_a_sentence(tmp_path: Path, url: str, words: str) -> None:
    service = Service(tmp_path / "fleet", Broker(tmp_path / "broker"))
    done = service.fleet("serve", "--database", url)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.startswith("fleet: ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_a_missing_driver_is_named_by_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path / "fleet", Broker(tmp_path / "broker"))
    monkeypatch.setitem(sys.modules, "psycopg", None)
    done = service.fleet("serve", "--database", "postgresql://fleet:secret@host/fleet")
    assert done.returncode == 1
    remedy = f"pip install 'twinslot[{EXTRA}]'"
    assert done.stderr == f"fleet: PostgreSQL's driver is missing: {remedy}\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [name.split("[")[0] for name in project["optional-dependencies"][EXTRA]] == ["psycopg"]
