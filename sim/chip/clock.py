"""The clock of the chip, which begins at 2000-01-01 when the power comes on.

It is the host's clock, shifted: `time.time()` of the simulated board cannot be replaced on every
interpreter, so the host's time is what `time.time()` says, and setting the clock is accepted
and remembered here only.
"""

import time

_shift = 0


def datetime_now():
    t = time.gmtime(time.time() + _shift)
    return (t[0], t[1], t[2], t[6], t[3], t[4], t[5], 0)


def set_datetime(value):
    global _shift
    year, month, day, _, hour, minute, second = value[:7]
    wanted = time.mktime((year, month, day, hour, minute, second, 0, 0, 0)[: 9 if time.gmtime(0)[0] == 1970 else 8])
    _shift = wanted - time.time()
