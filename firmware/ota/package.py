"""The signed head of a package, and where its components lie. Pure.

Rules
- Nothing of the manifest is read before the signature over it holds.
- Only the deterministic encoding is taken; unknown keys below 64 are refused, from 64 on ignored.
- Whether a genuine package may be installed here and now is decided by `admit`, in one place.
The bytes: magic "OTA\\x01", u32 length L, COSE_Sign1 (RFC 9052), 0xFF up to 4096; then components,
each on a multiple of 4096.
"""

from hashlib import sha256

from . import cbor, trust
from .compat import const
from .errors import (
    DowngradeError,
    ExpiredError,
    MismatchError,
    PackageError,
    SameVersionError,
    TooLargeError,
)
from .slices import finish

HEAD_SIZE = const(4096)
FIRMWARE = const(0)
APPLICATION = const(1)

MAGIC = b"OTA\x01"
_MAX_COSE = const(2000)
_COSE_SIGN1 = const(18)
_MAX_SEQUENCE = const(0x7FFFFFFF)

_KINDS = {FIRMWARE: "firmware", APPLICATION: "application"}


class Component:
    """One component: kind, length and size (bytes), sha256 (32 bytes), chip (int or None).

    offset: where it begins in the package (bytes).
    """

    def __init__(self, kind, length, size, digest, chip):
        self.kind = kind
        self.length = length
        self.size = size
        self.sha256 = digest
        self.chip = chip
        self.offset = 0


class Manifest:
    """What a verified head says.

    product, version (str), sequence, created, expires (int; expires may be None), components,
    identity (32 bytes: SHA-256 of the manifest), record (bytes: the head without its padding),
    package_size (bytes).
    """

    def __init__(self, fields, identity, record):
        self.product = _text(fields, 2, "product")
        self.version = _text(fields, 3, "version")
        self.sequence = _uint(fields, 4, "sequence", 1, _MAX_SEQUENCE)
        self.created = _uint(fields, 5, "created", 0)
        self.expires = None
        if 6 in fields:
            self.expires = _uint(fields, 6, "expires", self.created + 1)
        self.components = _components(fields.get(7))
        self.identity = identity
        self.record = record
        offset = HEAD_SIZE
        for component in self.components:
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
    if len(data) < HEAD_SIZE:
        raise PackageError("the package is shorter than its head of %d bytes" % HEAD_SIZE)
    for i in range(len(_record(data)), HEAD_SIZE):
        if data[i] != 0xFF:
            raise PackageError("the head is not padded with 0xFF")
    return (yield from parsing_record(data, keys))


def parsing_record(data, keys):
    """Verify and read a record (magic, length, COSE) at the start of `data`. As `parsing_head`."""
    record = _record(data)
    try:
        payload, *signed = _signed(record[8:])
        yield from trust.verifying(keys, *signed)
        fields = cbor.loads(payload)
    except ValueError as error:
        raise PackageError("the head cannot be read: %s" % error)
    _check_keys(fields, 7, "manifest")
    if fields.get(1) != 1:
        raise PackageError("the package has format %r, this agent reads 1" % (fields.get(1),))
    return Manifest(fields, sha256(payload).digest(), record)


def _record(data):
    """Return a copy of the record at the start of `data`. Raises PackageError."""
    if len(data) < 8 or not is_package(data):
        raise PackageError("the file is not a package: it does not begin with the magic")
    length = int.from_bytes(data[4:8], "big")
    if not 1 <= length <= _MAX_COSE or 8 + length > len(data):
        raise PackageError("the COSE structure has an impossible length of %d bytes" % length)
    return bytes(data[: 8 + length])


def _signed(cose):
    """Take a COSE_Sign1 structure apart (RFC 9052, 4.2 and 4.4).

    Returns the payload, algorithm, key id, the bytes that were signed, and the signature.
    """
    tagged = cbor.loads(cose)
    parts = getattr(tagged, "value", None)
    if getattr(tagged, "tag", None) != _COSE_SIGN1 or not isinstance(parts, list):
        raise ValueError("it is not a COSE_Sign1 structure")
    if len(parts) != 4 or parts[1] != {}:
        raise ValueError("COSE_Sign1 needs four parts, with an empty unprotected header")
    protected, _, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise ValueError("protected header, payload and signature must be byte strings")
    header = cbor.loads(protected)
    if not isinstance(header, dict) or set(header) != {1, 4}:
        raise ValueError("the protected header must hold alg and kid, nothing else")
    if not isinstance(header[1], int) or not isinstance(header[4], bytes):
        raise ValueError("alg must be a number and kid a byte string")
    signed = bytearray()
    cbor.dump(signed, ["Signature1", protected, b"", payload])
    return payload, header[1], header[4], signed, signature


def admit(manifest, *, product, chip, capacity, floor, now=None, retry_of=None):
    """Decide whether a genuine package may be installed on this board now.

    product (str), chip (chip_id of the ESP image header): the board's own; capacity: bytes a
    firmware image may have; floor: highest sequence accepted so far; now: Unix seconds, None when
    the clock is not set; retry_of: identity that may have the floor's sequence again.
    Raises MismatchError, TooLargeError, DowngradeError, SameVersionError, ExpiredError.
    """
    if manifest.product != product:
        raise MismatchError(
            "the package is for product %s, this board is %s" % (manifest.product, product)
        )
    firmware = manifest.component(FIRMWARE)
    if firmware is None or len(manifest.components) > 1:
        raise MismatchError("this agent installs packages with a firmware component only")
    if firmware.chip != chip:
        raise MismatchError(
            "the image is for chip %d, this board has chip %d" % (firmware.chip, chip)
        )
    if firmware.size > capacity:
        raise TooLargeError("the image has %d bytes, the slot takes %d" % (firmware.size, capacity))
    if manifest.sequence < floor:
        raise DowngradeError(
            "sequence %d is below %d, which this board already accepted"
            % (manifest.sequence, floor)
        )
    if manifest.sequence == floor and manifest.identity != retry_of:
        raise SameVersionError("sequence %d already runs here" % floor)
    if manifest.expires is not None and now is not None and now > manifest.created:
        if now >= manifest.expires:
            raise ExpiredError("the package expired %d s ago" % (now - manifest.expires))


def _components(items):
    if not isinstance(items, list) or not 1 <= len(items) <= 4:
        raise PackageError("the manifest needs 1 to 4 components")
    components = [_component(item) for item in items]
    kinds = [component.kind for component in components]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise PackageError("the manifest has two components of kind " + _KINDS[kind])
    return components


def _component(fields):
    _check_keys(fields, 6, "component")
    kind = _uint(fields, 1, "kind", 0)
    if kind not in _KINDS:
        raise PackageError("a component has the unknown kind %d" % kind)
    if _uint(fields, 2, "encoding", 0) != 0:
        raise PackageError("a component is encoded; this agent reads raw ones")
    length = _uint(fields, 3, "length", 1)
    size = _uint(fields, 4, "size", 1)
    if size != length:
        raise PackageError("a raw component's size differs from its length")
    digest = fields.get(5)
    if not isinstance(digest, bytes) or len(digest) != 32:
        raise PackageError("a component's sha256 is not 32 bytes")
    chip = None
    if kind == FIRMWARE:
        chip = _uint(fields, 6, "chip", 0, 0xFFFF)
    elif 6 in fields:
        raise PackageError("chip belongs to firmware components only")
    return Component(kind, length, size, digest, chip)


def _check_keys(fields, highest, name):
    if not isinstance(fields, dict):
        raise PackageError("the %s is not a map" % name)
    for key in fields:
        if not isinstance(key, int) or key < 1 or highest < key < 64:
            raise PackageError("the %s has the unknown key %s" % (name, key))


def _text(fields, key, name):
    value = fields.get(key)
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= 32:
        raise PackageError("%s is not a text of 1 to 32 bytes" % name)
    return value


def _uint(fields, key, name, lowest, highest=None):
    value = fields.get(key)
    if not isinstance(value, int) or value < lowest:
        raise PackageError("%s is not a number of at least %d" % (name, lowest))
    if highest is not None and value > highest:
        raise PackageError("%s is above %d" % (name, highest))
    return value
