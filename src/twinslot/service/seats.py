"""Who keeps a connection: so many in all, so many of one address, and strangers make room first.

Pure: no clock, no socket. A new connection is never refused because others say nothing: where there
is no room it takes the place of one that has not signed a request, or of one that rests between two
requests, the oldest first. Only those that are being answered keep their place in any case.
"""

from collections.abc import Callable, Iterable
from enum import IntEnum


class Standing(IntEnum):
    """How little a connection has earned its place; the lowest goes first."""

    STRANGER = 0
    RESTING = 1
    ANSWERED = 2


class Seat:
    """The place of one connection; `close` ends the connection, and gives up the place."""

    def __init__(self, address: str, close: Callable[[], None]) -> None:
        self.address = address
        self.close = close
        self.standing = Standing.STRANGER


class Seats:
    """The places of one listener."""

    def __init__(self, *, every: int, of_address: int) -> None:
        """every: connections in all; of_address: of one address."""
        self._every = every
        self._of_address = of_address
        self._taken: dict[Seat, None] = {}  # the longest in their standing first

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, address: str, close: Callable[[], None]) -> Seat | None:
        """Return the place of a new connection; None: all others are being answered.

        Another connection may be closed for it.
        """
        of_address = [seat for seat in self._taken if seat.address == address]
        if len(of_address) >= self._of_address and not self._make_room(of_address):
            return None
        if len(self._taken) >= self._every and not self._make_room(self._taken):
            return None
        seat = Seat(address, close)
        self._taken[seat] = None
        return seat

    def stand(self, seat: Seat, standing: Standing) -> None:
        """Note that a connection has signed a request, or rests after one."""
        if seat in self._taken:
            del self._taken[seat]
            seat.standing = standing
            self._taken[seat] = None

    def give_up(self, seat: Seat) -> None:
        """Free the place of a connection that has ended; again is no harm."""
        self._taken.pop(seat, None)

    def _make_room(self, among: Iterable[Seat]) -> bool:
        found = min(among, key=lambda seat: seat.standing)  # of equals the first: the oldest
        if found.standing is Standing.ANSWERED:
            return False
        self.give_up(found)
        found.close()
        return True
