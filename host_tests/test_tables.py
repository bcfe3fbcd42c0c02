"""Partition tables as people have them: each takes updates, or is refused by name before a write.

Each table is a CSV file in host_tests/tables; a real broker, service and MicroPython run on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_console import port
from link_fixtures import need

from demo import children, contents
from demo.stack import Stack
from sim import tables
from sim.board import FACTORY, Board
from twinslot.formats import table

TABLES = Path(__file__).parent / "tables"
VALID, ABORTED = 2, 4
MB = 1 << 20
SIZES = {"flash_8mb": 8 * MB, "flash_16mb": 16 * MB}
PATTERN = bytes(range(256)) * 16
LAMP = {"app.py": "def start():\n    print('app: the lamp is on')\n"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    need("micropython")
    need("mosquitto")
    with Stack(tmp_path_factory.mktemp("tables") / "stack") as made:
        yield made


def board_on(stack: Stack, name: str, **options: Any) -> Board:
    """A board on a table, with a pattern in each partition that is neither the agent's nor ours."""
    board = stack.board(
        options.pop("thing", name.replace("_", "-")),
        partitions=TABLES / f"{name}.csv",
        flash_size=SIZES.get(name, 4 * MB),
        **options,
    )
    with board.flash_path.open("r+b") as file:
        for row in foreign(board):
            file.seek(row[3])
            file.write(PATTERN * (row[4] // len(PATTERN)))
    return board


def foreign(board: Board) -> list[tuple[str, int, int, int, int]]:
    """The rows of data that neither MicroPython nor the agent uses."""
    ours = [board.layout.files, board.layout.find("nvs"), board.layout.of(1, 0)]
    return [row for row in board.layout.rows if row[1] and row not in ours]


def update(stack: Stack, board: Board, *arguments: Any, **options: Any) -> dict[str, Any]:
    """Send firmware and application as one; return the job's execution. The rest: of `pack`."""
    package = stack.pack(*arguments, **{"application": LAMP, **options})
    thing = board.folder.name
    job = stack.publish(package, thing)
    children.wait_for(lambda: stack.finished(job, thing), f"the end of {job}", timeout=90)
    return stack.execution(job, thing)


def check_holds(stack: Stack, board: Board, slot: int, version: str) -> None:
    """The slot runs, is VALID, and holds image and files of the package."""
    package = stack.folder / f"{version}-good.ota"
    image = contents.image(package)
    assert board.boots[-1][0] == slot
    records = [r for r in board.otadata() if r and (r[0] - 1) % len(board.layout.slots) == slot]
    assert max(records)[1] == VALID
    assert board.slot_bytes(slot, len(image)) == image
    directory = contents.directory(board, slot)
    assert contents.files(board, directory) == contents.brought(package)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["labels", "flash_8mb", "flash_16mb", "data", "behind", "three", "factory"]
)
def test_an_update_runs_on_every_table_and_touches_nothing_else(stack: Stack, name: str) -> None:
    board = board_on(stack, name)
    home = FACTORY if board.layout.app(FACTORY) else 0
    before = board.slot_bytes(home)
    board.start()
    board.wait_console("main: running version")
    assert board.boots[-1][0] == home
    next_, after = (0, 1) if home == FACTORY else (1, 2 % len(board.layout.slots))
    assert update(stack, board, "1.1.0", 2)["status"] == "SUCCEEDED"
    check_holds(stack, board, next_, "1.1.0")
    assert board.slot_bytes(home) == before
    assert update(stack, board, "1.2.0", 3)["status"] == "SUCCEEDED"
    check_holds(stack, board, after, "1.2.0")
    board.close()
    for label, _, _, _, size in foreign(board):
        assert board.partition(label) == PATTERN * (size // len(PATTERN)), label


@pytest.mark.slow
def test_a_board_in_its_factory_application_returns_there(stack: Stack) -> None:
    board = board_on(stack, "factory", thing="factory-home")
    board.start()
    assert update(stack, board, "1.9.0", 9, "selftest_fails")["status"] == "FAILED"
    board.wait_boots(3)
    assert [slot for slot, _ in board.boots] == [FACTORY, 0, FACTORY]
    assert board.otadata()[0] == (1, ABORTED)
    board.close()


@pytest.mark.slow
def test_on_fat_firmware_comes_and_an_application_is_refused_before_a_write(stack: Stack) -> None:
    board = board_on(stack, "ffat", files=False)
    board.start()
    board.wait_boots(1)
    said = stack.fleet("deploy", port(board), "--settings", str(stack.folder / "boards/ffat"))
    assert "its file system is FAT" in said
    board.wait_console("main: running version")
    before = board.slot_bytes(1)
    refused = update(stack, board, "1.1.0", 2)
    assert refused["status"] == "FAILED"
    assert refused["statusDetails"]["cause"] == "filesystem"
    assert "applications need littlefs" in refused["statusDetails"]["detail"]
    assert board.slot_bytes(1) == before
    came = update(stack, board, "1.2.0", 3, application=None)
    assert came["status"] == "SUCCEEDED", came
    image = contents.image(stack.folder / "1.2.0-good.ota")
    assert board.boots[-1][0] == 1
    assert board.slot_bytes(1, len(image)) == image
    board.close()


@pytest.mark.slow
def test_encrypted_flash_is_refused_by_name_at_both_ends(stack: Stack) -> None:
    board = board_on(stack, "data", thing="encrypted", encrypted=True)
    board.start()
    board.wait_console("this board's flash is encrypted")
    slots = board.slot_bytes(0), board.slot_bytes(1), board.partition("otadata")
    with pytest.raises(children.StartError, match="flash encryption is on"):
        stack.fleet("deploy", port(board), "--settings", str(stack.folder / "boards/encrypted"))
    with pytest.raises(children.StartError, match="flash encryption is on"):
        stack.fleet("adopt", port(board), "--yes")
    board.close()
    assert (board.slot_bytes(0), board.slot_bytes(1), board.partition("otadata")) == slots


def test_a_table_reads_as_esp_idf_reads_it() -> None:
    """The offsets are those that gen_esp32part.py prints for the same files."""
    rows = tables.read(TABLES / "factory.csv")
    assert [row.offset for row in rows] == [
        0x9000, 0xD000, 0xF000, 0x10000, 0x110000, 0x210000, 0x310000,
    ]  # fmt: skip
    rows = tables.read(TABLES / "data.csv")
    assert [row.offset for row in rows] == [
        0x9000, 0xB000, 0xE000, 0x20000, 0x180000, 0x1A0000, 0x300000, 0x3B0000,
    ]  # fmt: skip
    assert rows[4] == table.Partition("fonts", 0x40, 1, 0x180000, 0x20000, 2)
    assert table.parse(table.build(rows)) == rows


@pytest.mark.parametrize(
    "line", ["nvs, data, nvs, 0x9000", "nvs, sort, nvs,, 4K", "nvs, data, nvs, x, 4K"]
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "wrong.csv").write_text(f"# a table\n{line}\n")
    with pytest.raises(table.TableError, match=r"wrong.csv, line 2: "):
        tables.read(tmp_path / "wrong.csv")
