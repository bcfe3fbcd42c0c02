"""The board's reader of an application archive, and of the list that a directory keeps."""

from ota import archive, ustar
from ota.errors import ArchiveError

ALLOWED = (ArchiveError, ValueError)
COVERS = (
    "firmware/ota/archive.py",
    "firmware/ota/ustar.py: check_path parse parse_mark write_header",
)


def _entry(path, data=b"", kind=None):
    header = bytearray(ustar.BLOCK)
    ustar.write_header(header, path, len(data))
    if kind:
        header[156] = kind
    return bytes(header) + data + bytes(-len(data) % ustar.BLOCK)


_END = bytes(1024)
SEEDS = (
    _entry("a.py", b"x") + _entry("lib/") + _entry("lib/b.py") + _entry("main.py") + _END,
    _entry("main.py", kind=0x32) + _END,
    _entry("main.py", b"y" * 513),
    _entry("boot.py") + _END,
    _entry("n" * 100) + _entry("p.py") + _END,
    b"12 lib/a.py\n",
    b"= 12 abc\n",
    b"",
)


class _Sink:
    def __init__(self):
        self.open = None

    def folder(self, path):
        """Take a directory."""
        assert self.open is None and path

    def file(self, _path, size):
        """Take a file."""
        assert self.open is None
        self.open = size

    def content(self, data):
        """Take a piece of it."""
        self.open -= len(data)

    def close(self):
        """End a file."""
        assert self.open == 0
        self.open = None


def run(data):
    """Read an archive with right sums, piece by piece, and a line of a list."""
    summed = bytearray(data)
    for at in range(0, len(data) - 511, 512):
        if summed[at + 257 : at + 262] == b"ustar":
            summed[at + 148 : at + 156] = b"        "
            total = sum(summed[at : at + 512])
            summed[at + 148 : at + 155] = b"%06o\x00" % total
    for variant, piece in ((bytes(summed), 700), (bytes(data), 4096)):
        try:
            _feed(variant, piece)
        except ArchiveError:
            pass
    text = str(data[:200], "utf-8")
    try:
        ustar.parse(text)
    except ALLOWED:
        pass
    ustar.parse_mark(text)


def _feed(data, piece):
    reader = archive.Reader(len(data), _Sink())
    view = memoryview(data)
    for at in range(0, len(data), piece):
        reader.feed(view[at : at + piece])
    reader.finish()
