"""What a person does at the prompt of a board, on real MicroPython, by keyboard and by mpremote."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_bench import KEY, PRODUCT
from link_fixtures import need

from sim import image
from sim.board import HARD, PWRON, SOFT, Board, application_files
from tools.paths import VENV_BIN
from twinslot.formats.component import firmware_content
from twinslot.formats.head import read_head
from twinslot.formats.trailer import write_trailer
from twinslot.trust import keys, signing

NEW, PENDING, VALID, INVALID, ABORTED = range(5)
DEADLINE_S = 12

# An application that leaves the decision to the person at the prompt, and needs no network.
MAIN = b"""
import time
import ota
from ota.agent import Agent

class Client:
    def publish(self, topic, msg, qos=0):
        pass

    def subscribe(self, topic, qos=0):
        pass

def on_event(event, detail):
    print("event:", event, detail)

agent = Agent(Client(), "board-1", on_event, settings=ota.load_settings())
agent.start()
print("main: runs", agent.running[0])
while True:
    agent.step()
    time.sleep_ms(20)
"""


def flash(board: Board, slot: int, version: str, sequence: int) -> None:
    firmware = image.firmware(version=version, size=100_000)
    packed = signing.build(
        [firmware_content(firmware)], KEY, PRODUCT, version, sequence, 1_790_000_000
    )
    trailer = write_trailer([read_head(packed).record])
    board.flash_firmware(slot, firmware, trailer)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    need("micropython")
    return application_files(compiled=True)


@pytest.fixture
def board(tmp_path: Path, files: dict[str, bytes]) -> Iterator[Board]:
    """A board that runs 1.1.0 from ota_0, with 1.0.0 in ota_1, twelve seconds for a test."""
    settings = {"product": PRODUCT, "thing": "board-1", "self_test_s": DEADLINE_S}
    with Board(tmp_path / "board", interpreter="micropython") as board:
        flash(board, 0, "1.1.0", 2)
        flash(board, 1, "1.0.0", 1)
        board.install(
            {
                **files,
                "/main.py": MAIN,
                "/etc/settings.json": json.dumps(settings).encode(),
                "/etc/trusted_keys.pem": keys.public_pem(KEY.public_key()),
            }
        )
        board.start()
        board.wait_console("main: runs 1.1.0")
        yield board


class Person:
    """Somebody at the friendly prompt."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.socket = socket.create_connection(board.console, timeout=20)
        self.at = 0

    def type(self, text: str) -> None:
        self.socket.sendall(text.encode())

    def stop_main(self) -> None:
        """Ctrl-C, until the prompt."""
        self.at = len(self.board.log_path.read_bytes())
        self.type("\x03")
        self.wait(">>> ", self.wait("KeyboardInterrupt"))

    def wait(self, text: str, since: int | None = None) -> int:
        """Wait for `text` on the console; returns the position after it."""
        return self.board.wait_console(text, since=self.at if since is None else since)

    def run(self, call: str) -> str:
        """Type one statement. Returns what it prints."""
        start = self.wait_for_echo(call)
        end = self.wait(">>> ", start)
        return self.board.log_path.read_bytes()[start:end].decode().removesuffix(">>> ")

    def wait_for_echo(self, call: str) -> int:
        self.at = len(self.board.log_path.read_bytes())
        self.type(call + "\r")
        return self.wait(call + "\n")


def mpremote(board: Board, *arguments: str) -> str:
    port = "socket://{}:{}".format(*board.console)
    done = subprocess.run(
        [VENV_BIN / "mpremote", "connect", port, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fall_back(board: Board) -> Person:
    """Roll back at the prompt. Returns the person, who sees 1.0.0 ask for the decision."""
    person = Person(board)
    person.stop_main()
    at = person.wait_for_echo("ota.rollback()")
    at = person.wait("Type yes to boot ota_1: ", at)
    person.type("yes\r")
    person.at = person.wait("event: StartTest 1.0.0", at)
    assert board.otadata() == [(1, VALID), (2, PENDING)]
    return person


def test_a_rollback_asked_for_at_the_prompt_is_accepted_there(board: Board) -> None:
    person = fall_back(board)
    person.stop_main()
    said = person.run("ota.accept()")
    assert said == "Accepted: version 1.0.0 stays.\n"
    assert board.otadata() == [(1, VALID), (2, VALID)]
    history = person.run("ota.history()")
    assert history == (
        "SUCCEEDED  by a person  sequence 1\n          rolled back by a person from version 1.1.0\n"
    )
    assert "Floor     sequence 2 and lower are refused" in person.run("ota.status()")
    assert board.boots == [(0, PWRON), (1, HARD)]


def test_both_slots_are_verified_at_the_prompt(board: Board) -> None:
    person = Person(board)
    person.stop_main()
    assert person.run("ota.verify()") == (
        "ota_0  .......... matches version 1.1.0\nota_1  .......... matches version 1.0.0\n"
    )
    assert person.run("ota.history()") == "No update has ended on this board yet.\n"
    assert person.run("ota.accept()") == "There is no image under test to accept.\n"


def test_a_stopped_main_py_starts_again_by_ctrl_d_or_by_import(board: Board) -> None:
    person = Person(board)
    person.stop_main()
    at = person.wait_for_echo("import main")
    person.wait("main: runs 1.1.0", at)
    person.stop_main()
    at = person.wait_for_echo("import main")
    person.wait("main: runs 1.1.0", at)
    person.stop_main()
    person.type("\x04")
    person.wait("main: runs 1.1.0")
    assert board.boots == [(0, PWRON), (0, SOFT)]


@pytest.mark.slow
def test_nothing_at_the_prompt_prolongs_a_test_or_ends_it(board: Board) -> None:
    person = fall_back(board)
    began = time.monotonic()
    person.stop_main()
    left = [seconds(person.run("ota.status()"))]
    at = len(board.log_path.read_bytes())
    person.type("\x04")
    at = board.wait_console("boot: image under test, ", since=at)
    board.wait_console("event: StartTest 1.0.0", since=at)  # main.py runs, and asks again
    left.append(seconds(mpremote(board, "resume", "exec", "import ota; ota.history()")))
    commands = "import ota; ota.verify(); ota.check_for_update(); ota.rollback(True)"
    said = mpremote(board, "exec", commands)  # with mpremote's own soft reset: main.py stays away
    assert "No agent is alive" in said
    assert "No rollback: ota_1 is under test" in said
    left.append(seconds(said))
    assert DEADLINE_S > left[0] >= left[1] >= left[2] >= 0
    assert board.otadata() == [(1, VALID), (2, PENDING)]
    assert board.boots == [(0, PWRON), (1, HARD), (1, SOFT), (1, SOFT)]
    board.wait_console("boot: the deadline has passed, rolling back", since=at)
    # The simulated watchdog is a sixteenth late; it would be later if a soft reset had fed it.
    assert time.monotonic() - began < DEADLINE_S * 17 / 16 + 0.5
    assert board.wait_boots(5) == (0, HARD)
    board.wait_console("main: runs 1.1.0", since=at)
    history = mpremote(board, "resume", "exec", "import ota; ota.history()")
    assert history.split() == (
        "FAILED by a person sequence 1 stopped "
        "main.py was stopped at the REPL, and did not go on within the deadline".split()
    )
    assert board.otadata() == [(1, VALID), (2, ABORTED)]


@pytest.mark.slow
def test_an_application_restarted_by_ctrl_d_is_still_asked_for_its_answer(board: Board) -> None:
    person = fall_back(board)
    person.type("\x03")
    person.wait("KeyboardInterrupt")
    person.type("\x04")
    person.wait("boot: image under test, ")
    assert board.wait_boots(4) == (0, HARD)
    person.stop_main()
    assert "no_answer" in person.run("ota.history()")


def seconds(said: str) -> int:
    """Return the seconds left that a function names."""
    found = re.search(r"accepted within (\d+) s", said)
    assert found, said
    return int(found[1])
