"""What this board is, and what runs on it. Read once, when the agent is made; loaded for that.

Reading what runs verifies a signature: that takes a while, and heap.
"""

from collections import namedtuple

from . import errors, pair
from .compat import VERIFYING, finish, forget
from .defaults import agent_settings, version_word
from .settings import require, trusted_keys
from .slots import SECTOR, Slots

# settings: those of the agent (dict); product (str); word: the application's own version as
# FreeRTOS packs it, or None; slot: label of the one that runs, as "ota_0"; version, sequence: of
# the running pair; without a trailer the own one or "0.0.0", and 0; directory: the application
# directory that runs, "" for none.
# A tuple: the methods of a class of ours would keep this module, and all that it names, loaded.
Identity = namedtuple(
    "Identity", ("settings", "product", "word", "slot", "version", "sequence", "directory")
)


def read(given, version=None):
    """Return the Identity of this board.

    given: dict as `load_settings` returns it; version: the application's own, or None. Raises
    SettingsError.
    """
    word = None if version is None else version_word(version)
    settings = agent_settings(given)
    product = require(given, "product")
    version, sequence, directory = version or "0.0.0", 0, ""
    running = Slots().running
    buf = bytearray(SECTOR)
    trailer = running.read_trailer(buf)
    if trailer:
        from .trust import load_keys

        directory = trailer[1]
        try:
            newest = finish(pair.reading(running, load_keys(trusted_keys()), buf)).newest
            version, sequence = newest.version, newest.sequence
        except errors.OtaError:
            pass  # not believed, so it counts as none; the status says why
    forget("identity defaults window cbor " + VERIFYING)
    return Identity(settings, product, word, running.label, version, sequence, directory)
