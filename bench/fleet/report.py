"""What was measured, as tables for people, JSON, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.fleet.run import Load

Pair = tuple[Load, Load]
"""The service, and the bare publisher, with the same boards."""
_BLOCKS = (
    "boards", "blocks/s", "of bare", "µs/block", "bare", "p50 ms", "p99 ms",
    "sent again", "asked again", "refused", "lost", "MB", "KB/board",
)  # fmt: skip
_STARTS = (
    "boards", "done", "s", "p50 s", "p99 s", "blocks/s", "sent twice", "asked again", "refused",
    "lost", "CPU s", "broker's", "MB",
)  # fmt: skip


def blocks(pairs: Sequence[Pair], at_rest: int) -> Table:
    """Return a line for each number of boards. at_rest: KB of the service before it had any."""
    table = Table(*_BLOCKS, title="boards that ask for one window after the other")
    for served, bare in pairs:
        told = served.told
        table.add_row(
            f"{served.boards}",
            f"{served.rate:.0f}",
            f"{served.rate / bare.rate:.2f}",
            f"{served.cost:.0f}",
            f"{bare.cost:.1f}",
            f"{served.median:.1f}",
            f"{served.slow:.1f}",
            f"{told.again}",
            f"{told.repeats}",
            f"{told.refused}",
            f"{told.lost}",
            f"{served.memory / 1024:.0f}",
            f"{(served.memory - at_rest) / served.boards:.1f}",
        )
    return table


def starts(loads: Sequence[Load]) -> Table:
    """Return a line for each number of boards that began an update at once."""
    table = Table(*_STARTS, title="boards that begin an update in the same moment")
    for load in loads:
        told = load.told
        table.add_row(
            f"{load.boards}",
            f"{told.succeeded}",
            f"{told.seconds:.0f}",
            f"{load.median / 1000:.1f}",
            f"{load.slow / 1000:.1f}",
            f"{load.rate:.0f}",
            f"{100 * load.twice:.1f} %",
            f"{told.repeats}",
            f"{told.refused}",
            f"{told.lost}",
            f"{load.cpu:.0f}",
            f"{load.broker:.0f}",
            f"{load.memory / 1024:.0f}",
        )
    return table


def saved(load: Load) -> dict[str, Any]:
    """Return a measurement as JSON has it."""
    told = {name: value for name, value in asdict(load.told).items() if name != "waits"}
    figures = {"rate": load.rate, "cost_us": load.cost, "p50_ms": load.median, "p99_ms": load.slow}
    return {
        "boards": load.boards,
        "memory_kb": load.memory,
        "sent": load.sent,
        **figures,
        **told,
    }


def plot(pairs: Sequence[Pair], path: Path) -> None:
    """Draw blocks/s, and the waits for a window, over the number of boards, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same bytes for the same numbers
    from matplotlib import pyplot as plt

    counts = [served.boards for served, _ in pairs]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(counts, [bare.rate for _, bare in pairs], "--", marker="o", label="bare publisher")
    left.plot(counts, [served.rate for served, _ in pairs], "-", marker="o", label="fleet serve")
    left.set_ylabel("blocks of 4 KB a second")
    left.set_ylim(bottom=0)
    right.plot(counts, [served.slow for served, _ in pairs], ":", marker="o", label="p99")
    right.plot(counts, [served.median for served, _ in pairs], "-", marker="o", label="p50")
    right.set_ylabel("ms until a window of 8 blocks is there")
    right.set_yscale("log")
    for panel in (left, right):
        panel.set_xscale("log")
        panel.set_xticks(counts, [str(count) for count in counts])
        panel.minorticks_off()
        panel.set_xlabel("boards at once")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
