"""Heads of packages, right and wrong in any one way, signed with the worked example's key.

Private keys here are for tests only: RFC 6979, A.2.5, and one made up.
"""

from binascii import unhexlify
from hashlib import sha256

import vectors
from ota import cbor, p256
from ota.compat import finish

EXAMPLE = vectors.load("package-es256.json")
KEY = int(EXAMPLE["private_key_hex"], 16)
STRANGER = 0x1F2E3D4C5B6A79880102030405060708090A0B0C0D0E0F101112131415161718
SPKI_PREFIX = unhexlify(EXAMPLE["spki_hex"])[:-64]

EXAMPLE_COSE = unhexlify(EXAMPLE["cose_hex"])
EXAMPLE_MANIFEST = unhexlify(EXAMPLE["manifest_hex"])
EXAMPLE_IDENTITY = unhexlify(EXAMPLE["identity_sha256"])

CREATED = 1795000000
FIRMWARE = ((1, 0), (2, 0), (3, 5000), (4, 5000), (5, bytes(range(32))), (6, 0))
APPLICATION = ((1, 1), (2, 0), (3, 1536), (4, 1536), (5, bytes(range(1, 33))))


class Map:
    """A map as its (key, value) pairs, written in that order."""

    def __init__(self, *pairs):
        self.pairs = pairs

    def but(self, **changes):
        """Return a map, in order, with the value of k<key> changed, added, or left out (None)."""
        fields = dict(self.pairs)
        for name in changes:
            fields[int(name[1:])] = changes[name]
        return Map(*[(key, fields[key]) for key in sorted(fields) if fields[key] is not None])


class Raw:
    """CBOR that is written as it is."""

    def __init__(self, text):
        self.encoded = unhexlify(text)


EMPTY = Map()
MANIFEST = Map((1, 1), (2, "demo-board"), (3, "1.1.0"), (4, 7), (5, CREATED), (7, [Map(*FIRMWARE)]))


def encode(value):
    """Return the CBOR of int, bytes, str, list, Map or Raw."""
    if isinstance(value, Raw):
        return value.encoded
    out = bytearray()
    if isinstance(value, Map):
        out.append(0xA0 | len(value.pairs))
        for key, item in value.pairs:
            out.extend(encode(key))
            out.extend(encode(item))
    elif isinstance(value, list):
        out.append(0x80 | len(value))
        for item in value:
            out.extend(encode(item))
    else:
        cbor.dump(out, value)
    return bytes(out)


def to_affine(x, w, z):
    """Return a point of ota.p256's Jacobian ones in affine coordinates, its y still doubled."""
    by_z = p256._inverse(z, p256.P)
    return x * by_z**2 % p256.P, w * by_z**3 % p256.P


def times_g(scalar):
    """Return scalar*G as x || y."""
    g = p256._pair(p256._ODD_G[:64])
    x, y = to_affine(*finish(p256._joint(scalar, 0, g)))
    y = y * (p256.P + 1) // 2 % p256.P  # it is kept doubled
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")


# These private keys are no secret, so one nonce may serve all signatures.
_NONCE = 0x5EED
_R = int.from_bytes(times_g(_NONCE)[:32], "big") % p256.N
_PUBLIC = {}


def public(key):
    """Return x || y of a private key."""
    if key not in _PUBLIC:
        _PUBLIC[key] = times_g(key)
    return _PUBLIC[key]


def kid(key):
    """Return the key id of a private key."""
    return sha256(SPKI_PREFIX + public(key)).digest()[:8]


def sign(key, message):
    """Return r || s over `message`."""
    e = int.from_bytes(sha256(message).digest(), "big")
    s = pow(_NONCE, p256.N - 2, p256.N) * (e + _R * key) % p256.N
    return _R.to_bytes(32, "big") + s.to_bytes(32, "big")


def cose(payload, *, key=KEY, protected=None, unprotected=EMPTY, signature=None):
    """Return a COSE_Sign1 over `payload` (bytes); protected: bytes, unprotected: for `encode`."""
    if protected is None:
        protected = encode(Map((1, -7), (4, kid(key))))
    if signature is None:
        signature = sign(key, encode(["Signature1", protected, b"", payload]))
    return b"\xd2" + encode([protected, unprotected, payload, signature])


def framed(structure):
    """Return a head of 4096 bytes that holds a COSE structure."""
    record = b"OTA\x01" + len(structure).to_bytes(4, "big") + structure
    return record + b"\xff" * (4096 - len(record))


def head(manifest):
    """Return the signed head of a manifest (Map or Raw)."""
    return framed(cose(encode(manifest)))
