"""A fleet changes its database, and nothing of it is lost."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from fleet_world import World
from test_fleet_store import bring_back, connected

from demo import children
from twinslot import config, service_notes
from twinslot.cli.main import main
from twinslot.service.copying import CopyError, copy
from twinslot.service.database import place
from twinslot.service.rows.certificates import Certificate
from twinslot.service.rows.groups import Group
from twinslot.service.rows.policies import Policy
from twinslot.service.rows.uploads import Part, Upload
from twinslot.service.serve import alone
from twinslot.service.store import Store, metadata


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A database of release 0.2.0, with a row in each table, also in the later ones, in SQLite."""
    url = f"sqlite:///{tmp_path}/old.db"
    bring_back(url, "0.2.0")
    store = Store(url)
    with store.write() as transaction:
        transaction.add_group(Group("z", None, None, {}, 1))
        transaction.add_group(Group("a", "z", None, {}, 1))  # behind its parent, but sorted before
        transaction.join("board-1", "a")
        transaction.tag("thinggroup", "a", {"team": "x"})
        transaction.add_certificate(Certificate("f" * 64, "pem", "1.certificate", "ACTIVE", 1, 1))
        transaction.attach("f" * 64, "board-1")
        transaction.add_policy(Policy("p", "{}", 1))
        transaction.attach_policy("p", "target")
        transaction.add_upload(Upload("u", "b", "k", "", {}, "", "COMPOSITE", 1))
        transaction.put_part("u", Part(1, "0" * 64, "0" * 32, 1, 1, {}))
        transaction.add_waiting("job-1", {"board-1": 1})
    store.close()
    return url


def rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    with connected(url) as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in connection.execute(sa.select(table))), key=str
            )
            for table in metadata.sorted_tables
        }


def test_every_row_of_every_table_is_copied_and_the_old_database_keeps_them(
    old: str, database: str
) -> None:
    assert copy(old, database) == sum(map(len, rows(old).values()))
    assert all(rows(old).values()), "the old database has rows in every table"
    assert rows(database) == rows(old)


def test_new_rows_get_numbers_behind_the_copied_ones(old: str, database: str) -> None:
    copy(old, database)
    store = Store(database)
    with store.write() as transaction:
        transaction.send("second", {})
        transaction.delete_executions(transaction.executions_of("job-1", limit=9))
        transaction.add_executions("job-1", ["board-2"], 0)
    with store.read() as transaction:
        assert [message.topic for message in transaction.messages(after=1, limit=9)] == ["second"]
    store.close()


def test_a_database_with_rows_is_refused_and_keeps_its_own(
    old: str, database: str, tmp_path: Path
) -> None:
    world = World(tmp_path, database)
    world.things("board-9")
    world.store.close()
    before = rows(database)
    with pytest.raises(CopyError, match="rows in its table things already"):
        copy(old, database)
    assert rows(database) == before


def test_the_command_copies_while_no_service_runs(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    target = database.replace("fleet.db", "other.db")
    assert run(main, ["init", "--broker", f"127.0.0.1:{children.free_port()}"]).exit_code == 0
    Path("state").mkdir(exist_ok=True)
    bring_back(f"sqlite:///{tmp_path}/state/fleet.db", "0.2.0")
    with alone(tmp_path / "state/lock"):
        refused = run(main, ["copy-database", target])
    assert refused.exit_code == 1
    assert "another `fleet serve` runs" in refused.output
    done = run(main, ["copy-database", target], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"copied 14 rows of sqlite:///{tmp_path}/state/fleet.db" in done.output
    assert rows(target)["things"]


def test_the_command_copies_the_database_that_the_last_service_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert run(main, ["init", "--broker", f"127.0.0.1:{children.free_port()}"]).exit_code == 0
    Path("state").mkdir(exist_ok=True)
    Store(f"sqlite:///{tmp_path}/state/fleet.db").close()  # an old one
    used, target = f"sqlite:///{tmp_path}/used.db", f"sqlite:///{tmp_path}/target.db"
    bring_back(used, "0.2.0")
    service_notes.note_database(config.load(tmp_path / "fleet.toml"), place(used))
    done = run(main, ["copy-database", target], catch_exceptions=False)
    assert f"copied 14 rows of {used}" in done.output
    assert rows(target)["things"]
