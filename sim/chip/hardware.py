"""The one board that runs: its flash, its registers, and how it is reset.

In a test `power_on` starts it in process; a reset raises `Reset`. In a process of its own run.py
starts it and turns `Reset` into an exit status.
"""

import bootloader

PWRON, HARD, WDT, DEEPSLEEP, SOFT = 1, 2, 3, 4, 5


class Reset(BaseException):
    """The chip resets. cause: one of PWRON, HARD, WDT, DEEPSLEEP, SOFT."""

    def __init__(self, cause):
        super().__init__(cause)
        self.cause = cause


class Board:
    """flash (nor.Nor), cause (reset cause), running (slot index), registers.

    rtc: RTC memory; watchdog: called with the timeout in ms whenever it is armed or fed;
    ssid, password: of the only Wi-Fi there is; radio: False where it never connects.
    """

    def __init__(self, flash, cause, running, rtc):
        self.flash = flash
        self.cause = cause
        self.running = running
        self.rtc = rtc
        self.watchdog_ms = None
        self.watchdog = _ignore
        self.keep_rtc = _ignore
        self.ssid = "sim"
        self.password = ""
        self.radio = True
        self.wifi_up = False


board = None


def power_on(flash, cause=PWRON, rollback=True, running=-1):
    """Start the board: the bootloader chooses a slot. Returns the Board, now the current one.

    running: the slot that goes on running after a soft reset, which the bootloader never sees.
    RTC memory and an armed watchdog outlive the causes they outlive on the chip. Raises
    bootloader.ImageError when no slot boots.
    """
    global board
    before = board if board is not None and cause != PWRON else None
    if cause != SOFT:
        running = bootloader.choose(flash, rollback)
        if running is None:
            raise bootloader.ImageError("no bootable slot")
    board = Board(flash, cause, running, before.rtc if before else b"")
    if before and cause == SOFT:
        board.watchdog_ms = before.watchdog_ms
        board.watchdog = before.watchdog
        board.wifi_up = before.wifi_up
    return board


def reset(cause=HARD):
    """Reset the chip. Does not return."""
    raise Reset(cause)


def _ignore(value):
    pass
