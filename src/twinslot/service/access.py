"""The rights of things as this process knows them: who is revoked, and who may read which stream.

Blocks come by thousands a second, and none of them may cost a question to the database. A right is
read once and kept. The transaction that ends it (a report, a cancelled job, a revocation) tells
when it is committed, before its own caller hears of that. `refresh` finds what another process has
ended in the same database.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from twinslot.service.rows.base import Changes
from twinslot.service.rows.streams import Source
from twinslot.service.store import Store

LOOK = 2.0
"""Seconds between two looks at rights that another process may have ended."""


@dataclass(frozen=True)
class Grant:
    """One stream as one thing may read it now: `order` is the open execution that names it."""

    source: Source
    order: int


class Access:
    """The revoked things, and the streams that things may read. Thread-safe."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds that never go back. Raises DatabaseError."""
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._sources: dict[str, Source] = {}  # by stream, which many things read
        self._grants: dict[str, dict[str, Grant]] = {}  # by thing and stream
        self._age = 0  # commits that took something away, or gave it back
        self._next_look = 0.0
        store.on_commit(self._follow)
        with store.read() as transaction:
            self._revoked = set(transaction.revoked())

    def is_revoked(self, thing: str) -> bool:
        """Say whether everything that comes from this thing is refused."""
        return thing in self._revoked

    def grant(self, thing: str, stream_id: str) -> Grant | None:
        """The stream as this thing may read it; None where no open job of the thing names it."""
        found = self._grants.get(thing, {}).get(stream_id)
        if found is not None:
            return found
        age = self._age
        source = self._sources.get(stream_id)
        with self._store.read() as transaction:
            order = transaction.reads(thing, stream_id)
            if order is not None and source is None:
                source = transaction.source(stream_id)
        if order is None or source is None:
            return None
        found = Grant(source, order)
        with self._lock:
            if age == self._age:
                self._sources[stream_id] = source
                self._grants.setdefault(thing, {})[stream_id] = found
        return found

    def refresh(self) -> None:
        """Look for what another process has ended, if that is due. Raises DatabaseError."""
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + LOOK
        with self._lock:
            age = self._age
            held = {
                grant.order: thing
                for thing, kept in self._grants.items()
                for grant in kept.values()
            }
        with self._store.read() as transaction:
            revoked = set(transaction.revoked())
            ended = held.keys() - transaction.still_open(held)
        with self._lock:
            if age == self._age:  # else what was read may be older than what is known
                self._revoked = revoked
            self._sources.clear()
            for order in ended:
                self._grants.pop(held[order], None)

    def _follow(self, changes: Changes) -> None:
        if not (changes.ended or changes.revoked or changes.admitted or changes.streams):
            return
        with self._lock:
            self._age += 1
            self._revoked |= changes.revoked
            self._revoked -= changes.admitted
            for thing in changes.ended:
                self._grants.pop(thing, None)
            if changes.streams:
                self._sources.clear()
                self._grants.clear()
