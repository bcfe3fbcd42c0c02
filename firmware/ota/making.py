"""From what a download has brought to a verified pair. Loaded for that.

What came is read back and hashed, then the trailer says so. Each is a generator of slices.
"""

from . import errors, pair, rehash
from . import journal as phases
from .compat import VERIFYING, forget


def pair_of(manifest, board):
    """Return the pair.Pair that a complete download makes; the trailer and the journal say so then.

    manifest: of its verified head; board: board.Board. Raises what `rehash.checking` and
    `rehash.completing` raise.
    """
    made = yield from pair.following(manifest, board)
    yield from _checking(made, board)
    if not manifest.proof:
        made.write_trailer(board.buf)
    board.journal.save(phase=phases.VERIFIED, next=0)
    return made


def pair_again(job, board):
    """Return the pair.Pair that the journal calls verified, None when the slot lost it.

    job: jobs.Job, None without one. Raises as `pair_of`.
    """
    try:
        if board.journal.sequence:
            made = yield from pair.reading(board.slots.other, board.keys(), board.buf)
        else:
            from . import raw

            board.slots.other.read(0, board.buf)
            manifest = raw.manifest_of(job, board)
            del raw  # which the arithmetic needs the heap of
            made = yield from pair.following(manifest, board)
    except errors.OtaError:
        return None
    if made is None or made.newest.identity.hex() != board.journal.identity:
        return None
    yield from _checking(made, board)
    return made


def _checking(made, board):
    forget(VERIFYING)
    yield from rehash.completing(made, board.slots.running, board.buf)
    yield from rehash.checking(made, board.buf)
    forget("directory ustar")
