"""When a light board asks again, by the agent's rule (firmware/ota/mqtt_stream.py). Pure: no clock.

The first wait is the agent's setting `request_ms`, or four times the round trip of its requests so
far, whichever is longer: a service that has much to do answers later, and asking it again makes
that worse. Each repeat without an answer doubles the wait, until a request that was not repeated
shows a round trip. A random part keeps boards apart that began together.
"""

from __future__ import annotations

import random
from collections.abc import Callable

LEAST, MOST = 2.5, 60.0
"""Seconds: the settings `request_ms` and `retry_max_ms`; the random part comes on top."""

_ROUND_TRIPS = 4
_JITTER = 0.25
_WEIGHT = 1 / 4  # of a new round trip in the smoothed one


class Patience:
    """The waits of one board."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        """chance: returns a number from 0 to 1."""
        self._chance = chance
        self._round_trip: float | None = None
        self._pause = LEAST

    def wait(self) -> float:
        """Return the seconds after which the request that goes out now is repeated."""
        return self._pause * (1 + _JITTER * self._chance())

    def repeated(self) -> None:
        """Note that nothing has come in time."""
        self._pause = min(2 * self._pause, MOST)

    def measured(self, took: float) -> None:
        """Note a round trip: seconds from a request to the first part of its answer.

        An answer to a repeated request shows none (RFC 6298, 3: Karn's rule).
        """
        before = took if self._round_trip is None else self._round_trip
        self._round_trip = before + _WEIGHT * (took - before)
        self._pause = min(max(LEAST, _ROUND_TRIPS * self._round_trip), MOST)
