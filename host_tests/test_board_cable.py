"""What a cable to a running board promises, on real MicroPython behind a socket."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from connected_board import Listener, Prompt, port, running_board

from sim.board import HARD, PWRON, SOFT, Board
from twinslot.board.cable import TEMPORARY, Cable, NoAnswer, NotWritten, Raised
from twinslot.board.files import compile_module
from twinslot.board.port import PortError

OLD, NEW = b"old" * 100, bytes(range(256)) * 40


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with running_board(tmp_path_factory.mktemp("cable") / "board") as board:
        yield board


@pytest.fixture
def cable(shared: Board) -> Iterator[Cable]:
    with Cable(port(shared)) as cable:
        yield cable


# -- listening -------------------------------------------------------------------------------------


def test_opening_listening_and_closing_type_nothing() -> None:
    with Listener() as board:
        with Cable(board.port) as cable:
            board.say(b"one\r\ntwo\r\nthr")
            assert cable.wait_for("tw", 5) == "two"
            assert cable.read_line(0.05) is None
            board.say(b"ee\r\n")
            assert cable.read_line(5) == "three"
            with pytest.raises(NoAnswer, match=r"'four' did not come within 0.05 s"):
                cable.wait_for("four", 0.05)
        board.drop()
    assert board.typed == b""


def test_a_port_that_cannot_be_opened_is_named() -> None:
    with pytest.raises(PortError, match=r"/dev/ttyNone does not exist. Serial ports here:"):
        Cable("/dev/ttyNone")
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    with pytest.raises(PortError, match=f"cannot open socket://127.0.0.1:{closed}"):
        Cable(f"socket://127.0.0.1:{closed}")


def test_a_silent_board_is_given_up_with_advice() -> None:
    advice = r"no MicroPython prompt within 0.3 s of Ctrl-C"
    with Listener() as board, Cable(board.port) as cable, pytest.raises(NoAnswer, match=advice):
        cable.interrupt(timeout=0.3)


# -- running code ----------------------------------------------------------------------------------


def test_an_interrupted_program_is_known_and_started_again(shared: Board, cable: Cable) -> None:
    before = len(shared.boots)
    cable.soft_reset()
    cable.wait_for("main: runs 1.1.0", 10)
    assert cable.interrupt()
    assert not cable.interrupt()  # nothing runs any more
    cable.soft_reset()
    cable.wait_for("main: runs 1.1.0", 10)
    assert shared.boots[before:] == [(0, SOFT), (0, SOFT)]


def test_what_goes_wrong_during_a_pause_is_told_before_a_board_that_does_not_start_again(
    cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NoAnswer("no soft reset")

    cable.soft_reset()
    cable.wait_for("main: runs 1.1.0", 10)
    monkeypatch.setattr(cable, "soft_reset", fail)
    with pytest.raises(Raised, match="ValueError: the first"), cable.paused():
        cable.execute("raise ValueError('the first')")
    monkeypatch.undo()
    cable.soft_reset()
    cable.wait_for("main: runs 1.1.0", 10)
    monkeypatch.setattr(cable, "soft_reset", fail)
    with pytest.raises(NoAnswer, match="no soft reset"), cable.paused() as pause:
        assert pause.starts_again


@pytest.mark.parametrize("takes_s", [0, 0.3])
def test_a_program_that_ends_without_a_word_is_known_to_have_run(
    tmp_path: Path, takes_s: float
) -> None:
    quiet = (
        "import time\nprint('main: up')\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n"
        f"    time.sleep({takes_s})\n"
    )
    with running_board(tmp_path / "board") as board, Cable(port(board)) as cable:
        cable.put("/main.py", quiet.encode())
        cable.soft_reset()
        cable.wait_for("main: up", 10)
        assert cable.interrupt()
        assert not cable.interrupt()
        assert cable.evaluate("6 * 7") == 42


BANNER = b'MicroPython v1.26.1; ESP32\r\nType "help()" for more information.\r\n>>> '


@pytest.mark.parametrize(
    ("ctrl_c", "ctrl_b", "ran"),
    [
        (b"\r\n>>> ", b"\r\n" + BANNER, False),
        (b"", b"\r\n" + BANNER, True),  # a raw prompt does not answer Ctrl-C
        (b"Traceback\r\nKeyboardInterrupt: \r\n" + BANNER, b"\r\n" + BANNER, True),
        (BANNER, b"\r\n" + BANNER, True),
        (b"", BANNER, True),  # it took Ctrl-B for its own, and then ended
        (b"", b"\r\n" + BANNER + b"\r\n" + BANNER, True),  # it ended after Ctrl-B had come
    ],
)
def test_a_program_has_run_if_more_comes_than_the_prompts_answer(
    ctrl_c: bytes, ctrl_b: bytes, ran: bool
) -> None:
    with Prompt({b"\x03": ctrl_c, b"\x02": ctrl_b}) as board, Cable(board.port) as cable:
        assert cable.interrupt() is ran


def test_a_module_is_on_the_board_for_a_while(shared: Board, cable: Cable, tmp_path: Path) -> None:
    source = tmp_path / "guest.py"
    for number in (1, 2):
        source.write_text(f"NUMBER = {number}\n")
        compiled = compile_module(source)
        with cable.module("guest", compiled):
            assert cable.hashes(["/guest.mpy"]) == {"/guest.mpy": hashlib.sha256(compiled).digest()}
            assert cable.evaluate("guest.NUMBER") == number
        assert cable.hashes(["/guest.mpy"]) == {"/guest.mpy": None}
    source.write_text("raise ValueError('no')\n")
    with pytest.raises(Raised, match="no"), cable.module("guest", compile_module(source)):
        pass
    assert cable.evaluate("__import__('os').listdir('/').count('guest.mpy')") == 0
    assert cable.evaluate("__import__('sys').path[0]") != "/"


def test_reset_restarts_the_chip_and_what_it_prints_is_read(shared: Board, cable: Cable) -> None:
    before = len(shared.boots)
    cable.reset()
    cable.wait_for("main: runs 1.1.0", 10)
    assert shared.boots[before:] == [(0, HARD)]


def test_what_the_board_raises_is_raised_with_its_traceback(cable: Cable) -> None:
    with pytest.raises(Raised, match="the board raised ValueError: no") as raised:
        cable.execute("def f():\n    raise ValueError('no')\nf()")
    assert "line 2, in f" in raised.value.traceback
    assert cable.execute("print(6 * 7)") == "42\n"


def test_values_are_literals(cable: Cable) -> None:
    assert cable.evaluate("{'a': [1, b'\\xff'], 'b': None}") == {"a": [1, b"\xff"], "b": None}
    with pytest.raises(NoAnswer, match="came instead of an answer"):
        cable.evaluate("object()")


def test_who_comes_after_code_was_run_finds_the_friendly_prompt(shared: Board) -> None:
    with Cable(port(shared)) as cable:
        cable.execute("x = 1")
    with Cable(port(shared)) as cable:
        assert not cable.interrupt()
        cable.stream.write(b"print(x + 1)\r")
        assert cable.wait_for("2", 5) == "2"


# -- files -----------------------------------------------------------------------------------------


def test_files_and_the_folders_above_them_arrive_whole(shared: Board, cable: Cable) -> None:
    files = {"/deep/er/a.bin": NEW, "/deep/b.bin": b"", "/c.bin": b"x"}
    for path, data in files.items():
        cable.put(path, data)
    there = cable.hashes([*files, "/none"])
    assert there == {**{p: hashlib.sha256(d).digest() for p, d in files.items()}, "/none": None}


@pytest.mark.parametrize(
    ("step", "number"),
    [pytest.param("_file.write", 4, marks=pytest.mark.slow), ("os.rename", 1)],
    ids=["in the middle", "at the end"],
)
def test_a_file_is_either_the_old_one_or_all_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    with running_board(tmp_path / "board", {"/x.bin": OLD}) as board:
        with Cable(port(board)) as cable:
            seen = 0

            def execute(code: str, timeout: float = 10) -> str:
                nonlocal seen
                seen += step in code
                if seen == number:
                    board.stop()
                return Cable.execute(cable, code, timeout)

            monkeypatch.setattr(cable, "execute", execute)
            with pytest.raises((PortError, NoAnswer)):
                cable.put("/x.bin", NEW)
            with pytest.raises(PortError, match="connection lost"):
                cable.interrupt(timeout=1)
        assert board.read_file("/x.bin") == OLD
        board.start()
        with Cable(port(board)) as cable:
            cable.put("/x.bin", NEW)
        board.stop()
        assert board.read_file("/x.bin") == NEW
        assert "x.bin" + TEMPORARY not in board.list_files("/")


def test_what_reads_back_otherwise_replaces_nothing(
    cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    cable.put("/y.bin", OLD)
    send = cable._send
    monkeypatch.setattr(cable, "_send", lambda path, data: send(path, data[:-1]))
    with pytest.raises(NotWritten, match=r"/y.bin: the board holds other bytes than were sent"):
        cable.put("/y.bin", NEW)
    there = cable.hashes(["/y.bin", "/y.bin" + TEMPORARY])
    assert there == {"/y.bin": hashlib.sha256(OLD).digest(), "/y.bin" + TEMPORARY: None}


def test_closing_after_the_board_died_is_quiet(tmp_path: Path) -> None:
    with running_board(tmp_path / "board") as board:
        cable = Cable(port(board))
        cable.execute("pass")
        board.stop()
        began = time.monotonic()
        cable.close()
        cable.close()
        assert time.monotonic() - began < 2
        assert board.boots == [(0, PWRON)]
