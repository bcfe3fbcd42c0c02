"""AWS's own device SDK plays a board: every answer of the service is one that it understands.

Its request-response client takes an answer only from the topic and with the token of the request,
and makes AWS's types of it.
"""

import base64
import json
import queue
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from awscrt import io, mqtt
from awscrt.mqtt_request_response import ClientOptions, SubscriptionStatusEventType
from awsiot import ServiceStreamOptions, V2ServiceException, iotjobs, mqtt_connection_builder
from fleet_service import DEADLINE, Broker, Service, running
from identity_clients import Site
from test_fleet_service import packed

from demo.stack import Stack
from twinslot.client.publish import publish

THING = "board-1"


class AwsDevice:
    """A board made of AWS's client; `changed` and `following` are what it was notified of."""

    def __init__(self, connection: mqtt.Connection, thing: str = THING) -> None:
        self.thing = thing
        self.connection = connection
        connection.connect().result(DEADLINE)
        self._jobs = iotjobs.IotJobsClientV2(connection, ClientOptions(8, 4, DEADLINE))
        self.changed: queue.Queue[iotjobs.JobExecutionsChangedEvent] = queue.Queue()
        self.following: queue.Queue[iotjobs.NextJobExecutionChangedEvent] = queue.Queue()
        self._unreadable: list[Any] = []
        self._subscribed: queue.Queue[SubscriptionStatusEventType] = queue.Queue()
        self._streams = [
            self._jobs.create_job_executions_changed_stream(
                iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=thing),
                self._into(self.changed),
            ),
            self._jobs.create_next_job_execution_changed_stream(
                iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=thing),
                self._into(self.following),
            ),
        ]
        for stream in self._streams:
            stream.open()
            established = self._subscribed.get(timeout=DEADLINE)
            assert established == SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED

    def pending(self) -> iotjobs.GetPendingJobExecutionsResponse:
        request = iotjobs.GetPendingJobExecutionsRequest(thing_name=self.thing)
        return self._answer(self._jobs.get_pending_job_executions(request))

    def describe(self, job: str, **options: Any) -> iotjobs.DescribeJobExecutionResponse:
        request = iotjobs.DescribeJobExecutionRequest(thing_name=self.thing, job_id=job, **options)
        return self._answer(self._jobs.describe_job_execution(request))

    def start_next(self, **options: Any) -> iotjobs.StartNextJobExecutionResponse:
        request = iotjobs.StartNextPendingJobExecutionRequest(thing_name=self.thing, **options)
        return self._answer(self._jobs.start_next_pending_job_execution(request))

    def update(self, job: str, status: str, **options: Any) -> iotjobs.UpdateJobExecutionResponse:
        request = iotjobs.UpdateJobExecutionRequest(
            thing_name=self.thing, job_id=job, status=status, **options
        )
        return self._answer(self._jobs.update_job_execution(request))

    def ask_stream(self, stream_id: str, operation: str, answer: str, body: Any) -> Any:
        """One JSON answer of a stream."""
        root = f"$aws/things/{self.thing}/streams/{stream_id}"
        heard: queue.Queue[bytes] = queue.Queue()
        subscribed, _ = self.connection.subscribe(
            f"{root}/{answer}/json",
            mqtt.QoS.AT_MOST_ONCE,
            lambda topic, payload, **_: heard.put(payload),
        )
        subscribed.result(DEADLINE)
        self.connection.publish(f"{root}/{operation}/json", json.dumps(body), mqtt.QoS.AT_MOST_ONCE)
        return json.loads(heard.get(timeout=DEADLINE))

    def close(self) -> None:
        self.connection.disconnect().result(DEADLINE)
        assert self._unreadable == []

    def _into(self, events: "queue.Queue[Any]") -> ServiceStreamOptions[Any]:
        return ServiceStreamOptions(
            events.put, lambda event: self._subscribed.put(event.type), self._unreadable.append
        )

    def _answer(self, future: "Future[Any]") -> Any:
        return future.result(DEADLINE)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Service, Broker]]:
    with running(tmp_path) as made:
        yield made


@pytest.fixture
def service(pair: tuple[Service, Broker]) -> Service:
    pair[0].clients().iot.create_thing(thingName=THING)
    return pair[0]


@pytest.fixture
def device(pair: tuple[Service, Broker]) -> Iterator[AwsDevice]:
    bootstrap = io.ClientBootstrap.get_or_create_static_default()
    made = AwsDevice(
        mqtt.Connection(
            mqtt.Client(bootstrap),
            host_name="127.0.0.1",
            port=pair[1].port,
            client_id=THING,
            clean_session=True,
        )
    )
    yield made
    made.close()


def offer(service: Service, *jobs: str, **options: Any) -> bytes:
    data = packed(service, 60_000)
    for job in jobs:
        publish(service.clients(), data, "app.ota", [THING], job_id=job, **options)
    return data


def refused(error: pytest.ExceptionInfo[V2ServiceException]) -> iotjobs.V2ErrorResponse:
    """The error as AWS's client reads it: it has read it, then."""
    assert error.value.inner_error is None
    found: iotjobs.V2ErrorResponse = error.value.modeled_error
    assert found.message
    recent(found.timestamp)
    return found


def recent(moment: datetime | None) -> None:
    """Seconds and milliseconds are easily confused."""
    assert moment is not None
    assert abs(datetime.now(UTC).timestamp() - moment.timestamp()) < 120


@pytest.mark.compatibility(
    "1", "AWS's device client (`awsiotsdk`) reads the answers of an empty queue"
)
def test_an_empty_queue_is_understood(service: Service, device: AwsDevice) -> None:
    nothing = device.pending()
    assert (nothing.in_progress_jobs, nothing.queued_jobs) == ([], [])
    recent(nothing.timestamp)
    for answer in (device.describe("$next"), device.start_next()):
        assert answer.execution is None
        recent(answer.timestamp)


@pytest.mark.compatibility("1", "`awsiotsdk` lists, describes, starts and ends jobs")
def test_jobs_are_listed_described_started_and_ended(service: Service, device: AwsDevice) -> None:
    data = offer(service, "job-1", "job-2")
    (queued, second) = device.pending().queued_jobs
    assert (queued.job_id, second.job_id) == ("job-1", "job-2")
    assert (queued.version_number, queued.execution_number, queued.started_at) == (1, 1, None)
    recent(queued.queued_at)

    described = device.describe("$next", include_job_document=False).execution
    assert (described.job_id, described.status) == ("job-1", iotjobs.JobStatus.QUEUED)
    assert described.job_document is None
    update = device.describe("job-2", execution_number=1).execution.job_document["afr_ota"]
    assert update["files"] == [{"filepath": "app.ota", "filesize": len(data), "fileid": 0}]

    started = device.start_next(status_details={"step": "1"}, step_timeout_in_minutes=5).execution
    assert (started.job_id, started.status) == ("job-1", iotjobs.JobStatus.IN_PROGRESS)
    assert (started.status_details, started.version_number) == ({"step": "1"}, 2)
    recent(started.started_at)
    assert [job.job_id for job in device.pending().in_progress_jobs] == ["job-1"]

    reported = device.update(
        "job-1",
        iotjobs.JobStatus.IN_PROGRESS,
        status_details={"receive": "1/15"},
        expected_version=2,
        include_job_execution_state=True,
        include_job_document=True,
    )
    assert reported.execution_state.status == iotjobs.JobStatus.IN_PROGRESS
    assert reported.execution_state.status_details == {"receive": "1/15"}
    assert reported.execution_state.version_number == 3
    assert reported.job_document["afr_ota"]["streamname"] == "job-1"
    plain = device.update("job-1", iotjobs.JobStatus.SUCCEEDED)
    assert (plain.execution_state, plain.job_document) == (None, None)
    recent(plain.timestamp)
    assert device.describe("$next").execution.job_id == "job-2"


@pytest.mark.compatibility("1", "`awsiotsdk` reads every refusal, with its code and state")
def test_every_refusal_is_understood(service: Service, device: AwsDevice) -> None:
    offer(service, "job-1")
    for call, code in (
        (lambda: device.describe("job-9"), iotjobs.RejectedErrorCode.RESOURCE_NOT_FOUND),
        (lambda: device.update("job-9", "FAILED"), iotjobs.RejectedErrorCode.RESOURCE_NOT_FOUND),
        (lambda: device.update("job-1", "DONE"), iotjobs.RejectedErrorCode.INVALID_REQUEST),
        (
            lambda: device.start_next(step_timeout_in_minutes=10081),
            iotjobs.RejectedErrorCode.INVALID_REQUEST,
        ),
        (
            lambda: device.update("job-1", "FAILED", status_details={"a b": "c"}),
            iotjobs.RejectedErrorCode.INVALID_REQUEST,
        ),
    ):
        with pytest.raises(V2ServiceException) as error:
            call()
        found = refused(error)
        assert (found.code, found.execution_state) == (code, None)
    with pytest.raises(V2ServiceException) as error:
        device.update("job-1", iotjobs.JobStatus.IN_PROGRESS, expected_version=7)
    found = refused(error)
    assert found.code == iotjobs.RejectedErrorCode.VERSION_MISMATCH
    assert (found.execution_state.status, found.execution_state.version_number) == ("QUEUED", 1)
    device.update("job-1", iotjobs.JobStatus.FAILED, expected_version=1)
    with pytest.raises(V2ServiceException) as error:
        device.update("job-1", iotjobs.JobStatus.SUCCEEDED)
    found = refused(error)
    assert found.code == iotjobs.RejectedErrorCode.INVALID_STATE_TRANSITION
    assert found.execution_state.status == iotjobs.JobStatus.FAILED
    with pytest.raises(V2ServiceException) as error:
        device.describe("job-1")
    assert refused(error).code == iotjobs.RejectedErrorCode.TERMINAL_STATE_REACHED


@pytest.mark.compatibility("1", "`awsiotsdk` reads `notify` and `notify-next`")
def test_notifications_are_understood(service: Service, device: AwsDevice) -> None:
    offer(service, "job-1", "job-2")
    first = device.following.get(timeout=DEADLINE)
    assert (first.execution.job_id, first.execution.status) == ("job-1", "QUEUED")
    assert first.execution.job_document["afr_ota"]["protocols"] == ["MQTT"]
    recent(first.timestamp)
    for jobs in (["job-1"], ["job-1", "job-2"]):
        listed = device.changed.get(timeout=DEADLINE)
        assert [job.job_id for job in listed.jobs[iotjobs.JobStatus.QUEUED]] == jobs
        recent(listed.timestamp)
    device.update("job-1", iotjobs.JobStatus.IN_PROGRESS)
    service.clients().iot.delete_job(jobId="job-1", force=True)
    assert device.following.get(timeout=DEADLINE).execution.job_id == "job-2"
    device.update("job-2", iotjobs.JobStatus.REJECTED)
    last = device.following.get(timeout=DEADLINE)
    assert last.execution is None
    recent(last.timestamp)
    (left, none) = (device.changed.get(timeout=DEADLINE) for _ in range(2))
    assert [job.job_id for job in left.jobs[iotjobs.JobStatus.QUEUED]] == ["job-2"]
    assert none.jobs == {}


@pytest.mark.compatibility(
    "3",
    "a file comes the same by JSON stream and by URL, to a client that asks as AWS's library does",
    path="MQTT, HTTP",
)
def test_a_package_comes_the_same_by_json_stream_and_by_url(
    service: Service, device: AwsDevice
) -> None:
    data = offer(service, "job-1", protocols=["MQTT", "HTTP"])
    update = device.describe("$next").execution.job_document["afr_ota"]
    (file,) = update["files"]
    with urllib.request.urlopen(file["update_data_url"], timeout=DEADLINE) as response:
        assert response.read() == data
    stream = update["streamname"]
    described = device.ask_stream(stream, "describe", "description", {"c": "d"})
    assert described["r"] == [{"f": file["fileid"], "z": len(data)}]
    # As FreeRTOS's library asks: the version fixed, one block at a time.
    size = 16384
    received = b""
    for index in range(-(-len(data) // size)):
        request = {"s": 1, "f": 0, "l": size, "o": index, "n": 1}
        block = device.ask_stream(stream, "get", "data", request)
        assert (block["f"], block["i"]) == (0, index)
        part = base64.b64decode(block["p"], validate=True)
        assert block["l"] == len(part)
        received += part
    assert received == data
    refusal = device.ask_stream(stream, "get", "rejected", {"f": 9, "l": 4096, "c": "r"})
    assert (refusal["o"], refusal["c"]) == ("ResourceNotFound", "r")


@pytest.mark.compatibility("1", "`awsiotsdk` connects with its own TLS and the board's certificate")
@pytest.mark.slow
def test_with_its_own_tls_it_is_at_home_at_the_fleets_broker(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", tls=True) as stack:
        site = Site(stack)
        site.fleet("provision", THING)
        certificate, key = site.identity(THING)
        device = AwsDevice(
            mqtt_connection_builder.mtls_from_path(
                endpoint="localhost",
                port=stack.broker_port,
                cert_filepath=str(certificate),
                pri_key_filepath=str(key),
                ca_filepath=str(site.folder / "ca/ca.pem"),
                client_id=THING,
                clean_session=True,
            )
        )
        site.job(THING, "job-1", b"data" * 1000)
        assert device.following.get(timeout=DEADLINE).execution.job_id == "job-1"
        assert device.start_next().execution.status == iotjobs.JobStatus.IN_PROGRESS
        with pytest.raises(V2ServiceException) as error:
            device.update("job-1", iotjobs.JobStatus.SUCCEEDED, expected_version=1)
        assert refused(error).code == iotjobs.RejectedErrorCode.VERSION_MISMATCH
        device.update("job-1", iotjobs.JobStatus.SUCCEEDED, expected_version=2)
        execution = stack.clients.iot.describe_job_execution(jobId="job-1", thingName=THING)
        assert execution["execution"]["status"] == "SUCCEEDED"
        device.close()
