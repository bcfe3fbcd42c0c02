"""`make bench-service`: does the service go on at its usual speed whatever strangers do?

Every figure is measured in one run, first alone and then beside the attackers, who take processor
time of the same machine. It ends with 1 when a figure misses its bound.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import click
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

from bench import strangers
from bench.run import DEFAULT, TYPICAL, Bench, BenchError, bench
from demo.children import StartError, die_with_parent
from tools.natives import NativeMissing
from tools.paths import CACHE, ROOT
from twinslot import service_notes
from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.formats.chips import SECTOR

BOARDS = 10  # ask while the loud one does
ASKED = 8  # requests of each
_PAUSE = 0.03  # seconds between two requests of the others
_PATIENCE = 60  # seconds
_OBJECT = 262_144  # bytes of an update
_PART = 32_768  # bytes of it that come by one connection


@dataclass(frozen=True)
class Figure:
    """One row: what was measured alone and beside strangers; `holds` says whether it may be so."""

    name: str
    alone: str
    beside: str
    bound: str
    holds: bool


class Crowd:
    """One service with its broker and a simulated board, and what is asked of them."""

    def __init__(self, running: Bench) -> None:
        self._running = running
        self._stack = running.stack
        self._endpoint = service_notes.find_endpoint(self._stack.config)
        self._ports = [
            urlsplit(url).port or 0 for url in (self._endpoint.control, self._endpoint.data)
        ]

    def connections(self) -> Iterator[Figure]:
        """What an update costs alone, and among those that fill the ports."""
        alone = self._update()
        memory = self._memory()
        with _Strangers("connections", *map(str, self._ports)), self._peak() as peak:
            beside = self._update()
        for name, before, after in zip(
            ("update by MQTT, KB/s", "update by HTTP, KB/s"),
            alone,
            beside,
            strict=True,
        ):
            kept = after / before
            yield Figure(
                name, f"{before:.0f}", f"{after:.0f} ({kept:.2f})", "0.80 at least", kept >= 0.8
            )
        grown = max(peak) - memory
        yield Figure(
            "memory of the service, MB",
            f"{memory:.0f}",
            f"{max(peak):.0f}",
            "64 more at most",
            grown <= 64,
        )

    def requests(self) -> Iterator[Figure]:
        """How long other boards wait for an answer, alone and while one asks without end."""
        things = [f"quiet-{number}" for number in range(BOARDS)]
        for thing in (strangers.LOUD, *things):
            self._stack.clients.iot.create_thing(thingName=thing)
        with contextlib.ExitStack() as asking:
            quiet = [
                asking.enter_context(_asking(self._stack.broker_port, thing)) for thing in things
            ]
            alone = _waits(quiet)
            with _Strangers("requests", str(self._stack.broker_port)) as loud:
                loud.say("go")
                beside = _waits(quiet)
                answered = json.loads(loud.hear())
        seconds = answered.pop("seconds")
        meanwhile = [wait for at, wait in beside if at < seconds]
        usual = median(wait for _, wait in alone)
        yield Figure(
            "answer to another board meanwhile, ms",
            f"{1000 * usual:.0f}",
            f"{1000 * median(meanwhile):.0f} (at most {1000 * max(meanwhile):.0f})",
            "200 more at most",
            median(meanwhile) - usual <= 0.2,
        )
        lost = len(alone) - len(beside)
        yield Figure("requests of others without an answer", "0", str(lost), "0", not lost)
        yield Figure(
            f"requests of the loud one answered within {seconds:.1f} s",
            "",
            ", ".join(f"{count} {word}" for word, count in sorted(answered.items())),
            f"{strangers.REQUESTS} together",
            sum(answered.values()) == strangers.REQUESTS,
        )

    def _update(self) -> tuple[float, float]:
        return self._running.measure(DEFAULT, 0).rate, self._by_http()

    def _by_http(self) -> float:
        """KB/s of a board that erases and programs each sector, and has a new connection often."""
        s3 = self._stack.clients.s3
        s3.put_object(Bucket="bench", Key="object", Body=bytes(_OBJECT))
        signed = s3.generate_presigned_url("get_object", {"Bucket": "bench", "Key": "object"})
        url = urlsplit(signed)
        begun = time.monotonic()
        for first in range(0, _OBJECT, _PART):
            link = http.client.HTTPConnection("127.0.0.1", self._ports[1], timeout=_PATIENCE)
            wanted = {"Range": f"bytes={first}-{first + _PART - 1}", "host": url.netloc}
            link.request("GET", f"{url.path}?{url.query}", headers=wanted)
            answer = link.getresponse()
            for _ in range(_PART // SECTOR):
                if len(answer.read(SECTOR)) != SECTOR:
                    raise BenchError("the service did not hand out the bytes of a range")
                time.sleep((TYPICAL.erase + TYPICAL.program) / 1000)
            link.close()
        return _OBJECT / 1000 / (time.monotonic() - begun)

    def _memory(self) -> float:
        """MB that the service has in memory."""
        asked = ["ps", "-o", "rss=", "-p", str(self._endpoint.pid)]
        return int(subprocess.run(asked, capture_output=True, check=True).stdout) / 1024

    @contextlib.contextmanager
    def _peak(self) -> Iterator[list[float]]:
        """Collect what the service has in memory, once a second."""
        found = [self._memory()]
        over = threading.Event()

        def look() -> None:
            while not over.wait(1):
                found.append(self._memory())

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield found
        finally:
            over.set()
            thread.join()


class _Strangers:
    """The process of `bench.strangers`, ready within the context."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", strangers.__name__, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )

    def __enter__(self) -> _Strangers:
        self.hear()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def say(self, line: str) -> None:
        """Send a line to its standard input."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def hear(self) -> str:
        """Return the next line that it prints."""
        return self._process.stdout.readline() if self._process.stdout is not None else ""


@contextlib.contextmanager
def _asking(port: int, thing: str) -> Iterator[Callable[[], Callable[[], float | None]]]:
    """A board; each call asks once, and returns how to look at the wait for the answer."""
    topic = aws.topic(thing, f"jobs/{aws.NEXT_JOB}/get")
    waits: dict[str, float] = {}
    sent: dict[str, float] = {}
    subscribed = threading.Event()

    def hear(_client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        token = json.loads(message.payload)["clientToken"]
        waits[token] = time.monotonic() - sent[token]

    def ask() -> Callable[[], float | None]:
        token = str(len(sent))
        sent[token] = time.monotonic()
        client.publish(topic, json.dumps({"clientToken": token}), 1)
        return lambda: waits.get(token)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, thing)
    client.on_message = hear
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe(f"{topic}/accepted", 1)
    subscribed.wait(_PATIENCE)
    yield ask
    client.disconnect()
    client.loop_stop()


def _waits(boards: list[Callable[[], Callable[[], float | None]]]) -> list[tuple[float, float]]:
    """When each request of the boards was sent, and how long its answer took, in seconds.

    Only of requests that were answered; the time counts from the first one.
    """
    begun = time.monotonic()
    looks = []
    for _ in range(ASKED):
        for ask in boards:
            looks.append((time.monotonic() - begun, ask()))
            time.sleep(_PAUSE)
    end = time.monotonic() + _PATIENCE
    while any(look() is None for _, look in looks) and time.monotonic() < end:
        time.sleep(0.05)
    return [(at, wait) for at, look in looks if (wait := look()) is not None]


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench")
def main(out: Path) -> None:
    """Measure an update and the answers of the service, alone and beside strangers."""
    console = Console()
    try:
        with bench(CACHE / "bench", size=_OBJECT, flash=TYPICAL) as running:
            crowd = Crowd(running)
            found = [*crowd.connections(), *crowd.requests()]
    except (FleetError, StartError, NativeMissing) as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(2)
    table = Table("", "alone", "beside strangers", "bound", "")
    for figure in found:
        table.add_row(
            figure.name, figure.alone, figure.beside, figure.bound, "" if figure.holds else "MISSED"
        )
    console.print(table)
    out.mkdir(parents=True, exist_ok=True)
    rows = [vars(figure) for figure in found]
    (out / "service.json").write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(0 if all(figure.holds for figure in found) else 1)


if __name__ == "__main__":
    main()
