"""A fleet's folder as one file, and back: all that its commands and its service keep there.

The file is a tar archive, compressed by gzip, for its owner alone: it holds the private keys. The
service may run meanwhile. Its database is copied as of one moment (SQLite's backup interface), and
then the packages, which never change: so the copy has every package that the database names.
"""

import gzip
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from twinslot import __version__, disk, sequences
from twinslot.client import policy
from twinslot.config import FILE_NAME, Config
from twinslot.errors import FleetError

DATABASE = "fleet.db"
FORMAT = 1
_NOTE = "twinslot-backup.json"  # the first entry of an archive
_BESIDE = (f"{DATABASE}-wal", f"{DATABASE}-shm")  # SQLite's; the copy holds what is in them
_PASSING = ("lock", "endpoint.json", "mosquitto.pid", *_BESIDE)
_PATIENCE = 10  # seconds that a writer of the database may take
_MOST_NAMED = 3


class BackupError(FleetError):
    """A folder cannot be backed up, or a backup cannot be restored."""


@dataclass(frozen=True)
class Saved:
    """The contents of a backup.

    `files`: how many; `database`: whether the service's is among them; `outside`: files that
    fleet.toml names elsewhere, which are not.
    """

    files: int
    database: bool
    outside: list[Path]


def save(config: Config, path: Path) -> Saved:
    """Write all of a fleet into the new file `path`.

    Raises BackupError for a database that is damaged, TakenError, FileError.
    """
    database = config.state / DATABASE
    with tempfile.TemporaryDirectory(prefix="backup-") as name:
        copy = Path(name) / DATABASE
        there = database.exists()
        if there:
            _copy_database(database, copy)
        found = {file: file for file in _files(config)}
        if there:
            found[database] = copy
        names = {file: file.relative_to(config.folder).as_posix() for file in found}

        def write(target: BinaryIO) -> None:
            with tarfile.open(fileobj=target, mode="w:gz") as archive:
                _add_note(archive, config)
                for file in sorted(found, key=names.__getitem__):
                    archive.add(found[file], names[file], recursive=False, filter=_plain)

        disk.stream(path, write, disk.SECRET)
    return Saved(len(found), there, sorted(_outside(config)))


def restore(path: Path, folder: Path) -> list[str]:
    """Bring the files of a backup back into `folder`; returns the names of those that came.

    A file that is there with the same bytes stays. Raises BackupError, before anything is changed,
    for a file that is no whole backup, and for files that are there and differ; FileError for a
    disk that fails, after which none has come.
    """
    stage = Path(tempfile.mkdtemp(prefix=".restore-", dir=_folder(folder)))
    try:
        _unpack(path, stage)
        names = [file.relative_to(stage) for file in sorted(stage.rglob("*")) if file.is_file()]
        new = [name for name in names if not _same(stage / name, folder / name)]
        _check(new, folder)
        _move(new, stage, folder)
    except OSError as error:
        raise disk.FileError(f"cannot write into {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return [name.as_posix() for name in new]


def _folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise BackupError(f"{folder} is no folder: make it, then restore into it")
    return folder


def _copy_database(source: Path, target: Path) -> None:
    try:
        with (
            closing(
                sqlite3.connect(f"{source.resolve().as_uri()}?mode=rw", _PATIENCE, uri=True)
            ) as before,
            closing(sqlite3.connect(target)) as after,
        ):
            before.backup(after)
            after.execute("PRAGMA journal_mode = DELETE")
            said = after.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise BackupError(f"the database {source} cannot be copied: {error}") from error
    if said != "ok":
        raise BackupError(f"the database {source} is damaged: {said}; keep the backups you have")
    target.chmod(disk.SECRET)


def _files(config: Config) -> Iterator[Path]:
    """The files of a fleet that lie in its folder."""
    folders = [config.authority, config.boards, config.broker_folder, config.state]
    folders += [path.parent for path in (config.signing_key, config.public_key, config.credentials)]
    single = [config.folder / name for name in (FILE_NAME, policy.FILE_NAME, sequences.FILE)]
    single += _named(config)
    inside = config.folder.resolve()
    seen = set()
    for path in (*single, *_below(folders, inside)):
        if path.is_file() and path.resolve().is_relative_to(inside) and path not in seen:
            seen.add(path)
            yield path


def _below(folders: list[Path], inside: Path) -> Iterator[Path]:
    for folder in folders:
        if inside in folder.resolve().parents:  # a key beside fleet.toml brings not all of it
            for path in sorted(folder.rglob("*")):
                if path.name not in _PASSING and path.suffix != ".new":
                    yield path


def _named(config: Config) -> list[Path]:
    """The files that fleet.toml names."""
    broker = config.broker
    found = [config.signing_key, config.public_key, config.credentials]
    found += [
        path
        for path in (
            *(broker.ca, broker.password, broker.certificate, broker.key),
            *(config.certificate, config.key, config.endpoint_ca),
            *(config.control_certificate, config.control_key),
        )
        if path is not None
    ]
    return found


def _outside(config: Config) -> set[Path]:
    inside = config.folder.resolve()
    found = [*_named(config), config.state]
    return {path for path in found if not path.resolve().is_relative_to(inside)}


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry without the names of this machine's people."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _add_note(archive: tarfile.TarFile, config: Config) -> None:
    note = {"format": FORMAT, "product": config.product, "twinslot": __version__}
    with tempfile.NamedTemporaryFile() as file:
        file.write(json.dumps(note).encode())
        file.flush()
        archive.add(file.name, _NOTE, filter=_plain)


def _unpack(path: Path, stage: Path) -> None:
    """Unpack a backup into a folder. Raises BackupError unless all of it is whole."""
    try:
        with gzip.open(path) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
            _check_note(path, archive)
            for entry in archive:
                if entry.name == _NOTE:
                    continue
                name = PurePosixPath(entry.name)
                if not entry.isfile() or name.is_absolute() or ".." in name.parts:
                    raise BackupError(f"{path} is no backup of a fleet: it holds {entry.name}")
                source = archive.extractfile(entry)
                mode = disk.PUBLIC if entry.mode & 0o077 else disk.SECRET
                if source is not None:
                    disk.replace(stage / name, source.read(), mode)
            while plain.read(2**20):  # gzip's checksum comes last
                pass
    except FileNotFoundError as error:
        raise BackupError(f"no backup {path}: {error.strerror}") from error
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise BackupError(f"{path} is no whole backup: {error}") from error


def _check_note(path: Path, archive: tarfile.TarFile) -> None:
    entry = archive.next()
    source = archive.extractfile(entry) if entry is not None and entry.name == _NOTE else None
    if source is None:
        raise BackupError(f"{path} is no backup of a fleet; `fleet backup` writes one")
    try:
        form = json.loads(source.read())["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise BackupError(f"{path} is no backup that this program knows: {error}") from error
    if form != FORMAT:
        raise BackupError(f"{path} has format {form!r}, this program knows {FORMAT}")


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _check(new: list[Path], folder: Path) -> None:
    taken = [name.as_posix() for name in new if os.path.lexists(folder / name)]
    for name in new:
        if name.name == DATABASE:
            beside = [name.with_name(other) for other in _BESIDE]
            taken += [other.as_posix() for other in beside if (folder / other).exists()]
    if taken:
        more = f" and {len(taken) - _MOST_NAMED} more" if len(taken) > _MOST_NAMED else ""
        raise BackupError(
            f"{', '.join(taken[:_MOST_NAMED])}{more} in {folder} would be lost; nothing was "
            "changed: move them away, or restore into an empty folder"
        )


def _move(new: list[Path], stage: Path, folder: Path) -> None:
    """Give the files their names: all of them or none."""
    made: list[Path] = []
    try:
        for name in new:
            for parent in reversed(name.parents):
                if not (folder / parent).exists():
                    (folder / parent).mkdir(mode=disk.PRIVATE_FOLDER)
                    made.append(folder / parent)
            made.append(folder / name)
            (stage / name).rename(folder / name)
    except BaseException:
        for path in reversed(made):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        raise
