"""What a running board says of itself, and whether its files may be changed."""

import re
from dataclasses import dataclass
from typing import Any

from board import otadata, table
from board.cable import Cable, Raised
from fleet.errors import FleetError

OLDEST = (1, 22)
NEEDS_VFS_ENTRY = (1, 26)  # from this release on MicroPython finds its files without one

# The note that boot.py and the agent leave of a test: OTA1 STAGE DEADLINE MOMENT, in ticks_ms.
_LOOK = """
import sys, time, os
from esp32 import Partition
from machine import RTC
def _look():
    records = []
    for part in Partition.find(Partition.TYPE_DATA, subtype=0):
        for sector in (0, 1):
            record = bytearray(32)
            part.readblocks(sector, record)
            records.append(bytes(record))
    left = None
    note = bytes(RTC().memory()).split(b" ")
    if len(note) == 4 and note[0] == b"OTA1":
        left = time.ticks_diff(int(note[2]), time.ticks_ms())
    disk = os.statvfs("/")
    return {
        "version": tuple(sys.implementation[1][:3]),
        "table": [p.info() for t in (0, 1) for p in Partition.find(t)],
        "running": Partition(Partition.RUNNING).info()[4],
        "records": records,
        "left_ms": left,
        "free": disk[0] * disk[3],
    }
print(_look())
"""


class UnfitError(FleetError):
    """This board cannot be updated over the air as it is."""


class PendingError(FleetError):
    """A new image is being tested, or about to be: nothing on the board may change."""


@dataclass(frozen=True)
class Running:
    """A board whose MicroPython runs.

    `version`: of MicroPython; `table`: the partitions it sees, from 1.26 on with a vfs that may not
    stand in flash; `slot`: label of the one that runs; `records`: otadata; `left_s`: seconds until
    the test ends, None where no test is noted; `free`: bytes of its file system.
    """

    version: tuple[int, ...]
    table: table.Table
    slot: str
    records: tuple[otadata.Record | None, ...]
    left_s: int | None
    free: int

    @property
    def pending(self) -> bool:
        """Say whether a new image is under test, or activated and not started yet."""
        record = otadata.active(self.records)
        return record is not None and record.state in (otadata.NEW, otadata.PENDING)


def look(cable: Cable) -> Running:
    """Ask a board; its program must be stopped, or gets stopped. Raises UnfitError, CableError."""
    try:
        said = cable.evaluate_output(_LOOK)
    except Raised as error:
        missing = re.search(r"no module named '(esp32|machine)'", str(error))
        if missing:
            raise UnfitError("MicroPython runs there, but not on an ESP32") from error
        raise
    return parse(said)


def parse(said: dict[str, Any]) -> Running:
    """Return what the board's answer means. Pure."""
    return Running(
        tuple(said["version"]),
        tuple(
            table.Partition(label, kind, subtype, offset, size)
            for kind, subtype, offset, size, label, _ in said["table"]
        ),
        said["running"],
        tuple(otadata.parse(record) for record in said["records"]),
        None if said["left_ms"] is None else said["left_ms"] // 1000,
        said["free"],
    )


def check(board: Running) -> None:
    """Judge whether the board's files may be changed now. Pure.

    Raises UnfitError without otadata, two OTA slots or a file system, or with MicroPython before
    1.22; PendingError while an image is under test or about to be.
    """
    release = ".".join(map(str, board.version))
    if board.version < OLDEST:
        raise UnfitError(f"the board runs MicroPython {release}; the agent needs 1.22 or newer")
    lacks = []
    if not table.has_otadata(board.table):
        lacks.append("no otadata")
    count = len(table.slots(board.table))
    if count < 2:
        lacks.append(f"{count or 'no'} OTA slot{'s' * (count != 1)} of two")
    if board.version < NEEDS_VFS_ENTRY and table.find(board.table, "vfs") is None:
        lacks.append(f"no vfs, which MicroPython {release} needs there")
    if lacks:
        raise UnfitError(
            f"the board's partition table has {', '.join(lacks)}: it cannot be updated over the "
            "air. `make flash` gives it one that can"
        )
    if board.pending:
        left = "" if board.left_s is None else f", {max(0, board.left_s)} s left"
        raise PendingError(
            f"a new image is under test on the board, or about to be ({board.slot} runs{left}): "
            "nothing may change until it is accepted or rolled back; "
            "`make logs` shows how it goes, and disturbs nothing"
        )
