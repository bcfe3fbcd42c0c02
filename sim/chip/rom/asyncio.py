"""The interpreter's own asyncio, by the interpreter's own clock.

The part of it that is written in C reads that clock. A board's `ticks_ms` begins at the start of
the chip (time_2000), and tasks timed by both would wait for the difference.
"""

import sys

try:
    from utime import ticks_ms
except ImportError:  # CPython has its own asyncio
    from time import ticks_ms

sys.path.remove("/.rom")
del sys.modules["asyncio"]
import asyncio as _own  # noqa: E402

sys.path.insert(1, "/.rom")
sys.modules["asyncio.core"].ticks = ticks_ms


def __getattr__(name):
    return getattr(_own, name)
