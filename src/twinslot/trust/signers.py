"""The road of a signature: a private key in a file, or a program that holds the key itself.

A program is a smart card's, a key management service's, or a script that carries the bytes to a
machine without a network. It gets the bytes to sign on its standard input, and answers on its
standard output with the ECDSA signature over their SHA-256: r || s (64 bytes) or DER, as it is or
in base64. Nothing of the answer is believed: the signature is checked with the public key.
"""

import base64
import binascii
import contextlib
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from twinslot.errors import FleetError
from twinslot.formats.head import SIGNATURE_LENGTH
from twinslot.trust import keys

_MOST = 400  # bytes of an answer: a DER signature in base64 has 100


class SignerError(FleetError):
    """The program that signs could not be started, failed, or gave no signature of its key."""


class Signer(Protocol):
    """Signs packages with one key."""

    def public_key(self) -> keys.PublicKey:
        """The public half of the key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The ES256 signature over `data`, 64 bytes r || s."""
        ...


@dataclass(frozen=True)
class KeySigner:
    """Signs with a private key that is at hand."""

    key: keys.PrivateKey

    def public_key(self) -> keys.PublicKey:
        """The public half of the key."""
        return self.key.public_key()

    def sign(self, data: bytes) -> bytes:
        """The ES256 signature over `data`."""
        return keys.sign(self.key, data)


@dataclass(frozen=True)
class CommandSigner:
    """Signs by a program. command: as in a shell, but no shell runs; public: of its key."""

    command: str
    public: keys.PublicKey

    def public_key(self) -> keys.PublicKey:
        """The public half of the program's key."""
        return self.public

    def sign(self, data: bytes) -> bytes:
        """The ES256 signature over `data`. Raises SignerError."""
        answer = self._answer(data)
        for signature in _readings(answer):
            try:
                keys.verify(self.public, data, signature)
            except keys.SignatureError:
                continue
            return signature
        raise SignerError(
            f"{self.command!r} gave {len(answer)} bytes that are no signature by key "
            f"{keys.kid(self.public).hex()}: it must sign its input (ECDSA, P-256, SHA-256) with "
            "that key, and print r || s or DER"
        )

    def _answer(self, data: bytes) -> bytes:
        """Return the program's output; its errors go where ours go."""
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise SignerError(f"{self.command!r} is no command: {error}") from error
        if not words:
            raise SignerError("the command that signs is empty")
        try:
            done = subprocess.run(words, input=data, stdout=subprocess.PIPE, check=False)
        except OSError as error:
            raise SignerError(f"cannot start {words[0]}: {error.strerror}") from error
        if done.returncode:
            raise SignerError(f"{self.command!r} failed: it exited with {done.returncode}")
        return done.stdout


def _readings(answer: bytes) -> Iterator[bytes]:
    """The signatures, r || s, that an answer may mean."""
    if len(answer) > _MOST:
        return
    forms = [answer]
    with contextlib.suppress(binascii.Error):  # where it is no base64
        forms.append(base64.b64decode(b"".join(answer.split()), validate=True))
    for form in forms:
        if len(form) == SIGNATURE_LENGTH:
            yield form
        try:
            r, s = decode_dss_signature(form)
            yield r.to_bytes(32, "big") + s.to_bytes(32, "big")
        except (ValueError, OverflowError):
            continue  # it is no DER
