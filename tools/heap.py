"""How small a heap may be: the least with which the simulated board takes a large update.

    python -m tools.heap

Heaps are given as MicroPython's unix port takes them, `-X heapsize=<n>wk`: n KiB of a 32-bit chip,
twice that here where a word has 64 bits. A part of it is the simulation's own, which a chip does
not have: its modules, and umqtt.simple, which a chip runs from flash.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo.children import StartError
from demo.stack import Stack
from sim.board import Board
from tools import natives
from twinslot.board import files
from twinslot.formats import archive
from twinslot.formats.component import application_content
from twinslot.trust import keys, signing

IMAGE_SIZE = 1_600_000
# An application: an archive of more than 200 KB.
FILES = 40
FILE_SIZE = 5000
# A third of it is the simulation's own.
MOST = 110
# In a heap that is nearly full the place of things is a matter of chance: so many boards try.
_BOARDS = 3
_numbers = itertools.count(100)  # of the boards that take updates: each is a new one
# Below this not even the simulation's own modules find room.
LEAST = 16
PATIENCE_S = 150.0
# Bytes of a heap of 1wk, on a machine of 64 bits.
_BYTES_PER_WK = 2048

_MEASURE_UMQTT = b"""
import gc
gc.collect()
before = gc.mem_alloc()
import umqtt.simple
gc.collect()
print("umqtt takes", gc.mem_alloc() - before, "bytes")
"""


# As firmware/main.py begins.
_IMPORT = b"""
import gc
gc.threshold(4096)
import machine
import network
import ota
from link import make_link
from ota.agent import Agent
from ota.settings import require
print("imported")
"""


# Prints the bytes of a 32-bit chip that an agent takes at rest, without client and application. For
# a board whose journal is empty. It steps on for a while: what the last of the work has left on the
# stack keeps what it points to.
WEIGH_AGENT = """
import gc, sys
gc.collect()
_t = gc.mem_alloc()
from ota.agent import Agent
_a = Agent(None, "weighed", settings={"product": "weighed"})
while "ota.engine" in sys.modules: _a.step()
for _ in range(16): _a.step(); gc.collect()
print((gc.mem_alloc() - _t) // (2 if sys.maxsize >> 32 else 1), "bytes at rest")
del _, _a, _t
"""


@dataclass(frozen=True)
class Share:
    """What the simulation itself takes from the heap, in KiB of a 32-bit chip."""

    modules: float
    umqtt: float

    @property
    def total(self) -> float:
        """Return both together."""
        return self.modules + self.umqtt


def measure_share(stack: Stack) -> Share:
    """Start a board without the application, and let it weigh what is there already."""
    files = {"/boot.py": b"", "/main.py": _MEASURE_UMQTT}
    with stack.board("share", heapsize=f"{MOST}wk", application=files) as board:
        board.start()
        board.wait_console(" bytes")
        taken = re.search(rb"umqtt takes (\d+) bytes", board.log_path.read_bytes())
        if board.heap_share is None or taken is None:
            raise StartError(f"the board does not say what it takes; see {board.log_path}")
        return Share(board.heap_share / _BYTES_PER_WK, int(taken[1]) / _BYTES_PER_WK)


def agent_at_rest(stack: Stack) -> int:
    """Return what an agent that waits for a job takes, in KiB of a 32-bit chip, rounded up."""
    files = {"/boot.py": b"", "/main.py": WEIGH_AGENT.encode()}
    with stack.board("rest", application=files) as board:
        board.start()
        board.wait_console(" bytes at rest")
        taken = re.search(rb"(\d+) bytes at rest", board.log_path.read_bytes())
        assert taken
        return -(-int(taken[1]) // 1024)


def imports(stack: Stack, heap: int) -> bool:
    """Let a new board with `heap` wk import what the application does, and do no more."""
    thing = f"import-{heap}"
    files = {"/boot.py": b"", "/main.py": _IMPORT}
    with stack.board(thing, heapsize=f"{heap}wk", application=files) as board:
        board.start()
        return _says(board, b"imported")


def idles(stack: Stack, heap: int) -> bool:
    """Let a new board with `heap` wk come to rest: connected, no job."""
    with stack.board(f"idle-{heap}", heapsize=f"{heap}wk") as board:
        board.start()
        return _says(board, b"State: Ready")


def pack_application(stack: Stack, version: str, sequence: int) -> Path:
    """Pack the project's own application with data beside it: FILES files, some 180 KB of them."""
    contents = {path[1:]: data for path, data in files.application().items() if path != "/boot.py"}
    for number in range(FILES - len(contents)):
        contents[f"data/{number}.bin"] = random.Random(number).randbytes(FILE_SIZE)
    data = signing.build(
        [application_content(archive.build(contents))],
        keys.read_private(stack.config.signing_key),
        product=stack.config.product,
        version=version,
        sequence=sequence,
        created=int(time.time()),
    )
    path = stack.folder / f"{version}.ota"
    path.write_bytes(data)
    return path


def takes_update(stack: Stack, heap: int, package: Path) -> bool:
    """Say whether a new board with `heap` wk takes the update, and memory never runs out."""
    return any(_takes_update(stack, heap, package) for _ in range(_BOARDS))


def _takes_update(stack: Stack, heap: int, package: Path) -> bool:
    thing = f"heap-{next(_numbers)}"  # names of one length, which lies in the heap, too
    with stack.board(thing, heapsize=f"{heap}wk") as board:
        board.start()
        job = stack.publish(package, thing)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not _out_of_memory(board):
            if stack.finished(job, thing):
                return bool(stack.execution(job, thing)["status"] == "SUCCEEDED")
            time.sleep(0.1)
        return False


def _says(board: Board, wanted: bytes) -> bool:
    """Wait until the console says what is wanted; False when memory runs out before."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and not _out_of_memory(board):
        if wanted in board.log_path.read_bytes():
            return True
        time.sleep(0.05)
    return False


def smallest(passes: Callable[[int], bool], least: int, most: int) -> int | None:
    """Return the smallest heap of least..most wk with which `passes`, by bisection, or None."""
    if not passes(most):
        return None
    while least < most:
        middle = (least + most) // 2
        if passes(middle):
            most = middle
        else:
            least = middle + 1
    return most


def _out_of_memory(board: Board) -> bool:
    log = board.log_path.read_bytes()
    return b"MemoryError" in log or b"memory allocation failed" in log


def measure(folder: Path, *, least: int = LEAST, most: int = MOST) -> tuple[int | None, Share]:
    """Return the smallest sufficient heap in wk, None if `most` is too small, and the share."""
    with Stack(folder, interpreter="micropython") as stack:
        share = measure_share(stack)
        package = stack.pack("2.0.0", 2, size=IMAGE_SIZE)

        def passes(heap: int) -> bool:
            passed = takes_update(stack, heap, package)
            sys.stdout.write(f"{heap}wk {'passes' if passed else 'fails'}\n")
            sys.stdout.flush()
            return passed

        return smallest(passes, max(least, int(share.total)), most), share


def main() -> int:
    """Measure and print. Returns the exit status: 1 if the largest heap allowed is too small."""
    parser = argparse.ArgumentParser(prog="python -m tools.heap", description=__doc__)
    parser.add_argument("--most", type=int, default=MOST, metavar="WK", help="largest heap allowed")
    arguments = parser.parse_args()
    try:
        natives.command("micropython")
        with tempfile.TemporaryDirectory(prefix="heap-") as folder:
            found, share = measure(Path(folder) / "stack", most=arguments.most)
    except (StartError, natives.NativeMissing) as error:
        sys.stdout.write(f"heap: {error}\n")
        return 2
    if found is None:
        sys.stdout.write(f"an update of {IMAGE_SIZE} bytes needs more than {arguments.most}wk\n")
        return 1
    sys.stdout.write(
        f"An update of {IMAGE_SIZE} bytes passes with -X heapsize={found}wk and more.\n"
        f"Of these {found} KiB the simulation itself takes {share.total:.1f}: "
        f"{share.modules:.1f} its modules, {share.umqtt:.1f} umqtt.simple.\n"
        f"Boot, application and agent get along with the other {found - share.total:.1f} KiB.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
