"""Where the bytes of a result lie in its base: an alignment for each position. Pure.

An alignment is source minus place. Candidates are places where a run of bytes occurs in both; of
those that reach a position the one wins that agrees with most bytes around it. The method is that
of bsdiff, with the search of runs done by sorted hashes in numpy.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

NOWHERE = np.int64(1 << 40)
"""The alignment of a position that the base does not have."""

_RUNS = (32, 12)  # bytes of a run that must occur in both
_MOST_PLACES = 6  # a run that the base has more often tells nothing
_GAP = 256  # bytes between two runs of one alignment that belong together
_AROUND = 16  # bytes on either side of a position that are counted
_FEWEST = 10  # bytes of these that must agree
_MARGIN = 2  # bytes by which a smaller cluster must be better than a larger one
_WORTH = 6  # bytes that an alignment of its own must bring
_SEED = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Region:
    """Bytes of the result from `start` to `end`; alignment: None where the base has none such."""

    start: int
    end: int
    alignment: int | None


def regions(result: Bytes, base: Bytes) -> list[Region]:
    """The regions of a result, from its first byte to its last."""
    found = _best(result, base)
    borders = np.flatnonzero(np.diff(found)) + 1
    edges = [0, *borders.tolist(), len(found)]
    made = [
        Region(start, end, None if found[start] == NOWHERE else int(found[start]))
        for start, end in itertools.pairwise(edges)
        if end > start
    ]
    return _tidied(made, result, base)


def _best(result: Bytes, base: Bytes) -> Numbers:
    """The best alignment of each position, NOWHERE where there is none."""
    best = np.full(len(result), NOWHERE, np.int64)
    score = np.full(len(result), _FEWEST - 1 - _MARGIN, np.int16)
    clusters = sorted(_clusters(result, base), key=lambda one: one[1] - one[0], reverse=True)
    for start, end, alignment in clusters:
        low = max(start - _AROUND, 0, -alignment)
        high = min(end + _AROUND, len(result), len(base) - alignment)
        same = (result[low:high] == base[low + alignment : high + alignment]).astype(np.int16)
        total = np.cumsum(np.pad(same, (_AROUND + 1, _AROUND)), dtype=np.int32)
        around = (total[2 * _AROUND + 1 :] - total[: -2 * _AROUND - 1]).astype(np.int16)
        better = around > score[low:high] + _MARGIN
        score[low:high][better] = around[better]
        best[low:high][better] = alignment
    return best


def _clusters(result: Bytes, base: Bytes) -> Iterator[tuple[int, int, int]]:
    """Start, end and alignment of bytes that runs have in common with the base."""
    for length in _RUNS:
        if min(len(result), len(base)) < length:
            continue
        places, alignments = _pairs(result, base, length)
        if not len(places):
            continue
        order = np.lexsort((places, alignments))
        places, alignments = places[order], alignments[order]
        new = (np.diff(alignments) != 0) | (np.diff(places) > _GAP)
        starts = np.concatenate(([0], np.flatnonzero(new) + 1))
        ends = np.concatenate((starts[1:], [len(places)])) - 1
        yield from zip(
            places[starts].tolist(),
            (places[ends] + length).tolist(),
            alignments[starts].tolist(),
            strict=True,
        )


def _pairs(result: Bytes, base: Bytes, length: int) -> tuple[Numbers, Numbers]:
    """Places in the result, and alignments, of all runs of a length that occur in both."""
    wanted, known = _hashes(result, length), _hashes(base, length)
    order = np.argsort(known, kind="stable")
    known = known[order]
    asked = np.argsort(wanted, kind="stable")
    first = np.searchsorted(known, wanted[asked], "left")
    count = np.searchsorted(known, wanted[asked], "right") - first
    told = (count > 0) & (count <= _MOST_PLACES)
    asked, first, count = asked[told], first[told], count[told]
    places = np.repeat(asked, count)
    behind = np.arange(len(places)) - np.repeat(np.cumsum(count) - count, count)
    sources = order[np.repeat(first, count) + behind]
    return places.astype(np.int64), (sources - places).astype(np.int64)


def _hashes(data: Bytes, length: int) -> npt.NDArray[np.uint64]:
    """A hash of the run of so many bytes at each position that has one."""
    random = np.random.default_rng(_SEED)
    factors = random.integers(1, 1 << 62, 32, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    part = random.integers(1, 1 << 62, 256, dtype=np.uint64)[data]  # of runs of `width` bytes
    made = np.zeros(len(data) + 1, np.uint64)  # of runs of `reach` bytes
    reach, width = 0, 1
    for factor in factors[: length.bit_length()]:
        if length & width:
            made = made[: len(part) - reach] * factor + part[reach:]
            reach += width
        part = part[:-width] * factor + part[width:]
        width *= 2
    return made


def _tidied(made: list[Region], result: Bytes, base: Bytes) -> list[Region]:
    """The regions without those that are not worth an alignment, with their best borders."""
    out: list[Region] = []
    for one in made:
        if out and one.alignment is not None and one.end - one.start < 4 * _AROUND:
            before = out[-1].alignment
            own = _same(result, base, one.start, one.end, one.alignment)
            if own - _same(result, base, one.start, one.end, before) < _WORTH:
                one = Region(one.start, one.end, before)
        if out and out[-1].alignment == one.alignment:
            out[-1] = Region(out[-1].start, one.end, one.alignment)
        else:
            out.append(one)
    return _moved(out, result, base)


def _moved(made: list[Region], result: Bytes, base: Bytes) -> list[Region]:
    """The regions, each border where most bytes on both sides agree."""
    borders = [made[0].start]
    for left, right in itertools.pairwise(made):
        low = max(borders[-1], left.end - 4 * _AROUND)
        high = min(right.end, left.end + 4 * _AROUND)
        gain = _agrees(result, base, low, high, left.alignment) - _agrees(
            result, base, low, high, right.alignment
        )
        total = np.concatenate(([0], np.cumsum(gain)))
        borders.append(low + int(np.argmax(total)))
    borders.append(made[-1].end)
    return [
        Region(start, end, one.alignment)
        for one, start, end in zip(made, borders, borders[1:], strict=False)
        if end > start
    ]


def _same(result: Bytes, base: Bytes, start: int, end: int, alignment: int | None) -> int:
    return int(_agrees(result, base, start, end, alignment).sum())


def _agrees(
    result: Bytes, base: Bytes, start: int, end: int, alignment: int | None
) -> npt.NDArray[np.int32]:
    """1 for each byte from start to end that the base has at this alignment, else 0."""
    found = np.zeros(end - start, np.int32)
    if alignment is not None:
        low, high = max(start, -alignment), min(end, len(base) - alignment)
        if low < high:
            found[low - start : high - start] = (
                result[low:high] == base[low + alignment : high + alignment]
            )
    return found
