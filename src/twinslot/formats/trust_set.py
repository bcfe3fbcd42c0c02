"""The set of keys that a package may carry: who may sign from its acceptance on (manifest key 8).

Pure. `trust.succession` judges whether a set may follow another one. docs/package-format.md has the
rules.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from twinslot.errors import PackageError
from twinslot.formats.fields import Fields

RELEASE, ROOT = 1, 2
REVOKED = 0
"""Roles are bits: a release key signs packages, a root key those that carry a set."""
MOST_KEYS = 8
MAX_VERSION = 2**31 - 1
PUBLIC_LENGTH = 64  # bytes of a public key, x || y
KID_LENGTH = 8  # bytes
SHOWN = 8  # bytes of a digest that boards report
BOARD_FILE = "trust.json"

_ES256 = -7  # RFC 9053 2.1
_NAMES = {RELEASE: "release", ROOT: "root"}
# Everything of a P-256 SubjectPublicKeyInfo (RFC 5480) before x || y.
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200" + "04")


@dataclass(frozen=True)
class Entry:
    """One key of a set. public: x || y, 64 bytes; roles: bits, REVOKED for none."""

    public: bytes
    roles: int

    @property
    def kid(self) -> bytes:
        """The key's id: the first 8 bytes of SHA-256 over its SubjectPublicKeyInfo."""
        return hashlib.sha256(_SPKI + self.public).digest()[:KID_LENGTH]

    @property
    def words(self) -> str:
        """The roles for people."""
        return " and ".join(name for bit, name in _NAMES.items() if self.roles & bit) or "revoked"


@dataclass(frozen=True)
class TrustSet:
    """A set of keys, checked."""

    version: int
    entries: tuple[Entry, ...]

    @property
    def digest(self) -> bytes:
        """SHA-256 over the version (4 bytes) and, for each key, its roles (1 byte) and x || y."""
        parts = [self.version.to_bytes(4, "big")]
        parts += [bytes([entry.roles]) + entry.public for entry in self.entries]
        return hashlib.sha256(b"".join(parts)).digest()

    @property
    def revoked(self) -> frozenset[bytes]:
        """The ids of the revoked keys."""
        return frozenset(entry.kid for entry in self.entries if entry.roles == REVOKED)

    def entry(self, kid: bytes) -> Entry | None:
        """The key with this id, None where the set does not list it."""
        return next((entry for entry in self.entries if entry.kid == kid), None)

    def having(self, role: int) -> list[Entry]:
        """The keys with this role."""
        return [entry for entry in self.entries if entry.roles & role]


def make_set(version: int, entries: Iterable[Entry]) -> TrustSet:
    """Return a set that keeps all rules. Raises PackageError, naming key and rule."""
    return read_set(described_set(TrustSet(version, tuple(entries))))


def described_set(found: TrustSet) -> dict[int, Any]:
    """Return the map that describes a set in the manifest."""
    maps = [{1: _ES256, 2: entry.public, 3: entry.roles} for entry in found.entries]
    return {1: found.version, 2: maps}


def board_file(found: TrustSet) -> bytes:
    """The set as a board keeps it in /etc/trust.json, with nothing accepted yet."""
    joined = b"".join(bytes([entry.roles]) + entry.public for entry in found.entries)
    fields = {
        "v": 1,
        "set": found.version,
        "keys": base64.b64encode(joined).decode(),
        "digest": found.digest[:SHOWN].hex(),
        "floor": 0,
        "created": 0,
    }
    return (json.dumps(fields) + "\n").encode()


def read_set(item: Any) -> TrustSet:
    """Read the map of a set. Raises PackageError, naming key and rule."""
    fields = Fields(item, "manifest, set of keys (8)", known=range(1, 3))
    version = fields.uint(1, "version", least=1, most=MAX_VERSION)
    maps = fields.get(2, "keys")
    if not isinstance(maps, list) or not 1 <= len(maps) <= MOST_KEYS:
        raise PackageError(
            f"manifest, set of keys (8), keys (2): an array of 1 to {MOST_KEYS} maps"
        )
    entries = tuple(map(_read_entry, maps))
    if len({entry.public for entry in entries}) < len(entries):
        raise PackageError("manifest, set of keys (8), keys (2): a public key comes twice")
    found = TrustSet(version, entries)
    for role, name in _NAMES.items():
        if not found.having(role):
            raise PackageError(f"manifest, set of keys (8), keys (2): no key has the role {name}")
    return found


def _read_entry(item: Any) -> Entry:
    fields = Fields(item, "key of the set", known=range(1, 4))
    algorithm = fields.get(1, "alg")
    if type(algorithm) is not int or algorithm != _ES256:
        raise PackageError(f"key of the set, alg (1): {algorithm!r} is not ES256 ({_ES256})")
    public = fields.get(2, "public key")
    if not isinstance(public, bytes) or len(public) != PUBLIC_LENGTH:
        raise PackageError(f"key of the set, public key (2): {PUBLIC_LENGTH} bytes, x and y")
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public)
    except ValueError as error:
        raise PackageError("key of the set, public key (2): no point of P-256") from error
    return Entry(public, fields.uint(3, "roles", most=RELEASE | ROOT))
