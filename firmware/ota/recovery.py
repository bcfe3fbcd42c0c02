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
from .chip import STOPPED
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
# A note younger than this at the deadline means that the application was alive (ms).
_ALIVE_MS = const(5000)

# Stage noted last -> (cause, sentence) when the watchdog reset an application that was alive.
_ALIVE = {
    "network": ("no_network", "it did not reach the network or the broker within the deadline"),
    "broker": ("no_job", "the job service did not name this job within the deadline"),
    "handler": ("no_answer", "the application did not accept it within the deadline"),
}


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


def explain(journal, cause, note):
    """Say why the new image failed: (cause, sentence).

    cause: from `chip.reset_cause`; note: from `chip.noted`, (stage, ms before the deadline).
    """
    if journal.cause:
        return journal.cause, journal.detail
    if cause == "power":
        return "power", "the power was cut during the test, %d times" % journal.tries
    if note is None:
        return "crash", "the bootloader refused the new image, or it died before boot.py"
    stage, left = note
    if cause == "watchdog" and stage == STOPPED:
        return "stopped", "main.py was stopped at the REPL, and did not go on within the deadline"
    if cause != "watchdog":
        return "crash", "the chip was reset at stage %s of the test" % stage
    if stage in _ALIVE and left < _ALIVE_MS:
        return _ALIVE[stage]
    return "watchdog", "it hung at stage %s until the watchdog bit" % stage
