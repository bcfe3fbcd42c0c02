"""What this board says of itself: the reported state of its named shadow `ota`.

The engine asks for it at rest when something has changed: at a start, and when an update has ended.
What changes all the time, free room and heap, rides along.

    version, sequence  of what runs
    origin       who brought it: "job", "local" or "person" of the journal, or "cable"
    result       how the last update ended, "SUCCEEDED" or "FAILED"
    cause, detail  why it failed: a word and a sentence
    agent, boot  versions of the agent, and of boot.py as it notes it in NVS
    encodings    bits, 1 << encoding, of those beside raw that the board decodes
    image, files  SHA-256 of what runs, by its trailer, where there are such encodings
    chip, micropython  what both run on
    keys, digest  version of its set of keys, 0 without one, and the digest's beginning
    created      the newest `created` of a package that it has accepted, Unix seconds
    room, heap   free KB of the file system, free bytes of the heap
    spare        KB that the next application gives back before it needs them

What is not known is null, which takes an older value out of the shadow. Source: AWS IoT, "Device
Shadow service documents", "Device Shadow MQTT topics".
"""

import gc
import json
import sys

from esp32 import NVS

from . import __version__, cleanup, errors, loader
from .channel import SUCCEEDED
from .compat import const, mem_free, ticks_add, ticks_ms
from .journal import stored_trust
from .settings import absolute, free

_VERSION = getattr(sys.implementation, "version", ())  # which type stubs do not know
_HISTORY = const(8)
_MAX_VERSION = const(32)


def send(engine):
    """Publish the report. Raises OSError when the client does.

    engine: engine.Engine, at rest, with a link.
    """
    board, now = engine.board, ticks_ms()
    engine.token = "report%d" % now
    engine.answer_due = ticks_add(now, board.settings["retry_max_ms"])
    message = {"state": {"reported": reported(board)}, "clientToken": engine.token}
    engine.channel.tell(json.dumps(message).encode())


def reported(board):
    """Return the report as a dict. board: board.Board."""
    encodings = _encodings(board)
    image, files = (
        [part and part.sha256.hex() for part in board.parts] if encodings else (None, None)
    )
    gc.collect()  # else the free heap is a matter of chance
    history = board.journal.history()
    last = history[0] if history else {}
    stored = stored_trust()
    return {
        "version": board.version,
        "sequence": board.sequence,
        "origin": origin(history, board.version, board.sequence),
        "result": last.get("status"),
        "cause": last.get("cause") or None,
        "detail": last.get("detail") or None,
        "agent": __version__,
        "boot": _boot_version(),
        "keys": board.trust,
        "digest": stored.get("digest"),
        "created": stored.get("created") or None,
        "encodings": encodings or None,
        "image": image,
        "files": files,
        "chip": _chip(),
        "micropython": _micropython(),
        "room": _room(),
        "spare": sum([cleanup.taken(n) for _, n in cleanup.listed(absolute(board.spare))]) >> 10,
        "heap": mem_free() or None,
    }


def origin(history, version, sequence):
    """Return who brought what runs: the origin of the newest update that was kept, if that is it.

    Else "cable"; None when the history may have lost it. history: list of dicts, newest first.
    """
    for entry in history:
        if entry.get("status") == SUCCEEDED:
            if entry.get("version") == version and entry.get("sequence") == sequence:
                return entry.get("origin")
            return "cable"
    return None if len(history) == _HISTORY else "cable"


def _encodings(board):
    """Return the bits of the encodings whose modules are here."""
    found = 0
    for question in loader.table().QUESTIONS:
        if isinstance(question, int):
            try:
                loader.ask(question, "checking", None, board)  # makes a generator, and no more
                found |= 1 << question
            except errors.ExtensionError:
                pass
    return found


def _boot_version():
    buf = bytearray(_MAX_VERSION)
    try:
        length = NVS("ota").get_blob("boot", buf)
        return str(bytes(buf[:length]), "utf-8")
    except (OSError, ValueError):
        return None  # boot.py is older than its versions


def _micropython():
    return ".".join([str(number) for number in _VERSION[:3]])


def _chip():
    """Return the chip's name: the end of "Generic ESP32 module with ESP32"."""
    machine = getattr(sys.implementation, "_machine", "")
    return machine.split(" with ")[-1] or None


def _room():
    try:
        return free() >> 10
    except OSError:
        return None
