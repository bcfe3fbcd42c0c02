"""The kept price of a block: the service's processor time over that of the bare publisher.

Both are taken in the same run, in short turns, each as the least of its turns: what else the
machine does can only add to them. The bare publisher pauses here before it looks at what has come,
so that it finds requests of many boards, as the service does; else its price would follow from the
number of its looks, which is the machine's. The ratio is kept in `kept.json`, and may grow by a
quarter. On a busy machine it takes more turns until both have had a quiet moment.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench.fleet.run import Fleet
from bench.run import BenchError

FILE = Path(__file__).parent / "kept.json"
BOARDS = 100
SECONDS = 0.7
"""Boards, and length of a turn."""
PAUSE = 0.02
"""Seconds that requests gather for the bare publisher."""
TURNS, MOST_TURNS = 8, 40
"""Turns of each side: at least, and as long as the ratio is too high."""

_MAY_GROW = 1.25


def measure(fleet: Fleet, kept: float = 0) -> float:
    """Return the ratio of this machine, now. kept: the ratio that it is held against."""
    served = bare = ratio = float("inf")
    for turn in range(MOST_TURNS):
        if turn >= TURNS and ratio <= _MAY_GROW * kept:
            break
        served = min(served, fleet.service(BOARDS, SECONDS).cost)
        bare = min(bare, fleet.bare(BOARDS, SECONDS, PAUSE).cost)
        ratio = served / bare
    return ratio


def check(ratio: float, kept: float) -> str:
    """Return a sentence about a ratio that may stay. Raises BenchError for one that grew."""
    said = f"a block costs {ratio:.2f} times that of the bare publisher; {kept:.2f} is kept"
    if ratio > _MAY_GROW * kept:
        raise BenchError(f"{said}, and may grow by a quarter: find out why it costs more")
    return said


def read(path: Path = FILE) -> float:
    """Return the kept ratio."""
    kept: float = json.loads(path.read_text())["ratio"]
    return kept


def write(ratio: float, path: Path = FILE) -> None:
    """Keep a ratio."""
    path.write_text(json.dumps({"ratio": round(ratio, 2)}) + "\n")
