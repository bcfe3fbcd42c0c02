"""How a port is opened and what is typed on it: nothing that a board behind it would notice."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial.serialposix
from board_console import CHATTY, Tap, port, running_board
from connected_board import command
from serial.tools import list_ports

from sim.board import PWRON, Board
from twinslot.board import port as ports
from twinslot.board.cable import Cable, NoAnswer
from twinslot.board.port import PortError, open_quietly


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with running_board(tmp_path, {"/main.py": CHATTY}) as board:
        board.wait_console("main: line")
        yield board


def test_listening_types_nothing(board: Board) -> None:
    tap = Tap(board)
    with Cable(tap.port) as cable:
        lines = [cable.read_line(5) for _ in range(4)]
        assert cable.wait_for("main: line", 5)
        assert cable.read(5)
    tap.close()
    assert tap.typed == b""
    assert all(line and line.startswith("main: line ") for line in lines[1:])
    assert board.boots == [(0, PWRON)]
    log = board.log_path.read_bytes()
    assert b"typed:" not in log and b"KeyboardInterrupt" not in log


def test_the_same_tap_shows_what_running_code_types(board: Board) -> None:
    tap = Tap(board)
    with Cable(tap.port) as cable:
        assert cable.evaluate("6 * 7") == 42
    tap.close()
    assert tap.typed.startswith(b"\x03\x02\x01")
    assert b"KeyboardInterrupt" in board.log_path.read_bytes()


@pytest.mark.slow
def test_a_program_that_takes_its_time_to_stop_is_waited_for(tmp_path: Path) -> None:
    stubborn = (
        b"import time\n"
        b"try:\n"
        b"    while True: print('working'), time.sleep(0.05)\n"
        b"except KeyboardInterrupt:\n"
        b"    for _ in range(8): time.sleep(0.05)\n"
        b"    print('bye')\n"
    )
    with running_board(tmp_path, {"/main.py": stubborn}) as board:
        board.wait_console("working")
        with Cable(port(board)) as cable:
            assert cable.interrupt() is True  # it printed no traceback, and ran all the same
            assert cable.evaluate("2") == 2
            assert cable.interrupt() is False


def test_after_a_long_silence_the_next_question_is_answered(board: Board) -> None:
    with Cable(port(board)) as cable:
        with pytest.raises(NoAnswer, match="stopped answering"):
            cable.execute("import time\ntime.sleep(60)", timeout=0.3)
        assert cable.evaluate("3") == 3


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.EACCES, "usermod -aG dialout"),
        (errno.EBUSY, "is in use; close the other program"),
        (errno.ENOENT, "does not exist. Serial ports here: "),
    ],
)
def test_what_keeps_a_port_closed_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, code: int, sentence: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(serial.serialposix.os, "open", refuse)
    with pytest.raises(PortError, match=sentence):
        open_quietly("/dev/ttyUSB9")


def test_opening_switches_rts_off_before_dtr() -> None:
    """RTS on with DTR off is what holds a development board in reset."""
    done: list[tuple[str, bool]] = []
    master, slave = os.openpty()
    real = serial.serialposix.fcntl.ioctl
    names = {serial.serialposix.TIOCM_RTS_str: "RTS", serial.serialposix.TIOCM_DTR_str: "DTR"}

    def ioctl(descriptor: int, request: int, argument: Any = 0, *rest: Any) -> Any:
        if argument in names and request in (
            serial.serialposix.TIOCMBIC,
            serial.serialposix.TIOCMBIS,
        ):
            done.append((names[argument], request == serial.serialposix.TIOCMBIS))
            return 0
        return real(descriptor, request, argument, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serial.serialposix.fcntl, "ioctl", ioctl)
        opened = open_quietly(os.ttyname(slave))
    opened.close()
    os.close(master)
    os.close(slave)
    assert done == [("RTS", False), ("DTR", False)]


def test_a_pseudo_terminal_without_modem_lines_serves(board: Board) -> None:
    master, slave = os.openpty()
    console = socket.create_connection(board.console)

    def carry(read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
        try:
            while data := read():
                write(data)
        except OSError:
            pass  # one end was closed

    for arguments in (
        (lambda: os.read(master, 4096), console.sendall),
        (lambda: console.recv(4096), lambda data: os.write(master, data)),
    ):
        threading.Thread(target=carry, args=arguments, daemon=True).start()
    with Cable(os.ttyname(slave)) as cable:
        assert cable.evaluate("6 * 7") == 42
    console.shutdown(socket.SHUT_RDWR)
    os.close(slave)


class Info:
    """A serial port as pyserial lists it."""

    def __init__(self, device: str, vid: int | None, pid: int | None, serial: str = "") -> None:
        self.device, self.vid, self.pid, self.serial_number = device, vid, pid, serial


def test_only_a_chips_own_usb_gets_dtr(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        Info("adapter", 0x10C4, 0xEA60),
        Info("jtag", 0x303A, 0x1001),
        Info("own", 0x303A, 0x4001),
        Info("plain", None, None),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: found)
    assert [info.device for info in found if ports._is_own_usb(info.device)] == ["own"]


def test_mpremotes_short_names_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Info("/dev/ttyS0", None, None), Info("/dev/ttyUSB7", 0x10C4, 0xEA60, "A1")]
    monkeypatch.setattr(list_ports, "comports", lambda: found)
    assert ports.resolve("u0") == "/dev/ttyUSB0"
    assert ports.resolve("a12") == "/dev/ttyACM12"
    assert ports.resolve("c3") == "COM3"
    assert ports.resolve("auto") == ports.resolve("id:A1") == "/dev/ttyUSB7"
    for whole in ("/dev/ttyUSB0", "COM3", "socket://a0:1", "rfc2217://u0:1", "u0x"):
        assert ports.resolve(whole) == whole
    with pytest.raises(PortError, match=r"id:A2 must .* no such port. Serial ports here: /dev/tty"):
        open_quietly("id:A2")


def test_of_several_boards_none_is_taken_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Info("/dev/ttyUSB1", 0x10C4, 0xEA60), Info("/dev/ttyUSB0", 0x10C4, 0xEA60)]
    monkeypatch.setattr(list_ports, "comports", lambda: found)
    sentence = "auto must stand for one USB serial port, and there is /dev/ttyUSB0, /dev/ttyUSB1"
    for name in ("board status", "board erase"):
        done = command(name, "auto")
        assert done.exit_code == 1
        assert sentence in done.stderr
