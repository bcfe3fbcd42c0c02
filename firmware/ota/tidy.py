"""At rest: remove the leftovers of an update, a slice at a time."""

from . import engine as states
from . import errors, journal
from .cleanup import removing, set_aside


def tidying(engine):
    """Remove a directory or flat modules that no slot names."""
    if engine.slices(_tidying):
        engine.tidied = True
        engine.become(states.RESTING)
    return 0


def _tidying(engine):
    board = engine.board
    if engine.journal.phase == journal.RECEIVING:
        return  # no trailer names the files of a download yet
    try:
        trailer = board.slots.other.read_trailer(board.buf)
        named = trailer[1] if trailer else None
        board.give_back()
        if named != board.spare:
            set_aside(board.spare)
        # Without a trailer the other slot may go with the flat files.
        yield from removing(board.directory if named else "")
    except errors.FlashError:
        pass  # of the file system, too; the update that needs the room will say it
