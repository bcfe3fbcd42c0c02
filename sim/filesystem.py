"""The board's littlefs, seen from the host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from littlefs import LittleFS
from littlefs.context import UserContext

from sim.chip import layout

_READ_SIZE = 32  # bytes: read, program and lookahead size, as MicroPython mounts it


class Region(UserContext):
    """A part of flash in memory, as littlefs-python wants it."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def read(self, _cfg: object, block: int, off: int, size: int) -> bytearray:
        """Return bytes of a block."""
        at = block * layout.SECTOR + off
        return self.data[at : at + size]

    def prog(self, _cfg: object, block: int, off: int, data: bytes) -> int:
        """Program bytes of a block."""
        at = block * layout.SECTOR + off
        self.data[at : at + len(data)] = data
        return 0

    def erase(self, _cfg: object, block: int) -> int:
        """Erase a block."""
        at = block * layout.SECTOR
        self.data[at : at + layout.SECTOR] = b"\xff" * layout.SECTOR
        return 0

    def sync(self, _cfg: object) -> int:
        """Nothing is kept back."""
        return 0


@contextlib.contextmanager
def mounted(flash: Path, *, write: bool = False) -> Iterator[LittleFS]:
    """Mount the vfs partition of a flash file, formatting a blank one; `write`: keep changes.

    A running board may be looked into: littlefs is whole at any moment.
    """
    _, _, _, start, size = layout.VFS
    with flash.open("rb") as file:
        file.seek(start)
        region = Region(bytearray(file.read(size)))
    fs = LittleFS(
        context=region,
        block_size=layout.SECTOR,
        block_count=size // layout.SECTOR,
        prog_size=_READ_SIZE,
        read_size=_READ_SIZE,
        lookahead_size=_READ_SIZE,
        mount=False,
    )
    if region.data.count(0xFF) == size:
        fs.format()
    fs.mount()
    yield fs
    fs.unmount()
    if write:
        with flash.open("r+b") as file:
            file.seek(start)
            file.write(region.data)
