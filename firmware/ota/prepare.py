"""What comes before the bytes of a transfer: its data path, the head's writer, room, the writers.

Contracts of data path and component writer: `transfer`.
"""

import gc

from . import engine as states
from . import errors, loader
from .chip import SECTOR
from .compat import const, mem_free
from .transfer import HEAD, Transfer, count
from .window import Window

_FIRMWARE = const(0)
# Free heap (bytes) with which flash is written 64 KB at a time. Only chips with PSRAM have as much.
_PLENTY = const(1114112)


def connecting(engine):
    """Make the data path, and wait until it knows the size of the file."""
    path = engine.path
    if path is None:
        path = engine.path = loader.module(engine.modules.split()[-1]).make(engine)
    if path.size:
        _begin_head(engine)
        return 0
    path.poll(None)
    return path.request(None)


def preparing(engine):
    """Make room for the components that were admitted, a slice at a time."""
    if engine.slices(_preparing):
        loader.enter_now("transfer", engine.modules)  # the buffers need the memory
        engine.path.resume()
        engine.become(states.RECEIVING)
        count(engine)
    return 0


def _begin_head(engine):
    block = min(engine.board.settings["block_size"], HEAD)
    length = min(engine.path.size, HEAD)
    window = Window(length, block, HEAD // block)
    engine.transfer = Transfer(length, window, [(0, length, _Head(engine.board.buf))])
    engine.become(states.FETCHING)


def _preparing(engine):
    board, manifest, size = engine.board, engine.manifest, engine.path.size
    present, block = board.journal.next, board.settings["block_size"]
    kinds = [component.kind for component in manifest.components]
    # What a whole slot goes with has run: none of it is what an earlier try has left.
    begun = board.slots.other.read_trailer(board.buf) is None
    if _FIRMWARE in kinds:
        same = board.slots.other.begin(manifest.record, board.buf) and block >= SECTOR
    else:
        same = board.slots.other.void(board.buf)
    yield
    first, group, origin, parts = (size + block - 1) // block, 0, 0, []
    for component in manifest.components:
        offset, length = component.offset, component.length
        written = max(0, present - offset)
        if component.kind == _FIRMWARE and written >= length:
            continue  # it is there: of a block that reaches into it only the rest counts
        writer = _writer(engine, component, same if component.kind == _FIRMWARE else begun)
        if writer.find:
            written = yield from writer.find(board.buf)
            if written >= length:
                continue
            if present > offset:
                engine.journal.save(next=0)  # all that follows comes again
        else:
            written -= written % (writer.group or SECTOR)
        if writer.group:
            group, origin = writer.group // block, offset // block
        first = min(first, (offset + written) // block)
        parts.append((offset, length, writer))
    if not same:
        board.give_back()  # until the update is read back
    for offset, _, writer in parts:
        writer.begin(max(0, first * block - offset), same)
    window = Window(size, block, board.settings["window"], first, group, origin)
    engine.transfer = Transfer(size, window, parts)


def _writer(engine, component, same):
    """Return the writer of a component: the wide one where there is one, and memory is plenty."""
    key = component.kind, component.encoding
    table = loader.table()
    wide, usual = table.WIDE_WRITERS.get(key), table.WRITERS[key]
    table = None
    gc.collect()
    if wide and engine.board.settings["wide_writes"] and mem_free() >= _PLENTY:
        try:
            return _opened(engine, wide, component, same)
        except (errors.ExtensionError, errors.MismatchError, MemoryError):
            pass  # the other one takes longer, and brings the same
    return _opened(engine, usual, component, same)


def _opened(engine, names, component, same):
    """Return the writer of these modules, loaded for as long as the update is."""
    more = engine.modules + " " + names
    loader.enter_now("prepare", more)
    writer = loader.module(more.split()[-1]).make(engine.board, component, same)
    engine.modules = more
    return writer


class _Head:
    """The writer of the head: it stays in the buffer that it is verified in."""

    group = 0
    in_order = False

    def __init__(self, buf):
        self._view = memoryview(buf)
        self.received = 0

    def write(self, offset, data):
        self._view[offset : offset + len(data)] = data

    def work(self):
        return False

    def abandon(self):
        pass
