"""The runs of the pure tests under MicroPython count as what they were."""

import os

import pytest

from tools import interpreters, natives
from tools.interpreters import INTERPRETERS, InterpreterMissing, Outcome, read_outcomes, run_file

PROBE = interpreters.ON_BOARD / "probe.py"


@pytest.mark.parametrize("interpreter", INTERPRETERS, ids=lambda interpreter: interpreter.label)
def test_each_interpreter_passes_and_fails_tests_and_reads_vectors(interpreter):
    names = interpreters.test_names(PROBE)
    try:
        outcomes = run_file(interpreter, PROBE, names, 60)
    except InterpreterMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    assert {name: outcome.passed for name, outcome in outcomes.items()} == {
        "test_good": True,
        "test_bad": False,
        "test_vectors": True,
        "test_firmware": True,
    }
    assert outcomes["test_good"].output == "seen"
    assert "AssertionError: one is not two" in outcomes["test_bad"].output


def test_names_and_slow_ones_are_known_without_importing():
    assert interpreters.test_names(PROBE)[:2] == ["test_good", "test_bad"]
    assert interpreters.slow_names(PROBE) == ["test_bad"]


def test_a_test_whose_interpreter_died_has_failed():
    outcomes = read_outcomes("PASS test_a\nMemoryError\n", ["test_a", "test_b"])
    assert outcomes["test_a"] == Outcome(True, "")
    assert not outcomes["test_b"].passed
    assert "MemoryError" in outcomes["test_b"].output


def test_outcomes_survive_the_way_to_another_worker():
    outcomes = {"test_a": Outcome(False, "why")}
    assert interpreters.from_json(interpreters.to_json(outcomes)) == outcomes


def test_a_missing_interpreter_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(interpreters, "WASM", tmp_path)
    with pytest.raises(InterpreterMissing, match="make setup"):
        INTERPRETERS[1].command(tmp_path / "test_x.py", [])

    def missing(name):
        raise natives.NativeMissing("no micropython here")

    monkeypatch.setattr(natives, "command", missing)
    with pytest.raises(InterpreterMissing, match="no micropython here"):
        INTERPRETERS[0].command(tmp_path / "test_x.py", [])
