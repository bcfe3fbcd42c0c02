"""Plants the faults, runs the tests, writes docs/testing.md. See the package."""

import argparse
import datetime as dt
import gc
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from tools.mutation import report
from tools.mutation.operators import Mutant, mutants, sampled
from tools.mutation.report import Result
from tools.mutation.trial import SURVIVED, Copy, Limit
from tools.paths import ROOT

TARGETS = ROOT / "tools/mutation/targets.toml"
MOST = 2  # mutants of a line

_PATIENCE = Limit(cpu=120, wall=300)
_copy: Copy  # of this process


@dataclass(frozen=True)
class Trial:
    """A mutant, and the tests of its module that are to kill it."""

    module: str
    mutant: Mutant
    tests: tuple[str, ...]
    limit: Limit


class TargetError(Exception):
    """A module cannot be judged; the text says which, and why."""


def targets() -> dict[str, tuple[str, ...]]:
    """Return the modules, and the tests of each."""
    found = tomllib.loads(TARGETS.read_text(encoding="utf-8"))
    return {module: tuple(entry["tests"]) for module, entry in found.items()}


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="paths; all without one")
    parser.add_argument("-n", type=int, default=os.cpu_count(), metavar="N", help="at a time")
    parser.add_argument("--no-page", action="store_true", help=f"leave {report.PAGE.name} as it is")
    arguments = parser.parse_args()
    known = targets()
    if unknown := [name for name in arguments.modules if name not in known]:
        parser.error(f"{', '.join(unknown)}: not in {TARGETS.name}")
    started = time.monotonic()
    judged = report.judgements()
    results: list[Result] = []
    try:
        chosen = {name: known[name] for name in arguments.modules or known}
        for of_module in judge(chosen, arguments.n):
            results += of_module
            if not arguments.no_page:
                _write(of_module, judged)
    except TargetError as error:
        sys.stdout.write(f"mutation: {error}\n")
        return 2
    said = report.complaints(results, judged)
    if (rate := report.rate(results)) < report.ENOUGH:
        said.append(f"only {rate:.1%} of the mutants are killed")
    for line in said:
        sys.stdout.write(f"mutation: {line}\n")
    minutes = (time.monotonic() - started) / 60
    sys.stdout.write(f"{len(results)} mutants, {rate:.1%} killed, {minutes:.0f} minutes\n")
    return 1 if said else 0


def _write(results: list[Result], judged: dict[tuple[str, str, str], str]) -> None:
    """Write the rows of a module. The others stay, so a run that is stopped keeps what it has."""
    old = report.PAGE.read_text(encoding="utf-8") if report.PAGE.exists() else ""
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    new = report.page(old, results, judged, date=today, most=MOST)
    report.PAGE.write_text(new, encoding="utf-8")


def judge(chosen: dict[str, tuple[str, ...]], processes: int) -> Iterator[list[Result]]:
    """Run every mutant of these modules, so many at a time. Yields the results of each module.

    Raises TargetError.
    """
    gc.freeze()  # what each fork has, and never needs to copy
    with (
        tempfile.TemporaryDirectory(prefix="mutation-") as folder,
        multiprocessing.get_context("fork").Pool(processes, _begin, [folder]) as pool,
    ):
        limits = dict(pool.imap_unordered(_unharmed, chosen.items()))
        if failed := [module for module, limit in limits.items() if limit is None]:
            raise TargetError(f"without a fault, tests of {', '.join(failed)} do not pass")
        trials = [
            Trial(module, mutant, tests, limit)
            for module, tests in chosen.items()
            for mutant in sampled(mutants((ROOT / module).read_bytes()), MOST, module)
            if (limit := limits[module]) is not None
        ]
        told = _told(pool.imap(_tried, trials), len(trials))
        for _, of_module in itertools.groupby(told, key=attrgetter("module")):
            yield list(of_module)


def _told(results: Iterator[Result], total: int) -> Iterator[Result]:
    """Say how far it is while the results come, and what survives."""
    for number, result in enumerate(results, 1):
        if result.outcome == SURVIVED:
            place = f"{result.module}:{result.mutant.line}"
            sys.stdout.write(f"{number}/{total} {place}: {report.fault(result.mutant)}\n")
            sys.stdout.flush()
        yield result


def _begin(folder: str) -> None:
    global _copy
    _copy = Copy(Path(folder) / str(os.getpid()))


def _unharmed(target: tuple[str, tuple[str, ...]]) -> tuple[str, Limit | None]:
    """Return the limit for a module's tests, from a run without a fault; None if one fails."""
    module, tests = target
    source = (ROOT / module).read_bytes()
    _copy.outcome(module, source, tests, _PATIENCE)  # the first run compiles
    started = time.monotonic()
    passed = _copy.outcome(module, source, tests, _PATIENCE) == SURVIVED
    return module, Limit.after(time.monotonic() - started) if passed else None


def _tried(trial: Trial) -> Result:
    source = trial.mutant.applied((ROOT / trial.module).read_bytes())
    outcome = _copy.outcome(trial.module, source, trial.tests, trial.limit)
    return Result(trial.module, trial.mutant, outcome)


if __name__ == "__main__":
    sys.exit(main())
