"""`make status`, `logs`, `repl`, `reset`, `erase`: looking after a connected board."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from connected_board import Listener, begin_test, command, port, running_board
from rom_loader import RomLoader

from sim import image
from sim.board import HARD, PWRON, SOFT, Board
from tools.paths import ROOT

VALID, PENDING, ABORTED = 2, 1, 4


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with running_board(tmp_path / "board") as board:
        yield board


@contextlib.contextmanager
def started(argv: list[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program; it does not outlive a test that fails."""
    with subprocess.Popen(argv, cwd=ROOT, **options) as program:
        try:
            yield program
        finally:
            program.kill()


def module(*arguments: str) -> list[str | Path]:
    return [sys.executable, "-m", "twinslot", "board", *arguments]


# -- status ----------------------------------------------------------------------------------------


def test_status_says_what_runs_and_lets_it_go_on(board: Board) -> None:
    at = board.wait_console("main: runs 1.1.0")
    done = command("board status", port(board))
    assert done.exit_code == 0
    assert "Runs      ota_0  valid  version 1.1.0  sequence 2\n" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("main.py was stopped for this")
    board.wait_console("main: runs 1.1.0", since=at)
    assert board.boots == [(0, PWRON), (0, SOFT)]


def test_status_tells_of_a_test_and_lets_it_go_on(board: Board) -> None:
    at = begin_test(board)
    done = command("board status", port(board))
    assert "Runs      ota_1  under test  version 1.0.0" in done.stdout
    assert re.search(r"^Test +accepted within \d+ s, or rolled back$", done.stdout, re.MULTILINE)
    board.wait_console("event: StartTest 1.0.0", since=at)
    assert board.boots == [(0, PWRON), (1, HARD), (1, SOFT)]
    assert board.otadata() == [(1, VALID), (2, PENDING)]


def test_status_of_a_board_without_the_agent_is_a_sentence(tmp_path: Path) -> None:
    with Board(tmp_path / "board") as board:
        board.flash_firmware(0, image.firmware(version="1.0.0"))
        board.start()
        board.wait_console(">>> ")
        done = command("board status", port(board))
        assert done.exit_code != 0
        said = "fleet: there is no agent on this board; `fleet deploy` brings it\n"
        assert done.stderr == said
        assert board.boots == [(0, PWRON)]  # nothing ran, nothing is restarted


# -- logs ------------------------------------------------------------------------------------------


def test_logs_show_what_is_printed_over_a_reset_and_type_nothing() -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with Listener() as board, started(module("logs", board.port), **pipes) as logs:
        assert logs.stdout and logs.stderr
        assert logs.stderr.readline() == f"Listening to {board.port}; Ctrl-C ends it.\n"
        board.say(b"one\r\n")
        assert logs.stdout.readline() == "one\n"
        board.drop()
        assert "connection lost" in logs.stderr.readline()
        assert logs.stderr.readline() == f"Listening to {board.port} again.\n"
        board.say("zw\u00f6lf\r\n".encode())
        assert logs.stdout.readline() == "zw\u00f6lf\n"
        logs.send_signal(signal.SIGINT)
        assert logs.wait(10) == 0
        board.drop()
        assert board.typed == b""


def test_logs_end_by_themselves_when_told_to() -> None:
    with Listener() as board:
        assert command("board logs", board.port, "--seconds", "0.1").exit_code == 0


# -- repl ------------------------------------------------------------------------------------------


def test_a_terminal_needs_one() -> None:
    done = command("board repl", "socket://127.0.0.1:1")
    assert done.exit_code != 0
    assert "scripts use `mpremote connect PORT resume exec`" in done.stderr


def read_until(terminal: int, end: bytes) -> bytes:
    """Return what a terminal shows up to and with `end`, with plain line ends."""
    heard = b""
    deadline = time.monotonic() + 20
    while end not in heard:
        readable, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert readable, heard
        heard += os.read(terminal, 1024).replace(b"\r", b"")
    return heard


def test_a_terminal_ends_with_the_connection_and_says_so() -> None:
    ours, theirs = os.openpty()
    options = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with Listener() as board, started(module("repl", board.port), **options) as it:
        os.close(theirs)
        read_until(ours, b"leaves.\n")
        board.say(b"one\r\n")
        read_until(ours, b"one\n")
        board.drop()
        said = read_until(ours, b"connection lost: ")
        assert it.wait(20) == 1  # without a key
        assert b"Traceback" not in said
        assert b"fleet: " + board.port.encode() in said
    os.close(ours)


# -- reset -----------------------------------------------------------------------------------------


def test_reset_restarts_the_board(board: Board) -> None:
    done = command("board reset", port(board))
    assert (done.exit_code, done.stdout) == (0, "The board restarts.\n")
    assert board.wait_boots(2) == (0, HARD)


def test_a_reset_that_would_end_a_test_is_refused_unless_it_is_meant(board: Board) -> None:
    at = begin_test(board)
    done = command("board reset", port(board))
    assert done.exit_code != 0
    assert " s left): a reset would roll it back. `--yes`" in done.stderr
    board.wait_console("event: StartTest 1.0.0", since=at)
    assert board.boots == [(0, PWRON), (1, HARD), (1, SOFT)]
    assert command("board reset", port(board), "--yes").exit_code == 0
    assert board.wait_boots(4) == (0, HARD)
    assert board.otadata() == [(1, VALID), (2, ABORTED)]


# -- erase -----------------------------------------------------------------------------------------


def test_erase_asks_and_then_erases_everything() -> None:
    with RomLoader(b"\x5a" * (4 << 20)) as chip:
        done = command("board erase", chip.port, typed="n\n")
        assert done.exit_code != 0
        assert "its private key, the agent's journal? [y/N]" in done.stdout
        assert chip.writes == []
        assert command("board erase", chip.port, typed="y\n").exit_code == 0
        assert chip.flash == b"\xff" * (4 << 20)


def test_an_erase_that_fails_says_so() -> None:
    done = command("board erase", "/dev/ttyNone", "--yes")
    assert done.exit_code != 0
    assert "`esptool erase-flash` ended with " in done.stderr


# -- make ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["deploy", "status", "logs", "repl", "reset", "erase"])
def test_make_asks_for_the_port(target: str) -> None:
    done = subprocess.run(["make", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"make {target}: say PORT=, the board's serial device")


def would_run(*arguments: str) -> list[str]:
    """Return the words of the last command that `make` would run."""
    argv = ["make", "-n", "-s", f"PYTHON={sys.executable}", *arguments]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout.rpartition(".venv/bin/")[2].replace("\\\n", " "))


def test_make_hands_on_what_it_was_given_letter_by_letter(tmp_path: Path) -> None:
    odd = f"pa$word\"x'y`touch {tmp_path}/a`$(shell touch {tmp_path}/b)$(touch  z\\"
    given = {"WIFI_PASSWORD": odd, "WIFI_SSID": "", "PORT": odd, "HOST": "$$1"}
    words = would_run("board-test", *(f"{name}={value}" for name, value in given.items()))
    assert words[-4:] == [
        f"--port={odd}",
        "--wifi-ssid=",
        f"--wifi-password={odd}",
        "--host=$$1",
    ]
    assert would_run("csr", "PORT=u0", f"THING={odd}")[-2:] == ["u0", odd]
    assert would_run("deploy", "PORT=u0", f"APP={odd}")[-2:] == ["u0", f"--app={odd}"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["reset", "erase"])
def test_make_takes_no_for_no_and_asks_about_what_is_neither(target: str) -> None:
    for yes, words in {"": [], "0": [], "no": [], "1": ["--yes"], "yes": ["--yes"]}.items():
        assert would_run(target, "PORT=u0", f"YES={yes}")[4:] == words
    argv = ["make", "-n", target, "PORT=u0", "YES=please"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"make {target}: say YES=1, or leave it out" in done.stderr
    assert "--yes" not in done.stdout
