"""How many blocks of 4096 bytes files take in a board's littlefs. Pure.

Every judgement about room on the host asks here: packing, flashing, what the firmware weighs.
"""

from collections.abc import Iterable, Mapping

from twinslot.formats.chips import SECTOR

BLOCK = SECTOR  # bytes
INLINE = 128  # bytes: a file up to this size lies in its directory; MicroPython's cache of littlefs
SPARE = 2  # blocks that stay free: littlefs writes elsewhere before it frees what was there

_PAIR = 2  # blocks: directories are written in pairs, one of which is whole at any moment
_TAG = 4  # bytes
_POINTER = 4  # bytes
_CONTENT = 2 * _POINTER  # bytes of an entry whose contents lie elsewhere
# A directory's entries share a pair until they take half a block; then each half of them goes into
# a pair of its own, which is a quarter of a block.
_UNDIVIDED = BLOCK // 2 - 64
_LEAST_IN_PAIR = BLOCK // 4


def file_blocks(size: int) -> int:
    """Return how many blocks the contents of a file of `size` bytes take, 0 for an inline one."""
    blocks = 0
    while size > 0 and (blocks or size > INLINE):
        # Block n begins with a pointer for each power of two that divides n, 1 included.
        pointers = (blocks & -blocks).bit_length()
        size -= BLOCK - _POINTER * pointers
        blocks += 1
    return blocks


def tree_blocks(files: Mapping[str, int]) -> int:
    """Return how many blocks these files take, with the directory that holds them and those below.

    files: path to bytes; a path that ends with "/" is a directory. Never less than littlefs takes.
    With dozens of entries in one directory it may be more by a pair or two: how entries share pairs
    depends on the order in which they came.
    """
    sizes = {path.strip("/"): size for path, size in files.items() if not path.endswith("/")}
    entries = dict.fromkeys(_directories(files), 0)  # to the bytes of their entries
    for path in [*sizes, *filter(None, entries)]:
        parent, _, name = path.rpartition("/")
        size = sizes.get(path, _CONTENT)
        content = size if size <= INLINE else _CONTENT
        entries[parent] += 2 * _TAG + len(name.encode()) + content
    pairs = sum(map(_pairs, entries.values()))
    return _PAIR * pairs + sum(map(file_blocks, sizes.values()))


def _pairs(size: int) -> int:
    """At most how many pairs hold entries of `size` bytes."""
    return 1 if size <= _UNDIVIDED else 1 + size // _LEAST_IN_PAIR


def _directories(paths: Iterable[str]) -> set[str]:
    """Every directory of these paths, "" for the one that holds them all."""
    found = {""}
    for path in paths:
        parent = path.lstrip("/").rpartition("/")[0]
        while parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found
