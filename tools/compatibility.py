"""`make compatibility`: docs/aws-compatibility.md, from what the tests that prove it came to.

A test says what of AWS's protocol it proves:

    @pytest.mark.compatibility("1", "a job stays QUEUED however often it is fetched")
    @pytest.mark.compatibility("4", "one request", unlike="a request per block", because="...")

Section, statement; with `unlike` and `because` a difference on purpose: what AWS or FreeRTOS does
instead, and why not here. `path`: MQTT or HTTP where the test's parameters do not say it.
"""

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tools import prose
from tools.paths import ROOT, VENV_BIN

PAGE = ROOT / "docs/aws-compatibility.md"
MARK = "compatibility"
WRITE = "TWINSLOT_WRITE_PAGES"
"""A variable: tests that compare a page write it instead."""
SECTIONS = {
    "1": "AWS IoT Jobs",
    "2": "Job documents and OTA updates",
    "3": "MQTT file streams",
    "4": "Files by HTTP",
    "5": "What the agent does",
    "6": "What the agent reports",
    "7": "The self-test of a new image",
    "8": "Error words",
    "9": "The official end-to-end cases",
    "10": "The shadow in which a board says what it runs",
    "11": "The registry: things, groups, tags, certificates",
    "12": "S3: buckets, objects, uploads in parts",
}
_INTRODUCTION = """\
# The proofs of AWS compatibility

`make compatibility` writes this page from a run of the tests that it names. The page lists the
rules of AWS IoT's update protocol, and of the FreeRTOS agent of 2019 (V1.0.4) that speaks it, and
the test that proves each. The two sides are tested apart, so that they cannot be wrong together.
AWS's own clients (`boto3`, `awsiotsdk`) test the service, and so do messages written down byte by
byte. A job service that shares no code with `fleet` tests the agent. The official cases bring both
together.

"Path" is how the file travels: MQTT streams, HTTP, or both; empty where that plays no part.
"Result" counts the runs of a test.
"""
_DIFFERENCES = """\
## Differences on purpose

| here | AWS or FreeRTOS | why | path | proved by | result |
| --- | --- | --- | --- | --- | --- |
"""
_TABLE = """\
| holds | path | proved by | result |
| --- | --- | --- | --- |
"""
_LINK = re.compile(r"\[`(\w+)`\]\(\.\./([\w/.]+)\)")
_PASSED, _FAILED, _SKIPPED = "passed", "FAILED", "skipped"


@dataclass(frozen=True)
class Claim:
    """What a test proves. section: a key of SECTIONS; unlike, because: see this module."""

    section: str
    statement: str
    path: str = ""
    unlike: str = ""
    because: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError unless it can stand in the page."""
        if self.section not in SECTIONS:
            raise ValueError(f"{self.statement!r}: there is no section {self.section}")
        if bool(self.unlike) != bool(self.because):
            raise ValueError(f"{self.statement!r}: unlike and because, or neither")
        if any(c in text for text in vars(self).values() for c in "|\n"):
            raise ValueError(f"{self.statement!r}: a cell of a table holds no | and no line end")


@dataclass(frozen=True)
class Run:
    """One run of a test that proves a claim. file: from the work tree's top; result: one word."""

    claim: Claim
    file: str
    test: str
    result: str


def properties(
    marks: Iterable[tuple[Sequence[Any], dict[str, Any]]], file: str, name: str
) -> Iterator[tuple[str, str]]:
    """Return what pytest must write into the report of a test: (name, value).

    marks: arguments of its marks; file: from the work tree's top; name: with its parameters.
    """
    test, _, parameters = name.partition("[")
    words = set(re.findall(r"[A-Za-z0-9]+", parameters))
    paths = [word for word in ("MQTT", "HTTP") if word in words or "MIXED" in words]
    for arguments, named in marks:
        claim = Claim(*arguments, **named)
        told = vars(claim) | {"path": claim.path or ", ".join(paths)}
        yield MARK, json.dumps({"claim": told, "file": file, "test": test})


def runs(report: Path) -> list[Run]:
    """Read the runs of marked tests from pytest's report (JUnit's XML)."""
    found = []
    for case in ET.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        result = _FAILED if kinds & {"failure", "error"} else _PASSED
        if "skipped" in kinds:
            result = _SKIPPED
        for item in case.iter("property"):
            if item.get("name") == MARK:
                told = json.loads(item.get("value", ""))
                found.append(Run(Claim(**told["claim"]), told["file"], told["test"], result))
    return found


def marked(tests: Path) -> set[tuple[str, str, str]]:
    """Return the marks in the test files of a folder: (statement, file name, test)."""
    found = set()
    for path in tests.glob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func).endswith(f"mark.{MARK}"):
                    found.add((str(ast.literal_eval(mark.args[1])), path.name, node.name))
    return found


def named(page: str) -> set[tuple[str, str, str]]:
    """Return what a page names: (statement, file name, test)."""
    return {
        (line[2:].partition(" | ")[0], Path(file).name, test)
        for line in page.splitlines()
        for test, file in _LINK.findall(line)
    }


def written(found: Sequence[Run]) -> str:
    """Write the page."""
    passed = sum(run.result == _PASSED for run in found)
    parts = [_INTRODUCTION, f"Of {len(found)} runs {passed} passed.\n"]
    for section, title in SECTIONS.items():
        rows = _rows([r for r in found if r.claim.section == section and not r.claim.unlike])
        if rows:
            parts.append(f"## {section}. {title}\n\n{_TABLE}{rows}")
    parts.append(_DIFFERENCES + _rows([run for run in found if run.claim.unlike]))
    return prose.wrapped("\n".join(parts))


def _rows(found: Sequence[Run]) -> str:
    """One row for each statement, in the order in which they came."""
    groups: dict[str, list[Run]] = {}
    for run in found:
        groups.setdefault(run.claim.statement, []).append(run)
    lines = []
    for statement, group in groups.items():
        first = group[0].claim
        cells = [statement, *((first.unlike, first.because) if first.unlike else ())]
        words = {word for run in group for word in run.claim.path.split(", ") if word}
        cells.append(", ".join(sorted(words, reverse=True)))
        tests = dict.fromkeys((run.test, run.file) for run in group)
        cells.append(", ".join(f"[`{test}`](../{file})" for test, file in tests))
        cells.append(_result([run.result for run in group]))
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def _result(results: Sequence[str]) -> str:
    counts = [(kind, results.count(kind)) for kind in (_FAILED, _PASSED, _SKIPPED)]
    return ", ".join(f"{count} {kind}" for kind, count in counts if count)


def main() -> int:
    """Run the marked tests and write the page. Returns pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.compatibility", description=__doc__)
    parser.add_argument("-n", "--jobs", default="2", help="processes that run the tests")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        argv = [VENV_BIN / "pytest", "-n", arguments.jobs, "-m", MARK, f"--junitxml={report}"]
        environment = {**os.environ, WRITE: "1"}
        done = subprocess.run(argv, cwd=ROOT, env=environment, check=False)
        if not report.exists():
            return done.returncode
        found = sorted(runs(report), key=lambda run: (run.file, run.test))
    PAGE.write_text(written(found), encoding="utf-8")
    sys.stdout.write(f"compatibility: {len(found)} runs, in {PAGE.relative_to(ROOT)}\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
