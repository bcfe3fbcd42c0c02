"""The bytes of a link: a socket on which nothing waits longer than a deadline."""

import errno
import select

from .compat import const, ticks_diff, ticks_ms

_CLOSED = const("the broker closed the link")

# So many pieces wait until TCP takes them, where no call waits.
_KEPT = const(8)


class MQTTError(OSError):
    """The link failed; the text is a sentence for people."""

    def __init__(self, text, number=errno.ECONNRESET):
        super().__init__(number, text)

    def __str__(self):
        return self.args[1]


class Stream:
    """A socket, plain or TLS, whose reads and writes end at `deadline` (ticks_ms).

    Offers the methods that umqtt.simple uses: read, write, setblocking, close.
    """

    waits = True
    closed = _CLOSED  # what it means when the broker ends the connection

    def __init__(self, sock, deadline):
        self._sock = sock
        self._kept = []
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._byte = bytearray(1)
        self._peeked = False
        self.deadline = deadline

    def setblocking(self, flag):
        """Stay non-blocking, whatever the library wishes: the deadline rules."""

    def peek(self, wait_ms=0):
        """Return the next byte without taking it, None when none came within `wait_ms`."""
        if not self._peeked:
            count = self._sock.readinto(self._byte)
            if count is None and wait_ms > 0:
                self._poll.modify(self._sock, select.POLLIN)
                self._poll.poll(wait_ms)
                count = self._sock.readinto(self._byte)
            if count is None:
                return None
            if count == 0:
                raise MQTTError(self.closed)
            self._peeked = True
        return self._byte[0]

    def read(self, size):
        """Return exactly `size` bytes."""
        data = bytearray(size)
        self.readinto(memoryview(data))
        return bytes(data)

    def readinto(self, view):
        """Fill `view`."""
        done = 0
        if self._peeked and len(view):
            view[0] = self._byte[0]
            self._peeked = False
            done = 1
        while done < len(view):
            count = self._sock.readinto(view[done:])
            if count is None:
                self.wait(select.POLLIN)
            elif count == 0:
                raise MQTTError(self.closed)
            else:
                done += count
                self.left()

    def write(self, data, size=None):
        """Write all of `data`, or its first `size` bytes. What TCP does not take may wait."""
        view = memoryview(octets(data))[:size]
        left = self._kept
        left.append(view)
        while not self.flush():
            if self.waits or len(left) > _KEPT:
                self.wait(select.POLLOUT)
            else:
                left[-1] = bytes(left[-1])
                break

    def flush(self):
        """Write what waits, as far as TCP takes it. Returns whether all is written."""
        left = self._kept
        while left:
            # After a `None` TLS wants the very same bytes once more.
            count = self._sock.write(left[0])
            if count is None:
                return False
            left[0] = left[0][count:]
            if not len(left[0]):
                left.pop(0)
        return True

    def close(self):
        """Close the socket."""
        self._sock.close()

    def wait(self, event):
        """Wait for a poll event until the deadline. Raises MQTTError after it."""
        self._poll.modify(self._sock, event)
        self._poll.poll(self.left())

    def left(self):
        """Return the milliseconds until the deadline. Raises MQTTError after it."""
        left = ticks_diff(self.deadline, ticks_ms())
        if left <= 0:
            raise MQTTError("the broker did not go on within the deadline", errno.ETIMEDOUT)
        return left


def octets(text):
    """Return text as bytes, and bytes as they are."""
    return text.encode() if isinstance(text, str) else text
