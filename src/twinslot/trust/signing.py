"""Packages signed, and signatures of packages checked (ES256, RFC 9053 2.1)."""

from collections.abc import Sequence

from twinslot.formats import package
from twinslot.trust import keys


def build(
    components: Sequence[package.Content],
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
    payload = package.manifest(components, product, version, sequence, created, expires)
    protected = package.protected_header(keys.kid(key.public_key()))
    signature = keys.sign(key, package.signed_bytes(protected, payload))
    return package.assemble(components, protected, payload, signature)


def verify(head: package.Head, key: keys.PublicKey) -> None:
    """Check that this key signed the head.

    Raises PackageError for another key's package, SignatureError for a forged one.
    """
    if head.kid != keys.kid(key):
        raise package.PackageError(
            f"signed with key {head.kid.hex()}, not with {keys.kid(key).hex()}"
        )
    keys.verify(key, head.signed_bytes, head.signature)
