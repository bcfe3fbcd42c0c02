"""Application archives: good ones, and ones that break a single rule each, by name.

Made by hand, field by field (POSIX ustar), so that neither the firmware nor Python's tarfile has a
say in what they are.
"""

BLOCK = 512
END = bytes(2 * BLOCK)
_FIELDS = (
    ("name", 100), ("mode", 8), ("uid", 8), ("gid", 8), ("size", 12), ("mtime", 12),
    ("checksum", 8), ("kind", 1), ("link", 100), ("magic", 8), ("uname", 32), ("gname", 32),
    ("devmajor", 8), ("devminor", 8), ("prefix", 155), ("rest", 12),
)  # fmt: skip


def header(path, size=0, **fields):
    """Return a header. path: bytes; size: of the content, or its field; fields: others' bytes."""
    values = {"name": path, "size": size, "magic": b"ustar\x0000"}
    if not isinstance(size, bytes):
        values["size"] = b"%011o\x00" % size
    values["kind"] = b"5" if path.endswith(b"/") else b"0"
    values["mode"] = values["uid"] = values["gid"] = b"0000000\x00"
    values["mtime"] = b"00000000000\x00"
    values["checksum"] = b"        "
    values.update(fields)
    block = bytearray()
    for name, length in _FIELDS:
        value = values.get(name, b"")
        assert len(value) <= length
        block.extend(value + bytes(length - len(value)))
    if "checksum" not in fields:
        block[148:156] = b"%06o\x00 " % sum(block)
    return bytes(block)


def entry(path, data=b"", **fields):
    """Return an entry: header, content, and zeros up to the next block."""
    return header(path, len(data), **fields) + data + bytes(-len(data) % BLOCK)


def archive(contents):
    """Return the archive of a list of (path, content), bytes both, in this order."""
    return b"".join([entry(path, data) for path, data in contents]) + END


# What every archive begins with, before its offence, and what it would end with.
FIRST = (b"a.py", b"# before\n")
_FIRST = entry(*FIRST)
_MAIN = entry(b"main.py", b"import a\n")

GOOD = {
    "a single file": ((b"main.py", b"import a\n"),),
    "folders, empty files, sizes at a block's border": (
        FIRST,
        (b"data/", b""),
        (b"data/511.bin", bytes(range(73)) * 7),
        (b"data/512.bin", b"\xff" * 512),
        (b"data/513.bin", b"\x00" * 513),
        (b"lib-a.py", b"x"),
        (b"lib.py", b""),
        (b"lib/", b""),
        (b"lib/__init__.py", b""),
        (b"lib/deep/", b""),
        (b"lib/deep/deeper/", b""),
        (b"lib/deep/deeper/1250.txt", b"twenty-five characters.\r\n" * 50),
        (b"main.py", b"import a\n" * 60),
        (b"Main2.py", b"y" * 1024),
        (b"space and ~tilde", b"z"),
    ),
    "an empty folder": ((b"data/", b""), (b"main.py", b"import a\n")),
    "compiled": ((b"lib/", b""), (b"lib/main.py", b""), (b"main.mpy", b"M\x06\x00\x1f")),
    "a path of 100 bytes": (
        (b"d" * 49 + b"/", b""),
        (b"d" * 49 + b"/" + b"f" * 50, b"1"),
        (b"main.py", b""),
    ),
    "what belongs to the board, but below": (
        (b"lib/", b""),
        (b"lib/.files", b"1"),
        (b"lib/boot.py", b"2"),
        (b"lib/etc/", b""),
        (b"lib/etc/settings.json", b"{}"),
        (b"main.py", b""),
    ),
}


class Hostile:
    """data: the archive; says: what the refusal's sentence contains; given: (path, content) that
    come before the offence, the contents None for folders.
    """

    def __init__(self, data, says, given=(FIRST,)):
        self.data = data
        self.says = says
        self.given = given


def _with(offence, says, *more):
    """Return an archive that would be good without the bytes `offence`; more: given before."""
    given = [FIRST]
    given.extend(more)
    return Hostile(_FIRST + offence + _MAIN + END, says, given)


def _sized(size):
    return _with(header(b"b.py", size=size) + bytes(BLOCK), "b.py has an impossible size")


def _kind(kind, path=b"b.py", **fields):
    says = "%s is neither a file nor a directory (type %d)" % (str(path, "ascii"), kind[0])
    return _with(header(path, kind=kind, **fields), says)


def _more(**fields):
    return _with(header(b"b.py", **fields), "the header of b.py says more than path and size")


def _out(path):
    return _with(entry(path), "the path '%s' leads out" % str(path, "ascii"))


def _reserved(path):
    return _with(entry(path), "%s must not be in an application" % str(path, "ascii"))


def _thousands():
    """Return an archive of 10,000 files and a main.py."""
    data = bytearray(10000 * BLOCK + len(_MAIN + END))
    for i in range(10000):
        data[i * BLOCK : (i + 1) * BLOCK] = header(b"f%04d.py" % i)
    data[10000 * BLOCK : 10000 * BLOCK + len(_MAIN)] = _MAIN
    return Hostile(
        data, "more than 1000 entries", tuple((b"f%04d.py" % i, b"") for i in range(1000))
    )


_FOLDER = ((b"lib/", None),)
_LONG = b"n" * 251 + b".py\x00"
_CUT = entry(b"b.py", b"b" * 2000)

# Name: what makes it. Made when wanted: one of them has 5 MB.
MAKERS = {
    # out of the directory
    "traversal": lambda: _out(b"../evil.py"),
    "traversal in the middle": lambda: _out(b"lib/../../evil.py"),
    "traversal at the end": lambda: _out(b"lib/.."),
    "folder above": lambda: _out(b"../"),
    "absolute": lambda: _out(b"/etc/settings.json"),
    "root": lambda: _out(b"/"),
    "dot part": lambda: _out(b"./evil.py"),
    "empty part": lambda: _out(b"lib//evil.py"),
    "folder with two slashes": lambda: _out(b"lib//"),
    "empty path": lambda: _out(b""),
    "backslash": lambda: _with(entry(b"..\\evil.py"), "the character 92"),
    # characters and lengths
    "line feed in a name": lambda: _with(entry(b"b\n.py"), "the character 10"),
    "delete in a name": lambda: _with(entry(b"b\x7f.py"), "the character 127"),
    "name beyond ASCII": lambda: _with(entry(b"gr\xc3\xb6\xc3\x9fe.py"), "the character 195"),
    "bytes behind the name": lambda: _more(name=b"b.py\x00evil.py"),
    "name of 255 bytes by prefix": lambda: _with(
        header(b"n" * 97 + b".py", prefix=b"p" * 155),
        "the header of %s.py says more than path and size" % ("n" * 97),
    ),
    "name of 255 bytes by GNU's way": lambda: _with(
        header(b"././@LongLink", 255, kind=b"L") + _LONG + bytes(257) + entry(_LONG[:100]),
        "././@LongLink is neither a file nor a directory (type 76)",
    ),
    # what is neither file nor directory
    "hard link": lambda: _kind(b"1", link=b"a.py"),
    "symbolic link": lambda: _kind(b"2", link=b"/etc/trusted_keys.pem"),
    "character device": lambda: _kind(b"3", devmajor=b"0000001\x00", devminor=b"0000003\x00"),
    "block device": lambda: _kind(b"4", devmajor=b"0000010\x00", devminor=b"0000000\x00"),
    "fifo": lambda: _kind(b"6"),
    "contiguous file": lambda: _kind(b"7"),
    "file of an old tar": lambda: _kind(b"\x00"),
    "pax header": lambda: _kind(b"x", b"./PaxHeaders/b.py"),
    "pax header for all": lambda: _kind(b"g", b"pax_global_header"),
    "GNU long link": lambda: _kind(b"K", b"././@LongLink"),
    "GNU sparse file": lambda: _kind(b"S"),
    "GNU volume": lambda: _kind(b"V"),
    "folder without its slash": lambda: _with(entry(b"lib", kind=b"5"), "lib: a directory's path"),
    "file with a slash": lambda: _with(entry(b"lib/", kind=b"0"), "lib/: a directory's path"),
    # twice, or in the wrong place
    "duplicate": lambda: _with(entry(b"a.py", b"# after\n"), "a.py stands after a.py"),
    "duplicate further on": lambda: _with(
        entry(b"b.py") + entry(b"a.py"), "a.py stands after b.py", (b"b.py", b"")
    ),
    "case twins": lambda: _with(entry(b"A.py", b"# after\n"), "A.py stands after a.py"),
    "folder twice": lambda: _with(
        entry(b"lib/") + entry(b"lib/"), "lib/ stands after lib/", *_FOLDER
    ),
    "folder twins": lambda: _with(
        entry(b"lib/") + entry(b"Lib/"), "Lib/ stands after lib/", *_FOLDER
    ),
    "file in its folder's twin": lambda: _with(
        entry(b"lib/") + entry(b"LIB/x.py"), "LIB/x.py stands there without", *_FOLDER
    ),
    "file without its folder": lambda: _with(entry(b"lib/x.py"), "lib/x.py stands there without"),
    "folder without its folder": lambda: _with(entry(b"lib/x/"), "lib/x/ stands there without"),
    "file where a folder is needed": lambda: _with(
        entry(b"lib", b"x") + entry(b"lib/x.py"), "lib/x.py stands there without", (b"lib", b"x")
    ),
    "back into a folder": lambda: _with(
        entry(b"lib/") + entry(b"m.py") + entry(b"lib/x.py"),
        "lib/x.py stands after m.py",
        (b"lib/", None),
        (b"m.py", b""),
    ),
    "out of order": lambda: _with(entry(b"0.py"), "0.py stands after a.py"),
    # sizes
    "huge size": lambda: _sized(b"77777777777\x00"),
    "negative size": lambda: _sized(b"-0000000001\x00"),
    "base-256 size": lambda: _sized(b"\x80" + bytes(10) + b"\x01"),
    "negative base-256 size": lambda: _sized(b"\xff" * 12),
    "no size": lambda: _sized(bytes(12)),
    "size of blanks": lambda: _sized(b"           \x00"),
    "decimal size": lambda: _sized(b"00000000009\x00"),
    "size with a sign": lambda: _more(size=b"+0000000000\x00"),
    "size after blanks": lambda: _more(size=b"          0\x00"),
    "size of twelve digits": lambda: _more(size=b"000000000000"),
    "size up to the very end": lambda: Hostile(
        _FIRST + header(b"main.py", 1024) + END, "main.py has an impossible size"
    ),
    "size one byte too large": lambda: Hostile(
        _FIRST + header(b"main.py", 513) + bytes(512) + END, "main.py has an impossible size"
    ),
    "folder with content": lambda: _with(
        header(b"lib/", 9) + b"# inside\n" + bytes(503), "lib/ has an impossible size"
    ),
    # cut short, or too long
    "nothing": lambda: Hostile(b"", "the archive is cut short", ()),
    "a few bytes": lambda: Hostile(_MAIN[:300], "the archive is cut short", ()),
    "one zero block alone": lambda: Hostile(bytes(512), "the archive is cut short", ()),
    "cut short in a header": lambda: Hostile(_FIRST + _MAIN[:100], "a.py has an impossible", ()),
    "cut short in a content": lambda: Hostile(_FIRST + _CUT[:1700], "b.py has an impossible size"),
    "cut short in the padding": lambda: Hostile(_FIRST + _CUT[:-1], "b.py has an impossible size"),
    "cut short before the end": lambda: Hostile(_FIRST + _MAIN, "main.py has an impossible size"),
    "one zero block only": lambda: Hostile(
        _FIRST + _MAIN + END[:512], "main.py has an impossible size"
    ),
    "cut short in the end": lambda: Hostile(
        _FIRST + _MAIN + END[:-1], "main.py has an impossible size"
    ),
    "an entry between the zero blocks": lambda: Hostile(
        _FIRST + entry(b"main.py") + END[:512] + entry(b"n.py") + END[:512],
        "something follows the archive's end",
        (FIRST, (b"main.py", b"")),
    ),
    "a byte after the end": lambda: Hostile(
        _FIRST + entry(b"main.py") + END + b"\x00",
        "something follows the archive's end",
        (FIRST, (b"main.py", b"")),
    ),
    "a third zero block": lambda: Hostile(
        _FIRST + entry(b"main.py") + END + bytes(512),
        "something follows the archive's end",
        (FIRST, (b"main.py", b"")),
    ),
    "another archive after the end": lambda: Hostile(
        _FIRST + entry(b"main.py") + END + archive([(b"main.py", b"evil\n")]),
        "something follows the archive's end",
        (FIRST, (b"main.py", b"")),
    ),
    "content not padded with zeros": lambda: Hostile(
        _FIRST + _MAIN[:-1] + b"x" + END,
        "main.py is not padded with zeros",
        (FIRST, (b"main.py", b"import a\n")),
    ),
    "10,000 entries": _thousands,
    # what belongs to the board
    "boot.py": lambda: _reserved(b"boot.py"),
    "boot.mpy": lambda: _reserved(b"boot.mpy"),
    "BOOT.PY": lambda: _reserved(b"BOOT.PY"),
    "the folder etc": lambda: _reserved(b"etc/"),
    "a file in etc": lambda: _reserved(b"etc/settings.json"),
    "the file etc": lambda: _reserved(b"etc"),
    "the folder Etc": lambda: _reserved(b"Etc/"),
    "the board's own list": lambda: _reserved(b".files"),
    "the board's list as a folder": lambda: _reserved(b".files/"),
    # nothing to start
    "no main.py": lambda: Hostile(_FIRST + END, "the archive has no main.py"),
    "main.py in a folder only": lambda: Hostile(
        _FIRST + entry(b"lib/") + entry(b"lib/main.py") + END,
        "the archive has no main.py",
        (FIRST, (b"lib/", None), (b"lib/main.py", b"")),
    ),
    "main.py as a folder": lambda: Hostile(
        _FIRST + entry(b"main.py/") + END,
        "the archive has no main.py",
        (FIRST, (b"main.py/", None)),
    ),
    # headers that say more
    "mode": lambda: _more(mode=b"0000644\x00"),
    "owner": lambda: _more(uid=b"0001750\x00"),
    "group": lambda: _more(gid=b"0001750\x00"),
    "time": lambda: _more(mtime=b"14000000000\x00"),
    "owner's name": lambda: _more(uname=b"root"),
    "link of a file": lambda: _more(link=b"/etc/settings.json"),
    "device of a file": lambda: _more(devmajor=b"0000001\x00"),
    "prefix": lambda: _more(prefix=b"/etc"),
    "old magic": lambda: _more(magic=b"ustar  \x00"),
    "no magic": lambda: _more(magic=b""),
    "something in the rest": lambda: _more(rest=b"x"),
    "wrong checksum": lambda: _more(checksum=b"000000\x00 "),
    "no checksum": lambda: _more(checksum=b"        "),
    # not a tar at all
    "firmware": lambda: Hostile(b"\xe9" * 4096, "the character 233", ()),
}
NAMES = sorted(MAKERS)


def make(name):
    """Return the Hostile of this name."""
    return MAKERS[name]()
