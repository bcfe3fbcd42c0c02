"""The reader of an application archive, which takes it apart as it streams. Pure.

A set of files has exactly one archive. So the files in a directory, read in the archive's order,
give its signed SHA-256 once more, now or years later.

Rules
- Regular files and directories, with headers and paths as in `ustar`; contents padded with zeros.
- Entries ascend by lower-case path, and a directory stands before the entries in it. So no entry
  comes twice, and no two differ in upper and lower case alone.
- Two zero blocks end the archive.
"""

from . import errors
from .compat import const
from .ustar import BLOCK, FILE, FOLDER, PATH, ZEROS, check_path, write_header

_MAX_ENTRIES = const(1000)


class Reader:
    """Takes an archive's bytes in their order, and gives its entries to `sink`.

    length: bytes of the archive. sink: `folder(path)`, `file(path, size)`, then `content(data)` and
    `close()` for a file; its exceptions pass through.
    path: of the entry read last; left: bytes of its content that have not come.
    """

    def __init__(self, length, sink):
        self.path = ""
        self.left = 0
        self._length = length
        self._sink = sink
        self._header = bytearray(BLOCK)
        self._wanted = bytearray(BLOCK)
        self._at = 0
        self._padding = 0
        self._ends = 0
        self._entries = 0
        self._starts = False

    def feed(self, data):
        """Take the next bytes (memoryview). Raises ArchiveError."""
        at = 0
        while at < len(data):
            if self.left:
                # A block in the middle of a file goes on as it is: a slice would take heap.
                whole = not at and len(data) <= self.left
                piece = data if whole else data[at : at + self.left]
                self.left -= len(piece)
                self._sink.content(piece)
                if not self.left:
                    self._sink.close()
            elif self._padding:
                piece = data[at : at + self._padding]
                self._padding -= len(piece)
                if piece != ZEROS[: len(piece)]:
                    raise errors.ArchiveError("%s is not padded with zeros" % self.path)
            elif self._ends == 2:
                raise errors.ArchiveError("something follows the archive's end")
            else:
                have = self._at % BLOCK
                piece = data[at : at + BLOCK - have]
                self._header[have : have + len(piece)] = piece
                if have + len(piece) == BLOCK:
                    self._block()
            at += len(piece)
            self._at += len(piece)

    def finish(self):
        """Check that the archive is complete. Raises ArchiveError for one that is cut short."""
        if self._ends != 2:
            raise errors.ArchiveError("the archive is cut short")
        if not self._starts:
            raise errors.ArchiveError("the archive has no main.py")

    def _block(self):
        """Read a complete block: a header, or the archive's end."""
        if self._header == ZEROS:
            self._ends += 1
        if self._ends:
            if self._header != ZEROS:
                raise errors.ArchiveError("something follows the archive's end")
            return
        path, size = self._entry()
        self._entries += 1
        if self._entries > _MAX_ENTRIES:
            raise errors.ArchiveError("the archive has more than %d entries" % _MAX_ENTRIES)
        self.path = path
        if path.endswith("/"):
            self._sink.folder(path)
            return
        if path in ("main.py", "main.mpy"):
            self._starts = True
        self.left = size
        self._padding = -size % BLOCK
        self._sink.file(path, size)
        if not size:
            self._sink.close()

    def _entry(self):
        """Return (path, size) of the header. Raises ArchiveError unless it keeps every rule."""
        header = self._header
        path = _path_of(header)
        kind = header[156]
        if kind not in (FILE, FOLDER):
            raise errors.ArchiveError(
                "%s is neither a file nor a directory (type %d)" % (path, kind)
            )
        check_path(path)
        if (kind == FOLDER) != path.endswith("/"):
            raise errors.ArchiveError(
                "%s: a directory's path ends with /, a file's does not" % path
            )
        self._check_place(path)
        try:
            size = int(str(header[124:135], "ascii"), 8)
        except (ValueError, UnicodeError):
            size = -1
        # The bytes behind this header, without the two blocks of the end.
        room = self._length - self._at // BLOCK * BLOCK - 3 * BLOCK
        if size < 0 or size + -size % BLOCK > room or (size and kind == FOLDER):
            raise errors.ArchiveError(
                "%s has an impossible size, or the archive is cut short" % path
            )
        write_header(self._wanted, path, size)
        if header != self._wanted:
            raise errors.ArchiveError("the header of %s says more than path and size" % path)
        return path, size

    def _check_place(self, path):
        last = self.path
        if last and path.lower() <= last.lower():
            raise errors.ArchiveError("%s stands after %s: twice, or out of order" % (path, last))
        parent = path[: path.rstrip("/").rfind("/") + 1]
        if not last.startswith(parent):
            raise errors.ArchiveError("%s stands there without its directory" % path)


def _path_of(header):
    name = bytes(header[:PATH])
    end = name.find(b"\x00")
    if end >= 0:
        name = name[:end]
    for char in name:
        if not 0x20 <= char < 0x7F or char == 0x5C:
            raise errors.ArchiveError("a path has the character %d" % char)
    return str(name, "ascii")
