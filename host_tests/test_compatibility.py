"""docs/aws-compatibility.md names what is tested, and a report's results are what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import compatibility
from tools.compatibility import Claim
from tools.paths import ROOT

TESTS = """
import pytest

@pytest.mark.compatibility("1", "a first thing")
@pytest.mark.compatibility("4", "a second", unlike="the first", because="it is better")
@pytest.mark.parametrize("protocol", ["MQTT", "HTTP"])
def test_one(protocol):
    assert protocol == "MQTT"

@pytest.mark.compatibility("1", "a first thing")
def test_two():
    pass

@pytest.mark.compatibility("9", "what cannot be tried here", path="HTTP")
def test_three():
    pytest.skip("no network")
"""


def test_the_page_names_exactly_the_tests_that_say_what_they_prove() -> None:
    page = compatibility.PAGE.read_text(encoding="utf-8")
    assert compatibility.named(page) == compatibility.marked(ROOT / "host_tests"), (
        "run `make compatibility`"
    )
    assert re.findall(r"[0-9]+ FAILED", page) == [], "a result of the run"


def test_every_official_case_is_in_the_page() -> None:
    source = (ROOT / "host_tests/test_official_cases.py").read_text(encoding="utf-8")
    cases = {line[4:].partition("(")[0] for line in source.splitlines() if "def test_Ota" in line}
    assert len(cases) >= 19 + 4
    marks = compatibility.marked(ROOT / "host_tests")
    assert cases <= {test for _, file, test in marks if file == "test_official_cases.py"}


def test_a_pages_results_are_those_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nmarkers = {compatibility.MARK}\n")
    (tmp_path / "conftest.py").write_text((ROOT / "host_tests/conftest.py").read_text())
    report = tmp_path / "report.xml"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"--junitxml={report}"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 1, done.stdout.decode()
    page = compatibility.written(compatibility.runs(report))
    one, two = "[`test_one`](../test_some.py)", "[`test_two`](../test_some.py)"
    assert "Of 6 runs 3 passed.\n" in page
    for row in (
        f"| a first thing | MQTT, HTTP | {one}, {two} | 1 FAILED, 2 passed |",
        f"| a second | the first | it is better | MQTT, HTTP | {one} | 1 FAILED, 1 passed |",
        "| what cannot be tried here | HTTP | [`test_three`](../test_some.py) | 1 skipped |",
    ):
        assert row in page.splitlines()
    assert compatibility.named(page) == compatibility.marked(tmp_path)


@pytest.mark.parametrize(
    "claim",
    [
        {"section": "99", "statement": "x"},
        {"section": "1", "statement": "x | y"},
        {"section": "1", "statement": "x", "unlike": "y"},
    ],
)
def test_a_claim_that_fits_no_table_is_refused(claim: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="x"):
        Claim(**claim)
