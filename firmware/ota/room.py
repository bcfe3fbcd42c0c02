"""Whether an application fits into the file system, judged before anything is written.

The package says how many blocks its directory takes, as littlefs counts them. Against that stands
what is free and what the update gives back: the spare directory, leftovers, flat modules.
"""

import os

from . import cleanup, errors, flat
from .chip import SECTOR
from .compat import const
from .settings import OLD, absolute, free, is_there

_SPARE = const(2)  # blocks that stay free: littlefs writes elsewhere before it frees what was there
_PAIR = const(8192)  # bytes that a directory takes
_FOLDER = const(0x4000)


def checking(component, board):
    """Judge an application. A generator of slices.

    component: of the manifest; board: board.Board. Raises TooLargeError with both numbers,
    FilesystemError, also where the file system is FAT.
    """
    if is_there("etc."):  # FAT alone passes over the dot
        raise errors.FilesystemError("the file system is FAT; applications need littlefs")
    needed = cleanup.taken(component.size)  # of a package that does not say: less than it takes
    if component.room:
        needed = component.room[0] * SECTOR
    have = 0
    try:
        have = unused = free() - _SPARE * SECTOR
        for look in (False, True):  # the second takes long
            if needed <= have:
                return
            yield
            have = unused + (yield from _given_back(board, look))
    except OSError as error:
        raise errors.FilesystemError("the file system cannot be looked at: %s" % error)
    if needed <= have:
        return
    said = ""
    largest = component.room[1:] if component.room else ()
    for at in range(0, len(largest), 2):
        said += ", %s (%d KB)" % (largest[at], (largest[at + 1] + 1023) // 1024)
    raise errors.TooLargeError(
        "the application takes %d KB, the file system has room for %d KB%s"
        % (needed // 1024, max(0, have) // 1024, said and "; its largest files:" + said[1:])
    )


def _given_back(board, look):
    """Return the bytes that come free, and those of blocks that are counted twice. A generator.

    look (bool): at each file, in place of each directory's own list. MicroPython's `statvfs` counts
    a directory's blocks twice, but those of `/`; which other directories have below is not counted.
    """
    total = 0
    running = board.directory
    for name in os.listdir(absolute("")):
        path = absolute(name)
        if not os.stat(path)[0] & _FOLDER:
            continue
        total += _PAIR
        goes = name == board.spare or name.startswith(OLD)
        if goes and look:
            folders: "list[str]" = []
            for _, size in cleanup.find(path, folders):
                total += cleanup.taken(size)
                yield
            total += (2 * len(folders) - 1) * _PAIR
        elif goes or name == running:
            if goes:
                total += _PAIR
            for below, size in cleanup.listed(path):
                if below.endswith("/"):
                    total += 2 * _PAIR if goes else _PAIR
                elif goes:
                    total += cleanup.taken(size)
        yield
    if running:
        for _, size in flat.left(running, cleanup.listed(absolute(running))):
            total += cleanup.taken(size)
            yield
    return total
