"""A link that is lost at any point costs the blocks in flight, and no job.

The application connects again and calls `start()`. A stolen client id is such a loss: the broker
ends the older connection.
"""

from __future__ import annotations

import time
from pathlib import Path

import hardware
import pytest
from agent_bench import Bench, packed
from job_service import LinkDown

SIZE = 40_000
JOB = packed("1.1.0", 2, size=SIZE)
BLOCKS = 11


class Road:
    """An update whose link is lost; a connection is followed by the next, a reset by a boot.

    losses: how often the link was lost. asked: how often each block was asked for.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.losses = 0
        bench.service.add("job-1", JOB)

    def lose(self) -> None:
        """Break the link: what is on its way is gone, the client's next call fails."""
        self.losses += 1
        self.bench.service.online = False
        self.bench.service.outgoing.clear()

    def step(self) -> None:
        """One turn of the application's loop."""
        bench = self.bench

        def turn() -> None:
            try:
                bench.client.deliver()
                if bench.agent.step() and not bench.service.outgoing:
                    time.sleep(0.001)
            except LinkDown:
                assert bench.agent.state == "NotReady"
                bench.service.online = True
                bench.agent.start()

        if isinstance(bench.board.run(turn), hardware.Reset):
            bench.service.online = True  # a chip that starts connects
            while isinstance(bench.boot(), hardware.Reset):
                pass

    def finish(self) -> None:
        """Go on to the job's end, which must be a good one."""
        deadline = time.monotonic() + 20
        while self.bench.service.status("job-1") in ("QUEUED", "IN_PROGRESS"):
            assert time.monotonic() < deadline, self.bench.service.jobs["job-1"]
            self.step()
        assert self.bench.service.status("job-1") == "SUCCEEDED"
        assert self.bench.board.running == 1
        assert self.bench.board.slot_bytes(1, SIZE) == JOB[4096 : 4096 + SIZE]

    @property
    def asked(self) -> int:
        requests = self.bench.service.stream_requests
        return sum(int.from_bytes(request["b"], "little").bit_count() for request in requests)


@pytest.fixture
def road(tmp_path: Path) -> Road:
    return Road(Bench(tmp_path))


@pytest.mark.parametrize("call", range(14))
def test_a_link_lost_at_any_call_of_the_client_costs_no_job(road: Road, call: int) -> None:
    """The calls of a whole update, counted over its restart: requests, reports, subscriptions."""
    service = road.bench.service
    road.bench.boot()
    handled = service.handle
    calls = 0

    def handle(topic: str, payload: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == call + 1:
            road.lose()
            raise LinkDown(104, "reset")
        handled(topic, payload)

    service.handle = handle  # type: ignore[method-assign]
    road.finish()
    assert road.losses == (1 if call < calls else 0)
    assert calls > 6
    assert road.asked <= BLOCKS + 8, "no more than a window again"


@pytest.mark.parametrize("received", [0, 1, 2, 5, 8, 9, 10])
def test_a_link_lost_between_blocks_costs_only_those_in_flight(road: Road, received: int) -> None:
    bench = road.bench
    bench.boot(request_ms=100)
    for _ in range(2000):
        if received == 0 or (bench.agent.progress or (0, 0))[0] >= received:
            break
        road.step()
    asked = road.asked
    road.lose()
    road.finish()
    assert asked <= road.asked <= BLOCKS + 8


def test_a_link_lost_again_and_again_ends_in_a_good_update(road: Road) -> None:
    road.bench.boot(request_ms=100)
    for turn in range(3000):
        if road.bench.service.status("job-1") not in ("QUEUED", "IN_PROGRESS"):
            break
        if turn % 12 == 11:
            road.lose()
        road.step()
    road.finish()
    assert road.losses >= 3
