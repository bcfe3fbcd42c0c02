"""Packages signed, and signatures of packages checked (ES256, RFC 9053 2.1)."""

from collections.abc import Sequence

from twinslot.errors import PackageError
from twinslot.formats import package
from twinslot.formats.component import Content
from twinslot.formats.head import Head, protected_header, signed_bytes
from twinslot.formats.manifest import write_manifest
from twinslot.trust import keys


def build(
    components: Sequence[Content],
    key: keys.PrivateKey,
    product: str,
    version: str,
    sequence: int,
    created: int,
    expires: int | None = None,
) -> bytes:
    """Build and sign a package.

    `created` and `expires` are Unix seconds. Raises PackageError when a value breaks the format.
    """
    payload = write_manifest(components, product, version, sequence, created, expires)
    protected = protected_header(keys.kid(key.public_key()))
    signature = keys.sign(key, signed_bytes(protected, payload))
    return package.assemble(components, protected, payload, signature)


def verify(head: Head, key: keys.PublicKey) -> None:
    """Check that this key signed the head.

    Raises PackageError for another key's package, SignatureError for a forged one.
    """
    if head.kid != keys.kid(key):
        raise PackageError(f"signed with key {head.kid.hex()}, not with {keys.kid(key).hex()}")
    keys.verify(key, head.signed_bytes, head.signature)
