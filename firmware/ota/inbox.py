"""Messages that wait for `step()`: one or two blocks and a few control messages.

It also keeps the facts about the connection that must outlive the engine.

The callback only copies. A message that does not fit is dropped and counted, as in FreeRTOS's
agent. A dropped block is asked for again when the others of its window have come. The callback may
run in another thread than `step()` without a lock: one counts in, the other counts out, and a
global interpreter lock keeps each operation whole.
"""

from .compat import const, mem_free, spread, ticks_add, ticks_diff, ticks_ms

# With less free heap (bytes) there is one buffer, enough if a step follows each message.
_SCARCE = const(131072)
_CONTROLS = const(4)
# So many questions without an answer are told: some 20 s.
_MANY = const(4)
CONTROL_SIZE = const(4096)
# Bytes that CBOR or JSON add to a block at most.
OVERHEAD = const(64)
# Pauses after which a service that refused to name a job is asked again (ms).
_REFUSED_MS = const(60000)
_REFUSED_MAX_MS = const(3840000)
# What the topic of an answer to a report has, and no other.
_UPDATE = b"/update/"


class Stats:
    """received, queued, processed, dropped: counts of messages since start.

    Printed as the 2019 FreeRTOS demo prints them. unanswered: questions for a job since the job
    service was heard last, told behind the counts when they are many. report: how the report of
    what runs here stands (setting `report`): "off", "due", "sent", "told", or "given up: " and why.
    """

    def __init__(self):
        self.received = 0
        self.queued = 0
        self.processed = 0
        self.dropped = 0
        self.unanswered = 0
        self.report = "off"

    def __str__(self):
        text = "Received: %d Queued: %d Processed: %d Dropped: %d" % (
            self.received,
            self.queued,
            self.processed,
            self.dropped,
        )
        if self.unanswered >= _MANY:
            text += ", the job service has not answered %d questions" % self.unanswered
        return text


class Inbox:
    """A bounded queue. It has buffers for blocks while a data path is used: `open` to `close`.

    alone (bool): there is no broker; jobs, streams: the beginning of the agent's topics (bytes);
    stream: the topic on which blocks come, b"" for none; online: whether the topics are subscribed
    and the link lives; lost: number of blocks dropped since the last request for blocks; missed:
    whether a message about jobs was dropped for want of room; answers: whether an answer to a
    report is awaited: else it is not worth the loading of the modules that read it.
    streamed: the subscribed topics of the last stream; asked: number of questions for a job;
    offered: the last job that was offered to the application, and its `queued`; refused: number of
    times in succession that the job service refused to name a job; heard: ticks_ms of its last
    message.
    buffers, lengths: of the blocks that wait, by the slot that `oldest` returns. stats: Stats.
    shadow: the beginning of the topics on which a report's answer is awaited (bytes), or b"".
    """

    def __init__(self, stats, alone=False):
        self.alone = alone
        self.jobs = self.streams = self.stream = self.shadow = b""
        self.online = self.missed = self.answers = False
        self.lost = self.asked = self.refused = 0
        self.heard = self._ask_at = ticks_ms()
        self._paused_for = 0
        self.streamed = ("", "")
        self.offered = ()
        self.buffers: "list[bytearray]" = []
        self.lengths = [0, 0]
        self._lent: "list" = [None, None]
        self._bounds = [0, 0, 0, 0]
        self._put = 0  # blocks ever; only _put_block() changes it
        self._done = 0  # only block_done() does
        self._controls = []
        self.stats = stats

    def open(self, message_size):
        """Make the buffers. message_size: bytes of a stream's block as sent.

        Returns the first, for a data path that needs one of its own and no stream.
        """
        count = 1 if 0 < mem_free() < _SCARCE else 2
        self.give_back()
        self.buffers = [bytearray(message_size + OVERHEAD) for _ in range(count)]
        return memoryview(self.buffers[0])

    def close(self):
        """Give the buffers back, and the stream up."""
        self.stream = b""
        self.give_back()

    def give_back(self):
        """Give the buffers, and the blocks in them, back to the heap until `open`."""
        self._clear_blocks()
        self.lost = 0
        self.buffers = []
        self._lent = [None, None]

    def put(self, topic, payload):
        """Queue a copy of a message from the callback. False: the topic is not the agent's.

        topic: bytes; payload: bytes or a view.
        """
        if topic == self.stream:
            self._put_block(payload)
        elif topic.startswith(self.jobs):
            self.stats.unanswered = 0
            self.heard = ticks_ms()
            if self.answers or _UPDATE not in topic:
                self.missed |= not self._put_control(topic, payload)
        elif topic.startswith(self.streams):
            if self.stream:
                self._put_control(topic, payload)
        elif self.shadow and topic.startswith(self.shadow):
            self._put_control(topic, payload)
        else:
            return False
        return True

    def is_silent(self, silence_ms):
        """Say whether the job service said nothing for so long; then wait as long once more."""
        now = ticks_ms()
        if ticks_diff(now, self.heard) < silence_ms:
            return False
        self.heard = ticks_add(now, spread(silence_ms) - silence_ms)
        return True

    def is_refusal_over(self):
        """Say whether the pause after a refusal is over, which doubles with each one."""
        now = ticks_ms()
        if self.refused != self._paused_for:
            self._paused_for = self.refused
            pause = min(_REFUSED_MS << min(self.refused - 1, 6), _REFUSED_MAX_MS)
            self._ask_at = ticks_add(now, spread(pause))
        if ticks_diff(now, self._ask_at) < 0:
            return False
        self._paused_for = 0  # without an answer the pause begins again
        return True

    @property
    def reached(self):
        """Say whether the broker is reached, or there is none."""
        return self.online or self.alone

    @property
    def waiting(self):
        """Say whether a control message waits to be taken."""
        return len(self._controls) > 0

    def take_control(self):
        """Return the oldest (topic, payload) of a control message, or None."""
        if not self._controls:
            return None
        self.stats.processed += 1
        return self._controls.pop(0)

    def oldest(self):
        """Return the slot of the oldest block's message, -1 without one.

        The message stays until `block_done`.
        """
        if not self.buffers:
            self._clear_blocks()  # a message that met the end of its stream, in another thread
        if self._put == self._done:
            return -1
        return self._done % len(self.buffers)

    def lend(self, slot, start, end):
        """Return the bytes from start to end in the buffer of a slot (memoryview).

        Blocks mostly lie at the same place of their messages: then it is the same view as before.
        """
        bounds = self._bounds
        if self._lent[slot] is None or bounds[slot] != start or bounds[slot + 2] != end:
            self._lent[slot] = memoryview(self.buffers[slot])[start:end]
            bounds[slot], bounds[slot + 2] = start, end
        return self._lent[slot]

    def block_done(self):
        """Give the oldest block's buffer back, unless all were cleared meanwhile."""
        if self._done == self._put:
            return
        self._done += 1
        self.stats.processed += 1

    def clear(self):
        """Forget everything queued, as after a lost connection."""
        self._clear_blocks()
        while self._controls:
            self.take_control()
        self.lost = 0

    def _clear_blocks(self):
        while self._put != self._done:
            self.block_done()

    def _put_block(self, payload):
        self.stats.received += 1
        buffers = self.buffers
        if not buffers or len(payload) > len(buffers[0]):
            self.stats.dropped += 1  # but not lost: it would be as long the next time
            return
        if self._put - self._done == len(buffers):
            self.stats.dropped += 1
            self.lost += 1
            return
        slot = self._put % len(buffers)
        buffers[slot][: len(payload)] = payload
        self.lengths[slot] = len(payload)
        self._put += 1
        self.stats.queued += 1

    def _put_control(self, topic, payload):
        """Queue a control message. Returns False when there was no room.

        One that is too long is forgotten: it would be as long the next time.
        """
        self.stats.received += 1
        if len(self._controls) == _CONTROLS or len(payload) > CONTROL_SIZE:
            self.stats.dropped += 1
            return len(self._controls) < _CONTROLS
        try:
            topic = str(topic, "utf-8")
        except UnicodeError:  # of nobody whom the agent talks to
            self.stats.dropped += 1
            return True
        self._controls.append((topic, bytes(payload)))
        self.stats.queued += 1
        return True
