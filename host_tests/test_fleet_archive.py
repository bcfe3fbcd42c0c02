"""An application archive: one set of files, one archive; everything else is refused by name."""

import io
import string
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinslot.formats import archive

FILES = {"main.py": b"import lib.pump\n", "lib/pump.py": b"x" * 600, "lib/deep/data.bin": b""}
END = bytes(1024)


def header(path: bytes, length: int = 0, kind: bytes = b"0", **fields: bytes) -> bytes:
    """A header by hand, as the module's rules say; `fields` are put in before the checksum."""
    parts = {
        "name": path.ljust(100, b"\0"),
        "mode": b"0000000\0",
        "uid": b"0000000\0",
        "gid": b"0000000\0",
        "size": b"%011o\0" % length,
        "mtime": b"00000000000\0",
        "checksum": b" " * 8,
        "type": kind,
        "link": bytes(100),
        "magic": b"ustar\x0000",
        "uname": bytes(32),
        "gname": bytes(32),
        "devmajor": bytes(8),
        "devminor": bytes(8),
        "prefix": bytes(155),
        "rest": bytes(12),
    }
    parts.update(fields)
    block = b"".join(parts.values())
    assert len(block) == 512
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def entry(path: bytes, data: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    return header(path, len(data), kind, **fields) + data + bytes(-len(data) % 512)


MAIN = entry(b"main.py")


def refused(data: bytes, *words: str) -> None:
    with pytest.raises(archive.ArchiveError) as caught:
        archive.read(data)
    for word in words:
        assert word in str(caught.value)


def test_an_archive_is_these_bytes_and_no_others() -> None:
    by_hand = (
        entry(b"lib/", kind=b"5")
        + entry(b"lib/deep/", kind=b"5")
        + entry(b"lib/deep/data.bin")
        + entry(b"lib/pump.py", b"x" * 600)
        + entry(b"main.py", b"import lib.pump\n")
        + END
    )
    assert archive.build(FILES) == by_hand
    assert archive.build(dict(reversed(FILES.items()))) == by_hand


def test_another_reader_of_tar_files_finds_the_same() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive.build(FILES))) as opened:
        members = opened.getmembers()
        found = {m.name: opened.extractfile(m).read() for m in members if m.isfile()}  # type: ignore[union-attr]
    assert found == FILES
    assert [m.name for m in members if m.isdir()] == ["lib", "lib/deep"]


def test_entries_say_where_their_contents_are() -> None:
    data = archive.build(FILES)
    entries = {found.path: found for found in archive.read(data)}
    pump = entries["lib/pump.py"]
    assert data[pump.offset : pump.offset + pump.size] == FILES["lib/pump.py"]
    assert [path for path, found in entries.items() if found.is_directory] == ["lib/", "lib/deep/"]
    assert archive.contents(data) == FILES


NAMES = st.text(string.ascii_letters + string.digits + " ._-~", min_size=1, max_size=5)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(PATHS, st.binary(max_size=1200), max_size=8))
def test_what_is_built_is_read_back_and_built_the_same(found: dict[str, bytes]) -> None:
    wanted = {**found, "main.py": b""}
    try:
        data = archive.build(wanted)
    except archive.ArchiveError:
        return  # names that are taken twice, or by the board
    assert archive.contents(data) == wanted
    assert archive.build(archive.contents(data)) == data


@given(st.integers(0, 4095), st.integers(1, 255))
def test_no_byte_but_a_files_contents_can_be_changed(at: int, change: int) -> None:
    """Every other one is what the rules make of the files, so that a board can make it again."""
    data = bytearray(archive.build(FILES))
    data[at % len(data)] ^= change
    try:
        found = archive.contents(bytes(data))
    except archive.ArchiveError:
        return
    assert archive.build(found) == data


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "1 to 100 bytes"),
        ("a" * 101, "1 to 100 bytes"),
        ("gr\u00f6\u00dfe.py", "printable ASCII"),
        ("tab\t.py", "printable ASCII"),
        ("del\x7f.py", "printable ASCII"),
        ("nul\0.py", "printable ASCII"),
        ("lib\\pump.py", "without backslash"),
        ("/etc/passwd", "relative"),
        ("/", "relative"),
        ("lib//pump.py", "no part"),
        ("./pump.py", "no part"),
        ("lib/./pump.py", "no part"),
        ("../pump.py", "no part"),
        ("lib/../../pump.py", "no part"),
        ("lib/..", "no part"),
    ],
)
def test_a_path_that_could_lead_elsewhere_is_neither_built_nor_read(path: str, words: str) -> None:
    with pytest.raises(archive.ArchiveError, match=words) as caught:
        archive.build({"main.py": b"", path: b""})
    assert caught.value.entry == path
    if len(path) <= 100:
        refused(entry(path.encode("latin-1")) + MAIN + END, words)


def test_a_path_of_100_bytes_is_the_longest_and_a_directorys_slash_counts() -> None:
    longest = "d" * 98 + "/f"
    assert archive.contents(archive.build({"main.py": b"", longest: b"1"}))[longest] == b"1"
    with pytest.raises(archive.ArchiveError, match="1 to 100"):
        archive.build({"main.py": b"", "d" * 100 + "/f": b"1"})
    refused(entry(b"d" * 100, kind=b"5") + MAIN + END, "ends with a slash")


def test_a_file_whose_path_ends_with_a_slash_is_not_built() -> None:
    with pytest.raises(archive.ArchiveError, match="slash"):
        archive.build({"main.py": b"", "lib/": b""})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("boot.py", "never updated over the air"),
        ("boot.mpy", "never updated over the air"),
        ("Boot.PY", "never updated over the air"),
        ("etc", "own /etc"),
        ("etc/settings.json", "own /etc"),
        ("ETC/settings.json", "own /etc"),
        (".files", "own listing"),
    ],
)
def test_what_belongs_to_the_board_is_refused_at_the_top_level_alone(path: str, words: str) -> None:
    with pytest.raises(archive.ArchiveError, match=words):
        archive.build({"main.py": b"", path: b""})
    below = f"lib/{path}"
    assert below in archive.contents(archive.build({"main.py": b"", below: b""}))


@pytest.mark.parametrize("name", archive.MAIN)
def test_there_is_a_main_at_the_top_level(name: str) -> None:
    assert archive.read(archive.build({name: b""}))
    for files in ({}, {f"lib/{name}": b""}, {name.upper(): b""}, {f"{name}/x": b""}):
        with pytest.raises(archive.ArchiveError, match=r"no main\.py"):
            archive.build(files)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("pump.py", "Pump.py", "twice"),
        ("lib/pump.py", "LIB/other.py", "twice"),
        ("lib", "lib/pump.py", "file and a directory"),
        ("Lib", "lib/pump.py", "file and a directory"),
        ("pump.py", "pump.mpy", "as .py and as .mpy"),
        ("lib/pump.py", "lib/PUMP.mpy", "as .py and as .mpy"),
    ],
)
def test_names_that_get_in_each_others_way_are_refused(first: str, second: str, words: str) -> None:
    with pytest.raises(archive.ArchiveError, match=words):
        archive.build({"main.py": b"", first: b"", second: b""})


def test_a_folder_called_as_a_compiled_module_is_none() -> None:
    files = {"main.py": b"", "pump.py": b"", "pump.mpy/data": b""}
    assert archive.contents(archive.build(files)) == files


def test_a_thousand_entries_are_the_most() -> None:
    files = {f"data/{number:04}": b"" for number in range(998)} | {"main.py": b""}
    data = archive.build(files)
    assert len(archive.read(data)) == 1000
    with pytest.raises(archive.ArchiveError, match="1001 entries, more than 1000"):
        archive.build({**files, "one more": b""})
    refused(data[:-1024] + entry(b"one more") + END, "more than 1000 entries")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([(b"main.py", b"0"), (b"lib/", b"5")], "not in ascending order"),
        ([(b"main.py", b"0"), (b"main.py", b"0")], "twice"),
        ([(b"Main.py", b"0"), (b"main.py", b"0")], "twice"),
        ([(b"lib/pump.py", b"0"), (b"main.py", b"0")], "'lib/' is not listed before it"),
        ([(b"Lib/", b"5"), (b"lib/pump.py", b"0"), (b"main.py", b"0")], "'lib/' is not listed"),
        ([(b"lib/", b"5"), (b"lib/a/b", b"0"), (b"main.py", b"0")], "'lib/a/' is not listed"),
        ([(b"lib/", b"0"), (b"main.py", b"0")], "ends with a slash"),
        ([(b"lib", b"5"), (b"main.py", b"0")], "ends with a slash"),
        ([(b"lib", b"2"), (b"main.py", b"0")], "a symbolic link"),
        ([(b"lib", b"1"), (b"main.py", b"0")], "a hard link"),
        ([(b"null", b"3"), (b"main.py", b"0")], "a character device"),
        ([(b"disk", b"4"), (b"main.py", b"0")], "a block device"),
        ([(b"pipe", b"6"), (b"main.py", b"0")], "a FIFO"),
        ([(b"head", b"x"), (b"main.py", b"0")], "a pax header"),
        ([(b"head", b"g"), (b"main.py", b"0")], "a pax header"),
        ([(b"long", b"L"), (b"main.py", b"0")], "a GNU extension"),
        ([(b"long", b"K"), (b"main.py", b"0")], "a GNU extension"),
        ([(b"long", b"S"), (b"main.py", b"0")], "a GNU extension"),
        ([(b"main.py", b"\0")], "old tar"),
        ([(b"main.py", b"7")], "of type b'7'"),
        ([(b"lib/", b"5")], "no main.py"),
        ([], "no main.py"),
    ],
)
def test_entries_of_another_kind_or_order_are_refused(
    entries: list[tuple[bytes, bytes]], words: str
) -> None:
    refused(b"".join(entry(path, kind=kind) for path, kind in entries) + END, words)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", b"0000644\0"),
        ("mode", b"000000 \0"),
        ("uid", b"0001750\0"),
        ("gid", b"0001750\0"),
        ("mtime", b"14000000000\0"),
        ("link", b"/etc/passwd".ljust(100, b"\0")),
        ("uname", b"root".ljust(32, b"\0")),
        ("gname", b"root".ljust(32, b"\0")),
        ("devmajor", b"0000000\0"),
        ("devminor", b"0000000\0"),
        ("prefix", b"/etc".ljust(155, b"\0")),
        ("rest", b"x".ljust(12, b"\0")),
        ("name", b"main.py\0hidden".ljust(100, b"\0")),
    ],
)
def test_a_header_that_says_more_than_path_and_size_is_refused(field: str, value: bytes) -> None:
    named = {"name": "main.py", "link": "linkname"}.get(field, field)
    refused(entry(b"main.py", **{field: value}) + END, named)


@pytest.mark.parametrize(
    "size",
    [
        b"\x80" + bytes(10) + b"\1",  # GNU's numbers beyond octal
        b"-0000000001\0",
        b"0000000001 \0",
        b"          1\0",
        b"000000000001",
        bytes(12),
        b"00000000008\0",
    ],
)
def test_a_size_that_is_not_eleven_octal_digits_is_refused(size: bytes) -> None:
    refused(entry(b"main.py", size=size) + END, "main.py", "11 octal digits")


def test_a_size_that_goes_beyond_the_archive_is_refused() -> None:
    refused(header(b"main.py", 8**11 - 1) + END, "8589934591 bytes announced, 1024 there")
    refused(header(b"lib/", 512, b"5") + bytes(512) + MAIN + END, "size 0, not 512")


def test_a_wrong_checksum_is_refused() -> None:
    good = header(b"main.py")
    refused(good[:148] + b"000000\0 " + good[156:] + END, "checksum")
    refused(good[:148] + good[148:154] + b" \0" + good[156:] + END, "checksum")


def test_padding_that_is_not_zero_is_refused() -> None:
    refused(entry(b"main.py", b"x")[:-1] + b"x" + END, "not padded with zero")


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (1, "exactly two blocks"),
        (512, "exactly two blocks"),
        (1024, "cut short: two blocks"),
        (1025, "cut short: 16 bytes announced"),
        (2048 - 300, "cut short: two blocks"),  # within the last header
    ],
)
def test_an_archive_that_is_cut_short_is_refused(cut: int, words: str) -> None:
    refused(archive.build(FILES)[:-cut], words)


@pytest.mark.parametrize("more", [b"\0", b"x", bytes(512), bytes(8192), MAIN])
def test_nothing_follows_the_end(more: bytes) -> None:
    refused(archive.build(FILES) + more, "nothing follows")


@pytest.mark.parametrize("data", [b"", b"\xe9" * 4096, b"PK\x03\x04".ljust(4096, b"\1")])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    refused(data, "application archive")


def test_a_gnu_or_old_archive_is_refused() -> None:
    old = header(b"main.py", magic=b"ustar  \0")
    refused(old + END, "entry 1 has no ustar header")
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=form) as opened:
            info = tarfile.TarInfo("main.py")
            info.mtime = 1.5
            opened.addfile(info)
        refused(made.getvalue(), "application archive")


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("mode", 100, 108),
        ("uid", 108, 116),
        ("gid", 116, 124),
        ("mtime", 136, 148),
        ("checksum", 148, 156),
        ("linkname", 157, 257),
        ("uname", 265, 297),
        ("gname", 297, 329),
        ("devmajor", 329, 337),
        ("devminor", 337, 345),
        ("prefix", 345, 500),
        ("rest", 500, 512),
    ],
)
def test_the_field_that_is_wrong_is_named_from_its_first_to_its_last_byte(
    name: str, start: int, end: int
) -> None:
    for at in (start, end - 1):
        damaged = bytearray(MAIN + END)
        damaged[at] ^= 1
        with pytest.raises(archive.ArchiveError, match=f"'main.py': the header's {name} is"):
            archive.read(bytes(damaged))


def test_a_refusal_of_the_whole_archive_names_no_entry() -> None:
    with pytest.raises(archive.ArchiveError, match=r"^application archive: ") as caught:
        archive.read(b"")
    assert caught.value.entry == ""
    with pytest.raises(archive.ArchiveError, match=r"^application archive, '\.\./x': ") as caught:
        archive.build({"main.py": b"", "../x": b""})
    assert caught.value.entry == "../x"


def reordered(change: Callable[[list[bytes]], None]) -> bytes:
    blocks = [entry(b"a.py"), entry(b"lib/", kind=b"5"), entry(b"lib/b.py"), MAIN]
    change(blocks)
    return b"".join(blocks) + END


def test_any_other_order_is_refused() -> None:
    assert archive.read(reordered(lambda blocks: None))
    refused(reordered(list.reverse), "order")
    refused(reordered(lambda blocks: blocks.insert(0, blocks.pop(1))), "order")
