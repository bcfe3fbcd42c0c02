"""An update that a person at the REPL brings: from a file, an address, or through the cable.

main.py is stopped then, so the agent is stepped here; where there is none, one without a network is
made. The person has asked for the update, so what is verified is activated at once.
"""

import sys
from binascii import a2b_base64

from . import agent as agents
from . import console, errors, journal
from .compat import const, sleep_ms
from .console import put, say, told
from .settings import load_settings, require

_STEP_MS = const(20)
_DOTS = const(20)
# Bytes asked for at once: their base64 must fit what a chip's UART keeps while nobody reads.
_PIECE = const(192)


class Cable:
    """A package that the host sends through the console, piece by piece, when it is asked.

    size: bytes of it. Asked for by a line `ota-read OFFSET COUNT`; answered by base64 of exactly so
    many bytes, without a line's end, so that Ctrl-C stays what it is.
    """

    def __init__(self, size):
        self.size = size
        self._text = memoryview(bytearray(_PIECE * 4 // 3))

    def __str__(self):
        return "the cable"

    def read(self, offset, view):
        """Fill `view` with the bytes at `offset`. Returns how many."""
        size = len(view)
        while len(view):
            piece = view[:_PIECE]
            text = self._text[: (len(piece) + 2) // 3 * 4]
            say("ota-read %d %d" % (offset, len(piece)))
            sys.stdin.buffer.readinto(text)
            try:
                piece[:] = a2b_base64(text)
            except ValueError:
                raise OSError("what came is not what was asked for")
            offset += len(piece)
            view = view[len(piece) :]
        return size

    def close(self):
        """No more is asked for."""


@told
def install(agent, source):
    """Install a package: path, address, or source object (see `source`). Ends with a restart."""
    _carry_out(agent or _made(), source, _Dots())


@told
def receive(agent, size):
    """Install a package of `size` bytes that `fleet send` sends."""
    if not size:
        raise errors.SourceError("the package is empty")
    _carry_out(agent or _made(), Cable(size), None)


def _carry_out(agent, source, dots):
    asked = agent.callback

    def callback(event, detail):
        if event != "Activate":
            return asked(event, detail)
        say("ota-verified %s" % detail if dots is None else " verified; restarting.")
        agent.activate()
        return None

    agent.callback = callback
    try:
        agent.install(source)
        while agent.state == "Active" and agent.journal.origin == journal.LOCAL:
            wait = agent.step()
            if dots:
                dots.show(agent.progress)
            sleep_ms(min(wait, _STEP_MS))
    finally:
        agent.callback = asked
    if dots:
        put("\n")
    console.last(agent)


def _made():
    settings = load_settings()
    return agents.Agent(None, require(settings, "thing"), settings=settings)


class _Dots:
    """Progress, a dot for each twentieth."""

    def __init__(self):
        self._shown = 0

    def show(self, progress):
        while progress and self._shown < _DOTS * progress[0] // progress[1]:
            self._shown += 1
            put(".")
