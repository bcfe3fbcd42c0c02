"""`make deploy` and `status`, `logs` and a session at `repl`, as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from board_console import Tap, port, running_board
from board_flashing import APPLICATION
from test_board_commands import module, read_until, started

from sim.board import HARD, PWRON, SOFT, Board
from tools.paths import ROOT
from twinslot.trust import keys

MAIN = b"""
import machine, time
print("main: up, cause", machine.reset_cause())
while True:
    print("main: line")
    time.sleep(0.05)
"""


def make(target: str, board: Board, *arguments: str) -> str:
    """Run `make TARGET PORT=...`; returns what it prints."""
    done = subprocess.run(
        ["make", "--no-print-directory", target, f"PORT={port(board)}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_board_is_deployed_to_and_looked_at_with_make(tmp_path: Path) -> None:
    app, settings = tmp_path / "app", tmp_path / "board-1"
    for folder in (app, settings):
        folder.mkdir()
    (app / "main.py").write_bytes(MAIN)
    (settings / "settings.json").write_text(json.dumps({"thing": "board-1", "product": "demo"}))
    public = keys.public_pem(keys.generate().public_key())
    (settings / "trusted_keys.pem").write_bytes(public)
    with running_board(tmp_path, {**APPLICATION, "/main.py": b"print('an older one')"}) as board:
        board.wait_console(">>> ")
        where = (f"APP={app}", f"SETTINGS={settings}")
        first = make("deploy", board, *where)
        assert f"  changed  /main.py  {len(MAIN)} bytes\n" in first
        assert "  new      /etc/settings.json  " in first
        assert "\n3 files written " in first
        assert first.endswith("The board restarts.\n")
        at = board.wait_console("main: up, cause 2")
        assert make("deploy", board, *where).startswith("0 files written ")
        at = board.wait_console("main: up, cause 5", since=at)
        said = make("status", board)
        assert said.startswith("Runs      ota_0  valid  no package, version 0.0.0\n")
        assert "started again by a soft reset" in said
        board.wait_console("main: up, cause 5", since=at)
        assert board.boots == [(0, PWRON), (0, HARD), (0, SOFT), (0, SOFT)]


def test_logs_types_nothing_on_a_board_that_resets(tmp_path: Path) -> None:
    with running_board(tmp_path, {"/main.py": MAIN}) as board:
        board.wait_console("main: line")
        tap = Tap(board)
        with started(module("logs", tap.port), stdout=subprocess.PIPE, text=True) as logs:
            assert logs.stdout
            while logs.stdout.readline() != "main: line\n":
                pass
            board.reset()
            while logs.stdout.readline() != "main: up, cause 2\n":
                pass
            logs.send_signal(2)
            assert logs.wait(20) == 0
        tap.close()
        assert tap.typed == b""
        assert board.boots == [(0, PWRON), (0, HARD)]


def test_a_session_at_the_repl_sees_the_status_and_starts_main_py_again(tmp_path: Path) -> None:
    with running_board(tmp_path, {**APPLICATION, "/main.py": MAIN}) as board:
        board.wait_console("main: line")
        ours, theirs = os.openpty()
        with started(module("repl", port(board)), stdin=theirs, stdout=theirs) as it:
            os.close(theirs)
            read_until(ours, b"main: line")
            os.write(ours, b"\x03")
            read_until(ours, b">>> ")
            os.write(ours, b"import ota; ota.status(); print('said')\r")
            assert b"Runs      ota_0  valid" in read_until(ours, b"\nsaid\n")
            os.write(ours, b"\x04")
            read_until(ours, b"main: up, cause 5")
            os.write(ours, b"\x1d")
            assert it.wait(20) == 0
        os.close(ours)
        assert board.boots == [(0, PWRON), (0, SOFT)]
