"""The database at a URL: its transactions, and the rules of each kind of database.

Transactions that write follow one another, whatever the database: what one has read stays true
until it commits, and rows get their numbers in the order in which they become visible. A reading
transaction sees one moment. Nothing outside of this module names a kind of database.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import immutabledict

from twinslot import disk
from twinslot.errors import FleetError

EXTRA = "postgresql"
"""The extra of this distribution that brings a driver; pyproject.toml says which."""

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""Type of a primary key that counts up by itself; SQLite counts INTEGER alone."""
BESIDE = ("-wal", "-shm")
"""Endings of the files beside a database's own while it is in use; a copy holds what is in them."""
NEVER_AGAIN: dict[str, Any] = {"sqlite_autoincrement": True}
"""Options of a table that never uses a number twice; only SQLite has to be told."""

_DRIVER = "postgresql+psycopg"
_BUSY_TIMEOUT_MS = 10_000
_SQLITE = b"SQLite format 3\0"
_OF_THE_PLACE = (sa.exc.OperationalError, sa.exc.InternalError, sa.exc.InterfaceError)
_WRITERS = 0x7477696E  # the advisory lock of those who write; any number of this program's own


class DatabaseError(FleetError):
    """The database cannot be opened or used any more, or its URL cannot be read."""


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
        self._file: _File | None = None
        if self._engine.dialect.name == "sqlite":
            self._file = _own_file(self._engine.url)
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        elif self._engine.dialect.name == "postgresql":
            self._reading |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            sa.event.listen(self._engine, "begin", _begin_postgresql)

    def __str__(self) -> str:
        """Its URL, without a password."""
        return _place(self._engine.url)

    @contextmanager
    def transaction(self, *, writing: bool) -> Iterator[sa.Connection]:
        """A transaction that is committed at the end, or rolled back by an exception.

        Raises DatabaseError for a database that does not answer, has no room, is damaged, or whose
        file is not the one that was opened.
        """
        self.check()
        options = {"writing": True} if writing else self._reading
        try:
            with self._engine.connect() as connection:
                connection = connection.execution_options(**options)
                with connection.begin():
                    yield connection
        except sa.exc.DBAPIError as error:
            if not isinstance(error, _OF_THE_PLACE) and type(error) is not sa.exc.DatabaseError:
                raise  # a mistake of this program
            why = " ".join(str(error.orig).split())  # a driver's text may have several lines
            raise DatabaseError(
                f"the database {self} cannot be used: {why}{self._way_out(why)}"
            ) from error

    def check(self) -> None:
        """Raise DatabaseError where SQLite's file is not the one that was opened.

        Of a file that was removed SQLite would go on using what nobody finds again.
        """
        if self._file is not None and not self._file.is_there():
            raise DatabaseError(
                f"{self._file.path} was removed or replaced while it was in use: stop the service, "
                "bring a backup back, and start it again"
            )

    def count_on(self, connection: sa.Connection, tables: Iterable[sa.Table]) -> None:
        """Let new rows get numbers above those of rows that came with their own.

        SQLite does so by itself.
        """
        if self._engine.dialect.name != "postgresql":
            return
        for table in tables:
            column = table.autoincrement_column
            if column is not None:
                counter = sa.func.pg_get_serial_sequence(table.name, column.name)
                connection.execute(
                    sa.select(sa.func.setval(counter, sa.func.max(column))).where(
                        sa.select(column).exists()
                    )
                )

    @property
    def file(self) -> Path | None:
        """SQLite's file; None for a database on a server, and one in memory."""
        return None if self._file is None else self._file.path

    def _way_out(self, why: str) -> str:
        damaged = any(word in why for word in ("malformed", "not a database", "corrupt"))
        if not damaged or self._file is None:
            return ""
        return (
            f"; bring back a backup (`fleet restore`), or move {self._file.path} away to begin "
            "with no boards and no jobs"
        )

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def place(text: str) -> str:
    """Return the URL of a database as it may be shown and kept.

    It has no password, neither before the host nor among its options; the path of SQLite's file is
    absolute. Raises DatabaseError for a URL of another form.
    """
    return _place(_url(text))


def file_of(text: str) -> Path | None:
    """Return the file of the database at a URL; None for a server's, and for one in memory.

    Raises DatabaseError for a URL of another form.
    """
    url = _url(text)
    return _path(url) if url.get_backend_name() == "sqlite" else None


def copy(file: Path, target: Path) -> None:
    """Copy a database's file as of one moment into a new file, for its owner alone.

    Others may use the database meanwhile (SQLite's backup interface). The copy needs no file beside
    it, and is checked. Raises DatabaseError.
    """
    try:
        with (
            closing(
                sqlite3.connect(
                    f"{file.resolve().as_uri()}?mode=rw", _BUSY_TIMEOUT_MS / 1000, uri=True
                )
            ) as before,
            closing(sqlite3.connect(target)) as after,
        ):
            before.backup(after)
            after.execute("PRAGMA journal_mode = DELETE")
            said = after.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise DatabaseError(f"the database {file} cannot be copied: {error}") from error
    if said != "ok":
        raise DatabaseError(f"the database {file} is damaged: {said}; keep the backups you have")
    target.chmod(disk.SECRET)


def _url(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError as error:
        raise DatabaseError(
            "the database's URL has not the form DRIVER://PLACE, such as sqlite:////DIR/FILE"
        ) from error
    if url.drivername == "postgresql":  # which driver that means depends on SQLAlchemy's version
        url = url.set(drivername=_DRIVER)
    return url


def _place(url: sa.URL) -> str:
    path = _path(url) if url.get_backend_name() == "sqlite" else None
    if path is not None:
        url = url.set(database=str(path.resolve()))
    options = {name: value for name, value in url.query.items() if "password" not in name}
    return url._replace(password=None, query=immutabledict(options)).render_as_string()


def _path(url: sa.URL) -> Path | None:
    if url.database in (None, "", ":memory:") or "uri" in url.query:
        return None
    return Path(str(url.database))


def _engine(text: str) -> sa.Engine:
    url = _url(text)
    try:
        # A server may have been restarted since a connection was used.
        return sa.create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite")
    except (sa.exc.NoSuchModuleError, ImportError) as error:
        if url.drivername == _DRIVER:
            raise DatabaseError(
                f"PostgreSQL's driver is missing: pip install 'twinslot[{EXTRA}]'"
            ) from error
        raise DatabaseError(f"there is no driver for {url.drivername} here: {error}") from error


@dataclass(frozen=True)
class _File:
    """SQLite's file as it was opened: its path, device and number."""

    path: Path
    device: int
    number: int

    def is_there(self) -> bool:
        """Say whether it still has its name."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (self.device, self.number)


def _own_file(url: sa.URL) -> _File | None:
    """Make SQLite's file where it is not there; those that it makes beside it get its mode.

    Returns None where there is none: a database in memory, or one with options in its URL.
    """
    path = _path(url)
    if path is None:
        return None
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, disk.SECRET), "rb") as file:
            head = file.read(len(_SQLITE))
            found = os.fstat(file.fileno())
    except OSError as error:
        raise DatabaseError(f"cannot open the database {path}: {error.strerror}") from error
    if head in (b"", _SQLITE) and (said := disk.exposed(path)):
        raise DatabaseError(said)  # of another file SQLite says that it is no database
    return _File(path, found.st_dev, found.st_ino)


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
