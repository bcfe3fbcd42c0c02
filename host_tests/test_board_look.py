"""`make status`, `logs`, `repl` and `reset` against a simulated board's console."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from board_console import (
    ABORTED,
    CHATTY,
    PENDING,
    VALID,
    Tap,
    board_under_test,
    port,
    running_board,
)
from click.testing import CliRunner, Result

from board import files
from board.__main__ import main
from sim.board import HARD, PWRON, SOFT, Board
from tools.paths import ROOT

BOOT = {"/boot.py": (ROOT / "boot.py").read_bytes()}


@pytest.fixture(scope="module")
def agent() -> dict[str, bytes]:
    return {path: data for path, data in files.application().items() if path != "/main.py"}


def board_command(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.fixture
def board(tmp_path: Path, agent: dict[str, bytes]) -> Iterator[Board]:
    with running_board(tmp_path, {**agent, "/main.py": CHATTY}) as board:
        board.wait_console("main: line")
        yield board


def test_make_status_prints_what_runs_and_main_py_goes_on(board: Board) -> None:
    at = len(board.log_path.read_bytes())
    done = subprocess.run(
        ["make", "--no-print-directory", "status", f"PORT={port(board)}"],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Runs      ota_0  valid  flashed by cable, version 0.0.0\n")
    assert "started again by a soft reset" in done.stdout
    board.wait_console("main: up, cause 5", since=at)
    assert board.boots == [(0, PWRON), (0, SOFT)]


def test_what_did_not_run_is_not_started_by_a_status(tmp_path: Path) -> None:
    with running_board(tmp_path, {}) as board:
        board.wait_console(">>> ")
        done = board_command("status", port(board))
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == "error: there is no agent on this board; `make deploy` brings it\n"
        assert board.boots == [(0, PWRON)]


def test_make_needs_a_port() -> None:
    done = subprocess.run(["make", "status"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "make status: say PORT=" in done.stderr


def test_status_during_a_test_lets_it_go_on_with_the_rest_of_its_time(
    tmp_path: Path, agent: dict[str, bytes]
) -> None:
    with board_under_test(tmp_path, agent, deadline_s=10) as board:
        at = len(board.log_path.read_bytes())
        done = board_command("status", port(board))
        assert done.exit_code == 0, done.stderr
        assert "ota_1  under test" in done.stdout
        assert "Test      accepted within " in done.stdout
        board.wait_console("main: runs ota_1", since=board.wait_console("boot: image", since=at))
        assert board.otadata() == [(1, VALID), (2, PENDING)]
        assert [slot for slot, _ in board.boots] == [0, 1, 1]
        assert board.boots[2] == (1, SOFT)


def test_logs_only_listens_and_outlives_a_reset_of_the_board(board: Board) -> None:
    tap = Tap(board)
    with Terminal(["logs", tap.port]) as person:
        person.wait("main: line")
        board.reset()
        person.wait("main: up, cause 2")
        person.interrupt()
        assert person.ends() == 0
    tap.close()
    assert tap.typed == b""
    assert board.boots == [(0, PWRON), (0, HARD)]
    assert b"typed:" not in board.log_path.read_bytes()


def test_a_session_at_the_repl_sees_status_and_starts_main_py_again(board: Board) -> None:
    with Terminal(["repl", port(board)]) as person:
        person.wait("Ctrl-] leaves.")
        person.wait("main: line")
        person.type("\x03")
        person.wait("KeyboardInterrupt")
        person.wait(">>> ")
        person.type("import ota; ota.status()\r")
        person.wait("Runs      ota_0  valid")
        person.wait(">>> ")
        person.type("\x04")
        person.wait("main: up, cause 5")
        person.type("\x1d")
        assert person.ends() == 0
    assert board.boots == [(0, PWRON), (0, SOFT)]


def test_the_repl_needs_a_terminal(board: Board) -> None:
    done = board_command("repl", port(board))
    assert done.exit_code == 1
    assert "needs a terminal" in done.stderr


def test_reset_restarts_the_chip(board: Board) -> None:
    at = len(board.log_path.read_bytes())
    assert board_command("reset", port(board)).stdout == "The board restarts.\n"
    board.wait_console("main: up, cause 2", since=at)
    assert board.boots == [(0, PWRON), (0, HARD)]


def test_a_reset_that_would_end_a_test_is_refused_unless_it_is_meant(tmp_path: Path) -> None:
    with board_under_test(tmp_path, BOOT, deadline_s=30) as board:
        refused = board_command("reset", port(board))
        assert refused.exit_code == 1
        assert "a reset would roll it back" in refused.stderr
        assert " s left" in refused.stderr
        at = len(board.log_path.read_bytes())
        board.wait_console("main: runs ota_1", since=at)
        assert board.otadata() == [(1, VALID), (2, PENDING)]
        assert board_command("reset", port(board), "--yes").exit_code == 0
        board.wait_console("main: runs ota_0", since=at)
        assert board.otadata() == [(1, VALID), (2, ABORTED)]


class Terminal:
    """A person at `python -m board`, in a terminal of their own. `seen`: not yet awaited."""

    def __init__(self, arguments: list[str]) -> None:
        self.seen = ""
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "board", *arguments],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait(self, text: str, timeout: float = 20) -> None:
        """Read up to and with `text`."""
        ends = time.monotonic() + timeout
        while text not in self.seen:
            left = ends - time.monotonic()
            assert left > 0, f"{text!r} never came: {self.seen[-500:]!r}"
            if select.select([self._master], [], [], left)[0]:
                self.seen += os.read(self._master, 4096).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def interrupt(self) -> None:
        """Ctrl-C, for a program that left the terminal as it was."""
        self._process.send_signal(signal.SIGINT)

    def ends(self) -> int:
        return self._process.wait(20)
