"""Measure: one broker, one service, and boards that ask it, and then the bare publisher."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.fleet import bare, boards, identities
from bench.fleet.orders import (
    BARE,
    BLOCK,
    BLOCKS,
    JOB,
    REPORTS,
    SERVICE,
    STREAM,
    UPDATES,
    Order,
    Told,
)
from bench.run import BenchError
from demo.children import die_with_parent
from demo.stack import Stack
from tools.paths import ROOT
from twinslot.client import many
from twinslot.client.own_service import BUCKET, ROLE
from twinslot.formats import aws, document

SIZE = 1_048_576
"""Bytes of the object that all boards ask for, again and again."""

_ONE_BY_ONE = 100  # calls of CreateThing whose time is told; the rest are made at once
_PATIENCE = 60  # seconds
_FLUSHED = 2.0  # seconds after which the service has noted which blocks it sent


@dataclass(frozen=True)
class Load:
    """One measurement.

    cpu, broker: seconds of processor time of the side that answers, and of the broker; memory: KB
    that the first had at most; sent: blocks that the service says it sent, 0 where nobody counted.
    """

    boards: int
    told: Told
    cpu: float
    broker: float
    memory: int
    sent: int = 0

    @property
    def rate(self) -> float:
        """New blocks, or answers, a second."""
        return self.told.new / self.told.seconds

    @property
    def cost(self) -> float:
        """Microseconds of processor time for each block or answer that was sent."""
        return 1e6 * self.cpu / max(1, self.told.new + self.told.again)

    @property
    def twice(self) -> float:
        """The share of blocks that the service sent although it had sent them before."""
        return (self.sent - self.told.new) / max(1, self.told.new)

    @property
    def median(self) -> float:
        """Milliseconds until a window, or an answer, is there."""
        return 1000 * median(self.told.waits or [0])

    @property
    def slow(self) -> float:
        """Milliseconds within which 99 of 100 were there."""
        return 1000 * quantiles(self.told.waits or [0, 0], n=100)[-1]


class Fleet:
    """A service, its broker and one job that all boards of this run have."""

    def __init__(self, stack: Stack, things: list[str], starts: Sequence[int] = ()) -> None:
        """Make the things known, and offer them the object. Its blocks are the service's answer.

        starts: numbers of boards whose start is measured; each has boards of its own.
        """
        self._stack = stack
        self._things = things
        self._object = random.Random(1).randbytes(SIZE)  # noqa: S311 - no secret
        self._starting = {
            count: [f"start-{count}-{number:04}" for number in range(count)] for count in starts
        }
        every = [*things, *(thing for some in self._starting.values() for thing in some)]
        self._identities = ""
        if stack.tls:
            self._identities = str(identities.issue(stack, every, bare.NAME))
        iot, s3 = stack.clients.iot, stack.clients.s3
        self._arns: dict[str, str] = {}
        begun = time.monotonic()
        for thing in things[:_ONE_BY_ONE]:
            self._arns[thing] = iot.create_thing(thingName=thing)["thingArn"]
        self.create_thing = 1000 * (time.monotonic() - begun) / len(self._arns)
        self._create(every)
        s3.put_object(Bucket=BUCKET, Key="bench", Body=self._object)
        self.memory = _memory(stack.endpoint.pid)
        self.create_job = self._job(JOB, things)

    def told(self, count: int) -> float:
        """Return the seconds in which so many new things are told of one job.

        They begin with the call that makes the job, and end with the last `notify-next` at a
        listener. The things are known before.
        """
        things = [f"told-{number:04}" for number in range(count)]
        self._create(things)
        heard = threading.Semaphore(0)
        listener = mqtt.Client(CallbackAPIVersion.VERSION2)
        listening = threading.Event()
        listener.on_message = lambda *_: heard.release()
        listener.on_subscribe = lambda *_: listening.set()
        listener.connect(identities.HOST, self._stack.broker_port)
        listener.loop_start()
        try:
            listener.subscribe(aws.topic("+", "jobs/notify-next"))
            if not listening.wait(_PATIENCE):
                raise BenchError("the broker confirms no subscription")
            begun = time.monotonic()
            self._job("told", things)
            for number in range(count):
                if not heard.acquire(timeout=_PATIENCE):
                    raise BenchError(f"{number} of {count} things were told of their job")
            return time.monotonic() - begun
        finally:
            listener.disconnect()
            listener.loop_stop()

    def start(self, count: int, seconds: float) -> Load:
        """So many boards begin an update in the same moment; until all have ended it.

        seconds: the most that it may take. Raises BenchError where the service knows of fewer
        updates than boards say that they have brought to their end.
        """
        job = f"start-{count}"
        self._job(job, self._starting[count])
        service = self._stack.endpoint.pid
        load = self._load(UPDATES, SERVICE, self._starting[count], seconds, service, stream=job)
        time.sleep(_FLUSHED)
        blocks = [one["blocks"] for one in self._stack.clients.traffic(job)["things"].values()]
        described = self._stack.clients.iot.describe_job(jobId=job)["job"]["jobProcessDetails"]
        if described["numberOfSucceededThings"] < load.told.succeeded:
            raise BenchError(f"{load.told.succeeded} boards were answered; of {job}: {described}")
        return replace(load, sent=sum(blocks))

    def service(self, count: int, seconds: float) -> Load:
        """So many boards ask the service for blocks."""
        return self._steady(BLOCKS, SERVICE, count, seconds, self._stack.endpoint.pid)

    def reports(self, count: int, seconds: float) -> Load:
        """So many boards report progress to the service."""
        return self._steady(REPORTS, SERVICE, count, seconds, self._stack.endpoint.pid)

    def bare(self, count: int, seconds: float, pause: float = 0) -> Load:
        """So many boards ask the bare publisher. pause: seconds before each of its looks."""
        arguments = [str(self._stack.broker_port), str(pause), *filter(None, [self._identities])]
        with _child(bare.__name__, *arguments) as process:
            _pipe(process.stdin).write(self._object)
            _pipe(process.stdin).close()
            _pipe(process.stdout).readline()
            return self._steady(BLOCKS, BARE, count, seconds, process.pid)

    def command(self, *arguments: str) -> tuple[float, int]:
        """Seconds that a `fleet` command takes, and the lines that it prints."""
        begun = time.monotonic()
        shown = self._stack.fleet(*arguments)
        return time.monotonic() - begun, len(shown.splitlines())

    def _create(self, things: Sequence[str]) -> None:
        """Make things known that are not yet."""
        iot = self._stack.clients.iot
        new = [thing for thing in things if thing not in self._arns]
        made = many.each(lambda thing: iot.create_thing(thingName=thing)["thingArn"], new)
        self._arns.update(zip(new, made, strict=True))

    def _job(self, name: str, things: Sequence[str]) -> float:
        """Offer the object to things; return the seconds that CreateJob took."""
        iot = self._stack.clients.iot
        location = {"s3Location": {"bucket": BUCKET, "key": "bench"}}
        iot.create_stream(streamId=name, files=[{"fileId": 0, **location}], roleArn=ROLE)
        offered = [document.File("bench", SIZE, location=document.Location(BUCKET, "bench"))]
        text = document.of_update(offered, ["MQTT"], name, self._stack.clients.region)
        targets = [self._arns[thing] for thing in things]
        begun = time.monotonic()
        iot.create_job(jobId=name, targets=targets, document=text)
        return time.monotonic() - begun

    def _steady(self, kind: str, root: str, count: int, seconds: float, answering: int) -> Load:
        return self._load(kind, root, self._things[:count], seconds, answering, stream=STREAM)

    def _load(
        self,
        kind: str,
        root: str,
        things: list[str],
        seconds: float,
        answering: int,
        *,
        stream: str,
    ) -> Load:
        port, blocks = self._stack.broker_port, SIZE // BLOCK
        order = Order(kind, port, root, things, stream, blocks, seconds, self._identities)
        broker = self._stack.broker_pid
        with _child(boards.__name__) as process:
            _ask(process, asdict(order))
            before = _cpu(answering), _cpu(broker)
            told = Told(**_ask(process, "go"))
            after = _cpu(answering), _cpu(broker)
        used = [end - begin for begin, end in zip(before, after, strict=True)]
        return Load(len(things), told, used[0], used[1], _memory(answering))


@contextmanager
def _child(module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _ask(process: subprocess.Popen[bytes], message: object) -> Any:
    """Send a line of JSON, and return the next one. Raises BenchError where none comes."""
    pipe = _pipe(process.stdin)
    pipe.write(json.dumps(message).encode() + b"\n")
    pipe.flush()
    line = _pipe(process.stdout).readline()
    if not line:
        raise BenchError("the boards' process ended; its error stands above")
    return json.loads(line)


def _pipe(pipe: Any) -> Any:
    if pipe is None:
        raise BenchError("a process without pipes")
    return pipe


def _cpu(pid: int) -> float:
    """Seconds of processor time of a process, with the system's for it."""
    if sys.platform != "linux":
        raise BenchError("another process's processor time is read as Linux alone has it")
    # What clock_getcpuclockid(3) makes of a process's id: _CPUCLOCK_SCHED is 2, of all threads.
    return time.clock_gettime((~pid << 3) | 2)


def _memory(pid: int) -> int:
    """KB that a process had in memory, at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
