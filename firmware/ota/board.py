"""This board as an update finds it: its settings, slots and journal, and what runs."""

from . import errors, pair
from .compat import VERIFYING, finish, forget
from .journal import Journal
from .settings import is_there, require, trusted_keys
from .slots import DIRECTORIES, SECTOR, VALID, Slots


class Board:
    """given: dict as `load_settings` returns it; version: the application's own, or None.

    Raises SettingsError.
    settings: those of the agent; product (str); slots: slots.Slots; journal: journal.Journal; buf:
    scratch, 4096 bytes; word: the application's own version as FreeRTOS packs it, or None;
    version, sequence: of the running pair; without a trailer the own one or "0.0.0", and 0;
    directory: the application directory that runs, "" for none; pair: what runs as its trailer
    describes it, None for what a cable brought.
    """

    def __init__(self, given, version=None):
        from .defaults import agent_settings, version_word

        self.word = None if version is None else version_word(version)
        self.settings = agent_settings(given)
        self.product = require(given, "product")
        self.slots = Slots()
        self.journal = Journal()
        self.buf = bytearray(SECTOR)
        self.version, self.sequence, self.directory = version or "0.0.0", 0, ""
        self.pair = None
        running = self.slots.running
        trailer = running.read_trailer(self.buf)
        if trailer:
            self.directory = trailer[1]
            try:
                # Verifying takes a while, and heap: what runs is read before the first step.
                self.pair = finish(pair.reading(running, self.keys(), self.buf))
                newest = self.pair.newest
                self.version, self.sequence = newest.version, newest.sequence
            except errors.OtaError:
                pass  # not believed, so it counts as none; the status says why
        forget("defaults window cbor " + VERIFYING)

    @staticmethod
    def keys():
        """Return the keys this board trusts. Raises SettingsError."""
        from .trust import load_keys

        return load_keys(trusted_keys())

    @property
    def spare(self):
        """The application directory that does not run, and that the next one goes into."""
        return DIRECTORIES[self.directory == DIRECTORIES[0]]

    @property
    def floor(self):
        """The highest sequence this board has accepted: of the journal, or what runs, VALID."""
        if self.slots.state(self.slots.running) == VALID:
            return max(self.journal.floor, self.sequence)
        return self.journal.floor

    def tidying(self):
        """Remove an application directory that no slot's trailer names. A generator of slices."""
        named = self.slots.other.read_trailer(self.buf)
        name = self.spare
        if not (named and named[1] == name) and is_there(name):
            from .directory import clearing

            try:
                yield from clearing(name)
            except errors.FilesystemError:
                pass  # the update that needs the room will say it
            forget("directory ustar")
