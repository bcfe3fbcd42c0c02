"""The data path from a file, a server or a cable: at most one read per step.

A source has `size` (bytes of the file, 0 while it does not know, UNTOLD when nobody tells it,
see `engine`), `close()`, a text for people, and `read(offset, view)`, which puts the bytes that are
there into `view` and returns how many they are, 0 when none are yet, or raises OSError. One that
fails is asked again, with pauses that double; one that brings no whole block any more is given up.
"""

from . import errors, journal
from .channel import Timer
from .compat import const
from .window import Pace

_FIRST_PAUSE_MS = const(1000)
_CUT_SHORT = const(5)  # EIO
# Between two looks at a source that has nothing yet (ms).
_LOOK_MS = const(5)


def make(engine):
    """Return the data path from a file, or a source object. Raises SourceError."""
    source = engine.source
    return pulled(engine, _opened(source) if isinstance(source, str) else source)


def pulled(engine, source):
    """Return the data path of a local update from a source object.

    A source that gave some of the package before is asked again from its first failure on.
    """
    again = engine.journal.phase != journal.NONE
    return Pulled(source.size, source, engine.inbox, engine.board.settings, again)


def _opened(path):
    """Return the file at a path as a source. Raises SourceError."""
    if not path:
        raise errors.SourceError("what came through the cable is not complete; send it again")
    try:
        file = File(path)
    except OSError as error:
        raise errors.SourceError("%s: %s" % (path, error))
    if not file.size:
        file.close()
        raise errors.SourceError("%s is empty" % path)
    return file


class Pulled:
    """One package, see `transfer`. source: may be opened later, by a path that reads differently.

    size: bytes of it, 0 until a `poll` without a window has found out, for which there is one try
    unless it has worked before: `again`; inbox: inbox.Inbox, for its buffer; settings: of the
    agent.
    """

    def __init__(self, size, source, inbox, settings, again=False):
        self.size = size
        self.block = None
        self.source = source
        self._inbox = inbox
        self._longest = settings["message_size"]
        self._view = self._lent = None
        self.resume()
        self._again = again
        self._index = 0
        self._filled = 0  # bytes of the next block in `view`, before `rest`
        self.left = self.tries = settings["source_tries"]
        self.timer = Timer(_FIRST_PAUSE_MS, settings["retry_max_ms"])
        self._pace = Pace(settings["min_rate"])
        self._waits = 0

    def poll(self, window):
        """Read on in the next block. Returns its number when it is whole, else -1."""
        if self.block is not None:
            return self._index  # it could not be taken, for want of memory
        self._waits = self.timer.left
        if self._waits:
            return -1
        offset = length = 0
        if window:
            self._index = window.first
            offset = self._index * window.block_size
            length = window.length_of(self._index)
        if len(self._lent) != length:
            self._lent = self._rest = self._view[:length]
        try:
            count = self.read(offset + self._filled, self._rest)
        except OSError as error:
            self._failed(error)
            return -1
        if not count:
            self._waits = _LOOK_MS
            return -1
        self._pace.add(count)
        self._filled = (self._filled + count) % length
        self._rest = self._rest[count:] if self._filled else self._lent
        if self._filled:
            return -1
        self.left = self.tries  # less would be thrown away with the next failure
        self.timer.now()
        self.block = self._lent
        return self._index

    def release(self):
        """Use the block's memory for the next one."""
        self.block = None

    def request(self, _window):
        """Ask for nothing ahead. Returns the milliseconds until there is more to read."""
        return self._waits

    def __str__(self):
        return str(self.source)

    def read(self, offset, piece):
        """Read as a source does; afterwards `size` is known, if the source knows it."""
        count = self.source.read(offset, piece)
        self.size = self.size or self.source.size
        return count

    def _failed(self, error):
        """Prepare to ask the source again. Raises SourceError when it has failed too often."""
        self._filled, self._rest = 0, self._lent
        self.left -= 1
        again = self.size or self._again
        if not self.left or not again:
            tries = ", %d times" % self.tries if again else ""
            raise errors.SourceError("%s: %s%s" % (self, error, tries))
        self.timer.later()
        self._waits = self.timer.left

    def answered(self):
        """Ignore it: the job service knows nothing of a source."""

    def connected(self):
        """Try at once over the new link."""
        self.timer.now()

    def named(self, _job):
        """Ignore it, as `answered`."""

    def refused(self, _data):
        """Ignore it: the stream service knows nothing of a source, either."""

    def suspend(self):
        """Give the buffer back to the heap."""
        self._view = self._lent = self._rest = self.block = None
        self._inbox.give_back()

    def resume(self):
        """Make the buffer again."""
        self._view = self._lent = self._rest = self._inbox.open(self._longest)

    def close(self):
        """Close the source."""
        if self.source:
            self.source.close()
        self._inbox.close()


class File:
    """A file. Raises OSError."""

    def __init__(self, path):
        self._path = path
        self._file = open(path, "rb")
        self.size = self._file.seek(0, 2)

    def __str__(self):
        return self._path

    def read(self, offset, view):
        """Fill `view` with the bytes at `offset`. Returns how many."""
        self._file.seek(offset)
        if self._file.readinto(view) != len(view):
            raise OSError(_CUT_SHORT)
        return len(view)

    def close(self):
        """Close the file."""
        self._file.close()
