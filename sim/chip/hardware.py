"""The one board that runs: its flash, its registers, and how it is reset.

In a test `power_on` starts it in process; a reset raises `Reset`, and `power_on` with its cause is
the next boot. In a process of its own run.py starts it, and replaces `reset` by a word to the host.
"""

import sys

import bootloader
from nor import PowerCut

PWRON, HARD, WDT, DEEPSLEEP, SOFT = 1, 2, 3, 4, 5
MAC = b"\x24\x0a\xc4\x00\x00\x01"


class Reset(BaseException):
    """The chip resets. cause: HARD, WDT or DEEPSLEEP; sleep_ms: how long it sleeps before."""

    def __init__(self, cause, sleep_ms=0):
        super().__init__(cause)
        self.cause = cause
        self.sleep_ms = sleep_ms


class Hung(Exception):
    """The program hangs and no watchdog is armed: the board would stand still for ever."""


class Board:
    """flash (nor.Nor), cause (reset cause), running (slot index or layout.FACTORY), registers.

    rtc: RTC memory; clock: what to add to the host's clock, s;
    watchdog_ms: None while it is not armed; watchdog: called with that whenever it is armed or fed;
    encrypted: whether flash encryption is on; ssid, password: of the only Wi-Fi there is; radio:
    False where it never connects; wifi_up: whether the station is associated; keep_rtc, keep_clock,
    keep_wifi: called with what must outlive a reset.
    """

    def __init__(self, flash, cause, running):
        self.flash = flash
        self.cause = cause
        self.running = running
        self.rtc = b""
        self.clock = None
        self.watchdog_ms = None
        self.watchdog = _ignore
        self.keep_rtc = _ignore
        self.keep_clock = _ignore
        self.keep_wifi = _ignore
        self.encrypted = False
        self.ssid = "sim"
        self.password = ""
        self.radio = True
        self.wifi_up = False
        self.station = None  # the network module's


board = None


def power_on(flash, cause=PWRON, rollback=True, running=None):
    """Start the board: the bootloader chooses a slot. Returns the Board, now the current one.

    cause: PWRON, or the cause of the reset the board before ended with. RTC memory and clock
    outlive all causes but PWRON; a soft reset also keeps the watchdog armed, the Wi-Fi up, and the
    bootloader out of it, as waking from deep sleep does. running: the slot that goes on running
    then, by default the one of the board before. Raises bootloader.ImageError if no slot boots.
    """
    global board
    flash.power_on()
    before = board if board is not None and cause != PWRON else None
    if cause in (SOFT, DEEPSLEEP):
        if running is None:
            running = before.running
    else:
        running = bootloader.choose(flash, rollback)
        if running is None:
            raise bootloader.ImageError("no bootable slot")
    board = Board(flash, cause, running)
    if before:
        board.rtc = before.rtc
        board.clock = before.clock
        board.encrypted = before.encrypted
        board.ssid = before.ssid
        board.password = before.password
        if cause == SOFT:
            board.watchdog_ms = before.watchdog_ms
            board.watchdog = before.watchdog
            board.wifi_up = before.wifi_up
    return board


def reset(cause=HARD, sleep_ms=0):
    """Reset the chip. Does not return.

    What runs on when the power has failed, a `finally`, runs here only: it resets no more.
    """
    if board is not None and board.flash.dead:
        raise PowerCut
    raise Reset(cause, sleep_ms)


def panic(reason):
    """Stop with an error and reset, which reads as HARD. Does not return."""
    sys.stdout.write("Guru Meditation Error: Core 1 panic'ed (%s). Rebooting...\n" % reason)
    reset(HARD)


def hang():
    """Let the program hang until the watchdog bites. Raises Hung when none is armed."""
    if board.watchdog_ms is None:
        raise Hung("no watchdog is armed")
    reset(WDT)


def _ignore(value):
    pass
