"""The board's reader of a web server's answers."""

from ota import http

ALLOWED = (OSError,)
COVERS = (
    "firmware/ota/http.py: Http.read Http._read Http._open Http._get Http._head Http._line _text"
    " Http._next_chunk Http._chunk _resolved _range _natural",
)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
_PART = b"HTTP/1.1 206 OK\r\nContent-Length: 3\r\nContent-Range: bytes 2-4/7\r\n\r\n"
_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SEEDS = (
    _OK,
    b"HTTP/1.0 200 OK\r\nContent-Length: 70\r\nConnection: close\r\n\r\n" + b"x" * 70,
    b"\x00HTTP/1.1 206 OK\r\nContent-Length: 5\r\nContent-Range: bytes 2-6/7\r\n\r\nhello",
    _OK + _OK.replace(b"5", b"6"),
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x01hello",
    b"\x00" + _PART + b"hel" + _PART.replace(b"3", b"2", 1).replace(b"2-4", b"5-6") + b"lo",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 6,
    b"HTTP/1.1 302 Found\r\nLocation: /b#c\r\n\r\n" + _OK,
    b"HTTP/1.1 301 Found\r\nLocation: http://i:81/b\r\n\r\n" + _OK,
    b"HTTP/1.1 301 Found\r\nLocation: //i/b\r\n\r\n" + _OK,
    b"HTTP/1.1 301 Found\r\nLocation: ?b\r\n\r\nHTTP/1.1 301 F\r\nLocation: b\r\n\r\n" + _OK,
    b"HTTP/1.1 301 Found\r\nLocation: https://i/b\r\n\r\n",
    b"HTTP/1.1 301 Found\r\nLocation: ftp://i\r\n\r\n",
    b"HTTP/1.1 301 Found\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + _OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
    _CHUNKS + b"5;a=b\r\nhello\r\n2\r\nto\r\n0\r\n\r\n",
    _CHUNKS + b"-5\r\nhello",
    _CHUNKS + b"x\r\n",
    _CHUNKS.replace(b"chunked", b"identity") + b"hello",
    _CHUNKS.replace(b"chunked", b"gzip"),
    b"\x00" + _PART.replace(b"/7", b"/*") + b"hel",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\n",
    b"SSH-2.0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 101,
    b"HTTP/1.1 301 OK\r\nLocation: " + b"a" * 3000 + b"\r\n\r\n",
)


class _Net:
    """In place of `socket` and `select`: one server, whose answers come without a wait."""

    SOCK_STREAM = 1
    POLLOUT = 4

    def __init__(self, data):
        self.data = data
        self.at = 0
        self.slow = False

    def getaddrinfo(self, _name, port, _family, _kind):
        """Return an address."""
        if not 0 <= port < 65536:
            raise OSError(-2)
        return [(2, 1, 0, "", ("127.0.0.1", port))]

    def socket(self):
        """Return the connection."""
        return self

    def poll(self, *_):
        """Return something that is ready."""
        return self

    def register(self, *_):
        """Watch it."""

    def __bool__(self):
        return True

    def setblocking(self, _):
        """Do nothing."""

    def connect(self, _):
        """Do nothing."""

    def write(self, data):
        """Take all, at the second time."""
        self.slow = not self.slow
        return None if self.slow else len(data)

    def readinto(self, buffer):
        """Fill the buffer as far as there is anything."""
        piece = self.data[self.at : self.at + len(buffer)]
        if piece[:1] == b"\x01":
            self.at += 1
            return None  # nothing yet
        buffer[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)

    def close(self):
        """Do nothing."""


def run(data):
    """Get a file; with a 0 in front from its third byte on."""
    offset = 0
    if data[:1] == b"\x00":
        offset, data = 2, data[1:]
    before = http.socket, http.select
    http.socket = http.select = _Net(bytes(data))
    buffer = memoryview(bytearray(64))
    path = http.Http("http://h/a?b")
    try:
        for _ in range(300):
            path.read(offset, buffer[:0])
            if path.size:
                break
        path.read(offset, buffer[:0])
        for _ in range(300):
            count = path.read(offset, buffer)
            assert 0 <= count <= 64
            offset += count
            if path.size and offset >= path.size:
                break
        path.read(0, buffer)  # from its start again: another answer
        for _ in range(30):
            path.read(0, buffer)
    finally:
        path.close()
        http.socket, http.select = before
