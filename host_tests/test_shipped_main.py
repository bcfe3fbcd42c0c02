"""The shipped main.py on a simulated board: it stays within reach when the link finds no memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from link_fixtures import need

from demo.children import wait_for
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


@pytest.mark.slow
def test_a_setting_that_a_new_version_misses_ends_its_trial_at_once_and_is_told(
    tmp_path: Path,
) -> None:
    """It is an error that main.py itself tells and ends with; nobody waits for the deadline."""
    need("mosquitto")
    need("micropython")
    app = b"import ota\nfrom ota.settings import require\nrequire(ota.load_settings(), 'pump')\n"
    with (
        Stack(tmp_path / "stack", interpreter="micropython", self_test_s=600) as stack,
        stack.board() as board,
    ):
        board.start()
        board.wait_console("State: Ready")
        job = stack.publish(stack.pack("2.0.0", 2, application={"app.py": app.decode()}))
        wait_for(lambda: stack.finished(job), "the end of the job", timeout=100)
        execution = stack.execution(job)
        assert execution["status"] == "FAILED"
        assert execution["statusDetails"]["cause"] == "crash"
        assert execution["statusDetails"]["detail"].startswith("SettingsError: ")
        assert "pump" in execution["statusDetails"]["detail"]
        assert board.boots[-1][0] == 0, "the old version runs"
