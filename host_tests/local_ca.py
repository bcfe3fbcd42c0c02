"""A certificate authority for one test run, its certificates as PEM files."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from twinslot.trust import certificates, keys


class LocalCA:
    """Writes ca.pem and, by `issue`, certificates with keys into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = keys.generate()
        self._certificate = certificates.authority(self._key, f"CA in {folder.name}"[:64])
        self.path = folder / "ca.pem"
        folder.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(certificates.pem(self._certificate))

    def issue(
        self, name: str, *hosts: str, begin: dt.datetime = certificates.BEGIN
    ) -> tuple[Path, Path]:
        """Make a certificate, with hosts a server's. Returns paths of it and of its key."""
        key = keys.generate()
        public = key.public_key()
        if hosts:
            certificate = certificates.server(
                self._certificate, self._key, hosts, public, begin=begin
            )
        else:
            certificate = certificates.client(
                self._certificate, self._key, name, public, begin=begin
            )
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(certificates.pem(certificate))
        paths[1].write_bytes(certificates.private_pem(key))
        paths[1].chmod(0o600)
        return paths
