"""The agent's compiled modules in one file, as `ota/__init__.mpy` serves them on a board. Pure.

    ota-bundle SIZE EXTENSION EXTENSION ...     SIZE: bytes of the whole file, decimal
    /NAME OFFSET/NAME OFFSET...                 OFFSET: five hexadecimal digits
    a stored block of deflate (RFC 1951, 3.2.4) with the words that modules have in common
    the modules' .mpy, each the rest of a raw deflate stream that begins with this block

A module's stream is the block of words and then its own part. Its window is 2 KB. A bundle of the
releases up to 0.2 has no such block: its first module begins behind the index. Names are sorted,
and nothing depends on time or place: the same modules make the same bytes, as far as zlib does.
"""

import functools
import re
import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from twinslot.errors import FleetError
from twinslot.formats.bundle_words import WORDS

NAME = "bundle.mpy"
"""Its name, beside `__init__.mpy`: what looks for modules by their names finds it, too."""

WINDOW_BITS = 11  # of a module's stream: the words and most of the module
_BLOCK = struct.pack("<BHH", 0, len(WORDS), len(WORDS) ^ 0xFFFF) + WORDS
_BLOCK_HEAD = 5  # bytes of it before the words
# Of the search for the places where blocks begin: how many, the first and last step in bytes, and
# how many steps a module has at most.
_CUTS = 2
_COARSE = 64
_FINE = 4
_STEPS = 100
_MEMORY = 9  # of zlib, the most: its buffer holds a whole module, so no block begins by itself
_HEAD = re.compile(rb"ota-bundle (\d{1,7})((?: [a-z0-9_]+)*)\n")
_ENTRY = re.compile(r"/([A-Za-z0-9_]+) ([0-9a-f]{5})")
_DIGITS = 5
_LARGEST = 2**18  # bytes of a module; what a chip could never load is no module


class BundleError(FleetError):
    """The bytes are no bundle, or the modules do not fit one."""


@dataclass(frozen=True)
class Bundle:
    """The content of a bundle. `modules`: name without .mpy to bytes; `extensions`: sorted."""

    modules: dict[str, bytes]
    extensions: tuple[str, ...]


def build(modules: Mapping[str, bytes], extensions: Collection[str] = ()) -> bytes:
    """Return the bundle of these modules (name without `.mpy` to bytes).

    extensions: names that are noted in it, for `read`. Raises BundleError for more than 1 MB.
    """
    names = sorted(modules)
    packed = [_deflated(modules[name]) for name in names]
    index_size = sum(len(name) + 2 + _DIGITS for name in names) + 1
    rest = index_size + len(_BLOCK) + sum(map(len, packed))
    head = _head(rest, extensions)
    at = len(head) + index_size + len(_BLOCK)
    index = ""
    for name, data in zip(names, packed, strict=True):
        index += f"/{name} {at:0{_DIGITS}x}"
        at += len(data)
    if at >= 16**_DIGITS:
        raise BundleError(f"modules of {at} bytes do not fit a bundle of {16**_DIGITS}")
    return b"".join((head, index.encode(), b"\n", _BLOCK, *packed))


def is_bundle(data: bytes) -> bool:
    """Whether the bytes begin as a bundle does, whole or not."""
    return _HEAD.match(data) is not None


def extensions_of(data: bytes) -> tuple[str, ...]:
    """Return the extensions that a bundle's first line names; of other bytes none."""
    head = _HEAD.match(data)
    return tuple(head[2].decode().split()) if head else ()


def read(data: bytes) -> Bundle:
    """Return what a bundle holds. Raises BundleError for other bytes, and for a damaged one."""
    head = _HEAD.match(data)
    if head is None:
        raise BundleError("this is no bundle of modules")
    if int(head[1]) != len(data):
        raise BundleError(f"the bundle has {len(data)} bytes of {head[1].decode()}")
    end = data.find(b"\n", head.end())
    index = data[head.end() : end].decode("ascii", "replace")
    entries = _ENTRY.findall(index)
    if "".join(f"/{name} {at}" for name, at in entries) != index:
        raise BundleError("the bundle's index is damaged")
    words = data[end + 1 : min((int(at, 16) for _, at in entries), default=end + 1)]
    try:
        modules = {name: _inflated(words, data[int(at, 16) :]) for name, at in entries}
    except zlib.error as error:
        raise BundleError(f"the bundle's modules are damaged: {error}") from error
    return Bundle(modules, extensions_of(data))


@functools.cache
def _deflated(data: bytes) -> bytes:
    """Return a module as a raw deflate stream, the shortest that a short search finds.

    Names, constants and bytecode have other frequencies, so each deserves a block with codes of its
    own. zlib begins a block only where its buffer is full: the places are searched here.
    """
    best = _attempt(data, ())
    coarse = max(_COARSE, len(data) // _STEPS)
    for _ in range(_CUTS):
        tried = [(*best.cuts, cut) for cut in range(coarse, len(data), coarse)]
        found = min((_attempt(data, cuts) for cuts in tried), key=_length, default=best)
        step = coarse // 2
        while step >= _FINE:
            moved = [
                (*found.cuts[:i], found.cuts[i] + way, *found.cuts[i + 1 :])
                for i in range(len(found.cuts))
                for way in (-step, step)
            ]
            found = min([found, *(_attempt(data, cuts) for cuts in moved)], key=_length)
            step //= 2
        best = min(best, found, key=_length)
    return best.stream


@dataclass(frozen=True)
class _Attempt:
    """A stream, and the bytes of the module before which a block begins."""

    stream: bytes
    cuts: tuple[int, ...]


def _length(attempt: _Attempt) -> int:
    return len(attempt.stream)


def _attempt(data: bytes, cuts: tuple[int, ...]) -> _Attempt:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -WINDOW_BITS, _MEMORY, zdict=WORDS)
    stream, at = b"", 0
    for cut in sorted(cuts):
        stream += compressor.compress(data[at:cut]) + compressor.flush(zlib.Z_BLOCK)
        at = cut
    return _Attempt(stream + compressor.compress(data[at:]) + compressor.flush(), cuts)


def _inflated(words: bytes, data: bytes) -> bytes:
    """Return a module. words: the stored block before the first one, b"" without it."""
    decompressor = zlib.decompressobj(-WINDOW_BITS)
    known, ended = len(decompressor.decompress(words)), decompressor.eof
    if ended or known != max(0, len(words) - _BLOCK_HEAD):
        raise BundleError("the bundle's words are damaged")
    found = decompressor.decompress(data, _LARGEST)
    if not decompressor.eof:
        raise BundleError(
            f"the bundle's modules are damaged: one is cut, or above {_LARGEST} bytes"
        )
    return found


def _head(rest: int, extensions: Collection[str]) -> bytes:
    """Return the first line, whose own length is part of the size that it says."""
    words = "".join(f" {name}" for name in sorted(extensions))
    size = rest
    while True:
        head = f"ota-bundle {size}{words}\n".encode()
        if size == rest + len(head):
            return head
        size = rest + len(head)
