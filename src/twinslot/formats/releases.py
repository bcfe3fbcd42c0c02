"""Releases of MicroPython, as a pair of numbers: (1, 26) for v1.26.1. Pure."""

import re
from collections.abc import Iterable

Release = tuple[int, int]

OLDEST: Release = (1, 22)
"""The oldest that the agent runs on."""
FINDS_FILES: Release = (1, 26)
"""The first that finds its file system without a partition of that name."""

_TEXT = re.compile(r"(?:v|(?=1\.))(\d+)\.(\d+)")


def of(version: str | None) -> Release | None:
    """Return the release that a text such as "v1.26.1" or "1.26.1" names, None for another text.

    A commit's hash is such another text, and so is the number of somebody's own product.
    """
    match = _TEXT.match(version or "")
    return (int(match[1]), int(match[2])) if match else None


def text(release: Iterable[int]) -> str:
    """Return a release as people write it: 1.22."""
    return ".".join(map(str, release))
