"""Commands of a person at the REPL; `console` has the rules.

Each command ends with the seconds left of a test that is under way.
agent: the live Agent, or None where main.py has not made one.
"""

from . import errors, installed, keyring, roll_back, slots
from .console import START_AGAIN, is_stopped, journal_of, look, put, say, say_what_is_left, told


def _told(action):
    """Return `action` as `told` does, followed by the seconds left of a test."""

    def call(*arguments):
        told(action)(*arguments)
        say_what_is_left(look())

    return told(call)


@_told
def check_for_update(agent):
    """Let the agent ask the job service for work."""
    if _live(agent).state == "NotReady":
        raise errors.StateError("The agent is not connected; it asks by itself when it is.")
    agent.check_for_update()
    if is_stopped(agent):
        say(START_AGAIN + ", and it asks.")
    elif agent.state == "Suspended":
        say("The agent is suspended; it asks after agent.resume().")
    else:
        say("The agent asks the job service at its next step.")


@_told
def accept(agent):
    """Accept the image under test."""
    if not look().pending:
        raise errors.StateError("There is no image under test to accept.")
    missing = _live(agent).missing
    if missing == "self-test":
        say("It cannot be accepted: boot.py's self-test was broken off.")
    else:
        agent.accept()
        if missing:
            say(
                "Noted. It is accepted as soon as the job service names its job, if the "
                "application goes on. Ctrl-D starts a stopped main.py again, and the test goes on."
            )
        else:
            say("Accepted: version %s stays." % agent.running[0])


@_told
def verify():
    """Hash both slots again and compare them with their trailers."""
    pair = look()
    say_what_is_left(pair)
    buf = bytearray(slots.SECTOR)
    keys = keyring.believed()
    for slot in (pair.running, pair.other):
        _compare(slot, keys, buf)


@_told
def rollback(agent, yes):
    """Return to the image in the other slot. yes (bool): do not ask."""
    busy = agent is not None and agent.state != "Suspended"
    if busy:
        try:
            agent.suspend()  # first: its journal must not change while it is read
        except errors.StateError:
            busy = False  # it was shut down and does nothing
    try:
        _roll_back(look(), journal_of(agent), yes)
    finally:
        if busy:
            agent.resume()


def _roll_back(pair, journal, yes):
    buf = bytearray(slots.SECTOR)
    keys = keyring.believed()
    running = _running(pair.running, keys, buf)
    try:
        found = roll_back.find(pair, journal, running[1], keys, buf)
    except errors.OtaError as error:
        say("No rollback: %s." % error)
        return
    here, there = pair.running.label, pair.other.label
    version = found.version
    say("%s runs version %s; %s holds version %s." % (here, running[0], there, version))
    if not yes and input("Type yes to boot %s: " % there).strip() != "yes":
        say("Nothing was changed.")
        return
    if not yes:  # it may have changed since
        found = roll_back.find(pair, journal, running[1], keyring.believed(), buf)
    say("If %s is right, the board restarts and tests it." % there)
    try:
        roll_back.begin(pair, journal, found, running, buf, _dot)
    finally:
        put("\n")


def _live(agent):
    if agent is None:
        raise errors.StateError("No agent is alive: main.py has not made one since the last start.")
    return agent


def _compare(slot, keys, buf):
    """Print whether the slot holds the image that its trailer describes."""
    try:
        found = installed.read(slot, keys, buf)
    except errors.OtaError as error:
        say("%s  trailer not believed: %s" % (slot.label, error), "  ")
        return
    put(slot.label + "  ")
    if found is None:
        empty = slot.chip_id() is None
        say("empty" if empty else "no trailer: a raw image, by cable or a job, or not complete yet")
        return
    try:
        roll_back.rehash(slot, found, buf, _dot)
        say(" matches version " + found.version)
    except errors.OtaError as error:
        say(" differs: %s" % error)


def _running(slot, keys, buf):
    """Return (version, sequence or 0 if it raises no floor) of the running image."""
    try:
        found = installed.read(slot, keys, buf)
    except errors.OtaError:
        found = None
    return (found.version, found.sequence if keyring.look()[2] else 0) if found else ("0.0.0", 0)


def _dot():
    put(".")
