"""`make bench`: measure, print the table, write results.json and performance.svg."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from bench import p256, report
from bench.run import TYPICAL, FlashTimes, Measurement, bench, medians, to_json
from demo.children import StartError
from tools.natives import NativeMissing
from tools.paths import CACHE, ROOT
from twinslot.errors import FleetError


@click.command()
@click.option("--port", help="A real board: serial device, socket://HOST:PORT, rfc2217://...")
@click.option("--host", help="This machine's address as the real board sees it.")
@click.option("--size", default=524_288, show_default=True, help="Bytes of the image.")
@click.option("--delays", default="0,50,100,200", show_default=True, help="Added round trip, ms.")
@click.option("--repeat", default=1, show_default=True, help="Measure so often; medians count.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench")
def main(
    port: str | None, host: str | None, size: int, delays: str, repeat: int, out: Path
) -> None:
    """Compare the agent's download with plain ones, on one board, in one run.

    Without a real board also the verification of a signature, on each MicroPython here. A real
    board's idle slot is overwritten, once per download; what runs stays.
    """
    try:
        wanted = [int(delay) for delay in delays.split(",")]
    except ValueError as error:
        raise click.UsageError("--delays takes numbers, as 0,50,200") from error
    console = Console()
    parts: dict[FlashTimes, list[Measurement]] = {}
    saved = []
    verifications: list[p256.Verification] = []
    try:
        if port is None:
            verifications = p256.measure_all(console.print)
        for flash in [FlashTimes()] if port else [FlashTimes(), TYPICAL]:
            found: list[Measurement] = []
            with bench(CACHE / "bench", size=size, port=port, host=host, flash=flash) as running:
                console.print(running.board)
                for delay in wanted * repeat:
                    for kind in running.kinds:
                        found.append(running.measure(kind, delay))
                        console.print(f"{delay} ms  {kind}: {found[-1].rate:.0f} KB/s")
            parts[flash] = medians(found)
            saved.append(to_json(running.board, flash, found))
    except (FleetError, StartError, NativeMissing) as error:
        click.echo(f"bench: {getattr(error, 'traceback', error)}", err=True)
        sys.exit(2)
    for flash, some in parts.items():
        console.print(report.table(some, flash))
    if verifications:
        console.print(p256.table(verifications))
    out.mkdir(parents=True, exist_ok=True)
    results = {"downloads": saved, "verifications": [asdict(one) for one in verifications]}
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    report.plot(parts, out / "performance.svg")
    console.print(f"{out / 'results.json'}, {out / 'performance.svg'}")


if __name__ == "__main__":
    main()
