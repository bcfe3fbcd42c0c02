"""Makes the words that the modules of a bundle share: src/twinslot/formats/bundle_words.py.

Each module of a bundle is deflated by itself, so each has to spell every name, and every habit of
the compiler, once. The words stand in front of all of them. The choice is greedy: the piece that is
new to the most modules for the fewest bytes comes first, and what it covers counts no more. Run it
when the agent has grown much; stale words only save less.
"""

import heapq
import math
import sys
from collections import defaultdict
from collections.abc import Sequence

from tools.paths import ROOT
from twinslot.firmware import agent, extensions
from twinslot.formats import bundle

PAGE = ROOT / "src/twinslot/formats/bundle_words.py"
SIZE = 900  # bytes: more of them save less in flash than each import spends on reading them

_LENGTHS = range(3, 32)  # bytes of a piece
_FEWEST = 3  # modules that have it
# Bytes of a deflated module: for each byte that is spelt there, and for one that is referred to.
_SPELT = 0.72
_REFERENCE = 2.4


def main() -> int:
    """Write the page; return the exit status."""
    found = bundle.read(agent.compiled(extensions.everything())[agent.BUNDLE])
    words = chosen(list(found.modules.values()), SIZE)
    rows = [words[at : at + 16] for at in range(0, len(words), 16)]
    text = "".join(f"    {row!r}\n" for row in rows).replace("b'", 'b"').replace("'\n", '"\n')
    PAGE.write_text(
        '"""The words that modules of a bundle share. Written by `make words`; not by hand."""\n'
        f"\n# fmt: off\nWORDS = (\n{text})\n",
        encoding="utf-8",
    )
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: {len(words)} bytes\n")
    return 0


def chosen(modules: Sequence[bytes], size: int) -> bytes:
    """Return so many bytes of words for these modules, the best last: it is the nearest."""
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
    while heap and sum(map(len, taken)) < 2 * size:
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
    return _joined(taken)[-size:]


def _joined(taken: Sequence[bytes]) -> bytes:
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
