"""The signed record of what a board is flashed with, for the trailer of its first slot.

Without one the board runs version 0.0.0, sequence 0, and takes any package that is meant for it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twinslot.board.download import Download
from twinslot.board.files import settings_of
from twinslot.errors import FleetError
from twinslot.formats import frozen, package
from twinslot.formats.component import FIRMWARE, firmware_content
from twinslot.formats.head import Head, read_head
from twinslot.formats.trailer import write_trailer
from twinslot.formats.trust_set import TrustSet
from twinslot.trust import keys, pem, signing


class TrailerError(FleetError):
    """The signed record does not belong to the application, or the board would not believe it."""


@dataclass(frozen=True)
class Signed:
    """A trailer of 4096 bytes and what it says."""

    data: bytes
    head: Head

    def __str__(self) -> str:
        """The record as a line for people."""
        manifest = self.head.manifest
        return (
            f"version {manifest.version}, sequence {manifest.sequence}, "
            f"product {manifest.product}, signed with key {self.head.kid.hex()}"
        )


def of_package(data: bytes, download: Download, directory: str) -> Signed:
    """Take the record of a package that holds the very application of the download.

    directory: in which the application's files lie, "" for `/`. Raises PackageError for a damaged
    package, TrailerError when it holds something else.
    """
    head = package.inspect(data)
    components = head.manifest.components
    if [component.kind for component in components] != [FIRMWARE]:
        raise TrailerError("the package holds more than firmware; take one of firmware alone")
    firmware, digest = components[0], hashlib.sha256(download.application.data).digest()
    if firmware.sha256 != digest:
        raise TrailerError(
            f"the package holds another application: SHA-256 {firmware.sha256.hex()[:16]}... of "
            f"{firmware.size} bytes, the download's is {digest.hex()[:16]}... of "
            f"{len(download.application.data)}"
        )
    if firmware.chip != download.chip.chip_id:
        raise TrailerError(f"the package is for chip_id {firmware.chip}, not {download.chip.name}")
    return Signed(write_trailer([head.record], directory), head)


def sign(
    download: Download,
    key: keys.PrivateKey,
    *,
    product: str,
    version: str,
    sequence: int,
    created: int,
    directory: str,
) -> Signed:
    """Sign a record for the download's application. created: Unix seconds; directory: as above.

    The files in the directory are not part of it: `fleet deploy` may change them. Raises
    PackageError.
    """
    data = download.application.data
    names = frozen.modules(frozen.names(data))
    content = firmware_content(data, download.chip.chip_id, names)
    head = read_head(signing.build([content], key, product, version, sequence, created))
    return Signed(write_trailer([head.record], directory), head)


def check_settings(
    signed: Signed, settings: Mapping[str, bytes], present: TrustSet | None = None
) -> None:
    """Check that the board of these settings (files below /etc) would believe the record.

    present: the set of keys among them, None without one. Raises TrailerError when its product is
    another one or none of its trusted keys signed it, and PemError for keys that no board can use.
    """
    product = settings_of(settings["/etc/settings.json"], Path("/etc")).get("product")
    if product != signed.head.manifest.product:
        raise TrailerError(
            f"settings.json says product {product!r}, the signed record "
            f"{signed.head.manifest.product!r}"
        )
    listed = present and present.entry(signed.head.kid)
    if listed and listed.roles:
        signing.verify(signed.head, keys.of_public_bytes(listed.public))
        return
    for key in pem.public_keys(settings["/etc/trusted_keys.pem"], "trusted_keys.pem"):
        if keys.kid(key) == signed.head.kid:
            signing.verify(signed.head, key)
            return
    raise TrailerError(
        f"the record is signed with key {signed.head.kid.hex()}, which is not in the settings' "
        "trusted_keys.pem"
    )
