"""Sets of keys: who may sign for this board, and which set may take the place of another one. Pure.

A package may carry a set (manifest key 8). docs/package-format.md has the rules, `keyring` the
flash. A key has roles: RELEASE signs packages, ROOT those that carry a set, none of them is revoked
for good. RETIRED is the board's own: the set in force no longer lists the key, but a slot's trailer
still needs it.
"""

from binascii import a2b_base64, b2a_base64
from collections import namedtuple
from hashlib import sha256

from . import errors
from .compat import const
from .trust import ES256, P256_SPKI

RELEASE = const(1)
ROOT = const(2)
RETIRED = const(4)

# The trust of a board. version: of the set, 0 for the keys of trusted_keys.pem; keys: {kid: (x ||
# y, roles)}; digest: the first 8 bytes of the set's, in hex, and at version 0 what `load_keys` says
# of blocks that are no keys; floor: highest sequence accepted; created: newest one accepted (Unix
# seconds); seal: hex of the seal of the trailer that was accepted last, see `slots`.
Trust = namedtuple("Trust", ("version", "keys", "digest", "floor", "created", "seal"))

_MOST = const(8)
_MAX_VERSION = const(0x7FFFFFFF)
_ENTRY = const(65)  # bytes of a stored key: its roles, x || y
# The curve P-256 (FIPS 186-5); `p256`, which has it too, is too large to be here beside this.
_P = (1 << 256) - (1 << 224) + (1 << 192) + (1 << 96) - 1
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


def kid_of(public):
    """Return the id of a key (8 bytes). public: x || y."""
    return sha256(P256_SPKI + public).digest()[:8]


def of_files(keys, seal):
    """Return the Trust of a board without a set: each key has both roles.

    keys: from `trust.load_keys`, what it says of other blocks included; seal: see Trust.
    """
    both = {kid: (keys[kid], RELEASE | ROOT) for kid in keys if kid}
    return Trust(0, both, keys.get(None, ""), 0, 0, seal)


def parse(item):
    """Return (version, [(roles, x || y), ...]) of a manifest's set. Raises PackageError."""
    version, maps = _values(item, (1, 2))
    if not _is_number(version, 1, _MAX_VERSION):
        raise errors.PackageError("the set of keys has no version from 1 on")
    if not isinstance(maps, list) or not 1 <= len(maps) <= _MOST:
        raise errors.PackageError("the set of keys needs 1 to %d keys" % _MOST)
    every = 0
    entries: "list" = []
    for one in maps:
        algorithm, public, roles = _values(one, (1, 2, 3))
        if algorithm != ES256 or not _is_number(roles, 0, RELEASE | ROOT):
            raise errors.PackageError("a key of the set has another algorithm, or other roles")
        if not isinstance(public, bytes) or len(public) != 64 or not _on_curve(public):
            raise errors.PackageError("a key of the set is no point of P-256")
        if public in [known for _, known in entries]:
            raise errors.PackageError("the set has a key twice")
        entries.append((roles, public))
        every |= roles
    if every != RELEASE | ROOT:
        raise errors.PackageError("the set needs a release key and a root key")
    return version, entries


def judge(trust, item, signer, records):
    """Decide whether a package that carries the set `item` may be installed here.

    trust: of this board; signer: kid of the package's key; records: kids of those that signed what
    the slot's trailer will hold. Raises PackageError, UnknownKeyError, SameVersionError,
    DowngradeError.
    """
    version, entries = parse(item)
    check_role(trust, signer, ROOT)
    if version == trust.version:
        raise errors.SameVersionError("this board has set %d of keys already" % version)
    if version < trust.version:
        raise errors.DowngradeError(
            "set %d of keys is older than set %d of this board" % (version, trust.version)
        )
    after = following(trust, item, ())
    for roles, public in entries:
        if roles and not after.keys[kid_of(public)][1]:
            raise errors.UnknownKeyError(
                "set %d gives roles to key %s, which is revoked here for good"
                % (version, kid_of(public).hex())
            )
    for kid in records:
        if kid in after.keys and not after.keys[kid][1]:
            raise errors.UnknownKeyError(
                "set %d revokes key %s, which signed a part of what would run: bring the firmware "
                "and the application too, signed by another key" % (version, kid.hex())
            )


def check_role(trust, kid, role):
    """Check that a key may sign such a package. role: ROOT for one with a set, else RELEASE.

    Raises UnknownKeyError.
    """
    roles = roles_of(trust, kid)
    if not roles & role:
        name = (
            "retired" if roles & RETIRED else ("release", "root")[roles - 1] if roles else "revoked"
        )
        raise errors.UnknownKeyError(
            "signed by key %s, which is a %s key in set %d of this board; this package takes a %s "
            "key" % (kid.hex(), name, trust.version, "root" if role == ROOT else "release")
        )


def roles_of(trust, kid):
    """Return the roles of a key. Raises UnknownKeyError where the board does not know it."""
    if kid not in trust.keys:
        if not trust.version:
            raise errors.UnknownKeyError(
                "signed by key %s, which this board does not trust%s" % (kid.hex(), trust.digest)
            )
        raise errors.UnknownKeyError(
            "this board has set %d, which does not know key %s: send the packages with the sets in "
            "between" % (trust.version, kid.hex())
        )
    return trust.keys[kid][1]


def believed(trust):
    """Return {kid: x || y} of the keys that verify what a slot's trailer holds."""
    keys = {kid: trust.keys[kid][0] for kid in trust.keys if trust.keys[kid][1]}
    if not trust.version and trust.digest:
        keys[None] = trust.digest
    return keys


def raises_floor(trust, kid, item):
    """Say whether the running record raises the floor. kid: of its key; item: its set, or None."""
    roles = trust.keys[kid][1] if kid in trust.keys else 0
    return bool(roles & RELEASE) or (item is not None and parse(item)[0] >= trust.version)


def following(trust, item, needed, floor=0, created=0, seal=""):
    """Return the Trust of a board that takes the set `item`.

    needed: kids of the records in both slots' trailers: their keys stay, as retired. What was
    revoked stays so. floor, created, seal: of the package that brought it, and of its trailer.
    """
    version, entries = parse(item)
    joined = [version.to_bytes(4, "big")]
    keys = {}
    for roles, public in entries:
        kid = kid_of(public)
        joined.append(bytes((roles,)) + public)
        keys[kid] = public, roles if trust.keys.get(kid, (0, 1))[1] else 0
    left = [kid for kid in trust.keys if kid not in keys]
    for kid in [k for k in left if k in needed] + [k for k in left if not trust.keys[k][1]]:
        if len(keys) < 2 * _MOST:
            public, roles = trust.keys[kid]
            keys[kid] = public, RETIRED if roles else 0
    digest = sha256(b"".join(joined)).digest()[:8].hex()
    return Trust(version, keys, digest, floor, created, seal)


def stored(trust):
    """Return the Trust as NVS and its copy keep it: a dict for JSON."""
    joined = b"".join([bytes((roles,)) + public for public, roles in trust.keys.values()])
    text = b2a_base64(joined).decode().strip()
    return {
        "v": 1,
        "set": trust.version,
        "keys": text,
        "digest": trust.digest,
        "floor": trust.floor,
        "created": trust.created,
        "seal": trust.seal,
    }


def of_stored(fields):
    """Return the Trust that `stored` wrote, None for anything else."""
    try:
        data = a2b_base64(fields["keys"].encode())
        numbers = [fields[name] for name in ("set", "floor", "created")]
        keys = {}
        for at in range(0, len(data), _ENTRY):
            public = data[at + 1 : at + _ENTRY]
            keys[kid_of(public)] = public, data[at]
        texts = fields["digest"], fields.get("seal", "")
        whole = data and len(data) % _ENTRY == 0 and all(_is_number(n, 0, 1 << 62) for n in numbers)
        whole = whole and all(isinstance(text, str) for text in texts)
        if fields["v"] != 1 or not whole or not numbers[0]:
            return None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return Trust(numbers[0], keys, texts[0], numbers[1], numbers[2], texts[1])


def _values(item, known):
    """Return the values of a map at the keys `known`, None for those that it lacks."""
    if not isinstance(item, dict):
        raise errors.PackageError("the set of keys, or a key in it, is not a map")
    for key in item:
        if key not in known and (not isinstance(key, int) or key < 64):
            raise errors.PackageError("the set of keys has the unknown key %s" % key)
    return [item.get(key) for key in known]


def _is_number(value, lowest, highest):
    return isinstance(value, int) and lowest <= value <= highest


def _on_curve(public):
    x = int.from_bytes(public[:32], "big")
    y = int.from_bytes(public[32:], "big")
    return x < _P and y < _P and (y * y - (x * x - 3) * x - _B) % _P == 0
