"""The component writer of encoding 1: it verifies and decodes in front of another writer.

See `transfer` for the contract.

Rules
- A stored block is decoded after its hash was verified, and none before the one in front of it.
- What is decoded at once is bounded: a stored block of a delta may give a megabyte of the image.
- At the border of a segment a note in NVS says where the next one begins: the update goes on there
  after a power cut. Where NVS takes none, the component begins again.
"""

from . import loader
from .compat import const
from .notes import ALL, Notes
from .payload import BLOCK, Payload, refused
from .segments import SEGMENT, Decoder, Prologue

# Blocks of the result that one call writes while a stored block comes. Compression gives fewer.
_AT_ONCE = const(2)
_XTENSA = (0, 2, 9)  # chip ids of ESP32, S2 and S3


def make(board, component, same):
    """Return the writer of an encoded component: of an image, or of an application.

    Behind it is the one that takes the result as if it came raw.
    """
    kind, size = component.kind, component.size
    result = type(component)(kind, 0, component.offset, size, size, *component[5:8], 0)
    names = ("directory_writer", "archive_base") if kind else ("slot_writer", "image_base")
    writers, bases = [loader.module(name) for name in names]
    behind = writers.make(board, result, same)
    return SegmentsWriter(component, behind, bases.of(component, board), same)


class SegmentsWriter:
    """The stored blocks of `component`, see above.

    behind: component writer of the result; base: of the result, None without one; it has `size`,
    `checking(buf)`, `read(position, view)` and `close()`; same: as of `make`.
    full: whether it takes nothing before `work` was called.
    """

    group = 0
    in_order = True

    def __init__(self, component, behind, base, same):
        self.received = 0
        self.full = False
        self._length = component.length
        self._size = component.size
        self._first = component.coded[0]
        self._behind = behind
        self._base = base
        self._kind = not component.kind, component.chip in _XTENSA
        self._notes = Notes(component)
        self._same = same
        self._decoder = self._decoding = self._payload = None
        self._at = 0  # bytes of the component that were taken
        self._safe = 0
        self._result = 0  # bytes of the result that lie there
        self._last = 0, 0, 0, self._first  # border: segment; block, offset, hash as in `payload`
        self._due = None  # a border that is to be noted
        self._prologue = None
        self._done = False

    def find(self, buf):
        """Check the base, and read what an earlier transfer has noted. A generator of slices.

        Raises MismatchError, FlashError.
        """
        base, behind = self._base, self._behind
        if base:
            yield from base.checking(buf)
        if behind.find:
            self._result = yield from behind.find(buf)
            if self._result == self._size:
                self._done = True
                self._safe = self._length
                return self._safe
        noted = self._notes.read() if self._same else None
        if noted:
            border, prologue = noted
            begins = min(self._size, border[0] * SEGMENT)
            if not behind.find or begins <= self._result:
                self._result = self._result or begins
                self._last = border
                self._safe = border[1] * BLOCK
                self._done = border[0] == ALL
                if not self._done:
                    based = base is not None
                    self._prologue = Prologue(prologue, self._size, based, *self._kind)
                    self._prologue.data = None
                return self._safe
        self._notes.forget()
        return 0

    def begin(self, _done, same):
        """Start with the stored block where `find` has ended. Raises FlashError."""
        self._behind.begin(self._result, same)
        self._behind.received = self._result
        self._begin()

    def write(self, offset, data):
        """Take the next bytes. Returns None, or the offset from which on they must come again.

        Raises PackageError, what the base and the writer behind it raise.
        """
        at = self._at - offset
        if at < 0:
            return self._at  # it has begun again
        try:
            while at < len(data):
                while self.full:
                    self._step()  # the stream's blocks are larger than the stored ones
                count = min(self._payload.missing, len(data) - at)
                whole = count == len(data)
                back = self._payload.take(data if whole else data[at : at + count])
                at += count
                self._at += count - back
                if back:
                    return self._at
                self.full = self._at % BLOCK == 0
            for _ in range(_AT_ONCE):
                if self.full:
                    self._step()
        except MemoryError:
            self._begin()
            raise
        return None

    def work(self):
        """Decode a block of what is here, else let the writer behind it work."""
        if not self.full:
            return self._behind.work()
        try:
            self._step()
        except MemoryError:
            self._begin()
            raise
        return True

    def safe(self):
        """Return how many bytes lie before the border that is noted."""
        return self._safe

    def kept(self):
        """Return how many bytes lie before the border that `abandon` leaves."""
        behind, due = self._behind, self._due
        here = behind.kept()
        if behind.find and here == self._size:
            return self._length
        return due[1] * BLOCK if due and here >= due[0] * SEGMENT else self._safe

    def finish(self):
        """Write the rest. Raises FlashError, PackageError."""
        if not self._done:
            raise refused("fewer blocks are stored than the result needs")
        self._behind.finish()
        self._close()
        self._notes.done(self._length // BLOCK)
        self._safe = self._length

    def abandon(self):
        """Let go, in the middle."""
        self._behind.abandon()
        self._note()
        self._close()

    def _begin(self):
        """Begin at the last border; all that came since comes again."""
        self._decoder = self._decoding = self._payload = None
        segment, *place = self._last
        self._payload = payload = Payload(self._length // BLOCK, *place)
        self._decoder = Decoder(self._size, payload, self._base, *self._kind, self._prologue)
        self._decoding = self._decoder.decoding(segment)
        self._at = place[0] * BLOCK
        self.full = False

    def _step(self):
        """Decode a block of the result, and write it."""
        decoder = self._decoder
        for whole in self._decoding:
            if whole:
                self._take(decoder)
            elif self._payload.missing:
                self.full = False
            else:
                raise refused("fewer bytes are stored than the result needs")
            return
        self.full = False
        self._done = True

    def _take(self, decoder):
        behind = self._behind
        here = decoder.position + decoder.count
        if here > self._result:  # else it lies there
            behind.write(decoder.position, decoder.block)
            self._result = behind.received = here
        if decoder.at_border and here < self._size:
            self._prologue = decoder.prologue
            self._last = (here // SEGMENT,) + self._payload.border
            self._due = self._due or self._last
        self._note()

    def _note(self):
        """Note the border that is due, once the writer behind it has all before it."""
        due = self._due
        if due and self._behind.safe() >= due[0] * SEGMENT:
            self._due = None
            if self._notes.keep(due, self._prologue.data):
                self._safe = due[1] * BLOCK
                self._prologue.data = None  # it lies in NVS

    def _close(self):
        if self._base:
            self._base.close()
