"""Packages signed, and signatures of packages checked (ES256, RFC 9053 2.1)."""

from collections.abc import Sequence

from twinslot.errors import PackageError
from twinslot.formats import package
from twinslot.formats.component import Content
from twinslot.formats.head import Head, protected_header, signed_bytes
from twinslot.formats.manifest import write_manifest
from twinslot.formats.trust_set import TrustSet
from twinslot.trust import keys
from twinslot.trust.signers import KeySigner, Signer


def build(
    components: Sequence[Content],
    key: keys.PrivateKey,
    product: str,
    version: str,
    sequence: int,
    created: int,
    expires: int | None = None,
    trust: TrustSet | None = None,
) -> bytes:
    """Build a package, and sign it with a private key. As `build_by`."""
    return build_by(KeySigner(key), components, product, version, sequence, created, expires, trust)


def build_by(
    signer: Signer,
    components: Sequence[Content],
    product: str,
    version: str,
    sequence: int,
    created: int,
    expires: int | None = None,
    trust: TrustSet | None = None,
) -> bytes:
    """Build a package, and let a signer sign it.

    `created` and `expires` are Unix seconds; `trust`: the set of keys that it brings. Raises
    PackageError when a value breaks the format, and what the signer raises.
    """
    payload = write_manifest(components, product, version, sequence, created, expires, trust)
    protected = protected_header(keys.kid(signer.public_key()))
    signature = signer.sign(signed_bytes(protected, payload))
    return package.assemble(components, protected, payload, signature)


def verify(head: Head, key: keys.PublicKey) -> None:
    """Check that this key signed the head.

    Raises PackageError for another key's package, SignatureError for a forged one.
    """
    if head.kid != keys.kid(key):
        raise PackageError(f"signed with key {head.kid.hex()}, not with {keys.kid(key).hex()}")
    keys.verify(key, head.signed_bytes, head.signature)
