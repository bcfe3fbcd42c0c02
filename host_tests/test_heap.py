"""A large update passes with the heap of a small chip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from link_fixtures import need
from official import HTTP, MQTT, PACKAGE, RAW, Site

from demo.stack import Stack
from tools import heap, size
from twinslot.board import files

# For one try: in a heap that is nearly full the place of things is a matter of chance.
ONCE = heap.MOST + 8


@pytest.mark.slow
def test_an_update_of_1_6_mb_passes_with_the_heap_of_a_small_chip(tmp_path: Path) -> None:
    """Once; `make size` looks for the smallest that suffices, and holds it against its budget."""
    need("mosquitto")
    with Stack(tmp_path / "stack", interpreter="micropython") as stack:
        share = heap.measure_share(stack)
        assert 0 < share.umqtt < share.modules < heap.MOST
        assert heap.takes_update(stack, heap.MOST, stack.pack("2.0.0", 2, size=heap.IMAGE_SIZE))


def test_no_budget_of_a_heap_is_above_what_a_small_chip_has() -> None:
    budgets = tomllib.loads(size.BUDGETS.read_text(encoding="utf-8"))["heap"]
    assert set(budgets) == {"rest", "import", "idle", "peak", "application"}
    assert max(budgets.values()) <= heap.MOST


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [MQTT, HTTP])
@pytest.mark.parametrize("form", [RAW, PACKAGE])
def test_a_job_by_either_road_passes_with_it_too(tmp_path: Path, form: str, protocol: str) -> None:
    with (
        Site(tmp_path / "site", interpreter="micropython") as site,
        site.case("board-1", form, protocol, heapsize=f"{ONCE}wk") as case,
    ):
        case.start()
        job = case.offer(case.image("0.9.1"))
        ended = case.ended(job)
        assert ended == ("SUCCEEDED", "accepted v0.9.1"), case.execution(job)["statusDetails"]


def test_an_agent_at_rest_keeps_nothing_of_what_an_update_needs(tmp_path: Path) -> None:
    """One object whose class or function lives in a module keeps that, and all that it names."""
    budget = tomllib.loads(size.BUDGETS.read_text(encoding="utf-8"))["heap"]["rest"]
    with Stack(tmp_path / "stack", interpreter="micropython") as stack:
        assert budget - 4 < heap.agent_at_rest(stack) <= budget


def test_the_networks_memory_is_set_aside_before_pythons_heap_has_to_grow(tmp_path: Path) -> None:
    """An ESP32's first heap has 56 KB; when it grows, it takes what the network needs."""
    application = files.application()
    told = b"""import ota
def _told(tls, set_aside=ota.set_aside):
    gc.collect()
    print(gc.mem_alloc(), "bytes before the network's")
    return set_aside(tls)
ota.set_aside = _told
"""
    application["/main.py"] = application["/main.py"].replace(b"import ota\n", told, 1)
    with (
        Stack(tmp_path / "stack", interpreter="micropython") as stack,
        stack.board("first", application=application) as board,
    ):
        board.start()
        board.wait_console(" bytes before the network's")
        taken = re.search(rb"(\d+) bytes before the network's", board.log_path.read_bytes())
        assert taken
        assert board.heap_share
        assert (int(taken[1]) - board.heap_share) // 2 < 24 * 1024  # a word here has 8 bytes


@pytest.mark.parametrize("needed", [16, 17, 55, 95, 96])
def test_bisection_finds_the_smallest_heap(needed: int) -> None:
    tried: list[int] = []

    def passes(size: int) -> bool:
        tried.append(size)
        return size >= needed

    assert heap.smallest(passes, 16, 96) == needed
    assert len(tried) == len(set(tried)) <= 8


def test_a_heap_that_never_suffices_is_said_to_be_too_small() -> None:
    assert heap.smallest(lambda _: False, 16, 96) is None
