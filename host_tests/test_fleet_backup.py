"""A fleet's folder as one file, and back: all of it, or nothing."""

import gzip
import json
import os
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from twinslot import config, disk, service_notes
from twinslot.addresses import Address
from twinslot.cli.main import main
from twinslot.client import backup
from twinslot.service import database
from twinslot.service.rows.things import Thing
from twinslot.service.store import Store

THING = Thing("board-1", {}, 1_790_000_000)


@pytest.fixture
def fleet(tmp_path: Path) -> config.Config:
    """A fleet with a database in use, a package, a board's settings and files of others."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    config.create(
        folder,
        product="meter",
        chip="esp32",
        slot_size=0x1B0000,
        broker=Address("127.0.0.1", 1883),
        tls=False,
    )
    found = config.load(folder / "fleet.toml")
    for name in ("state/objects/0a", "boards/board-1/settings.json", "ca/ca.key", "sequences.json"):
        disk.replace(folder / name, name.encode(), disk.SECRET)
    for name in ("state/lock", "state/endpoint.json", "state/fleet.db.1f.new", "notes/a.txt"):
        disk.replace(folder / name, b"passing")
    store = Store(found.database)
    with store.write() as transaction:
        transaction.add_thing(THING)
    return found  # the store stays open, as that of a service that runs


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in folder.rglob("*")
        if path.is_file()
    }


def usual(fleet: config.Config) -> backup.Database:
    file = fleet.database_file
    return backup.Database(file, file, database.copy, database.BESIDE)


def save(fleet: config.Config, path: Path) -> backup.Saved:
    return backup.save(fleet, path, usual(fleet))


def restore(path: Path, folder: Path) -> list[str]:
    return backup.restore(path, folder, database.BESIDE).came


def restored(path: Path, folder: Path) -> dict[str, tuple[bytes, int]]:
    folder.mkdir()
    restore(path, folder)
    return tree(folder)


def command(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--config", str(folder / "fleet.toml"), *words])


def test_a_backup_of_a_running_fleet_is_all_of_it_and_nothing_else(
    fleet: config.Config, tmp_path: Path
) -> None:
    saved = save(fleet, tmp_path / "a.tgz")
    assert (saved.database, saved.left_out, saved.outside) == ("state/fleet.db", [], [])
    assert (tmp_path / "a.tgz").stat().st_mode & 0o777 == 0o600
    found = restored(tmp_path / "a.tgz", tmp_path / "again")
    before = tree(fleet.folder)
    passing = ("lock", "endpoint.json", ".new", "a.txt", "-wal", "-shm")
    assert set(found) == {name for name in before if not name.endswith(passing)}
    assert saved.files == len(found)
    for name, what in found.items():
        assert name == "state/fleet.db" or what == before[name]
    again = config.load(tmp_path / "again/fleet.toml")
    assert not [path for path in again.secrets if disk.exposed(path)]
    store = Store(again.database)
    with store.read() as transaction:
        assert transaction.thing("board-1") == THING
    store.close()


def test_what_is_there_already_stays_and_the_rest_comes(
    fleet: config.Config, tmp_path: Path
) -> None:
    save(fleet, tmp_path / "a.tgz")
    again = tmp_path / "again"
    restored(tmp_path / "a.tgz", again)
    (again / "state/fleet.db").unlink()
    (again / "ca/ca.key").unlink()
    assert restore(tmp_path / "a.tgz", again) == ["ca/ca.key", "state/fleet.db"]
    assert restore(tmp_path / "a.tgz", again) == []


@pytest.mark.parametrize("name", ["keys/signing.pem", "state/fleet.db", "state/fleet.db-wal"])
def test_a_file_that_would_be_lost_is_named_and_nothing_is_changed(
    fleet: config.Config, tmp_path: Path, name: str
) -> None:
    save(fleet, tmp_path / "a.tgz")
    again = tmp_path / "again"
    disk.replace(again / name, b"mine")
    with pytest.raises(backup.BackupError, match=f"{name} .*would be lost"):
        restore(tmp_path / "a.tgz", again)
    assert {path: what[0] for path, what in tree(again).items()} == {name: b"mine"}


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -5])
def test_a_backup_that_is_cut_short_brings_nothing(
    fleet: config.Config, tmp_path: Path, keep: int
) -> None:
    path = tmp_path / "a.tgz"
    save(fleet, path)
    path.write_bytes(path.read_bytes()[:keep])
    (tmp_path / "again").mkdir()
    with pytest.raises(backup.BackupError, match=r"a\.tgz is no"):
        restore(path, tmp_path / "again")
    assert list((tmp_path / "again").iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside"])
def test_an_archive_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    note = json.dumps({"format": backup.FORMAT}).encode()
    (tmp_path / "note").write_bytes(note)
    with gzip.open(tmp_path / "a.tgz", "wb") as plain, tarfile.open(fileobj=plain, mode="w") as tar:
        tar.add(tmp_path / "note", "twinslot-backup.json")
        entry = tarfile.TarInfo(name)
        tar.addfile(entry)
    (tmp_path / "again").mkdir()
    with pytest.raises(backup.BackupError, match="outside"):
        restore(tmp_path / "a.tgz", tmp_path / "again")


def test_a_disk_that_fails_while_files_come_back_leaves_none(
    fleet: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(fleet, tmp_path / "a.tgz")
    again = tmp_path / "again"
    again.mkdir()
    real = Path.rename

    def rename(self: Path, target: Any) -> Path:
        if Path(target).name == "fleet.db":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(disk.FileError, match="No space left"):
        restore(tmp_path / "a.tgz", again)
    assert list(again.iterdir()) == []


def test_a_damaged_database_is_no_backup(fleet: config.Config, tmp_path: Path) -> None:
    path = fleet.state / "fleet.db"
    data = bytearray(sqlite_of(path))
    data[4096:] = os.urandom(len(data) - 4096)
    for file in fleet.state.glob("fleet.db*"):
        file.unlink()
    path.write_bytes(data)
    with pytest.raises(database.DatabaseError, match=r"fleet\.db"):
        save(fleet, tmp_path / "a.tgz")
    assert not (tmp_path / "a.tgz").exists()


def sqlite_of(path: Path) -> bytes:
    """A database's bytes, with what its log holds."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def test_the_commands_say_what_they_did_and_overwrite_nothing(
    fleet: config.Config, tmp_path: Path
) -> None:
    path = str(tmp_path / "a.tgz")
    done = command(fleet.folder, "backup", path)
    assert done.exit_code == 0
    assert "wrote" in done.output
    assert "private keys" in done.output
    again = command(fleet.folder, "backup", path)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    (tmp_path / "new").mkdir()
    back = command(tmp_path / "new", "restore", path)
    assert back.exit_code == 0
    assert "files came back" in back.output
    assert command(tmp_path / "new", "restore", path).output.startswith("all files")


def test_files_that_lie_elsewhere_are_named(fleet: config.Config, tmp_path: Path) -> None:
    key = tmp_path / "elsewhere.pem"
    fleet.signing_key.rename(key)
    path = fleet.folder / "fleet.toml"
    path.write_text(path.read_text().replace("keys/signing.pem", str(key)))
    done = command(fleet.folder, "backup", str(tmp_path / "a.tgz"))
    assert f"without {key}" in done.output


# -- the database that `fleet serve --database` named ---------------------------------------------


def other_database(fleet: config.Config, url: str, thing: str) -> None:
    """What `fleet serve --database URL` leaves: a database that holds a thing, and a note of it."""
    store = Store(url)
    with store.write() as transaction:
        transaction.add_thing(Thing(thing, {}, 1_790_000_000))
    store.close()
    service_notes.note_database(fleet, database.place(url))


def things(path: Path) -> list[str]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM things")]


@pytest.mark.parametrize("inside", [True, False])
def test_the_database_of_the_last_service_is_backed_up_whatever_its_name(
    fleet: config.Config, tmp_path: Path, inside: bool
) -> None:
    other = fleet.state / "other.db" if inside else tmp_path / "other.db"
    other_database(fleet, f"sqlite:///{other}", "board-of-other")
    done = command(fleet.folder, "backup", str(tmp_path / "a.tgz"))
    assert done.exit_code == 0, done.output
    assert "fleet.db, which is not the database of the service" in done.output
    (tmp_path / "again").mkdir()
    back = command(tmp_path / "again", "restore", str(tmp_path / "a.tgz"))
    assert "state/other.db; `fleet serve --database` takes its URL" in back.output
    assert things(tmp_path / "again/state/other.db") == ["board-of-other"]
    assert {path.name for path in (tmp_path / "again/state").iterdir()} == {"objects", "other.db"}


def test_a_backup_of_another_database_than_the_services_is_refused_by_name(
    fleet: config.Config, tmp_path: Path
) -> None:
    other_database(fleet, f"sqlite:///{tmp_path}/other.db", "board-of-other")
    url = f"sqlite:///{fleet.state}/fleet.db"
    done = command(fleet.folder, "backup", "--database", url, str(tmp_path / "a.tgz"))
    assert done.exit_code == 1
    assert f"used the database sqlite:///{tmp_path}/other.db, not {url}" in done.stderr
    assert not (tmp_path / "a.tgz").exists()
    (tmp_path / "other.db").unlink()
    gone = command(fleet.folder, "backup", str(tmp_path / "a.tgz"))
    assert f"{tmp_path}/other.db is gone" in gone.stderr
    assert not (tmp_path / "a.tgz").exists()


def test_a_database_of_a_service_that_left_no_note_can_be_named(
    fleet: config.Config, tmp_path: Path
) -> None:
    other_database(fleet, f"sqlite:///{tmp_path}/other.db", "board-of-other")
    (fleet.state / service_notes.DATABASE_NOTE).unlink()
    url = f"sqlite:///{tmp_path}/other.db"
    done = command(fleet.folder, "backup", "--database", url, str(tmp_path / "a.tgz"))
    assert done.exit_code == 0, done.output
    restored(tmp_path / "a.tgz", tmp_path / "again")
    assert things(tmp_path / "again/state/other.db") == ["board-of-other"]


def test_a_database_on_a_server_is_named_with_its_tool_and_without_its_password(
    fleet: config.Config, tmp_path: Path
) -> None:
    url = "postgresql://me:secret@/fleet?host=db.example&password=secret"
    service_notes.note_database(fleet, database.place(url))
    for words in ([], ["--database", url]):
        path = tmp_path / f"{len(words)}.tgz"
        done = command(fleet.folder, "backup", *words, str(path))
        assert done.exit_code == 0, done.output
        assert "me@/fleet?host=db.example, which is no file" in done.output
        assert "pg_dump" in done.output
        assert "secret" not in done.output
        with tarfile.open(path) as archive:
            assert not [name for name in archive.getnames() if name.endswith(".db")]
    note = fleet.state / service_notes.DATABASE_NOTE
    assert "secret" not in note.read_text()
    assert note.stat().st_mode & 0o777 == 0o600


def test_a_database_by_a_relative_path_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert database.place("sqlite:///other.db") == f"sqlite:///{tmp_path}/other.db"
    monkeypatch.chdir("/")
    assert database.file_of(f"sqlite:///{tmp_path}/other.db") == tmp_path / "other.db"
