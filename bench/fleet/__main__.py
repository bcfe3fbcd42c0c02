"""`make bench-fleet`: measure, print and write it, and check the price of a block."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from pathlib import Path

import click
from rich.console import Console

from bench.fleet import kept, report
from bench.fleet.run import Fleet, Load
from demo.children import StartError
from demo.stack import Stack
from tools import postgresql
from tools.natives import NativeMissing
from tools.paths import CACHE, ROOT
from twinslot.errors import FleetError

REPORTING = 100  # boards


def _numbers(_ctx: click.Context, _param: click.Parameter, text: str) -> list[int]:
    try:
        return [int(count) for count in text.split(",") if count]
    except ValueError as error:
        raise click.BadParameter("numbers, such as 10,100,1000") from error


@click.command()
@click.option(
    "--boards", default="10,100,300,1000,3000", callback=_numbers, show_default=True,
    help="Boards that ask for blocks, at once.",
)  # fmt: skip
@click.option(
    "--starts", default="300,1000,3000", callback=_numbers, show_default=True,
    help="Boards that begin an update, at once.",
)  # fmt: skip
@click.option("--told", default=5000, show_default=True, help="Things that one job is told to.")
@click.option("--seconds", default=8.0, show_default=True, help="Length of a measurement.")
@click.option("--within", default=300.0, show_default=True, help="Seconds that a start may take.")
@click.option("--tls", is_flag=True, help="Boards and service need certificates at the broker.")
@click.option("--postgresql", "on_postgresql", is_flag=True, help="The database is PostgreSQL.")
@click.option("--keep", is_flag=True, help="Keep the price of a block, rather than check it.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench")
def main(
    boards: list[int],
    starts: list[int],
    told: int,
    seconds: float,
    within: float,
    tls: bool,
    on_postgresql: bool,
    keep: bool,
    out: Path,
) -> None:
    """Let more and more light boards ask the service for blocks, and the bare publisher.

    It fails when a block costs a quarter more than the price that is kept.
    """
    # Of broker, service and boards, which inherit it: each board is a descriptor.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    console = Console(width=140)
    pairs: list[report.Pair] = []
    started: list[Load] = []
    try:
        with contextlib.ExitStack() as ends:
            database = ""
            if on_postgresql:
                database = ends.enter_context(postgresql.running(durable=True)).database()
            stack = ends.enter_context(Stack(CACHE / "bench-fleet", tls=tls, database=database))
            most = max([*boards, kept.BOARDS])
            fleet = Fleet(stack, [f"board-{number:04}" for number in range(most)], starts)
            console.print(f"create_thing {fleet.create_thing:.1f} ms")
            console.print(f"one job for {most} boards {fleet.create_job:.1f} s")
            for command in ("--version", "--help", "status"):
                took, lines = fleet.command(command)
                console.print(f"fleet {command}: {took:.2f} s, {lines} lines")
            console.print(_reports(fleet.reports(min(REPORTING, most), seconds)))
            for count in boards:
                pairs.append((fleet.service(count, seconds), fleet.bare(count, seconds)))
                console.print(f"{count} boards measured")
            ratio = kept.measure(fleet, 0 if keep else kept.read())
            for count in starts:
                started.append(fleet.start(count, within))
                console.print(f"start of {count} boards measured")
            if told and not tls:  # with certificates nobody hears what others are told
                console.print(f"{told} things told of one job in {fleet.told(told):.1f} s")
            console.print(report.blocks(pairs, fleet.memory))
            console.print(report.starts(started))
            _write(out, pairs, started)
            if keep:
                kept.write(ratio)
            elif not (tls or on_postgresql):  # the price is kept of one kind of run
                console.print(kept.check(ratio, kept.read()))
    except (FleetError, StartError, NativeMissing, postgresql.PostgreSQLError) as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(2)


def _reports(load: Load) -> str:
    return (
        f"{load.boards} boards report: {load.rate:.0f} answers/s, p50 {load.median:.0f} ms, "
        f"p99 {load.slow:.0f} ms; {load.cost:.0f} µs of the service for each answer, "
        f"{1e6 * load.broker / max(1, load.told.new):.0f} µs of the broker; "
        f"{load.told.repeats} asked again, {load.told.refused} refused"
    )


def _write(out: Path, pairs: list[report.Pair], started: list[Load]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    steady = [
        {"service": report.saved(served), "bare": report.saved(bare)} for served, bare in pairs
    ]
    saved = {"blocks": steady, "starts": [report.saved(load) for load in started]}
    (out / "fleet.json").write_text(json.dumps(saved, indent=1) + "\n")
    if pairs:
        report.plot(pairs, out / "fleet.svg")


if __name__ == "__main__":
    main()
