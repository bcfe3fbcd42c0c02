"""What a package brought, and what boots together: an image and an application directory.

A slot's trailer holds the signed record of the package that brought both, or two records, newest
first, when they came with different packages. The newest gives version and sequence; image and
directory are what the newest record says that speaks of them.
"""

from hashlib import sha256

from . import errors
from .compat import const, finish, forget
from .slots import DIRECTORIES

HEAD_SIZE = const(4096)
FIRMWARE = const(0)
APPLICATION = const(1)

MAGIC = b"OTA\x01"


class Component:
    """One component: kind, length and size (bytes), sha256 (32 bytes), chip (int or None).

    offset: where it begins in the package (bytes); room: of an application, the blocks of littlefs
    that it takes, then path and bytes of its largest files, None where the package does not say.
    """

    room: "list | None" = None

    def __init__(self, kind, length, size, digest, chip):
        self.kind = kind
        self.length = length
        self.size = size
        self.sha256 = digest
        self.chip = chip
        self.offset = 0


class Manifest:
    """A verified head.

    product, version (str), sequence, created, expires (int; expires may be None), components,
    identity (32 bytes: SHA-256 of the manifest), record (bytes: the head without its padding),
    package_size (bytes).
    Of a raw image: proof, which verifies it in place of a digest (see `raw`), and note, what its
    result should say beside. It has no record, so its slot gets no trailer.
    """

    proof: "tuple | None" = None
    note = ""

    def __init__(self, product, version, sequence, created, expires, components, identity, record):
        self.product = product
        self.version = version
        self.sequence = sequence
        self.created = created
        self.expires = expires
        self.components = components
        self.identity = identity
        self.record = record
        offset = HEAD_SIZE
        for component in components:
            component.offset = offset
            offset += (component.length + 4095) // 4096 * 4096
        self.package_size = offset

    def component(self, kind):
        """Return the component of `kind`, or None."""
        for component in self.components:
            if component.kind == kind:
                return component
        return None


def is_package(start):
    """Say whether a file that begins with the bytes `start` (at least 4) is a package."""
    return bytes(start[:4]) == MAGIC


class Pair:
    """slot: slots.Slot; manifests: one or two, newest first; directory: "" for a flat board."""

    def __init__(self, slot, manifests, directory):
        self.slot = slot
        self.manifests = manifests
        self.directory = directory

    @property
    def newest(self):
        """The manifest of the package that came last."""
        return self.manifests[0]

    def manifest_with(self, kind):
        """Return the manifest that a component of `kind` came with, None if a cable brought it."""
        for one in self.manifests:
            if one.component(kind):
                return one
        return None

    def component(self, kind):
        """Return the component that says what the slot or the directory holds, or None."""
        brought_by = self.manifest_with(kind)
        return brought_by and brought_by.component(kind)

    def write_trailer(self, buf):
        """Let the slot's trailer say all this. buf: scratch, 4096 bytes. Raises FlashError."""
        self.slot.write_trailer([one.record for one in self.manifests], self.directory, buf)


def parse_head(data, keys):
    """Verify and read a package's head. As `parsing_head`, at once."""
    return finish(parsing_head(data, keys))


def parse_record(data, keys):
    """Verify and read a record. As `parsing_record`, at once."""
    return finish(parsing_record(data, keys))


def parsing_head(data, keys):
    """Verify and read a package's head. A generator of slices.

    data: the first 4096 bytes, which are not looked at after the first slice; keys: from
    `trust.load_keys`. Returns a Manifest. Raises PackageError, UnknownKeyError, SignatureError.
    """
    from . import package

    record = package.record_of_head(data)
    del package
    return (yield from _verifying(record, keys))


def parsing_record(data, keys):
    """Verify and read a record (magic, length, COSE) at the start of `data`. As `parsing_head`."""
    from . import package

    record = package.record_of(data)
    del package
    return (yield from _verifying(record, keys))


def _verifying(record, keys):
    from . import package

    payload, *signed = package.opened(record)
    del package  # which a chip without PSRAM cannot keep beside the arithmetic
    forget("package fields")
    from . import trust

    yield from trust.verifying(keys, *signed)
    del trust
    forget("trust")
    from . import fields, package

    return fields.manifest_of(package.fields_of(payload), sha256(payload).digest(), record)


def reading(slot, keys, buf):
    """Return the Pair that a slot's trailer describes, None without one. A generator of slices.

    keys: from `trust.load_keys`; buf: scratch, 4096 bytes. Raises PackageError, UnknownKeyError,
    SignatureError, FlashError.
    """
    from . import package

    trailer = slot.read_trailer(buf)
    if trailer is None:
        return None
    records, directory = package.split(trailer[0]), trailer[1]
    del package
    if directory and directory not in DIRECTORIES:
        raise errors.PackageError("the trailer of %s names directory %r" % (slot.label, directory))
    manifests = []
    for record in records:
        read = yield from parsing_record(record, keys)
        manifests.append(read)
    return Pair(slot, manifests, directory)


def following(newest, board):
    """Return the Pair that a new package makes in the other slot, together with what runs.

    newest: its manifest; board: board.Board. A generator of slices. Raises FlashError.
    """
    manifests = [newest]
    directory, kept = board.directory, APPLICATION
    if newest.component(APPLICATION):
        directory, kept = board.spare, FIRMWARE
    if not newest.proof and not newest.component(kept):
        try:
            running = yield from reading(board.slots.running, board.keys(), board.buf)
        except (errors.PackageError, errors.UnknownKeyError, errors.SignatureError):
            running = None  # not believed, so it counts as none
        older = running and running.manifest_with(kept)
        if older:
            manifests.append(older)
    return Pair(board.slots.other, manifests, directory)
