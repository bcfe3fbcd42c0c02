"""Calls for many boards: at once, in their order, and ended by the first error."""

import io
import threading

import pytest
from rich.console import Console

from twinslot.cli.views import counting
from twinslot.client import many


def test_calls_are_made_at_once_and_results_keep_the_order_of_the_items() -> None:
    together = threading.Barrier(many.AT_ONCE, timeout=10)  # passed only by so many at once

    def call(number: int) -> int:
        together.wait()
        return 2 * number

    assert many.each(call, range(2 * many.AT_ONCE)) == [*range(0, 4 * many.AT_ONCE, 2)]
    assert many.each(call, []) == []


def test_the_first_error_is_raised_and_calls_that_wait_are_not_made() -> None:
    begun: list[int] = []
    failed = threading.Event()

    def call(number: int) -> None:
        begun.append(number)
        if number == 0:
            failed.set()
            raise ValueError("the first")
        assert failed.wait(10)

    with pytest.raises(ValueError, match="the first"):
        many.each(call, range(10_000))
    assert len(begun) < 10_000


def test_each_result_is_counted_in_turn() -> None:
    counts: list[tuple[int, int]] = []
    many.each(str, range(30), lambda done, every: counts.append((done, every)))
    assert counts == [(done, 30) for done in range(1, 31)]


@pytest.mark.parametrize(
    ("calls", "terminal", "shown"), [(30, True, True), (20, True, False), (30, False, False)]
)
def test_many_calls_are_counted_on_a_terminal_and_nowhere_else(
    calls: int, terminal: bool, shown: bool
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=80)
    with counting("boards looked up", console) as counted:
        many.each(str, range(calls), counted)
    assert (f"{calls}/{calls}" in screen.getvalue()) is shown
    assert ("boards looked up" in screen.getvalue()) is shown
