"""The littlefs of a simulated board, in its flash file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from littlefs import LittleFS

from sim.chip import layout
from twinslot.board import filesystem


@contextlib.contextmanager
def mounted(flash: Path, *, write: bool = False) -> Iterator[LittleFS]:
    """Mount the vfs partition of a flash file, formatting a blank one; `write`: keep changes.

    A running board may be looked into: littlefs is whole at any moment.
    """
    _, _, _, start, size = layout.VFS
    with flash.open("rb") as file:
        file.seek(start)
        data = bytearray(file.read(size))
    fs = filesystem.mount(data)
    yield fs
    fs.unmount()
    if write:
        with flash.open("r+b") as file:
            file.seek(start)
            file.write(data)
