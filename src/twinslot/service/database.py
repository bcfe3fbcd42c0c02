"""The database at a URL: its transactions, and the rules of each kind of database.

Transactions that write follow one another, whatever the database: what one has read stays true
until it commits, and rows get their numbers in the order in which they become visible. A reading
transaction sees one moment. Nothing outside of this module names a kind of database.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from twinslot import disk
from twinslot.errors import FleetError

EXTRA = "postgresql"
"""The extra of this distribution that brings a driver; pyproject.toml says which."""

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""Type of a primary key that counts up by itself; SQLite counts INTEGER alone."""
NEVER_AGAIN: dict[str, Any] = {"sqlite_autoincrement": True}
"""Options of a table that never uses a number twice; only SQLite has to be told."""

_DRIVER = "postgresql+psycopg"
_BUSY_TIMEOUT_MS = 10_000
_SQLITE = b"SQLite format 3\0"
_WRITERS = 0x7477696E  # the advisory lock of those who write; any number of this program's own


class DatabaseError(FleetError):
    """The database cannot be opened, or its URL cannot be read."""


class Database:
    """A database. Thread-safe: every transaction has its own connection."""

    def __init__(self, url: str) -> None:
        """Prepare connections to a SQLAlchemy URL.

        Nothing is opened before the first transaction; SQLite's file is made, for its owner alone.
        Raises DatabaseError for a URL of another form, where the driver that it needs is not
        installed, and for a file that cannot be used, or that others can read.
        """
        self._engine = _engine(url)
        self._reading: dict[str, Any] = {"writing": False}
        if self._engine.dialect.name == "sqlite":
            _own_file(self._engine.url)
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        elif self._engine.dialect.name == "postgresql":
            self._reading |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            sa.event.listen(self._engine, "begin", _begin_postgresql)

    def __str__(self) -> str:
        """Its URL, without the password."""
        return self._engine.url.render_as_string(hide_password=True)

    @contextmanager
    def transaction(self, *, writing: bool) -> Iterator[sa.Connection]:
        """A transaction that is committed at the end, or rolled back by an exception."""
        options = {"writing": True} if writing else self._reading
        with self._engine.connect() as connection:
            connection = connection.execution_options(**options)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _engine(text: str) -> sa.Engine:
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError as error:
        raise DatabaseError(
            "the database's URL has not the form DRIVER://PLACE, such as sqlite:////DIR/FILE"
        ) from error
    if url.drivername == "postgresql":  # which driver that means depends on SQLAlchemy's version
        url = url.set(drivername=_DRIVER)
    try:
        # A server may have been restarted since a connection was used.
        return sa.create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite")
    except (sa.exc.NoSuchModuleError, ImportError) as error:
        if url.drivername == _DRIVER:
            raise DatabaseError(
                f"PostgreSQL's driver is missing: pip install 'twinslot[{EXTRA}]'"
            ) from error
        raise DatabaseError(f"there is no driver for {url.drivername} here: {error}") from error


def _own_file(url: sa.URL) -> None:
    """Make SQLite's file where it is not there; those that it makes beside it get its mode."""
    if url.database in (None, "", ":memory:") or "uri" in url.query:
        return
    path = Path(str(url.database))
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, disk.SECRET), "rb") as file:
            head = file.read(len(_SQLITE))
    except OSError as error:
        raise DatabaseError(f"cannot open the database {path}: {error.strerror}") from error
    if head in (b"", _SQLITE) and (said := disk.exposed(path)):
        raise DatabaseError(said)  # of another file SQLite says that it is no database


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not in the driver
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {_BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",  # what was answered must survive a power cut of the host
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A reader that becomes a writer can be refused at once, whatever the busy timeout says:
    # a writing transaction therefore takes the lock at its beginning.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _begin_postgresql(connection: sa.Connection) -> None:
    # Each statement after the lock sees what the writer before has committed (READ COMMITTED).
    if _writes(connection):
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS)))


def _writes(connection: sa.Connection) -> bool:
    return bool(connection.get_execution_options().get("writing", True))
