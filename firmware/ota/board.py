"""This board as an update finds it: settings, slots, journal, and the software that runs."""

from . import errors, loader
from .chip import SECTOR
from .journal import Journal
from .settings import DIRECTORIES


def settled(facts):
    """Repeat what a power cut may have broken off after an acceptance: its keys are kept.

    Returns whether they are: what is stored fits what runs.
    """
    board = Board(facts)
    try:
        if board.slots.active_is_running:
            board.keep_accepted()
        return board.settled
    except errors.OtaError:
        return False  # the next start does it; until then no package is believed without it


class Board:
    """The board that an engine works on. Raises SettingsError without two OTA slots.

    facts: facts.Facts, whose fields are attributes, too; settled: whether what is stored
    of keys fits what runs; watchdog_ms: of the application's own watchdog, or None; journal:
    journal.Journal.
    """

    def __init__(self, facts, settled=False, watchdog_ms=None):
        self.settled = settled
        self.watchdog_ms = watchdog_ms
        self.settings = facts.settings
        self.product = facts.product
        self.word = facts.word
        self.version = facts.version
        self.sequence = facts.sequence
        self.created = facts.created
        self.directory = facts.directory
        self.parts = facts.parts
        self.seal = facts.seal
        self.raises = facts.floor
        self.trust = facts.trust
        self.believed = facts.believed
        self.journal = Journal()
        self._buf = None

    @property
    def slots(self):
        """Return the slots.Slots as they are now. Kept by none, or their code would stay loaded."""
        return loader.lend("slots").Slots()

    @property
    def buf(self):
        """Return the scratch buffer, 4096 bytes: the same one until it is given back."""
        if self._buf is None:
            self._buf = bytearray(SECTOR)
        return self._buf

    def give_back(self):
        """Give the scratch buffer back to the heap, until it is used again."""
        self._buf = None

    @property
    def spare(self):
        """Return the application directory that does not run: the next application goes there."""
        return DIRECTORIES[self.directory == DIRECTORIES[0]]

    def keep_accepted(self):
        """Remember what runs as accepted, once it is VALID, with the set of keys that it brings.

        Raises FlashError; with a set also SettingsError, PackageError.
        """
        if not self.slots.proved:
            return
        if self.trust:
            if not self.settled:
                loader.ask("trust", "settle", self)
                self.settled = True
            return
        seal = self.seal.hex() if self.believed else ""
        self.journal.keep_accepted(self.raises, self.created, self.latest(), seal)

    def latest(self):
        """Return the last second (Unix) at which a time is believed here."""
        return self.clock_bounds(loader.lend("clock").built())[1]

    def clock_bounds(self, built):
        """Return the first and the last second (Unix) at which a time is believed here.

        built: when MicroPython was. Not before that nor the newest package accepted; not later than
        these by more than the setting `clock_days`.
        """
        first = max(self.journal.accepted()[1], built)
        return first, first + self.settings["clock_days"] * 86400

    @property
    def floor(self):
        """Return the highest sequence accepted here."""
        return self.journal.floor(self.slots, self.raises)
