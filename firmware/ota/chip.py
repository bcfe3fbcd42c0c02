"""The chip itself: reset, watchdog, clock, and the note of a trial.

The note says how far the trial of a new image has come. It is the blob `trial` in NVS: boot.py
begins it, the agent brings it up to date, once per stage, and the old image reads it. Text: `STAGE
DEADLINE LINK`: one of the stages below, ms since the start of the chip, the last fault of the link.
Where boot.py has ended the trial, a second line says why: `CAUSE DETAIL`.
RTC memory is the application's.
"""

import time

import machine
from esp32 import NVS

from .compat import const, ticks_ms

# What flash is erased by (bytes).
SECTOR = const(4096)
# First byte of an application image.
IMAGE_MAGIC = const(0xE9)

# Stages of a trial, in the order in which it passes them: the self-test; main.py was stopped at the
# REPL; main.py runs; main.py has ended; an Agent was made; it was stepped; it was started over a
# link; the job service named the job.
_STAGES = const("selftest repl main returned agent stepped started named")
STOPPED = "repl"

# Of the note (bytes), and of the fault of the link (characters).
_NOTE_SIZE = const(1400)
_MAX_LINK = const(120)
# The watchdog cannot be stopped; this is the longest time it takes (12 days).
_WATCHDOG_REST_MS = const((1 << 30) - 1)
_FEED_S = const(86400)
# Seconds between the Unix epoch and the chip's, which is 2000 on an ESP32.
EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0
# Before this the clock was never set (2024-01-01, Unix seconds).
CLOCK_SET = const(1704067200)

# What a TLS connection takes in its handshake, and its largest piece: a record (bytes).
_TLS = const(45056)
_TLS_RECORD = const(17408)

# Of `clock`, which is not always loaded. hinted: the job service set the clock; sure: it set or
# confirmed it over a verified link; doubt: by how much its last answer differed (s).
hinted = sure = False
doubt = 0

# Why the broker was not reached the last time, see `note_link`.
link_fault = ""

_watchdog = None
_rests = False  # whether it has its longest timeout, which nobody but the agent feeds
_note: "list[str] | None" = None  # as it is in NVS; empty: there is none; None: not read yet


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


def note(stage, link=None):
    """Note that the trial of a new image has come so far. Does nothing where none is under way.

    stage: of the list above; an earlier one than that noted changes nothing, but STOPPED does.
    link: see `note_link`. Written only when something changes.
    """
    old = noted()
    if old is None:
        return
    if stage != STOPPED and _STAGES.find(stage) <= _STAGES.find(old[0]):
        stage = old[0]
    new = [stage, old[1], old[2] if link is None else link[:_MAX_LINK].replace("\n", " "), ""]
    if new != old:
        old[:] = new
        try:
            nvs = NVS("ota")
            nvs.set_blob("trial", " ".join(new[:3]).encode())
            nvs.commit()
        except OSError:
            pass  # the result of the trial will say less


def note_link(fault):
    """Note why the broker is not reached, a text: for the status, and the result of a trial."""
    global link_fault
    link_fault = fault
    note("", fault)


def noted():
    """Return the note of a trial, or of the last one: [stage, deadline, link, end], or None.

    end: `CAUSE DETAIL`, "" where boot.py has not ended it.
    """
    global _note
    if _note is None:
        _note = []
        buf = bytearray(_NOTE_SIZE)
        try:
            text = str(memoryview(buf)[: NVS("ota").get_blob("trial", buf)], "utf-8")
            text, _, end = text.partition("\n")
            found = text.split(" ", 2)
            if len(found) == 3 and found[1].isdigit():
                _note = found + [end]
        except (OSError, ValueError):
            pass  # none, or none of ours
    return _note or None


def test_ends_in():
    """Return the milliseconds left until the deadline of the trial, or None without one."""
    old = noted()
    return old and int(old[1]) - ticks_ms()


def forget_note():
    """Forget the note of a trial that is over, if there is one, and boot.py's that one began."""
    global _note
    _note = []
    nvs = NVS("ota")
    for key in ("trial", "tried"):
        try:
            nvs.erase_key(key)
            nvs.commit()
        except OSError:
            pass  # none; or the next trial writes over it


def loosen_watchdog(watchdog_ms):
    """Give the watchdog, which boot.py armed for a trial, another timeout: nothing can stop it.

    watchdog_ms: the application's own timeout, None for the longest there is.
    """
    global _watchdog, _rests
    _rests = watchdog_ms is None
    _watchdog = machine.WDT(timeout=_WATCHDOG_REST_MS if _rests else watchdog_ms)


def feed():
    """Feed the watchdog if it goes on after a trial."""
    if _watchdog is not None:
        _watchdog.feed()


def feed_for_ever():
    """Feed the watchdog from a thread of its own from now on, when the agent does no more.

    Does nothing where none goes on, or where the application has a timeout of its own. Without
    threads the watchdog bites after 12 days.
    """
    global _rests
    if _rests:
        try:
            import _thread
        except ImportError:
            return
        _thread.start_new_thread(_feed_for_ever, ())
        _rests = False


def _feed_for_ever():
    while True:
        feed()
        time.sleep(_FEED_S)


def fits_tls(needed=_TLS):
    """Say whether the memory beside Python's heap takes one more TLS connection.

    Judged by what ESP-IDF has free for data: `needed` bytes, and a piece for TLS's largest record.
    True where the port does not tell.
    """
    try:
        from esp32 import HEAP_DATA, idf_heap_info
    except ImportError:
        return True
    regions = idf_heap_info(HEAP_DATA)
    return sum([r[1] for r in regions]) >= needed and max([r[2] for r in regions]) >= _TLS_RECORD


def unix_time():
    """Return Unix seconds, or None while the clock is not set."""
    now = int(time.time()) + EPOCH
    return now if now >= CLOCK_SET else None
