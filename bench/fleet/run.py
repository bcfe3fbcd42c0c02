"""Measure: one broker, one service, and boards that ask it, and then the bare publisher."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.fleet import bare, boards
from bench.fleet.boards import BARE, BLOCKS, JOB, REPORTS, SERVICE, STREAM, Order, Told
from bench.run import BenchError
from demo.children import die_with_parent
from demo.stack import Stack
from tools.paths import ROOT
from twinslot.client.publish import BUCKET, ROLE
from twinslot.formats import document

SIZE = 1_048_576
"""Bytes of the object that all boards ask for, again and again."""


@dataclass(frozen=True)
class Load:
    """One measurement.

    cpu, broker: seconds of processor time of the side that answers, and of the broker; memory: KB
    that the first had at most.
    """

    boards: int
    told: Told
    cpu: float
    broker: float
    memory: int

    @property
    def rate(self) -> float:
        """New blocks, or answers, a second."""
        return self.told.new / self.told.seconds

    @property
    def cost(self) -> float:
        """Microseconds of processor time for each block or answer that was sent."""
        return 1e6 * self.cpu / max(1, self.told.new + self.told.again)

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

    def __init__(self, stack: Stack, things: list[str]) -> None:
        """Make the things known, and offer them the object. Its blocks are the service's answer."""
        self._stack = stack
        self._things = things
        self._object = random.Random(1).randbytes(SIZE)  # noqa: S311 - no secret
        iot, s3 = stack.clients.iot, stack.clients.s3
        begun = time.monotonic()
        targets = [iot.create_thing(thingName=thing)["thingArn"] for thing in things]
        self.create_thing = 1000 * (time.monotonic() - begun) / len(things)
        s3.put_object(Bucket=BUCKET, Key="bench", Body=self._object)
        location = {"s3Location": {"bucket": BUCKET, "key": "bench"}}
        iot.create_stream(streamId=STREAM, files=[{"fileId": 0, **location}], roleArn=ROLE)
        offered = [document.File("bench", SIZE, location=document.Location(BUCKET, "bench"))]
        text = document.of_update(offered, ["MQTT"], STREAM, stack.clients.region)
        begun = time.monotonic()
        iot.create_job(jobId=JOB, targets=targets, document=text)
        self.create_job = time.monotonic() - begun

    def service(self, count: int, seconds: float) -> Load:
        """So many boards ask the service for blocks."""
        return self._load(BLOCKS, SERVICE, count, seconds, self._stack.endpoint.pid)

    def reports(self, count: int, seconds: float) -> Load:
        """So many boards report progress to the service."""
        return self._load(REPORTS, SERVICE, count, seconds, self._stack.endpoint.pid)

    def bare(self, count: int, seconds: float) -> Load:
        """So many boards ask the bare publisher."""
        with _child(bare.__name__, str(self._stack.broker_port)) as process:
            _pipe(process.stdin).write(self._object)
            _pipe(process.stdin).close()
            _pipe(process.stdout).readline()
            return self._load(BLOCKS, BARE, count, seconds, process.pid)

    def command(self, *arguments: str) -> tuple[float, int]:
        """Seconds that a `fleet` command takes, and the lines that it prints."""
        begun = time.monotonic()
        shown = self._stack.fleet(*arguments)
        return time.monotonic() - begun, len(shown.splitlines())

    def _load(self, kind: str, root: str, count: int, seconds: float, answering: int) -> Load:
        blocks = SIZE // boards.BLOCK
        order = Order(kind, self._stack.broker_port, root, self._things[:count], blocks, seconds)
        broker = self._stack.broker_pid
        with _child(boards.__name__) as process:
            _ask(process, asdict(order))
            before = _cpu(answering), _cpu(broker)
            told = Told(**_ask(process, "go"))
            after = _cpu(answering), _cpu(broker)
        used = [end - begin for begin, end in zip(before, after, strict=True)]
        return Load(count, told, used[0], used[1], _memory(answering))


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
    """Seconds of processor time of a process, with the system's for it (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise BenchError("processor time is read from /proc, which only Linux has") from error
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    """KB that a process had in memory, at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
