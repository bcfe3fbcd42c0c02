"""Whoever holds the key may still sign a hostile archive: it ends its own job, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import hostile
import pytest
from agent_bench import Chip, application, pack, tree
from layout import SLOT_SIZE

RUNNING = application("1.1.0")
NEXT = application("1.3.0")
# A package has no empty component.
NAMES = [name for name in hostile.NAMES if name != "nothing"]
# Some of each kind, for the longer roads.
CHOSEN = ["traversal", "symbolic link", "case twins", "a byte after the end", "no main.py"]
SOME = [name if name in CHOSEN else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Chip:
    """A board that runs 1.1.0 in app_1; app_0 is its way back."""
    chip = Chip(tmp_path_factory.mktemp("board"))
    assert chip.update("job-0", pack("1.0.1", 2, application("1.0.1"))) == "SUCCEEDED"
    assert chip.update("job-1", pack("1.1.0", 3, RUNNING)) == "SUCCEEDED"
    return chip


class Board(Chip):
    """A copy of a board; what lies around its file system is watched, too."""

    def __init__(self, around: Path, original: Chip) -> None:
        super().__init__(around / "board")
        shutil.rmtree(self.folder)
        shutil.copytree(original.folder, self.folder)
        self.board.cells.getbuffer()[:] = original.board.cells.getbuffer()
        (around / "neighbour.py").write_bytes(b"# not the board's\n")
        self.around = around

    def outside(self, spare: str = "app_0") -> dict[str, bytes]:
        """Return every file anywhere but in the directory that does not run."""
        return {
            path.relative_to(self.around).as_posix(): path.read_bytes()
            for path in self.around.rglob("*")
            if path.is_file() and self.folder / spare not in path.parents
        }

    def state(self) -> tuple[object, ...]:
        """Return all that a refused package must leave as it is."""
        running = self.board.running
        return self.outside(), running, self.board.slot_bytes(running, SLOT_SIZE), self.entered


@pytest.fixture
def chip(tmp_path: Path, prepared: Chip) -> Board:
    board = Board(tmp_path, prepared)
    board.until_quiet()
    return board


def refuse(chip: Board, data: bytes, says: str) -> None:
    """Send a package: its job fails with the sentence, and the board is as it was before."""
    before, records = chip.state(), chip.board.records()
    assert chip.update("job-2", data) == "FAILED"
    details = chip.service.details("job-2")
    assert (details["cause"], details["reason"]) == ("bad_archive", "0x24000000: 0x00000005")
    assert says in details["detail"]
    assert details["version"] == "1.1.0"
    assert (chip.state(), chip.board.records()) == (before, records)
    assert (chip.entered, chip.agent.running) == ("app_1", ("1.1.0", 3))
    assert not (chip.folder / "app_0").exists(), "the leftovers go"


def take_a_good_one(chip: Board) -> None:
    before = chip.outside()
    assert chip.update("job-3", pack("1.3.0", 5, NEXT)) == "SUCCEEDED"
    assert chip.entered == "app_0"
    assert tree(chip.folder / "app_0") == NEXT
    assert chip.outside() == before


@pytest.mark.parametrize("name", SOME)
def test_a_signed_hostile_archive_ends_its_job_and_touches_nothing_else(
    chip: Board, name: str
) -> None:
    bad = hostile.make(name)
    refuse(chip, pack("1.2.0", 4, bytes(bad.data)), bad.says)
    take_a_good_one(chip)


@pytest.mark.parametrize("application_first", [False, True])
@pytest.mark.parametrize("name", CHOSEN)
def test_an_image_beside_a_hostile_archive_is_not_started(
    chip: Board, name: str, application_first: bool
) -> None:
    bad = hostile.make(name)
    data = pack("1.2.0", 4, bytes(bad.data), behaviour="good", application_first=application_first)
    refuse(chip, data, bad.says)
    take_a_good_one(chip)


def test_a_file_and_a_folder_of_one_name_are_refused_by_the_file_system_itself(
    chip: Board,
) -> None:
    """Their paths differ, and other entries may lie between them."""
    data = hostile.archive(
        [(b"lib", b"x"), (b"lib.py", b""), (b"lib/", b""), (b"lib/x.py", b""), (b"main.py", b"")]
    )
    refuse(chip, pack("1.2.0", 4, data), "lib/ is a file, too")
    take_a_good_one(chip)
