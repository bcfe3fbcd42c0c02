"""The status that a person at the REPL sees: `ota.status()`. `console` has the rules."""

from . import NOT_READY, chip, errors, frozen_conflicts, installed, keyring, slots
from . import journal as journals
from .compat import const
from .console import (
    INDENT,
    START_AGAIN,
    history,  # noqa: F401, asked for together with the status
    is_stopped,
    journal_of,
    look,
    result_lines,
    say,
    seconds_left,
    told,
)

# So many questions without an answer are told.
_MANY = const(4)
_UNANSWERED = const(
    "Does a service run behind this broker? Do certificate and access rules let thing %s in?"
)

_STATES = {
    slots.NEW: "new",
    slots.PENDING: "under test",
    slots.VALID: "valid",
    slots.INVALID: "invalid",
    slots.ABORTED: "rolled back",
    0xFFFFFFFF: "undefined",
    None: "no record",
}

_PHASES = {
    journals.RECEIVING: "receiving",
    journals.VERIFIED: "verified, waits for the application",
    journals.ACTIVATED: "activated",
    journals.TESTING: "under test",
}

_IN_HAND = {journals.PERSON: "a rollback by a person", journals.LOCAL: "an update installed here"}


@told
def show(agent):
    """Print the status."""
    for line in lines(agent):
        say(line, INDENT)


def lines(agent):
    """Return the status as a list of lines. Raises SettingsError without two OTA slots."""
    pair = look()
    journal = journal_of(agent)
    buf = bytearray(slots.SECTOR)
    text, running = _slot(pair, pair.running, buf)
    out = ["Runs      %s" % text, "Other     %s" % _slot(pair, pair.other, buf)[0]]
    floor = journal.floor(pair, running)
    left = seconds_left(pair)
    if left is not None:
        out.append("Test      accepted within %d s, or rolled back" % left)
    if agent:
        out.append("Agent     %s  %s" % (agent.state, agent.stats))
        if agent.stats.unanswered >= _MANY:
            out.append(INDENT + _UNANSWERED % agent.thing)
        if is_stopped(agent):
            out.append(INDENT + START_AGAIN)
        elif agent.state == NOT_READY and chip.link_fault:
            out.append("Link      %s" % chip.link_fault)
        if agent.stats.report != "off":
            out.append("Report    %s" % agent.stats.report)
    else:
        out.append("Agent     not running; this is from flash")
    out.append("Job       %s" % _job(agent, journal))
    if journal.result:
        out.append("Unsent    %(status)s for job %(job)s" % journal.result)
    out.append("Floor     sequence %d and lower are refused" % floor)
    if journals.trust_version():
        out.append("Keys      set %d" % journals.trust_version())
    hidden = _hidden(pair.running, buf)
    if hidden:
        out.append("Warning   %s in the application hide what the firmware has frozen" % hidden)
    if journal.no_rollback:
        out.append("Warning   the bootloader has no rollback: firmware updates are refused")
    if chip.unix_time() is None:
        out.append("Clock     not set: expiry dates cannot be judged")
    elif not chip.sure:
        out.append("Clock     not sure: no job service over TLS has confirmed it")
    results = journal.history()
    if results:
        out.extend(result_lines(results[0], "Last      "))
    return out


def _slot(pair, slot, buf):
    """Return (what the slot holds, the sequence by which it raises the floor)."""
    text, floor = "no package, version 0.0.0", 0
    try:
        if slot.read_trailer(buf):
            found = installed.read(slot, keyring.believed(), buf)
            floor = found.sequence if keyring.look()[2] else 0
            text = "version %s  sequence %d  %s" % (found.version, found.sequence, found.directory)
        elif slot.chip_id() is None:
            text = "empty"
    except errors.FlashError:
        raise
    except errors.OtaError as error:
        text = "trailer not believed: %s" % error
    text = "%s  %s  %s" % (slot.label, _STATES.get(pair.state(slot), "?"), text)
    return text.rstrip(), floor


def _hidden(slot, buf):
    """Return the names of frozen modules that the application's files hide, as text."""
    trailer = slot.read_trailer(buf)
    try:
        return ", ".join(frozen_conflicts.find(*trailer)) if trailer else ""
    except (OSError, errors.OtaError, ValueError, KeyError):
        return ""  # a trailer that is not believed has its own line in the status


def _job(agent, journal):
    who = journal.job or _IN_HAND.get(journal.origin)
    if journal.phase not in _PHASES or not who:
        return journal.job or "none"
    text = "%s  %s" % (who, _PHASES[journal.phase])
    progress = agent.progress if agent else None
    if progress:
        text += "  %d/%d blocks" % progress
    elif journal.phase == journals.RECEIVING and journal.next:
        text += "  %d KB safe" % (journal.next // 1024)
    return text
