"""The table of shifts: how far addresses have moved, learned from two images. Pure.

Each address that both images have at the same place is a vote: what was at x in the base is at
x + shift in the result. The table is the piecewise constant function that most votes agree with,
where each step has a price (Viterbi's algorithm).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from twinslot.formats.image import Section
from twinslot.formats.segments.addresses import Sweep, target_of
from twinslot.formats.segments.layout import addressed
from twinslot.formats.segments.matching import Region
from twinslot.formats.segments.prologue import MAX_ADDRESS, MAX_SHIFTS, Code

_WORD = 4  # bytes
_FARTHEST = 1 << 24  # bytes that anything moves
_PRICE = 2.0  # votes that a step must win


def table(
    result: bytes,
    base: bytes,
    regions: Iterable[Region],
    sections: tuple[Sequence[Section], Sequence[Section]],
    codes: tuple[Code, ...],
) -> tuple[tuple[int, int], ...]:
    """The table for these images. sections: of the result, and of the base."""
    kept = [one for one in regions if one.alignment is not None]
    votes = _words(result, base, kept, sections)
    votes.update(_instructions(result, base, kept, codes))
    price = _PRICE
    while True:
        found = _fitted(votes, price)
        if len(found) <= MAX_SHIFTS:
            return found
        price *= 1.5


def _words(
    result: bytes,
    base: bytes,
    regions: Iterable[Region],
    sections: tuple[Sequence[Section], Sequence[Section]],
) -> Counter[tuple[int, int]]:
    votes: Counter[tuple[int, int]] = Counter()
    new, old = (np.frombuffer(data[: len(data) // 4 * 4], "<u4") for data in (result, base))
    are_new, are_old = addressed(new, sections[0]), addressed(old, sections[1])
    for one in regions:
        alignment = one.alignment or 0
        if alignment % 4:
            continue
        by = alignment // 4
        start, end = max(-(-one.start // 4), -by), min(one.end // 4, len(old) - by, len(new))
        if start >= end:
            continue
        both = are_new[start:end] & are_old[start + by : end + by]
        before = old[start + by : end + by][both].astype(np.int64)
        moved = new[start:end][both].astype(np.int64) - before
        votes.update(zip(before.tolist(), moved.tolist(), strict=True))
    return Counter({vote: n for vote, n in votes.items() if abs(vote[1]) < _FARTHEST})


def _instructions(
    result: bytes, base: bytes, regions: Sequence[Region], codes: tuple[Code, ...]
) -> Counter[tuple[int, int]]:
    votes: Counter[tuple[int, int]] = Counter()
    starts = np.array([one.start for one in regions])
    for code in codes:
        for at, _ in Sweep((code,), 0).over(result, 0, len(result)):
            number = int(np.searchsorted(starts, at, "right")) - 1 if len(starts) else -1
            if number < 0 or at + 3 > regions[number].end:
                continue
            alignment = regions[number].alignment or 0
            old = at + alignment
            mask = 0xFF if result[at] & 15 == 1 else 0x3F
            distance = alignment + code.bias
            if old < 0 or old + 3 > len(base) or distance % 4 or (base[old] ^ result[at]) & mask:
                continue
            pc = code.address + at - code.start
            before = target_of(base, old, pc + distance)
            moved = target_of(result, at, pc) - before
            if abs(moved) < _FARTHEST:
                votes[before, moved] += 1
    return votes


@dataclass(frozen=True)
class _Step:
    """From this address on the table has this shift; `before`: the steps that lead here."""

    address: int
    shift: int
    before: "_Step | None"


def _fitted(votes: Counter[tuple[int, int]], price: float) -> tuple[tuple[int, int], ...]:
    """The best table: pairs of an address and the shift from there on, the last shift 0.

    price: the votes that a step must win.
    """
    by_address: dict[int, list[tuple[int, int]]] = {}
    for (address, shift), count in sorted(votes.items()):
        if address < MAX_ADDRESS - _WORD:
            by_address.setdefault(address, []).append((shift, count))
    # For each shift the best table that ends with it, and for how many votes.
    paths: dict[int, _Step | None] = {0: None}
    score = {0: 0.0}
    best = 0
    for address, found in by_address.items():
        entry, path = score[best] - price, paths[best]
        for shift, count in found:
            if score.get(shift, entry) <= entry:
                score[shift], paths[shift] = entry, _Step(address, shift, path)
            score[shift] += count
        best = max((best, *(shift for shift, _ in found)), key=score.__getitem__)
    step = paths[best]
    made = [(max(by_address) + _WORD, 0)] if step and step.shift else []
    while step:
        made.append((step.address, step.shift))
        step = step.before
    return tuple(reversed(made))
