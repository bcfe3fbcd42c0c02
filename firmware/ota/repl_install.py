"""An update that a person at the REPL brings: from a file, an address, or through the cable.

main.py is stopped meanwhile, so the agent is stepped here. Where there is no agent, one without a
network is made. The person has asked for the update, so a verified image is activated at once.
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
# Bytes asked for at once: their base64 must fit the buffer of a chip's UART.
_PIECE = const(192)


class Cable:
    """A package that the host sends through the console, piece by piece, on request.

    size: bytes of it. A line `ota-read OFFSET COUNT` requests a piece. The host answers with base64
    of exactly so many bytes and no line's end, so that Ctrl-C keeps its meaning.
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
                raise OSError("the host sent something else than base64")
            offset += len(piece)
            view = view[len(piece) :]
        return size

    def close(self):
        """End; the cable stays as it is."""


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
    """Progress as dots, one for each twentieth."""

    def __init__(self):
        self._shown = 0

    def show(self, progress):
        """Print the dots that are due. progress: (blocks received, blocks in all), or None."""
        while progress and self._shown < _DOTS * progress[0] // progress[1]:
            self._shown += 1
            put(".")
