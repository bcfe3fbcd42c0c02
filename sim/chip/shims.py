"""What CPython lacks of the names a chip's programs use. Additions only; nothing is replaced."""

import gc
import sys
import time
import traceback


def install():
    """Add MicroPython's names to `time`, `gc` and `sys`."""
    time.ticks_ms = lambda: int(time.monotonic() * 1000)
    time.ticks_us = lambda: int(time.monotonic() * 1000000)
    time.ticks_diff = lambda later, earlier: later - earlier
    time.ticks_add = lambda ticks, delta: ticks + delta
    time.sleep_ms = lambda milliseconds: time.sleep(milliseconds / 1000)
    gc.threshold = lambda size: None
    gc.mem_free = lambda: 100000
    gc.mem_alloc = lambda: 60000
    sys.print_exception = lambda error, file=None: traceback.print_exception(
        error, file=file or sys.stdout
    )
