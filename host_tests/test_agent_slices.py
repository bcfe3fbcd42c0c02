"""A signature is verified in slices: no step holds the application's loop for long."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from job_service import LinkDown
from test_agent_update import Bench, packed

# Multiplications of 256 bits: what a doubling, an addition and an inversion (in time) come to.
COST = {"_double": 8, "_add": 11, "_inverse": 60}
# Some 20 ms on a chip, where 4 KB of flash take 30 to 100.
MOST_PER_STEP = 320


class Meter:
    """Counts what ota.p256 does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        p256 = sys.modules["ota.p256"]
        for name in COST:
            monkeypatch.setattr(p256, name, self._counted(getattr(p256, name), COST[name]))

    def _counted(self, function: Any, cost: int) -> Any:
        def counted(*arguments: Any) -> Any:
            times = arguments[3] if function.__name__ == "_double" else 1
            self.count += cost * times
            return function(*arguments)

        return counted


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def until(bench: Bench, condition: Any, meter: Meter | None = None) -> list[int]:
    """Step until the condition holds; return what each step cost by the meter."""
    costs: list[int] = []
    for _ in range(3000):
        if condition():
            return costs
        bench.client.deliver()
        before = meter.count if meter else 0
        bench.agent.step()
        costs.append(meter.count - before if meter else 0)
    raise AssertionError("it never came to that")


def until_verifying(bench: Bench) -> None:
    """Stop in the middle of the verification of the head."""
    agent = bench.agent
    until(bench, lambda: agent._phase == agent._verify)
    for _ in range(5):
        agent.step()
    assert agent._phase == agent._verify


def put_off(_event: str, _detail: Any) -> None:
    """Do nothing as the application, so that a verified image waits."""


def receives(bench: Bench) -> bool:
    """Say whether the head was admitted, so that blocks of the image come."""
    return bool(bench.agent.progress and bench.agent.progress[0] >= 2)


def test_no_step_does_more_than_a_slice_of_a_verification(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(put_off)
    meter = Meter(monkeypatch)
    costs = until(bench, lambda: receives(bench), meter)
    assert sum(costs) > 256 * COST["_double"]
    assert max(costs) <= MOST_PER_STEP

    bench.step()
    asked = []
    bench.boot(lambda event, detail: asked.append((event, detail)))  # finds a verified image
    meter = Meter(monkeypatch)
    costs = until(bench, lambda: asked, meter)
    assert asked == [("Activate", "1.1.0")]
    assert sum(costs) > 256 * COST["_double"]
    assert max(costs) <= MOST_PER_STEP


def test_what_runs_is_known_before_the_first_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.boot()
    meter = Meter(monkeypatch)
    assert bench.agent.running == ("1.0.0", 1)
    bench.step()
    assert meter.count == 0


def test_neither_blocks_nor_a_new_connection_disturb_a_verification(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    until_verifying(bench)
    request = bench.service.stream_requests[-1]
    for _ in range(2):  # the head's block once more, as a slow network may bring it
        bench.service._stream("job-1", request)
    bench.service.stream_requests.clear()
    bench.client.deliver(count=2)
    bench.agent.step()
    assert bench.agent.stats.dropped == 0
    bench.agent.suspend()
    assert bench.agent.step() > 0
    bench.agent.resume()
    bench.agent.shutdown()
    bench.agent.start()
    until(bench, lambda: receives(bench))
    assert all(sent["o"] for sent in bench.service.stream_requests), "no head is asked for again"


def test_a_job_cancelled_while_its_head_is_verified_makes_way_for_the_next(bench: Bench) -> None:
    failed = []
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.boot(lambda event, detail: failed.append((event, str(detail))))
    until_verifying(bench)
    bench.service.cancel("job-1")
    until(bench, lambda: bench.service.details("job-2"))
    assert failed == [("Fail", "the job was cancelled")]
    assert bench.service.details("job-2") == {"receive": "1/11"}


def test_a_verification_that_ran_out_of_memory_is_begun_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    until_verifying(bench)
    monkeypatch.setattr(sys.modules["ota.p256"], "_double", lambda *_: bytearray(1 << 60))
    with pytest.raises(MemoryError):
        bench.agent.step()
    monkeypatch.undo()
    until(bench, lambda: receives(bench))


def test_a_link_that_breaks_while_the_stream_is_opened_costs_no_job(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    subscribe = bench.client.subscribe

    def broken(topic: str, qos: int = 0) -> None:
        raise LinkDown(104, "reset")

    bench.client.subscribe = broken  # type: ignore[method-assign]
    with pytest.raises(LinkDown):
        bench.step()
    assert bench.agent.state == "NotReady"
    bench.client.subscribe = subscribe  # type: ignore[method-assign]
    bench.agent.start()
    until(bench, lambda: receives(bench))
