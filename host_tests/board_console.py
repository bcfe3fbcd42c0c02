"""What tests of a board's console share: a board that runs, and a wire tap on its console."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from sim import image
from sim.board import Board, default_interpreter

NEW, PENDING, VALID, INVALID, ABORTED = range(5)

# Prints a line every 50 ms, and what is typed on the console.
CHATTY = b"""
import machine, sys, time, select
poll = select.poll()
poll.register(sys.stdin, select.POLLIN)
print("main: up, cause", machine.reset_cause())
n = 0
while True:
    if poll.poll(50):
        print("typed:", sys.stdin.read(1))
    n += 1
    print("main: line", n)
"""

# The first start activates the other slot; the image there then waits to be judged.
PENDING_MAIN = b"""
import machine, sys, time
from esp32 import Partition
print("main: up, cause", machine.reset_cause())
here = Partition(Partition.RUNNING)
if here.info()[4] == "ota_0" and machine.reset_cause() == machine.PWRON_RESET:
    here.get_next_update().set_boot()
    machine.reset()
while True:
    print("main: runs", here.info()[4])
    time.sleep(0.05)
"""


def port(board: Board) -> str:
    """Return a board's console as tools take it."""
    return "socket://{}:{}".format(*board.console)


def running_board(folder: Path, files: dict[str, bytes], *, slots: int = 1) -> Board:
    """Start a board with small images in its slots and these files."""
    if default_interpreter() != "micropython":
        pytest.skip("no MicroPython can be had here; `make doctor` says why")
    board = Board(folder / "board", interpreter="micropython")
    for slot in range(slots):
        board.flash_firmware(slot, image.firmware(version=f"1.{slot}.0", size=100_000))
    board.install(files)
    board.start()
    return board


def board_under_test(folder: Path, files: dict[str, bytes], *, deadline_s: int) -> Board:
    """Start a board whose ota_1 is under test by the project's boot.py; ota_0 is valid."""
    settings = json.dumps({"self_test_s": deadline_s}).encode()
    found = {**files, "/main.py": PENDING_MAIN, "/etc/settings.json": settings}
    board = running_board(folder, found, slots=2)
    board.wait_console("main: runs ota_1")
    assert board.otadata() == [(1, VALID), (2, PENDING)]
    return board


class Tap:
    """A relay in front of a console. `typed`: every byte that went to the board."""

    def __init__(self, board: Board) -> None:
        self.typed = b""
        self._board = board.console
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        client, _ = self._server.accept()
        board = socket.create_connection(self._board)
        threading.Thread(target=self._answers, args=(board, client), daemon=True).start()
        with client, board:
            while data := client.recv(4096):
                self.typed += data
                board.sendall(data)
            board.shutdown(socket.SHUT_RDWR)

    def _answers(self, board: socket.socket, client: socket.socket) -> None:
        try:
            while data := board.recv(4096):
                client.sendall(data)
        except OSError:
            pass  # one of them hung up
