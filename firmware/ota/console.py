"""Sentences for a person at the REPL, in 79 columns, and the results of past updates.

An OtaError is printed as its sentence. No function here ends a test that is under way, neither by a
reset nor by feeding the watchdog nor by booting another slot. The seconds left are printed.
agent: the live Agent, or None where main.py has not made one.
"""

from . import chip, errors, slots
from . import journal as journals
from .compat import ticks_diff, ticks_ms

# Who asked for an update that no job brought.
_WHO = {journals.PERSON: "by a person", journals.LOCAL: "installed here"}
_COLUMNS = 79
INDENT = " " * 10
# An agent that was not stepped for so long has been stopped (ms).
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
    """Print `text` without a line's end."""
    print(text, end="")


def told(action):
    """Return `action` as a function that prints an OtaError as its sentence."""

    def call(*arguments):
        try:
            action(*arguments)
        except errors.OtaError as error:
            say(str(error))

    return call


@told
def history(agent):
    """Print the last results, newest first."""
    results = journal_of(agent).history()
    if not results:
        say("No update has ended on this board yet.")
    for result in results:
        for line in result_lines(result, ""):
            say(line, INDENT)
    say_what_is_left(look())


def last(agent):
    """Print how the last update ended."""
    for result in journal_of(agent).history()[:1]:
        for line in result_lines(result, ""):
            say(line, INDENT)


def look():
    """Return the slots as they are. The note of a test says that a person is at the REPL."""
    pair = slots.Slots()
    if pair.pending:
        noted = chip.noted()
        if noted and noted[0] != "selftest":
            chip.note(chip.STOPPED)
    return pair


def journal_of(agent):
    """Return the agent's journal, or the one in flash."""
    return agent.journal if agent else journals.Journal()


def seconds_left(pair):
    """Return the seconds until the deadline of a test that is under way, None without a test."""
    left = chip.test_ends_in() if pair.pending else None
    return None if left is None else left // 1000


def say_what_is_left(pair):
    """Print how long a test that is under way still takes."""
    left = seconds_left(pair)
    if left is not None:
        say("A test is under way: accepted within %d s, or rolled back." % left)


def is_stopped(agent):
    """Say whether the application no longer steps its agent."""
    silent = ticks_diff(ticks_ms(), agent.stepped)
    return not 0 <= silent <= _SILENT_MS  # below 0: it wraps after six days


def result_lines(result, head):
    """Return one entry of the history as lines; `head` begins the first."""
    who = _WHO.get(result.get("origin")) or "job " + result["job"]
    words = [result["status"], who, "sequence %d" % result["sequence"], result["cause"]]
    out = [(head + "  ".join(words)).rstrip()]
    if result["detail"]:
        out.append(INDENT + result["detail"])
    return out
