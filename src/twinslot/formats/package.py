"""The whole package: a signed head of 4096 bytes, then components on whole sectors.

Pure: bytes in, values or PackageError out. docs/package-format.md has the bytes.
"""

import hashlib
from collections.abc import Mapping, Sequence

from twinslot.errors import PackageError
from twinslot.formats.component import KINDS, Content, padded
from twinslot.formats.head import Head, read_head, write_record


def assemble(
    components: Sequence[Content], protected: bytes, payload: bytes, signature: bytes
) -> bytes:
    """Return the whole package. Raises PackageError when the head has too many bytes.

    payload: the manifest of these contents; signature: over `signed_bytes`.
    """
    head = write_record(protected, payload, signature)
    parts = (head, *(content.data for content in components))
    return b"".join(part.ljust(padded(len(part)), b"\xff") for part in parts)


def inspect(data: bytes, bases: Mapping[int, bytes] | None = None) -> Head:
    """Read a whole package: head, layout, padding and the digest of every component.

    bases: for deltas, the bytes that a component of this kind copies from. Of a delta without its
    base the chain of the stored blocks is checked, not the result. Raises PackageError. The
    signature is not checked: see trust.signing.
    """
    head = read_head(data)
    manifest = head.manifest
    if len(data) != manifest.package_size:
        raise PackageError(
            f"the manifest says {manifest.package_size} bytes, there are {len(data)}"
        )
    for component in manifest.components:
        name = KINDS[component.kind]
        if data[component.offset + component.length : component.end].strip(b"\xff"):
            raise PackageError(f"the {name} component is not padded with 0xFF")
        base = (bases or {}).get(component.kind)
        if component.base is not None and base is None:
            component.check_stored(data)
        elif hashlib.sha256(component.result(data, base)).digest() != component.sha256:
            raise PackageError(f"the {name} component does not have the SHA-256 of the manifest")
    return head
