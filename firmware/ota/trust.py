"""The keys that this board trusts, and the claim that a signature makes. Pure.

Trusted keys are PEM blocks "PUBLIC KEY" (SubjectPublicKeyInfo, RFC 5280; P-256 by RFC 5480), one
file, several keys. A key is named by its kid: the first 8 bytes of SHA-256 over its DER. A block
that is no such key is trusted for nothing, and told where a key is missed.
"""

from binascii import a2b_base64
from hashlib import sha256

from . import errors
from .compat import const

ES256 = const(-7)

# Everything of a P-256 SubjectPublicKeyInfo before x || y: algorithm, curve, uncompressed point.
P256_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200" + "04")


def load_keys(pem):
    """Read trusted public keys.

    pem (str): one or more PEM blocks. Returns {kid: x || y}, both bytes (8 and 64); at None it has
    a sentence about the blocks that are no such key, by their numbers, where there are some.
    Raises SettingsError when there is no key.
    """
    keys = {}
    bad = ""
    blocks = pem.split("-----BEGIN ")
    for number in range(1, len(blocks)):
        try:
            der = unwrapped("-----BEGIN " + blocks[number], "PUBLIC KEY")[0]
        except (ValueError, IndexError):
            der = b""
        if len(der) == len(P256_SPKI) + 64 and der.startswith(P256_SPKI):
            keys[sha256(der).digest()[:8]] = der[len(P256_SPKI) :]
        else:
            bad += " %d" % number
    if bad:
        bad = "; trusted_keys.pem: no P-256 key is block" + bad
    if not keys:
        raise errors.SettingsError("there is no trusted key" + bad)
    if bad:
        keys[None] = bad
    return keys


def unwrapped(pem, label):
    """Return the DER (bytes) of every PEM block `label` in the text `pem`, as a list.

    Raises ValueError.
    """
    end = "-----END %s-----" % label
    found = []
    for block in pem.split("-----BEGIN %s-----" % label)[1:]:
        if end not in block:
            raise ValueError("it has no END line")
        base64 = block.split(end)[0].replace("\r", "").replace("\n", "")
        found.append(a2b_base64(base64.encode()))
    return found


def claim(keys, algorithm, kid, signed, signature):
    """Return (key, digest, signature) for `p256.verifying`: is `signature` one of key `kid`?

    keys: from `load_keys`; algorithm: COSE number (RFC 9053); signed: bytes under the signature.
    Raises UnknownKeyError, SignatureError.
    """
    key = keys.get(kid)
    if key is None:
        raise errors.UnknownKeyError(
            "signed by key %s, which this board does not trust%s" % (kid.hex(), keys.get(None, ""))
        )
    if algorithm != ES256:
        raise errors.SignatureError(
            "signed with algorithm %d, but the trusted key is ES256" % algorithm
        )
    return key, sha256(signed).digest(), signature
