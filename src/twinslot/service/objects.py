"""The bytes of S3 objects: files named by their own SHA-256, so never half written or changed."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from twinslot import disk
from twinslot.errors import FleetError

PIECE = 65536  # bytes


class ObjectError(FleetError):
    """The bytes of an object are not on disk as they were written."""


class ObjectFolder:
    """A folder of immutable files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        disk.folder(folder)

    def add(self, data: bytes) -> str:
        """Keep these bytes on disk; returns the SHA-256, by which they are found again.

        Raises FileError; then nothing of them stays.
        """
        name = hashlib.sha256(data).hexdigest()
        path = self._folder / name
        if path.exists():
            return name
        disk.replace(path, data, disk.SECRET)
        return name

    def remove(self, sha256: str) -> None:
        """Forget these bytes; again is no harm. Raises FileError."""
        self.path(sha256).unlink(missing_ok=True)

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes `start` to before `end`, in pieces: a slow reader costs no more memory than one.

        Raises ObjectError for a file that is gone or shorter than it was.
        """
        with self.open(sha256) as file:
            file.seek(start)
            while start < end:
                piece = file.read(min(PIECE, end - start))
                if not piece:
                    raise ObjectError(f"{file.name} is cut short")
                start += len(piece)
                yield piece

    def pieces(self, sha256: str, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Some parts of an object; places: start and length of each, in bytes.

        Raises ObjectError for a file that is gone or shorter than it was.
        """
        with self.open(sha256) as file:
            found = [os.pread(file.fileno(), length, start) for start, length in places]
        if any(len(piece) != length for piece, (_, length) in zip(found, places, strict=True)):
            raise ObjectError(f"{file.name} is cut short")
        return found

    def open(self, sha256: str) -> BinaryIO:
        """The file of these bytes, to be read and closed. Raises ObjectError."""
        path = self.path(sha256)
        try:
            return path.open("rb")
        except OSError as error:
            raise ObjectError(f"cannot read the package {path}: {error.strerror}") from error

    def path(self, sha256: str) -> Path:
        """The file of these bytes."""
        return self._folder / sha256
