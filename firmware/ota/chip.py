"""The chip itself: reset, watchdog, clock, and the note that survives a reset.

The note lies in RTC memory, which every reset but a power cut leaves alone. boot.py begins it when
a new image is tested, the agent brings it up to date, and the old image reads from it how far the
test came. Text: `OTA1 <stage> <deadline> <now>`, moments as ticks_ms. Nothing is written to RTC
memory outside a test, so that it stays the application's.
"""

import time

import machine

from .compat import const, ticks_diff, ticks_ms

# What flash is erased by (bytes).
SECTOR = const(4096)
# First byte of an application image.
IMAGE_MAGIC = const(0xE9)

# The stage of a test that goes on while a person at the REPL has stopped main.py; boot.py's, too.
STOPPED = "repl"

_NOTE = const("OTA1")
_NOTE_PERIOD_MS = const(1000)
# The watchdog cannot be stopped; this is the longest time it takes (12 days).
_WATCHDOG_REST_MS = const((1 << 30) - 1)
# Seconds between the Unix epoch and the chip's, which is 2000 on an ESP32.
_EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0
# Before this the clock was never set (2024-01-01, Unix seconds).
_CLOCK_SET = const(1704067200)

# What a TLS connection takes in its handshake, and its largest piece: a record (bytes).
_TLS = const(45056)
_TLS_RECORD = const(17408)

_watchdog = None
_noted_at = None


def reset():
    """Restart the chip through the bootloader. Does not return."""
    machine.reset()


def reset_cause():
    """Return "power", "watchdog", "soft" or "reset": why the chip started last."""
    cause = machine.reset_cause()
    if cause == machine.PWRON_RESET:
        return "power"
    if cause == machine.WDT_RESET:
        return "watchdog"
    if cause == machine.SOFT_RESET:
        return "soft"
    return "reset"


def note(stage):
    """Note in RTC memory how far the test of a new image has come (one word).

    Costs nothing when called often: the same stage is written once a second.
    """
    global _noted_at
    now = ticks_ms()
    old = _read_note()
    if old is None:
        return
    if stage == old[0] and _noted_at is not None:
        if ticks_diff(now, _noted_at) < _NOTE_PERIOD_MS:
            return
    _noted_at = now
    machine.RTC().memory(("%s %s %d %d" % (_NOTE, stage, old[1], now)).encode())


def noted():
    """Return (stage, ms between its note and the deadline) of the last test, or None."""
    old = _read_note()
    if old is None:
        return None
    return old[0], ticks_diff(old[1], old[2])


def test_ends_in():
    """Return the milliseconds left of the running test's deadline, or None without a test."""
    old = _read_note()
    return None if old is None else ticks_diff(old[1], ticks_ms())


def forget_note():
    """Clear the note of a test that is over, if there is one."""
    if _read_note() is not None:
        machine.RTC().memory(b"")


def end_test():
    """Forget the note and give the watchdog, which boot.py armed, its longest rest."""
    global _watchdog
    _watchdog = machine.WDT(timeout=_WATCHDOG_REST_MS)
    forget_note()


def feed():
    """Feed the watchdog if `end_test` left it armed."""
    if _watchdog is not None:
        _watchdog.feed()


def fits_tls():
    """Say whether the memory beside Python's heap takes one more TLS connection.

    Judged by what ESP-IDF has free for data; True where the port does not tell.
    """
    try:
        from esp32 import HEAP_DATA, idf_heap_info
    except ImportError:
        return True
    regions = idf_heap_info(HEAP_DATA)
    return sum([r[1] for r in regions]) >= _TLS and max([r[2] for r in regions]) >= _TLS_RECORD


def unix_time():
    """Return Unix seconds, or None while the clock is not set."""
    now = int(time.time()) + _EPOCH
    return now if now >= _CLOCK_SET else None


def set_clock(unix_seconds):
    """Set a clock that was never set. Leaves a set one alone."""
    if unix_time() is None and unix_seconds >= _CLOCK_SET:
        t = time.gmtime(unix_seconds - _EPOCH)
        machine.RTC().datetime((t[0], t[1], t[2], t[6], t[3], t[4], t[5], 0))


def _read_note():
    try:
        fields = bytes(machine.RTC().memory()).decode().split(" ")
        if len(fields) == 4 and fields[0] == _NOTE:
            return fields[1], int(fields[2]), int(fields[3])
    except ValueError:
        pass
    return None
