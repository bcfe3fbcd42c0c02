"""How a board asks a stream service that is busy: seldom, and no two boards at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import agent_modules
import path_kits
import pytest
from ota.window import Window

MODULES = agent_modules.loaded()
PERIOD_MS = 2500
JITTER = 1.25


class Service:
    """The stream service with its answers under the test's hand. path: the board's data path."""

    def __init__(self) -> None:
        self._kit = path_kits.Stream("cbor")
        self.path = self._kit.open()
        self._world: Any = self._kit.world
        self.window = Window(len(self._kit.data), 1024, 2)

    def ask(self) -> None:
        """Let the board ask for a window."""
        assert self.path.request(self.window) == 0

    def answer(self, trip_ms: int) -> None:
        """Let all blocks of the oldest request come after `trip_ms`."""
        self._world.clock.now += trip_ms
        for _ in range(2):
            self._world.client.deliver(self._world.inbox)
            index = self.path.poll(self.window)
            self.window.mark(index)
            self.path.release()

    def silence(self) -> int:
        """Let nothing come until the board repeats its request; return the milliseconds."""
        coming: list[Any] = self._world.client.coming
        coming.clear()
        waited = int(self.path.request(self.window))
        self._world.clock.now += waited - 1
        self.path.request(self.window)
        assert not coming, "it was too early"
        self._world.clock.now += 1
        self.path.request(self.window)
        assert coming, "it was not repeated"
        return waited

    def close(self) -> None:
        self._kit.close()


@pytest.fixture
def service() -> Iterator[Service]:
    agent_modules.restore(MODULES)
    service = Service()
    service.ask()
    yield service
    service.close()


def between(waited: int, pause: int) -> bool:
    return pause <= waited <= pause * JITTER


def test_the_pauses_between_repeated_requests_double_up_to_the_longest(service: Service) -> None:
    wanted = [2500, 5000, 10_000, 20_000, 40_000, 60_000, 60_000]
    found = [service.silence() for _ in wanted]
    assert all(map(between, found, wanted)), found


def test_boards_that_began_together_do_not_repeat_together(service: Service) -> None:
    repeats = {service.silence() for _ in range(40)}
    assert len(repeats) > 20


def test_a_quick_service_is_never_asked_before_the_setting(service: Service) -> None:
    service.answer(20)
    service.ask()
    assert between(service.silence(), PERIOD_MS)


def test_a_slow_service_gets_four_round_trips(service: Service) -> None:
    service.answer(2000)
    service.ask()
    assert between(service.silence(), 8000)


def test_an_answer_to_a_repeated_request_says_nothing_about_round_trips(service: Service) -> None:
    service.silence()
    service.silence()
    service.answer(20)  # to the first request, or to the third one
    service.ask()
    assert between(service.silence(), 10_000)


def test_the_answer_to_a_request_that_was_made_once_brings_the_short_pause_back(
    service: Service,
) -> None:
    for _ in range(3):
        service.silence()
    service.answer(20)
    service.ask()
    service.answer(20)
    service.ask()
    assert between(service.silence(), PERIOD_MS)
