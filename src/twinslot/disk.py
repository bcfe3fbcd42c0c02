"""Files that are whole at every moment, whoever reads them meanwhile."""

import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from twinslot.errors import FleetError

PUBLIC = 0o644
SECRET = 0o600
PRIVATE_FOLDER = 0o700


class FileError(FleetError):
    """A file or folder cannot be read or written."""


class TakenError(FileError):
    """A file is there already, where a new one was to be."""


def read(path: Path, what: str) -> bytes:
    """The bytes of a file; `what` says what it is. Raises FileError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {what} {path}: {error.strerror}") from error


def replace(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """Put `data` in the place of a file, with this mode, at once or not at all.

    Raises FileError; then, and at Ctrl-C, nothing is left behind.
    """
    with _whole(path, lambda file: file.write(data), mode) as new:
        new.replace(path)


def stream(path: Path, write: Callable[[BinaryIO], object], mode: int = PUBLIC) -> None:
    """Make a new file of what `write` puts into it: all of it, or no file.

    Raises TakenError for a file that is there, else FileError and what `write` raises.
    """
    with _whole(path, write, mode) as new:
        _name(new, path)


def create(files: Mapping[Path, tuple[bytes, int]]) -> None:
    """Write new files, each with its mode: all of them, or none.

    They come in their order, each whole. A file that is there already is never overwritten. Raises
    TakenError for such a file, else FileError; then, and at Ctrl-C, no file and no folder is left
    that was not there before.
    """
    made: dict[Path, int] = {}  # each file's number: another's of the same name stays
    folders = [folder for path in files for folder in path.parents if not folder.exists()]
    try:
        for path, (data, mode) in files.items():
            with _whole(path, partial(_put, data), mode) as new:
                made[path] = new.stat().st_ino
                _name(new, path)
    except BaseException:
        for path, number in made.items():
            with contextlib.suppress(OSError):
                if path.lstat().st_ino == number:
                    path.unlink()
        for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):  # others may have put something there
                folder.rmdir()
        raise


@contextlib.contextmanager
def unless_done(paths: Iterable[Path]) -> Iterator[None]:
    """Let an exception inside, such as Ctrl-C, bring these files back as they were.

    Copies are made first, so that a disk that is full by then does not matter. Raises FileError.
    """
    with contextlib.ExitStack() as copies:
        before: dict[Path, Path | None] = {}
        for path in paths:
            before[path] = None
            if path.exists():
                write = partial(_put, read(path, "the file"))
                before[path] = copies.enter_context(
                    _whole(path, write, path.stat().st_mode & 0o777)
                )
        try:
            yield
        except BaseException:
            for path, copy in before.items():
                with contextlib.suppress(OSError):
                    if copy is None:
                        path.unlink(missing_ok=True)
                    else:
                        copy.replace(path)
            raise


def _put(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _name(new: Path, path: Path) -> None:
    """Give a file its name, unless it is taken. Raises TakenError."""
    if path.exists():
        raise TakenError(f"{path} exists already; nothing was written")
    try:
        os.link(new, path)
    except FileExistsError as error:
        raise TakenError(f"{path} exists already; nothing was written") from error
    except OSError:  # a file system without hard links
        new.replace(path)


@contextlib.contextmanager
def _whole(path: Path, write: Callable[[BinaryIO], object], mode: int) -> Iterator[Path]:
    """A file beside `path`, all of it on the disk; it goes if it is still there at the end.

    Two writers of one path have a file each. Raises FileError.
    """
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        _make(path.parent, PRIVATE_FOLDER if mode == SECRET else 0o777)
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            yield new
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for whoever holds it. Raises FileError."""
    try:
        _make(path.parent, PRIVATE_FOLDER)
        file = path.open("a")
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def folder(path: Path) -> None:
    """Make a folder that only its owner can enter, with its parents. Raises FileError."""
    try:
        _make(path, PRIVATE_FOLDER)
    except OSError as error:
        raise FileError(f"cannot make the folder {path}: {error.strerror}") from error


def exposed(path: Path) -> str:
    """A sentence about a secret file or folder that others than its owner can use, else "".

    It says the mode, and the command that mends it. Raises FileError.
    """
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise FileError(f"cannot look at {path}: {error.strerror}") from error
    if not mode & 0o077:
        return ""
    verb, right = ("entered", PRIVATE_FOLDER) if path.is_dir() else ("read", SECRET)
    return (
        f"{path} can be {verb} by others (mode {mode:o}): chmod {right:o} {shlex.quote(str(path))}"
    )


def move_all(source: Path, target: Path) -> None:
    """Move what is in one folder into another, over what is there: all of it, or nothing.

    The folders lie side by side. Raises FileError; then, and at Ctrl-C, `target` is as it was.
    """
    old = target.with_name(f".{target.name}.old")
    try:
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            coming = {path.name for path in source.iterdir()}
            shutil.copytree(
                target, source, dirs_exist_ok=True, ignore=lambda _, names: coming & {*names}
            )
        try:
            if target.exists():
                target.rename(old)
            source.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
    except OSError as error:  # also shutil.Error, of several files
        raise FileError(f"cannot write into {target}: {error.strerror or error}") from error
    shutil.rmtree(old, ignore_errors=True)


def _make(path: Path, mode: int) -> None:
    """Make a folder where none is; its parents are for everybody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=mode, exist_ok=True)
