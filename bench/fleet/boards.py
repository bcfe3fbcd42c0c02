"""Light boards, many in one process: `python -m bench.fleet.boards`, orders on standard input.

Each has a connection of its own, speaks the words of the agent, and asks again as the agent does. A
*reader* asks for the windows of one object (firmware/ota/stream_cbor.py), one after the other and
from its beginning again; it looks at each block's number and passes the bytes over. A *reporter*
reports progress, again and again. An *updater* does the whole way of an update: it connects, asks
for its job, reads the object, and reports until the service has answered SUCCEEDED.
An order is a line of JSON (`Order`); the answer is one, too (`Told`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from bench.fleet import packets
from bench.fleet.link import Board, Work
from bench.fleet.orders import (
    BLOCKS,
    JOB,
    REPORTS,
    UPDATES,
    WINDOW,
    Order,
    Told,
    Window,
    data_topic,
    get_topic,
    index_of,
    is_block,
)
from bench.fleet.patience import Patience
from twinslot.formats import aws

_SWEEP = 0.05  # seconds between two looks at answers that are late
_AT_ONCE = 100  # connections that readers and reporters open at the same time
_PATIENCE = 60  # seconds until their connections and subscriptions are there
_CONNECTING = 20  # seconds that an updater gives a connection


class _Reader(Board):
    """Asks for windows of the object."""

    def __init__(self, work: Work, thing: str) -> None:
        super().__init__(work, thing)
        self._topic = get_topic(work.order.root, thing, work.order.stream)
        self._window = Window(work.order.blocks)

    def answers(self) -> list[str]:
        data = data_topic(self.order.root, self.thing, self.order.stream)
        return [data, data.replace("/data/", "/rejected/")]

    def begin(self) -> None:
        """Ask for the next window, unless time is over."""
        if self.in_time:
            self._window.move(WINDOW)
            self.ask()

    def request(self) -> bytes:
        return packets.publish(self._topic, self._window.request())

    def message(self, data: bytes, at: int, end: int) -> None:
        if not is_block(data, at, end):
            self.told.refused += 1
        elif not self._window.take(index_of(data, at)):
            self.told.again += 1
        else:
            self.told.new += 1
            self.heard()  # the agent's timer begins again with each block
            if self._window.whole:
                self.told.waits.append(self.answered())
                self.begin()


class _Reporter(Board):
    """Reports its progress, at QoS 1, as soon as the report before has been answered."""

    def __init__(self, work: Work, thing: str) -> None:
        super().__init__(work, thing)
        self._topic = aws.topic(thing, f"jobs/{JOB}/update")
        self._number = 0

    def answers(self) -> list[str]:
        return [f"{self._topic}/{end}" for end in ("accepted", "rejected")]

    def begin(self) -> None:
        """Report once more, unless time is over."""
        if self.in_time:
            self._number += 1
            self.ask()

    def request(self) -> bytes:
        details = {"receive": f"{self._number}/{self.order.blocks}"}
        return _report(self._topic, aws.IN_PROGRESS, details, self._number)

    def message(self, data: bytes, at: int, end: int) -> None:
        answer = json.loads(data[at:end])
        if "code" in answer:
            self.told.refused += 1
        elif answer["clientToken"] != str(self._number):
            self.told.again += 1
        else:
            self.told.new += 1
            self.told.waits.append(self.answered())
            self.begin()


class _Updater(Board):
    """Does the whole way of an update, over as many connections as it takes."""

    def __init__(self, work: Work, thing: str) -> None:
        super().__init__(work, thing)
        self._begun_at = time.monotonic()
        self._next = aws.topic(thing, f"jobs/{aws.NEXT_JOB}/get")
        self._update = aws.topic(thing, f"jobs/{work.order.stream}/update")
        self._window = Window(work.order.blocks)
        self._requests = [self._ask_job, self._ask_blocks, self._tell_ready, self._tell_success]
        self._step = 0
        self.done = False

    async def run(self) -> None:
        """Connect, again and again, until the service knows that the update has SUCCEEDED."""
        pause = Patience()
        while not self.done:
            try:
                async with asyncio.timeout(_CONNECTING):
                    await self.connect()
                pause = Patience()
                if self._step:
                    self.repeat()
                else:
                    self.ask()
                await self.gone
            except (OSError, TimeoutError):
                self.close()
            if not self.done:
                pause.repeated()
                await asyncio.sleep(pause.wait())

    def answers(self) -> list[str]:
        ends = ("accepted", "rejected")
        data = data_topic(self.order.root, self.thing, self.order.stream)
        return [
            *(f"{topic}/{end}" for topic in (self._next, self._update) for end in ends),
            aws.topic(self.thing, "jobs/notify-next"),
            data,
            data.replace("/data/", "/rejected/"),
        ]

    def request(self) -> bytes:
        return self._requests[self._step]()

    def message(self, data: bytes, at: int, end: int) -> None:
        if is_block(data, at, end):
            self._block(index_of(data, at))
        elif data[at : at + 1] != b"{":
            self.told.refused += 1  # a stream's refusal is CBOR
        else:
            self._answer(json.loads(data[at:end]))

    def _block(self, index: int) -> None:
        if self._requests[self._step] != self._ask_blocks or not self._window.take(index):
            self.told.again += 1
            return
        if index == 0:
            details = {"receive": f"1/{self.order.blocks}"}
            self.write(_report(self._update, aws.IN_PROGRESS, details, None))
        self.told.new += 1
        self.heard()
        if not self._window.whole:
            return
        self.answered()
        if self._window.last:
            self._go_on()
        else:
            self._window.move(WINDOW)
            self.ask()

    def _answer(self, answer: dict[str, object]) -> None:
        if "code" in answer:
            self.told.refused += 1
        elif answer.get("clientToken") == str(self._step):
            self.answered()
            if self._step + 1 < len(self._requests):
                if self._step == 0:
                    self._window.move(1)  # the head is asked for alone
                self._go_on()
            else:
                self.done = True
                self.told.succeeded += 1
                self.told.waits.append(time.monotonic() - self._begun_at)
                self.close()

    def _go_on(self) -> None:
        self._step += 1
        self.ask()

    def _ask_job(self) -> bytes:
        asked = json.dumps({"clientToken": str(self._step)}).encode()
        return packets.publish_acknowledged(self._next, asked, 1)

    def _ask_blocks(self) -> bytes:
        topic = get_topic(self.order.root, self.thing, self.order.stream)
        return packets.publish(topic, self._window.request())

    def _tell_ready(self) -> bytes:
        return _report(self._update, aws.IN_PROGRESS, {"self_test": "ready"}, self._step)

    def _tell_success(self) -> bytes:
        return _report(self._update, aws.SUCCEEDED, {"reason": "accepted"}, self._step)


def _report(topic: str, status: str, details: dict[str, str], token: int | None) -> bytes:
    """Return a report at QoS 1. token: what its answer brings back, None for none."""
    report: dict[str, object] = {"status": status, "statusDetails": details}
    if token is not None:
        report["clientToken"] = str(token)
    number = (token or 0) % 65535 + 1
    return packets.publish_acknowledged(topic, json.dumps(report).encode(), number)


_ASKING: dict[str, type[_Reader] | type[_Reporter]] = {BLOCKS: _Reader, REPORTS: _Reporter}


async def _ask(work: Work, kind: type[_Reader] | type[_Reporter]) -> None:
    """Let boards ask until the time of the order is over; all are connected before it begins."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def connected(thing: str) -> _Reader | _Reporter:
        async with gate, asyncio.timeout(_PATIENCE):
            board = kind(work, thing)
            await board.connect()
            return board

    boards = await asyncio.gather(*map(connected, work.order.things))
    await _go(work)
    for board in boards:
        board.begin()
    while time.monotonic() < work.end:
        await asyncio.sleep(_SWEEP)
        _look(boards)
    for board in boards:
        board.close()


async def _update(work: Work) -> None:
    """Let all boards begin their updates at once; until the last has ended, or time is over."""
    await _go(work)
    boards = [_Updater(work, thing) for thing in work.order.things]
    ways = [asyncio.create_task(board.run()) for board in boards]
    while time.monotonic() < work.end and not all(way.done() for way in ways):
        await asyncio.sleep(_SWEEP)
        _look(boards)
    for way in ways:
        way.cancel()
    for board in boards:
        board.close()
    await asyncio.gather(*ways, return_exceptions=True)
    for way in ways:
        if not way.cancelled() and (error := way.exception()) is not None:
            raise error


async def _go(work: Work) -> None:
    """Say that all is ready, and wait for the word to begin."""
    _say({"ready": len(work.order.things)})
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    work.end = time.monotonic() + work.order.seconds


def _look(boards: Sequence[Board]) -> None:
    now = time.monotonic()
    for board in boards:
        board.look(now)


async def _carry_out(order: Order) -> Told:
    work = Work(order)
    if order.kind == UPDATES:
        await _update(work)
    else:
        await _ask(work, _ASKING[order.kind])
    begun = work.end - order.seconds
    return replace(work.told, seconds=time.monotonic() - begun)


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Carry out orders until standard input ends."""
    for line in sys.stdin:
        _say(asdict(asyncio.run(_carry_out(Order(**json.loads(line))))))


if __name__ == "__main__":
    main()
