"""Whose request is next: every thing has a queue of its own, and the queues take turns.

Pure: no clock, no socket. However much one thing asks, another waits for one request of it at most.
The queues are bounded, so that a stranger costs no more memory than they hold.
"""

from collections import deque
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """Requests that wait, by thing."""

    def __init__(self, *, each: int, each_bytes: int, all_bytes: int) -> None:
        """each: requests of one thing; each_bytes: of them together; all_bytes: of all things."""
        self._each = each
        self._each_bytes = each_bytes
        self._all_bytes = all_bytes
        self._queues: dict[str, deque[tuple[int, Item]]] = {}  # in the order of their turns
        self._bytes: dict[str, int] = {}
        self._sum = 0

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def __bool__(self) -> bool:
        return bool(self._queues)

    def add(self, thing: str, size: int, item: Item) -> bool:
        """Queue a request of `size` bytes behind those of the same thing; False: there is no room.

        A thing that has nothing in its queue is refused only when all queues together are full.
        """
        waiting = self._queues.get(thing, ())
        if self._sum + size > self._all_bytes or len(waiting) >= self._each:
            return False
        if waiting and self._bytes[thing] + size > self._each_bytes:
            return False
        self._queues.setdefault(thing, deque()).append((size, item))
        self._bytes[thing] = self._bytes.get(thing, 0) + size
        self._sum += size
        return True

    def waits(self, thing: str, item: Item) -> bool:
        """Say whether the thing has the same request waiting already."""
        return any(item == waiting for _, waiting in self._queues.get(thing, ()))

    def round(self, most: int) -> list[Item]:
        """Return the oldest request of each of the next things, of so many at most.

        These things then stand behind all others.
        """
        return [self._take(thing) for thing in list(islice(self._queues, most))]

    def _take(self, thing: str) -> Item:
        queue = self._queues.pop(thing)
        size, item = queue.popleft()
        self._sum -= size
        self._bytes[thing] -= size
        if queue:
            self._queues[thing] = queue
        else:
            del self._bytes[thing]
        return item
