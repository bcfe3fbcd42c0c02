"""The database: one kind behaves like another; those of earlier releases are brought up to date.

Each test runs on SQLite and, where it is installed, on a real PostgreSQL.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from fleet_world import World

from twinslot import disk
from twinslot.service import migrations, store
from twinslot.service.database import DatabaseError
from twinslot.service.rows.executions import Served
from twinslot.service.rows.outbox import Message

KEPT = Path(__file__).parent / "databases"


@contextlib.contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """A connection that knows nothing of the store."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def execute(url: str, *statements: str) -> None:
    """Do by SQL what no version of the store does."""
    with connected(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def bring_back(url: str, release: str) -> None:
    """Make the database of an earlier release, as sqlite3's `.dump` or pg_dump has written it."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).touch(disk.SECRET)
    with connected(url) as connection:
        kind = connection.dialect.name
        text = (KEPT / f"{release}-{kind}.sql").read_text()
        if kind == "sqlite":
            driver: Any = connection.connection.driver_connection
            driver.executescript(text)
        else:
            connection.exec_driver_sql(text)


def test_the_database_of_release_0_2_0_keeps_all_that_is_in_it(database: str) -> None:
    bring_back(database, "0.2.0")
    for _ in range(2):  # the second time there is nothing left to do
        again = store.Store(database)
        with again.read() as transaction:
            job = transaction.job("job-1")
            assert job is not None
            assert (job.progress_minutes, job.url_seconds) == (5, 600)
            update = transaction.update("u-1")
            assert update is not None
            assert update.request == {"a": 1}
            shadow = transaction.shadow("board-1")
            assert shadow is not None
            assert shadow.state == {"reported": {"version": "1.0.0"}}
            opened = transaction.open_executions(["board-1", "board-2"])
            assert [len(found) for found in opened.values()] == [1, 1]
            assert transaction.served("job-1")["board-1"] == Served(2, 8192)
            assert transaction.highest_sequence("demo-board") == 2
            assert [*transaction.revoked()] == ["board-3"]
            stream = transaction.stream("job-1")
            assert stream is not None
            assert stream.files[0].size == 8192
            (message,) = transaction.messages(after=0, limit=9)
            assert message.topic == "$aws/things/board-1/jobs/notify"
        again.close()
    with connected(database) as connection:
        assert "schema" not in sa.inspect(connection).get_table_names(), "nobody counts there now"


def test_new_rows_of_an_old_database_get_numbers_of_their_own(database: str) -> None:
    bring_back(database, "0.2.0")
    again = store.Store(database)
    with again.write() as transaction:
        transaction.send("second", {})
    with again.read() as transaction:
        assert [message.id for message in transaction.messages(after=0, limit=9)] == [1, 2]
    again.close()


@pytest.mark.parametrize("release", ["0.2.0", ""])
def test_the_tables_are_those_that_the_store_works_with(database: str, release: str) -> None:
    """release: whose database it was; "" for a new one."""
    if release:
        bring_back(database, release)
    store.Store(database).close()
    with connected(database) as connection:
        options = {
            "version_table": migrations.VERSION_TABLE,
            "compare_type": True,
            "compare_server_default": False,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, store.metadata) == []


def test_a_database_of_a_later_version_is_left_alone(database: str) -> None:
    store.Store(database).close()
    execute(database, f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'")
    for _ in range(2):
        with pytest.raises(migrations.SchemaError, match="schema 9999 of a later version"):
            store.Store(database)


def test_a_database_from_before_the_first_release_is_left_alone_and_the_way_is_said(
    database: str,
) -> None:
    bring_back(database, "0.2.0")
    execute(database, "UPDATE schema SET version = 3")
    for _ in range(2):
        with pytest.raises(migrations.SchemaError, match=r"schema 3, older than release 0\.2\.0"):
            store.Store(database)


def test_a_migration_that_fails_leaves_the_database_as_it_was(database: str) -> None:
    bring_back(database, "0.2.0")
    execute(database, "CREATE VIEW looks AS SELECT version FROM schema")
    if database.startswith("sqlite"):  # which would drop the table under the view
        execute(database, "DROP VIEW looks", "CREATE TABLE old (v INTEGER REFERENCES schema)")
        execute(database, "INSERT INTO old VALUES (4)")
    with pytest.raises((sa.exc.IntegrityError, DatabaseError)):
        store.Store(database)
    with connected(database) as connection:
        tables = sa.inspect(connection).get_table_names()
    assert "schema" in tables
    assert migrations.VERSION_TABLE not in tables


def test_an_exception_leaves_nothing_of_its_transaction(tmp_path: Path, database: str) -> None:
    world = World(tmp_path, database)
    with pytest.raises(sa.exc.IntegrityError):
        world.things("board-1", "board-2", "board-2")
    with world.store.read() as transaction:
        assert transaction.thing("board-1") is None
    world.store.close()


def test_a_reader_sees_one_moment(tmp_path: Path, database: str) -> None:
    world = World(tmp_path, database)
    with world.store.read() as transaction:
        assert transaction.things(limit=9) == []
        writer = threading.Thread(target=world.things, args=("board-1",))
        writer.start()
        writer.join()
        assert transaction.things(limit=9) == []
    with world.store.read() as transaction:
        assert [thing.name for thing in transaction.things(limit=9)] == ["board-1"]
    world.store.close()


def test_messages_become_visible_in_the_order_of_their_numbers(
    tmp_path: Path, database: str
) -> None:
    """The sender asks for those after the last one that it has seen, and must miss none."""
    world = World(tmp_path, database)

    def heard(after: int) -> list[Message]:
        with world.store.read() as transaction:
            return transaction.messages(after=after, limit=9)

    def second() -> None:
        with world.store.write() as transaction:
            transaction.send("second", {})

    writer = threading.Thread(target=second)
    with world.store.write() as transaction:
        transaction.send("first", {})
        writer.start()
        writer.join(0.3)  # time enough to overtake, were that possible
        early = heard(0)
    writer.join()
    late = heard(early[-1].id if early else 0)
    assert [message.topic for message in early + late] == ["first", "second"]
    world.store.close()
