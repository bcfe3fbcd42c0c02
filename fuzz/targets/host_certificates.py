"""The host's readers of requests, certificates, revocation lists and keys."""

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from twinslot.trust import certificates, keys

ALLOWED = (certificates.CertificateError, keys.KeyFileError)
COVERS = (
    "src/twinslot/trust/certificates.py: requested_key read_certificate read_revocations"
    " issued_by name_of check_thing",
    "src/twinslot/trust/keys.py: private_of public_of _is_p256",
)
_KEY = ec.derive_private_key(5, ec.SECP256R1())  # no secret: whoever reads this has it
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "board-1")])
_CSR = x509.CertificateSigningRequestBuilder().subject_name(_NAME).sign(_KEY, hashes.SHA256())
_P384 = ec.derive_private_key(5, ec.SECP384R1())
_OTHERS = tuple(
    x509.CertificateSigningRequestBuilder()
    .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    .sign(key, hashes.SHA256())
    .public_bytes(serialization.Encoding.DER)
    for name, key in (("board-2", _KEY), ("board-1", _P384))
)
_CA = certificates.authority(_KEY, "authority")
_LEAF = certificates.client(_CA, _KEY, "board-1", _KEY.public_key())
_NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_CRL = certificates.revocations(_CA, _KEY, [5], None, _NOW, 9)
_DER, _PEM = serialization.Encoding.DER, serialization.Encoding.PEM
SEEDS = (
    _CSR.public_bytes(_DER),
    _CSR.public_bytes(_PEM),
    _CSR.public_bytes(_DER).replace(b"\x02\x01\x00", b"\x02\x01\x02", 1),
    _LEAF.public_bytes(_DER),
    _LEAF.public_bytes(_PEM),
    _LEAF.public_bytes(_DER).replace(b"\x02\x01\x02", b"\x02\x01\x05", 1),
    _CRL.public_bytes(_DER),
    keys.private_pem(_KEY),
    keys.private_pem(_KEY, "words"),
    keys.private_pem(_KEY, "other words"),
    keys.public_pem(_KEY.public_key()),
    *_OTHERS,
    keys.private_pem(_P384),
    keys.public_pem(_P384.public_key()),
)
_LABELS = ("CERTIFICATE", "X509 CRL", "PUBLIC KEY", "PRIVATE KEY", "EC PRIVATE KEY")


def run(data: bytes) -> None:
    """Read the input as each of these, in PEM, in DER, and as DER that is wrapped here."""
    import base64

    lines = base64.encodebytes(data)
    variants = [data]
    for label in _LABELS:
        name = label.encode()
        variants.append(b"-----BEGIN %s-----\n%s-----END %s-----\n" % (name, lines, name))
    for variant in variants:
        for read in (_request, _certificate, _crl, _public, _private, _sealed):
            try:
                read(variant)
            except ALLOWED:
                continue
    _request(data)


def _request(data: bytes) -> None:
    certificates.requested_key(data, "board-1")


def _certificate(data: bytes) -> None:
    found = certificates.read_certificate(data, "it")
    certificates.issued_by(found, _CA)
    certificates.check_thing(certificates.name_of(found))
    str(found.not_valid_after_utc) + str(found.serial_number)


def _crl(data: bytes) -> None:
    found = certificates.read_revocations(data, "it")
    certificates.revocations(_CA, _KEY, [7], found, _NOW, 9)
    found.is_signature_valid(_KEY.public_key())
    found.get_revoked_certificate_by_serial_number(5)


def _public(data: bytes) -> None:
    keys.kid(keys.public_of(data, Path("it")))


def _private(data: bytes) -> None:
    keys.kid(keys.private_of(data, Path("it")).public_key())


def _sealed(data: bytes) -> None:
    keys.kid(keys.private_of(data, Path("it"), lambda _: "words").public_key())
