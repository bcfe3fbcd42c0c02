"""The directory that runs as the base of a delta: its archive, made again where it is read."""

from hashlib import sha256

from . import errors, ustar
from .rebuild import archive_of
from .settings import absolute


def of(component, board):
    """Return the Archive that is the base of an encoded component, None without one."""
    _, digest, size = component.coded
    return digest and Archive(board.directory, size, digest)


class Archive:
    """The archive of a directory, of `size` bytes, whose SHA-256 should be `digest`.

    name: of the directory, "" for a flat board, which has none.
    """

    def __init__(self, name, size, digest):
        self.size = size
        self._base = absolute(name) + "/" if name else ""
        self._digest = digest
        self._listing = self._file = None
        self._path = ""  # of the entry at hand
        self._header = bytearray(ustar.BLOCK)
        # Where its header, its content and the next entry begin; where its content ends.
        self._start = self._content = self._next = self._end = 0

    def checking(self, buf):
        """Read the directory through. A generator of slices. Raises MismatchError."""
        found = sha256()
        try:
            for piece in archive_of(self._base, self.size, buf) if self._base else ():
                if not isinstance(piece, str):
                    found.update(piece)
                    yield
        except (OSError, ValueError, errors.ArchiveError):
            found = sha256()  # files or list were changed by hand
        if found.digest() != self._digest:
            raise self._refused()

    def read(self, position, view):
        """Fill `view` with the bytes at `position`. Raises MismatchError."""
        try:
            while len(view):
                if position < self._start or self._listing is None:
                    self._open()
                while position >= self._next and self._path is not None:
                    self._go_on()
                count = self._read(position, view)
                position += count
                view = view[count:]
        except (OSError, ValueError, errors.ArchiveError):
            raise self._refused()

    def close(self):
        """Close what is open."""
        for file in (self._file, self._listing):
            if file:
                file.close()
        self._file = self._listing = None

    def _read(self, position, view):
        """Read bytes of the entry at hand. Returns how many."""
        if position < self._content:
            begin = position - self._start
            count = min(len(view), ustar.BLOCK - begin)
            view[:count] = memoryview(self._header)[begin : begin + count]
            return count
        if position < self._end:
            if self._file is None:
                self._file = open(self._base + self._path, "rb")
            self._file.seek(position - self._content)
            count = min(len(view), self._end - position)
            if self._file.readinto(view[:count]) != count:
                raise ValueError  # the file has become shorter
            return count
        count = min(len(view), ustar.BLOCK)
        if self._path is not None:
            count = min(count, self._next - position)
        view[:count] = memoryview(ustar.ZEROS)[:count]
        return count

    def _open(self):
        self.close()
        self._listing = open(self._base + ustar.LISTING)
        self._path = ""
        self._start = self._content = self._next = self._end = 0

    def _go_on(self):
        """Go on to the next entry, or to the end, which has zeros alone."""
        line = ustar.MARK
        while line.startswith(ustar.MARK):
            line = self._listing.readline()
        if self._file:
            self._file.close()
            self._file = None
        self._start = self._content = self._end = self._next
        self._path = None
        if line:
            self._path, size = ustar.parse(line)
            ustar.write_header(self._header, self._path, size)
            self._content = self._start + ustar.BLOCK
            self._end = self._content + size
            self._next = self._end + -size % ustar.BLOCK

    def _refused(self):
        error = errors.MismatchError("the delta is for other files than those that run here")
        error.own_cause = "base"
        return error
