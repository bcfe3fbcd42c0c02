"""What a package's manifest says, and whether that may be installed here. Pure.

Unknown keys below 64 are refused, from 64 on ignored. Whether a genuine package may be installed on
this board now is decided by `admit` alone.

What is read is kept in tuples: a class's methods would keep this module in memory for as long as an
update is in hand.
"""

from collections import namedtuple
from hashlib import sha256

from . import errors, loader
from .compat import const
from .package import APPLICATION, FIRMWARE, HEAD_SIZE

# One component: kind, encoding, offset in the package (bytes), length there and size of the result
# (bytes), sha256 of the result (32 bytes), chip (int, of firmware only), room: of an application,
# the blocks of littlefs that it takes, then path and bytes of its largest files, None where the
# package does not say; coded: values of keys 7 to 9, as they are, which the encoding's own modules
# judge, 0 for a raw one.
Component = namedtuple(
    "Component", ("kind", "encoding", "offset", "length", "size", "sha256", "chip", "room", "coded")
)

# A verified head: product, version (str), sequence, created, expires (int; expires may be None),
# components, identity (32 bytes: SHA-256 of the manifest), record (bytes: the head without its
# padding), package_size (bytes), trust: the set of keys that it brings, None without one, which
# `keyset` reads. Of a raw image: proof, which verifies it in place of a digest (see
# `raw`), and note, which its result repeats. It has no record, so its slot gets no trailer.
Manifest = namedtuple(
    "Manifest",
    (
        "product",
        "version",
        "sequence",
        "created",
        "expires",
        "components",
        "identity",
        "record",
        "package_size",
        "proof",
        "note",
        "trust",
    ),
)

_ROOM = const(65)
_MAX_SEQUENCE = const(0x7FFFFFFF)

_KINDS = {FIRMWARE: "firmware", APPLICATION: "application"}


def manifest_of(payload, fields, record):
    """Return the Manifest that a signed payload holds. Raises PackageError.

    payload: bytes; fields: the map in it; record: bytes of the head without its padding.
    """
    _check_keys(fields, 8, "manifest")
    if fields.get(1) != 1:
        raise errors.PackageError(
            "the package has format %r, this agent reads 1" % (fields.get(1),)
        )
    created = _uint(fields, 5, "created", 0)
    components = _components(fields.get(7))
    last = components[-1]
    return Manifest(
        _text(fields, 2, "product"),
        _text(fields, 3, "version"),
        _uint(fields, 4, "sequence", 1, _MAX_SEQUENCE),
        created,
        _uint(fields, 6, "expires", created + 1) if 6 in fields else None,
        components,
        sha256(payload).digest(),
        record,
        _next_offset(last.offset, last.length),
        None,
        "",
        fields.get(8),
    )


def component_of(manifest, kind):
    """Return the component of `kind`, or None."""
    for component in manifest.components:
        if component.kind == kind:
            return component
    return None


def admit(manifest, *, product, chip, capacity, floor, now=None, retry_of=None):
    """Decide whether a genuine package may be installed on this board now.

    product (str), chip (chip_id of the ESP image header): the board's own; capacity: bytes a
    firmware image may have; floor: highest sequence accepted so far; now: Unix seconds, None when
    the clock is not set; retry_of: identity that may have the floor's sequence again.
    Raises MismatchError, TooLargeError, DowngradeError, SameVersionError, ExpiredError.
    """
    if manifest.product != product:
        raise errors.MismatchError(
            "the package is for product %s, this board is %s" % (manifest.product, product)
        )
    firmware = component_of(manifest, FIRMWARE)
    if firmware and firmware.chip != chip:
        raise errors.MismatchError(
            "the image is for chip %d, this board has chip %d" % (firmware.chip, chip)
        )
    if firmware and firmware.size > capacity:
        raise errors.TooLargeError(
            "the image has %d bytes, the slot takes %d" % (firmware.size, capacity)
        )
    if manifest.sequence < floor:
        raise errors.DowngradeError(
            "sequence %d is below %d, which this board already accepted"
            % (manifest.sequence, floor)
        )
    if manifest.sequence == floor and manifest.identity != retry_of:
        raise errors.SameVersionError("sequence %d already runs here" % floor)
    if manifest.expires is not None and now is not None and now > manifest.created:
        if now >= manifest.expires:
            raise errors.ExpiredError("the package expired %d s ago" % (now - manifest.expires))


def _components(items):
    if not isinstance(items, list) or not 1 <= len(items) <= 4:
        raise errors.PackageError("the manifest needs 1 to 4 components")
    components, offset = [], HEAD_SIZE
    for item in items:
        component = _component(item, offset)
        components.append(component)
        offset = _next_offset(offset, component.length)
    kinds = [component.kind for component in components]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise errors.PackageError("the manifest has two components of kind " + _KINDS[kind])
    return components


def _next_offset(offset, length):
    """Return where the component begins that follows one of `length` bytes at `offset`."""
    return offset + (length + HEAD_SIZE - 1) // HEAD_SIZE * HEAD_SIZE


def _component(fields, offset):
    _check_keys(fields, 9, "component")
    kind = _uint(fields, 1, "kind", 0)
    if kind not in _KINDS:
        raise errors.PackageError("a component has the unknown kind %d" % kind)
    encoding = _uint(fields, 2, "encoding", 0)
    if (kind, encoding) not in loader.table().WRITERS:
        raise errors.PackageError("a component has encoding %d, which no writer takes" % encoding)
    length = _uint(fields, 3, "length", 1)
    size = _uint(fields, 4, "size", 1)
    if not encoding:
        _check_keys(fields, 6, "component")
        if size != length:
            raise errors.PackageError("a raw component's size differs from its length")
    digest = fields.get(5)
    if not isinstance(digest, bytes) or len(digest) != 32:
        raise errors.PackageError("a component's sha256 is not 32 bytes")
    chip = None
    if kind == FIRMWARE:
        chip = _uint(fields, 6, "chip", 0, 0xFFFF)
    elif 6 in fields:
        raise errors.PackageError("chip belongs to firmware components only")
    room = _room(fields[_ROOM]) if kind == APPLICATION and _ROOM in fields else None
    coded = encoding and (fields.get(7), fields.get(8), fields.get(9))
    return Component(kind, encoding, offset, length, size, digest, chip, room, coded)


def _room(value):
    """Return [blocks, path, bytes, path, bytes, ...] if it is such a list."""
    good = isinstance(value, list) and len(value) % 2
    for at in range(len(value) if good else 0):
        good = good and isinstance(value[at], str if at % 2 else int)
    if not good:
        raise errors.PackageError("an application's room is no list of blocks, paths and bytes")
    return value


def _check_keys(fields, highest, name):
    if not isinstance(fields, dict):
        raise errors.PackageError("the %s is not a map" % name)
    for key in fields:
        if not isinstance(key, int) or key < 1 or highest < key < 64:
            raise errors.PackageError("the %s has the unknown key %s" % (name, key))


def _text(fields, key, name):
    value = fields.get(key)
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= 32:
        raise errors.PackageError("%s is not a text of 1 to 32 bytes" % name)
    return value


def _uint(fields, key, name, lowest, highest=None):
    value = fields.get(key)
    if not isinstance(value, int) or value < lowest:
        raise errors.PackageError("%s is not a number of at least %d" % (name, lowest))
    if highest is not None and value > highest:
        raise errors.PackageError("%s is above %d" % (name, highest))
    return value
