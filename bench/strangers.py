"""The attackers of `bench.crowd`, each a process of its own that says `ready`, until it is ended.

`python -m bench.strangers connections PORT...` fills the service's ports; `python -m
bench.strangers requests PORT` waits for a line, then asks the job service through the broker as one
thing, as fast as it can, and prints what it was answered, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
import threading
import time
from collections import Counter
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from twinslot.formats import aws

SILENT, DRIPPING, UPLOADS, REQUESTS = 5000, 1000, 8, 3000
GIGABYTE = 2**30
LOUD = "loud"
TOPIC = aws.topic(LOUD, f"jobs/{aws.NEXT_JOB}/get")
_AGAIN = 5.0  # seconds until somebody who was thrown out is back
_PATIENCE = 60  # seconds for all answers


async def _silent(port: int) -> None:
    reader, _ = await asyncio.open_connection("127.0.0.1", port)
    await reader.read()


async def _dripping(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx: ")
    while not reader.at_eof():
        writer.write(b"y")
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), 1)


async def _upload(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"PUT /b/k HTTP/1.1\r\nhost: x\r\ncontent-length: {GIGABYTE}\r\n\r\n".encode())
    piece = bytes(65536)
    for _ in range(GIGABYTE // len(piece)):
        writer.write(piece)
        await writer.drain()
    await reader.read()


async def _again_and_again(attack: Any, port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            await attack(port)
        await asyncio.sleep(_AGAIN)


async def _connections(ports: list[int]) -> None:
    tasks = []
    for attack, count in ((_upload, UPLOADS), (_dripping, DRIPPING), (_silent, SILENT)):
        for number in range(count):
            work = _again_and_again(attack, ports[number % len(ports)])
            tasks.append(asyncio.create_task(work))
            if number % 50 == 49:
                await asyncio.sleep(0.01)
    _say("ready")
    await asyncio.gather(*tasks)


def _requests(port: int) -> None:
    answers: dict[str, str] = {}
    subscribed = threading.Event()

    def hear(_client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        found = json.loads(message.payload)
        answers[found["clientToken"]] = found.get("code", "answered")

    client = mqtt.Client(CallbackAPIVersion.VERSION2, LOUD)
    client.on_message = hear
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe([(f"{TOPIC}/{end}", 0) for end in ("accepted", "rejected")])
    subscribed.wait(_PATIENCE)
    _say("ready")
    sys.stdin.readline()
    begun = time.monotonic()
    for number in range(REQUESTS):
        client.publish(TOPIC, json.dumps({"clientToken": str(number)}), 0)
    while len(answers) < REQUESTS and time.monotonic() - begun < _PATIENCE:
        time.sleep(0.01)
    _say(json.dumps({"seconds": time.monotonic() - begun, **Counter(answers.values())}))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Attack."""
    kind, *ports = sys.argv[1:]
    if kind == "requests":
        _requests(int(ports[0]))
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_connections([int(port) for port in ports]))


if __name__ == "__main__":
    main()
