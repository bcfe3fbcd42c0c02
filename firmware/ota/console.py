"""What a person at the REPL sees of the agent, in 79 columns. `commands` holds what may be asked.

Prints sentences; an OtaError becomes its own. Nothing here ends a test that is under way, by a
reset, by feeding the watchdog or by booting another slot: the seconds left are printed.
agent: the live Agent, or None where main.py has not made one.
"""

from . import chip, errors, slots
from . import journal as phases
from .compat import ticks_diff, ticks_ms
from .settings import trusted_keys

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
    phases.RECEIVING: "receiving",
    phases.VERIFIED: "verified, waits for the application",
    phases.ACTIVATED: "activated",
    phases.TESTING: "under test",
}

# Who asked for what no job brought.
_WHO = {phases.PERSON: "by a person", phases.LOCAL: "installed here"}
_IN_HAND = {phases.PERSON: "a rollback by a person", phases.LOCAL: "an update installed here"}
_COLUMNS = 79
_INDENT = " " * 10
# An agent that was not stepped for so long was stopped (ms).
_SILENT_MS = 3000
START_AGAIN = "main.py was stopped: Ctrl-D at this prompt starts it again"


def say(text, indent=""):
    """Print `text`, broken between words; all lines but the first begin with `indent`."""
    while len(text) > _COLUMNS:
        at = text.rfind(" ", len(indent) + 1, _COLUMNS + 1)
        if at < 0:
            at = _COLUMNS
        print(text[:at].rstrip())
        text = indent + text[at:].lstrip()
    print(text)


def put(text):
    """Print `text`; the line goes on."""
    print(text, end="")


def told(action):
    """Make an OtaError of `action` the sentence it carries."""

    def call(*arguments):
        try:
            action(*arguments)
        except errors.OtaError as error:
            say(str(error))

    return call


@told
def show(agent):
    """Print the status."""
    for line in lines(agent):
        say(line, _INDENT)


def lines(agent):
    """Return the status as a list of lines. Raises SettingsError without two OTA slots."""
    pair = look()
    journal = journal_of(agent)
    buf = bytearray(slots.SECTOR)
    text, sequence = _slot(pair, pair.running, buf)
    out = ["Runs      %s" % text, "Other     %s" % _slot(pair, pair.other, buf)[0]]
    floor = max(journal.floor, sequence if pair.state(pair.running) == slots.VALID else 0)
    left = _seconds_left(pair)
    if left is not None:
        out.append("Test      accepted within %d s, or rolled back" % left)
    if agent:
        out.append("Agent     %s  %s" % (agent.state, agent.stats))
        if is_stopped(agent):
            out.append(_INDENT + START_AGAIN)
    else:
        out.append("Agent     not running; this is from flash")
    out.append("Job       %s" % _job(agent, journal))
    if journal.result:
        out.append("Unsent    %(status)s for job %(job)s" % journal.result)
    out.append("Floor     sequence %d and lower are refused" % floor)
    hidden = _hidden(pair.running, buf)
    if hidden:
        out.append("Warning   %s in the application hide what the firmware has frozen" % hidden)
    if journal.no_rollback:
        out.append("Warning   the bootloader has no rollback: firmware updates are refused")
    if chip.unix_time() is None:
        out.append("Clock     not set: expiry dates cannot be judged")
    results = journal.history()
    if results:
        out.extend(_result(results[0], "Last      "))
    return out


@told
def history(agent):
    """Print the last results, newest first."""
    results = journal_of(agent).history()
    if not results:
        say("No update has ended on this board yet.")
    for result in results:
        for line in _result(result, ""):
            say(line, _INDENT)
    say_what_is_left(look())


def last(agent):
    """Print how the last update ended."""
    for result in journal_of(agent).history()[:1]:
        for line in _result(result, ""):
            say(line, _INDENT)


def look():
    """Return the slots as they are; a test under way gets the note that somebody is at the REPL."""
    pair = slots.Slots()
    if pair.pending:
        noted = chip.noted()
        if noted and noted[0] not in ("boot", "selftest"):
            chip.note(chip.STOPPED)
    return pair


def journal_of(agent):
    """Return the agent's journal, or the one in flash."""
    return agent.journal if agent else phases.Journal()


def _seconds_left(pair):
    left = chip.test_ends_in() if pair.pending else None
    return None if left is None else left // 1000


def say_what_is_left(pair):
    """Print how long a test that is under way still takes."""
    left = _seconds_left(pair)
    if left is not None:
        say("A test is under way: accepted within %d s, or rolled back." % left)


def is_stopped(agent):
    """Say whether the application no longer steps its agent."""
    silent = ticks_diff(ticks_ms(), agent.stepped)
    return not 0 <= silent <= _SILENT_MS  # below 0: it wraps after six days


def _slot(pair, slot, buf):
    """Return (what the slot holds, its sequence)."""
    from . import trust
    from .pair import parse_record

    trailer = slot.read_trailer(buf)
    text, sequence = "no package, version 0.0.0", 0
    if trailer:
        try:
            manifest = parse_record(trailer[0], trust.load_keys(trusted_keys()))
            sequence = manifest.sequence
            text = "version %s  sequence %d  %s" % (manifest.version, sequence, trailer[1])
        except errors.OtaError as error:
            text = "trailer not believed: %s" % error
    elif slot.chip_id() is None:
        text = "empty"
    text = "%s  %s  %s" % (slot.label, _STATES.get(pair.state(slot), "?"), text)
    return text.rstrip(), sequence


def _hidden(slot, buf):
    """Return the names of frozen modules that the application's files hide, as text."""
    from . import shadows

    trailer = slot.read_trailer(buf)
    try:
        return ", ".join(shadows.find(*trailer)) if trailer else ""
    except (OSError, errors.OtaError, ValueError, KeyError):
        return ""  # a trailer that is not believed is told in its own line


def _job(agent, journal):
    who = journal.job or _IN_HAND.get(journal.origin)
    if journal.phase not in _PHASES or not who:
        return journal.job or "none"
    text = "%s  %s" % (who, _PHASES[journal.phase])
    progress = agent.progress if agent else None
    if progress:
        text += "  %d/%d blocks" % progress
    elif journal.phase == phases.RECEIVING and journal.next:
        text += "  %d KB safe" % (journal.next // 1024)
    return text


def _result(result, head):
    """Return one entry of the history as lines; `head` begins the first."""
    who = _WHO.get(result.get("origin")) or "job " + result["job"]
    words = [result["status"], who, "sequence %d" % result["sequence"], result["cause"]]
    out = [(head + "  ".join(words)).rstrip()]
    if result["detail"]:
        out.append(_INDENT + result["detail"])
    return out
