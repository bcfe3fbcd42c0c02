"""A directory filled from an archive while it streams: a component writer, see `transfer`.

The directory's own list says how far the archive has come, so that NVS need not. Marks in it are
what is safe: one for each request's bytes that have come, and one when the writer is let go, within
a file or not. Each makes littlefs write the last block of the list and of the file again. After a
restart what lies there is read back first: nothing is built on what has changed.
"""

import os
from hashlib import sha256

from . import archive, errors, ustar
from .cleanup import FOLDER, removing, set_aside
from .compat import const
from .rebuild import archive_of
from .settings import absolute, free

# What a file takes beside its bytes: the rest of its last block, and its place in the directory.
_FILE = const(4608)
_FOLDER = const(8704)
_EXISTS = const(17)
_NO_SPACE = const(28)
# Digits of a digest in a mark. The archive's own has all of them.
_DIGITS = const(16)


def make(board, component, same):
    """Return the writer of an archive into the spare directory, which is set aside unless `same`.

    While it is written, as much of what it replaces is removed as it takes, and no later: so old
    and new need no more room than the larger one, and no step waits until all that is old has gone.
    """
    if not same:
        set_aside(board.spare)
    request = board.settings["window"] * board.settings["block_size"]
    return DirectoryWriter(board.spare, component, removing(board.directory), request)


class DirectoryWriter:
    """A directory whose bytes must come in order.

    name: of the directory; component: manifest.Component of its archive; old: generator that
    removes what it replaces, a file at a time; every: bytes between marks.
    """

    group = 0
    in_order = True
    full = False

    def __init__(self, name, component, old, every):
        self.received = 0
        self._name = name
        self._base = absolute(name) + "/"
        self._component = component
        self._old = old
        self._every = every
        self._left = 0  # bytes taken that are still to be given back
        self._listing = self._file = None
        self._forget()

    def _forget(self):
        """Count as if nothing had come."""
        self._reader = archive.Reader(self._component.length, self)
        self._hash = sha256()
        self._at = 0  # bytes taken
        self._here = self._next = 0  # of them in the directory; where the next entry begins
        self._start = 0  # where the content of the entry begins
        self._safe = 0  # what the last mark says
        self._since = self._unmarked()

    def _unmarked(self):
        """Return what digests the entries behind a mark: of this archive and of no other."""
        return sha256(self._component.sha256)

    def find(self, buf):
        """Read back what an earlier transfer has left. A generator of slices; see `transfer`.

        A list that does not end with a mark, or files that give another digest, count as nothing.
        """
        marked = False
        try:
            for piece in archive_of(self._base, 0, buf):
                marked = isinstance(piece, str)
                if marked:
                    if ustar.parse_mark(piece) != (self._at, self._digits()):
                        raise ValueError
                    self._safe = self._at
                    self._since = self._unmarked()
                else:
                    self._feed(piece)
                    yield
        except (OSError, ValueError, errors.ArchiveError):
            marked = False
        if not marked:
            self._forget()
        return self._safe

    def begin(self, done, _same):
        """Start behind what `find` has found. Raises FilesystemError."""
        self.received = done
        if not self._safe:
            set_aside(self._name)
        try:
            if not self._safe:
                self._take(_FOLDER)
                os.mkdir(self._base[:-1])
            elif self._reader.left:
                # It may be longer: power can fail between the end of a file and its mark.
                self._file = open(self._base + self._reader.path, "r+b")
                self._file.seek(self._here - self._start)
            self._listing = open(self._base + ustar.LISTING, "a" if self._safe else "w")
        except OSError as error:
            raise self._refused(error)

    def write(self, offset, data):
        """Take the next bytes, the first that have not come. Raises as `archive.Reader`.

        Also FilesystemError, and ImageError when the whole archive is another than the manifest's.
        """
        if offset < self._at:
            data = data[self._at - offset :]  # of a block that reaches into what lies there
        try:
            self._feed(data)
            if self._at == self._component.length:
                self._end()
        except OSError as error:
            raise self._refused(error)

    def work(self):
        """Nothing is done ahead."""
        return False

    def safe(self):
        """Return how many bytes the last mark says."""
        return self._safe

    def kept(self):
        """Return how many bytes are there after `abandon`: all but those of half a header."""
        return max(self._here, self._safe)

    def finish(self):
        """Nothing is left to write."""

    def abandon(self):
        """Close what is open, with a mark, so that the archive goes on here."""
        try:
            if self._file:
                self._file.close()
            if self._listing and self._here > self._safe:
                self._mark(self._here)
        except OSError:
            pass  # it goes on at the mark before
        try:
            if self._listing:
                self._listing.close()
        except OSError:
            pass

    # -- what archive.Reader finds; also while it is read back, when no list is open -----------

    def folder(self, path):
        """Make a directory. The archive's order alone does not tell a file of the same name."""
        if self._listing:
            self._take(_FOLDER)
            try:
                os.mkdir(self._base + path[:-1])
            except OSError as error:
                if error.args[0] != _EXISTS:
                    raise
                if not os.stat(self._base + path[:-1])[0] & FOLDER:
                    raise errors.ArchiveError("%s is a file, too" % path)
        self._list(path, 0)

    def file(self, path, size):
        """Begin a file."""
        if self._listing:
            self._take(_FILE)
            self._file = open(self._base + path, "wb")
        self._list(path, size)

    def content(self, data):
        """Go on with it."""
        if self._listing:
            self._take(len(data))
            if self._file.write(data) != len(data):
                raise OSError(_NO_SPACE)
        self._since.update(data)
        self._here += len(data)
        if self._listing and self._here - self._safe >= self._every:
            self._file.flush()
            self._mark(self._here)

    def close(self):
        """End it."""
        if self._listing:
            self._file.close()
            self._file = None

    def _list(self, path, size):
        line = "%d %s\n" % (size, path)
        if self._listing:
            self._listing.write(line)
        self._since.update(line.encode())
        self._here = self._start = self._next + ustar.BLOCK
        self._next = self._start + size + -size % ustar.BLOCK

    def _mark(self, at):
        """Let so much of the archive be safe: every file is closed, or flushed."""
        self._listing.write("%s%d %s\n" % (ustar.MARK, at, self._digits()))
        self._listing.flush()
        self._since = self._unmarked()
        self._safe = at

    def _digits(self):
        return self._since.digest().hex()[:_DIGITS]

    def _feed(self, data):
        self._hash.update(data)
        self._at += len(data)
        self._reader.feed(data)

    def _take(self, size):
        """Remove as much of the old files as `size` bytes take. Raises FilesystemError."""
        self._left += size
        while self._old and self._left > 0:
            for given_back in self._old:
                self._left -= given_back
                break
            else:
                self._old = None  # nothing old is left

    def _end(self):
        self._reader.finish()
        if self._hash.digest() != self._component.sha256:
            raise errors.ImageError("the archive is not the one that the manifest names")
        self._mark(self._at)
        self._listing.close()
        self._listing = None

    def _refused(self, error):
        try:
            left = free()
        except OSError:
            left = 0  # the file system has changed, too
        if error.args[0] == _NO_SPACE:
            error = "it is full"
        return errors.FilesystemError(
            "the file system would not take %s: %s; %d of %d bytes of the archive were written, "
            "%d bytes are free"
            % (self._base + self._reader.path, error, self._at, self._component.length, left)
        )
