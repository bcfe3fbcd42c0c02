"""The bytes of S3 objects: files named by their own SHA-256, so never half written or changed."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

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
        """Keep these bytes on disk; returns the SHA-256, by which they are found again."""
        name = hashlib.sha256(data).hexdigest()
        path = self._folder / name
        if path.exists():
            return name
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="new-", delete=False) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(path)
        return name

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes `start` to before `end`, in pieces: a slow reader costs no more memory than one.

        Raises ObjectError for a file that is shorter than it was, OSError for one that is gone.
        """
        with self.path(sha256).open("rb") as file:
            file.seek(start)
            while start < end:
                piece = file.read(min(PIECE, end - start))
                if not piece:
                    raise ObjectError(f"{file.name} is cut short")
                start += len(piece)
                yield piece

    def path(self, sha256: str) -> Path:
        """The file of these bytes."""
        return self._folder / sha256
