"""The recovery table: what journal and otadata mean at a start. Pure.

Running slot R, other slot O; rows in the order in which they are tried.

    journal         otadata                       meaning
    any             R NEW and active              bootloader without rollback     NO_ROLLBACK
    any             O PENDING and active          the bootloader refused O        RESET
    FAILED          any                           boot.py rolled back by itself   FAILED
    ACTIVATED, TESTING -> R   R VALID             accepted, the note was cut      ACCEPTED
    any             R PENDING                     a new image to prove            TEST
    ACTIVATED, TESTING -> R   else: it runs only because nothing else boots       FAILED
    ACTIVATED -> O  O not ABORTED                 set_boot was cut                ACTIVATE
    ACTIVATED, TESTING -> O   else: it was started, and the old image is back
        after a power cut, tries left                                             ACTIVATE
        otherwise                                                                 FAILED
    NONE, RECEIVING, VERIFIED, ACCEPTED, lost     ordinary boot                   ORDINARY
"""

from . import journal as phases
from .compat import const
from .slots import ABORTED, NEW, PENDING, VALID

ORDINARY = "ordinary"
ACTIVATE = "activate"
ACCEPTED = "accepted"
TEST = "test"
FAILED = "failed"
NO_ROLLBACK = "no_rollback"
RESET = "reset"

MAX_TRIES = const(2)
# Cause that boot.py notes when the deadline has passed; `explain` has more words for it.
DEADLINE = const("deadline")

# Stage noted last -> (cause, sentence) of a trial that missed its deadline, once there is Wi-Fi.
_MISSED = {
    "repl": ("stopped", "main.py was stopped at the REPL, and did not go on within the deadline"),
    "main": ("no_agent", "main.py runs, but made no Agent within the deadline"),
    "returned": ("returned", "main.py ended, and nothing made an Agent within the deadline"),
    "agent": ("not_stepped", "the application made an Agent, but never called its step()"),
    "stepped": ("no_broker", "the application never reached the broker: it called no start()"),
    "started": ("no_job", "the job service did not name this job within the deadline"),
    "named": ("no_answer", "the application did not accept it within the deadline"),
}
# `wlan.status()` of a board with Wi-Fi, and of one whose radio is not used.
_GOT_IP = const("1010")
_IDLE = const("1000")


def decide(journal, running, other, active_is_running, cause):
    """Return what to do, one of the constants above.

    journal: a journal.Journal; running, other: (slot label, otadata state or None);
    active_is_running (bool): whether the active record names the running slot; cause: from
    `chip.reset_cause`.
    """
    if running[1] == NEW and active_is_running:
        return NO_ROLLBACK
    if other[1] == PENDING and not active_is_running:
        return RESET
    if journal.phase == phases.FAILED:
        return FAILED
    in_test = journal.phase in (phases.ACTIVATED, phases.TESTING)
    if in_test and journal.slot == running[0] and running[1] == VALID:
        return ACCEPTED
    if running[1] == PENDING:
        return TEST
    if in_test and journal.slot == running[0]:
        return FAILED
    if not in_test or journal.slot != other[0]:
        return ORDINARY
    if journal.phase == phases.ACTIVATED and other[1] != ABORTED:
        return ACTIVATE if journal.tries <= MAX_TRIES else FAILED
    if cause == "power" and journal.tries < MAX_TRIES and not journal.cause:
        return ACTIVATE
    return FAILED


def explain(journal, cause, note, reason):
    """Say why the new image failed: (cause, sentence).

    cause: from `chip.reset_cause`; note: from `chip.noted`; reason: as `wifi.reason`.
    """
    if journal.cause == DEADLINE:
        return _missed(note, journal.detail, reason)
    if journal.cause:
        return journal.cause, journal.detail
    if cause == "power":
        return "power", "the power was cut during the test, %d times" % journal.tries
    if note is None:
        return "crash", "the bootloader refused the new image, or it died before boot.py"
    if cause != "watchdog":
        return "crash", "the chip was reset at stage %s of the test" % note[0]
    return "watchdog", "it stood still at stage %s until the watchdog bit" % note[0]


def _missed(note, wifi, reason):
    """Say what a trial that missed its deadline lacked. wifi: `wlan.status()`, "" if unknown."""
    stage, _, link, _ = note or ("main", "", "", "")
    if stage in ("agent", "stepped"):  # there the application looks for its broker
        if wifi not in ("", _GOT_IP) and (wifi != _IDLE or not link or link.startswith("no Wi-Fi")):
            if link.startswith("no Wi-Fi"):
                return "no_wifi", link
            return "no_wifi", "no Wi-Fi: " + reason(int(wifi))
        if link:
            return "no_broker", "the broker was not reached: " + link
    return _MISSED.get(stage) or ("watchdog", "it hung at stage %s of the test" % stage)
