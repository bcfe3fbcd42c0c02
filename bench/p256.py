"""`python -m bench.p256`: a signature's verification on every MicroPython at hand.

On each, one run compares ota.p256, cold, with a plain verification and with RSA-3072; see
host_tests/on_board/p256_speed.py, which also runs on a chip.
"""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tools import interpreters
from tools.interpreters import INTERPRETERS, ON_BOARD, Interpreter, InterpreterMissing

FILE = ON_BOARD / "p256_speed.py"
TIMEOUT_S = 300.0


class BenchError(Exception):
    """A run broke off; the text is what it printed."""


def measure(interpreter: Interpreter) -> list[tuple[str, float, float]]:
    """Return (name, milliseconds, part of the plain version's time) of each that is compared.

    Raises InterpreterMissing, BenchError.
    """
    outcome = interpreters.run_file(interpreter, Path(FILE), ["show"], TIMEOUT_S)["show"]
    if not outcome.passed:
        raise BenchError(outcome.output)
    lines = (line.rsplit(",", 2) for line in outcome.output.splitlines())
    return [(name, float(taken), float(ratio)) for name, taken, ratio in lines]


@click.command()
def main() -> None:
    """Print how long a verification takes, as a part of the plain version's time."""
    table = Table("interpreter", "what", "ms", "of plain")
    for interpreter in INTERPRETERS:
        try:
            found = measure(interpreter)
        except (InterpreterMissing, BenchError) as error:
            raise click.ClickException(f"{interpreter.label}: {error}") from error
        for name, taken, ratio in found:
            table.add_row(interpreter.label, name, f"{taken:.2f}", f"{ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
