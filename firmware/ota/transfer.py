"""A package on its way from a data path into its component writers, block by block.

Data path: how a file comes. `make(engine)` of its module returns an object with
    size            bytes of the file, 0 while the path does not know; it does before the first
                    block. UNTOLD when nobody tells it: then it is set when the head is read. Else
                    it stays as it is
    block           the block that `poll` returned (memoryview), None without one. It stays as it is
                    until `release()`, `connected()` or `suspend()`
    poll(window)    return the number of a block that the window.Window wants and that is here, the
                    same one until it is released; -1 without one. window: None while there is no
                    size. Raises OtaError, which ends the job, OSError of the client
    release()       the block was taken; its memory may be used again
    request(window) ask for what the window lacks, if that is due. Returns the milliseconds after
                    which to call again: 0 after it has asked, more while it waits. Raises as `poll`
    connected()     the link is a new one: ask at once. Blocks that waited are gone
    answered()      the job service is there. Raises OtaError when only the file never comes
    named(job)      it has named the job again (jobs.Job). Raises as `answered`
    refused(data)   it refused a request; data: bytes of its message, whatever they are
    suspend()       nothing is wanted for a while: the heap may have the buffers. The link and the
                    job service are heard of all the same
    resume()        make them again; the next window may have blocks of another size
    close()         no more is wanted; may come at any time, and twice
`make` raises as `poll`. A path knows no slot, head or manifest.

Component writer: where a component goes. `make(board, component, same)` of its module returns, for
a manifest.Component of which something is missing, an object with
    group           a request must not reach over a multiple of so many bytes, 0 for any. A multiple
                    of the block size; with larger blocks than 4096 bytes it is 0
    in_order        whether bytes must come in their order, else in any order within a window
    received        bytes that have come without a gap; kept by the transfer
    find            None where the journal's checkpoint says how much of the component lies there.
                    Else `find(buf)`, a generator of slices, comes before `begin`: it reads back
                    what lies in the place, and returns how many bytes of the component it is, 0
                    where anything does not fit. buf: scratch, 4096 bytes
    begin(done, same)  start behind the first `done` bytes. Without `find` it is a multiple of 4096
                    and of `group` that `safe` has claimed; else the block where `find` ends begins
                    there. same: the place may hold more of this very component, or something else.
                    Raises FlashError
    full            whether it takes no more bytes before `work` was called
    write(offset, data)  take bytes (memoryview) at `offset` of the component, each once. They are
                    lent for the call. Returns None, or an offset up to that of the last of them:
                    from there on they must come again, also those that were taken. Raises OtaError
    work()          do what flash needs next, while nothing comes. Returns False without work; takes
                    no longer than a write. Raises FlashError, of one that is `full` OtaError
    safe()          return how many of the bytes `received` survive a power cut: never fewer than
                    before, all of them after `finish`
    kept()          return how many of them survive `abandon`: no fewer than `safe`
    finish()        everything has come: write the rest. Raises FlashError
    abandon()       let go, in the middle: keep nothing open. Only a writer with `find` writes,
                    what is to be found
`make` raises MismatchError where it cannot be, MemoryError. A writer knows no network.

A block allocates nothing on its way, once the first ones are through. Exceptions: base64, in JSON
and through the cable, leaves 4 to 5 bytes per byte; HTTP and files a view of each piece that is no
whole block, HTTP in chunks two lines of each; the 64 KB writer a slice; a directory what each of
its files takes; a decoder the hash of each stored block, and views and generators of its pieces.
"""

from . import engine as states
from .chip import SECTOR
from .engine import HEAD


def fetching(engine):
    """Fetch the head alone."""
    return _drive(engine)


def receiving(engine):
    """Fetch the rest."""
    transfer = engine.transfer
    if transfer.work(True):
        return 0
    if not transfer.window.complete:
        return _drive(engine)
    transfer.finish()
    save(engine)
    engine.path.close()
    engine.path = engine.transfer = None
    engine.modules = ""
    engine.become(states.FINISHING)
    return 0


def _drive(engine):
    """Take a block that is here, else ask for more, else let the flash work."""
    transfer, path = engine.transfer, engine.path
    index = path.poll(transfer.window)
    if index < 0:
        wait = path.request(transfer.window)
        return 0 if wait and transfer.work(False) else wait
    taken = transfer.take(index, path.block)
    path.release()
    if taken:
        count(engine)
    return 0


def count(engine):
    """A block has come: go on with a head that is whole, else tell it, and keep a checkpoint."""
    transfer, before = engine.transfer, engine.received
    if engine.state == states.FETCHING:
        if transfer.window.complete:
            engine.transfer = None
            engine.path.suspend()
            engine.become(states.OPENING)
        return
    engine.received = received = transfer.window.received
    if received:
        engine.progressed(before, received, transfer.window.blocks)
    if engine.transfer is not transfer:
        return  # the application has let go of it
    every = engine.board.settings["checkpoint_blocks"]
    if before and not transfer.window.complete and received // every != before // every:
        save(engine)


def save(engine):
    """Keep a checkpoint of the blocks that are safe, where NVS has room for one."""
    safe = engine.transfer.checkpoint
    if safe > max(HEAD, engine.journal.next):
        engine.journal.try_save(next=safe)


class Transfer:
    """Blocks of a file into writers.

    size: bytes of the file; window: window.Window; parts: list of (offset in the file, length,
    component writer).
    """

    def __init__(self, size, window, parts):
        self.window = window
        self._size = size
        self._parts = parts
        self._note()

    @property
    def checkpoint(self):
        """How many bytes of the file are safe from a power cut, a multiple of the sector.

        Where a writer finds them by itself none are claimed, so that NVS is spared.
        """
        claimed = 0
        for offset, length, writer in self._parts:
            safe = writer.safe()
            if not writer.find:
                claimed = offset + safe - (safe % SECTOR if safe < length else 0)
            if safe < length:
                break
        return claimed

    @property
    def again(self):
        """How many bytes that have come will come once more after `abandon` and a new start."""
        first, size = self.window.first, self.window.block_size
        for offset, length, writer in self._parts:
            kept = writer.kept()
            if kept < length:
                if not writer.find:
                    kept -= kept % (writer.group or SECTOR)
                first = min(first, (offset + kept) // size)
        return (self.window.received - first) * size

    def take(self, index, data):
        """Take block `index` (memoryview), which the window wants. Returns whether it was taken.

        A block that came before the one in front of it may be of no use: both are asked for again.
        Raises what the writers raise.
        """
        window = self.window
        at = index * window.block_size
        end = at + len(data)
        if index != window.first:
            for offset, length, writer in self._parts:
                if writer.in_order and at < offset + length and end > offset:
                    return False
        again = None
        for offset, length, writer in self._parts:
            if at < offset + length and end > offset:
                piece = data
                if at < offset or end > offset + length:
                    piece = data[max(0, offset - at) : offset + length - at]
                again = writer.write(max(0, at - offset), piece)
                if again is not None:
                    window.back((offset + again) // window.block_size)
                    break
        else:
            window.mark(index)
        self._note()
        return again is None

    def work(self, first):
        """Do the flash's next piece of work. Returns False without work. Raises as the writers do.

        first (bool): only that without which a writer takes no more.
        """
        for _, _, writer in self._parts:  # noqa: SIM110, a generator would take heap
            if (not first or writer.full) and writer.work():
                return True
        return False

    def finish(self):
        """Write the rest, when every block is here. Raises FlashError."""
        for _, _, writer in self._parts:
            writer.finish()

    def abandon(self):
        """Let go, in the middle."""
        for _, _, writer in self._parts:
            writer.abandon()

    def _note(self):
        """Let the writers know how much has come without a gap."""
        here = self.window.first * self.window.block_size
        for offset, length, writer in self._parts:
            writer.received = min(max(0, here - offset), length)
