"""The kept corpus of fuzzing: no parser leaks, and it reaches what it promises to reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import reach, target
from tools import interpreters
from tools.paths import ROOT

HOST = [name for name in target.names() if name.startswith("host_")]
BOARD = [name for name in target.names() if name.startswith("board_")]


@pytest.mark.parametrize("name", HOST)
def test_a_kept_input_raises_only_what_its_parser_says(name: str) -> None:
    loaded = target.load(name)
    kept = loaded.kept()
    assert kept
    for data in kept:
        leak = loaded.leak(data)
        assert leak is None, f"{type(leak).__name__}: {leak} by {data.hex()}"


def test_every_parser_of_the_board_is_replayed_on_its_interpreters_too() -> None:
    text = (interpreters.ON_BOARD / "test_fuzz_corpus.py").read_text()
    assert [name for name in BOARD if f'_replay("{name}")' not in text] == []
    assert {"fuzz/targets", "fuzz/corpus"} <= set(interpreters.FOLDERS)


def test_the_kept_corpus_reaches_95_percent_of_the_branches_and_names_the_rest() -> None:
    """In a process of its own, whose modules no other test has loaded."""
    argv = [sys.executable, "-m", "fuzz", "branches"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([line for line in done.stdout.splitlines() if " %  " in line]) == len(target.names())


def test_every_reason_is_about_a_branch_that_is_still_there() -> None:
    lines = reach.reasons()
    assert all(lines.values())
    for line in lines:
        file, _, steps = line.partition(": ")
        start, _, end = steps.partition(" -> ")
        source = {text.strip() for text in (ROOT / file).read_text().splitlines()}
        assert {start, end} - {"end"} <= source, line


def test_kept_inputs_are_small_and_no_two_are_alike() -> None:
    files = [path for path in target.CORPUS.rglob("*") if path.is_file()]
    assert all(path.stat().st_size <= target.MAX_INPUT for path in files)
    assert {path.parent.name for path in files} == set(target.names())


def test_a_leak_is_found_in_a_run_and_named(tmp_path: Path) -> None:
    """A parser that is broken on purpose: it raises KeyError for inputs that begin with "a"."""
    broken = target.Target("broken", {b"b": 1}.__getitem__, (ValueError,), {}, ())
    assert isinstance(broken.leak(b"a"), KeyError)
    assert broken.leak(b"b") is None
