"""How often each sector of a simulated flash was erased and programmed (sim/chip/nor.py counts)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from sim.chip import layout

_SECTORS = layout.FLASH_SIZE // layout.SECTOR


@dataclass(frozen=True)
class Counts:
    """What happened so far. `erases`, `programs`: by sector; `commits`: of NVS.

    `entries`: of 32 bytes, which these commits would take in ESP-IDF's layout of NVS.
    """

    erases: tuple[int, ...]
    programs: tuple[int, ...]
    commits: int
    entries: int

    def since(self, before: Counts) -> Counts:
        """Return what happened since then."""

        def less(now: tuple[int, ...], then: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(a - b for a, b in zip(now, then, strict=True))

        return Counts(
            less(self.erases, before.erases),
            less(self.programs, before.programs),
            self.commits - before.commits,
            self.entries - before.entries,
        )


class Wear:
    """The counters of one board, in a file of their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(4 * (2 * _SECTORS + 2)))

    def read(self) -> Counts:
        """Return the counts. The board may run."""
        found = struct.unpack(f"<{2 * _SECTORS + 2}I", self.path.read_bytes())
        return Counts(found[0:-2:2], found[1:-2:2], found[-2], found[-1])
