"""The chip's clock, set by the answers of the job service. Loaded while one is read.

The chip starts in 2000. A timestamp is believed within the board's bounds only. One that came over
a verified link is sure. One over plain MQTT is a hint, as NTP is: a later answer may correct it.
"""

import sys
import time

import machine

from . import chip
from .compat import const

# How far a clock may differ from the service's (s): one that the service set, and another, which
# may show the local time.
_OFF = const(300)
_FOREIGN_OFF = const(86400)
# Two answers agree within so many seconds.
_AGREE = const(60)


def built():
    """Return when this MicroPython was built (Unix seconds), 2024 where it does not say."""
    try:
        year, month, day = [int(part) for part in sys.version.rpartition(" on ")[2].split("-")]
        began = year, month, day, 0, 0, 0, 0, 0, 0
        return int(time.mktime(began)) + chip.EPOCH  # type: ignore[call-arg]
    except ValueError:
        return chip.CLOCK_SET


def ask(server):
    """Set a clock that was never set by an NTP server. Returns whether it is set."""
    if chip.unix_time() is None:
        import ntptime

        ntptime.host = server
        try:
            ntptime.settime()
        except OSError:
            return False
    return True


def set_clock(unix_seconds, bounds, sure):
    """Set the clock by an answer of the job service, if it is not set, or is wrong.

    bounds: the first and the last second at which a time is believed; sure: over a verified link.
    A clock that is set is corrected by a sure answer where only a hint has set it, else by two
    answers that agree. One that others set may be off by a day.
    """
    if not bounds[0] <= unix_seconds <= bounds[1]:
        return
    now = chip.unix_time()
    if now is not None:
        off = unix_seconds - now
        doubt, chip.doubt = chip.doubt, 0
        if abs(off) <= (_OFF if chip.hinted else _FOREIGN_OFF):
            chip.sure |= sure and abs(off) <= _OFF
            return
        if chip.sure and not sure:
            return
        better = sure and chip.hinted and not chip.sure
        if not better and (not doubt or abs(off - doubt) > _AGREE):
            chip.doubt = off
            return
    t = time.gmtime(unix_seconds - chip.EPOCH)
    machine.RTC().datetime((t[0], t[1], t[2], t[6], t[3], t[4], t[5], 0))
    chip.hinted, chip.sure = True, sure
