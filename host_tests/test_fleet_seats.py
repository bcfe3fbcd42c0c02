"""Who keeps a connection: strangers make room, and no address has all."""

from collections.abc import Callable

import pytest

from twinslot.service.seats import Seat, Seats, Standing


class Door:
    """Seats, and the names of those that were closed for others."""

    def __init__(self, every: int, of_address: int) -> None:
        self.seats = Seats(every=every, of_address=of_address)
        self.closed: list[str] = []

    def take(self, name: str, standing: Standing = Standing.STRANGER) -> Seat | None:
        """A connection; what stands before the dot of its name is its address."""
        close: Callable[[], None] = lambda: self.closed.append(name)  # noqa: E731
        seat = self.seats.take(name.partition(".")[0], close)
        if seat is not None:
            self.seats.stand(seat, standing)
        return seat


def test_where_an_address_has_its_number_its_oldest_stranger_goes() -> None:
    door = Door(every=10, of_address=2)
    for name in ("a.1", "a.2", "b.1", "a.3", "a.4"):
        assert door.take(name) is not None
    assert door.closed == ["a.1", "a.2"]
    assert len(door.seats) == 3


def test_where_all_are_taken_the_oldest_stranger_of_all_goes() -> None:
    door = Door(every=3, of_address=2)
    for name in ("a.1", "b.1", "c.1", "d.1", "e.1"):
        assert door.take(name) is not None
    assert door.closed == ["a.1", "b.1"]
    assert len(door.seats) == 3


def test_strangers_go_before_those_that_rest_and_those_that_are_answered_stay() -> None:
    door = Door(every=3, of_address=3)
    door.take("a.resting", Standing.RESTING)
    door.take("a.answered", Standing.ANSWERED)
    door.take("a.stranger")
    for name, closed in (("a.4", "a.stranger"), ("a.5", "a.4")):
        assert door.take(name, Standing.STRANGER) is not None
        assert door.closed[-1] == closed
    assert door.take("a.6", Standing.ANSWERED) is not None
    assert door.closed[-1] == "a.5"
    assert door.take("a.7", Standing.ANSWERED) is not None
    assert door.closed[-1] == "a.resting"
    assert door.take("a.8") is None, "all are being answered"
    assert len(door.closed) == 4


def test_a_place_that_was_given_up_is_free_and_is_not_given_up_twice() -> None:
    door = Door(every=2, of_address=2)
    first = door.take("a.1", Standing.ANSWERED)
    assert first is not None
    assert door.take("a.2", Standing.ANSWERED) is not None
    assert door.take("a.3") is None
    for _ in range(2):
        door.seats.give_up(first)
    door.seats.stand(first, Standing.ANSWERED)
    assert len(door.seats) == 1
    assert door.take("a.4") is not None
    assert door.closed == []


@pytest.mark.parametrize("answered", [0, 3])
def test_one_address_leaves_room_for_others(answered: int) -> None:
    door = Door(every=8, of_address=4)
    for number in range(20):
        door.take(f"loud.{number}", Standing.ANSWERED if number < answered else Standing.STRANGER)
    assert len(door.seats) == 4
    for name in ("b.1", "c.1", "d.1", "e.1"):
        assert door.take(name) is not None
    assert len(door.closed) == 16
