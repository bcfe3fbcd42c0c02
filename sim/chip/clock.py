"""The chip's clock: it begins at 2000-01-01 when the power comes on, and outlives every reset.

Calendar arithmetic is done here, because the epochs of the interpreters differ.
"""

from time import time as _host_time  # before a board's own `time` takes the name

import hardware

_DAYS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def seconds():
    """Return seconds since 2000-01-01, as the chip counts them (float)."""
    if hardware.board.clock is None:
        set_seconds(0)
    return _host_time() + hardware.board.clock


def set_seconds(value):
    """Set the clock to `value` seconds since 2000-01-01."""
    hardware.board.clock = value - _host_time()
    hardware.board.keep_clock(hardware.board.clock)


def days(year, month, day):
    """Return the days from 2000-01-01 to a date (Gregorian calendar, from 2000 to 2099)."""
    count = (year - 2000) * 365 + (year - 1997) // 4 + _DAYS[month - 1] + day - 1
    return count + (1 if month > 2 and year % 4 == 0 else 0)


def date(count):
    """Return (year, month, day, weekday (Monday is 0), day of the year) of a day number."""
    year = 2000 + (4 * count + 3) // 1461
    of_year = count - days(year, 1, 1)
    month = 12
    while days(year, month, 1) > count:
        month -= 1
    return year, month, count - days(year, month, 1) + 1, (count + 5) % 7, of_year + 1
