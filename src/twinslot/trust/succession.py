"""Whether a set of keys may follow another one: the rules that a board holds a package to. Pure.

A board orders packages by the version of their set, then by sequence. So a package with a higher
set, signed by a root key, undoes every sequence that a thief has used up.
"""

from collections.abc import Iterable

from twinslot.errors import FleetError
from twinslot.formats.trust_set import RELEASE, REVOKED, ROOT, Entry, TrustSet


class SuccessionError(FleetError):
    """A board would refuse the set, or a package, because of the keys that it has."""


def of_files(publics: Iterable[bytes]) -> TrustSet:
    """The set of a board that was never given one: each of its trusted keys has both roles.

    publics: x || y of the keys in its trusted_keys.pem.
    """
    return TrustSet(0, tuple(Entry(public, RELEASE | ROOT) for public in publics))


def check(before: TrustSet, after: TrustSet, signer: bytes, records: Iterable[bytes]) -> None:
    """Check that a board with the set `before` takes a package that carries `after`.

    signer: id of the key that signs the package; records: ids of the keys that signed what the
    slot's trailer will name after the update, the package itself among them. Raises
    SuccessionError.
    """
    _check_role(before, signer, ROOT)
    if after.version == before.version:
        raise SuccessionError(f"boards have set {before.version} already")
    if after.version < before.version:
        raise SuccessionError(f"set {after.version} is older than set {before.version} of boards")
    for kid in sorted(before.revoked):
        entry = after.entry(kid)
        if entry is not None and entry.roles != REVOKED:
            raise SuccessionError(
                f"set {after.version} gives roles to key {kid.hex()}: once revoked, a key stays so"
            )
    for kid in records:
        if kid in after.revoked:
            raise SuccessionError(
                f"set {after.version} revokes key {kid.hex()}, which has signed a part of what "
                "would run: bring firmware and application, signed by another key"
            )


def check_plain(present: TrustSet, signer: bytes) -> None:
    """Check that a board with this set takes a package without one. Raises SuccessionError."""
    _check_role(present, signer, RELEASE)


def _check_role(present: TrustSet, kid: bytes, role: int) -> None:
    entry = present.entry(kid)
    if entry is None:
        raise SuccessionError(
            f"set {present.version} does not know key {kid.hex()}: send the packages with the sets "
            "in between first"
        )
    if not entry.roles & role:
        wanted = "root" if role == ROOT else "release"
        raise SuccessionError(
            f"key {kid.hex()} is {entry.words} in set {present.version}; this takes a {wanted} key"
        )
