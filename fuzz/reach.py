"""Which branches inputs reach: for the choice of those that are kept, and for people."""

import json
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import coverage

from fuzz.target import FOLDER, Target
from tools.paths import ROOT

UNREACHED = FOLDER / "unreached.txt"
LEAST = 95  # percent of the branches of each parser

Arc = tuple[str, int, int]


@dataclass(frozen=True)
class Reach:
    """The branches of a parser: how many it has, and the ones that no input reaches.

    missing: "FILE: LINE OF SOURCE -> LINE OF SOURCE", which stays as long as the code does.
    """

    branches: int
    missing: tuple[str, ...]

    @property
    def percent(self) -> float:
        """The reached share."""
        return 100 * (1 - len(self.missing) / self.branches) if self.branches else 100.0


def arcs(target: Target, data: bytes) -> set[Arc]:
    """The steps from line to line in the covered files that one input takes."""
    files = {str(path) for path in target.covers}
    found: set[Arc] = set()
    last: dict[FrameType, int] = {}
    counted: dict[CodeType, bool] = {}

    def local(frame: FrameType, event: str, _: Any) -> Any:
        line = -1 if event == "return" else frame.f_lineno
        found.add((f"{frame.f_code.co_filename}:{frame.f_code.co_name}", last[frame], line))
        last[frame] = line
        return local

    def watch(frame: FrameType, _event: str, _: Any) -> Any:
        code = frame.f_code
        if code not in counted:
            counted[code] = code.co_filename in files
        if not counted[code]:
            return None
        last[frame] = -frame.f_lineno
        return local

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        target.leak(data)
    finally:
        sys.settrace(before)
    return found


def smallest(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """A few short inputs of these that take every step that any of them takes."""
    chosen: list[bytes] = []
    reached: set[Arc] = set()
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        new = arcs(target, data) - reached
        if new:
            chosen.append(data)
            reached |= new
    needed: list[bytes] = []  # a longer one may take all steps of a shorter one
    covered: set[Arc] = set()
    for data in reversed(chosen):
        steps = arcs(target, data)
        if steps - covered:
            needed.append(data)
            covered |= steps
    return needed[::-1]


def reached(target: Target, inputs: Iterable[bytes]) -> Reach:
    """The branches of a target that these inputs reach together."""
    seen = coverage.Coverage(
        data_file=None,
        config_file=False,
        branch=True,
        include=[str(path) for path in target.covers],
    )
    with seen.collect():
        for data in inputs:
            target.leak(data)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        seen.json_report(outfile=str(report))
        files = json.loads(report.read_text())["files"]
    count, missing = 0, []
    for path, inside in target.covers.items():
        name = path.relative_to(ROOT).as_posix()
        found = next((file for key, file in files.items() if str(path).endswith(key)), None)
        if found is None:
            raise LookupError(f"{target.name}: no input reaches {name}")
        source = path.read_text().splitlines()
        for function, part in found["functions"].items():
            if inside and not any(
                function == wanted or function.startswith(f"{wanted}.") for wanted in inside
            ):
                continue
            count += part["summary"]["num_branches"]
            missing += [
                f"{name}: {_line(source, start)} -> {_line(source, end)}"
                for start, end in part["missing_branches"]
            ]
        for wanted in inside:
            if not any(f == wanted or f.startswith(f"{wanted}.") for f in found["functions"]):
                raise LookupError(f"{target.name}: {name} has no {wanted}")
    return Reach(count, tuple(missing))


def reasons() -> dict[str, str]:
    """The branches that no input can reach, as unreached.txt names them, with their reasons."""
    found = {}
    reason = ""
    for line in UNREACHED.read_text().splitlines():
        if line.startswith("# "):
            reason = line[2:]
        elif line:
            found[line] = reason
    return found


def _line(source: list[str], number: int) -> str:
    return "end" if number < 0 else source[number - 1].strip()
