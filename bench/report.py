"""What was measured, as a table for people, JSON, and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from bench.run import DEFAULT, HTTP, ONE, RAW, WIDE, FlashTimes, Measurement

_STYLES = {RAW: ":", HTTP: "--", ONE: "-.", DEFAULT: "-", WIDE: "-"}


def title(flash: FlashTimes) -> str:
    """Say which flash this is about."""
    if flash == FlashTimes():
        return "KB/s of the transfer"
    return (
        f"KB/s of the transfer, flash that erases 4 KB in {flash.erase} ms, 64 KB in "
        f"{flash.erase_64k} ms, programs 4 KB in {flash.program} ms"
    )


def ratio(found: Sequence[Measurement], over: str, under: str, delay_ms: int) -> float | None:
    """Return by how much `over` is faster than `under` at this delay; None if either is missing."""
    rates = {one.kind: one.rate for one in found if one.delay_ms == delay_ms}
    return rates[over] / rates[under] if over in rates and under in rates else None


def table(found: Sequence[Measurement], flash: FlashTimes) -> Table:
    """Return the rates of every kind (row) at every delay (column), then what follows."""
    delays = sorted({one.delay_ms for one in found})
    result = Table(title=title(flash))
    result.add_column("round trip longer by")
    for delay in delays:
        result.add_column(f"{delay} ms", justify="right")
    rates = {(one.kind, one.delay_ms): one for one in found}
    for kind in dict.fromkeys(one.kind for one in found):
        result.add_row(kind, *(f"{rates[kind, delay].rate:.0f}" for delay in delays))
    result.add_section()
    for name, over, under in (
        ("agent / one block per request", DEFAULT, ONE),
        ("agent / HTTP updater", DEFAULT, HTTP),
        ("agent, 64 KB writes / HTTP updater", WIDE, HTTP),
    ):
        ratios = [ratio(found, over, under, delay) for delay in delays]
        if None not in ratios:
            result.add_row(name, *(f"{value:.2f}" for value in ratios))
    result.add_section()
    for kind in (HTTP, DEFAULT, WIDE):
        if (kind, delays[0]) in rates:
            seconds = (f"{rates[kind, delay].total:.1f} s" for delay in delays)
            result.add_row(f"{kind}: until read back and hashed", *seconds)
    return result


def plot(parts: Mapping[FlashTimes, Sequence[Measurement]], path: Path) -> None:
    """Draw KB/s over the delay, one panel for each flash, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same bytes for the same numbers
    from matplotlib import pyplot as plt

    untimed = "flash that takes no time" if len(parts) > 1 else "the board's own flash"
    figure, panels = plt.subplots(
        1, len(parts), figsize=(5.5 * len(parts), 4.2), squeeze=False, layout="constrained"
    )
    for panel, (flash, found) in zip(panels[0], parts.items(), strict=True):
        for kind in dict.fromkeys(one.kind for one in found):
            some = sorted((one.delay_ms, one.rate) for one in found if one.kind == kind)
            panel.plot(*zip(*some, strict=True), _STYLES[kind], marker="o", label=kind)
        panel.set_yscale("log")
        panel.set_xlabel("round trip longer by, ms")
        panel.set_ylabel("KB/s")
        panel.set_title(
            "flash with typical times" if flash != FlashTimes() else untimed, fontsize="medium"
        )
        panel.grid(which="both", alpha=0.3)
    panels[0][-1].legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
