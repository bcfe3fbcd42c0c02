"""Calls for many boards: at once, in their order, and ended by the first error."""

import threading

import pytest

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
