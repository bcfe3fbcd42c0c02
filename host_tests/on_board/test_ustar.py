"""A header is the one that Python's tarfile writes; a path leads nowhere else."""

from binascii import unhexlify

import hostile
import vectors
from expect import raises
from ota.errors import ArchiveError
from ota.ustar import MARK, check_path, parse, parse_mark, write_header


def written(path, size):
    """Return the header that the board writes, over whatever lay there before."""
    out = bytearray(b"\xa5" * 512)
    write_header(memoryview(out), path, size)
    return bytes(out)


def test_headers_are_those_of_pythons_tarfile():
    tests = vectors.load("ustar-headers.json")["tests"]
    assert len(tests) > 5
    for path, size, header in tests:
        assert written(path, size) == unhexlify(header), path


def test_headers_are_those_made_by_hand():
    for name in hostile.GOOD:
        for path, data in hostile.GOOD[name]:
            assert written(path.decode(), len(data)) == hostile.header(path, len(data))


def test_a_path_that_leads_out_of_its_directory_is_refused():
    for path in (
        "", "/", "//", ".", "..", "./", "../", "/x", "../x", "./x", "lib/..", "lib/../x",
        "lib/./x", "lib//x", "lib//", "lib/../", "lib/../../x", "//x", "x/.", "x/./",
    ):  # fmt: skip
        error = raises(ArchiveError, check_path, path)
        assert repr(path) in str(error), path


def test_what_belongs_to_the_board_is_refused_at_the_top_only():
    for path in (
        "boot.py", "Boot.py", "boot.mpy", "etc", "etc/", "ETC/", "etc/x", "boot.py/", ".files",
        ".FILES", ".files/x",
    ):  # fmt: skip
        error = raises(ArchiveError, check_path, path)
        assert path in str(error)
    for path in ("lib/boot.py", "lib/etc/", "lib/.files", "boot.pyc", "etcetera/", "boot/"):
        check_path(path)


def test_a_line_of_a_directorys_list_says_size_and_path():
    assert parse("100 main.py\n") == ("main.py", 100)
    assert parse("0 a b/~c!\n") == ("a b/~c!", 0)
    assert parse("7 no-line-end.py") == ("no-line-end.py", 7)
    for line in ("7 ../boot.py\n", "7 /etc/x\n", "7 .files\n", "7\n", "\n"):
        raises(ArchiveError, parse, line)
    for line in ("x main.py\n", " main.py\n", "1.5 main.py\n"):
        raises(ValueError, parse, line)


def test_a_mark_in_a_directorys_list_says_bytes_and_digest():
    assert MARK == "= ", "boards have it in their flash"
    assert parse_mark("= 4096 00ff\n") == (4096, "00ff")
    assert parse_mark("= 0 \n") == (0, "")
    for line in ("= \n", "= x 00ff\n", "= \n"):
        raises(ValueError, parse_mark, line)


def test_other_paths_pass():
    for path in ("main.py", "...", "..x", ".hidden", "lib/", "lib/.../", "a b/~c!", "x" * 100):
        check_path(path)
