"""What a person at the REPL sees of the agent, in 80 columns."""

from . import chip, slots, trust
from . import journal as phases
from .errors import OtaError
from .package import parse_record
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


def show(agent):
    """Print the status. agent: the live Agent, or None."""
    for line in lines(agent):
        print(line[:79])


def lines(agent):
    """Return the status as a list of lines."""
    try:
        pair = slots.Slots()
    except OtaError as error:
        return ["No updates: %s" % error]
    journal = agent.journal if agent else phases.Journal()
    text, sequence = _slot(pair, pair.running)
    out = ["Runs      %s" % text, "Other     %s" % _slot(pair, pair.other)[0]]
    floor = max(journal.floor, sequence if pair.state(pair.running) == slots.VALID else 0)
    left = chip.test_ends_in()
    if pair.pending and left is not None:
        out.append("Test      accepted within %d s, or rolled back" % (left // 1000))
    if agent:
        out.append("Agent     %s  %s" % (agent.state, agent.stats))
    else:
        out.append("Agent     not running; this is from flash")
    out.append("Job       %s" % _job(agent, journal))
    if journal.result:
        out.append("Unsent    %(status)s for job %(job)s" % journal.result)
    out.append("Floor     sequence %d and lower are refused" % floor)
    if journal.no_rollback:
        out.append("Warning   the bootloader has no rollback: firmware updates are refused")
    if chip.unix_time() is None:
        out.append("Clock     not set: expiry dates cannot be judged")
    history = journal.history()
    if history:
        last = history[0]
        out.append("Last      %s  job %s  %s" % (last["status"], last["job"], last["cause"]))
        if last["detail"]:
            out.append("          %s" % last["detail"])
    return out


def _slot(pair, slot):
    """Return (what the slot holds, its sequence)."""
    trailer = slot.read_trailer(bytearray(slots.SECTOR))
    text, sequence = "flashed by cable, version 0.0.0", 0
    if trailer:
        try:
            manifest = parse_record(trailer[0], trust.load_keys(trusted_keys()))
            sequence = manifest.sequence
            text = "version %s  sequence %d" % (manifest.version, sequence)
        except OtaError as error:
            text = "trailer not believed: %s" % error
    elif slot.chip_id() is None:
        text = "empty"
    return "%s  %s  %s" % (slot.label, _STATES.get(pair.state(slot), "?"), text), sequence


def _job(agent, journal):
    if not journal.job or journal.phase not in _PHASES:
        return journal.job or "none"
    text = "%s  %s" % (journal.job, _PHASES[journal.phase])
    progress = agent.progress if agent else None
    if progress:
        text += "  %d/%d blocks" % progress
    elif journal.phase == phases.RECEIVING and journal.next:
        text += "  %d KB safe" % (journal.next // 1024)
    return text
