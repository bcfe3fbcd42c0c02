"""What a running board says of itself, and when its files may not be changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from board_console import CHATTY, board_under_test, port, running_board

from board import otadata, running
from board.cable import Cable
from board.table import Partition
from tools.paths import ROOT

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


def test_a_board_that_runs_is_looked_at_over_its_console(tmp_path: Path) -> None:
    with running_board(tmp_path, {"/main.py": CHATTY}) as board:
        board.wait_console("main: up")
        with Cable(port(board)) as cable:
            found = running.look(cable)
            raw = cable.evaluate_output(
                "from esp32 import Partition\n"
                "b = bytearray(32)\n"
                "Partition.find(Partition.TYPE_DATA, subtype=0)[0].readblocks(0, b)\n"
                "print(bytes(b))"
            )
    running.check(found)
    assert (found.slot, found.records, found.pending) == ("ota_0", (VALID, None), False)
    assert found.version >= (1, 22)
    assert found.free and 400_000 < found.free < 0x90000
    assert [row.label for row in found.table if row.is_slot] == ["ota_0", "ota_1"]
    assert otadata.parse(raw) == VALID
    assert otadata.parse(b"\x02" + raw[1:]) is None  # torn: the CRC is another sequence's


def test_an_image_under_test_is_seen_with_the_seconds_left(tmp_path: Path) -> None:
    boot = {"/boot.py": (ROOT / "boot.py").read_bytes()}
    with board_under_test(tmp_path, boot, deadline_s=30) as board:
        with Cable(port(board)) as cable:
            found = running.look(cable)
            cable.soft_reset()
            cable.wait_for("main: runs ota_1", 10)
        assert board.otadata() == [(1, otadata.VALID), (2, otadata.PENDING)]
    assert (found.slot, found.pending) == ("ota_1", True)
    assert found.left_s is not None and 5 < found.left_s < 30


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


def test_the_active_record_is_the_highest_that_may_boot() -> None:
    aborted = otadata.Record(2, otadata.ABORTED)
    newer = otadata.Record(2, otadata.UNDEFINED)
    assert otadata.active([VALID, aborted]) == VALID
    assert otadata.active([VALID, newer]) == newer
    assert otadata.active([None, aborted]) is None
    assert (VALID.slot(2), newer.slot(2)) == (0, 1)
    assert otadata.parse(b"\xff" * 32) is None
