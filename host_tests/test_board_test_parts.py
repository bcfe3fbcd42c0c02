"""The parts of `make board-test`: its images, what it keeps of a board, when it types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nor
import nvs
import pytest
from connected_board import ACTIVATE, begin_test, port, running_board
from esptool.bin_image import LoadFirmwareImage

from board_tests import images, kept, restore, world
from board_tests.device import Device, DeviceError, opened
from board_tests.report import Report
from sim import filesystem, image
from sim.board import HARD, PWRON, SOFT, Board
from sim.chip import layout
from twinslot.board.cable import Cable
from twinslot.formats import image as identify
from twinslot.formats import otadata

PENDING, VALID = otadata.PENDING, otadata.VALID


@contextmanager
def device(board: Board, folder: Path) -> Iterator[Device]:
    """The board as the board tests see it."""
    with opened(port(board), folder / "console.log") as found:
        yield found


def board_files(board: Board) -> dict[str, bytes]:
    """Return every file of a board."""
    found = {}
    with filesystem.mounted(board.flash_path) as fs:
        for folder, _, names in fs.walk("/"):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}"
                with fs.open(path, "rb") as file:
                    found[path] = file.read()
    return found


def write_blobs(board: Board, blobs: dict[str, bytes]) -> None:
    """Write the agent's blobs into the NVS of a board that is off."""
    with board.flash_path.open("r+b") as file:
        store = nvs.Store(nor.Nor(file, layout.FLASH_SIZE))
        for name, data in blobs.items():
            store.set("ota", name, b"b", data)


# -- images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [50_000, 1_672_976])
def test_a_retimed_image_is_whole_and_differs_in_nothing_but_the_time(
    size: int, tmp_path: Path
) -> None:
    own = image.firmware(version="1.0.0", size=size)
    out = images.retimed(own, "test 3")
    length = identify.parse(own).length
    differs = {at for at in range(length) if own[at] != out[at]}
    assert len(out) == length
    assert differs <= {*range(112, 128), length - 33, *range(length - 32, length)}
    assert out[112:128] == b"test 3" + bytes(10)
    path = tmp_path / "image"
    path.write_bytes(out)
    found = LoadFirmwareImage("esp32", str(path))  # as `esptool image-info` reads it
    assert found.checksum == found.calculate_checksum()
    assert found.stored_digest == found.calc_digest


def test_a_retimed_image_is_made_of_the_image_alone_whatever_follows_in_its_slot() -> None:
    own = image.firmware(version="1.0.0", size=50_000)
    assert images.retimed(own + b"\xff" * 5000, "x") == images.retimed(own, "x")


def test_what_is_no_image_cannot_be_retimed() -> None:
    own = image.firmware(version="1.0.0", size=50_000)
    with pytest.raises(identify.ImageError):
        images.retimed(own[:-1] + bytes([own[-1] ^ 1]), "x")


def test_every_behaviour_has_an_image_of_its_own() -> None:
    own = image.firmware(version="1.0.0", size=50_000)
    texts = [f"test {number}" for number in range(len(world.BEHAVIOURS))]
    assert len({images.retimed(own, text) for text in texts} | {own}) == len(texts) + 1


# -- what is told ----------------------------------------------------------------------------------


def test_heap_told_before_and_after_the_reset_comes_together() -> None:
    told: list[dict[str, Any]] = [
        {"image": ""},
        {"heap": {"idle": 90}},
        {"us": {"hash": 1}, "heap": {"idle": 90, "peak": 60}},
        {"image": "good"},
        {"heap": {"after": 80}},
    ]
    found = world.merged(told)
    assert found["heap"] == {"idle": 90, "peak": 60, "after": 80}
    assert found["us"] == {"hash": 1}


def test_the_smallest_of_several_samples_is_reported() -> None:
    report = Report()
    report.weigh({"peak": 60, "idle": 90})
    report.weigh({"peak": 70})
    assert report.measured["heap"] == {"peak": 60, "idle": 90}


# -- when it types ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_while_an_image_is_under_test_the_board_is_only_listened_to(tmp_path: Path) -> None:
    with running_board(tmp_path / "board") as board, device(board, tmp_path) as tester:
        tester.execute(ACTIVATE)
        tester.restart()
        tester.wait_for("boot: image under test", 20)
        assert (
            tester.execute("print(1 + 1)") == "2\n"
        )  # once its deadline has brought the other back
        assert board.boots[-1] == (0, HARD)
        assert "main: runs 1.1.0" in "\n".join(tester.said)


def test_a_board_that_tests_an_image_is_refused_and_goes_on_with_the_test(tmp_path: Path) -> None:
    with running_board(tmp_path / "board") as board:
        begin_test(board)
        files, at = board_files(board), len(board.log_path.read_bytes())
        with device(board, tmp_path) as tester, pytest.raises(DeviceError, match="under test"):
            kept.check(tester)
        assert board.otadata() == [(1, VALID), (2, PENDING)]
        board.wait_console("event: StartTest 1.0.0", since=at)
        assert board_files(board) == files
        with Cable(port(board)) as cable:
            cable.execute("import ota\nota.accept()")
        assert board.otadata() == [(1, VALID), (2, VALID)]
        assert board.boots == [(0, PWRON), (1, HARD), (1, SOFT)]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (kept.LIST, "board_tests.restore"),
        ("/app/__init__.py", "from /app"),
    ],
)
def test_a_board_with_something_in_the_way_is_refused(
    path: str, sentence: str, tmp_path: Path
) -> None:
    with (
        running_board(tmp_path / "board", {path: b""}) as board,
        device(board, tmp_path) as tester,
        pytest.raises(DeviceError, match=sentence),
    ):
        kept.check(tester)


INTERRUPTED = """
import os, sys
for _name in [name for name in sys.modules if name.startswith("ota")]: del sys.modules[_name]
os.mkdir("/elsewhere")
os.chdir("/elsewhere")
"""


def test_a_run_that_begins_amid_boot_py_lets_it_come_to_its_end(tmp_path: Path) -> None:
    with running_board(tmp_path / "board") as board, device(board, tmp_path) as tester:
        tester.execute(INTERRUPTED)  # as where boot.py has not gone to the application yet
        kept.check(tester)
        assert tester.execute("import ota\nprint(ota.__name__)").strip() == "ota"
        assert board.boots[1:] == [(0, SOFT)]


# -- what it puts back -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_run_is_put_back_from_its_file(tmp_path: Path) -> None:
    own = {"/app.py": b"def start():\n    pass\n", "/etc/notes.txt": b"mine"}
    blobs = {"journal": b'{"v":1,"phase":"NONE","floor":7}', "history": b"[]"}
    with running_board(tmp_path / "board", own) as board:
        board.stop()
        write_blobs(board, blobs)
        board.start()
        before = board_files(board)
        with device(board, tmp_path) as tester:
            found = kept.save(tester)
            found.write(tmp_path / "kept.json")
            world.install(tester, {"/etc/settings.json": b"{}", "/etc/ca.pem": b"x"}, [])
            assert "/app.py" not in board_files(board)
            kept.boot_other(tester)
        assert (tmp_path / "kept.json").stat().st_mode & 0o077 == 0
        restore.main(port(board), tmp_path / "kept.json")
        assert not (tmp_path / "kept.json").exists()
        assert board_files(board) == before
        assert {name: board.nvs("ota", name) for name in blobs} == blobs
        assert board.boots[-1][0] == 0
        assert board.trailer(1) == b"\xff" * 4096


def test_going_to_the_other_slot_begins_no_test(tmp_path: Path) -> None:
    with running_board(tmp_path / "board") as board, device(board, tmp_path) as tester:
        since = kept.boot_other(tester)
        tester.wait_for("main: runs 1.0.0", 20, since=since)
        assert not any("under test" in line for line in tester.said)
        assert board.otadata() == [(1, VALID), (2, VALID)]


def test_what_is_no_file_of_a_run_is_refused(tmp_path: Path) -> None:
    for text in ("", "[]", '{"slot": "ota_0", "folder": "", "files": {"/app.py": 3}, "nvs": {}}'):
        (tmp_path / "kept.json").write_text(text)
        with pytest.raises(DeviceError, match=r"kept\.json is not what a run kept"):
            kept.Kept.read(tmp_path / "kept.json")


def test_nothing_is_installed_that_would_not_be_removed(tmp_path: Path) -> None:
    with running_board(tmp_path / "board") as board, device(board, tmp_path) as tester:
        before = board_files(board)
        with pytest.raises(DeviceError, match="would stay on the board"):
            world.install(tester, {"/etc/other.pem": b"x"}, [])
        assert board_files(board) == before
