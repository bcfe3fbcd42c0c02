"""`fleet adopt`: a board that runs something already comes under the fleet, and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_console import port, running_board
from board_flashing import APPLICATION, download, make_fleet, make_settings
from connected_board import Listener, command

from sim.board import Board
from twinslot.board import adopt, adoption, files, flash, running
from twinslot.board.cable import Cable, NoAnswer

MAIN = b"""
import time
print("main: old one")
while True:
    time.sleep(0.05)
"""
OLD = {
    "/main.py": MAIN,
    "/boot.py": b"import gc\n",
    "/lib/pump.py": b"RATE = 1\n",
    "/data/log.bin": bytes(range(256)) * 30,
}
AGENT = {path: data for path, data in APPLICATION.items() if path != "/main.py"}


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "application", lambda **_: dict(APPLICATION))


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A board with somebody's flat application."""
    monkeypatch.chdir(tmp_path)
    with running_board(tmp_path, OLD) as made:
        made.wait_console("main: old one")
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "fleet").mkdir()
    return make_settings(tmp_path / "settings", make_fleet(tmp_path / "fleet"))


def saved(folder: Path) -> dict[str, bytes]:
    return {
        f"/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def everything(board: Board) -> dict[str, bytes]:
    """All files on a board that is off."""
    return {path: board.read_file(path) for path in {*OLD, *APPLICATION}}


def test_a_look_saves_all_files_says_what_it_takes_and_changes_nothing(
    board: Board, tmp_path: Path
) -> None:
    for _ in range(2):  # what is saved already is not saved again
        at = len(board.log_path.read_bytes())
        done = command("adopt", port(board))
        assert done.exit_code == 0, done.output
        board.wait_console("main: old one", since=at)  # it runs again
    for words in (
        "MicroPython 1.",
        "ota_0 runs",
        "files: 4 of",
        "KB free",
        "boot.py, the agent and settings come onto it",
        "its boot.py is replaced",
        "nothing on it uses the agent",
        "Nothing was changed",
    ):
        assert words in done.output
    (folder,) = (tmp_path / "adopted").iterdir()
    assert saved(folder) == OLD
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*") if path.is_file())
    board.stop()
    assert {path: board.read_file(path) for path in OLD} == OLD


def check_moved_in(board: Board) -> None:
    """The board has the agent and its settings, and its own files as they were."""
    kept = {path: data for path, data in OLD.items() if path != "/boot.py"}
    assert {path: board.read_file(path) for path in kept} == kept
    assert {path: board.read_file(path) for path in AGENT} == AGENT
    assert json.loads(board.read_file("/etc/settings.json"))["thing"] == "board-1"


def test_a_board_with_two_slots_gets_the_agent_beside_its_own_files(
    board: Board, settings: Path
) -> None:
    done = command("adopt", port(board), "--settings", settings, "--yes")
    assert done.exit_code == 0, done.output
    assert "The board restarts." in done.output
    at = len(board.log_path.read_bytes())
    again = command("adopt", port(board), "--settings", settings, "--yes")
    assert "Nothing to do: it has all of this." in again.output
    board.wait_console("main: old one", since=at)
    board.stop()
    check_moved_in(board)


def test_an_application_with_the_agent_comes_in_place_of_the_old_one(
    board: Board, settings: Path, tmp_path: Path
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.py").write_text("import ota\nprint('main: the new one')\n")
    done = command("adopt", port(board), "--settings", settings, "--app", app, "--yes")
    assert done.exit_code == 0, done.output
    assert "nothing on it uses the agent" not in done.output
    board.wait_console("main: the new one")


def test_without_a_yes_nothing_is_changed(board: Board, settings: Path) -> None:
    done = command("adopt", port(board), "--settings", settings, typed="n\n")
    assert done.exit_code == 1
    board.stop()
    assert {path: board.read_file(path) for path in OLD} == OLD


def test_a_board_without_two_slots_needs_a_download_and_gets_its_files_back(
    board: Board, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = running.lacks
    monkeypatch.setattr(running, "lacks", lambda _: ["no otadata"])
    asked = command("adopt", port(board), "--settings", settings, "--yes")
    assert asked.exit_code == 1
    assert "Files alone are not enough: its table has no otadata" in asked.output
    assert "--firmware" in asked.stderr

    def write(_job: Any, content: flash.Content, *_: Any) -> None:
        """As esptool does, to the simulated board's flash."""
        monkeypatch.setattr(running, "lacks", real)
        board.stop()
        data = bytearray(board.flash_path.read_bytes())
        for region in content.regions:
            data[region.address : region.end] = region.data
        board.flash_path.write_bytes(data)
        board.start()

    monkeypatch.setattr(flash, "write", write)
    firmware = download(tmp_path)
    options = ["--firmware", firmware, "--fleet", tmp_path / "fleet", "--yes"]
    at = len(board.log_path.read_bytes())
    done = command("adopt", port(board), "--settings", settings, *options)
    assert done.exit_code == 0, done.output
    board.wait_console("main: old one", since=at)
    board.stop()
    check_moved_in(board)


def test_another_librarys_ota_is_saved_and_never_written_over(
    tmp_path: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = {"/main.py": MAIN, "/ota/__init__.py": b"", "/ota/update.py": b"def run(): pass\n"}
    with running_board(tmp_path, there) as board:
        board.wait_console("main: old one")
        done = command("adopt", port(board), "--settings", settings, "--yes", "--save", "kept")
        assert done.exit_code == 1
        assert "/ota/__init__.py on the board is another library's" in done.stderr
        assert saved(tmp_path / "kept") == there
        board.stop()
        assert {path: board.read_file(path) for path in there} == there


def test_a_board_that_answers_nothing_is_said_to_have_nothing_to_keep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def silent(_: Cable) -> running.Running:
        raise NoAnswer("no MicroPython prompt.")

    monkeypatch.setattr(running, "look", silent)
    with (
        Listener() as there,
        Cable(there.port) as cable,
        pytest.raises(adoption.AdoptionError, match="such as ESPHome"),
    ):
        adopt.look(cable)


@pytest.mark.parametrize("path", ["/../outside", "/a/../../outside", "/a\0b"])
def test_a_name_on_the_board_leads_nowhere_on_this_machine(tmp_path: Path, path: str) -> None:
    with pytest.raises(adoption.AdoptionError, match="has no place here"):
        adopt.save({path: b"1"}, tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_other_files_of_the_same_board_are_saved_beside_the_first(tmp_path: Path) -> None:
    first = adopt.save({"/main.py": b"1"}, tmp_path / "x")
    second = adopt.save({"/main.py": b"2"}, tmp_path / "x")
    assert (first, second) == (tmp_path / "x", tmp_path / "x-2")
    assert adopt.save({"/main.py": b"1"}, tmp_path / "x") == first
    assert (first / "main.py").read_bytes() == b"1"
