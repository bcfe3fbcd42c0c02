"""What the MQTT callback leaves for `step()`: two blocks and a few control messages.

The callback only copies. What does not fit is dropped and counted, as in FreeRTOS's agent; a
dropped block is asked for again at once.
"""

from .compat import const

_BLOCKS = const(2)
_CONTROLS = const(4)
_CONTROL_SIZE = const(4096)
# What CBOR and MQTT add to a block at most (bytes).
_OVERHEAD = const(64)


class Stats:
    """received, queued, processed, dropped: counts of messages since start.

    Printed as the 2019 FreeRTOS demo prints them.
    """

    def __init__(self):
        self.received = 0
        self.queued = 0
        self.processed = 0
        self.dropped = 0

    def __str__(self):
        return "Received: %d Queued: %d Processed: %d Dropped: %d" % (
            self.received,
            self.queued,
            self.processed,
            self.dropped,
        )


class Inbox:
    """A bounded queue with buffers of its own. block_size: bytes of a stream block."""

    def __init__(self, block_size, stats):
        self._buffers = [bytearray(block_size + _OVERHEAD) for _ in range(_BLOCKS)]
        self._views = [memoryview(buffer) for buffer in self._buffers]
        self._lengths = [0] * _BLOCKS
        self._oldest = 0
        self._waiting = 0
        self._controls = []
        self._stats = stats
        self.lost_block = False

    def put_block(self, payload):
        """Queue a copy of a stream message, or drop it."""
        self._stats.received += 1
        if self._waiting == _BLOCKS or len(payload) > len(self._buffers[0]):
            self._stats.dropped += 1
            self.lost_block = True
            return
        slot = (self._oldest + self._waiting) % _BLOCKS
        self._buffers[slot][: len(payload)] = payload
        self._lengths[slot] = len(payload)
        self._waiting += 1
        self._stats.queued += 1

    def put_control(self, topic, payload):
        """Queue a copy of any other message, or drop it. topic: bytes."""
        self._stats.received += 1
        if len(self._controls) == _CONTROLS or len(payload) > _CONTROL_SIZE:
            self._stats.dropped += 1
            return
        self._controls.append((str(topic, "utf-8"), bytes(payload)))
        self._stats.queued += 1

    def take_control(self):
        """Return the oldest (topic, payload) of a control message, or None."""
        if not self._controls:
            return None
        self._stats.processed += 1
        return self._controls.pop(0)

    def block(self):
        """Return a view of the oldest block's message, or None; it stays until `block_done`."""
        if not self._waiting:
            return None
        return self._views[self._oldest][: self._lengths[self._oldest]]

    def block_done(self):
        """Give the oldest block's buffer back."""
        self._oldest = (self._oldest + 1) % _BLOCKS
        self._waiting -= 1
        self._stats.processed += 1

    def clear(self):
        """Forget everything queued, as after a lost connection."""
        while self._waiting:
            self.block_done()
        while self._controls:
            self.take_control()
        self.lost_block = False
