"""`make size`: what the firmware weighs on a board, held against tools/budgets.toml.

Two weights: the bytes of each .mpy, and heaps (KiB of a chip, see tools/heap.py): what the agent
takes at rest, and the smallest with which the simulated board imports the application, comes to
rest without a job, takes an update of 1.6 MB, and one of an application of 60 files. Exits with 1
when anything is above its budget or has none.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from board import files
from demo.children import StartError
from demo.stack import Stack
from tools import heap, natives
from tools.paths import ROOT

BUDGETS = ROOT / "tools/budgets.toml"
TOTAL = "all"


def module_sizes() -> dict[str, int]:
    """Return the bytes of each .mpy of the application, by its name, and of `all`."""
    found = {
        path.removeprefix("/"): len(data)
        for path, data in files.application().items()
        if path.endswith(".mpy")
    }
    return {**found, TOTAL: sum(found.values())}


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


def complaints(sizes: Mapping[str, int], budgets: Mapping[str, int]) -> list[str]:
    """Return a sentence for every size above its budget, without one, and budget without a size."""
    said = []
    for name, size in sizes.items():
        if name not in budgets:
            said.append(f"{name} has no budget; give it one in {BUDGETS.name}")
        elif size > budgets[name]:
            said.append(f"{name} is {size}, {size - budgets[name]} above its budget")
    said += [f"{name} has a budget, but there is none" for name in budgets if name not in sizes]
    return said


def table(title: str, sizes: Mapping[str, int], budgets: Mapping[str, int]) -> Table:
    """Return what was measured beside the budgets."""
    made = Table(title, "now", "budget")
    for column in made.columns[1:]:
        column.justify = "right"
    for name, size in sizes.items():
        made.add_row(name, f"{size:,}", f"{budgets[name]:,}" if name in budgets else "-")
    return made


def main() -> int:
    """Measure, print, compare. Returns the exit status."""
    budgets = tomllib.loads(BUDGETS.read_text(encoding="utf-8"))
    console = Console()
    try:
        modules = module_sizes()
        console.print(table("bytes of .mpy", modules, budgets["mpy"]))
        with (
            tempfile.TemporaryDirectory(prefix="size-") as folder,
            Stack(Path(folder) / "stack", interpreter="micropython") as stack,
        ):
            share = heap.measure_share(stack)
            heaps = {"rest": heap.agent_at_rest(stack)}
            heaps |= heap_sizes(stack, max(budgets["heap"].values()))
    except (StartError, files.FilesError, natives.NativeMissing) as error:
        console.print(f"size: {error}", markup=False)
        return 2
    console.print(table("KiB of heap", heaps, budgets["heap"]))
    console.print(f"{share.total:.1f} KiB of each heap but the first are the simulation's own.")
    said = complaints(modules, budgets["mpy"]) + complaints(heaps, budgets["heap"])
    for line in said:
        console.print(f"size: {line}", markup=False)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
