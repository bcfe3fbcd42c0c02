"""The sequences that this fleet's packages have had, kept in the fleet's folder.

It is what `fleet pack` counts by where no service runs, and what a service is told, so that a
package that went to a board by another way counts, too. Boards have no say in it: one that reports
the highest number of all would leave none for the others. One file, `sequences.json`, holds the
highest sequence of each product; who changes it holds a lock.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from twinslot import disk
from twinslot.errors import FleetError
from twinslot.formats.manifest import MAX_SEQUENCE

FILE = "sequences.json"
LOCK = ".sequences.lock"
FLASHED = 1
"""The sequence that `fleet flash` gives a board; the first package is above it."""


class SequenceError(FleetError):
    """The counter cannot be read, or has come to its end."""


class Ledger:
    """The counter of a fleet's folder while its lock is held."""

    def __init__(self, path: Path) -> None:
        """Raises SequenceError for a file that is damaged, FileError for one that is unreadable."""
        self._path = path
        self._highest = _read(path)

    def highest(self, product: str) -> int:
        """The highest sequence of a product, at least FLASHED."""
        return max(FLASHED, self._highest.get(product, 0))

    def raise_to(self, product: str, sequence: int) -> None:
        """Count a package of this sequence; a lower one changes nothing. Raises FileError."""
        if sequence > self._highest.get(product, 0):
            self._highest[product] = sequence
            text = json.dumps(self._highest, indent=2, sort_keys=True) + "\n"
            disk.replace(self._path, text.encode())


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Ledger]:
    """Hold the counter of the fleet in `folder`, waiting for others. Raises as Ledger does."""
    with disk.locked(folder / LOCK):
        yield Ledger(folder / FILE)


def note(folder: Path, product: str, sequence: int) -> None:
    """Count a package whose sequence was chosen by hand. Raises as `held`."""
    with held(folder) as ledger:
        ledger.raise_to(product, sequence)


def following(sequence: int) -> int:
    """The sequence after this one. Raises SequenceError after the last one."""
    if sequence >= MAX_SEQUENCE:
        raise SequenceError(
            f"the counter of sequences stands at its end, {MAX_SEQUENCE}: no package can follow"
        )
    return sequence + 1


def _read(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    try:
        found = json.loads(disk.read(path, "the counter of sequences"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    fits = isinstance(found, dict) and all(
        type(number) is int and 0 <= number <= MAX_SEQUENCE for number in found.values()
    )
    if not fits:
        raise _damaged(path)
    return dict(found)


def _damaged(path: Path) -> SequenceError:
    return SequenceError(
        f'{path} is damaged: it should be like {{"demo-board": 7}}, a product and the highest '
        "sequence of its packages; write that, or remove the file and pack once with a --sequence "
        "above all others"
    )
