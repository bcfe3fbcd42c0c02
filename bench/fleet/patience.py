"""When a light board asks again, by the agent's rule. Pure: no clock.

The first wait is the agent's setting `request_ms`, or four times the round trip of its requests so
far, whichever is longer: a service that has much to do answers later, and asking it again makes
that worse. Each repeat without an answer doubles the wait. A random part keeps boards apart that
began together.
"""

from __future__ import annotations

import random
from collections.abc import Callable

LEAST, MOST = 2.5, 60.0
"""Seconds: the setting, and the longest wait but for its random part."""

_ROUND_TRIPS = 4
_JITTER = 0.25
_WEIGHT = 1 / 8  # of a new round trip in the smoothed one, as TCP has it (RFC 6298, 2.3)


class Patience:
    """The waits of one board."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        """chance: returns a number from 0 to 1."""
        self._chance = chance
        self._round_trip: float | None = None
        self._repeats = 0

    def wait(self) -> float:
        """Return the seconds after which the request that goes out now is repeated."""
        first = max(LEAST, _ROUND_TRIPS * (self._round_trip or 0))
        wait = min(first * float(2**self._repeats), MOST)
        return wait * (1 + _JITTER * self._chance())

    def repeated(self) -> None:
        """Note that nothing has come in time."""
        self._repeats += 1

    def answered(self, took: float) -> None:
        """Note an answer. took: seconds since the request went out for the first time."""
        before = took if self._round_trip is None else self._round_trip
        self._round_trip = before + _WEIGHT * (took - before)
        self._repeats = 0
