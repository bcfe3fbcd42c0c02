"""The chip's `machine` module, as far as an update meets it."""

import clock
import hardware

PWRON_RESET = hardware.PWRON
HARD_RESET = hardware.HARD
WDT_RESET = hardware.WDT
DEEPSLEEP_RESET = hardware.DEEPSLEEP
SOFT_RESET = hardware.SOFT

_RTC_MEMORY = 2048


def reset():
    """Reset the chip through the bootloader."""
    hardware.reset(hardware.HARD)


def soft_reset():
    """Restart MicroPython only."""
    raise SystemExit


def deepsleep(time_ms=0):
    """Sleep for `time_ms`, then start again with cause DEEPSLEEP_RESET."""
    hardware.reset(hardware.DEEPSLEEP, time_ms)


def reset_cause():
    """Return why the chip started last."""
    return hardware.board.cause


def unique_id():
    """Return the 6 bytes that no other chip has."""
    return hardware.MAC


def freq(hz=None):
    """Return the CPU's clock; setting it changes nothing here."""
    return 160000000


def idle():
    """Wait for an interrupt: none comes here."""


class WDT:
    """The task watchdog: cannot be stopped; made again it takes the new timeout (ms)."""

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError("WDT(%d) doesn't exist" % id)
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        hardware.board.watchdog_ms = timeout
        self.feed()

    def feed(self):
        """Start the timeout again."""
        hardware.board.watchdog(hardware.board.watchdog_ms)


class RTC:
    """Clock and the 2048 bytes of memory that only a power cut clears."""

    def memory(self, data=None):
        """Return what is kept, or keep `data`."""
        if data is None:
            return hardware.board.rtc
        if len(data) > _RTC_MEMORY:
            raise ValueError("buffer too long")
        hardware.board.rtc = bytes(data)
        hardware.board.keep_rtc(hardware.board.rtc)
        return None

    def datetime(self, value=None):
        """(year, month, day, weekday, hours, minutes, seconds, microseconds); get or set."""
        if value is not None:
            year, month, day, _, hours, minutes, seconds = value[:7]
            clock.set_seconds(
                clock.days(year, month, day) * 86400 + hours * 3600 + minutes * 60 + seconds
            )
            return None
        now = clock.seconds()
        day, second = divmod(int(now), 86400)
        year, month, day, weekday, _ = clock.date(day)
        return (
            year, month, day, weekday,
            second // 3600, second // 60 % 60, second % 60, int((now - int(now)) * 1000000),
        )  # fmt: skip


class Pin:
    """A pin that is connected to nothing: it keeps the value it was given."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2

    def __init__(self, id, mode=-1, pull=-1, value=0):
        self._value = value

    def value(self, value=None):
        """Get or set the level."""
        if value is None:
            return self._value
        self._value = 1 if value else 0
        return None

    __call__ = value

    def on(self):
        """Set the level to 1."""
        self._value = 1

    def off(self):
        """Set the level to 0."""
        self._value = 0
