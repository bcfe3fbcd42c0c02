"""What tests of a board's console share: a board that runs, and a wire tap on its console."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from link_fixtures import need

from sim import image
from sim.board import Board

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


def port(board: Board) -> str:
    """Return a board's console as tools take it."""
    return "socket://{}:{}".format(*board.console)


def running_board(folder: Path, files: dict[str, bytes]) -> Board:
    """Start a board with a small image and these files."""
    need("micropython")
    board = Board(folder / "board", interpreter="micropython")
    board.flash_firmware(0, image.firmware(version="1.0.0", size=100_000))
    board.install(files)
    board.start()
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
