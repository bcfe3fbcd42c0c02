"""What files take in a board's littlefs is counted as littlefs itself counts it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import chipboard  # noqa: F401  the firmware's folder is on the path
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinslot.board import filesystem
from twinslot.formats.littlefs_blocks import BLOCK, INLINE, SPARE, file_blocks, tree_blocks

ROOM = bytes(b"\xff" * BLOCK * 1024)
ROOT = 2  # blocks: the pair of `/`, which every littlefs has

SIZES = st.one_of(
    st.integers(0, 300),
    st.integers(0, 60_000),
    st.integers(0, 16).map(lambda blocks: max(0, blocks * BLOCK - 4 * blocks)),
)
NAMES = st.text("abcdefgh.", min_size=1, max_size=12).filter(lambda name: name.strip("."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def used(files: dict[str, int]) -> int:
    """The blocks that littlefs counts for these files in a directory of their own."""
    fs = filesystem.mount(bytearray(ROOM))
    fs.mkdir("/app")
    for path, size in files.items():
        if path.endswith("/"):
            fs.makedirs(f"/app/{path}", exist_ok=True)
        else:
            filesystem.write(fs, {f"/app/{path}": bytes(size)})
    return int(fs.used_block_count) - ROOT


def tree(paths: dict[str, int]) -> dict[str, int]:
    """The same without names that would be a file and a directory at once."""
    folders = {path[:at] for path in paths for at, char in enumerate(path) if char == "/"}
    return {path: size for path, size in sorted(paths.items()) if path not in folders}


@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5, 8, 9, 16, 17, 64, 65])
def test_the_contents_of_a_file_are_counted_to_the_byte(blocks: int) -> None:
    """On both sides of each border between one more block and none."""
    size = next(size for size in range(blocks * BLOCK, 0, -4) if file_blocks(size) == blocks)
    while file_blocks(size + 1) == blocks:
        size += 1
    for near in (size, size + 1):
        assert used({"f": near}) - used({"f": 0}) == file_blocks(near)
    assert (file_blocks(size), file_blocks(size + 1)) == (blocks, blocks + 1)


def test_a_file_of_128_bytes_lies_inline_and_one_of_129_does_not() -> None:
    assert (file_blocks(INLINE), file_blocks(INLINE + 1)) == (0, 1)
    assert used({"f": INLINE + 1}) - used({"f": INLINE}) == 1


def test_a_directory_takes_a_pair_of_blocks_even_when_it_is_empty() -> None:
    for files in ({}, {"d/": 0}, {"a/b/c": 200}, {"a/": 0, "a/b": 5, "c/": 0}):
        assert tree_blocks(files) == used(files)


@given(st.dictionaries(PATHS, SIZES, max_size=40))
def test_a_tree_is_never_counted_below_what_littlefs_takes_and_hardly_above(
    paths: dict[str, int],
) -> None:
    files = tree(paths)
    assert used(files) <= tree_blocks(files) <= used(files) + 2


@pytest.mark.parametrize("count", [60, 100, 200, 400])
@pytest.mark.parametrize("name", ["{:03}", "{:03}-a-longer-name-than-most-modules-have.py"])
@pytest.mark.parametrize("sizes", [(0,), (600,), (128,), (0, 128), (10, 600, 128)])
def test_many_entries_are_counted_with_the_pairs_that_they_fill(
    count: int, name: str, sizes: tuple[int, ...]
) -> None:
    for run in (1, 20):  # how many of a size stand side by side
        files = {name.format(n): sizes[n // run % len(sizes)] for n in range(count)}
        found = used(files)
        assert found <= tree_blocks(files) <= found * 5 // 3 + 2


@given(st.dictionaries(PATHS, SIZES, min_size=1, max_size=25))
def test_a_file_system_of_as_many_blocks_as_counted_takes_the_files(
    paths: dict[str, int],
) -> None:
    """With what stays free; in the order of an archive."""
    files = tree(paths)
    need = tree_blocks({f"app/{path}": size for path, size in files.items()})
    data = filesystem.build(
        {f"/app/{path}": bytes(size) for path, size in files.items()}, (need + SPARE) * BLOCK
    )
    assert len(data) == (need + SPARE) * BLOCK


def test_entries_count_in_the_directory_that_they_lie_in() -> None:
    """80 fill a pair of blocks nearly; 160 in one directory would fill more than two."""
    files = {f"{folder}/{number:03}": 600 for folder in "ab" for number in range(80)}
    assert tree_blocks(files) == used(files) == 160 + 3 * 2


def test_the_board_spares_as_many_blocks_as_the_host() -> None:
    source = (Path(__file__).parent.parent / "firmware/ota/room.py").read_text(encoding="utf-8")
    found = re.search(r"^_SPARE = const\((\d+)\)", source, re.MULTILINE)
    assert found
    assert int(found[1]) == SPARE


# Both sides of every border: inline or not, and one more block or none, with the pointers.
BORDERS = sorted(
    {0, 1, 127, 128, 129, 4091, 4092, 4093, 4095, 4096, 4097, 8183, 8184, 8185, 8192, 12_288}
    | {border + more for border in (16_368, 32_720, 65_536, 262_144) for more in (-1, 0, 1, 4, 8)}
)


@pytest.fixture(scope="module")
def board() -> Any:
    """The board's own counting, firmware/ota/cleanup.py."""
    return importlib.import_module("ota.cleanup")


@pytest.mark.parametrize("size", BORDERS)
def test_the_board_counts_no_file_above_what_littlefs_takes(board: Any, size: int) -> None:
    """It promises room: what a file gives back, without the pointers that a large one has."""
    took = (used({"f": size}) - used({"f": 0})) * BLOCK
    assert took == file_blocks(size) * BLOCK
    assert took - pointers(size) <= board.taken(size) <= took


def pointers(size: int) -> int:
    """Bytes by which the board may count a file lower: the blocks that only its pointers need."""
    return (file_blocks(size) - -(-size // BLOCK)) * BLOCK if size > INLINE else 0


def test_a_file_is_inline_for_the_board_as_long_as_it_is_for_littlefs(board: Any) -> None:
    inline = [size for size in range(1, 300) if not board.taken(size)]
    assert inline == [size for size in range(1, 300) if not file_blocks(size)]
    assert inline[-1] == INLINE
    assert (board.taken(INLINE), board.taken(INLINE + 1)) == (0, BLOCK)


@given(st.integers(0, 2_000_000))
def test_for_no_size_the_board_counts_more_than_the_host_nor_a_hundredth_less(size: int) -> None:
    counted = importlib.import_module("ota.cleanup").taken(size)
    assert counted <= file_blocks(size) * BLOCK
    assert file_blocks(size) * BLOCK - counted <= BLOCK + size // 100


def test_a_directory_is_a_pair_for_the_board_as_for_littlefs() -> None:
    assert used({"d/": 0}) - used({}) == 2
    for module in ("cleanup", "room"):
        source = (Path(__file__).parent.parent / f"firmware/ota/{module}.py").read_text("utf-8")
        found = re.search(r"^_PAIR = const\((\d+)\)", source, re.MULTILINE)
        assert found
        assert int(found[1]) == 2 * BLOCK, module
