"""Signing keys: P-256 pairs in PEM files, their key id, raw ECDSA signatures.

Private keys are PKCS #8 PEM, encrypted or not, in files that only their owner can read; public keys
are SubjectPublicKeyInfo PEM (RFC 5480), which is what a board trusts in /etc/trusted_keys.pem.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from twinslot import disk
from twinslot.errors import FleetError
from twinslot.formats.head import KID_LENGTH, SIGNATURE_LENGTH
from twinslot.formats.trust_set import PUBLIC_LENGTH
from twinslot.trust import pem

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey
AskPassphrase = Callable[[Path], str]
"""Gives the passphrase of the private key in a file."""

_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"  # PKCS #8 (RFC 5958, RFC 7468)
_ECDSA_SHA256 = ec.ECDSA(hashes.SHA256())


class KeyFileError(FleetError):
    """A key file cannot be read, written or used."""


class SignatureError(FleetError):
    """A signature does not belong to these bytes and this key."""


def generate() -> PrivateKey:
    """A new P-256 private key."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: PrivateKey, passphrase: str = "") -> bytes:
    """The private key as PKCS #8 PEM, encrypted unless the passphrase is empty."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption(),
    )


def public_pem(key: PublicKey) -> bytes:
    """The public key as SubjectPublicKeyInfo PEM, the form that boards trust."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def spki(key: PublicKey) -> bytes:
    """The public key as SubjectPublicKeyInfo DER."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def kid(key: PublicKey) -> bytes:
    """The key id of a package: the first 8 bytes of SHA-256 over the SubjectPublicKeyInfo."""
    return hashlib.sha256(spki(key)).digest()[:KID_LENGTH]


def public_bytes(key: PublicKey) -> bytes:
    """The public key as x || y, 64 bytes."""
    return spki(key)[-PUBLIC_LENGTH:]


def of_public_bytes(public: bytes) -> PublicKey:
    """The public key with these x || y, a point of the curve."""
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public)


def write_pair(key: PrivateKey, private: Path, public: Path, passphrase: str = "") -> None:
    """Write a private key (mode 0600) and its public half to new files, both or none.

    passphrase: with which the private key is encrypted, "" for none. Raises TakenError when a file
    exists (keys are never overwritten), FileError.
    """
    disk.create(
        {
            private: (private_pem(key, passphrase), disk.SECRET),
            public: (public_pem(key.public_key()), disk.PUBLIC),
        }
    )


def write_private(key: PrivateKey, path: Path) -> None:
    """Write a private key to a new file of mode 0600. Raises as `write_pair`."""
    disk.create({path: (private_pem(key), disk.SECRET)})


def read_private(path: Path, ask: AskPassphrase | None = None) -> PrivateKey:
    """Read a P-256 private key in PEM. ask: for its passphrase, where it is encrypted.

    Raises KeyFileError.
    """
    return private_of(_read(path), path, ask)


def private_of(data: bytes, path: Path, ask: AskPassphrase | None = None) -> PrivateKey:
    """The P-256 private key in PEM that `path` holds. As `read_private`."""
    try:
        plain = pem.text(data, str(path)).encode()
    except pem.PemError as error:
        raise KeyFileError(f"{path} holds no private key in PEM: {error}") from error
    passphrase = None
    if _ENCRYPTED in plain:
        if ask is None:
            raise KeyFileError(
                f"{path} is encrypted with a passphrase, and nobody is asked for it here"
            )
        passphrase = ask(path).encode()
    try:
        key = serialization.load_pem_private_key(plain, password=passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if passphrase is not None:
            raise KeyFileError(f"{path} does not open with this passphrase") from error
        raise KeyFileError(f"{path} holds no unencrypted private key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not _is_p256(key.curve):
        raise KeyFileError(f"{path} is not a P-256 key; make one with `fleet keygen`")
    return key


def read_public(path: Path) -> PublicKey:
    """Read a P-256 public key in PEM. Raises KeyFileError."""
    return public_of(_read(path), path)


def public_of(data: bytes, path: Path) -> PublicKey:
    """The P-256 public key in PEM that `path` holds. Raises KeyFileError."""
    try:
        found = pem.public_keys(data, str(path))
    except pem.PemError as error:
        raise KeyFileError(f"{path} holds no public key in PEM: {error}") from error
    if len(found) > 1:
        raise KeyFileError(
            f"{path} holds {len(found)} public keys; it must hold this fleet's alone"
        )
    return found[0]


def sign(key: PrivateKey, data: bytes) -> bytes:
    """ECDSA with SHA-256 as 64 bytes r || s (ES256, RFC 9053 2.1)."""
    r, s = decode_dss_signature(key.sign(data, _ECDSA_SHA256))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify(key: PublicKey, data: bytes, signature: bytes) -> None:
    """Check a 64-byte r || s signature. Raises SignatureError when it does not hold."""
    if len(signature) != SIGNATURE_LENGTH:
        raise SignatureError(
            f"an ES256 signature has {SIGNATURE_LENGTH} bytes, not {len(signature)}"
        )
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), data, _ECDSA_SHA256)
    except InvalidSignature as error:
        raise SignatureError(f"the signature does not hold under key {kid(key).hex()}") from error


def _is_p256(curve: ec.EllipticCurve) -> bool:
    return isinstance(curve, ec.SECP256R1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"cannot read the key {path}: {error.strerror}") from error
