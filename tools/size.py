"""`make size`: what the firmware weighs on a board, held against tools/budgets.toml.

Three weights: the bytes of what is shipped; the room that it leaves in the file system of a board
with 4 MB of flash, where two versions of the application lie; and heaps (KiB of a chip, see
tools/heap.py): what the agent takes at rest, and the smallest with which the simulated board
imports the application, comes to rest without a job, takes an update of 1.6 MB, and one of an
application of 40 files. Exits with 1 when anything is outside its budget or has none.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.children import StartError
from demo.stack import Stack
from tools import heap, natives
from tools.paths import ROOT
from twinslot.board import files, plan
from twinslot.errors import FleetError
from twinslot.firmware import agent, extensions
from twinslot.formats import bundle
from twinslot.formats.chips import CHIPS, FLASH_SIZES
from twinslot.formats.littlefs_blocks import BLOCK, file_blocks, tree_blocks
from twinslot.formats.table import need

BUDGETS = ROOT / "tools/budgets.toml"
CORE, ALL = "core", "all"

# The board that is judged: MicroPython v1.26.1 for ESP32_GENERIC, as `make flash` lays it out.
_IMAGE = 1_672_976  # bytes
# Typical bytes of what `fleet provision` makes, with a broker over TCP and over TLS.
_ETC = {"settings.json": 400, "trusted_keys.pem": 180, "trust.json": 270}
_ETC_TLS = {**_ETC, "ca.pem": 700, "client.pem": 700, "client.key": 241}
ETC = {"mqtt": _ETC, "tls": _ETC_TLS}


def contents(broker: str) -> dict[str, bytes]:
    """Return the files of a board as it is flashed by default. broker: "mqtt" or "tls"."""
    settings = {"report": 1} if broker == "tls" else {}  # as `fleet provision` writes them
    found = files.application(chosen=extensions.asked_for(settings))
    return {**found, **{f"/etc/{name}": bytes(size) for name, size in ETC[broker].items()}}


def file_system() -> int:
    """Return the bytes of the file system on 4 MB of flash."""
    layout = plan.plan(CHIPS["esp32"], FLASH_SIZES["4MB"], _IMAGE)
    return need(layout.table, "vfs").size


def shipped_sizes(found: Mapping[str, bytes]) -> dict[str, int]:
    """Return the bytes of each compiled file among a board's files.

    Beside them `core` and `all`: the bundle without an extension, and with every one.
    """
    sizes = {path[1:]: len(data) for path, data in found.items() if path.endswith(".mpy")}
    modules = bundle.read(files.application()[f"/{agent.BUNDLE}"]).modules
    return {**sizes, CORE: _bundled(modules, ()), ALL: _bundled(modules, extensions.everything())}


def extension_sizes() -> dict[str, int]:
    """Return the bytes by which each extension alone makes the bundle longer."""
    modules = bundle.read(files.application()[f"/{agent.BUNDLE}"]).modules
    core = _bundled(modules, ())
    return {name: _bundled(modules, (name,)) - core for name in extensions.everything()}


def _bundled(modules: Mapping[str, bytes], chosen: Iterable[str]) -> int:
    missing = extensions.left_out(chosen)
    return len(bundle.build({name: modules[name] for name in modules if name not in missing}))


def own_room(found: Mapping[str, bytes], size: int) -> int:
    """Return the KB that each of two versions of an application has for files of its own.

    found: what is flashed; size: bytes of the file system. The agent that each brings is taken off,
    its directory, and the board's list of both, which lies inline while it is short.
    """
    most, _ = files.room(found, size)
    taken = {path: len(data) for path, data in found.items() if path.startswith(files.AGENT)}
    listing = sum(len(f"{size}{path}\n") for path, size in taken.items())
    return (most - tree_blocks({**taken, "/.files": listing}) * BLOCK) >> 10


def rooms() -> dict[str, int]:
    """Return the own room per version in KB, by the way to the broker."""
    return {broker: own_room(contents(broker), file_system()) for broker in ETC}


def heap_sizes(stack: Stack, most: int) -> dict[str, int]:
    """Return the smallest heaps in wk, by name; above `most` counts as most + 1.

    Each takes what the one before did, and nearly always more, so the search begins there.
    """
    package = stack.pack("2.0.0", 2, size=heap.IMAGE_SIZE)
    application = heap.pack_application(stack, "3.0.0", 3)
    probes = {
        "import": lambda size: heap.imports(stack, size),
        "idle": lambda size: heap.idles(stack, size),
        "peak": lambda size: heap.takes_update(stack, size, package),
        "application": lambda size: heap.takes_update(stack, size, application),
    }
    found: dict[str, int] = {}
    least = heap.LEAST
    for name, probe in probes.items():
        least = heap.smallest(probe, least, most) or most + 1
        found[name] = least
        if least > most:
            break
    return found


def complaints(
    sizes: Mapping[str, int], budgets: Mapping[str, int], *, at_least: bool = False
) -> list[str]:
    """Return a sentence for every size above its budget, without one, and budget without a size.

    at_least: what is measured is room, and must not be below.
    """
    said = []
    for name, size in sizes.items():
        if name not in budgets:
            said.append(f"{name} has no budget; give it one in {BUDGETS.name}")
        elif at_least and size < budgets[name]:
            said.append(f"{name} is {size}, {budgets[name] - size} below what it must be")
        elif not at_least and size > budgets[name]:
            said.append(f"{name} is {size}, {size - budgets[name]} above its budget")
    said += [f"{name} has a budget, but there is none" for name in budgets if name not in sizes]
    return said


def table(
    title: str, sizes: Mapping[str, int], budgets: Mapping[str, int], word: str = "budget"
) -> Table:
    """Return what was measured beside the budgets."""
    made = Table(title, "now", word)
    for column in made.columns[1:]:
        column.justify = "right"
    for name, size in sizes.items():
        made.add_row(name, f"{size:,}", f"{budgets[name]:,}" if name in budgets else "-")
    return made


def block_table(found: Mapping[str, bytes], size: int) -> Table:
    """Return which file takes which blocks of a file system of `size` bytes."""
    made = Table(f"{size >> 10} KB of file system", "bytes", f"blocks of {BLOCK}")
    for column in made.columns[1:]:
        column.justify = "right"
    blocks = {path: file_blocks(len(data)) for path, data in found.items()}
    for path, data in found.items():
        made.add_row(path, f"{len(data):,}", str(blocks[path]))
    total = tree_blocks({path: len(data) for path, data in found.items()})
    made.add_row("directories, two each", "", str(total - sum(blocks.values())), end_section=True)
    made.add_row("together", "", f"{total} of {size // BLOCK}")
    return made


def main() -> int:
    """Measure, print, compare. Returns the exit status."""
    budgets = tomllib.loads(BUDGETS.read_text(encoding="utf-8"))
    console = Console()
    try:
        found = contents("mqtt")
        shipped, room = shipped_sizes(found), rooms()
        console.print(table("bytes", shipped, budgets["bytes"]))
        console.print(block_table(found, file_system()))
        console.print(table("KB of own files, two versions", room, budgets["room"], "at least"))
        more = ", ".join(f"{name} {size:,}" for name, size in extension_sizes().items())
        console.print(f"Bytes that an extension adds to the bundle: {more}.")
        with (
            tempfile.TemporaryDirectory(prefix="size-") as folder,
            Stack(Path(folder) / "stack", interpreter="micropython") as stack,
        ):
            share = heap.measure_share(stack)
            heaps = {"rest": heap.agent_at_rest(stack)}
            heaps |= heap_sizes(stack, max(budgets["heap"].values()))
    except (StartError, FleetError, natives.NativeMissing) as error:
        console.print(f"size: {error}", markup=False)
        return 2
    console.print(table("KiB of heap", heaps, budgets["heap"]))
    console.print(f"{share.total:.1f} KiB of each heap but the first are the simulation's own.")
    said = complaints(shipped, budgets["bytes"]) + complaints(heaps, budgets["heap"])
    said += complaints(room, budgets["room"], at_least=True)
    for line in said:
        console.print(f"size: {line}", markup=False)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
