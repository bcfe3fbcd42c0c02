"""Removal of what an update leaves behind: a directory no slot names, modules of a flat board.

Once no slot goes with the flat files, the running application no longer imports those modules in
`/` that it has in its own directory, and they take the room of a whole application. Only they are
removed: not `boot.py`, no data, nothing in `/lib`.
"""

import os

from . import engine as states
from . import errors, journal, ustar
from .compat import const
from .directory import clearing
from .settings import absolute, is_there

_BLOCK = const(4096)  # of littlefs (bytes)


def tidying(engine):
    """Remove an application directory that no slot's trailer names, a slice at a time."""
    if engine.slices(_tidying):
        engine.tidied = True
        engine.become(states.RESTING)
    return 0


def _tidying(engine):
    board = engine.board
    if engine.journal.phase == journal.RECEIVING:
        return  # the directory of an unfinished transfer is named by no trailer either
    try:
        named = board.slots.other.read_trailer(board.buf)
        name = board.spare
        if not (named and named[1] == name) and is_there(name):
            yield from clearing(name)
    except errors.FlashError:
        pass  # also of the file system; the next update, which needs the room, will report it


def room(running):
    """Return the bytes that `removing` gives back. A generator of slices.

    running: name of the directory that runs, "" for none: then the flat files run. Raises
    FilesystemError.
    """
    total = 0
    try:
        for path in _left(running):
            if path:
                total += (os.stat(path)[6] + _BLOCK - 1) // _BLOCK * _BLOCK
            yield
    except OSError as error:
        raise errors.FilesystemError("the flat files cannot be looked at: %s" % error)
    return total


def removing(running):
    """Remove the modules of the flat board. A generator of slices; raises FilesystemError.

    Call it when the other slot is no longer a way back to the flat files.
    """
    path = None
    try:
        for path in _left(running):
            if path:
                os.remove(path)
            yield
    except OSError as error:
        raise errors.FilesystemError("%s cannot be removed: %s" % (path, error))


def _left(running):
    """Yield the path of each module to remove, None for a file that has none in `/`."""
    try:
        listing = open(absolute(running + "/" + ustar.LISTING), "rb") if running else ()
    except OSError:
        return
    for line in listing:
        try:
            path = str(line, "utf-8").rstrip("\n")
            ustar.check_path(path)
        except (UnicodeError, errors.ArchiveError):
            continue  # written by the application itself
        stem, _, form = path.rpartition(".")
        if form in ("py", "mpy") and not path.startswith("lib/"):
            for form in (".py", ".mpy"):
                yield absolute(stem + form) if is_there(stem + form) else None
