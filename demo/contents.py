"""What packages bring and what boards hold, taken apart for the demo's checks."""

from __future__ import annotations

from pathlib import Path

from sim.board import Board
from twinslot.formats import archive, package
from twinslot.formats.component import APPLICATION, FIRMWARE
from twinslot.formats.trailer import read_trailer
from twinslot.formats.trust_set import BOARD_FILE

DIRECTORIES = ("app_0", "app_1")
LISTING = ".files"


def brought(path: Path) -> dict[str, bytes]:
    """Return the files of the application that a package brings, by their path in it."""
    data = path.read_bytes()
    component = package.inspect(data).manifest.component(APPLICATION)
    return archive.contents(component.result(data)) if component else {}


def image(path: Path) -> bytes:
    """Return the firmware image that a package brings; b"" without one."""
    data = path.read_bytes()
    component = package.inspect(data).manifest.component(FIRMWARE)
    return component.result(data) if component else b""


def directory(board: Board, slot: int) -> str:
    """Return the application directory that goes with a slot, "" for none."""
    return read_trailer(board.trailer(slot))[1]


def files(board: Board, directory: str) -> dict[str, bytes]:
    """Return an application directory's files, without the board's own list of them."""
    start = f"/{directory}/"
    found = board.files()
    listing = start + LISTING
    return {p[len(start) :]: found[p] for p in found if p.startswith(start) and p != listing}


def running_files(board: Board, slot: int) -> dict[str, bytes]:
    """Return all of a board's files but those in the directory that does not go with the slot.

    The copy of the keys is left out: with them lies the floor, which each acceptance raises.
    """
    runs = directory(board, slot)
    start = (f"/etc/{BOARD_FILE}", *(f"/{name}/" for name in DIRECTORIES if name != runs))
    return {path: data for path, data in board.files().items() if not path.startswith(start)}


def same_image(board: Board, slot: int) -> bool:
    """Whether both slots hold the image that the trailer of `slot` speaks of."""
    heads, _ = read_trailer(board.trailer(slot))
    found = [head.manifest.component(FIRMWARE) for head in heads]
    (length,) = [component.size for component in found if component]
    return board.slot_bytes(0, length) == board.slot_bytes(1, length)
