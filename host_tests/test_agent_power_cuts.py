"""The power may fail at any flash operation; the board finds its way by itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from nor import PowerCut
from test_agent_update import Bench, packed

SMALL = 9_000  # bytes of image: three sectors
SEED = 20261123


def update(bench: Bench, cut_at: int | None = None) -> bool:
    """Carry out one update from a fresh board, cut at an operation. Says whether the cut came."""
    bench.service.add("job-1", packed("1.1.0", 2, size=SMALL))
    bench.board.flash.cut_at = cut_at
    was_cut = False
    for _ in range(12):
        ended = bench.boot() or bench.step()
        was_cut = was_cut or isinstance(ended, PowerCut)
        if ended is None:
            return was_cut
    raise AssertionError(f"cut at operation {cut_at}: the board resets without end")


def operations(folder: Path) -> int:
    """How many flash operations the whole update has."""
    bench = Bench(folder)
    assert not update(bench)
    return int(bench.board.flash.operations)


def check(folder: Path, cut_at: int) -> None:
    bench = Bench(folder)
    assert update(bench, cut_at), f"operation {cut_at} never came"
    assert bench.board.running == 1
    assert bench.agent.running == ("1.1.0", 2)
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.agent.image_state == 2
    assert bench.agent.state == "Ready"


def test_a_cut_at_sampled_operations_ends_in_the_new_version(tmp_path: Path) -> None:
    count = operations(tmp_path / "count")
    for cut_at in random.Random(SEED).sample(range(1, count + 1), 40):
        check(tmp_path / str(cut_at), cut_at)


@pytest.mark.slow
def test_a_cut_at_every_operation_ends_in_the_new_version(tmp_path: Path) -> None:
    for cut_at in range(1, operations(tmp_path / "count") + 1):
        check(tmp_path / str(cut_at), cut_at)
