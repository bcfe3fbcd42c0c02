"""PEM files as people have them: several blocks, comments, line ends and marks of Windows. Pure.

What cannot be used is named with its position, block and line (RFC 7468). Text outside of the
blocks is a comment. A board gets the clean form, `text`: UTF-8 without a mark, lines that end with
a line feed.
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from twinslot.errors import FleetError
from twinslot.text import TextError, decoded

PUBLIC_KEY, CERTIFICATE = "PUBLIC KEY", "CERTIFICATE"

_LABEL = re.compile(r"\s*-----(BEGIN|END) ([^-]+)-----\s*")
_Read = TypeVar("_Read")


class PemError(FleetError):
    """A file is no PEM, or a block of it cannot be used; the sentence has its position."""


@dataclass(frozen=True)
class Block:
    """One block. `number` from 1; `line` of its beginning, from 1; `der`: its bytes."""

    label: str
    number: int
    line: int
    der: bytes

    @property
    def position(self) -> str:
        """Where it stands in its file."""
        return f"block {self.number} (line {self.line})"


def text(data: bytes, name: str) -> str:
    """The text of a PEM file in clean form. name: of the file. Raises PemError."""
    try:
        return decoded(data, name)
    except TextError as error:
        raise PemError(f"{name} is no text: it must be PEM, and begin with -----BEGIN") from error


def blocks(data: bytes, name: str) -> list[Block]:
    """All blocks of a file, in its order. name: of the file.

    Raises PemError for a file without any, and for a block that is not whole.
    """
    found: list[Block] = []
    label, begun, body = "", 0, ""
    for number, line in enumerate(text(data, name).split("\n"), 1):
        match = _LABEL.fullmatch(line)
        position = f"{name}, block {len(found) + 1} (line {begun})"
        if match is None:
            body += line if begun else ""
        elif match[1] == "BEGIN":
            if begun:
                raise PemError(f"{position} has no END line before line {number}")
            label, begun, body = match[2], number, ""
        elif not begun:
            raise PemError(f"{name}, line {number}: an END line without its BEGIN line")
        elif match[2] != label:
            raise PemError(f"{position} begins as {label} and ends as {match[2]}")
        else:
            found.append(Block(label, len(found) + 1, begun, _der(body, position)))
            begun = 0
    if begun:
        raise PemError(f"{name}, block {len(found) + 1} (line {begun}) has no END line: cut short")
    if not found:
        raise PemError(f"{name} holds no PEM block: it must begin with -----BEGIN")
    return found


def public_keys(data: bytes, name: str) -> list[ec.EllipticCurvePublicKey]:
    """The P-256 public keys of a file, such as trusted_keys.pem.

    Raises PemError for a block that is anything else, and for a file without any.
    """
    return _all(data, name, PUBLIC_KEY, _p256)


def certificates(data: bytes, name: str) -> list[x509.Certificate]:
    """The certificates of a file, such as ca.pem, which may be a bundle of many.

    Raises PemError for a block that is anything else, and for a file without any.
    """
    return _all(data, name, CERTIFICATE, _certificate)


def anchors(data: bytes, name: str) -> bytes:
    """The certificates of a file as DER, one behind the other, as ssl's `cadata` takes them.

    OpenSSL itself skips the first one of a file that begins with a mark of Windows.
    Raises PemError.
    """
    return b"".join(block.der for block in blocks(data, name) if block.label == CERTIFICATE)


def _all(data: bytes, name: str, label: str, read: Callable[[bytes], _Read | str]) -> list[_Read]:
    found = []
    for block in blocks(data, name):
        made = read(block.der) if block.label == label else f"labelled {block.label}"
        if isinstance(made, str):
            wanted = "P-256 public key" if label == PUBLIC_KEY else "certificate"
            raise PemError(
                f"{name}, {block.position} is {made}, and no {wanted} that a board can use; remove "
                "or replace it"
            )
        found.append(made)
    return found


def _p256(der: bytes) -> ec.EllipticCurvePublicKey | str:
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return "damaged"
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return "a key of another kind, not ECDSA"
    if not isinstance(key.curve, ec.SECP256R1):
        return f"a key of another curve, {key.curve.name}"
    plain = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return key if plain == der else "a key in compressed form"


def _certificate(der: bytes) -> x509.Certificate | str:
    try:
        found = x509.load_der_x509_certificate(der)
        _ = found.public_key(), found.subject, found.issuer, found.extensions
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        return f"damaged ({' '.join(str(error).split())})"
    return found


def _der(body: str, position: str) -> bytes:
    if ":" in body:
        raise PemError(f"{position} has a header inside, as an encrypted key does: take it out")
    joined = "".join(body.split())
    try:
        return base64.b64decode(joined, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PemError(f"{position} is damaged: what stands in it is no base64") from error


def clean(data: bytes, name: str, check: Callable[[bytes, str], Sequence[object]]) -> bytes:
    """The file in the form that a board gets, checked by `public_keys` or `certificates`.

    Raises PemError.
    """
    check(data, name)
    return text(data, name).encode()
