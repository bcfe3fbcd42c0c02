"""The chip's `time` module: whole seconds since 2000-01-01, from the clock of the board."""

import clock as board_clock  # `clock` is one of the names imported below

try:
    from utime import *  # noqa: F403 - the interpreter's own
except ImportError:
    from time import *  # noqa: F403

    from shims import *  # noqa: F403


try:
    from utime import ticks_ms as _ticks_ms
except ImportError:
    from shims import ticks_ms as _ticks_ms

_started = 0


def start(uptime_ms):
    """Begin to count. uptime_ms: since the last start of the chip that was no soft reset."""
    global _started
    _started = _ticks_ms() - uptime_ms


def ticks_ms():
    """Return the milliseconds since the chip started (ESP-IDF's esp_timer)."""
    return _ticks_ms() - _started


def time():
    """Return seconds since 2000-01-01 (int)."""
    return int(board_clock.seconds())


def time_ns():
    """Return nanoseconds since 2000-01-01."""
    return int(board_clock.seconds() * 1000000) * 1000


def gmtime(seconds=None):
    """Return (year, month, day, hours, minutes, seconds, weekday, day of the year)."""
    day, second = divmod(time() if seconds is None else int(seconds), 86400)
    year, month, of_month, weekday, of_year = board_clock.date(day)
    return (
        year, month, of_month,
        second // 3600, second // 60 % 60, second % 60, weekday, of_year,
    )  # fmt: skip


localtime = gmtime


def mktime(when):
    """Return seconds since 2000-01-01 of such a tuple."""
    return board_clock.days(*when[:3]) * 86400 + when[3] * 3600 + when[4] * 60 + when[5]
