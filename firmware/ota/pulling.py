"""The data path from a file, a server or a cable: at most one block is read per step.

A source has `size` (bytes of the file, 0 while it does not know), `close()`, a text for people, and
`read(offset, view)`, which puts what is there into `view` and returns how many bytes that are, 0
when none are yet, or raises OSError. One that fails is asked again, with pauses that double; one
that brings no whole block any more is given up.
"""

from . import errors
from .compat import const
from .timer import Timer

_FIRST_PAUSE_MS = const(1000)
_CUT_SHORT = const(5)  # EIO
# Between two looks at a source that has nothing yet (ms).
_LOOK_MS = const(5)


class Pulling:
    """One package. source: may be opened later, by who reads differently.

    size: bytes of it, 0 until a step without `taking` has found out, for which there is one try
    unless it has worked before: `again`; inbox: inbox.Inbox, for its buffer; settings: of the
    agent.
    """

    def __init__(self, size, source, inbox, settings, again=False):
        self.size = size
        self._source = source
        self._inbox = inbox
        self._longest = settings["message_size"]
        self.resume()
        self._again = again
        self._filled = 0  # bytes of the next block in `view`
        self._left = self._tries = settings["source_tries"]
        self._timer = Timer(_FIRST_PAUSE_MS, settings["retry_max_ms"])

    def step(self, taking):
        """Read on in the next block. Returns ms until it wants to run again. Raises OtaError.

        taking: a update.Head or download.Download, None while there is no `size`.
        """
        if self._timer.left:
            return self._timer.left
        offset = length = index = 0
        if taking:
            index = taking.window.first
            offset = index * taking.window.block_size
            length = taking.window.length_of(index)
        filled = self._filled
        try:
            count = self._read(offset + filled, self._view[filled:length])
        except OSError as error:
            self._filled = 0
            self._left -= 1
            again = self.size or self._again
            if not self._left or not again:
                tries = ", %d times" % self._tries if again else ""
                raise errors.SourceError("%s: %s%s" % (self, error, tries))
            self._timer.later()
            return self._timer.left
        if not count:
            return 0 if taking and taking.work() else _LOOK_MS
        self._filled = (filled + count) % length
        if not self._filled:  # less would be thrown away with the next failure
            self._left = self._tries
            self._timer.now()
            taking.take(index, self._view[:length])
        return 0

    def __str__(self):
        return str(self._source)

    def _read(self, offset, piece):
        """As `read` of a source; `size` is known afterwards, if the source knows."""
        count = self._source.read(offset, piece)
        self.size = self._source.size
        return count

    def answered(self):
        """The job service is there, which tells nothing of a source."""

    def connected(self):
        """A new link: try at once."""
        self._timer.now()

    def suspend(self):
        """Nothing is wanted for a while: the heap may have the buffer."""
        self._view = None
        self._inbox.give_back()

    def resume(self):
        """Make it again."""
        self._view = self._inbox.open(self._longest)

    def close(self):
        """No more is wanted."""
        if self._source:
            self._source.close()
        self._inbox.close()


def pulled(source, inbox, settings, again):
    """Return the data path from a path, an address or a source. Raises SourceError.

    again (bool): the source has given some of the package before.
    """
    source = opened(source)
    return Pulling(source.size, source, inbox, settings, again)


def opened(source):
    """Return the source that a path or an address names. Raises SourceError."""
    if not isinstance(source, str):
        return source
    if not source:
        raise errors.SourceError("what came through the cable is not complete; send it again")
    if source.split("://")[0] in ("http", "https"):
        from .http import Http

        return Http(source)
    try:
        file = File(source)
    except OSError as error:
        raise errors.SourceError("%s: %s" % (source, error))
    if not file.size:
        file.close()
        raise errors.SourceError("%s is empty" % source)
    return file


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
        """No more is read."""
        self._file.close()
