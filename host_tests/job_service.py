"""The job service and a perfect broker, in memory: a simulator with knobs, for the agent's logic.

`Client` is what the application hands to the agent. Requests are answered in order when
`deliver` is called, so a test decides when anything happens. Limits and bytes are those of AWS's
documentation, written down here a second time: nothing of `fleet` is used, so that agent and
service cannot be wrong together. What AWS would refuse ends the test.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from typing import Any

import cbor2
from paho.mqtt.client import topic_matches_sub

MOST = 131072  # bytes of a message, of a stream's block, and of all blocks of one request
_ENDS = ("SUCCEEDED", "FAILED", "REJECTED")
_NAME = re.compile(r"[A-Za-z0-9:_-]{1,128}")
_VALUE = re.compile(r"[^\x00-\x1f\x7f]{1,1024}")
_REQUEST_KEYS = {"status", "statusDetails", "expectedVersion", "clientToken"}


class LinkDown(OSError):
    """The link is gone."""


def check_details(details: dict[str, str]) -> None:
    """Hold statusDetails against the limits of AWS IoT Jobs."""
    assert len(details) <= 10, details
    for key, value in details.items():
        assert _NAME.fullmatch(key), key
        assert isinstance(value, str), value
        assert _VALUE.fullmatch(value), value


def check_stream_request(request: dict[str, Any]) -> None:
    """Hold a GetStream request against the limits of AWS IoT's MQTT file delivery."""
    assert set(request) <= {"c", "s", "f", "l", "o", "n", "b"}, request
    assert 0 < len(request.get("c", "c")) <= 64
    assert 0 <= request["f"] <= 255
    assert 256 <= request["l"] <= MOST
    assert 0 <= request.get("o", 0) <= 98304
    assert 0 < request.get("n", 1) <= 98304
    assert 0 < len(request["b"]) < 12288


def indefinite_map(message: dict[str, Any]) -> bytes:
    """Return CBOR as AWS encodes it: a map of indefinite length, keys in the order given."""
    pairs = (cbor2.dumps(key) + cbor2.dumps(value) for key, value in message.items())
    return b"\xbf" + b"".join(pairs) + b"\xff"


class JobService:
    """Jobs, streams and the shadow of one thing. Knobs: `drop_blocks`, `silent_stream`, `online`,
    `refusal`: the code with which the service refuses to name a job; `shadow`: the answer to a
    report of what runs, "accepted", "rejected", "" for none, or "cut": the link ends, as AWS ends
    that of a client whose policy does not allow the topic. `reports`: what was reported. `largest`:
    bytes of a message with a block that the broker lets pass."""

    def __init__(self, thing: str) -> None:
        self.prefix = f"$aws/things/{thing}/"
        self.queue: list[str] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.updates: list[tuple[str, str, dict[str, str]]] = []
        self.stream_requests: list[dict[str, Any]] = []
        self.outgoing: deque[tuple[str, bytes]] = deque()
        self.drop_blocks: set[int] = set()
        self.silent_stream = False
        self.largest = 1 << 20
        self.silent_updates = False
        self.refusal = ""
        self.shadow = "accepted"
        self.reports: list[dict[str, Any]] = []
        self.online = True
        self.now = 1_800_000_000

    def add(self, job_id: str, data: bytes, **more: Any) -> None:
        """Queue a job that delivers `data`. more: what else the document says of the file."""
        self.files[job_id] = data
        document = {
            "afr_ota": {
                "protocols": ["MQTT"],
                "streamname": job_id,
                "files": [{"filepath": "x.ota", "filesize": len(data), "fileid": 0, **more}],
            }
        }
        self.jobs[job_id] = {
            "jobId": job_id,
            "status": "QUEUED",
            "queuedAt": self.now,
            "lastUpdatedAt": self.now,
            "versionNumber": 1,
            "executionNumber": 1,
            "jobDocument": document,
        }
        self.queue.append(job_id)
        if len(self.queue) == 1:
            self.notify()

    def offer_http(self, job_id: str, url: str, *, mqtt: bool = False) -> None:
        """Let a job offer its file at `url`, and by its stream only with `mqtt`."""
        update = self.jobs[job_id]["jobDocument"]["afr_ota"]
        update["protocols"] = ["MQTT", "HTTP"] if mqtt else ["HTTP"]
        if not mqtt:
            update.pop("streamname", None)
        update["files"][0]["update_data_url"] = url
        update["files"][0]["auth_scheme"] = "aws.s3.presigned"

    def cancel(self, job_id: str) -> None:
        self.jobs[job_id]["status"] = "CANCELED"
        self._dequeue(job_id)

    def status(self, job_id: str) -> str:
        return str(self.jobs[job_id]["status"])

    def details(self, job_id: str) -> dict[str, str]:
        return dict(self.jobs[job_id].get("statusDetails", {}))

    def notify(self) -> None:
        self._send("jobs/notify-next", self._next())

    def handle(self, topic: str, payload: bytes) -> None:
        """Take one request of the board."""
        assert len(payload) <= MOST
        assert len(topic.encode()) <= 256
        assert topic.count("/") <= 7
        path = topic.removeprefix(self.prefix).split("/")
        if path[:3] == ["jobs", "$next", "get"]:
            token = json.loads(payload)["clientToken"]
            assert 0 < len(token) <= 64
            if self.refusal:
                refused = {"code": self.refusal, "message": "", "clientToken": token}
                self._send("jobs/$next/get/rejected", refused)
                return
            self._send("jobs/$next/get/accepted", {"clientToken": token, **self._next()})
        elif path[0] == "jobs" and path[2] == "update":
            self._update(path[1], json.loads(payload))
        elif path[0] == "streams" and path[2:] == ["get", "cbor"]:
            self._stream(path[1], cbor2.loads(payload))
        elif path[0] == "streams" and path[2:] == ["get", "json"]:
            asked = json.loads(payload)
            asked["b"] = bytes.fromhex(asked["b"].removeprefix("0x"))
            self._stream(path[1], asked, "json")
        elif path == ["shadow", "name", "ota", "update"]:
            self._shadow(json.loads(payload), len(payload))
        else:
            raise AssertionError(f"a request nobody knows: {topic}")

    def _next(self) -> dict[str, Any]:
        answer: dict[str, Any] = {"timestamp": self.now}
        if self.queue:
            answer["execution"] = self.jobs[self.queue[0]]
        return answer

    def _update(self, job_id: str, request: dict[str, Any]) -> None:
        assert set(request) <= _REQUEST_KEYS, request
        assert request["status"] in ("IN_PROGRESS", *_ENDS)
        check_details(request.get("statusDetails", {}))
        self.updates.append((job_id, request["status"], request.get("statusDetails", {})))
        if self.silent_updates:
            return
        token = {key: request[key] for key in ("clientToken",) if key in request}
        job = self.jobs.get(job_id)
        if job is None or job_id not in self.queue:
            code = "ResourceNotFound" if job is None else "InvalidStateTransition"
            self._send(f"jobs/{job_id}/update/rejected", {"code": code, "message": "", **token})
            return
        job["status"] = request["status"]
        job["statusDetails"] = request.get("statusDetails", job.get("statusDetails", {}))
        job["versionNumber"] += 1
        self._send(f"jobs/{job_id}/update/accepted", {"timestamp": self.now, **token})
        if request["status"] in _ENDS:
            self._dequeue(job_id)

    def _shadow(self, request: dict[str, Any], size: int) -> None:
        assert size <= 8192, "AWS's limit of a shadow's document"
        assert set(request) == {"state", "clientToken"} and set(request["state"]) == {"reported"}
        assert 0 < len(request["clientToken"].encode()) <= 64
        self.reports.append(request["state"]["reported"])
        if self.shadow == "cut":
            self.online = False
            raise LinkDown(104, "reset")
        if self.shadow == "rejected":
            self._send("shadow/name/ota/update/rejected", {"code": 413, **request})
        elif self.shadow:
            self._send("shadow/name/ota/update/accepted", {"version": 1, **request})

    def _dequeue(self, job_id: str) -> None:
        first = self.queue[:1] == [job_id]
        self.queue.remove(job_id)
        if first:
            self.notify()

    def _stream(self, stream: str, request: dict[str, Any], form: str = "cbor") -> None:
        check_stream_request(request)
        self.stream_requests.append(request)
        if self.silent_stream or stream not in self.queue:
            return
        data, size = self.files[stream], request["l"]
        wanted = int.from_bytes(request["b"], "little")
        first = request.get("o", 0)
        indices = [first + i for i in range(wanted.bit_length()) if wanted >> i & 1]
        for index in indices[: min(request.get("n", MOST), MOST // size)]:
            block = data[index * size : (index + 1) * size]
            if not block:
                continue
            if index in self.drop_blocks:
                self.drop_blocks.discard(index)
                continue
            message = {"f": request["f"], "i": index, "l": len(block), "p": block}
            if "c" in request:
                message["c"] = request["c"]
            topic = f"{self.prefix}streams/{stream}/data/{form}"
            if form == "json":
                message["p"] = base64.b64encode(block).decode()
                payload = json.dumps(message).encode()
            else:
                payload = indefinite_map(message)
            if len(payload) <= self.largest:
                self.outgoing.append((topic, payload))

    def _send(self, topic: str, message: dict[str, Any]) -> None:
        self.outgoing.append((self.prefix + topic, json.dumps(message).encode()))


class Client:
    """An MQTT client on a perfect link to `service`, as the agent needs one.

    A link that is lost takes its subscriptions with it, and nothing unsubscribed is delivered.
    sent, subscribed: what the board asked of it, as (topic, payload, QoS) and (topic, QoS).
    """

    def __init__(self, service: JobService) -> None:
        self.service = service
        self.agent: Any = None
        self.filters: list[str] = []
        self.sent: list[tuple[str, bytes, int]] = []
        self.subscribed: list[tuple[str, int]] = []

    def subscribe(self, topic: str, qos: int = 0) -> None:
        self._check()
        self.filters.append(topic)
        self.subscribed.append((topic, qos))

    def unsubscribe(self, topic: str) -> None:
        self._check()
        self.filters.remove(topic)

    def publish(self, topic: str, msg: bytes, retain: bool = False, qos: int = 0) -> None:
        self._check()
        self.sent.append((topic, bytes(msg), qos))
        self.service.handle(topic, bytes(msg))

    def deliver(self, count: int = 1) -> None:
        """Hand up to `count` waiting messages to the agent."""
        for _ in range(count):
            if self.service.outgoing:
                topic, payload = self.service.outgoing.popleft()
                if any(topic_matches_sub(wanted, topic) for wanted in self.filters):
                    self.agent.on_message(topic.encode(), payload)

    def _check(self) -> None:
        if not self.service.online:
            self.filters.clear()
            raise LinkDown(104, "reset")
