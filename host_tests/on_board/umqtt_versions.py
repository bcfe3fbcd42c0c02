"""Stand-ins for umqtt.simple, one class per version that behaves differently.

They speak MQTT as that version does, with its faults; what firmware/link.py replaces is there to
be replaced. Facts: the library's history, and what PyPI offers as 1.3.4, which is older than the
1.3.4 frozen into MicroPython 1.22.

    PyPI's 1.3.4  imports usocket, ustruct, ubinascii; wait_msg() returns None for a message, too
    1.3.4         as frozen in 1.22: returns what it read
    1.4.0         ssl is an SSLContext, no ssl_params
    1.6.0         (and 1.5.0) connect(timeout=); ssl may be True, then ssl_params count
    1.7.0         unsubscribe()
    1.8.0         subscriptions of any length; connect() closes an old socket first
"""

import socket
import struct

_SHORT = 0x7F


class MQTTException(Exception):
    """The broker refuses."""


def _remaining(size):
    """Return MQTT's variable length."""
    coded = b""
    while size > _SHORT:
        coded += bytes((size & _SHORT | 0x80,))
        size >>= 7
    return coded + bytes((size,))


class PyPI:
    """Version 1.3.4 of PyPI, 2017."""

    def __init__(
        self, client_id, server, port=0, user=None, password=None, keepalive=0, ssl=False,
        ssl_params={},  # noqa: B006
    ):  # fmt: skip
        import ubinascii  # noqa: F401
        import usocket  # noqa: F401
        import ustruct  # noqa: F401

        self._set(client_id, server, port, user, password, keepalive)
        self.ssl = ssl
        self.ssl_params = ssl_params

    def _set(self, client_id, server, port, user, password, keepalive):
        self.client_id = client_id
        self.server = server
        self.port = port
        self.user = user
        self.pswd = password
        self.keepalive = keepalive
        self.sock = self.cb = self.lw_topic = self.lw_msg = None
        self.pid = self.lw_qos = 0
        self.lw_retain = False

    def set_callback(self, f):
        self.cb = f

    def set_last_will(self, topic, msg, retain=False, qos=0):
        self.lw_topic = topic
        self.lw_msg = msg
        self.lw_retain = retain
        self.lw_qos = qos

    def connect(self, clean_session=True):
        self.sock = socket.socket()
        return self._connect(clean_session)

    def _connect(self, clean_session):
        self.sock.connect(socket.getaddrinfo(self.server, self.port)[0][-1])
        client_id = self.client_id.encode()
        fields = struct.pack("!BBHH", 4, clean_session << 1, self.keepalive, len(client_id))
        self._send(0x10, b"\x00\x04MQTT" + fields + client_id)
        answer = self.sock.read(4)
        assert answer[:2] == b"\x20\x02"
        if answer[3]:
            raise MQTTException(answer[3])
        return answer[2] & 1

    def disconnect(self):
        self.sock.write(b"\xe0\x00")
        self.sock.close()

    def ping(self):
        self.sock.write(b"\xc0\x00")

    def publish(self, topic, msg, retain=False, qos=0):
        pid = b""
        if qos:
            self.pid += 1
            pid = struct.pack("!H", self.pid)
        # The length counts characters, the bytes may be more.
        size = 2 + len(topic) + len(pid) + len(msg)
        self.sock.write(bytes((0x30 | qos << 1 | retain,)) + _remaining(size))
        self.sock.write(struct.pack("!H", len(topic)))
        self.sock.write(topic)
        self.sock.write(pid)
        self.sock.write(msg)
        if qos == 1:
            while not (self.wait_msg() == 0x40 and self.sock.read(3)[1:] == pid):
                pass
        assert qos != 2

    def subscribe(self, topic, qos=0):
        self._subscribe(topic, qos, False)

    def _subscribe(self, topic, qos, long):
        assert self.cb is not None
        self.pid += 1
        size = 5 + len(topic)
        length = _remaining(size) if long else bytes((size & 0xFF,))
        pid = struct.pack("!H", self.pid)
        self.sock.write(b"\x82" + length + pid + struct.pack("!H", len(topic)))
        self.sock.write(topic)
        self.sock.write(bytes((qos,)))
        answer = self._answer(0x90, 4)
        assert answer[1:3] == pid
        if answer[3] == 0x80:
            raise MQTTException(answer[3])

    def wait_msg(self):
        kind = self._wait_msg()
        return None if kind is None or kind & 0xF0 == 0x30 else kind

    def _wait_msg(self):
        data = self.sock.read(1)
        self.sock.setblocking(True)
        if data is None:
            return None
        if data == b"":
            raise OSError(-1)
        kind = data[0]
        if kind == 0xD0:
            self.sock.read(1)
            return None
        if kind & 0xF0 != 0x30:
            return kind  # the rest of the packet stays in the stream
        size = self._recv_len()
        topic = self.sock.read(struct.unpack("!H", self.sock.read(2))[0])
        size -= 2 + len(topic)
        pid = b""
        if kind & 6:
            pid = self.sock.read(2)
            size -= 2
        self.cb(topic, self.sock.read(size))
        if kind & 6 == 2:
            self.sock.write(b"\x40\x02" + pid)
        assert kind & 6 != 4
        return kind

    def check_msg(self):
        self.sock.setblocking(False)
        return self.wait_msg()

    def _recv_len(self):
        size = shift = 0
        while True:
            byte = self.sock.read(1)[0]
            size |= (byte & _SHORT) << shift
            if byte <= _SHORT:
                return size
            shift += 7

    def _send(self, first, body):
        self.sock.write(bytes((first,)) + _remaining(len(body)) + body)

    def _answer(self, kind, size):
        while self.wait_msg() != kind:
            pass
        return self.sock.read(size)


class V134(PyPI):
    """Version 1.3.4 as MicroPython 1.22 has it frozen."""

    def wait_msg(self):
        return self._wait_msg()


class V140(V134):
    """Version 1.4.0."""

    def __init__(
        self, client_id, server, port=0, user=None, password=None, keepalive=0, ssl=None
    ):  # fmt: skip
        self._set(client_id, server, port, user, password, keepalive)
        self.ssl = ssl


class V160(V140):
    """Version 1.6.0, and but for ssl=True 1.5.0."""

    def __init__(
        self, client_id, server, port=0, user=None, password=None, keepalive=0, ssl=None,
        ssl_params={},  # noqa: B006
    ):  # fmt: skip
        super().__init__(client_id, server, port, user, password, keepalive, ssl)
        self.ssl_params = ssl_params

    def connect(self, clean_session=True, timeout=None):
        self.sock = socket.socket()
        self.sock.settimeout(timeout)
        return self._connect(clean_session)


class V170(V160):
    """Version 1.7.0."""

    def unsubscribe(self, topic):
        self.pid += 1
        pid = struct.pack("!H", self.pid)
        body = pid + struct.pack("!H", len(topic)) + topic.encode()
        self.sock.write(b"\xa2" + bytes((len(body) & 0xFF,)) + body)
        assert self._answer(0xB0, 3)[1:] == pid


class V180(V170):
    """Version 1.8.0: subscribe and unsubscribe share one encoder, of any length."""

    def connect(self, clean_session=True, timeout=None):
        if self.sock:
            self.sock.close()
        return super().connect(clean_session, timeout)

    def subscribe(self, topic, qos=0):
        self._subscribe(topic, qos, True)

    def unsubscribe(self, topic):
        self.pid += 1
        pid = struct.pack("!H", self.pid)
        self._send(0xA2, pid + struct.pack("!H", len(topic)) + topic.encode())
        assert self._answer(0xB0, 3)[1:] == pid


VERSIONS = {
    "PyPI": PyPI,
    "1.3.4": V134,
    "1.4.0": V140,
    "1.6.0": V160,
    "1.7.0": V170,
    "1.8.0": V180,
}
