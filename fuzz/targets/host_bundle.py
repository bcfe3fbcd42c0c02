"""The host's readers of bundles and of compiled modules."""

from twinslot.formats import bundle, mpy

ALLOWED = (bundle.BundleError, mpy.MpyError)
COVERS = ("src/twinslot/formats/bundle.py: read", "src/twinslot/formats/mpy.py")
_TARGETS = [
    mpy.Target(chip, release)
    for chip in ("esp32", "esp32c3")
    for release in (None, (1, 22), (1, 23), (1, 26))
]
SEEDS = (
    bundle.build({"a": b"M\x06\x00\x1f", "b": b"x" * 99}, ["console", "http"]),
    b"M\x06\x2b\x1f",
    b"M\x06\x2e\x1fv1.26.1",
    b"ota-bundle 999\n/a 00010\n",
)


def run(data: bytes) -> None:
    """Check a module for every kind of board, and read a bundle, its size made right, too."""
    for target in _TARGETS:
        assert target.sub_version in (None, 2, 3)
        try:
            mpy.check("a.mpy", data, target)
        except mpy.MpyError:
            continue
    try:
        mpy.target("esp32", data[4:].decode("latin-1"))
        mpy.target("esp32", None)
    except mpy.MpyError:
        pass
    head, newline, rest = data.partition(b"\n")
    words = head.split(b" ")
    if len(words) > 1:
        for _ in range(3):
            size = len(b" ".join(words)) + len(newline) + len(rest)
            words[1] = b"%d" % size
        try:
            bundle.read(b" ".join(words) + newline + rest)
        except bundle.BundleError:
            pass
    bundle.read(data)
