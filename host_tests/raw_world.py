"""Signers of raw images, as AWS's customers make them, and a board that takes their images."""

from __future__ import annotations

import base64
import datetime as dt
from pathlib import Path
from typing import Any

from agent_bench import IMAGE, Bench
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sim import image

PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER
NAME = "signer.pem"
PATH = f"/certs/{NAME}"  # as AWS's examples write it
YEAR = dt.timedelta(days=365)
NOW = dt.datetime.now(dt.UTC)


class Signer:
    """A key and its self-signed certificate. field: the key of the job document."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
        self._key = key
        kind = "rsa" if isinstance(key, rsa.RSAPrivateKey) else "ecdsa"
        self.field = f"sig-sha256-{kind}"

    def certificate(
        self,
        encoding: serialization.Encoding = PEM,
        before: dt.datetime = NOW - YEAR,
        after: dt.datetime = NOW + 10 * YEAR,
    ) -> bytes:
        """A certificate for code signing, valid from `before` to `after`."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(before)
            .not_valid_after(after)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
            .sign(self._key, hashes.SHA256())
            .public_bytes(encoding)
        )

    def sign(self, data: bytes) -> bytes:
        """The signature, as `openssl dgst -sha256 -sign` makes it."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def describes(self, data: bytes) -> dict[str, Any]:
        """What a job document says of a signed file."""
        return {"certfile": PATH, self.field: base64.b64encode(self.sign(data)).decode()}


ECDSA = Signer(ec.generate_private_key(ec.SECP256R1()))
RSA = Signer(rsa.generate_private_key(65537, 2048))
SIGNERS = {"ecdsa": ECDSA, "rsa": RSA}


def firmware(version: str = "0.9.1", size: int = IMAGE, **changes: Any) -> bytes:
    """A raw image."""
    return image.firmware(version=version, size=size, **changes)


class RawBench(Bench):
    """A board that takes raw images: its application says 0.9.0, the one in ota_1 says 0.9.1."""

    def __init__(self, folder: Path, signer: Signer = ECDSA) -> None:
        super().__init__(folder)
        self.signer = signer
        self.versions = {0: "0.9.0", 1: "0.9.1"}
        self.settings: dict[str, Any] = {"raw_images": 1}
        certs = self.board.folder / "etc/ota/certs"
        certs.mkdir(parents=True, exist_ok=True)
        self.certificate = certs / NAME
        self.certificate.write_bytes(signer.certificate())

    def boot(self, callback: Any = None, **settings: Any) -> Any:
        return super().boot(callback, **self.settings, **settings)

    def add(self, job_id: str, data: bytes, **more: Any) -> None:
        """Queue a job for a raw image, signed unless `more` says otherwise."""
        self.service.add(job_id, data, **{**self.signer.describes(data), **more})
