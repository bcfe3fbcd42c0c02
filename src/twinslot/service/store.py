"""The service's memory: one transaction over all of its tables (`rows`).

Every change is one transaction, and the messages it causes are rows of the same transaction (the
outbox), so that after a crash either both are there or neither.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from twinslot.service import migrations
from twinslot.service.database import Database
from twinslot.service.rows import base
from twinslot.service.rows.base import Changes
from twinslot.service.rows.certificates import CertificateRows
from twinslot.service.rows.executions import ExecutionRows
from twinslot.service.rows.groups import GroupRows
from twinslot.service.rows.jobs import JobRows
from twinslot.service.rows.objects import ObjectRows
from twinslot.service.rows.outbox import OutboxRows
from twinslot.service.rows.policies import PolicyRows
from twinslot.service.rows.sequences import SequenceRows
from twinslot.service.rows.shadows import ShadowRows
from twinslot.service.rows.streams import StreamRows
from twinslot.service.rows.tags import TagRows
from twinslot.service.rows.things import ThingRows
from twinslot.service.rows.updates import UpdateRows
from twinslot.service.rows.uploads import UploadRows
from twinslot.service.rows.waiting import WaitingRows

metadata = base.metadata
"""The tables as this version has them; `migrations` makes them."""


class Transaction(
    ThingRows,
    GroupRows,
    TagRows,
    CertificateRows,
    PolicyRows,
    ObjectRows,
    StreamRows,
    JobRows,
    ExecutionRows,
    WaitingRows,
    UpdateRows,
    ShadowRows,
    SequenceRows,
    UploadRows,
    OutboxRows,
):
    """The reads and writes of one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__(connection, Changes())


class Store:
    """The database. Thread-safe: every transaction has its own connection."""

    def __init__(self, url: str) -> None:
        """Open the database at a SQLAlchemy URL, and make or extend its tables where need be.

        Raises DatabaseError for a URL that cannot be used and a database that does not answer,
        SchemaError for another program's tables, and for those of a version that is not known here.
        """
        self._database = Database(url)
        self._followers: list[Callable[[Changes], None]] = []
        with self._database.transaction(writing=True) as connection:
            own = self._database.file is not None  # others may use a server's database, too
            migrations.upgrade(connection, f"the database {self._database}", own=own)

    def check(self) -> None:
        """Raise DatabaseError where the database's file is not the one that was opened."""
        self._database.check()

    def on_commit(self, callback: Callable[[Changes], None]) -> None:
        """Call this after every commit, in its thread, before `write` ends."""
        self._followers.append(callback)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that only reads."""
        with self._database.transaction(writing=False) as connection:
            yield Transaction(connection)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that is committed at the end, or rolled back by an exception."""
        with self._database.transaction(writing=True) as connection:
            transaction = Transaction(connection)
            yield transaction
        for follow in self._followers:
            follow(transaction.changes)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()
