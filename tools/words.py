"""Makes the words that the modules of a bundle share: src/twinslot/formats/bundle_words.py.

Each module of a bundle is deflated by itself, so each has to spell every name, and every habit of
the compiler, once. The words stand in front of all of them. The choice begins greedy: the piece
that is new to the most modules for the fewest bytes comes first, and what it covers counts no more.
Then small changes are tried by chance, and kept where they make the bundle smaller. It takes some
minutes. Run it when the agent has grown much; stale words only save less.
"""

import heapq
import math
import random
import sys
import zlib
from collections import defaultdict
from collections.abc import Sequence

from tools.paths import ROOT
from twinslot.firmware import agent, extensions
from twinslot.formats import bundle

PAGE = ROOT / "src/twinslot/formats/bundle_words.py"
SIZE = 1000  # bytes: more of them save little flash, and each import reads them all
TRIES = 20_000

_LENGTHS = range(3, 32)  # bytes of a piece
_FEWEST = 3  # modules that have it
# Bytes of a deflated module: for each byte that is spelt there, and for one that is referred to.
_SPELT = 0.72
_REFERENCE = 2.4


def main() -> int:
    """Write the page; return the exit status."""
    found = bundle.read(agent.compiled(extensions.everything())[agent.BUNDLE])
    modules = list(found.modules.values())
    words = tried(chosen(modules, 2 * SIZE), modules, SIZE, TRIES)
    rows = [words[at : at + 16] for at in range(0, len(words), 16)]
    text = "".join(f"    {row!r}\n" for row in rows).replace("b'", 'b"').replace("'\n", '"\n')
    PAGE.write_text(
        '"""The words that modules of a bundle share. Written by `make words`; not by hand."""\n'
        f"\n# fmt: off\nWORDS = (\n{text})\n",
        encoding="utf-8",
    )
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: {len(words)} bytes\n")
    return 0


def tried(pieces: Sequence[bytes], modules: Sequence[bytes], size: int, tries: int) -> bytes:
    """Return so many bytes of words: these pieces, changed by chance while that makes less."""
    chance = random.Random(1)
    best = list(pieces)
    least = _together(joined(best)[-size:], modules)
    for _ in range(tries):
        other = _changed(best, chance)
        total = _together(joined(other)[-size:], modules)
        if total <= least:
            best, least = other, total
    return joined(best)[-size:].rjust(size, b"\0")


def _changed(pieces: Sequence[bytes], chance: random.Random) -> list[bytes]:
    """Return the pieces with one that is moved, gone, or shorter at either end."""
    other = list(pieces)
    piece = other.pop(chance.randrange(len(other)))
    way = chance.choice(("move", "move", "drop", "begin later", "end sooner"))
    if way == "drop" and other:
        return other
    if way == "begin later":
        piece = piece[1:]
    elif way == "end sooner":
        piece = piece[:-1]
    other.insert(chance.randrange(len(other) + 1), piece)
    return other


def _together(words: bytes, modules: Sequence[bytes]) -> int:
    """Return the bytes that words and modules take."""
    total = len(words)
    for data in modules:
        packed = zlib.compressobj(9, zlib.DEFLATED, -bundle.WINDOW_BITS, 9, zdict=words)
        total += len(packed.compress(data) + packed.flush())
    return total


def chosen(modules: Sequence[bytes], size: int) -> list[bytes]:
    """Return pieces of so many bytes together that these modules share, the best first."""
    where: dict[bytes, set[int]] = defaultdict(set)
    for number, data in enumerate(modules):
        for length in _LENGTHS:
            for at in range(len(data) - length + 1):
                where[data[at : at + length]].add(number)
    where = {piece: numbers for piece, numbers in where.items() if len(numbers) >= _FEWEST}
    covered = [bytearray(len(data)) for data in modules]

    def worth(piece: bytes) -> float:
        """What a piece saves, for its length: long ones are not better for being long."""
        saved = 0.0
        for number in where[piece]:
            at = modules[number].find(piece)
            new = len(piece) - sum(covered[number][at : at + len(piece)])
            saved += max(0.0, new * _SPELT - (_REFERENCE if new > 2 else new))
        return (saved - len(piece)) / math.sqrt(len(piece))

    # A piece's worth only falls while others are taken, so an old figure is an upper bound.
    heap = [(-worth(piece), piece) for piece in where]
    heapq.heapify(heap)
    taken: list[bytes] = []
    while heap and sum(map(len, taken)) < size:
        piece = heapq.heappop(heap)[1]
        if any(piece in other for other in taken):
            continue
        now = worth(piece)
        if heap and now < -heap[0][0]:
            heapq.heappush(heap, (-now, piece))
            continue
        if now <= 0:
            break
        taken.append(piece)
        for number in where[piece]:
            at = modules[number].find(piece)
            while at >= 0:
                covered[number][at : at + len(piece)] = b"\1" * len(piece)
                at = modules[number].find(piece, at + 1)
    return taken


def joined(taken: Sequence[bytes]) -> bytes:
    """Return the pieces in one row, the first one last; where one ends as another begins, once."""
    row = b""
    for number in reversed(range(len(taken))):
        piece = taken[number]
        if any(piece in better for better in taken[:number]):
            continue
        both = next(n for n in range(len(piece), -1, -1) if row.endswith(piece[:n]))
        row += piece[both:]
    return row


if __name__ == "__main__":
    sys.exit(main())
