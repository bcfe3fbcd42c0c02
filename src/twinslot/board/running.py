"""The report of a running board on itself, and whether its files may be changed."""

import re
import string
from dataclasses import dataclass
from typing import Any

from twinslot.board.cable import Cable, Raised
from twinslot.errors import FleetError
from twinslot.formats import otadata, releases, table
from twinslot.formats.chips import SECTOR
from twinslot.formats.trailer import DIRECTORY_LENGTH, RECORDS_LENGTH

FAT = (
    "its file system is FAT, which a power cut may damage: firmware comes over the air there, "
    "applications do not"
)

# The note that boot.py and the agent leave of a trial, in NVS, begins with STAGE DEADLINE, the
# latter in ms since the chip started, where ticks_ms begins.
_LOOK = string.Template("""
import hashlib, sys, time, os
from esp32 import NVS, Partition
def _look():
    records = []
    for part in Partition.find(Partition.TYPE_DATA, subtype=0):
        for sector in (0, 1):
            record = bytearray(32)
            part.readblocks(sector, record)
            records.append(bytes(record))
    running = Partition(Partition.RUNNING)
    trailer = bytearray($sector)
    running.readblocks(running.info()[3] // $sector - 1, trailer)
    whole = hashlib.sha256(memoryview(trailer)[:$signed]).digest() == trailer[$signed:]
    directory = bytes(trailer[$records:$signed]).rstrip(b"\0") if whole else b""
    try:
        os.stat("/%s/.files" % directory.decode())
        unpacked = True
    except (OSError, UnicodeError):
        unpacked = False
    left = None
    note = bytearray(1400)
    try:
        note = bytes(note[:NVS("ota").get_blob("trial", note)]).split(b" ")
        left = int(note[1]) - time.ticks_ms()
    except (OSError, IndexError, ValueError):
        pass
    try:
        disk = os.statvfs("/")
    except OSError:
        disk = None
    head = bytearray(88)
    files = Partition.find(1, label="vfs") or Partition.find(1, label="ffat")
    if files:
        files[0].readblocks(0, head, 0)
    return {
        "version": tuple(sys.implementation[1][:3]),
        "table": [p.info() for t in (0, 1) for p in Partition.find(t)],
        "running": running.info()[4],
        "directory": directory,
        "unpacked": unpacked,
        "records": records,
        "left_ms": left,
        "free": disk and disk[0] * disk[3],
        "fat": b"FAT" in (head[54:57], head[82:85]),
    }
print(_look())
""").substitute(sector=SECTOR, records=RECORDS_LENGTH, signed=RECORDS_LENGTH + DIRECTORY_LENGTH)


class UnfitError(FleetError):
    """This board cannot be updated over the air as it is."""


class PendingError(FleetError):
    """A new image is being tested, or about to be: nothing on the board may change."""


@dataclass(frozen=True)
class Running:
    """A board whose MicroPython runs.

    `version`: of MicroPython; `table`: the partitions it sees, from 1.26 on with a vfs that may not
    stand in flash; `slot`: label of the one that runs; `records`: otadata; `left_s`: seconds until
    the test ends, None where no test is noted; `free`: bytes of its file system, None without one;
    `encrypted`: flash encryption is on; `directory`: the application's, "" where it lies flat;
    `unpacked`: a package brought what is in it, not a cable; `fat`: the files lie on FAT.
    """

    version: tuple[int, ...]
    table: table.Table
    slot: str
    records: tuple[otadata.Record | None, ...]
    left_s: int | None
    free: int | None
    encrypted: bool = False
    directory: str = ""
    unpacked: bool = False
    fat: bool = False

    @property
    def pending(self) -> bool:
        """Say whether a new image is under test, or activated and not started yet."""
        record = otadata.active(self.records)
        return record is not None and record.state in (otadata.NEW, otadata.PENDING)

    @property
    def test(self) -> str:
        """Say which test is pending, for people."""
        left = "" if self.left_s is None else f", {max(0, self.left_s)} s left"
        return f"a new image is under test on the board, or about to be ({self.slot} runs{left})"


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
        any(row[5] for row in said["table"]),
        said["directory"].decode("ascii", "replace"),
        said["unpacked"],
        said["fat"],
    )


def lacks(board: Running) -> list[str]:
    """Say what the partition table lacks for updates over the air, a few words each. Pure."""
    found = []
    if not table.has_otadata(board.table):
        found.append("no otadata")
    count = len(table.slots(board.table))
    if count < 2:
        found.append(f"{count or 'no'} OTA slot{'s' * (count != 1)} of two")
    if board.version < releases.FINDS_FILES and not any(
        table.find(board.table, label) for label in table.FILE_SYSTEMS
    ):
        found.append(f"no vfs, which MicroPython {releases.text(board.version)} needs there")
    return found


def check(board: Running) -> None:
    """Judge whether the board's files may be changed now. Pure.

    Raises UnfitError without otadata, two OTA slots or a file system, with MicroPython before 1.22,
    or with flash encryption; PendingError while an image is under test or about to be.
    """
    release = releases.text(board.version)
    if board.version < releases.OLDEST:
        raise UnfitError(
            f"the board runs MicroPython {release}; the agent needs "
            f"{releases.text(releases.OLDEST)} or newer"
        )
    if board.encrypted:
        raise UnfitError(
            "flash encryption is on: a chip starts no image that an update writes in plain, and "
            "MicroPython's builds do not support it; update such a board with its own tools"
        )
    if found := lacks(board):
        raise UnfitError(
            f"the board's partition table has {', '.join(found)}: it cannot be updated over the "
            "air. `fleet flash` gives it one that can"
        )
    if board.free is None:
        raise UnfitError("the board has no file system mounted at /: its files have no place")
    if board.pending:
        raise PendingError(
            f"{board.test}: nothing may change until it is accepted or rolled back; "
            "`fleet board logs` shows how it goes, and disturbs nothing"
        )
