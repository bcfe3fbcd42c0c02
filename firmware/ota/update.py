"""One update, from what is offered to a verified pair in the other slot.

Rules
- The head alone comes first; nothing is erased or removed before it is verified and admitted. The
  first bytes decide: a package, or a raw image, whose job must bring a usable signature by then.
- What came is read back and hashed, then the trailer says so; only then it is VERIFIED. A raw image
  has no trailer: whenever it is in hand again, its signature is verified again.
- The journal knows of every step before anybody else does.
"""

from . import chip, errors, pair
from . import journal as phases
from .compat import VERIFYING, forget
from .pair import APPLICATION, HEAD_SIZE
from .slots import IMAGE_MAGIC
from .window import Window


class Update:
    """An update in hand.

    board: board.Board; origin: of the journal; job: jobs.Job, None without one; connect(): returns
    its data path, a Streaming or Pulling; told(before, received, blocks): called with every new
    block, `before` of them earlier; source: for the journal, where the file is found again after a
    reset, "" when the job says it.
    job_id: of the job, "" without one; path: the data path while it is used, else None; pair: the
    pair.Pair, once it is verified.
    """

    def __init__(self, board, origin, job, connect, told, source=""):
        self.job_id = job.job_id if job else ""
        self.origin = origin
        self.path = None
        self.pair = None
        self._board = board
        self._job = job
        self._connect = connect
        self._told = told
        self._source = source
        self._taking = None
        self._download = None
        self._slices = None
        self._counted = 0

    @property
    def progress(self):
        """(blocks received, blocks in all), None while nothing is transferred."""
        if self.path is None or not self.path.size:
            return None
        size = self._board.settings["block_size"]
        return self._counted, (self.path.size + size - 1) // size

    def go_on(self):
        """Start with what the journal says is verified already; with the head where it is not."""
        self._slices = self._going_on()

    def step(self):
        """Do one slice of work. Returns the milliseconds until it wants to run again.

        None: an error that ends no job, as of memory, lost the work; it must begin anew. Raises
        OtaError, which ends the job; what `connect` raises, and then begins at the next step.
        """
        if self._slices is None:
            if self.path is None:
                self.path = self._connect()
            if self._taking is None and self.path.size:
                board = self._board
                self._taking = Head(self.path.size, board.settings["block_size"], board.buf)
            wait = self.path.step(self._taking)
            self._look()
            return wait
        slices = self._slices
        try:
            next(slices)
        except StopIteration as end:
            if self._slices is slices:  # else its last slice began what follows
                self._slices = None
            if not end.value:
                return None
        return 0

    def block(self, payload):
        """Take a message of the stream. Raises OtaError."""
        if self._slices is None and self._taking:
            self.path.take(self._taking, payload)
            self._look()

    def connected(self):
        """The link is a new one. What came at once may have been more than it had memory for."""
        if self._download and self._download.window:
            self._download.window.narrow()

    def save(self):
        """Keep a checkpoint of what is safe. Raises FlashError."""
        if self._download and self._download.window:
            safe = self._download.checkpoint
            if safe > max(HEAD_SIZE, self._board.journal.next):
                self._board.journal.save(next=safe)

    def close(self):
        """Let go of everything; it may be in the middle of a step."""
        if self.path:
            self.path.close()
        if self._download:
            self._download.abandon()
        self.path = self._taking = self._download = self._slices = None

    def _look(self):
        """Something may have come."""
        download = self._download
        if download is None:
            if self._taking and self._taking.window.complete:
                self._slices = self._opening()
        elif download.received != self._counted:
            self._count(download.received)

    def _opening(self):
        """The head is here: verify it, ask for admission, make room. A generator."""
        self.path.suspend()
        if self._board.buf[0] == IMAGE_MAGIC:
            from . import raw

            manifest = raw.manifest_of(self._job, self._board)
            del raw
        else:
            manifest = yield from self._taking.verifying(self._board.keys())
        forget(VERIFYING)
        present = yield from self._admit(manifest)
        yield
        from .download import Download  # late: verifying took the heap

        self.path.resume()
        self._taking = self._download = Download(manifest, self.path.size, self._board)
        yield from self._download.open(present)
        self._count(self._download.received)
        return True

    def _count(self, received):
        """Blocks have come: tell it, keep a checkpoint, go on when all are here."""
        before, self._counted = self._counted, received
        download = self._download
        if received:
            self._told(before, received, download.window.blocks)
        if self._download is not download:
            return  # who was told has let go of it
        if download.complete:
            self._slices = self._completing()
            return
        every = self._board.settings["checkpoint_blocks"]
        if before and received // every != before // every:
            self.save()

    def _admit(self, manifest):
        """Decide on a verified head. A generator; returns the bytes that are here already."""
        board, journal = self._board, self._board.journal
        identity = manifest.identity.hex()
        if not manifest.proof:
            from .fields import admit

            admit(
                manifest,
                product=board.product,
                chip=board.slots.running.chip_id(),
                capacity=board.slots.other.capacity,
                floor=board.floor,
                now=chip.unix_time(),
                retry_of=manifest.identity if journal.identity == identity else None,
            )
            forget("fields")
        if journal.phase == phases.RECEIVING and journal.identity == identity:
            return journal.next
        application = manifest.component(APPLICATION)
        if application:
            from . import room

            yield from room.checking(application, board)
            forget("room cleanup directory flat ustar")
        journal.finish(
            phase=phases.RECEIVING,
            origin=self.origin,
            job=self.job_id,
            slot=board.slots.other.label,
            identity=identity,
            sequence=manifest.sequence,
            source=self._source,
            detail=manifest.note,
            floor=board.floor,
        )
        return 0

    def _completing(self):
        """Everything has come: make the pair whole and let the trailer say so. A generator."""
        self._download.finish()
        self.path.close()
        manifest, self.path = self._download.manifest, None
        self._taking = self._download = None
        forget("download fill wide unpack archive flat streaming stream stream_json fetching")
        forget("pulling http directory ustar cbor")
        yield
        from . import making

        self.pair = yield from making.pair_of(manifest, self._board)
        forget("making rehash")
        return True

    def _going_on(self):
        """The journal says that the other slot holds this update. A generator of slices."""
        from . import making

        self.pair = yield from making.pair_again(self._job, self._board)
        forget("making rehash")
        return True


class Head:
    """The head while it comes. size: bytes of the file; block_size (bytes); buf: 4096 bytes.

    window: which of its blocks are here. It is one sector, whatever the block size.
    """

    def __init__(self, size, block_size, buf):
        block = min(block_size, HEAD_SIZE)
        self._size = size
        self._view = memoryview(buf)[: min(size, HEAD_SIZE)]
        self.window = Window(len(self._view), block, HEAD_SIZE // block)

    def take(self, index, data):
        """Take block `index` (memoryview). Returns whether it is new. Raises BlockRangeError."""
        window = self.window
        if index >= window.blocks or len(data) > HEAD_SIZE or not window.takes(index, len(data)):
            return False  # of an earlier transfer of this file, perhaps
        at = index * window.block_size
        self._view[at : at + len(data)] = data
        window.mark(index)
        return True

    def work(self):
        """Nothing is done meanwhile."""
        return False

    def verifying(self, keys):
        """Verify the head that is here. A generator of slices; returns its pair.Manifest.

        keys: from `trust.load_keys`. Raises what `pair.parsing_head` raises, JobError.
        """
        manifest = yield from pair.parsing_head(self._view, keys)
        if manifest.package_size != self._size:
            raise errors.JobError(
                "the job says %d bytes, the manifest %d" % (self._size, manifest.package_size)
            )
        return manifest
