"""rfc2217://: a board at another machine's serial port is asked as one at our own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_console import CHATTY, running_board
from board_flashing import APPLICATION
from connected_board import Listener, command
from esp_rfc2217_server.esp_port_manager import EspPortManager
from remote_port import Manager, RemotePort
from serial.rfc2217 import PortManager

from sim.board import HARD, PWRON, SOFT, Board
from twinslot.board import files
from twinslot.board.cable import Cable
from twinslot.board.port import PortError


def espressifs(wire: Any, connection: Any) -> Any:
    """What esp_rfc2217_server runs, which takes RTS and DTR for wishes."""
    return EspPortManager(wire, connection, False)


@pytest.fixture(params=[PortManager, espressifs], ids=["plain", "espressif"])
def manager(request: pytest.FixtureRequest) -> Manager:
    found: Manager = request.param
    return found


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("remote")
    with running_board(folder, {**APPLICATION, "/main.py": CHATTY}) as board:
        board.wait_console("main: line")
        yield board


@pytest.fixture
def remote(board: Board, manager: Manager) -> Iterator[RemotePort]:
    with RemotePort(board.console, manager) as remote:
        yield remote


def test_a_remote_board_is_listened_to_without_a_word_about_dtr_and_rts(
    board: Board, remote: RemotePort
) -> None:
    boots = len(board.boots)
    with Cable(remote.port) as cable:
        assert cable.wait_for("main: line", 10)
        assert cable.read_line(10)
    assert remote.lines == []
    assert len(board.boots) == boots


def test_a_remote_boards_status_is_shown(board: Board, remote: RemotePort) -> None:
    at = board.wait_console("main: line")
    done = command("board status", remote.port)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Runs      ota_0  valid")
    board.wait_console("main: up, cause 5", since=at)
    assert remote.lines == []


def test_a_remote_board_gets_what_changed_and_bytes_of_255_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "application", lambda **_: dict(APPLICATION))
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.py").write_bytes(CHATTY)
    # 255 begins a command of Telnet's.
    (app / "data.bin").write_bytes(bytes(range(256)) * 8 + b"\xff" * 100)
    board = running_board(tmp_path, {**APPLICATION, "/main.py": b"print('older')"})
    with board, RemotePort(board.console, espressifs) as remote:
        board.wait_console(">>> ")
        done = command("deploy", remote.port, "--app", app)
        assert done.exit_code == 0, done.stderr
        assert "2 files written" in done.stdout
        board.wait_console("main: up, cause 2")
        with Cable(remote.port) as cable:
            assert cable.execute("import sys\nsys.stdout.write('\\xff')") == "\xff"
        assert remote.lines == []
        assert board.boots[:2] == [(0, PWRON), (0, HARD)]
        assert all(boot == (0, SOFT) for boot in board.boots[2:])


def read_all(cable: Cable) -> None:
    while cable.read(30):
        pass


def test_a_remote_connection_that_is_lost_is_a_lost_port(board: Board, remote: RemotePort) -> None:
    with Cable(remote.port) as cable:
        assert cable.read_line(10)
        remote.hang_up()
        lost = r"rfc2217://.*: connection lost: (the server hung up|connection failed)"
        with pytest.raises(PortError, match=lost):
            read_all(cable)
        while cable.stream._read_buffer.qsize():
            cable.stream._read_buffer.get()
        with pytest.raises(PortError, match="the server hung up"):
            cable.read(1)  # and nothing is not taken for silence


@pytest.mark.slow
def test_what_is_no_rfc2217_server_is_said() -> None:
    with Listener() as board:
        port = board.port.replace("socket:", "rfc2217:")
        threading.Thread(target=board.say, args=(b"hello",), daemon=True).start()
        with pytest.raises(PortError, match=r"no RFC 2217 server answers there; is it socket://\?"):
            Cable(port)
    with pytest.raises(PortError, match=r"cannot open rfc2217://.*refused"):
        Cable(port)
