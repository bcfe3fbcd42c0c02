"""`make wear`: writes docs/flash-wear.md, the erases and programs of each kind of update.

A simulated board takes updates of each kind; its flash counts erases and programs of every sector.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from demo.children import StartError, wait_for
from demo.stack import THING, Stack
from sim.board import Board
from sim.chip import layout
from sim.wear import Counts, Wear
from tools import natives, prose
from tools.paths import ROOT
from twinslot.client.own_service import BUCKET, ROLE
from twinslot.disk import replace
from twinslot.formats import document
from twinslot.trust import certificates, keys

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
{size} bytes, and the demo application with its agent, over MQTT unless the table says otherwise. An
erase is one of a sector of
4096 bytes, a program one of a page of 256 bytes or less. The counts are per update: an average over
two, and of the kinds marked with 1 a single one.

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
- A rollback by a person (`ota.rollback()`) writes no slot: the other one holds the version before.
- A file that is installed was on the file system before, at a cost that is not counted here.
- A kind with a 1 erases one sector of otadata three times; a second such update erases the other
  one, so that its years are twice as many.
"""


@dataclass(frozen=True)
class Kind:
    """One kind of update. `take` carries out one of a sequence; `rounds`: how many are measured.

    `prepare` does before what is not counted.
    """

    name: str
    take: Callable[[Stack, Board, int], None]
    rounds: int = 2
    prepare: Callable[[Stack, Board, int], None] | None = None

    @property
    def title(self) -> str:
        """The name in the table."""
        return self.name if self.rounds == 2 else f"{self.name} (1)"


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


def _over_mqtt(make: Callable[[Stack, int], Path], status: str = "SUCCEEDED") -> Any:
    return lambda stack, _, n: _ends(stack, stack.publish(make(stack, n)), status)


def _over_http(stack: Stack, _: Board, sequence: int) -> None:
    _ends(stack, stack.publish(_packed(stack, sequence), protocol="http"), "SUCCEEDED")


def _raw_image(stack: Stack, _: Board, sequence: int) -> None:
    """Send an image without a package, as AWS's create_ota_update makes its job."""
    data = stack.firmware("0.9.1", size=IMAGE_SIZE)
    signature = base64.b64encode(_SIGNER.sign(data, ec.ECDSA(hashes.SHA256()))).decode()
    job, key, iot = f"raw-{sequence}", f"raw-{sequence}.bin", stack.clients.iot
    at = {"bucket": BUCKET, "key": key}
    stack.clients.s3.put_object(Bucket=BUCKET, Key=key, Body=data)
    iot.create_stream(
        streamId=job, description=job, files=[{"fileId": 0, "s3Location": at}], roleArn=ROLE
    )
    described = document.File(
        key, len(data), certificate=_CERTIFICATE, signature=("sig-sha256-ecdsa", signature)
    )
    iot.create_job(
        jobId=job,
        targets=[iot.describe_thing(thingName=THING)["thingArn"]],
        targetSelection="SNAPSHOT",
        document=document.of_update([described], [document.MQTT], job, stack.clients.region),
        description=job,
    )
    _ends(stack, job, "SUCCEEDED")


def _lay_file(stack: Stack, board: Board, sequence: int) -> None:
    """Put a package of an application onto the file system, while the board is off."""
    board.stop()
    board.install({_FILE: _packed(stack, sequence, firmware=False, app=True).read_bytes()})
    at = len(board.log_path.read_bytes())
    board.start()
    board.wait_console("State: Ready", since=at, timeout=_PATIENCE_S)


def _from_file(_stack: Stack, board: Board, _sequence: int) -> None:
    _typed(board, f"ota.install({_FILE!r})", "local")


def _rolled_back(_stack: Stack, board: Board, _sequence: int) -> None:
    _typed(board, "ota.rollback(True)", "person")


def _typed(board: Board, call: str, origin: str) -> None:
    """Type a call at the prompt that ends with a restart; wait until the board has accepted it."""
    at = len(board.log_path.read_bytes())
    with socket.create_connection(board.console, timeout=_PATIENCE_S) as typing:
        typing.sendall(b"\x03")
        at = board.wait_console(">>> ", since=at)
        typing.sendall(f"import ota; {call}\r".encode())
        board.wait_console("State: Ready", since=at, timeout=_PATIENCE_S)
    newest = json.loads(board.nvs("ota", "history") or b"[{}]")[0]
    if (newest.get("status"), newest.get("origin")) != ("SUCCEEDED", origin):
        raise StartError(f"{call}: {newest}")


_SIGNER = keys.generate()
_CERTIFICATE = "signer.pem"
_FILE = "/x.ota"
# A board that takes raw images. They have their version frozen in; here it goes by the slot.
_OF_RAW_IMAGES: dict[str, Any] = {
    "settings": {"raw_images": 1},
    "application": {
        "/release.py": b"from esp32 import Partition\n"
        b"_slot = Partition(Partition.RUNNING).info()[4]\n"
        b"VERSION = {'ota_0': '0.9.0', 'ota_1': '0.9.1'}[_slot]\n",
        f"/etc/ota/certs/{_CERTIFICATE}": certificates.pem(
            certificates.authority(_SIGNER, "signer")
        ),
    },
}

OVER_MQTT = (
    Kind("firmware, accepted", _over_mqtt(_packed)),
    Kind("firmware, rolled back",
         _over_mqtt(lambda s, n: _packed(s, n, "selftest_fails"), "FAILED")),
    Kind("firmware and application", _over_mqtt(lambda s, n: _packed(s, n, app=True))),
    Kind("application, the first after firmware",
         _over_mqtt(lambda s, n: _packed(s, n, firmware=False, app=True)), rounds=1),
    Kind("application, the next",
         _over_mqtt(lambda s, n: _packed(s, n, firmware=False, app=True))),
    Kind("refused at its head",
         _over_mqtt(lambda s, n: s.pack(f"{n}.0.0-old", 1, size=IMAGE_SIZE), "FAILED")),
)  # fmt: skip
# In this order on a board of their own: the last goes back to the version before.
OTHERS = (
    Kind("raw image", _raw_image, rounds=1),
    Kind("firmware, over HTTP", _over_http),
    Kind("application, from a file", _from_file, rounds=1, prepare=_lay_file),
    Kind("rollback by a person", _rolled_back, rounds=1),
)
KINDS = (*OVER_MQTT, *OTHERS)


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


def measure(folder: Path, kinds: tuple[Kind, ...] = OVER_MQTT, **board: Any) -> Iterator[Row]:
    """Let a board take updates of these kinds; yield a row for each. Raises StartError.

    board: further arguments of `Stack.board`.
    """
    sequence = count(2)
    with Stack(folder, interpreter="micropython") as stack, stack.board(**board) as found:
        found.wear = Wear(found.folder / "wear.bin")
        found.start()
        found.wait_console("State: Ready")
        before = _at_rest(found)
        for kind in kinds:
            number = next(sequence)
            if kind.prepare:
                kind.prepare(stack, found, number)
                before = _at_rest(found)
            for more in range(kind.rounds):
                kind.take(stack, found, next(sequence) if more else number)
            after = _at_rest(found)
            yield row(kind.title, after.since(before), kind.rounds)
            before = after


def measure_all(folder: Path) -> Iterator[Row]:
    """Measure every kind, on two boards; yield a row for each. Raises StartError."""
    yield from measure(folder / "packages")
    yield from measure(folder / "others", OTHERS, **_OF_RAW_IMAGES)


def _ends(stack: Stack, job: str, status: str) -> None:
    """Wait for a job's end. Raises StartError for another end."""
    wait_for(lambda: stack.finished(job), f"the end of {job}", _PATIENCE_S)
    execution = stack.execution(job, THING)
    if execution["status"] != status:
        raise StartError(f"{job}: {execution['status']} {execution['statusDetails']}")


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
            for found in measure_all(Path(folder)):
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
