"""docs/recording.md is a real push whose main.py raises, and ends long before its deadline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from link_fixtures import need

from tools import recording

LINES = recording.PAGE.read_text(encoding="utf-8").partition("```console\n")[2].splitlines()[:-1]


def alike(lines: list[str]) -> list[str]:
    """Return the lines without times, sizes and names of jobs, which differ by run."""
    progress = re.compile(r"board-1  (?!FAILED|SUCCEEDED)|^$")
    varying = (r"ota-\d+-\w+", r"[\d.]+ s\b", r"\d{5,}", r"\d+ min\b")
    kept = [line.rstrip() for line in lines if not progress.match(line)]
    return [re.sub("|".join(varying), "...", re.sub(" +", " ", line)) for line in kept]


def test_the_recorded_push_is_told_within_seconds_with_the_exception_of_main_py() -> None:
    assert recording.seconds(LINES) < recording.DEADLINE_S / 5
    (said,) = [line for line in LINES if line.startswith("not accepted: ")]
    assert "crash: NameError: name 'absent' isn't defined (\"main.py\", line 1" in said
    assert recording.page(LINES) == recording.PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_such_a_push_prints_today_what_was_recorded(tmp_path: Path) -> None:
    need("mosquitto")
    need("micropython")
    lines = recording.record(tmp_path / "stack")
    assert recording.seconds(lines) < recording.DEADLINE_S / 2
    assert alike(lines) == alike(LINES)
