"""docs/testing.md: what survived, module by module. Pure, but for the files it reads."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tools.mutation.operators import OPERATORS, Mutant
from tools.mutation.trial import HUNG, KILLED, SURVIVED
from tools.paths import ROOT

PAGE = ROOT / "docs/testing.md"
JUDGEMENTS = ROOT / "tools/mutation/survivors.toml"
ENOUGH = 0.9  # of all mutants must be killed
KINDS = ("equivalent", "accepted")

_INTRODUCTION = """\
# Do the tests notice?

Written by `make mutation`; not by hand. It plants one small fault, a mutant, in a pure module, and
runs the quick tests of that module. A mutant is killed when a test fails; also when the tests hang,
for a fault that hangs is noticed. Which modules, and by which tests:
[targets.toml](../tools/mutation/targets.toml). `make mutation MODULES="boot.py"` runs a part, and
leaves the other rows as they are.

The faults, at most {most} on each line, of different operators where the line has them. Docstrings,
imports, annotations and the lines of `def`, `class`, `with` and `try` get none; every other line
that is executed gets one at least. The choice depends on the line's text alone, so it is the same
in every run.

| operator | what it does |
| --- | --- |
{operators}

## Kill rate

Of {total} mutants {killed} were killed: **{rate:.1%}**. At least {enough:.0%} must be.

"""
_RATE_COLUMNS = ("module", "mutants", "killed", "of these hung", "survived", "rate", "run on")
_SURVIVORS = """
## Survivors

*Equivalent*: no input tells the mutant from the module. *Accepted*: one could, and the reason says
why no test does. The judgements stand in [survivors.toml](../tools/mutation/survivors.toml); a new
survivor without one is an error of the run.

"""
_SURVIVOR_COLUMNS = ("in", "line", "fault", "judgement")


@dataclass(frozen=True)
class Result:
    """What became of a mutant. outcome: KILLED, HUNG or SURVIVED."""

    module: str
    mutant: Mutant
    outcome: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what a judgement knows it by: module, line, fault."""
        return self.module, self.mutant.text, fault(self.mutant)


def fault(mutant: Mutant) -> str:
    """Return in one line what a mutant does: `before` -> `after`."""
    before, after = (" ".join(text.split()) or "nothing" for text in (mutant.before, mutant.after))
    return f"{before} -> {after}"


def judgements() -> dict[tuple[str, str, str], str]:
    """Return what is said of each survivor that was judged: "equivalent: why"."""
    found = {}
    for module, entries in tomllib.loads(JUDGEMENTS.read_text(encoding="utf-8")).items():
        for entry in entries:
            kinds = [kind for kind in KINDS if kind in entry]
            if len(kinds) != 1:
                raise ValueError(f"{module}: {entry['fault']}: one of {KINDS}, please")
            key = module, entry["line"], entry["fault"]
            found[key] = f"{kinds[0]}: {entry[kinds[0]]}"
    return found


def complaints(results: Iterable[Result], judged: Mapping[tuple[str, str, str], str]) -> list[str]:
    """Return a sentence for each survivor that nobody judged, and each judgement of none."""
    results = list(results)
    modules = {result.module for result in results}
    survivors = {result.key: result for result in results if result.outcome == SURVIVED}
    said = [
        f"{module}:{result.mutant.line}: {what} survives and is not judged; the line: {line}"
        for (module, line, what), result in survivors.items()
        if (module, line, what) not in judged
    ]
    said += [
        f"{module}: {what} is judged and does not survive; the line: {line}"
        for module, line, what in judged
        if module in modules and (module, line, what) not in survivors
    ]
    return said


def page(
    old: str,
    results: Sequence[Result],
    judged: Mapping[tuple[str, str, str], str],
    *,
    date: str,
    most: int,
) -> str:
    """Return the page. old: what it said before; the rows of modules that were not run stay."""
    ran = {result.module for result in results}
    rates = {row[0]: row for row in rows(old, _RATE_COLUMNS[0]) if _plain(row[0]) not in ran}
    survivors = [
        (place, _plain(line), _plain(what))
        for place, line, what, _ in rows(old, _SURVIVOR_COLUMNS[0])
        if _place(place)[0] not in ran
    ]
    for module in ran:
        own = [result for result in results if result.module == module]
        outcomes = [result.outcome for result in own]
        hung, survived = outcomes.count(HUNG), outcomes.count(SURVIVED)
        killed = outcomes.count(KILLED) + hung
        numbers = (len(own), killed, hung, survived, f"{killed / len(own):.1%}")
        rates[f"`{module}`"] = [f"`{module}`", *map(str, numbers), date]
        survivors += [
            (f"`{module}:{result.mutant.line}`", result.mutant.text, fault(result.mutant))
            for result in own
            if result.outcome == SURVIVED
        ]
    judged_rows = [
        (place, _code(line), _code(what), judged.get((_place(place)[0], line, what), "not judged"))
        for place, line, what in sorted(survivors, key=lambda row: _place(row[0]))
    ]
    total, killed = (sum(int(row[column]) for row in rates.values()) for column in (1, 2))
    operators = "\n".join(f"| {name} | {what} |" for name, what in OPERATORS.items())
    return (
        _INTRODUCTION.format(
            most=most,
            operators=operators,
            total=total,
            killed=killed,
            rate=killed / total,
            enough=ENOUGH,
        )
        + _table(_RATE_COLUMNS, sorted(rates.values()))
        + _SURVIVORS
        + _table(_SURVIVOR_COLUMNS, judged_rows)
    )


def rate(results: Sequence[Result]) -> float:
    """Return the share of mutants that did not survive."""
    return sum(result.outcome != SURVIVED for result in results) / len(results)


def rows(text: str, first: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with the column `first`."""
    table = re.search(rf"^\| {first} \|.*\n\| ---.*\n((?:\|.*\n)*)", text, re.MULTILINE)
    lines = table[1].splitlines() if table else []
    return [re.split(r" (?<!\\)\| ", line[2:-2]) for line in lines]


def _place(cell: str) -> tuple[str, int]:
    """Return the module and the line that a survivor's first cell names."""
    module, _, line = _plain(cell).rpartition(":")
    return module, int(line)


def _code(text: str) -> str:
    """Return a text as code in a cell of a table."""
    ticks = "``" if "`" in text else "`"
    return ticks + text.replace("|", r"\|") + ticks


def _plain(cell: str) -> str:
    """Return the text that a cell has as code."""
    return cell.strip("`").replace(r"\|", "|")


def _table(columns: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
