"""One package on its way into the idle slot: head, blocks, read-back.

Knows no MQTT and no clock: it says what to ask for, takes what came, and raises what is wrong.
Nothing is erased before the head is verified and admitted.
"""

import gc
from hashlib import sha256

from . import package, stream
from .compat import const, mem_free
from .errors import BlockRangeError, ImageError, JobError
from .slots import SECTOR, check_image

# Free heap (bytes) with which flash is written 64 KB at a time. Only chips with PSRAM have as much.
_PLENTY = const(1114112)


class Readback:
    """Hashes an image as it lies in a slot, a sector per step.

    component: of the manifest; buf: scratch, 4096 bytes.
    """

    def __init__(self, slot, component, buf):
        self._slot = slot
        self._component = component
        self._view = memoryview(buf)
        self._hash = sha256()
        self._done = 0

    def step(self):
        """Hash one more sector. Returns True when the whole image is as the manifest says.

        Raises ImageError, FlashError.
        """
        component = self._component
        piece = self._view[: min(SECTOR, component.size - self._done)]
        self._slot.read(self._done, piece)
        if self._done == 0:
            if len(piece) < 36:
                raise ImageError("the firmware is not an ESP32 application image")
            check_image(piece, component.chip)
        self._hash.update(piece)
        self._done += len(piece)
        if self._done < component.size:
            return False
        if self._hash.digest() != component.sha256:
            raise ImageError("%s does not hold what the manifest says" % self._slot.label)
        return True


class Download:
    """The transfer of one job's file.

    job: jobs.Job; slot: the idle slots.Slot; keys: trust.load_keys; admit(manifest): raises unless
    the package may be installed, else returns how many of its bytes the slot already has (a
    checkpoint); block_size (bytes) and window (blocks) of a request; wide: whether flash may be
    written 64 KB at a time; buf: scratch, 4096 bytes.
    """

    def __init__(self, job, slot, keys, admit, block_size, window, wide, buf):
        self._job = job
        self._slot = slot
        self._keys = keys
        self._admit = admit
        self._block_size = block_size
        self._window_size = window
        self._wide = wide
        self._buf = buf
        self.manifest = None
        # The head is one sector, whatever the block size.
        size = min(block_size, package.HEAD_SIZE)
        self._head_size = min(job.file_size, package.HEAD_SIZE)
        self._window = stream.Window(self._head_size, size, package.HEAD_SIZE // size)
        self._asked = 0
        self.blocks = (job.file_size + block_size - 1) // block_size

    @property
    def head_here(self):
        """Whether the head has come, and waits for `open`."""
        return self.manifest is None and self._window.complete

    @property
    def received(self):
        """How many blocks of the file are here."""
        return self._window.received if self.manifest else 0

    @property
    def complete(self):
        """Whether every block is in the slot."""
        return self.manifest is not None and self._window.complete

    @property
    def checkpoint(self):
        """How many bytes of the package are safely in the slot, a multiple of the sector."""
        return self._firmware.offset + self._fill.safe(self._here // SECTOR * SECTOR)

    @property
    def _here(self):
        """How many bytes of the firmware have come without a gap."""
        here = self._window.first * self._block_size - self._firmware.offset
        return min(max(0, here), self._firmware.length)

    @property
    def idle(self):
        """Whether everything asked for has come, so that more can be asked for."""
        return self._asked == 0

    def request(self, out):
        """Write the request for what is missing into the bytearray `out`."""
        stream.get_request(out, self._job.file_id, self._window)
        self._asked = bin(self._window.missing()).count("1")

    def block(self, payload):
        """Take a `data/cbor` message (memoryview).

        Returns True when it brought something new, False for a duplicate. Raises BlockError,
        BlockRangeError, FlashError.
        """
        file_id, index, start, end = stream.parse_data(payload)
        window = self._window
        if file_id != self._job.file_id:
            return False
        if self.manifest is None and index >= window.blocks:
            return False  # of an earlier transfer of this file
        expected = window.length_of(index)
        if not window.wants(index):
            return False
        if end - start != expected:
            if index == 0 and end - start == package.HEAD_SIZE:
                return False  # the head once more, while larger blocks are awaited
            raise BlockRangeError(
                "block %d has %d bytes instead of %d" % (index, end - start, expected)
            )
        data = payload[start:end]
        if self.manifest is None:
            at = index * window.block_size
            self._buf[at : at + len(data)] = data
        else:
            self._store(index * self._block_size, data)
        window.mark(index)
        self._asked = max(0, self._asked - 1)
        return True

    def work(self):
        """Do what the flash needs next. Returns False when nothing. Raises FlashError.

        To be called while nothing comes; takes no longer than a write of one sector or, if
        `wide`, of 64 KB.
        """
        return self.manifest is not None and self._fill.work(self._here)

    def readback(self):
        """Return the Readback for what was received. Raises FlashError."""
        self._fill.finish()
        return Readback(self._slot, self._firmware, self._buf)

    def open(self):
        """Verify the head, ask for admission, and open the window. A generator of slices.

        Raises everything that `package.parsing_head` and `admit` raise, JobError, FlashError.
        """
        head = memoryview(self._buf)[: self._head_size]
        manifest = yield from package.parsing_head(head, self._keys)
        if manifest.package_size != self._job.file_size:
            raise JobError(
                "the job says %d bytes, the manifest %d"
                % (self._job.file_size, manifest.package_size)
            )
        present = self._admit(manifest)
        yield
        firmware = manifest.component(package.FIRMWARE)
        size = self._block_size
        filling = self._choose_fill(firmware.length)
        written = max(0, present - firmware.offset)
        written -= written % (filling.group or SECTOR)
        first = (firmware.offset + written) // size
        same = self._slot.begin(manifest.record, self._buf)
        filling.begin(max(0, first * size - firmware.offset), same and size >= SECTOR)
        self._window = stream.Window(
            self._job.file_size, size, self._window_size, first, filling.group // size
        )
        self._firmware = firmware
        self._fill = filling
        self._asked = 0
        self.manifest = manifest

    def _choose_fill(self, length):
        """Return how the slot is filled. Imported only now: verifying the head took the heap."""
        size = self._block_size
        gc.collect()
        if self._wide and mem_free() >= _PLENTY:
            from . import wide

            filling = wide.find(self._slot, length, size, self._buf)
            if filling:
                return filling
        from .fill import Fill

        return Fill(self._slot, length, self._window_size * size, self._buf)

    def _store(self, offset, data):
        """Write what of `data`, at `offset` of the package, belongs to the firmware."""
        offset -= self._firmware.offset
        if offset < 0:
            data = data[-offset:]
            offset = 0
        data = data[: max(0, self._firmware.length - offset)]
        if len(data):
            self._fill.write(offset, data)
