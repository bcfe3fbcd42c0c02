"""The facts of a board: which board it is, and which version runs.

The signature in the running slot's trailer is verified here, and only here: once, for a start
knows a trailer again that was accepted.
"""

from collections import namedtuple

from . import errors
from .chip import SECTOR
from .compat import finish
from .defaults import agent_settings, version_word
from .installed import reading
from .settings import require
from .slots import Slots

# Facts that the agent reads once, when it is made.
# settings: those of the agent (dict); product (str); word: the application's own version as
# FreeRTOS packs it, or None; slot: label of the running slot, as "ota_0"; version, sequence,
# created: of the running slot's trailer; without one the application's version or "0.0.0", 0 and 0;
# directory: the application directory that runs, "" for none; parts: image and directory as the
# running slot's trailer describes them, see `installed`; seal: the last bytes of that trailer,
# which change with it; floor: the sequence if it raises the floor, else 0; trust: version of the
# set of keys that holds here or will, once the running image is accepted, 0 without one; believed:
# whether that trailer is, True without one; known: it is the one that was accepted last; due: keys
# have to be stored, see `keyring.settle`.
Facts = namedtuple(
    "Facts",
    (
        "settings",
        "product",
        "word",
        "slot",
        "version",
        "sequence",
        "created",
        "directory",
        "parts",
        "seal",
        "floor",
        "trust",
        "believed",
        "known",
        "due",
    ),
)


def read(given, ring, version=None):
    """Return the Facts of this board.

    given: dict as `load_settings` returns it; ring: from `keyring.look`; version: the application's
    own, or None. Raises SettingsError.
    """
    word = None if version is None else version_word(version)
    settings = agent_settings(given)
    product = require(given, "product")
    version, sequence, created = version or "0.0.0", 0, 0
    directory, parts, seal = "", (None, None), b""
    keys, trust, counts, known, due = ring
    floor, believed = 0, True
    running = Slots().running
    buf = bytearray(SECTOR)
    trailer = running.read_trailer(buf)
    if trailer:
        directory, seal = trailer[1], running.seal(buf)
        try:
            newest = finish(reading(running, keys, buf, known))
            version, sequence, created = newest.version, newest.sequence, newest.created
            parts, floor = newest.parts, newest.sequence if counts else 0
        except errors.OtaError:
            believed = False  # it counts as none; the status says why
    label = running.label
    return Facts(
        settings,
        product,
        word,
        label,
        version,
        sequence,
        created,
        directory,
        parts,
        seal,
        floor,
        trust,
        believed,
        known,
        due,
    )
