"""The littlefs of a simulated board, in its flash file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from littlefs import LittleFS

from sim.build import CHIP
from twinslot.board import filesystem

# The chip's own modules are the one implementation of what lies in flash.
if str(CHIP) not in sys.path:
    sys.path.append(str(CHIP))

import layout
import nor


@contextlib.contextmanager
def mounted(flash: Path, *, write: bool = False) -> Iterator[LittleFS]:
    """Mount the file system of a flash file, formatting a blank one; `write`: keep changes.

    A running board may be looked into: littlefs is whole at any moment.
    """
    with flash.open("rb") as file:
        _, _, _, start, size = layout.of(nor.Nor(file, file.seek(0, 2))).files
        file.seek(start)
        data = bytearray(file.read(size))
    fs = filesystem.mount(data)
    yield fs
    fs.unmount()
    if write:
        with flash.open("r+b") as file:
            file.seek(start)
            file.write(data)
