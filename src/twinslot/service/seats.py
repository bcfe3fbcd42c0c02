"""The places of connections: so many in all, so many of one address; strangers make room first.

Pure: no clock, no socket. A new connection is never refused because others say nothing: where there
is no room it takes the place of one that has not signed a request, or of one that rests between two
requests, the oldest first. Only those that are being answered keep their place in any case.
"""

from collections.abc import Callable
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


class _Standings:
    """Seats by their standing, those that are longest in it first."""

    def __init__(self) -> None:
        self._seats: dict[Standing, dict[Seat, None]] = {standing: {} for standing in Standing}

    def __len__(self) -> int:
        return sum(len(seats) for seats in self._seats.values())

    def add(self, seat: Seat) -> None:
        self._seats[seat.standing][seat] = None

    def remove(self, seat: Seat) -> None:
        del self._seats[seat.standing][seat]

    def first(self) -> Seat:
        """The seat that has earned its place least; there is one."""
        return next(seat for seats in self._seats.values() for seat in seats)


class Seats:
    """The places of one listener."""

    def __init__(self, *, every: int, of_address: int) -> None:
        """every: connections in all; of_address: of one address."""
        self._every = every
        self._of_address = of_address
        self._taken: set[Seat] = set()
        self._all = _Standings()
        self._addresses: dict[str, _Standings] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, address: str, close: Callable[[], None]) -> Seat | None:
        """Return the place of a new connection; None: all others are being answered.

        Another connection may be closed for it.
        """
        of_address = self._addresses.get(address, _Standings())
        if len(of_address) >= self._of_address and not self._make_room(of_address):
            return None
        if len(self._taken) >= self._every and not self._make_room(self._all):
            return None
        seat = Seat(address, close)
        self._taken.add(seat)
        self._place(seat)
        return seat

    def stand(self, seat: Seat, standing: Standing) -> None:
        """Note that a connection has signed a request, or rests after one."""
        if seat in self._taken:
            self._displace(seat)
            seat.standing = standing
            self._place(seat)

    def give_up(self, seat: Seat) -> None:
        """Free the place of a connection that has ended; again is no harm."""
        if seat in self._taken:
            self._taken.remove(seat)
            self._displace(seat)

    def _place(self, seat: Seat) -> None:
        self._all.add(seat)
        self._addresses.setdefault(seat.address, _Standings()).add(seat)

    def _displace(self, seat: Seat) -> None:
        of_address = self._addresses[seat.address]
        self._all.remove(seat)
        of_address.remove(seat)
        if not of_address:
            del self._addresses[seat.address]

    def _make_room(self, among: _Standings) -> bool:
        found = among.first()
        if found.standing is Standing.ANSWERED:
            return False
        self.give_up(found)
        found.close()
        return True
