"""The shipped main.py on a simulated board: it stays within reach when the link finds no memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from link_fixtures import need

from demo.stack import Stack

# The link of this boot opens so often, and then finds no memory; no pause between two attempts.
APP = b"""
from ota import link, wire
opens = %d
real = link.Link.connect
def connect(self, clean_session=True):
    global opens
    if not opens:
        raise wire.MQTTError("the link cannot be opened: memory is short", 12)
    opens -= 1
    return real(self, clean_session)
link.Link.connect = connect
link.Link.pause_ms = lambda self: 10
"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    need("mosquitto")
    need("micropython")
    with Stack(tmp_path / "stack", interpreter="micropython") as running:
        yield running


def test_a_link_that_worked_and_finds_no_memory_restarts_the_board(stack: Stack) -> None:
    with stack.board(application={"/app.py": APP % 1}) as board:
        board.start()
        since = board.wait_console("State: Ready")
        stack.kill_broker()
        stack.start_broker()
        board.wait_boots(2)
        board.wait_console("State: Ready", since=since)
        said = board.log_path.read_bytes()
        assert said.count(b"memory is short") == 5


def test_a_link_that_never_worked_restarts_nothing(stack: Stack) -> None:
    with stack.board(application={"/app.py": APP % 0}) as board:
        board.start()
        since = 0
        for _ in range(12):
            since = board.wait_console("memory is short", since=since)
        assert len(board.boots) == 1
