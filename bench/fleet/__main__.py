"""`make bench-fleet`: measure, print the table, write fleet.json."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.fleet.run import Fleet, Load
from demo.children import StartError
from demo.stack import Stack
from tools.natives import NativeMissing
from tools.paths import CACHE, ROOT
from twinslot.errors import FleetError

REPORTING = 100  # boards
_COLUMNS = (
    "boards", "blocks/s", "of bare", "µs/block", "bare", "p50 ms", "p99 ms",
    "sent again", "asked again", "refused", "MB",
)  # fmt: skip


@click.command()
@click.option("--boards", default="10,100,300,1000", show_default=True, help="Boards at once.")
@click.option("--seconds", default=8.0, show_default=True, help="Length of a measurement.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench")
def main(boards: str, seconds: float, out: Path) -> None:
    """Let more and more light boards ask the service for blocks, and the bare publisher."""
    try:
        counts = [int(count) for count in boards.split(",")]
    except ValueError as error:
        raise click.UsageError("--boards takes numbers, as 10,100,1000") from error
    console = Console(width=110)
    table = Table(*_COLUMNS)
    saved = []
    try:
        with Stack(CACHE / "bench-fleet") as stack:
            fleet = Fleet(stack, [f"board-{number:04}" for number in range(max(counts))])
            console.print(f"create_thing {fleet.create_thing:.1f} ms")
            console.print(f"one job for {max(counts)} boards {fleet.create_job:.1f} s")
            for command in ("--version", "status"):
                took, lines = fleet.command(command)
                console.print(f"fleet {command}: {took:.1f} s, {lines} lines")
            reporting = fleet.reports(min(REPORTING, max(counts)), seconds)
            console.print(_sentence(reporting))
            for count in counts:
                served, bare = fleet.service(count, seconds), fleet.bare(count, seconds)
                table.add_row(*_row(served, bare))
                saved.append({"service": _saved(served), "bare": _saved(bare)})
                console.print(f"{count} boards measured")
    except (FleetError, StartError, NativeMissing) as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(2)
    console.print(table)
    out.mkdir(parents=True, exist_ok=True)
    (out / "fleet.json").write_text(json.dumps(saved, indent=1) + "\n")


def _sentence(load: Load) -> str:
    return (
        f"{load.boards} boards report: {load.rate:.0f} answers/s, p50 {load.median:.0f} ms, "
        f"p99 {load.slow:.0f} ms; {load.cost:.0f} µs of the service for each answer, "
        f"{1e6 * load.broker / max(1, load.told.new):.0f} µs of the broker; "
        f"{load.told.repeats} asked again, {load.told.refused} refused"
    )


def _row(served: Load, bare: Load) -> list[str]:
    told = served.told
    return [
        str(served.boards),
        f"{served.rate:.0f}",
        f"{served.rate / bare.rate:.2f}",
        f"{served.cost:.0f}",
        f"{bare.cost:.0f}",
        f"{served.median:.1f}",
        f"{served.slow:.1f}",
        f"{told.again}",
        f"{told.repeats}",
        f"{told.refused}",
        f"{served.memory / 1024:.0f}",
    ]


def _saved(load: Load) -> dict[str, Any]:
    told = {name: value for name, value in asdict(load.told).items() if name != "waits"}
    figures = {"rate": load.rate, "cost_us": load.cost, "p50_ms": load.median, "p99_ms": load.slow}
    return {"boards": load.boards, "memory_kb": load.memory, **figures, **told}


if __name__ == "__main__":
    main()
