"""RSASSA-PKCS1-v1_5 verification with SHA-256 (RFC 8017, 8.2.2) with Python's integers.

The encoded message that the signature must contain is made here and compared whole, so that no
padding is parsed. Only public data passes through here, so nothing needs constant time.
"""

from .compat import finish

# 0x00 and the DigestInfo of SHA-256, up to the hash (RFC 8017, 9.2, note 1).
_BEFORE_HASH = b"\x00\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
# Bytes of the encoded message beside its 0xFF, of which there are at least eight.
_OVERHEAD = 2 + len(_BEFORE_HASH) + 32


def verify(public_key, digest, signature):
    """Say at once whether `signature` over `digest` belongs to `public_key`; see `verifying`."""
    return finish(verifying(public_key, digest, signature))


def verifying(public_key, digest, signature):
    """Find out whether `signature` over `digest` belongs to `public_key`. A generator of slices.

    public_key: (modulus, exponent): bytes, big-endian, without leading zeros, and int; digest: 32
    bytes (SHA-256); signature: bytes. One modular multiplication is a slice. Returns False for
    anything of the wrong length or out of range.
    """
    modulus, exponent = public_key
    size = len(modulus)
    n = int.from_bytes(modulus, "big")
    s = int.from_bytes(signature, "big")
    if len(digest) != 32 or len(signature) != size or s >= n:
        return False
    if size < _OVERHEAD + 8 or exponent < 3:
        return False
    power = s
    for bit in bin(exponent)[3:]:
        yield
        power = power * power % n
        if bit == "1":
            yield
            power = power * s % n
    encoded = b"\x00\x01" + b"\xff" * (size - _OVERHEAD) + _BEFORE_HASH + digest
    return power.to_bytes(size, "big") == encoded
