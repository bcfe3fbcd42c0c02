"""The signed head of a package: a record (magic, length, COSE_Sign1), padded to a sector.

Pure. `write_record` and `read_record` are the record, which a slot trailer keeps, too; `read_head`
reads a package's first 4096 bytes. `trust.signing` makes and checks the signature.
"""

import hashlib
from dataclasses import dataclass

from twinslot.errors import PackageError
from twinslot.formats import cbor
from twinslot.formats.chips import SECTOR
from twinslot.formats.fields import loads
from twinslot.formats.manifest import Manifest, read_manifest

PACKAGE_MAGIC = b"OTA\x01"
ES256 = -7  # RFC 9053 2.1
COSE_SIGN1 = 18  # CBOR tag, RFC 9052 2
KID_LENGTH = 8  # bytes of a key id
SIGNATURE_LENGTH = 64  # bytes of an ES256 signature, r || s
MAX_COSE = 2000  # bytes


@dataclass(frozen=True)
class Head:
    """A package's head, read and checked but for its signature."""

    manifest: Manifest
    manifest_bytes: bytes
    protected: bytes
    kid: bytes
    signature: bytes
    record: bytes
    """Magic, length and COSE structure: what a slot trailer keeps."""

    @property
    def identity(self) -> bytes:
        """SHA-256 over the manifest: the same for every signature over it."""
        return hashlib.sha256(self.manifest_bytes).digest()

    @property
    def signed_bytes(self) -> bytes:
        """The Sig_structure of RFC 9052 4.4."""
        return signed_bytes(self.protected, self.manifest_bytes)


def protected_header(kid: bytes) -> bytes:
    """Return the protected header of what the key with this id signs."""
    return cbor.dumps({1: ES256, 4: kid})


def signed_bytes(protected: bytes, payload: bytes) -> bytes:
    """Return the Sig_structure of RFC 9052 4.4: the bytes that are signed."""
    return cbor.dumps(["Signature1", protected, b"", payload])


def write_record(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """Return the record of a manifest. Raises PackageError when the head has too many bytes.

    payload: the manifest; signature: over `signed_bytes`.
    """
    cose = bytes([0xC0 + COSE_SIGN1]) + cbor.dumps([protected, {}, payload, signature])
    if len(cose) > MAX_COSE:
        raise PackageError(f"the signed head has {len(cose)} bytes, more than {MAX_COSE}")
    return PACKAGE_MAGIC + len(cose).to_bytes(4, "big") + cose


def read_head(data: bytes) -> Head:
    """Read the head at the start of `data` (a package, or its first 4096 bytes).

    Raises PackageError, naming key and rule. The signature is not checked: see trust.signing.
    """
    if len(data) < SECTOR:
        raise PackageError(f"a package head has {SECTOR} bytes, these are {len(data)}")
    head = read_record(data[:SECTOR])
    if data[len(head.record) : SECTOR].strip(b"\xff"):
        raise PackageError("the head is not padded with 0xFF")
    return head


def read_record(data: bytes) -> Head:
    """Read the record at the start of `data`. Raises PackageError, naming key and rule."""
    if data[:4] != PACKAGE_MAGIC:
        raise PackageError("not a package: it does not begin with the magic bytes")
    length = int.from_bytes(data[4:8], "big")
    if not 1 <= length <= MAX_COSE:
        raise PackageError(f"the COSE structure has {length} bytes; allowed are 1 to {MAX_COSE}")
    if len(data) < 8 + length:
        raise PackageError(f"cut short: {length} bytes of COSE announced, {len(data) - 8} there")
    record = bytes(data[: 8 + length])
    item = loads(record[8:], "COSE structure")
    if not isinstance(item, cbor.Tagged) or item.tag != COSE_SIGN1:
        raise PackageError(f"not a COSE_Sign1 structure (CBOR tag {COSE_SIGN1})")
    parts = item.value
    if not isinstance(parts, list) or len(parts) != 4:
        raise PackageError("COSE_Sign1 is an array of 4")
    protected, unprotected, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise PackageError("protected header, payload and signature are byte strings")
    if unprotected != {}:
        raise PackageError("the unprotected header is not empty")
    kid = _read_protected(protected)
    if len(signature) != SIGNATURE_LENGTH:
        raise PackageError(f"an ES256 signature has {SIGNATURE_LENGTH} bytes")
    return Head(read_manifest(payload), payload, protected, kid, signature, record)


def _read_protected(data: bytes) -> bytes:
    header = loads(data, "protected header")
    if not isinstance(header, dict) or set(header) != {1, 4}:
        raise PackageError("the protected header is a map of exactly alg (1) and kid (4)")
    if header[1] != ES256 or isinstance(header[1], bool):
        raise PackageError(f"protected header, alg (1): {header[1]!r} is not ES256 ({ES256})")
    kid = header[4]
    if not isinstance(kid, bytes) or len(kid) != KID_LENGTH:
        raise PackageError(f"protected header, kid (4): {KID_LENGTH} bytes")
    return kid
