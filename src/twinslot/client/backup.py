"""A fleet's folder as one file, and back: all that its commands and its service keep there.

The file is a tar archive, compressed by gzip, for its owner alone: it holds the private keys. The
service may run meanwhile. Its database is copied as of one moment, and then the packages, which
never change: so the copy has every package that the database names.
"""

import gzip
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from twinslot import __version__, disk, keychain, sequences
from twinslot.client import policy
from twinslot.config import FILE_NAME, Config
from twinslot.errors import FleetError
from twinslot.service_notes import DATABASE_NOTE

FORMAT = 1
_NOTE = "twinslot-backup.json"  # the first entry of an archive
_PASSING = ("lock", "endpoint.json", DATABASE_NOTE, "mosquitto.pid")
_MOST_NAMED = 3
_DATABASE_OF_0_2 = "state/fleet.db"  # whose backups do not say it


class BackupError(FleetError):
    """A folder cannot be backed up, or a backup cannot be restored."""


@dataclass(frozen=True)
class Database:
    """The service's database, as a backup takes it.

    `file`: None where it is no file; `usual`: the file that `fleet serve` uses when it is told no
    other. `copy` writes a file as of one moment into a new one. `beside`: endings of the files that
    lie beside such a file while it is in use.
    """

    file: Path | None
    usual: Path
    copy: Callable[[Path, Path], None]
    beside: tuple[str, ...]


@dataclass(frozen=True)
class Saved:
    """The contents of a backup.

    `files`: how many; `database`: the name in the folder under which the service's comes back, None
    where it is no file; `left_out`: another database in the folder, which no service uses;
    `outside`: files that fleet.toml names elsewhere, which are not in the backup.
    """

    files: int
    database: str | None
    left_out: list[Path]
    outside: list[Path]


def save(config: Config, path: Path, database: Database) -> Saved:
    """Write all of a fleet into the new file `path`.

    A database outside of the folder comes back in the state folder. Raises TakenError, FileError,
    and what `database.copy` raises.
    """
    file, usual = database.file, database.usual
    kept = [usual] if file is None else [usual, file]
    aside = {Path(f"{one}{end}").resolve() for one in kept for end in ("", *database.beside)}
    left_out = [usual] if usual.exists() and usual.resolve() != (file and file.resolve()) else []
    with tempfile.TemporaryDirectory(prefix="backup-") as scratch:
        found = {
            other.relative_to(config.folder).as_posix(): other
            for other in _files(config)
            if other.resolve() not in aside
        }
        name = None
        if file is not None:
            name = _name_of(file.resolve(), config)
            found[name] = Path(scratch) / "copy"
            database.copy(file, found[name])

        def write(target: BinaryIO) -> None:
            with tarfile.open(fileobj=target, mode="w:gz") as archive:
                _add_note(archive, config, name)
                for inside in sorted(found):
                    archive.add(found[inside], inside, recursive=False, filter=_plain)

        disk.stream(path, write, disk.SECRET)
    return Saved(len(found), name, left_out, sorted(_outside(config)))


@dataclass(frozen=True)
class Restored:
    """The names of the files that came, and of the database among all of them (None: none)."""

    came: list[str]
    database: str | None


def restore(path: Path, folder: Path, beside: tuple[str, ...]) -> Restored:
    """Bring the files of a backup back into `folder`.

    A file that is there with the same bytes stays. `beside`: endings of files that must not lie
    beside a database that comes. Raises BackupError, before anything is changed, for a file that is
    no whole backup, and for files that are there and differ; FileError for a disk that fails, after
    which none has come.
    """
    stage = Path(tempfile.mkdtemp(prefix=".restore-", dir=_folder(folder)))
    try:
        database = _unpack(path, stage)
        names = [file.relative_to(stage) for file in sorted(stage.rglob("*")) if file.is_file()]
        new = [name for name in names if not _same(stage / name, folder / name)]
        _check(new, folder, [f"{database}{end}" for end in beside] if database else [])
        _move(new, stage, folder)
    except OSError as error:
        raise disk.FileError(f"cannot write into {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return Restored([name.as_posix() for name in new], database)


def _folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise BackupError(f"{folder} is no folder: make it, then restore into it")
    return folder


def _files(config: Config) -> Iterator[Path]:
    """The files of a fleet that lie in its folder."""
    folders = [config.authority, config.boards, config.broker_folder, config.state]
    folders.append(config.folder / keychain.FOLDER)
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


def _name_of(database: Path, config: Config) -> str:
    """The name that a database's file has in a backup, and comes back under."""
    folder = config.folder.resolve()
    if not database.is_relative_to(folder):
        database = config.state.resolve() / database.name
        if not database.is_relative_to(folder):
            return f"{config.state.name}/{database.name}"
    return database.relative_to(folder).as_posix()


def _add_note(archive: tarfile.TarFile, config: Config, database: str | None) -> None:
    note = {
        "format": FORMAT,
        "product": config.product,
        "twinslot": __version__,
        "database": database,
    }
    with tempfile.NamedTemporaryFile() as file:
        file.write(json.dumps(note).encode())
        file.flush()
        archive.add(file.name, _NOTE, filter=_plain)


def _unpack(path: Path, stage: Path) -> str | None:
    """Unpack a backup into a folder. Returns the database's name in it, None without one.

    Raises BackupError unless all of it is whole.
    """
    try:
        with gzip.open(path) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
            database = _read_note(path, archive)
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
    return database


def _read_note(path: Path, archive: tarfile.TarFile) -> str | None:
    entry = archive.next()
    source = archive.extractfile(entry) if entry is not None and entry.name == _NOTE else None
    if source is None:
        raise BackupError(f"{path} is no backup of a fleet; `fleet backup` writes one")
    try:
        note = json.loads(source.read())
        form, database = note["format"], note.get("database", _DATABASE_OF_0_2)
    except (ValueError, TypeError, KeyError) as error:
        raise BackupError(f"{path} is no backup that this program knows: {error}") from error
    if form != FORMAT:
        raise BackupError(f"{path} has format {form!r}, this program knows {FORMAT}")
    if not isinstance(database, str | None):
        raise BackupError(f"{path} is no backup that this program knows: database {database!r}")
    return database


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _check(new: list[Path], folder: Path, beside: list[str]) -> None:
    taken = [name.as_posix() for name in new if os.path.lexists(folder / name)]
    if any(other.startswith(name.as_posix()) for name in new for other in beside):
        taken += [other for other in beside if (folder / other).exists()]
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
