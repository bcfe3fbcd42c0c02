"""A file on a web server: one connection is read to the end, Range asks for missing parts.

RFC 9110 (14, Range), RFC 9112. Plain GET; up to four redirects are followed. A server that sends
less than requested gets a request for the rest on the same connection, if it keeps that. A file on
a server without Range is read from its start again when a connection breaks. One that comes in
chunks, or until the connection ends, may have a size that no server says. Over https the server's
certificate is verified against `/etc/http_ca.pem`; nothing falls back to http.
No call waits for the server. Only two things take time: looking up a name (lwIP), and the
arithmetic of a TLS handshake.
"""

import select
import socket
from errno import EINPROGRESS

try:
    import tls
except ImportError:  # before MicroPython 1.23
    import ssl as tls

from .channel import Timer
from .compat import const
from .engine import UNTOLD
from .settings import etc
from .source import pulled

_PATIENCE_MS = const(10000)
_REDIRECTS = const(4)
_INTERIM = const(4)  # answers that are not the final one
# Of a head: lines, bytes of one, and those of it that are kept. Addresses with a signature may be
# long. Then the bytes that one step reads.
_LINES = const(100)
_LONGEST = const(16384)
_LINE = const(2048)
_PIECE = const(256)


def make(engine):
    """Return the data path from the address of a local update."""
    return pulled(engine, Http(engine.source))


class Http:
    """A file at an address.

    url: "http://host[:port]/path" or https. size: bytes of the file, 0 until the server has
    answered, UNTOLD when it does not say.
    """

    def __init__(self, url):
        self._url = url
        self._stream = None
        self._opening = None  # a generator, until the server has answered
        self._wanted = 0  # the byte that is read next
        self._at = self._end = 0  # the unread rest of the answer, or of its chunk
        self._chunked = False
        self._keeper = ""  # the server that keeps the connection when the answer is read
        self._patience = Timer(0, 0)
        self.size = 0

    def __str__(self):
        return self._url

    def read(self, offset, view):
        """Read what is there of the bytes at `offset`. Returns how many, 0 when none are yet.

        With an empty `view` it comes as far as the size. Raises OSError, whose text says what the
        server did, also when it has done nothing for 10 s.
        """
        count = -1
        try:
            count = self._read(offset, view)
        except ValueError as error:
            raise OSError("the server's answer cannot be used: %s" % error)
        finally:
            if count < 0:
                self.close()
        return count

    def close(self):
        """End the connection."""
        self._opening = None
        self._hang_up()

    def _read(self, offset, view):
        ended = self._at == self._end and len(view)
        idle = self._opening is None and (self._stream is None or ended)
        if offset != self._wanted or (idle and not self._chunked):
            self._wanted = offset
            self._opening = self._open(offset)
        elif idle:
            self._opening = self._next_chunk()
        if self._opening:
            for _ in self._opening:
                return self._none_yet()
            self._opening = None
        # A server without Range has begun before the wanted bytes.
        missed = self._wanted - self._at
        most = min(missed or len(view), self._end - self._at)
        if most < len(view):
            view = view[:most]
        if not len(view):
            return 0
        count = self._stream.readinto(view)
        if count is None:
            return self._none_yet()
        if not count:
            raise OSError("the server ended the file at byte %d" % self._at)
        self._patience.after(_PATIENCE_MS)
        self._at += count
        if missed:
            return 0
        self._wanted += count
        return count

    def _none_yet(self):
        if self._patience.left == 0:
            raise OSError("the server is silent for %d s" % (_PATIENCE_MS // 1000))
        return 0

    def _hang_up(self):
        self._keeper = ""
        self._chunked = False
        if self._stream:
            self._stream.close()
            self._stream = None

    def _open(self, offset):
        """Ask for the file from `offset` on. A generator that yields while it waits."""
        url = self._url
        for _ in range(_REDIRECTS + 1):
            self._patience.after(_PATIENCE_MS)
            status, length, given, place, coding = yield from self._get(url, offset)
            if status not in (301, 302, 303, 307, 308):
                break
            place = _resolved(place, url)
            scheme = place.split("://")[0]
            if scheme != "https" and (scheme != "http" or url.startswith("https://")):
                raise OSError("the server redirects to " + place)
            url = place
            self._hang_up()  # its page is not read
        hop = "the server" if url == self._url else url.split("?")[0]
        if status not in (200, 206):
            raise OSError("%s answers %d" % (hop, status))
        if coding:
            raise OSError("%s sends the file packed, as %s" % (hop, coding))
        if not length:
            raise OSError("the file is empty")
        start, size = 0, length
        if status == 206:
            start, end, size = _range(given)
            if start != offset or length not in (UNTOLD, end - start):
                raise ValueError("%s, and byte %d was asked for" % (given, offset))
        if UNTOLD not in (size, self.size) and self.size not in (0, size):
            raise OSError("the file has %d bytes now, it had %d" % (size, self.size))
        self.size = min(size, self.size or size)
        self._at = start
        self._end = start + length
        if self._chunked:
            yield from self._chunk()

    def _next_chunk(self):
        yield from self._line()  # the end of the last one
        yield from self._chunk()

    def _chunk(self):
        """Read the size of a chunk (RFC 9112, 7.1). A generator."""
        line = yield from self._line()
        size = int(line.partition(b";")[0], 16)
        self._end = self._at + max(0, size)
        if size <= 0:
            raise OSError("the server ended the file at byte %d" % self._at)

    def _get(self, url, offset):
        """Send a GET. Returns as `_head`, of the final answer. A generator."""
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        server = scheme + host
        if self._at != self._end or self._keeper != server:
            self._hang_up()
            name, _, port = host.partition(":")
            port = int(port[:6] or (443 if scheme == "https" else 80))  # of more it would overflow
            address = socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM)[0][-1]
            self._stream = socket.socket()
            yield from _connecting(self._stream, address)
            if scheme == "https":
                self._stream = _over_tls(self._stream, name)
        self._keeper = ""
        request = "GET /%s HTTP/1.1\r\nHost: %s\r\n" % (path, host)
        if offset:
            request += "Range: bytes=%d-\r\n" % offset
        left = memoryview((request + "\r\n").encode())
        while len(left):
            count = self._stream.write(left)
            if count:
                left = left[count:]
            else:
                yield
        for _ in range(_INTERIM + 1):
            head = yield from self._head(server)
            if not 100 <= head[0] < 200:
                break
        return head

    def _head(self, server):
        """Read the head of an answer. A generator.

        Returns (status, Content-Length or UNTOLD, Content-Range, Location, coding of the body).
        """
        line = yield from self._line()
        protocol, status = line.split(b" ", 2)[:2]
        if not protocol.startswith(b"HTTP/1."):
            raise ValueError(protocol)
        if protocol == b"HTTP/1.0":
            server = ""
        length, given, place, coding = UNTOLD, "", "", ""
        self._chunked = False
        for _ in range(_LINES):
            line = yield from self._line()
            if not line:
                self._keeper = server
                return int(status), UNTOLD if self._chunked else length, given, place, coding
            key, _, value = line.partition(b":")
            key = key.lower()
            if key == b"content-length":
                length = _natural(_text(value))
            elif key == b"content-range":
                given = _text(value)
            elif key == b"connection" and b"close" in value.lower():
                server = ""
            elif key in (b"transfer-encoding", b"content-encoding"):
                value = _text(value).lower()
                if value == "chunked":
                    server, self._chunked = "", True
                elif value != "identity":
                    coding = value
            elif key == b"location":
                place = _text(value)
        raise ValueError("a head without end")

    def _line(self):
        """Read a line of the head, as far as there is room for it (bytes). A generator."""
        line = bytearray()
        byte = bytearray(1)
        read = 0
        yield
        while read < _LONGEST:
            count = self._stream.readinto(byte)
            if count is None:
                yield
                continue
            if not count:
                raise OSError("the server's answer breaks off")
            if byte == b"\n":
                self._patience.after(_PATIENCE_MS)  # the application may take its time between two
                return bytes(line).strip()
            if len(line) < _LINE:
                line += byte
            read += 1
            if read % _PIECE == 0:
                yield
        raise ValueError("a line without end")


def _text(value):
    """Return a value of the head as str. Raises ValueError for one that was too long, too."""
    if len(value) > _LINE - 100:
        raise ValueError("a line of more than %d bytes" % _LINE)
    return str(value, "utf-8").strip()


def _resolved(place, base):
    """Return the address that a Location names, seen from the one that was asked (RFC 3986, 5).

    Raises ValueError when it names none.
    """
    place = place.partition("#")[0]
    if not place:
        raise ValueError("a redirect without an address")
    if "://" in place.partition("?")[0]:
        scheme, _, rest = place.partition("://")
        return scheme.lower() + "://" + rest
    base = base.partition("?")[0]
    if place.startswith("?"):
        return base + place
    scheme, _, rest = base.partition("://")
    if place.startswith("//"):
        return scheme + ":" + place
    if place.startswith("/"):
        return scheme + "://" + rest.partition("/")[0] + place
    return scheme + "://" + (rest.rpartition("/")[0] or rest) + "/" + place


def _range(text):
    """Return (first byte, behind the last, bytes of the file) of "bytes A-B/SIZE"."""
    first, _, size = text.partition("/")
    first, _, last = first[len("bytes ") :].partition("-")
    size = UNTOLD if size == "*" else _natural(size)
    first, last = _natural(first), _natural(last)
    if not text.startswith("bytes ") or not first <= last < size:
        raise ValueError(text)
    return first, last + 1, size


def _natural(text):
    if not text.isdigit():
        raise ValueError(text)
    return int(text)


def _connecting(stream, address):
    """Connect without waiting. A generator that yields until it is done, or has failed."""
    stream.setblocking(False)
    try:
        stream.connect(address)
    except OSError as error:
        if error.errno != EINPROGRESS:
            raise
    poll = select.poll()
    poll.register(stream, select.POLLOUT)
    while not poll.poll(0):
        yield


def _over_tls(stream, host):
    """Return the TLS stream over a connected one; its first write does the handshake."""
    try:
        with open(etc("http_ca.pem"), "rb") as file:
            ca = file.read()
    except OSError:
        raise OSError("%s is missing: it must hold the server's authority" % etc("http_ca.pem"))
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    context.load_verify_locations(ca)
    return context.wrap_socket(stream, server_hostname=host, do_handshake_on_connect=False)
