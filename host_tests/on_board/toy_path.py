"""A data path of these tests, for addresses like `toy://name`; its far end is `toy_service`."""

import toy_service
from ota import errors
from ota.channel import Timer


def make(engine):
    """Return the data path, see `ota.transfer`."""
    return ToyPath(engine)


class ToyPath:
    """A file of toy_service.FILES."""

    def __init__(self, engine):
        settings = engine.board.settings
        self.size = 0
        self.block = None
        self.inbox = engine.inbox
        self.file = toy_service.FILES[engine.source]
        self.index = -1
        self.asked = 0
        self.tries = self.left = settings["source_tries"]
        self.period = settings["request_ms"]
        self.longest = settings["message_size"]
        self.timer = Timer(self.period, self.period)
        self.wanted = False  # whether a request is due whatever the time
        self.resume()

    def poll(self, window):
        """Return the number of a block."""
        if window is None:
            self.size = len(self.file.data)
            return -1
        if self.block is not None:
            return self.index
        coming = self.file.coming
        while coming:
            index, block = coming.pop(0)
            if window.takes(index, len(block)):
                return self.lend(index, block)
        return -1

    def lend(self, index, block):
        """Lend a block."""
        self.index, self.block = index, block
        self.asked -= 1
        self.left = self.tries
        self.timer.after(self.period)
        return index

    def release(self):
        """It was taken."""
        self.block = None

    def request(self, window):
        """Ask when all has come, or after a while."""
        if window is None:
            return 0
        if self.asked <= 0 or self.wanted or not self.timer.left:
            if self.asked > 0 and not self.wanted:
                self.silence()
            self.ask(window)
            return 0
        return self.timer.left

    def ask(self, window):
        """Ask for what the window lacks."""
        self.wanted = False
        missing = window.missing()
        self.asked = 0
        while missing:
            self.asked += missing & 1
            missing >>= 1
        self.timer.after(self.period)
        self.file.ask(window)

    def silence(self):
        """Nothing has come for a while."""
        self.left -= 1
        if not self.left:
            raise errors.SourceError("the toy is silent")

    def connected(self):
        """Ask at once."""
        self.wanted = True

    def answered(self):
        """It has nothing to do with a job."""

    def named(self, job):
        """It has nothing to do with a job."""

    def refused(self, data):
        """It has nothing to do with a stream."""

    def suspend(self):
        """Give the memory back."""
        self.block = None
        self.inbox.give_back()

    def resume(self):
        """Take it again, though there is no use for it."""
        self.inbox.open(self.longest)

    def close(self):
        """No more is wanted."""
        self.block = None
        self.file.coming.clear()
        self.inbox.close()
