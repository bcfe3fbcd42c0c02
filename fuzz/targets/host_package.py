"""The host's reader of a whole package."""

import contextlib
import hashlib
from dataclasses import replace

import _samples

from twinslot.errors import PackageError
from twinslot.formats import component, head, package
from twinslot.formats.chips import SECTOR

ALLOWED = (PackageError,)
COVERS = (
    "src/twinslot/formats/package.py: inspect",
    "src/twinslot/formats/component.py: Component",
)
_OLD = b"print('line')\n" * 300
SEEDS = (
    _samples.package(),
    _samples.record(_samples.manifest()),
    b"x",
    _samples.smaller(),
    _samples.smaller(_OLD),
)


def run(data: bytes) -> None:
    """Read a package as it is, one whose components are there, and one that is whole."""
    for whole in (_filled(data, b"\xff"), _filled(data, b"\0")):
        try:
            package.inspect(whole)
        except PackageError:
            continue
    found = package.inspect(data)
    for part in found.manifest.components:
        with contextlib.suppress(PackageError):
            part.content(data)
        with contextlib.suppress(PackageError):
            part.result(data, _OLD)
        part.check_stored(data)
        try:
            replace(part, encoding=7).result(data)
        except PackageError:
            continue
        raise AssertionError("an encoding that nobody knows was decoded")
    raw = [part for part in found.manifest.components if part.encoding == component.RAW]
    assert all(part.of(data) == part.result(data) for part in raw)


def _filled(data: bytes, padding: bytes) -> bytes:
    """The head of the data, and components of zeros with the digests that the manifest has."""
    try:
        found = head.read_head(data[:SECTOR].ljust(SECTOR, b"\xff"))
    except PackageError:
        return data
    if found.manifest.package_size > 1 << 20:
        return data
    kinds = found.manifest.components
    contents = [
        component.Content(
            part.kind,
            bytes(part.length),
            part.encoding,
            part.size,
            hashlib.sha256(bytes(part.length)).digest(),
            part.chip,
            first=part.first,
            base=part.base,
        )
        for part in kinds
    ]
    payload = package_payload(contents, found)
    record = head.write_record(found.protected, payload, found.signature)
    parts = (record.ljust(SECTOR, b"\xff"), *(part.data for part in contents))
    return b"".join(part.ljust(component.padded(len(part)), padding) for part in parts)


def package_payload(contents: list[component.Content], found: head.Head) -> bytes:
    """The manifest of these contents under the names of a head."""
    from twinslot.formats.manifest import write_manifest

    old = found.manifest
    return write_manifest(contents, old.product, old.version, old.sequence, old.created)
