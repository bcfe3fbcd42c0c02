"""The database: older ones are brought up to date with what is in them, newer ones are refused."""

import sqlite3
from pathlib import Path

import pytest
from fleet_world import World

from twinslot.service import store


def test_a_database_of_the_first_version_keeps_its_jobs(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.things("board-1")
    world.job("job-1", "board-1", minutes=5)
    world.store.close()
    database = sqlite3.connect(tmp_path / "fleet.db")
    database.executescript(
        "ALTER TABLE jobs DROP COLUMN url_seconds; DROP TABLE updates; DROP TABLE shadows;"
        "UPDATE schema SET version = 1;"
    )
    database.close()
    for _ in range(2):  # the second time there is nothing left to do
        again = store.Store(f"sqlite:///{tmp_path}/fleet.db")
        with again.read() as transaction:
            job = transaction.job("job-1")
            assert job is not None
            assert (job.progress_minutes, job.url_seconds) == (5, None)
            assert transaction.updates(before=None, limit=1) == []
            assert transaction.shadow("board-1") is None
            assert len(transaction.open_executions("board-1")) == 1
        again.close()


def test_a_database_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    World(tmp_path).store.close()
    database = sqlite3.connect(tmp_path / "fleet.db")
    with database:
        database.execute("UPDATE schema SET version = 99")
    with pytest.raises(store.StoreError, match="schema 99"):
        store.Store(f"sqlite:///{tmp_path}/fleet.db")
    assert database.execute("SELECT version FROM schema").fetchall() == [(99,)]
    database.close()
