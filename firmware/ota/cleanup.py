"""What no slot goes with any more, removed a piece at a time: while an application comes, at rest.

Rules
- The application directory that runs, `/app_0` or `/app_1`, is never touched: only the other one is
  set aside or filled (`directory_writer`).
- A replaced directory is set aside: renamed, in one step however many files it has, to a name that
  nothing looks for. What has such a name is removed whenever it is found, also after a power cut.

Small, as it stays loaded while an application comes.
"""

import os
from errno import ENOENT

from . import errors, flat, ustar
from .chip import SECTOR
from .compat import const
from .settings import OLD, absolute, is_there

_PAIR = const(8192)  # bytes that a directory takes
_INLINE = const(128)  # a file up to this size (bytes) takes no block of its own
FOLDER = 0x4000  # of a directory in what `os.stat` says


def set_aside(name):
    """Rename a directory of `/`, if there is one, so that it counts as removed.

    Raises FilesystemError.
    """
    if not is_there(name):
        return
    number = 0
    while is_there(OLD + str(number)):
        number += 1
    try:
        os.rename(absolute(name), absolute(OLD + str(number)))
    except OSError as error:
        raise errors.FilesystemError("%s cannot be renamed: %s" % (absolute(name), error))


def removing(running):
    """Remove what is set aside, then flat modules. A generator; yields the bytes given back.

    running: name of the directory that runs, "" where the flat files run or are a way back. Raises
    FilesystemError.
    """
    path = absolute("")
    try:
        for name in os.listdir(path):
            if not name.startswith(OLD):
                continue
            top = absolute(name)
            for path, size in listed(top):
                if not path.endswith("/"):
                    yield remove(path, size)
            # Directories are left, and files that the list does not know.
            folders: "list[str]" = []
            for path, size in find(top, folders):
                yield remove(path, size)
            while folders:
                path = folders.pop()
                os.rmdir(path)
                yield _PAIR
        if running:
            for path, size in flat.left(running, listed(absolute(running))):
                if path.endswith("/"):
                    os.rmdir(path[:-1])
                    yield _PAIR
                else:
                    yield remove(path, size)
    except OSError as error:
        raise errors.FilesystemError("%s cannot be removed: %s" % (path, error))


def listed(path):
    """Yield (path, bytes) of what an application's directory got with its archive.

    From its own list, which costs no look at each file; the path of a directory ends with "/". The
    list need not be true: the application may have changed it.
    """
    try:
        with open(path + "/" + ustar.LISTING) as listing:
            for line in listing:
                if not line.startswith(ustar.MARK):
                    below, size = ustar.parse(line)
                    yield path + "/" + below, size
    except (OSError, ValueError, errors.ArchiveError):
        pass  # `find` shows what is there


def find(path, names):
    """Yield (path, bytes) of every file below a directory; `names` gets the directories' paths.

    Each stands in `names` behind the one that it lies in: no recursion, as directories lie as deep
    as an archive's paths have them.
    """
    names.append(path)
    for folder in names:  # which grows meanwhile
        for name in os.listdir(folder):
            below = folder + "/" + name
            found = os.stat(below)
            if found[0] & FOLDER:
                names.append(below)
            else:
                yield below, found[6]


def taken(size):
    """Return the bytes of whole blocks that a file of `size` bytes gives back, at least."""
    return (size + SECTOR - 1) // SECTOR * SECTOR if size > _INLINE else 0


def remove(path, size):
    """Return the bytes that this gives back."""
    try:
        os.remove(path)
    except OSError as error:
        if error.args[0] != ENOENT:
            raise
        return 0  # a power cut came behind it
    return taken(size)
