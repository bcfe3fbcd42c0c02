"""The places of code and of addresses in an image, by its own sections. Pure."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from twinslot.formats.image import Section
from twinslot.formats.segments.addresses import Sweep
from twinslot.formats.segments.matching import Bytes
from twinslot.formats.segments.prologue import MAX_BIAS, MAX_RANGES, Code

Words = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]

_CODE = 0x4  # an Xtensa chip's instruction bus: 0x40000000 to 0x4FFFFFFF
_SHORTEST = 256  # bytes of code that are worth a range
_BEHIND = 1 << 18  # bytes behind a section that may be addressed: memory without contents
_KEPT = 0xFF000000  # of an address, when it is hidden


def ranges(result: Sequence[Section], base: Sequence[Section] = ()) -> tuple[Code, ...]:
    """The ranges of an Xtensa image's code, each with the bias of the base's nearest section."""
    largest = sorted(filter(_runs, result), key=lambda one: one.length, reverse=True)[:MAX_RANGES]
    return tuple(
        Code(one.start, one.length, one.address, _bias(one, base))
        for one in sorted(largest, key=lambda one: one.start)
    )


def plain(data: bytes, sections: Sequence[Section], *, codes: bool) -> Bytes:
    """The bytes of an image with addresses hidden, so that code which has moved looks the same.

    codes: whether there are instructions of an Xtensa chip among them.
    """
    found = np.frombuffer(data, np.uint8).copy()
    words = found[: len(found) // 4 * 4].view("<u4")
    for one in sections:
        near = (words >= one.address) & (words < one.address + one.length + _BEHIND)
        words[near] &= np.uint32(_KEPT)
    for code in ranges(sections) if codes else ():
        for at, _ in Sweep((code,), 0).over(data, 0, len(data)):
            keeps = 0xFF if data[at] & 15 == 1 else 0x3F
            found[at] = data[at] & keeps
            found[at + 1 : at + 3] = 0
    return found


def addressed(words: Words, sections: Sequence[Section]) -> Mask:
    """Whether a word looks like an address of an image with these sections, for each word."""
    found = np.zeros(len(words), bool)
    for one in sections:
        found |= (words >= one.address) & (words < one.address + one.length + _BEHIND)
    return found


def _runs(one: Section) -> bool:
    return one.address >> 28 == _CODE and one.length >= _SHORTEST and one.length % 4 == 0


def _bias(one: Section, base: Sequence[Section]) -> int:
    """How much farther the address of a byte is from its place in the base than in the result."""
    kin = [other for other in base if _runs(other)]
    if not kin:
        return 0
    nearest = min(kin, key=lambda other: abs(other.address - one.address))
    bias = (nearest.address - nearest.start) - (one.address - one.start)
    return bias if abs(bias) < MAX_BIAS and bias % 4 == 0 else 0
