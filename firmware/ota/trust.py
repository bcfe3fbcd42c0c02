"""The keys that this board trusts, and the claim that a signature makes. Pure.

Trusted keys are PEM blocks "PUBLIC KEY" (SubjectPublicKeyInfo, RFC 5280; P-256 by RFC 5480), one
file, several keys. A key is named by its kid: the first 8 bytes of SHA-256 over its DER.
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

    pem (str): one or more PEM blocks. Returns {kid: x || y}, both bytes (8 and 64).
    Raises SettingsError when there is none, or one is not a P-256 key.
    """
    keys = {}
    try:
        found = unwrapped(pem, "PUBLIC KEY")
    except ValueError as error:
        raise errors.SettingsError("a trusted key cannot be read: %s" % error)
    for der in found:
        if len(der) != len(P256_SPKI) + 64 or not der.startswith(P256_SPKI):
            raise errors.SettingsError("a trusted key is not an uncompressed P-256 public key")
        keys[sha256(der).digest()[:8]] = der[len(P256_SPKI) :]
    if not keys:
        raise errors.SettingsError("there is no trusted key")
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
            "signed by key %s, which this board does not trust" % kid.hex()
        )
    if algorithm != ES256:
        raise errors.SignatureError(
            "signed with algorithm %d, but the trusted key is ES256" % algorithm
        )
    return key, sha256(signed).digest(), signature
