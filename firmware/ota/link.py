"""umqtt.simple hardened: an MQTT link on which no call waits longer than its deadline.

Client fields, callback and last will are the library's, of any version. What differs:
- Socket and TLS are opened here, so that every version of the library behaves alike.
- All bytes go through a `wire.Stream`, whose reads and writes end with an error at a deadline: a
  packet that stops halfway on a dead link ends the link, not the program.
- Every packet is read to its end, also one that no call waits for (a late PUBACK, DISCONNECT, ...).
- Answers are told apart by packet id, so that the callback may publish and subscribe, too.
- An answer that does not come within the deadline ends the link: a ping's always, and with
  `waits=False` all others, too, for which no call then waits.
- Payloads are read into one buffer; the callback gets a view of it that is valid until the callback
  returns, or itself waits for an answer.
- Topics and texts may be long and hold any character.
Any OSError means: the link is closed, connect again. `MQTTError` is an OSError with a sentence.
"""

import errno
import struct

from umqtt.simple import MQTTClient

from . import loader
from .compat import const, spread, ticks_add, ticks_diff, ticks_ms
from .wire import MQTTError, Stream, octets

_CONNECT = const(0x10)
_PUBLISH = const(0x30)
_PUBACK = const(0x40)
_SUBSCRIBE = const(0x82)
_SUBACK = const(0x90)
_UNSUBSCRIBE = const(0xA2)
_UNSUBACK = const(0xB0)
_PINGRESP = const(0xD0)

_TAKEN = const("the broker closes the link again and again: has another board this name?")
_SILENT = const("the broker does not answer")
_NO_MEMORY = const("memory is short")
_LENGTH = const("a packet's length is not MQTT")

# No packet has this id; it stands for the ping, whose answer bears none.
_PING = const(0)

# A link is short that ends sooner (ms); after so many in a row somebody else may have the name.
_SHORT_MS = const(30000)
_MANY = const(3)

# A payload of so many bytes is copied behind its head.
_SMALL = const(512)


class Link(MQTTClient):
    """A client like umqtt.simple's, with deadlines.

    client_id, host (str); port (int); keepalive in seconds, 10 to 65535; tls_context: an
    SSLContext, None for plain TCP, True for one that the first `connect` makes of the certificates
    in /etc; timeout_ms: the deadline of every call, DNS aside;
    max_payload: bytes of the largest message taken, longer ones are read and forgotten; waits:
    False lets publish, subscribe and unsubscribe return at once, as a loop with other work needs
    it. `check_msg` sends what TCP did not take, and raises what the broker refuses or does not
    answer in time.
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
        waits=True,
    ):
        keepalive = min(max(10, keepalive), 65535)
        super().__init__(client_id, host, port, user, password, keepalive)
        self._address = host, port
        self._tls_context = tls_context
        self._timeout_ms = timeout_ms
        self._buffer = bytearray(max_payload)
        self._waits = waits
        self._failures = self._short = 0
        self._began = ticks_add(ticks_ms(), -_SHORT_MS)

    def connect(self, clean_session=True):
        """Open the link. Returns whether the broker kept a session.

        Raises OSError, and SettingsError where a file of /etc is missing.
        """
        self._failures += 1
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        try:
            opening = loader.lend("link_open")
        except MemoryError:
            raise MQTTError(_NO_MEMORY, errno.ENOMEM)
        try:
            if self._tls_context is True:
                self._tls_context = opening.own_context(*self._address)
            sock = opening.connected(*self._address, self._timeout_ms, self._tls_context)
            self.sock = Stream(sock, self._deadline())
            self._send(_CONNECT, opening.introduction(self, clean_session))
            answer = self.sock.read(4)
            refusal = opening.refusal(answer)
            if refusal:
                raise MQTTError(refusal)
        except (ValueError, MemoryError, OSError) as error:
            if self.sock is not None:
                self.sock.close()
            raise opening.explained(error, self._tls_context is not None)
        now = ticks_ms()
        self._short = self._short + 1 if ticks_diff(now, self._began) < _SHORT_MS else 0
        self._began = now
        if self._short >= _MANY:
            self.sock.closed = _TAKEN
        self._failures = 0
        self.sock.waits = self._waits
        self._due = {}  # packet id, or _PING -> (when its answer is due, the packet's head)
        self._ping_at = ticks_add(now, self.keepalive * 500)
        return answer[2] & 1

    def disconnect(self):
        """Say good-bye to the broker and close the link. Raises OSError."""
        self._call(super().disconnect)

    def pause_ms(self):
        """Return the pause before connecting again: 1 s after a good link, doubled up to 60 s.

        A random part, up to a half, is taken off: boards that lost one broker come back one by one.
        """
        return spread(min(1000 << min(max(0, self._failures - 1), 6), 60000))

    def publish(self, topic, msg, retain=False, qos=0):
        """Publish; with qos 1 the broker's PUBACK is due. topic, msg: bytes or str.

        Raises OSError at the deadline, ValueError for another qos than 0 and 1.
        """
        _check_qos(qos)
        self._call(self._publish, octets(topic), octets(msg), retain, qos)

    def subscribe(self, topic, qos=0):
        """Subscribe to a filter of any length. topic: bytes or str.

        Raises MQTTError when the broker refuses, other OSErrors, ValueError as `publish`.
        """
        _check_qos(qos)
        self._call(self._subscribe, octets(topic), qos)

    def unsubscribe(self, topic):
        """End a subscription. topic: bytes or str. Raises OSError."""
        self._call(self._request, _UNSUBSCRIBE, self._next_pid() + _field(octets(topic)))

    def ping(self):
        """Ask the broker for a sign of life, due within the deadline. Raises OSError."""
        self._call(super().ping)
        if _PING not in self._due:
            self._due[_PING] = self._deadline(), b""

    def check_msg(self, wait_ms=0):
        """Handle one message if one comes within `wait_ms`, and keep the link alive.

        Returns the packet's first byte, None when nothing came. Raises OSError when the link is
        gone.
        """
        return self._call(self._check, wait_ms)

    def wait_msg(self):
        """Handle one message that comes within the deadline. Returns its first byte, or raises."""
        return self._call(self._read_packet)

    def _deadline(self):
        return ticks_add(ticks_ms(), self._timeout_ms)

    def _call(self, action, *arguments):
        """Run one call under one deadline. An error closes the link: it may be in mid-packet."""
        stream = self.sock
        if stream is None:
            raise MQTTError("the link is not connected", errno.ENOTCONN)
        stream.deadline = self._deadline()
        try:
            return action(*arguments)
        except MemoryError:
            stream.close()
            raise MQTTError(_NO_MEMORY, errno.ENOMEM)
        except OSError:
            stream.close()
            raise

    def _publish(self, topic, msg, retain, qos):
        first = _PUBLISH | qos << 1 | retain
        if qos:
            self._request(first, _field(topic) + self._next_pid(), msg)
        else:
            self._send(first, _field(topic), msg)

    def _subscribe(self, topic, qos):
        self._request(_SUBSCRIBE, self._next_pid() + _field(topic) + bytes((qos,)))

    def _next_pid(self):
        self.pid = self.pid % 65535 + 1
        return struct.pack("!H", self.pid)

    def _request(self, first, head, payload=b""):
        """Send a packet that bears the newest packet id; its answer is due."""
        pid = self.pid
        self._send(first, head, payload)
        self._due[pid] = self._deadline(), head
        while self._waits and pid in self._due:
            self._read_packet()
            if pid in self._due and ticks_diff(ticks_ms(), self._due[pid][0]) > 0:
                raise MQTTError(_SILENT, errno.ETIMEDOUT)  # though it sends other things

    def _send(self, first, head, payload=b""):
        """Send a packet: its first byte, its length, head and payload."""
        packet = bytearray((first,))
        size = len(head) + len(payload)
        while size > 0x7F:
            packet.append(size & 0x7F | 0x80)
            size >>= 7
        packet.append(size)
        packet += head
        if len(payload) <= _SMALL:
            # In one piece: a second one may have to wait until the broker's TCP has acknowledged
            # the first, which takes it up to 40 ms where TCP_NODELAY cannot be set.
            self.sock.write(packet + payload)
        else:
            self.sock.write(packet)
            self.sock.write(payload)

    def _check(self, wait_ms):
        now = ticks_ms()
        if ticks_diff(now, self._ping_at) >= 0:
            self._ping_at = ticks_add(now, self.keepalive * 500)
            self.ping()
        self.sock.flush()
        if self.sock.peek(wait_ms) is None:
            self._check_due(0)
            return None
        self.sock.deadline = self._deadline()
        first = self._read_packet()
        if _PING in self._due:  # a sign of life as good as its answer, which waits behind it
            self._due[_PING] = self._deadline(), b""
        self._check_due(self._timeout_ms)
        return first

    def _check_due(self, grace):
        """Raise MQTTError for an answer that is overdue by more than `grace` ms.

        More where something has come: the answer may be behind it, as the program was busy.
        """
        now = ticks_ms()
        for due, _ in self._due.values():
            if ticks_diff(now, due) > grace:
                raise MQTTError(_SILENT, errno.ETIMEDOUT)

    def _read_packet(self):
        """Read one packet to its end, waiting for it. Returns its first byte."""
        first = self.sock.read(1)[0]
        size = self._read_size()
        kind = first & 0xF0
        if kind == _PUBLISH:
            self._deliver(first, size)
            return first
        if kind in (_PUBACK, _SUBACK, _UNSUBACK) and size >= 2:
            answer = self.sock.read(min(size, 3))
            size -= len(answer)
            _, head = self._due.pop(_number(answer), (0, b""))
            if head and kind == _SUBACK and answer[-1] & 0x80:
                raise MQTTError(
                    "the broker refuses the subscription to " + str(head[4:-1], "utf-8")
                )
        elif kind == _PINGRESP:
            self._due.pop(_PING, None)
        self._skip(size)
        return first

    def _read_size(self):
        """Read a packet's remaining length (MQTT 3.1.1, 2.2.3)."""
        size = 0
        for shift in (0, 7, 14, 21):
            byte = self.sock.read(1)[0]
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                return size
        raise MQTTError(_LENGTH)

    def _deliver(self, first, size):
        """Hand a PUBLISH to the callback, then acknowledge it (MQTT 3.1.1, 3.3)."""
        stream = self.sock
        length = _number(stream.read(2))
        qos = first >> 1 & 3
        size -= 2 + length + (2 if qos else 0)
        if size < 0:
            raise MQTTError(_LENGTH)
        topic = stream.read(length)
        pid = stream.read(2) if qos else None
        if size <= len(self._buffer):
            view = memoryview(self._buffer)[:size]
            stream.readinto(view)
            self.cb(topic, view)
        else:
            self._skip(size)
        if qos == 1:
            stream.write(b"\x40\x02" + pid)

    def _skip(self, size):
        view = memoryview(self._buffer)
        while size > 0:
            piece = min(size, len(view))
            self.sock.readinto(view[:piece])
            size -= piece


def _field(data):
    """Return data with its length before it (MQTT 3.1.1, 1.5.3)."""
    return struct.pack("!H", len(data)) + data


def _number(data):
    """Return the number of 16 bits at the beginning of data."""
    return data[0] << 8 | data[1]


def _check_qos(qos):
    if qos not in (0, 1):
        raise ValueError("qos must be 0 or 1")


def make_link(settings):
    """Return the Link that the board's settings describe, with `waits=False`.

    settings: dict as `ota.load_settings` returns it. Raises SettingsError.
    """
    return loader.lend("link_open").make_link(Link, settings)
