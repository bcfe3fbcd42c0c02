"""The interpreters, beside CPython, that run the pure tests of host_tests/on_board/.

Each runs a whole file of tests in one process, through host_tests/on_board/runner.py, and says what
became of each.
"""

import ast
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools import natives
from tools.paths import CACHE, ROOT

ON_BOARD = ROOT / "host_tests/on_board"
WASM = CACHE / "wasm/node_modules"
# What the tests and the firmware under test may open, copied into WebAssembly's own file system.
FOLDERS = (
    "firmware",
    "sim/chip",
    "host_tests/on_board",
    "host_tests/vectors",
    "fuzz/targets",
    "fuzz/corpus",
)
# Heap of the unix port. The tests hold vectors and results that a chip never would; RAM is measured
# elsewhere.
UNIX_HEAP = "16m"


class InterpreterMissing(Exception):
    """An interpreter cannot be had here; the text says why and what to do."""


@dataclass(frozen=True)
class Interpreter:
    """One interpreter: its `label` in test ids and, of a WebAssembly build, the npm alias."""

    label: str
    wasm: str = ""

    def command(self, file: Path, tests: list[str]) -> list[str]:
        """Return the argv that runs `tests` of `file`; raises InterpreterMissing."""
        try:
            if not self.wasm:
                runner = [
                    *natives.command("micropython"),
                    "-X",
                    f"heapsize={UNIX_HEAP}",
                    str(ON_BOARD / "runner.py"),
                ]
                return [*runner, str(ROOT), file.name, *tests]
            node = natives.command("node")
        except natives.NativeMissing as error:
            raise InterpreterMissing(str(error)) from error
        library = WASM / self.wasm / "micropython.mjs"
        if not library.exists():
            raise InterpreterMissing(
                "MicroPython as WebAssembly is not installed; run `make setup`"
            )
        # V8's own threads are known to lock each other out now and then while WebAssembly compiles.
        script = [
            *node,
            "--single-threaded",
            str(ON_BOARD / "wasm.mjs"),
            str(library),
            str(ROOT),
            ":".join(FOLDERS),
        ]
        return [*script, file.name, *tests]


INTERPRETERS = (
    Interpreter("micropython-unix"),
    # The build is numbered 1.21.0-279 and says of itself that it is v1.22.0-preview.278.
    Interpreter("micropython-wasm-1.22", wasm="micropython-oldest"),
    Interpreter("micropython-wasm-1.29", wasm="micropython-newest"),
)


@dataclass(frozen=True)
class Outcome:
    """What became of one test: `output` is what it printed, with the traceback if it failed."""

    passed: bool
    output: str


def test_names(file: Path) -> list[str]:
    """Return the names of the test functions of `file`, in order, without importing it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test")
    ]


def slow_names(file: Path) -> list[str]:
    """Return what `file` lists in its constant SLOW: too slow under MicroPython for `make test`."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "SLOW" for t in node.targets
        ):
            return list(ast.literal_eval(node.value))
    return []


def read_outcomes(printed: str, tests: list[str]) -> dict[str, Outcome]:
    """Read what runner.py printed; `tests` it says nothing about died with their interpreter."""
    outcomes: dict[str, Outcome] = {}
    pending: list[str] = []
    for line in printed.splitlines():
        match = re.fullmatch(r"(PASS|FAIL) (\w+)", line)
        if match and match[2] in tests:
            outcomes[match[2]] = Outcome(match[1] == "PASS", "\n".join(pending))
            pending = []
        else:
            pending.append(line)
    ended = Outcome(
        False, "the interpreter ended before this test did; it printed:\n" + "\n".join(pending)
    )
    return {name: outcomes.get(name, ended) for name in tests}


def run_file(
    interpreter: Interpreter, file: Path, tests: list[str], timeout_s: float
) -> dict[str, Outcome]:
    """Run `tests` of `file` in one process; raises InterpreterMissing.

    A process that takes longer than `timeout_s` seconds is killed, and counts as having died.
    """
    argv = interpreter.command(file, tests)
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
        printed = done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        printed = (error.stdout or b"").decode(
            errors="replace"
        ) + f"\nkilled after {timeout_s:.0f} s"
    return read_outcomes(printed, tests)


def to_json(outcomes: dict[str, Outcome]) -> str:
    """Write outcomes down, for the other pytest workers."""
    return json.dumps(
        {name: [outcome.passed, outcome.output] for name, outcome in outcomes.items()}
    )


def from_json(text: str) -> dict[str, Outcome]:
    """Read what to_json wrote."""
    return {name: Outcome(passed, output) for name, (passed, output) in json.loads(text).items()}
