"""What tests of a connected board share: a simulated one, a silent one, the command line."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from agent_bench import KEY, PRODUCT
from board_flashing import APPLICATION
from click.testing import CliRunner, Result
from link_fixtures import need
from test_looking_inside import DEADLINE_S, MAIN, fall_back, flash

from sim.board import Board
from twinslot.cli.main import main
from twinslot.trust import keys

SETTINGS = {
    "settings.json": json.dumps(
        {"product": PRODUCT, "thing": "board-1", "self_test_s": DEADLINE_S}
    ).encode(),
    "trusted_keys.pem": keys.public_pem(KEY.public_key()),
}
# Boots the other slot, as an update does at its end.
ACTIVATE = """
from esp32 import Partition
Partition(Partition.RUNNING).get_next_update().set_boot()
"""


@contextmanager
def running_board(folder: Path, files: dict[str, bytes] | None = None) -> Iterator[Board]:
    """A board that runs MAIN, version 1.1.0 in ota_0, with 1.0.0 in ota_1; files are added."""
    need("micropython")
    with Board(folder, interpreter="micropython") as board:
        flash(board, 0, "1.1.0", 2)
        flash(board, 1, "1.0.0", 1)
        etc = {f"/etc/{name}": data for name, data in SETTINGS.items()}
        board.install({**APPLICATION, "/main.py": MAIN, **etc, **(files or {})})
        board.start()
        board.wait_console("main: runs 1.1.0")
        yield board


def port(board: Board) -> str:
    """Return the simulated board's PORT."""
    return "socket://{}:{}".format(*board.console)


def command(name: str, *arguments: object, typed: str = "") -> Result:
    """Run `fleet NAME ...`, several words in a name; its exit code, stdout and stderr."""
    words = [*name.split(), *map(str, arguments)]
    return CliRunner().invoke(main, words, input=typed, catch_exceptions=False)


def begin_test(board: Board) -> int:
    """Let the board test 1.0.0. Returns the log's position once its application is asked."""
    person = fall_back(board)
    person.socket.close()
    return person.at


class Listener:
    """Stands for a board that prints what it is told to, and never answers.

    `typed`: all that was sent to it so far.
    """

    def __init__(self) -> None:
        self.typed = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(20)
        self.port = "socket://{}:{}".format(*self._server.getsockname())
        self._connection: socket.socket | None = None

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()
        self._server.close()

    def say(self, text: bytes) -> None:
        """Print, to whoever is connected, or connects next."""
        if self._connection is None:
            self._connection, _ = self._server.accept()
            self._connection.settimeout(20)
        self._connection.sendall(text)

    def drop(self) -> None:
        """Take the port away, as a chip's own USB does at a reset."""
        if self._connection is not None:
            self._connection.shutdown(socket.SHUT_WR)
            while data := self._connection.recv(100):
                self.typed += data
            self._connection.close()
            self._connection = None


class Prompt:
    """Stands for a board of another MicroPython: it answers keys by what a real one was seen to.

    answers: by key; all others are without one.
    """

    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self._answers = answers
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = "socket://{}:{}".format(*self._server.getsockname())
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Prompt:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._thread.join(20)

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, suppress(OSError):  # it hung up
            while key := connection.recv(1):
                connection.sendall(self._answers.get(key, b""))
