"""Whether boards of this fleet take a package by the key that signed it, as far as a host knows."""

from collections.abc import Iterator

from twinslot.config import Config
from twinslot.errors import PackageError
from twinslot.formats.head import Head
from twinslot.formats.trust_set import RELEASE, TrustSet
from twinslot.keychain import Keychain, KeychainError
from twinslot.trust import keys, signing, succession


def judge(head: Head, config: Config) -> None:
    """Check that boards which have the sets before a package's would take it.

    Raises PackageError, SignatureError, SuccessionError, KeychainError.
    """
    chain = Keychain(config.folder)
    brought = head.manifest.trust
    if brought is None:
        before = present(config, chain)
        if not before.version:
            signing.verify(head, keys.read_public(config.public_key))
            return
        if before.entry(head.kid) is None:
            raise PackageError(
                f"signed with key {head.kid.hex()}, which is not in set {before.version} of keys"
            )
        succession.check_plain(before, head.kid)
    else:
        if brought not in chain.sets:
            raise KeychainError(
                f"the fleet has no such set {brought.version} of keys: `fleet keys pack` makes one"
            )
        before = set_before(config, chain, brought.version)
        succession.check(before, brought, head.kid, [head.kid])
    for entry in before.entries:
        if entry.kid == head.kid:
            signing.verify(head, keys.of_public_bytes(entry.public))


def present(config: Config, chain: Keychain) -> TrustSet:
    """The newest set; of a fleet without one, the set that its boards' files stand for."""
    return chain.present or _of_files(config)


def set_before(config: Config, chain: Keychain, version: int) -> TrustSet:
    """The set that boards have before they take one of this version."""
    return chain.sets[version - 2] if version > 1 else _of_files(config)


def remarks(config: Config, public: keys.PublicKey) -> Iterator[str]:
    """Sentences for a person who signs a package with this key. Raises KeychainError."""
    found = Keychain(config.folder).present
    if found is None:
        yield ONE_KEY
        return
    entry = found.entry(keys.kid(public))
    if entry is None or not entry.roles & RELEASE:
        yield (
            f"key {keys.kid(public).hex()} is {'unknown' if entry is None else entry.words} in "
            f"set {found.version}: boards with that set refuse what it signs"
        )


ONE_KEY = (
    "this fleet has one key: once it is lost or stolen, boards are reached by cable alone; "
    "`fleet keys` adds a root key over the air (docs/keys.md)"
)


def _of_files(config: Config) -> TrustSet:
    own = keys.public_bytes(keys.read_public(config.public_key))
    return succession.of_files([own])
