"""This board as an update finds it: its settings, slots and journal, and what runs."""

from collections import namedtuple

from .journal import Journal
from .slots import DIRECTORIES, SECTOR, VALID, Slots

# What is read once, when the agent is made (`start`).
# settings: those of the agent (dict); product (str); word: the application's own version as
# FreeRTOS packs it, or None; slot: label of the slot that runs, as "ota_0"; version, sequence: of
# what runs; without a trailer the own one or "0.0.0", and 0; directory: the application directory
# that runs, "" for none; parts: what the trailer of the running slot says of its image and of its
# directory, see `installed`; seal: the last bytes of that trailer, which change with it.
Facts = namedtuple(
    "Facts",
    ("settings", "product", "word", "slot", "version", "sequence", "directory", "parts", "seal"),
)


class Board:
    """facts: Facts, whose fields are here too. Raises SettingsError without two OTA slots.

    slots: slots.Slots; journal: journal.Journal.
    """

    def __init__(self, facts):
        self.settings = facts.settings
        self.product = facts.product
        self.word = facts.word
        self.version = facts.version
        self.sequence = facts.sequence
        self.directory = facts.directory
        self.parts = facts.parts
        self.seal = facts.seal
        self.slots = Slots()
        self.journal = Journal()
        self._buf = None

    @property
    def buf(self):
        """Scratch, 4096 bytes: always the same, until it is given back."""
        if self._buf is None:
            self._buf = bytearray(SECTOR)
        return self._buf

    def give_back(self):
        """Let the heap have the scratch buffer, until it is used again."""
        self._buf = None

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
