"""Which keys this board trusts, and whether a signature is theirs. Pure.

Trusted keys are PEM blocks "PUBLIC KEY" (SubjectPublicKeyInfo, RFC 5280; P-256 by RFC 5480), one
file, several keys. A key is named by its kid: the first 8 bytes of SHA-256 over its DER.
"""

from binascii import a2b_base64
from hashlib import sha256

from . import p256
from .compat import const
from .errors import SettingsError, SignatureError, UnknownKeyError
from .slices import finish

ES256 = const(-7)

_BEGIN = "-----BEGIN PUBLIC KEY-----"
_END = "-----END PUBLIC KEY-----"
# Everything of a P-256 SubjectPublicKeyInfo before x || y: algorithm, curve, uncompressed point.
_P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200" + "04")


def load_keys(pem):
    """Read trusted public keys.

    pem (str): one or more PEM blocks. Returns {kid: x || y}, both bytes (8 and 64).
    Raises SettingsError when there is none, or one is not a P-256 key.
    """
    keys = {}
    for block in pem.split(_BEGIN)[1:]:
        if _END not in block:
            raise SettingsError("a trusted key has no END line")
        try:
            base64 = block.split(_END)[0].replace("\r", "").replace("\n", "")
            der = a2b_base64(base64.encode())
        except ValueError:
            raise SettingsError("a trusted key is not base64")
        if len(der) != len(_P256_PREFIX) + 64 or not der.startswith(_P256_PREFIX):
            raise SettingsError("a trusted key is not an uncompressed P-256 public key")
        keys[sha256(der).digest()[:8]] = der[len(_P256_PREFIX) :]
    if not keys:
        raise SettingsError("there is no trusted key")
    return keys


def verify(keys, algorithm, kid, signed, signature):
    """Check that `signature` over the bytes `signed` was made by `kid`. As `verifying`, at once."""
    finish(verifying(keys, algorithm, kid, signed, signature))


def verifying(keys, algorithm, kid, signed, signature):
    """Check that `signature` over the bytes `signed` was made by the trusted key `kid`.

    A generator of slices. keys: what `load_keys` returned; algorithm: COSE number (RFC 9053).
    Raises UnknownKeyError, SignatureError.
    """
    key = keys.get(kid)
    if key is None:
        raise UnknownKeyError("signed by key %s, which this board does not trust" % kid.hex())
    if algorithm != ES256:
        raise SignatureError("signed with algorithm %d, but the trusted key is ES256" % algorithm)
    if not (yield from p256.verifying(key, sha256(signed).digest(), signature)):
        raise SignatureError("the signature does not belong to this package")
