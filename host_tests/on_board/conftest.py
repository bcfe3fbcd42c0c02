"""Collects each pure test once more per MicroPython, as `test_x[micropython-unix]` and so on.

The plain `test_x` beside them is CPython's. One process per file and interpreter runs all the
chosen tests of that file. With pytest-xdist all of them go to one worker (../conftest.py); where
another distribution is asked for, the workers share the result through a file in $ON_BOARD_RESULTS.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import agent_modules
import pytest

from tools import interpreters
from tools.interpreters import Interpreter, InterpreterMissing, Outcome

TIMEOUT_S = 300.0
# The quick suite has the unix port; WebAssembly takes several times as long.
QUICK = interpreters.INTERPRETERS[0].label


class OnBoardTest(pytest.Item):
    """One test function under one MicroPython."""

    def __init__(self, *, test: str, interpreter: Interpreter, **rest: Any) -> None:
        super().__init__(**rest)
        self.test = test
        self.interpreter = interpreter

    def runtest(self) -> None:
        outcome = results_of(self)[self.test]
        if not outcome.passed:
            raise OnBoardFailure(outcome.output)
        if outcome.output:
            self.add_report_section("call", "stdout", outcome.output)

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None
    ) -> str:
        if isinstance(excinfo.value, OnBoardFailure):
            return f"under {self.interpreter.label}:\n{excinfo.value}"
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class OnBoardFailure(Exception):
    """A test failed under MicroPython; the text is its output and traceback there."""


class OnBoardFile(pytest.File):
    """The tests of one file under every MicroPython."""

    def collect(self) -> Iterable[OnBoardTest]:
        slow = interpreters.slow_names(self.path)
        for interpreter in interpreters.INTERPRETERS:
            for test in interpreters.test_names(self.path):
                item: OnBoardTest = OnBoardTest.from_parent(
                    self, name=f"{test}[{interpreter.label}]", test=test, interpreter=interpreter
                )
                # The first test of a file waits for the whole file.
                item.add_marker(pytest.mark.timeout(TIMEOUT_S + 60))
                if test in slow or interpreter.label != QUICK:
                    item.add_marker(pytest.mark.slow)
                yield item


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.parent == interpreters.ON_BOARD and file_path.match("test_*.py"):
        collector: OnBoardFile = OnBoardFile.from_parent(parent, path=file_path)
        return collector
    return None


_modules: dict[str, ModuleType] = {}


def pytest_collection_finish() -> None:
    """Keep the agent's modules as these tests have imported them."""
    _modules.update(agent_modules.loaded())


@pytest.fixture(autouse=True)
def _the_modules_that_were_imported() -> None:
    """Other tests in this process load the agent again, and it loads some modules late."""
    agent_modules.restore(_modules)


def results_of(item: OnBoardTest) -> dict[str, Outcome]:
    """Return the outcomes of all chosen tests of this file under this interpreter.

    The first to ask runs them.
    """
    folder = Path(os.environ["ON_BOARD_RESULTS"])
    with open(
        folder / f"{item.path.stem}-{item.interpreter.label}.json", "a+", encoding="utf-8"
    ) as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        known = shared.read()
        if known:
            return interpreters.from_json(known)
        chosen = [
            other.test
            for other in item.session.items
            if isinstance(other, OnBoardTest)
            and other.path == item.path
            and other.interpreter == item.interpreter
        ]
        try:
            outcomes = interpreters.run_file(item.interpreter, item.path, chosen, TIMEOUT_S)
        except InterpreterMissing as error:
            if os.environ.get("CI"):
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))
        shared.write(interpreters.to_json(outcomes))
        return outcomes
