"""The fleet's certificate authority, a folder: its key, and who holds which certificate.

    ca/ca.key            its private key, made once and never overwritten
    ca/ca.pem            its certificate, for boards, broker and service
    ca/crl.pem           what is revoked
    ca/issued/NAME.pem   the newest certificate of a thing or of the service

A name has at most one certificate that is valid: the one before is revoked first.
"""

import datetime as dt
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from twinslot import disk
from twinslot.errors import FleetError
from twinslot.trust import certificates, keys, pem

CRL_DAYS = 3650
"""How long a revocation list is valid; a broker refuses everybody when it has ended."""


class AuthorityError(FleetError):
    """The authority is missing, damaged, or refuses what it is asked for."""


class Authority:
    """The authority in `folder`. What only reads does without the private key."""

    def __init__(self, folder: Path) -> None:
        """Open it. Raises AuthorityError where there is none, FileError."""
        self.folder = folder
        self.key_path = folder / "ca.key"
        self.path = folder / "ca.pem"
        self.crl_path = folder / "crl.pem"
        if not self.path.exists():
            raise AuthorityError(f"no authority in {folder}: `fleet provision` makes one")
        self.certificate = read_certificate(self.path)

    @classmethod
    def open(cls, folder: Path, name: str) -> "Authority":
        """Open the authority in `folder`; make it, called `name`, where there is none.

        ca.pem is written last: where it is, the rest is. Raises AuthorityError, FileError,
        KeyFileError.
        """
        with disk.locked(folder / "lock"):
            if not (folder / "ca.pem").exists():
                key_path = folder / "ca.key"
                if not key_path.exists():
                    keys.write_private(keys.generate(), key_path)
                key = keys.read_private(key_path)
                certificate = certificates.authority(key, name)
                crl = certificates.revocations(certificate, key, [], None, _now(), CRL_DAYS)
                disk.replace(folder / "crl.pem", certificates.pem(crl))
                disk.replace(folder / "ca.pem", certificates.pem(certificate))
        return cls(folder)

    @property
    def key(self) -> keys.PrivateKey:
        """The private key. Raises KeyFileError, or AuthorityError when it is another's."""
        key = keys.read_private(self.key_path)
        if key.public_key() != self.certificate.public_key():
            raise AuthorityError(f"{self.key_path} is not the key of {self.path}")
        return key

    @property
    def crl(self) -> x509.CertificateRevocationList:
        """The list of what is revoked. Raises AuthorityError, FileError."""
        data = disk.read(self.crl_path, "the revocation list")
        try:
            crl = certificates.read_revocations(data, str(self.crl_path))
        except certificates.CertificateError as error:
            raise AuthorityError(str(error)) from error
        public = self.certificate.public_key()
        if not isinstance(public, keys.PublicKey) or not crl.is_signature_valid(public):
            raise AuthorityError(f"{self.crl_path} is not signed by {self.path}")
        return crl

    def issued(self, name: str) -> x509.Certificate | None:
        """The newest certificate of `name`. Raises AuthorityError, FileError."""
        path = self._issued_path(name)
        return read_certificate(path) if path.exists() else None

    def all_issued(self) -> Iterator[tuple[str, x509.Certificate]]:
        """Every name, with its newest certificate."""
        for path in sorted((self.folder / "issued").glob("*.pem")):
            yield path.stem, read_certificate(path)

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        """Say whether the list names this certificate. Raises AuthorityError, FileError."""
        number = certificate.serial_number
        return self.crl.get_revoked_certificate_by_serial_number(number) is not None

    def issue(
        self, name: str, key: keys.PublicKey, end: dt.datetime = certificates.END
    ) -> x509.Certificate:
        """A certificate for a name that holds none that is valid. Raises AuthorityError."""
        with disk.locked(self.folder / "lock"):
            before = self.issued(name)
            if before is not None and not self.is_revoked(before):
                raise AuthorityError(f"{name} holds a certificate already; revoke it first")
            certificate = certificates.client(self.certificate, self.key, name, key, end)
            disk.replace(self._issued_path(name), certificates.pem(certificate))
        return certificate

    @contextmanager
    def issuing(self, name: str, key: keys.PublicKey) -> Iterator[x509.Certificate]:
        """A certificate as `issue` makes it, in place of the one before, which is revoked.

        An exception, such as Ctrl-C, takes both back.
        """
        with disk.unless_done([self._issued_path(name), self.crl_path]):
            if self.issued(name) is not None:
                self.revoke(name)
            yield self.issue(name, key)

    def issue_registered(self, key: keys.PublicKey) -> x509.Certificate:
        """A certificate that is no thing's own; a registry says which things it speaks for."""
        number = x509.random_serial_number()
        name = certificates.registered_name(number)
        return certificates.client(self.certificate, self.key, name, key, number=number)

    def issue_server(self, hosts: list[str], key: keys.PublicKey) -> x509.Certificate:
        """A certificate for the broker at these names and addresses. Raises CertificateError."""
        return certificates.server(self.certificate, self.key, hosts, key)

    def revoke(self, name: str) -> None:
        """Put the certificate of `name` on the list; again is no harm.

        Raises AuthorityError when it never had one.
        """
        with disk.locked(self.folder / "lock"):
            certificate = self.issued(name)
            if certificate is None:
                raise AuthorityError(f"{name} has no certificate of {self.path}")
            self._write_crl([certificate.serial_number])

    def revise(self, refused: Iterable[int], lifted: Iterable[int] = ()) -> None:
        """Let the list name these numbers, and some others no more. Written if that changes it."""
        with disk.locked(self.folder / "lock"):
            known = {entry.serial_number for entry in self.crl}
            more, less = set(refused) - known, set(lifted) & known
            if more or less:
                self._write_crl(sorted(more), sorted(less))

    def renew_crl(self) -> None:
        """Write the list again, so that it is valid for CRL_DAYS from now on."""
        with disk.locked(self.folder / "lock"):
            self._write_crl([])

    def _write_crl(self, serials: list[int], lifted: Sequence[int] = ()) -> None:
        crl = certificates.revocations(
            self.certificate, self.key, serials, self.crl, _now(), CRL_DAYS, lifted
        )
        disk.replace(self.crl_path, certificates.pem(crl))

    def _issued_path(self, name: str) -> Path:
        if name != certificates.SERVICE:
            certificates.check_thing(name)
        return self.folder / "issued" / f"{name}.pem"


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate in PEM. Raises AuthorityError, FileError."""
    try:
        return certificates.read_certificate(disk.read(path, "the certificate"), str(path))
    except certificates.CertificateError as error:
        raise AuthorityError(str(error)) from error


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """A client's TLS that trusts the certificates of a PEM file; None: those of the system.

    Raises FileError, PemError, and ssl.SSLError for certificates that OpenSSL does not read.
    """
    if ca is None:
        return ssl.create_default_context()
    return ssl.create_default_context(cadata=pem.anchors(disk.read(ca, "the authority"), str(ca)))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
