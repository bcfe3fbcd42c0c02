"""The far end of `toy_path`: files by their addresses."""

FILES = {}


class ToyFile:
    """A file that is sent block by block when it is asked for. data: bytes.

    stops_at: the block from which on nothing is sent, None for none; coming: (number, block) on
    their way; asked: how often it was asked.
    """

    def __init__(self, data):
        self.data = data
        self.stops_at = None
        self.coming = []
        self.asked = 0

    def ask(self, window):
        """Send what the window lacks."""
        self.asked += 1
        missing, index = window.missing(), window.first
        while missing:
            if missing & 1 and (self.stops_at is None or index < self.stops_at):
                self.send(index, index, window.block_size)
            missing >>= 1
            index += 1

    def send(self, number, index, size):
        """Send block `index` as the one of this number."""
        self.coming.append((number, memoryview(self.data)[index * size : (index + 1) * size]))
