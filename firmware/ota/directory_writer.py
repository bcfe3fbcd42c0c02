"""A directory filled from an archive while it streams: a component writer, see `transfer`."""

import os
from hashlib import sha256

from . import archive, errors, ustar
from .cleanup import removing, set_aside
from .compat import const
from .settings import absolute, free

# What a file takes beside its bytes: the rest of its last block, and its place in the directory.
_FILE = const(4608)
_FOLDER = const(8704)
_EXISTS = const(17)
_NO_SPACE = const(28)


def make(board, component, _same):
    """Set the spare directory aside. Return the writer of an archive into a new one.

    While it is written, as much of what it replaces is removed as it takes, and no later: so old
    and new need no more room than the larger one, and no step waits until all that is old has gone.
    """
    set_aside(board.spare)
    return DirectoryWriter(board.spare, component, removing(board.directory))


class DirectoryWriter:
    """A directory, which does not exist yet: its bytes must come in order.

    name: of the directory; component: manifest.Component of its archive.
    """

    group = 0
    in_order = True

    def __init__(self, name, component, old):
        self.received = 0
        self._base = absolute(name) + "/"
        self._component = component
        self._reader = archive.Reader(component.length, self)
        self._hash = sha256()
        self._listing = None
        self._file = None
        self._at = 0
        self._old = old  # removes it, a file at a time
        self._left = 0  # bytes taken that are still to be given back

    def begin(self, done, _same):
        """Start, always at the first byte. Raises FilesystemError.

        An archive is begun again after a power cut: a SHA-256 in the middle cannot be kept.
        """
        self.received = done
        try:
            self._take(_FOLDER)
            os.mkdir(self._base[:-1])
            self._listing = open(self._base + ustar.LISTING, "w")
        except OSError as error:
            raise self._refused(error)

    def write(self, _offset, data):
        """Take the next bytes, the first that have not come. Raises as `archive.Reader`.

        Also FilesystemError, and ImageError when the whole archive is another than the manifest's.
        """
        self._hash.update(data)
        self._at += len(data)
        try:
            self._reader.feed(data)
            if self._at == self._component.length:
                self._end()
        except OSError as error:
            raise self._refused(error)

    def work(self):
        """Nothing is done ahead."""
        return False

    def safe(self):
        """Return how many bytes would survive a power cut: all, or none."""
        return self.received if self._listing is None else 0

    def finish(self):
        """Nothing is left to write."""

    def abandon(self):
        """Close what is open; what lies there is removed before the directory is used again."""
        for file in (self._file, self._listing):
            if file is not None:
                try:
                    file.close()
                except OSError:
                    pass  # nothing of it is wanted

    # -- what archive.Reader finds ----------------------------------------------------------

    def folder(self, path):
        """Make a directory. The archive's order alone does not tell a file of the same name."""
        self._take(_FOLDER)
        try:
            os.mkdir(self._base + path[:-1])
        except OSError as error:
            if error.args[0] != _EXISTS:
                raise
            raise errors.ArchiveError("%s is a file, too" % path)
        self._list(path, 0)

    def file(self, path, size):
        """Begin a file."""
        self._take(_FILE)
        self._file = open(self._base + path, "wb")
        self._list(path, size)

    def content(self, data):
        """Go on with it."""
        self._take(len(data))
        if self._file.write(data) != len(data):
            raise OSError(_NO_SPACE)

    def close(self):
        """End it."""
        self._file.close()
        self._file = None

    def _list(self, path, size):
        self._listing.write("%d %s\n" % (size, path))

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
