"""X.509 as this fleet uses it: P-256 throughout, one authority, things, the broker, the service.

Pure: keys and values in, certificates out; no files. Everything is valid from 2000-01-01, because
that is where a board's clock starts and mbedTLS looks at the dates, and at most until the end of
2049, the last moment that RFC 5280 (4.1.2.5) writes as UTCTime.
"""

import datetime as dt
import ipaddress
import re
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twinslot.errors import FleetError
from twinslot.trust import pem as pem_of
from twinslot.trust.keys import PrivateKey, PublicKey

BEGIN = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2049, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
SERVICE = "service.fleet"
"""Common name of the service. The dot keeps it apart: no thing's name may hold one."""
MAX_NAME = 64
"""Characters of a common name (RFC 5280, ub-common-name); a thing is as long at most."""

_REGISTERED = ".certificate"
_THING = re.compile(rf"[A-Za-z0-9:_-]{{1,{MAX_NAME}}}")
_DAY = dt.timedelta(days=1)
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)
"""All that cryptography raises for bytes that it cannot read, or that it does not support."""


class CertificateError(FleetError):
    """A name, a certificate, a request or a revocation list cannot be used."""


def check_thing(name: str) -> str:
    """Return a thing's name that is one level of a topic, a file's name and a common name.

    Raises CertificateError.
    """
    if not _THING.fullmatch(name):
        raise CertificateError(
            f"{name!r} is no name of a thing: 1 to {MAX_NAME} letters, digits, and : _ -"
        )
    return name


def authority(key: PrivateKey, name: str) -> x509.Certificate:
    """A self-signed certificate that may sign those of things, broker and service, no further."""
    usage = _usage(key_cert_sign=True, crl_sign=True)
    subject = _subject(name)
    builder = _builder(subject, subject, key.public_key(), END)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())


def client(
    ca: x509.Certificate,
    ca_key: PrivateKey,
    name: str,
    key: PublicKey,
    end: dt.datetime = END,
    begin: dt.datetime = BEGIN,
    number: int | None = None,
) -> x509.Certificate:
    """A certificate with which `name` logs in at the broker. number: None for a new one."""
    builder = _leaf(ca, name, key, end, ExtendedKeyUsageOID.CLIENT_AUTH, begin, number)
    return builder.sign(ca_key, hashes.SHA256())


def server(
    ca: x509.Certificate,
    ca_key: PrivateKey,
    hosts: Sequence[str],
    key: PublicKey,
    end: dt.datetime = END,
    begin: dt.datetime = BEGIN,
) -> x509.Certificate:
    """The broker's certificate for these names and addresses; the first is its common name.

    An address stands there as a DNS name, too: mbedTLS before 3.5 (MicroPython 1.22 and 1.23)
    compares what it was asked for with DNS names alone.
    """
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}", host):
                raise CertificateError(f"{host!r} is no host name and no address") from None
        names.append(x509.DNSName(host))
    builder = _leaf(ca, hosts[0][:MAX_NAME], key, end, ExtendedKeyUsageOID.SERVER_AUTH, begin)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def revocations(
    ca: x509.Certificate,
    ca_key: PrivateKey,
    serials: Sequence[int],
    before: x509.CertificateRevocationList | None,
    now: dt.datetime,
    days: int,
    lifted: Sequence[int] = (),
) -> x509.CertificateRevocationList:
    """The list of what is revoked, valid for `days`, in place of `before`, without `lifted`.

    OpenSSL takes, of several lists of one authority, the one that was issued last, by the second.
    A list is therefore at least a second younger than the one before it, and counts as issued a
    day ago, so that no list lies in the future.
    """
    known = {} if before is None else {entry.serial_number: entry for entry in before}
    issued, number = now.replace(microsecond=0) - _DAY, 1
    if before is not None:
        issued = max(issued, before.last_update_utc + dt.timedelta(seconds=1))
        number += before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(issued)
        .next_update(now + days * _DAY)
        .add_extension(_authority_key(ca), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in known.values():
        if entry.serial_number not in lifted:
            builder = builder.add_revoked_certificate(entry)
    for serial in serials:
        if serial not in known:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(ca_key, hashes.SHA256())


def requested_key(data: bytes, thing: str) -> PublicKey:
    """The key of a certificate signing request (PKCS #10, PEM or DER) for `thing`.

    Who sent it proves by its own signature that the private key is there. Nothing else of the
    request is taken over. Raises CertificateError.
    """
    key, common, names = _request(data)
    if common != [thing] or names != common:
        raise CertificateError(f"the request's subject is {names}, not the common name {thing!r}")
    return key


def key_of_request(data: bytes) -> PublicKey:
    """The key of a signing request, whatever its subject is. Raises CertificateError."""
    return _request(data)[0]


def registered_name(number: int) -> str:
    """The common name of a certificate that is no thing's own: no thing's name holds a dot."""
    return f"{number:040x}{_REGISTERED}"


def is_registered(name: str) -> bool:
    """Say whether a common name is one of `registered_name`."""
    return name.endswith(_REGISTERED)


def _request(data: bytes) -> tuple[PublicKey, list[str], list[str]]:
    """The key of a request that its holder has signed, common names, all names of the subject."""
    try:
        pem = b"-----BEGIN" in data
        request = x509.load_pem_x509_csr(data) if pem else x509.load_der_x509_csr(data)
        key = request.public_key()
        names = [str(name.value) for name in request.subject]
        common = [str(name.value) for name in request.subject.get_attributes_for_oid(_CN)]
        signed = request.is_signature_valid
    except _UNREADABLE as error:
        raise CertificateError(f"this is no certificate signing request: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise CertificateError("the request's key is not P-256")
    if not signed:
        raise CertificateError("the request is not signed by the key that it holds")
    return key, common, names


def checked_request(data: bytes, thing: str) -> bytes:
    """The same request in PEM, if `requested_key` takes it. Raises CertificateError."""
    requested_key(data, thing)
    if b"-----BEGIN" in data:
        return data
    return x509.load_der_x509_csr(data).public_bytes(serialization.Encoding.PEM)


def request(key: PrivateKey, thing: str) -> bytes:
    """A certificate signing request (PKCS #10, PEM) for `thing` by a key that is here."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(thing))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def of_der(data: bytes) -> x509.Certificate:
    """Read a certificate in DER. Raises CertificateError."""
    try:
        return x509.load_der_x509_certificate(data)
    except _UNREADABLE as error:
        raise CertificateError(f"this is no certificate: {error}") from error


def read_certificate(data: bytes, name: str) -> x509.Certificate:
    """Read a certificate in PEM, with the parts of it that this fleet looks at.

    name: of the file, for the sentence of a CertificateError.
    """
    try:
        found = x509.load_pem_x509_certificate(pem_of.text(data, name).encode())
        _ = found.subject, found.issuer, found.extensions, found.not_valid_after_utc
        _ = found.public_key(), found.signature_hash_algorithm
    except (pem_of.PemError, *_UNREADABLE) as error:
        raise CertificateError(f"{name} holds no certificate in PEM: {error}") from error
    return found


def read_revocations(data: bytes, name: str) -> x509.CertificateRevocationList:
    """Read a revocation list in PEM, as `revocations` writes them; `name` as above.

    Raises CertificateError.
    """
    try:
        found = x509.load_pem_x509_crl(data)
        _ = found.extensions.get_extension_for_class(x509.CRLNumber)
        _ = found.issuer, found.last_update_utc, found.next_update_utc
        _ = [(entry.serial_number, entry.revocation_date_utc, entry.extensions) for entry in found]
    except _UNREADABLE as error:
        raise CertificateError(f"{name} holds no revocation list: {error}") from error
    return found


def issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Say whether the authority signed this certificate; dates and revocation aside."""
    try:
        certificate.verify_directly_issued_by(ca)
    except _UNREADABLE:
        return False
    return True


def name_of(certificate: x509.Certificate) -> str:
    """The common name, "" where there is not exactly one."""
    found = certificate.subject.get_attributes_for_oid(_CN)
    return str(found[0].value) if len(found) == 1 else ""


def private_pem(key: PrivateKey) -> bytes:
    """The key as unencrypted SEC 1 PEM (RFC 5915), which every mbedTLS reads."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def pem(item: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """A certificate or a revocation list in PEM."""
    return item.public_bytes(serialization.Encoding.PEM)


_CN = NameOID.COMMON_NAME


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(_CN, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: PublicKey,
    end: dt.datetime,
    begin: dt.datetime = BEGIN,
    number: int | None = None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number() if number is None else number)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _leaf(
    ca: x509.Certificate,
    name: str,
    key: PublicKey,
    end: dt.datetime,
    purpose: x509.ObjectIdentifier,
    begin: dt.datetime = BEGIN,
    number: int | None = None,
) -> x509.CertificateBuilder:
    return (
        _builder(_subject(name), ca.subject, key, end, begin, number)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(_authority_key(ca), critical=False)
    )


def _authority_key(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _usage(**wanted: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
        " key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names.split()})
