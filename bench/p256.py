"""A signature's verification on every MicroPython at hand; also alone, `python -m bench.p256`.

On each, one run compares ota.p256, cold, with a plain verification and with RSA-3072; see
host_tests/on_board/p256_speed.py. On a chip `make board-test` times ota.p256 and RSA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table

from tools import interpreters
from tools.interpreters import INTERPRETERS, ON_BOARD, Interpreter, InterpreterMissing
from twinslot.errors import FleetError

FILE = ON_BOARD / "p256_speed.py"
TIMEOUT_S = 300.0


class BenchError(FleetError):
    """A run broke off; the text is what it printed."""


@dataclass(frozen=True)
class Verification:
    """What one verification takes: milliseconds, and as a part of the plain one's time."""

    interpreter: str
    name: str
    ms: float
    of_plain: float


def measure(interpreter: Interpreter) -> list[Verification]:
    """Return what each of p256_speed.NAMES takes. Raises InterpreterMissing, BenchError."""
    outcome = interpreters.run_file(interpreter, FILE, ["show"], TIMEOUT_S)["show"]
    if not outcome.passed:
        raise BenchError(f"{interpreter.label}: {outcome.output}")
    lines = (line.rsplit(",", 2) for line in outcome.output.splitlines())
    return [
        Verification(interpreter.label, name, float(taken), float(ratio))
        for name, taken, ratio in lines
    ]


def measure_all(say: Callable[[str], None]) -> list[Verification]:
    """Measure on every interpreter. say: is told what cannot be had here. Raises BenchError."""
    found: list[Verification] = []
    for interpreter in INTERPRETERS:
        try:
            found += measure(interpreter)
        except InterpreterMissing as error:
            say(f"{interpreter.label}: {error}")
    return found


def table(found: Sequence[Verification]) -> Table:
    """Return what was measured, a row for each."""
    result = Table("interpreter", "what", "ms", "of plain", title="One verification of a signature")
    for one in found:
        result.add_row(one.interpreter, one.name, f"{one.ms:.2f}", f"{one.of_plain:.3f}")
    return result


@click.command()
def main() -> None:
    """Print how long a verification takes, as a part of the plain version's time."""
    console = Console()
    try:
        console.print(table(measure_all(console.print)))
    except BenchError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
