"""umqtt.simple hardened: an MQTT link on which no call waits longer than its deadline.

umqtt.simple's own publish, subscribe and ping are used as they are. What differs:
- Socket and TLS are opened here, so that every version of the library behaves alike.
- The library talks to a `_Stream`, whose reads and writes end with an error at a deadline: a packet
  that stops halfway on a dead link ends the link, not the program.
- Packets the library does not expect (a late PUBACK, DISCONNECT, ...) are read to their end.
- A ping that is not answered within the deadline ends the link.
- Payloads are read into one buffer; the callback gets a view of it that is valid during the call.
- Topics longer than the library's short packets take are subscribed correctly.
Any OSError means: the link is gone, connect again. `MQTTError` is an OSError with a sentence.
"""

import errno
import select
import socket
import struct

from umqtt.simple import MQTTClient

try:
    import tls
except ImportError:  # MicroPython 1.22
    import ssl as tls

from ota.compat import ticks_add, ticks_diff, ticks_ms

_CONNACK = 0x20
_PUBLISH = 0x30
_PUBACK = 0x40
_SUBSCRIBE = 0x82
_SUBACK = 0x90
_PINGRESP = 0xD0

# What a broker answers to CONNECT (MQTT 3.1.1, 3.2.2.3).
_REFUSED = {
    1: "the broker does not speak MQTT 3.1.1",
    2: "the broker refuses this client id",
    3: "the broker's MQTT service is not available",
    4: "the broker refuses user name or password",
    5: "the broker does not let this client in",
}


class MQTTError(OSError):
    """The link failed; the text is a sentence for people."""

    def __init__(self, text, number=errno.ECONNRESET):
        super().__init__(number, text)

    def __str__(self):
        return self.args[1]


class _Stream:
    """A socket, plain or TLS, whose reads and writes end at `deadline` (ticks_ms).

    Offers what umqtt.simple uses: read, write, setblocking, close.
    """

    def __init__(self, sock):
        sock.setblocking(False)
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._byte = bytearray(1)
        self._peeked = False
        self.deadline = ticks_ms()

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
                raise MQTTError("the broker closed the link")
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
                raise MQTTError("the broker closed the link in the middle of a packet")
            else:
                done += count

    def write(self, data, size=None):
        """Write all of `data`, or its first `size` bytes."""
        view = memoryview(data.encode() if isinstance(data, str) else data)
        view = view[: len(view) if size is None else size]
        done = 0
        while done < len(view):
            count = self._sock.write(view[done:])
            if count:
                done += count
            else:
                self.wait(select.POLLOUT)
        return done

    def close(self):
        self._sock.close()

    def wait(self, event):
        """Wait for a poll event until the deadline. Raises MQTTError after it."""
        left = ticks_diff(self.deadline, ticks_ms())
        if left <= 0:
            raise MQTTError("the broker did not go on within the deadline", errno.ETIMEDOUT)
        self._poll.modify(self._sock, event)
        self._poll.poll(left)


class Link(MQTTClient):
    """A client like umqtt.simple's, with deadlines.

    client_id, host (str); port (int); keepalive in seconds, at least 10; tls_context: an
    SSLContext, None for plain TCP; timeout_ms: the deadline of every call, DNS aside;
    max_payload: bytes of the largest message taken, longer ones are read and forgotten.
    """

    sock = None
    pid = 0

    def __init__(
        self,
        client_id,
        host,
        port,
        *,
        user=None,
        password=None,
        keepalive=60,
        tls_context=None,
        timeout_ms=10000,
        max_payload=4608,
    ):
        super().__init__(client_id, host, port, user, password, max(10, keepalive))
        self._host = host
        self._port = port
        self._tls_context = tls_context
        self._timeout_ms = timeout_ms
        self._buffer = bytearray(max_payload)
        self._awaited = None  # the answer that the library's own code wants to read
        self._ping_at = ticks_ms()
        self._pong_by = None
        self._failures = 0

    def connect(self, clean_session=True):
        """Open the link. Returns whether the broker kept a session. Raises OSError."""
        self._failures += 1
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        self.sock = self._open()
        try:
            present = self._introduce(clean_session)
        except OSError:
            self.sock.close()
            self.sock = None
            raise
        self._failures = 0
        self._pong_by = None
        self._ping_at = ticks_add(ticks_ms(), self.keepalive * 500)
        return present

    def pause_ms(self):
        """How long to wait before connecting again: 1 s after a good link, doubled up to 60 s."""
        return min(1000 << min(max(0, self._failures - 1), 6), 60000)

    def publish(self, topic, msg, retain=False, qos=0):
        """Publish; with qos 1 also wait for the PUBACK. Raises OSError at the deadline."""
        self.pid %= 65535  # the library counts on past what a packet id can be
        self._call(_PUBACK if qos else None, super().publish, topic, msg, retain, qos)

    def subscribe(self, topic, qos=0):
        """Subscribe to a filter of any length. topic: str or bytes. Raises OSError."""
        self._call(None, self._subscribe, topic.encode() if isinstance(topic, str) else topic, qos)

    def ping(self):
        """Ask the broker for a sign of life."""
        self._call(None, super().ping)

    def check_msg(self, wait_ms=0):
        """Handle one message if one comes within `wait_ms`, and keep the link alive.

        Returns the packet's type, None when nothing came. Raises OSError when the link is gone.
        """
        now = ticks_ms()
        if self._pong_by is not None and ticks_diff(now, self._pong_by) > 0:
            raise MQTTError("the broker does not answer pings", errno.ETIMEDOUT)
        if ticks_diff(now, self._ping_at) >= 0:
            self._ping_at = ticks_add(now, self.keepalive * 500)
            self.ping()
            if self._pong_by is None:
                self._pong_by = ticks_add(now, self._timeout_ms)
        if self.sock.peek(wait_ms) is None:
            return None
        return self._call(None, self.wait_msg)

    def wait_msg(self):
        """Read one whole packet, waiting for it. Returns its type. Raises OSError."""
        stream = self.sock
        while stream.peek() is None:
            stream.wait(select.POLLIN)
        first = stream.read(1)[0]
        kind = first & 0xF0
        if kind == self._awaited:
            return first
        size = self._recv_len()
        if kind == _PUBLISH:
            self._deliver(first, size)
        else:
            if kind == _PINGRESP:
                self._pong_by = None
            self._skip(size)
        return first

    def _call(self, awaited, action, *arguments):
        """Run one call of the library under one deadline; its asserts mean a broken stream."""
        if self.sock is None:
            raise MQTTError("the link is not connected", errno.ENOTCONN)
        before = self._awaited
        self._awaited = awaited
        self.sock.deadline = ticks_add(ticks_ms(), self._timeout_ms)
        try:
            return action(*arguments)
        except (AssertionError, IndexError, TypeError) as error:
            raise MQTTError("the broker sent what is no MQTT: %r" % error)
        finally:
            self._awaited = before

    def _open(self):
        address = socket.getaddrinfo(self._host, self._port)[0][-1]
        sock = socket.socket()
        try:
            sock.settimeout(self._timeout_ms / 1000)
            sock.connect(address)
            if hasattr(socket, "TCP_NODELAY"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls_context is not None:
                sock = self._tls_context.wrap_socket(sock, server_hostname=self._host)
            return _Stream(sock)
        except ValueError as error:  # mbedTLS: the certificate does not verify
            sock.close()
            raise MQTTError("TLS with the broker failed: %s" % error)
        except OSError:
            sock.close()
            raise

    def _introduce(self, clean_session):
        """Send CONNECT, read CONNACK (MQTT 3.1.1, 3.1 and 3.2)."""
        flags = clean_session << 1
        texts = [self.client_id]
        if self.lw_topic:
            flags |= 0x04 | self.lw_qos << 3 | self.lw_retain << 5
            texts += [self.lw_topic, self.lw_msg]
        if self.user is not None:
            flags |= 0x80
            texts.append(self.user)
            if self.pswd is not None:
                flags |= 0x40
                texts.append(self.pswd)
        body = bytearray(b"\x00\x04MQTT\x04\x00") + struct.pack("!H", self.keepalive)
        body[7] = flags
        for text in texts:
            text = text.encode() if isinstance(text, str) else text
            body += struct.pack("!H", len(text)) + text
        self.sock.deadline = ticks_add(ticks_ms(), self._timeout_ms)
        self._send(0x10, body)
        answer = self.sock.read(4)
        if answer[0] != _CONNACK or answer[1] != 2:
            raise MQTTError("the broker's answer is no MQTT")
        if answer[3]:
            raise MQTTError(_REFUSED.get(answer[3], "the broker refuses the connection"))
        return answer[2] & 1

    def _subscribe(self, topic, qos):
        self.pid = self.pid % 65535 + 1
        pid = struct.pack("!H", self.pid)
        self._send(_SUBSCRIBE, pid + struct.pack("!H", len(topic)) + topic + bytes((qos,)))
        self._awaited = _SUBACK
        while True:
            if self.wait_msg() == _SUBACK:
                size = self._recv_len()
                answer = self.sock.read(size)
                if answer[:2] == pid:
                    break
        if answer[2] & 0x80:
            raise MQTTError("the broker refuses the subscription to " + str(topic, "utf-8"))

    def _send(self, first, body):
        head = bytearray((first,))
        size = len(body)
        while size > 0x7F:
            head.append(size & 0x7F | 0x80)
            size >>= 7
        head.append(size)
        self.sock.write(head + body)

    def _deliver(self, first, size):
        """Hand a PUBLISH to the callback, then acknowledge it (MQTT 3.1.1, 3.3)."""
        stream = self.sock
        length = struct.unpack("!H", stream.read(2))[0]
        topic = stream.read(length)
        size -= 2 + length
        qos = first >> 1 & 3
        if qos:
            pid = stream.read(2)
            size -= 2
        if size < 0:
            raise MQTTError("the broker sent what is no MQTT: a PUBLISH shorter than its topic")
        if size <= len(self._buffer):
            view = memoryview(self._buffer)[:size]
            stream.readinto(view)
            self.cb(topic, view)
        else:
            self._skip(size)
        if qos == 1:
            self.sock.write(b"\x40\x02" + pid)

    def _skip(self, size):
        view = memoryview(self._buffer)
        while size > 0:
            piece = min(size, len(view))
            self.sock.readinto(view[:piece])
            size -= piece


def tls_context(ca, certificate=None, key=None):
    """Make an SSLContext that verifies the broker.

    ca: bytes of the trusted CA certificates (PEM); certificate, key: bytes of the client's (PEM),
    or None. Raises ValueError when one cannot be read.
    """
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
