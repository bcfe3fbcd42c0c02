"""The power may fail at any flash operation; the board finds its way by itself."""

from __future__ import annotations

import gc
import random
from pathlib import Path

import pytest
from agent_bench import Bench, packed
from nor import PowerCut

SMALL = 9_000  # bytes of image: three sectors
WIDE = 70_000  # 64 KB and two sectors
SEED = 20261123


def update(bench: Bench, size: int, cut_at: int | None = None) -> bool:
    """Carry out one update from a fresh board, cut at an operation. Says whether the cut came."""
    bench.service.add("job-1", packed("1.1.0", 2, size=size))
    bench.board.flash.cut_at = cut_at
    was_cut = False
    for _ in range(12):
        ended = bench.boot(checkpoint_blocks=2) or bench.step()
        was_cut = was_cut or isinstance(ended, PowerCut)
        if ended is None:
            return was_cut
    raise AssertionError(f"cut at operation {cut_at}: the board resets without end")


def operations(folder: Path, size: int) -> int:
    """How many flash operations the whole update has."""
    bench = Bench(folder)
    assert not update(bench, size)
    return int(bench.board.flash.operations)


def check(folder: Path, size: int, cut_at: int) -> None:
    bench = Bench(folder)
    assert update(bench, size, cut_at), f"operation {cut_at} never came"
    assert bench.board.running == 1
    assert bench.agent.running == ("1.1.0", 2)
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.agent.image_state == 2
    assert bench.agent.state == "Ready"


def sample(folder: Path, size: int, count: int) -> None:
    """Check cuts at so many operations, chosen by SEED."""
    last = operations(folder / "count", size)
    for cut_at in random.Random(SEED).sample(range(1, last + 1), count):
        check(folder / str(cut_at), size, cut_at)


@pytest.fixture
def psram(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chip with 4 MB of heap, which writes 64 KB at a time."""
    monkeypatch.setattr(gc, "mem_free", lambda: 4 << 20, raising=False)


def test_a_cut_at_sampled_operations_ends_in_the_new_version(tmp_path: Path) -> None:
    sample(tmp_path, SMALL, 40)


@pytest.mark.slow
@pytest.mark.usefixtures("psram")
def test_a_cut_while_64_kb_are_written_ends_in_the_new_version(tmp_path: Path) -> None:
    sample(tmp_path, WIDE, 12)


@pytest.mark.slow
def test_a_cut_at_every_operation_ends_in_the_new_version(tmp_path: Path) -> None:
    for cut_at in range(1, operations(tmp_path / "count", SMALL) + 1):
        check(tmp_path / str(cut_at), SMALL, cut_at)


@pytest.mark.slow
@pytest.mark.usefixtures("psram")
def test_a_cut_at_every_fourth_operation_of_64_kb_ends_in_the_new_version(tmp_path: Path) -> None:
    # Most of them program one page of 256 bytes after the other.
    for cut_at in range(1, operations(tmp_path / "count", WIDE) + 1, 4):
        check(tmp_path / str(cut_at), WIDE, cut_at)
