"""What CPython lacks of the names a chip's programs use. Additions only; nothing is replaced."""

import gc
import sys
import time
import traceback

_started = 0


def start():
    """Let ticks_ms begin at 0, as when a chip starts."""
    global _started
    _started = int(time.monotonic() * 1000)


def advance(milliseconds):
    """Let ticks_ms jump ahead."""
    global _started
    _started -= milliseconds


def ticks_ms():
    """Return milliseconds since `start`."""
    return int(time.monotonic() * 1000) - _started


def ticks_us():
    """Return microseconds since some moment."""
    return int(time.monotonic() * 1000000)


def ticks_diff(later, earlier):
    """Return `later - earlier`."""
    return later - earlier


def ticks_add(ticks, delta):
    """Return the moment `delta` after `ticks`."""
    return ticks + delta


def sleep_ms(milliseconds):
    """Wait."""
    time.sleep(milliseconds / 1000)


def sleep_us(microseconds):
    """Wait."""
    time.sleep(microseconds / 1000000)


def print_exception(error, file=None):
    """Print a traceback, on standard output unless `file` is given."""
    traceback.print_exception(error, file=file or sys.stdout)


def install():
    """Add MicroPython's names to `time`, `gc` and `sys`."""
    for name in ("ticks_ms", "ticks_us", "ticks_diff", "ticks_add", "sleep_ms", "sleep_us"):
        setattr(time, name, globals()[name])
    # Constants: CPython has no heap of its own to measure.
    gc.mem_free = lambda: 150000
    gc.mem_alloc = lambda: 60000
    gc.threshold = lambda *amount: None
    sys.print_exception = print_exception
