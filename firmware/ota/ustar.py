"""Headers and paths of an application archive. Pure.

Rules
- A header says path and size. All other fields are fixed, zero or blank (POSIX ustar).
- A path has 1 to 100 characters of printable ASCII, no backslash; it is relative, without empty,
  "." or ".." parts. A directory's ends with "/".
"""

from . import errors
from .compat import const

BLOCK = const(512)
PATH = const(100)
FILE = const(0x30)
FOLDER = const(0x35)
# The directory's own list of its files, a line "SIZE PATH" for each; no archive brings it. A mark
# is a line "= BYTES DIGEST": so much of the archive lies there; DIGEST is of what came since the
# mark before (`directory_writer`).
LISTING = ".files"
MARK = "= "

ZEROS = bytes(BLOCK)
# Never in an application: the files that start the board, its settings, and the list.
_RESERVED = ("boot.py", "boot.mpy", "etc", LISTING)


def check_path(path):
    """Raise ArchiveError unless `path` may be in an archive."""
    parts = (path[:-1] if path.endswith("/") else path).split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise errors.ArchiveError("the path %r leads out of its directory" % path)
    if parts[0].lower() in _RESERVED:
        raise errors.ArchiveError("%s must not be in an application" % path)


def parse(text):
    """Return the (path, bytes) that a line of LISTING says. Raises ValueError, ArchiveError."""
    size, _, path = text.rstrip("\n").partition(" ")
    check_path(path)
    return path, int(size)


def parse_mark(text):
    """Return the (bytes of the archive, digest) that a mark says. Raises ValueError."""
    count, _, digest = text[len(MARK) :].rstrip("\n").partition(" ")
    return int(count), digest


def write_header(out, path, size):
    """Write the header of a file or directory into `out` (512 bytes). size: bytes."""
    name = path.encode()
    out[:] = ZEROS
    out[: len(name)] = name
    for at in (100, 108, 116):  # mode, owner, group
        out[at : at + 7] = b"0000000"
    out[124:135] = b"%011o" % size
    out[136:147] = b"00000000000"
    out[148:156] = b"        "
    out[156] = FOLDER if path.endswith("/") else FILE
    out[257:262] = b"ustar"
    out[263:265] = b"00"
    out[148:155] = b"%06o\x00" % sum(out)
