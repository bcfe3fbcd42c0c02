"""What is installed in a slot and in its directory, as the slot's trailer says.

The trailer holds the signed record of the package that brought both, or two records, newest first,
when image and directory came with different packages. The newest record gives version and sequence.
Image and directory are described by the newest record that has such a component.
"""

from collections import namedtuple

from . import errors, p256, package, trust
from .compat import finish
from .manifest import component_of, manifest_of
from .package import APPLICATION, FIRMWARE
from .settings import DIRECTORIES

# version (str), sequence, created (Unix seconds), identity (32 bytes) of the newest package;
# directory: "" for a flat board; parts: (Part of the image, Part of the directory), each None where
# a cable brought it.
Installed = namedtuple(
    "Installed", ("version", "sequence", "created", "identity", "directory", "parts")
)

# size (bytes) and sha256 of an image, or of a directory's archive; chip (int, of an image);
# start, end: where its package's record lies in the trailer (bytes).
Part = namedtuple("Part", ("size", "sha256", "chip", "start", "end"))


def reading(slot, keys, buf, known=False):
    """Return the Installed of a slot, None without a trailer. A generator of slices.

    keys: from `trust.load_keys`; buf: scratch, 4096 bytes; known: its signatures were verified
    before. Raises PackageError, UnknownKeyError, SignatureError, FlashError.
    """
    trailer = slot.read_trailer(buf)
    if trailer is None:
        return None
    records, directory = package.split(trailer[0]), trailer[1]
    if directory and directory not in DIRECTORIES:
        raise errors.PackageError("the trailer of %s names directory %r" % (slot.label, directory))
    newest, start = None, 0
    parts: "list" = [None, None]
    for record in records:
        manifest = yield from reading_record(record, keys, known)
        newest = newest or manifest
        for kind in (FIRMWARE, APPLICATION):
            found = component_of(manifest, kind)
            if found and not parts[kind]:
                end = start + len(record)
                parts[kind] = Part(found.size, found.sha256, found.chip, start, end)
        start += len(record)
    return Installed(
        newest.version, newest.sequence, newest.created, newest.identity, directory, parts
    )


def reading_record(record, keys, known=False):
    """Verify and read a record (magic, length, COSE). A generator of slices.

    known: as above. Returns a manifest.Manifest. Raises PackageError, UnknownKeyError,
    SignatureError.
    """
    payload, *signed = package.opened(record)
    claim = trust.claim(keys, *signed)
    if not known and not (yield from p256.verifying(*claim)):
        raise errors.SignatureError("the signature does not belong to this package")
    return manifest_of(payload, package.fields_of(payload), record)


def read(slot, keys, buf):
    """Return the Installed of a slot. As `reading`, at once."""
    return finish(reading(slot, keys, buf))
