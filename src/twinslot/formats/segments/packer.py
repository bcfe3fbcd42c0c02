"""The packer of encoding 1: a result, and perhaps its base, in; stored blocks out. Pure.

It tries with ranges of code and without, with a table of shifts and without, and keeps the
smallest. Then it decodes what it packed, and gives nothing out that does not come out right.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from twinslot.errors import EncodingError
from twinslot.formats.image import Section
from twinslot.formats.segments import layout, matching, shifts
from twinslot.formats.segments.addresses import Addresses
from twinslot.formats.segments.chain import chained
from twinslot.formats.segments.compress import deflated
from twinslot.formats.segments.decoder import SEGMENT, Kind, decode
from twinslot.formats.segments.matching import Region
from twinslot.formats.segments.prologue import BITS, MAX_BITS, Code, Prologue
from twinslot.formats.segments.rows import Rows

_BITS_WITH_BASE = 11

Progress = Callable[[int, int], None]
"""Called with bytes that are done, and bytes in all."""


@dataclass(frozen=True)
class Plain:
    """Bytes, and for an image its sections."""

    data: bytes
    sections: Sequence[Section] = ()


@dataclass(frozen=True)
class Packed:
    """Stored blocks, and the SHA-256 of the first."""

    data: bytes
    first: bytes


def quiet(_done: int, _all: int) -> None:
    """Tell nobody how far it is."""


@dataclass(frozen=True)
class _Try:
    """One way to pack a result: with this prologue, copying from these regions of the base."""

    prologue: Prologue
    regions: Sequence[Region] = ()


def pack(result: Plain, base: Plain | None, kind: Kind, progress: Progress = quiet) -> Packed:
    """Return the stored blocks of a result. kind: what the component may have.

    Raises EncodingError where the decoder would make something else of them.
    """
    known = None if base is None else base.data
    tries = _tries_alone(result, kind) if base is None else _tries(result, base, kind)
    length, total = len(result.data), len(tries) * len(result.data)
    payloads = []
    for number, one in enumerate(tries):

        def told(done: int, before: int = number * length) -> None:
            progress(before + done, total)

        payloads.append(_payload(result.data, known, one, told))
    data, first = chained(min(payloads, key=len))
    if decode(data, first, len(result.data), known, kind) != result.data:
        raise EncodingError("the packed component does not give its result: this is a fault here")
    return Packed(data, first)


def _tries_alone(result: Plain, kind: Kind) -> list[_Try]:
    codes = layout.ranges(result.sections) if kind.codes else ()
    return [_Try(Prologue(MAX_BITS, ranges)) for ranges in dict.fromkeys((codes, ()))]


def _tries(result: Plain, base: Plain, kind: Kind) -> list[_Try]:
    codes = layout.ranges(result.sections, base.sections) if kind.codes else ()
    new, old = (layout.plain(one.data, one.sections, codes=kind.codes) for one in (result, base))
    regions = matching.regions(new, old)
    table: tuple[tuple[int, int], ...] = ()
    if kind.shifts:
        sections = result.sections, base.sections
        table = shifts.table(result.data, base.data, regions, sections, codes)
    pairs: Iterable[tuple[tuple[Code, ...], tuple[tuple[int, int], ...]]]
    pairs = dict.fromkeys(((codes, table), ((), table), ((), ())))
    return [_Try(Prologue(_BITS_WITH_BASE, *pair), regions) for pair in pairs]


def _payload(result: bytes, base: bytes | None, one: _Try, told: Callable[[int], None]) -> bytes:
    """Prologue and segments. told: called with the bytes of the result that are packed."""
    rows = Rows(result, base, one.regions, Addresses(one.prologue))
    parts = [deflated(one.prologue.data, BITS)]
    for start in range(0, len(result), SEGMENT):
        end = min(start + SEGMENT, len(result))
        parts.append(deflated(rows.segment(start, end), one.prologue.bits))
        told(end)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
