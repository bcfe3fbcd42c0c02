"""The database: one kind behaves like another; older schemas are brought up to date.

Each test runs on SQLite and, where it is installed, on a real PostgreSQL.
"""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from fleet_world import World

from twinslot.service import store


def execute(url: str, *statements: str) -> None:
    """Do by SQL what no version of the store does."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_database_of_the_first_version_keeps_its_jobs(tmp_path: Path, database: str) -> None:
    world = World(tmp_path, database)
    world.things("board-1")
    world.job("job-1", "board-1", minutes=5)
    world.store.close()
    execute(
        database,
        "ALTER TABLE jobs DROP COLUMN url_seconds",
        "ALTER TABLE jobs DROP COLUMN url_role",
        "DROP TABLE updates",
        "DROP TABLE shadows",
        "UPDATE schema SET version = 1",
    )
    for _ in range(2):  # the second time there is nothing left to do
        again = store.Store(database)
        with again.read() as transaction:
            job = transaction.job("job-1")
            assert job is not None
            assert (job.progress_minutes, job.url_seconds, job.url_role) == (5, None, None)
            assert transaction.updates(before=None, limit=1) == []
            assert transaction.shadow("board-1") is None
            assert len(transaction.open_executions(["board-1"])["board-1"]) == 1
        again.close()


def test_a_database_of_a_later_version_is_left_alone(tmp_path: Path, database: str) -> None:
    World(tmp_path, database).store.close()
    execute(database, "UPDATE schema SET version = 99")
    for _ in range(2):
        with pytest.raises(store.StoreError, match="schema 99"):
            store.Store(database)


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

    def heard(after: int) -> list[store.Message]:
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
