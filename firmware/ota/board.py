"""This board as an update finds it: its settings, slots and journal, and what runs."""

from . import errors
from .compat import forget
from .journal import Journal
from .settings import trusted_keys
from .slots import DIRECTORIES, SECTOR, VALID, Slots


class Board:
    """identity: identity.Identity, whose fields are here too.

    Raises SettingsError without two OTA slots.
    slots: slots.Slots; journal: journal.Journal.
    """

    def __init__(self, identity):
        self.settings = identity.settings
        self.product = identity.product
        self.word = identity.word
        self.version = identity.version
        self.sequence = identity.sequence
        self.directory = identity.directory
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
        """Remove what no slot goes with: a directory, or flat modules. A generator of slices."""
        from . import cleanup, directory

        try:
            trailer = self.slots.other.read_trailer(self.buf)
            named = trailer[1] if trailer else None
            if named != self.spare:
                directory.set_aside(self.spare)
            # Without a trailer the other slot may go with the flat files.
            yield from cleanup.removing(self.directory if named else "")
        except errors.FlashError:
            pass  # of the file system, too; the update that needs the room will say it
        forget("cleanup directory flat ustar")
