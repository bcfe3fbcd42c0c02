"""The chip's `machine` module, as far as an update meets it."""

import hardware
from clock import set_datetime, datetime_now

PWRON_RESET = hardware.PWRON
HARD_RESET = hardware.HARD
WDT_RESET = hardware.WDT
DEEPSLEEP_RESET = hardware.DEEPSLEEP
SOFT_RESET = hardware.SOFT


def reset():
    """Reset the chip through the bootloader."""
    hardware.reset(hardware.HARD)


def soft_reset():
    """Restart MicroPython only."""
    raise SystemExit


def deepsleep(time_ms=0):
    """Sleep, then start again with cause DEEPSLEEP_RESET; the sleep itself is skipped."""
    hardware.reset(hardware.DEEPSLEEP)


def reset_cause():
    return hardware.board.cause


def unique_id():
    return b"\x24\x0a\xc4\x00\x00\x01"


def freq(hz=None):
    return 160000000


def idle():
    pass


class WDT:
    """The task watchdog: cannot be stopped; made again it takes the new timeout (ms)."""

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        hardware.board.watchdog_ms = timeout
        self.feed()

    def feed(self):
        hardware.board.watchdog(hardware.board.watchdog_ms)


class RTC:
    """Clock and the 2048 bytes of memory that only a power cut clears."""

    def memory(self, data=None):
        if data is None:
            return hardware.board.rtc
        if len(data) > 2048:
            raise ValueError("buffer too long")
        hardware.board.rtc = bytes(data)
        hardware.board.keep_rtc(hardware.board.rtc)
        return None

    def datetime(self, value=None):
        """(year, month, day, weekday, hours, minutes, seconds, microseconds)"""
        if value is None:
            return datetime_now()
        set_datetime(value)
        return None
