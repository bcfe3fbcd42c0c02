"""Files that are whole at every moment, whoever reads them meanwhile."""

import contextlib
import fcntl
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from twinslot.errors import FleetError

PUBLIC = 0o644
SECRET = 0o600
PRIVATE_FOLDER = 0o700


class FileError(FleetError):
    """A file or folder cannot be read or written."""


def read(path: Path, what: str) -> bytes:
    """The bytes of a file; `what` says what it is. Raises FileError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {what} {path}: {error.strerror}") from error


def replace(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """Put `data` in the place of a file, with this mode, at once or not at all.

    Raises FileError.
    """
    new = path.with_name(path.name + ".new")
    try:
        _make(path.parent, PRIVATE_FOLDER if mode == SECRET else 0o777)
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
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
    """Move what is in one folder into another, over what is there. Raises FileError."""
    folder(target)
    try:
        for path in source.iterdir():
            path.replace(target / path.name)
        source.rmdir()
    except OSError as error:
        raise FileError(f"cannot write into {target}: {error.strerror}") from error


def _make(path: Path, mode: int) -> None:
    """Make a folder where none is; its parents are for everybody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=mode, exist_ok=True)
