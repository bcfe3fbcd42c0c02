"""An archive is taken apart as it streams; what is not the one of its files is refused by name."""

import hostile
from expect import raises
from mutation import Mutations
from ota.archive import Reader
from ota.errors import ArchiveError

SEED = 20261124
SIZES = (1, 7, 512, 4096, 1 << 30)


class Sink:
    """Keeps what it is given: `given`, a list of [path, content or None for a folder, closed]."""

    def __init__(self):
        self.given = []

    def folder(self, path):
        self.given.append([path, None, True])

    def file(self, path, size):
        assert not self.given or self.given[-1][2], "the file before is closed first"
        self.given.append([path, bytearray(), False])
        self.left = size

    def content(self, data):
        assert 0 < len(data) <= self.left
        self.left -= len(data)
        self.given[-1][1].extend(data)

    def close(self):
        assert not self.left
        self.given[-1][2] = True


def feed(reader, data, size):
    """Give the reader an archive, `size` bytes at a time."""
    view = memoryview(data)
    for at in range(0, len(data), size):
        reader.feed(view[at : at + size])
    reader.finish()


def read(data, size):
    """Return what a sink is given of an archive."""
    sink = Sink()
    feed(Reader(len(data), sink), data, size)
    return sink.given


def expected(contents):
    """Return what a sink must have got of (path, content)."""
    return [
        [str(path, "ascii"), None if path.endswith(b"/") else bytearray(data), True]
        for path, data in contents
    ]


def test_good_archives_come_apart_in_feeds_of_every_size():
    for name in hostile.GOOD:
        contents = hostile.GOOD[name]
        data = hostile.archive(contents)
        for size in SIZES:
            assert read(data, size) == expected(contents), (name, size)


def test_a_thousand_entries_are_the_most():
    contents = [(b"f%04d" % i, b"") for i in range(999)] + [(b"main.py", b"")]
    assert len(read(hostile.archive(contents), 4096)) == 1000
    contents.append((b"n", b""))
    error = raises(ArchiveError, read, hostile.archive(contents), 4096)
    assert str(error) == "the archive has more than 1000 entries"


def refuse(name, size):
    """Check that a hostile archive is refused, with its sentence, before its offence is done."""
    bad = hostile.make(name)
    sink = Sink()
    reader = Reader(len(bad.data), sink)
    error = raises(ArchiveError, feed, reader, bad.data, size)
    assert bad.says in str(error), (name, size, str(error))
    assert sink.given == expected(bad.given), (name, size, sink.given)


def test_each_hostile_archive_is_refused_by_name_and_gives_nothing_beyond_its_offence():
    assert len(hostile.NAMES) > 80
    for name in hostile.NAMES:
        refuse(name, 4096)


def test_it_does_not_matter_how_the_bytes_of_a_hostile_archive_are_cut():
    for name in hostile.NAMES:
        if name == "10,000 entries":
            continue  # 5 MB
        for size in (7, 512, 1 << 30):
            refuse(name, size)


def test_what_the_sink_raises_passes_through():
    class Full(Sink):
        def content(self, data):
            raise OSError(28)

    data = hostile.archive(hostile.GOOD["a single file"])
    reader = Reader(len(data), Full())
    assert raises(OSError, feed, reader, data, 4096).args[0] == 28
    assert reader.path == "main.py"


def test_damaged_archives_are_refused_or_are_the_one_archive_of_what_they_hold():
    mutations = Mutations(SEED)
    whole = hostile.archive(hostile.GOOD["folders, empty files, sizes at a block's border"])
    small = hostile.archive([(b"lib/", b""), (b"lib/x.py", b"x" * 30), (b"main.py", b"y" * 600)])
    taken = 0
    for i in range(600):
        data = mutations.of(small if i % 2 else whole)
        sink = Sink()
        reader = Reader(len(data), sink)
        try:
            feed(reader, data, 1 + mutations.below(5000))
        except ArchiveError:
            continue
        taken += 1
        again = hostile.archive([(p.encode(), b"" if d is None else d) for p, d, _ in sink.given])
        assert again == data
    assert 10 < taken < 300, "some damages are of contents only"


def test_a_header_with_one_other_byte_is_another_header_or_none():
    """Each byte of a header counts: none can be changed and the file stays the same."""
    data = hostile.archive([(b"main.py", b"x" * 100)])
    for at in range(512):
        damaged = bytearray(data)
        damaged[at] ^= 1 if at % 2 else 0x80
        raises(ArchiveError, read, bytes(damaged), 4096)
