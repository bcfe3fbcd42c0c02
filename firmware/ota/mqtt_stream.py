"""The data path over MQTT: the agent requests blocks, which come through the inbox.

Momentum counts a silent request only after the service has named the job again in answer to a
question. So a dead link or service never passes for a dead stream. A broker that drops large
messages does: see `outcome.fail`.

A busy service is not asked more often: a request is repeated after `request_ms` or four round
trips, the longer one, then after pauses that double. An answer to a repeated request shows no round
trip (RFC 6298, 3: Karn's rule).
"""

from . import errors, loader
from .channel import Timer
from .compat import spread
from .window import Pace


def make(engine):
    """Return the data path of the job in hand. Raises OSError when the client does.

    The module of its messages stands before this one in the row of `phases.PATHS`.
    """
    return MqttStream(engine, loader.module(engine.modules.split()[-2]))


class MqttStream:
    """One file of one stream, see `transfer`. form: module of its messages.

    refusal: what the stream service answered in place of blocks, "" as long as it refused nothing.
    """

    def __init__(self, engine, form):
        job, settings = engine.job, engine.board.settings
        self.size = job.file_size
        self.block = None
        self.refusal = ""
        self._channel = engine.channel
        self._inbox = engine.inbox
        self._file_id = job.file_id
        self._period = self._pause = settings["request_ms"]
        self._longest_pause = max(self._period, settings["retry_max_ms"])
        self._most = settings["momentum"]
        self._block_size = settings["block_size"]
        self._longest = settings["message_size"]
        self._timer = Timer(0, 0)
        self._trip = self._waits = 0
        self._pace = Pace(settings["min_rate"])
        self._momentum = 0
        self._silent = self._again = self._measures = False
        self._form = form
        self._out = bytearray()
        prefix = "%sstreams/%s/" % (engine.channel.things, job.stream)
        self._get = prefix + "get/" + form.NAME
        self.resume()
        engine.channel.open_stream(prefix + "data/" + form.NAME, prefix + "rejected/" + form.NAME)

    def poll(self, window):
        """Return the number of the oldest block in the inbox that is wanted, -1 without one."""
        inbox, data = self._inbox, self._data
        if self.block is not None:
            return data.index  # it could not be taken, for want of memory
        while inbox.oldest() >= 0:
            slot = inbox.oldest()
            data.read(inbox.buffers[slot], inbox.lengths[slot])
            index = data.index
            if data.file_id == self._file_id and window.takes(index, data.end - data.start):
                self._pace.add(data.end - data.start)
                self.block = inbox.lend(slot, data.start, data.end)
                self._momentum = 0
                self._silent = False
                self._measure()
                self._timer.after(self._waits)
                return index
            inbox.block_done()
        return -1

    def release(self):
        """Give the block's buffer back to the inbox."""
        self.block = None
        self._inbox.block_done()

    def request(self, window):
        """Request blocks when all have come, or when the stream stays silent."""
        if self._again or window.idle(self._inbox.lost):
            self._request(window)
            self._measures = True
            return 0  # while the blocks are on their way, the flash has work
        if self._timer.left == 0:
            self._silent = True
            self._measures = False
            self._pause = min(2 * self._pause, self._longest_pause)
            self._channel.ask()
            self._request(window)
        return self._timer.left

    def connected(self):
        """Request blocks at once over the new link."""
        self.block = None
        self._silent = False
        self._again = True

    def named(self, _job):
        """Count the job that the service named again as an answer. Raises as `answered`."""
        self.answered()

    def answered(self):
        """Count a silent request. Raises MomentumError when blocks never come."""
        if self._silent:
            self._silent = False
            self._momentum += 1
            if self._momentum >= self._most:
                raise errors.MomentumError(
                    "the service answers, but no block of %d bytes of the job's stream comes (%s)"
                    % (self._block_size, self.refusal or "no answer")
                )

    def refused(self, data):
        """Keep the error that the stream service answered with."""
        self.refusal = self._form.parse_rejected(data)

    def suspend(self):
        """Give the inbox's buffers back to the heap."""
        self.block = self._data = None  # which holds the last buffer
        self._inbox.give_back()

    def resume(self):
        """Make the inbox's buffers again."""
        self._data = self._form.Data()
        self._inbox.open(self._longest)

    def close(self):
        """Forget the stream."""
        self._channel.close_stream()

    def _request(self, window):
        self._again = False
        half = self._pause // 2
        self._waits = self._pause + half - spread(half)  # up to a quarter more
        self._timer.after(self._waits)
        self._form.get_request(self._out, self._file_id, window.ask())
        self._channel.request(self._get, self._out)

    def _measure(self):
        """Learn from the first block of an answer how long to wait for one (ms)."""
        if self._measures:
            self._measures = False
            trip = self._waits - self._timer.left
            self._trip = (3 * self._trip + trip) // 4 if self._trip else trip
            self._pause = min(max(self._period, 4 * self._trip), self._longest_pause)
