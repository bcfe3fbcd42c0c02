"""`make wear`: writes docs/flash-wear.md, the erases and programs of each kind of update.

A simulated board takes updates of each kind over MQTT; its flash counts erases and programs of
every sector.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from demo.children import StartError, wait_for
from demo.stack import THING, Stack
from sim.board import Board
from sim.chip import layout
from sim.wear import Counts, Wear
from tools import natives, prose
from tools.paths import ROOT
from twinslot.disk import replace

PAGE = ROOT / "docs/flash-wear.md"
CYCLES = 100_000  # erases that a sector of such flash stands
UPDATES_A_DAY = 10
IMAGE_SIZE = 1_672_976  # bytes: MicroPython 1.26.1 for the ESP32
ENTRIES_A_PAGE = 126  # ESP-IDF's layout of NVS
QUIET_S = 2  # nothing has happened to flash for so long: the board rests

_PATIENCE_S = 180
_DAYS_A_YEAR = 365
_SLOTS = ("ota_0", "ota_1")
_NVS_PAGES = layout.NVS[4] // layout.SECTOR

_HEAD = """\
# How updates wear flash

`make wear` writes this page from the simulated board's own counts. The updates bring an image of
{size} bytes, and the demo application with its agent, over MQTT. An erase is one of a sector of
4096 bytes, a program one of a page of 256 bytes or less. The counts are per update: an average over
two, and of the fourth kind one.

"""
_COLUMNS = (
    "update",
    "erases: slots",
    "otadata",
    "file system",
    "programs",
    "NVS commits",
    "NVS pages",
    "hottest sector",
    "its erases",
    "years",
)

_TAIL = """
- *Years*: until the hottest sector, or page of NVS, has been erased {cycles:,} times, at {a_day}
  such updates a day.
- *NVS pages*: how many pages ESP-IDF's NVS erases for these commits, with {entries} entries of 32
  bytes a page, and {pages} pages in turn. The simulation keeps NVS in a form of its own, whose
  erases are not counted here.
- A slot's last sector, its trailer, is erased twice in each update that fills the slot: when the
  old word goes, and when the new one is complete. The slots take turns, so that each is filled by
  every second update; after a rollback the same slot is filled again.
- otadata has two sectors. Activating a slot erases one, the bootloader's note that it is under test
  erases that again, and so does acceptance or rollback.
- An application alone needs the running image in the other slot. The first one after a firmware
  update copies it; those after it find it there.
- The file system spreads its erases over its free blocks, and moves the blocks of its directories
  by itself. In a nearly full one the few free blocks bear them all.
- How far an application has come costs NVS nothing. For each 32 KB that come (`window` times
  `block_size`), and at each `agent.shutdown()`, the last block of the list in its directory is
  written again, and that of the file that comes: two erases, or one while the list is short.
- An update that is refused at its head erases nothing.
"""


@dataclass(frozen=True)
class Kind:
    """One kind of update. `make` packs one of a sequence; `rounds`: how many are measured.

    `status`: how its job ends.
    """

    name: str
    make: Callable[[Stack, int], Path]
    status: str = "SUCCEEDED"
    rounds: int = 2


def _packed(
    stack: Stack,
    sequence: int,
    behaviour: str = "good",
    *,
    firmware: bool = True,
    app: bool = False,
) -> Path:
    files = {"app.py": f"VERSION = {sequence}\n\n\ndef start():\n    print('app', VERSION)\n" * 20}
    return stack.pack(
        f"{sequence}.0.0",
        sequence,
        behaviour,
        size=IMAGE_SIZE,
        application=files if app else None,
        firmware=firmware,
    )


KINDS = (
    Kind("firmware, accepted", _packed),
    Kind("firmware, rolled back", lambda s, n: _packed(s, n, "selftest_fails"), "FAILED"),
    Kind("firmware and application", lambda s, n: _packed(s, n, app=True)),
    Kind("application, the first after firmware",
         lambda s, n: _packed(s, n, firmware=False, app=True), rounds=1),
    Kind("application, the next", lambda s, n: _packed(s, n, firmware=False, app=True)),
    Kind("refused at its head", lambda s, n: s.pack(f"{n}.0.0-old", 1, size=IMAGE_SIZE), "FAILED"),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What an update of one kind does on average."""

    name: str
    slots: float
    otadata: float
    files: float
    programs: float
    commits: float
    pages: float
    hottest: str
    hottest_erases: float

    @property
    def years(self) -> float:
        """Years until the first sector is worn out; infinity where nothing wears."""
        most = max(self.hottest_erases, self.pages / _NVS_PAGES)
        return CYCLES / (most * UPDATES_A_DAY * _DAYS_A_YEAR) if most else float("inf")

    def __str__(self) -> str:
        """The row as the page has it."""
        years = f"{self.years:.0f}" if self.years < 1000 else "over 1000"
        numbers = (self.slots, self.otadata, self.files, self.programs, self.commits, self.pages)
        cells = [self.name, *(f"{number:.4g}" for number in numbers)]
        return _line([*cells, self.hottest, f"{self.hottest_erases:.4g}", years])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def row(name: str, counts: Counts, rounds: int) -> Row:
    """Return what `rounds` updates did, for one of them. Pure."""
    found = {
        label: counts.erases[start // layout.SECTOR : (start + size) // layout.SECTOR]
        for label, _, _, start, size in layout.TABLE
    }
    erases = {
        start + layout.SECTOR * number: times
        for label, _, _, start, _ in layout.TABLE
        for number, times in enumerate(found[label])
        if label != "nvs"
    }
    hottest = max(erases, key=erases.__getitem__)
    return Row(
        name,
        sum(sum(found[label]) for label in _SLOTS) / rounds,
        sum(found["otadata"]) / rounds,
        sum(found["vfs"]) / rounds,
        sum(counts.programs) / rounds,
        counts.commits / rounds,
        counts.entries / ENTRIES_A_PAGE / rounds,
        _place(hottest) if erases[hottest] else "none",
        erases[hottest] / rounds,
    )


def _place(address: int) -> str:
    label, _, _, start, size = next(row for row in reversed(layout.TABLE) if row[3] <= address)
    if label not in _SLOTS:
        return {"vfs": "file system"}.get(label, label)
    return "a slot's trailer" if address == start + size - layout.SECTOR else "a slot"


def measure(folder: Path, kinds: tuple[Kind, ...] = KINDS) -> Iterator[Row]:
    """Let a board take updates of these kinds; yield a row for each. Raises StartError."""
    sequence = count(2)
    with Stack(folder, interpreter="micropython") as stack, stack.board() as board:
        board.wear = Wear(board.folder / "wear.bin")
        board.start()
        board.wait_console("State: Ready")
        before = _at_rest(board)
        for kind in kinds:
            for _ in range(kind.rounds):
                _take(stack, kind, next(sequence))
            after = _at_rest(board)
            yield row(kind.name, after.since(before), kind.rounds)
            before = after


def _take(stack: Stack, kind: Kind, sequence: int) -> None:
    job = stack.publish(kind.make(stack, sequence))
    wait_for(lambda: stack.finished(job), f"the end of {kind.name}", _PATIENCE_S)
    execution = stack.execution(job, THING)
    if execution["status"] != kind.status:
        raise StartError(f"{kind.name}: {execution['status']} {execution['statusDetails']}")


def _at_rest(board: Board) -> Counts:
    """Wait until nothing has happened to flash for a while."""
    assert board.wear
    found, since = board.wear.read(), time.monotonic()
    while time.monotonic() - since < QUIET_S:
        time.sleep(0.1)
        now = board.wear.read()
        if now != found:
            found, since = now, time.monotonic()
    return found


def page(rows: list[Row]) -> str:
    """Return the page. Pure."""
    head = _HEAD.format(size=IMAGE_SIZE)
    head += f"{_line(_COLUMNS)}\n{_line(['---'] * len(_COLUMNS))}\n"
    tail = _TAIL.format(
        cycles=CYCLES, a_day=UPDATES_A_DAY, entries=ENTRIES_A_PAGE, pages=_NVS_PAGES
    )
    return prose.wrapped(head + "".join(f"{one}\n" for one in rows) + tail)


def main() -> int:
    """Measure and write the page. Returns the exit status."""
    try:
        natives.command("micropython")
        with tempfile.TemporaryDirectory(prefix="wear-") as folder:
            rows = []
            for found in measure(Path(folder) / "stack"):
                rows.append(found)
                sys.stdout.write(f"{found}\n")
    except (StartError, natives.NativeMissing) as error:
        sys.stdout.write(f"wear: {error}\n")
        return 2
    replace(PAGE, page(rows).encode())
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
