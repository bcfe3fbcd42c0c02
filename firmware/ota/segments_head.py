"""What the head says of an encoded component, judged before anything is erased or written."""

from . import archive_base, image_base
from .compat import const
from .notes import Notes
from .payload import BLOCK, refused

_DIGEST = const(32)


def checking(component, board):
    """Judge a component in encoding 1. A generator of slices.

    Raises PackageError, and MismatchError where its base is not here.
    """
    first, base, size = component.coded
    for digest in (first, first if base is None else base):
        if not isinstance(digest, bytes) or len(digest) != _DIGEST:
            raise refused("first or base of an encoded component is not 32 bytes")
    if (base is None) != (size is None) or not (
        base is None or (isinstance(size, int) and size > 0)
    ):
        raise refused("base and base_size of an encoded component do not fit")
    if component.length % BLOCK:
        raise refused("an encoded component has %d bytes, no whole blocks" % component.length)
    here = (archive_base if component.kind else image_base).of(component, board)
    if here:
        yield from here.checking(board.buf)
    Notes(component).forget()  # of an earlier try: something else may lie there by now
