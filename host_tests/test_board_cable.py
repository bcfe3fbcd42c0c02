"""A running board over its console: listening, running code, files, resets."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial.serialposix
from board_console import CHATTY, Tap, port, running_board
from serial.tools import list_ports

from board import otadata, running
from board import port as ports
from board.cable import Cable, NoAnswer, NotWritten, Raised
from board.port import PortError, open_quietly
from board.table import Partition
from sim.board import HARD, PWRON, SOFT, Board
from sim.build import default_interpreter


@pytest.fixture(scope="module", autouse=True)
def _needs_micropython() -> None:
    if default_interpreter() != "micropython":
        pytest.skip("no MicroPython can be had here; `make doctor` says why")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with running_board(tmp_path, {"/main.py": CHATTY}) as board:
        board.wait_console("main: line")
        yield board


@pytest.fixture
def cable(board: Board) -> Iterator[Cable]:
    with Cable(port(board)) as cable:
        yield cable


# -- listening ------------------------------------------------------------------------------------


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


def test_a_line_that_has_begun_is_kept_until_it_ends(cable: Cable) -> None:
    cable.execute("import sys, time")
    cable.interrupt()
    cable.stream.write(b"_ = sys.stdout.write('one'); time.sleep(0.5); print(' two')\r")
    cable.wait_for("print(' two')", 5)
    assert cable.read_line(0.2) is None
    assert cable.read_line(5) == "one two"


def test_a_line_that_does_not_come_is_named(cable: Cable) -> None:
    with pytest.raises(NoAnswer, match=r"'never printed' did not come within 0.3 s"):
        cable.wait_for("never printed", 0.3)


# -- running code ---------------------------------------------------------------------------------


def test_code_runs_without_a_reset_and_what_ran_before_is_told(board: Board, cable: Cable) -> None:
    assert cable.interrupt() is True
    assert cable.interrupt() is False
    assert cable.execute("x = 41\nprint('a')\nprint('b')") == "a\nb\n"
    assert cable.evaluate("x + 1") == 42
    assert cable.interrupt() is False  # out of the raw REPL, too
    assert cable.evaluate("x") == 41
    assert board.boots == [(0, PWRON)]


def test_what_the_board_raises_is_raised_with_its_traceback(cable: Cable) -> None:
    with pytest.raises(Raised, match=r"the board raised ZeroDivisionError: divide by zero$") as got:
        cable.execute("def f():\n    1 / 0\nf()")
    assert "in f" in got.value.traceback
    with pytest.raises(NoAnswer, match="'no literal' came instead of an answer"):
        cable.evaluate_output("print('no literal')")
    assert cable.evaluate("1") == 1


def test_a_program_that_takes_its_time_to_stop_is_waited_for(board: Board, cable: Cable) -> None:
    cable.interrupt()
    at = len(board.log_path.read_bytes())
    cable.put(
        "/main.py",
        b"import time\n"
        b"print('stubborn')\n"
        b"try:\n"
        b"    while True: time.sleep(0.05)\n"
        b"except KeyboardInterrupt:\n"
        b"    for _ in range(8): time.sleep(0.05)\n"
        b"    print('bye')\n",
    )
    cable.soft_reset()
    board.wait_console("stubborn", since=at)
    assert cable.interrupt() is True  # it printed no traceback, and ran all the same
    assert cable.evaluate("2") == 2


def test_a_long_silence_is_no_answer_and_the_next_question_is_answered(cable: Cable) -> None:
    with pytest.raises(NoAnswer, match="stopped answering"):
        cable.execute("import time\ntime.sleep(60)", timeout=0.3)
    assert cable.evaluate("3") == 3


def test_soft_reset_starts_main_py_again_and_reset_the_chip(board: Board, cable: Cable) -> None:
    cable.evaluate("1")
    cable.soft_reset()
    assert cable.wait_for("main: up", 10) == "main: up, cause 5"
    cable.reset()
    assert cable.wait_for("main: up", 10) == "main: up, cause 2"
    assert board.boots == [(0, PWRON), (0, SOFT), (0, HARD)]


def test_the_prompt_is_friendly_for_who_comes_next(board: Board) -> None:
    with Cable(port(board)) as cable:
        cable.evaluate("1")
    at = board.log_path.read_bytes().rfind(b"raw REPL")
    board.wait_console(">>> ", since=at)


# -- files ----------------------------------------------------------------------------------------


def test_a_file_is_put_whole_with_the_folders_above_it(board: Board, cable: Cable) -> None:
    data = bytes(range(256)) * 20 + b"end"
    cable.put("/a/b/c.bin", data)
    cable.put("/a/b/c.bin", data[::-1])
    cable.put("/a/empty", b"")
    there = cable.hashes(["/a/b/c.bin", "/a/empty", "/missing"])
    assert there == {
        "/a/b/c.bin": hashlib.sha256(data[::-1]).digest(),
        "/a/empty": hashlib.sha256(b"").digest(),
        "/missing": None,
    }
    assert cable.evaluate("__import__('os').listdir('/a/b')") == ["c.bin"]
    cable.close()
    board.stop()
    assert board.read_file("/a/b/c.bin") == data[::-1]


def test_what_the_board_does_not_hold_as_sent_replaces_nothing(cable: Cable) -> None:
    cable.put("/kept", b"old")
    cable.execute(
        "import builtins\n"
        "class Bad:\n"
        "    def __init__(self, *a): self.file = real(*a)\n"
        "    def write(self, data): return self.file.write(data[:-1])\n"
        "    def close(self): self.file.close()\n"
        "real = open\n"
        "def open(path, mode='r'):\n"
        "    return (Bad if 'w' in mode else real)(path, mode)\n"
    )
    with pytest.raises(NotWritten, match="/kept: the board does not hold what was sent"):
        cable.put("/kept", b"new content")
    cable.execute("open = real")
    assert cable.hashes(["/kept"])["/kept"] == hashlib.sha256(b"old").digest()
    assert cable.evaluate("__import__('os').listdir('/')") == ["kept", "main.py"]


# -- the port -------------------------------------------------------------------------------------


def test_a_silent_port_and_a_lost_one_are_told_apart() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    address = f"socket://127.0.0.1:{server.getsockname()[1]}"
    with Cable(address) as cable:
        other, _ = server.accept()
        with pytest.raises(NoAnswer, match=r"no MicroPython prompt within 0\.5 s of Ctrl-C"):
            cable.interrupt(0.5)
        other.close()
        with pytest.raises(PortError, match="connection lost"):
            cable.read(2)
    server.close()
    with pytest.raises(PortError, match="cannot open socket://"):
        Cable(address)


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


def test_only_a_chips_own_usb_gets_dtr(monkeypatch: pytest.MonkeyPatch) -> None:
    class Info:
        def __init__(self, device: str, vid: int | None, pid: int | None) -> None:
            self.device, self.vid, self.pid = device, vid, pid

    found = [
        Info("adapter", 0x10C4, 0xEA60),
        Info("jtag", 0x303A, 0x1001),
        Info("own", 0x303A, 0x4001),
        Info("plain", None, None),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: found)
    assert [info.device for info in found if ports._is_own_usb(info.device)] == ["own"]


# -- what a board says of itself ------------------------------------------------------------------

SLOTS = (
    Partition("otadata", 1, 0, 0xD000, 0x2000),
    Partition("ota_0", 0, 0x10, 0x10000, 0x1B0000),
    Partition("ota_1", 0, 0x11, 0x1C0000, 0x1B0000),
    Partition("vfs", 1, 0x81, 0x370000, 0x90000),
)
VALID = otadata.Record(1, otadata.VALID)


def about(**changes: Any) -> running.Running:
    usual: dict[str, Any] = {
        "version": (1, 26, 1),
        "table": SLOTS,
        "slot": "ota_0",
        "records": (VALID, None),
        "left_s": None,
        "free": 500_000,
    }
    return running.Running(**{**usual, **changes})


def test_a_board_with_slots_and_a_file_system_is_fit(cable: Cable) -> None:
    found = running.look(cable)
    running.check(found)
    assert (found.slot, found.records, found.pending) == ("ota_0", (VALID, None), False)
    assert found.version >= (1, 22)
    assert found.free and 400_000 < found.free < 0x90000
    assert [row.label for row in found.table if row.is_slot] == ["ota_0", "ota_1"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": (1, 21, 0)}, r"MicroPython 1\.21\.0; the agent needs 1\.22"),
        ({"table": SLOTS[1:]}, "has no otadata: it cannot be updated"),
        ({"table": SLOTS[:2] + SLOTS[3:]}, "has 1 OTA slot of two"),
        ({"table": (SLOTS[0], SLOTS[3])}, "has no OTA slots of two"),
        ({"table": SLOTS[:3], "version": (1, 25, 0)}, r"has no vfs, which MicroPython 1\.25\.0"),
        ({"free": None}, "no file system"),
    ],
)
def test_an_unfit_board_is_told_why(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(running.UnfitError, match=sentence):
        running.check(about(**changes))


def test_since_1_26_a_table_needs_no_vfs() -> None:
    running.check(about(table=SLOTS[:3]))


@pytest.mark.parametrize("state", [otadata.NEW, otadata.PENDING])
def test_an_image_under_test_forbids_changes_and_the_seconds_left_are_told(state: int) -> None:
    board = about(records=(VALID, otadata.Record(2, state)), slot="ota_1", left_s=212)
    with pytest.raises(running.PendingError, match=r"\(ota_1 runs, 212 s left\)"):
        running.check(board)


def test_records_are_read_as_the_bootloader_reads_them(tmp_path: Path) -> None:
    assert otadata.parse(b"\xff" * 32) is None
    with running_board(tmp_path, {"/main.py": CHATTY}) as board:
        board.wait_console("main: up")
        with Cable(port(board)) as cable:
            raw = cable.evaluate_output(
                "from esp32 import Partition\n"
                "b = bytearray(32)\n"
                "Partition.find(Partition.TYPE_DATA, subtype=0)[0].readblocks(0, b)\n"
                "print(bytes(b))"
            )
    assert otadata.parse(raw) == VALID
    assert otadata.parse(b"\x02" + raw[1:]) is None  # torn: the CRC is another sequence's
    aborted = otadata.Record(2, otadata.ABORTED)
    assert otadata.active([VALID, aborted]) == VALID
    newer = otadata.Record(2, otadata.UNDEFINED)
    assert otadata.active([VALID, newer]) == newer
    assert (VALID.slot(2), newer.slot(2)) == (0, 1)
    assert otadata.active([None, aborted]) is None
