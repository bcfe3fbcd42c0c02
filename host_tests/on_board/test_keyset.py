"""The board reads a set of keys strictly, and lets it follow another one by the rules alone."""

from binascii import unhexlify

import vectors
from expect import raises
from ota import keyset, p256, package
from ota.errors import (
    DowngradeError,
    PackageError,
    SameVersionError,
    UnknownKeyError,
)

VECTORS = vectors.load("trust-sets.json")
PUBLIC = [unhexlify(text) for text in VECTORS["public"]]
KIDS = [keyset.kid_of(public) for public in PUBLIC]
ERRORS = {
    "role": UnknownKeyError,
    "unknown": UnknownKeyError,
    "same": SameVersionError,
    "older": DowngradeError,
    "revoked": UnknownKeyError,
    "record": UnknownKeyError,
}
WORDS = {
    "role": "takes a",
    "unknown": "does not know key",
    "same": "already",
    "older": "older than",
    "revoked": "revoked here for good",
    "record": "bring the firmware",
}
# A sentence about a set that breaks a rule -> a part of the names of such sets.
SENTENCES = (
    ("the set of keys has no version from 1 on", "version"),
    ("the set of keys needs 1 to 8 keys", "no keys|empty array|nine keys|keys are"),
    ("the set of keys, or a key in it, is not a map", "is no map|an array|a number"),
    ("a key of the set has another algorithm, or other roles", "alg|roles|role"),
    ("a key of the set is no point of P-256", "public key|bytes|point"),
    ("the set has a key twice", "twice"),
    ("the set needs a release key and a root key", "no root|no release|all revoked"),
    ("the set of keys has the unknown key", "unknown key"),
)
RELEASE, ROOT = 1, 2


def item(version, roles):
    """Return the map of a set. roles: {number of a key: its roles}."""
    maps = [{1: -7, 2: PUBLIC[int(n)], 3: roles[n]} for n in roles]
    return {1: version, 2: maps}


def trust(version, roles, floor=0, created=0):
    """Return a keyset.Trust. roles: {number of a key: its roles}."""
    keys = {KIDS[int(n)]: (PUBLIC[int(n)], roles[n]) for n in roles}
    return keyset.Trust(version, keys, "d", floor, created, "")


def roles_of(found):
    """Return {number of a key: its roles}."""
    return {KIDS.index(kid): found.keys[kid][1] for kid in found.keys}


def test_a_set_that_keeps_the_rules_is_read():
    for name, encoded, version, entries, digest in VECTORS["good"]:
        read = package.loads(unhexlify(encoded))
        found, keys = keyset.parse(read)
        assert found == version, name
        assert [[keyset.kid_of(public).hex(), roles] for roles, public in keys] == entries, name
        after = keyset.following(trust(0, {}), read, ())
        assert after[2:] == (digest[:16], 0, 0, ""), name
        later = keyset.following(trust(0, {}), read, (), 7, 9, "5e")
        assert later[2:] == (digest[:16], 7, 9, "5e"), name


def test_a_set_that_breaks_a_rule_is_refused():
    for name, encoded in VECTORS["bad"]:
        read = package.loads(unhexlify(encoded))
        said = str(raises(PackageError, keyset.parse, read))
        parts = [row[1] for row in SENTENCES if said.startswith(row[0])]
        assert parts, (name, said)
        assert any(part in name for part in parts[0].split("|")), (name, said)


def test_a_package_is_admitted_by_its_set_and_the_roles_of_its_signer():
    for row in VECTORS["admission"]:
        present, signer = trust(*row["present"]), KIDS[row["signer"]]
        records = [signer] + ([] if row["kept"] is None else [KIDS[row["kept"]]])
        if row["after"] is None:
            call = keyset.check_role, present, signer, RELEASE
        else:
            call = keyset.judge, present, item(*row["after"]), signer, records
        if row["verdict"]:
            said = str(raises(ERRORS[row["verdict"]], *call))
            assert WORDS[row["verdict"]] in said, (row["name"], said)
        else:
            call[0](*call[1:])


def test_a_refusal_says_which_sets_are_missing():
    error = raises(UnknownKeyError, keyset.roles_of, trust(1, {0: 1, 1: 2}), KIDS[3])
    assert str(error) == (
        "this board has set 1, which does not know key %s: send the packages with the sets in "
        "between" % KIDS[3].hex()
    )
    error = raises(SameVersionError, keyset.judge, trust(2, {1: 2}), item(2, {1: 3}), KIDS[1], ())
    assert str(error) == "this board has set 2 of keys already"


def test_a_board_without_a_set_has_version_0_and_each_key_may_do_all():
    found = keyset.of_files({KIDS[0]: PUBLIC[0], None: "; bad"}, "5e")
    assert (found.version, roles_of(found)) == (0, {0: RELEASE | ROOT})
    assert found[2:] == ("; bad", 0, 0, "5e")
    assert keyset.believed(found) == {KIDS[0]: PUBLIC[0], None: "; bad"}
    assert keyset.believed(keyset.of_files({KIDS[0]: PUBLIC[0]}, None)) == {KIDS[0]: PUBLIC[0]}
    for role in (RELEASE, ROOT):
        keyset.check_role(found, KIDS[0], role)
    assert "does not trust" in str(raises(UnknownKeyError, keyset.roles_of, found, KIDS[1]))


def test_a_key_that_is_no_longer_listed_is_retired_while_a_trailer_needs_it():
    before = trust(1, {0: 1, 1: 2, 2: 1})
    after = keyset.following(before, item(2, {1: 2, 3: 1}), [KIDS[0]])
    assert roles_of(after) == {1: 2, 3: 1, 0: keyset.RETIRED}
    assert set(keyset.believed(after)) == {KIDS[1], KIDS[3], KIDS[0]}
    for role in (RELEASE, ROOT):
        said = str(raises(UnknownKeyError, keyset.check_role, after, KIDS[0], role))
        assert "a retired key in set 2" in said
        assert "takes a %s key" % ("root" if role == ROOT else "release") in said
    said = str(raises(UnknownKeyError, keyset.check_role, after, KIDS[3], ROOT))
    assert "a release key in set 2" in said
    said = str(raises(UnknownKeyError, keyset.check_role, after, KIDS[1], RELEASE))
    assert "a root key in set 2" in said
    assert roles_of(keyset.following(after, item(3, {1: 2, 3: 1}), ())) == {1: 2, 3: 1}


def test_a_revoked_key_verifies_nothing_and_stays_revoked_though_no_set_lists_it():
    after = keyset.following(trust(1, {0: 1, 1: 2}), item(2, {0: 0, 1: 2, 2: 1}), [KIDS[0]])
    assert roles_of(after) == {0: 0, 1: 2, 2: 1}
    assert KIDS[0] not in keyset.believed(after)
    later = keyset.following(after, item(3, {1: 2, 2: 1}), [KIDS[0]])
    assert roles_of(later) == {0: 0, 1: 2, 2: 1}
    raises(UnknownKeyError, keyset.judge, later, item(4, {0: 1, 1: 2, 2: 1}), KIDS[1], ())


def test_at_most_eight_keys_stay_beside_the_set_and_the_needed_ones_come_first():
    before = keyset.Trust(5, {}, "", 0, 0, "")
    for number in range(12):
        before.keys[bytes([number]) * 8] = bytes(64), 0 if number else 1
    after = keyset.following(before, item(6, dict.fromkeys(range(8), 3)), [bytes(8)])
    assert len(after.keys) == 16
    assert after.keys[bytes(8)] == (bytes(64), keyset.RETIRED)


def test_the_running_record_raises_the_floor_by_a_release_key_or_its_own_set():
    present = trust(2, {0: 1, 1: 2, 2: 0, 3: keyset.RETIRED})
    assert keyset.raises_floor(present, KIDS[0], None)
    for kid in (KIDS[1], KIDS[2], KIDS[3], KIDS[4]):
        assert not keyset.raises_floor(present, kid, None)
    assert keyset.raises_floor(present, KIDS[1], item(2, {0: 1, 1: 2}))
    assert not keyset.raises_floor(present, KIDS[1], item(1, {0: 1, 1: 2}))


def test_trust_is_stored_as_it_is_read_and_fits_a_blob_of_nvs():
    import json

    for roles in ({0: 3}, {0: 1, 1: 2, 2: 0, 3: 4}, dict.fromkeys(range(9), 3)):
        found = keyset.Trust(*trust(7, roles, 5, 1795000000)[:5], "5e")
        assert keyset.stored(found)["seal"] == "5e"
        assert keyset.of_stored(json.loads(json.dumps(keyset.stored(found)))) == found
    most = {bytes([n]) * 8: (bytes([n]) * 64, 3) for n in range(16)}
    full = keyset.Trust(0x7FFFFFFF, most, "0" * 16, 0x7FFFFFFF, 4102444800, "f" * 64)
    assert len(json.dumps(keyset.stored(full))) < 2048
    before = keyset.stored(trust(1, {0: 3}))
    del before["seal"]  # of an agent that knew none
    assert keyset.of_stored(before) == trust(1, {0: 3})


def test_what_is_no_stored_trust_counts_as_none():
    good = keyset.stored(trust(1, {0: 3}))
    assert keyset.of_stored(good)
    for name, value in (
        ("v", 2), ("v", None), ("set", 0), ("set", -1), ("set", "1"), ("keys", ""), ("keys", 5),
        ("keys", good["keys"][:-4]), ("keys", "*"), ("digest", None), ("floor", "9"),
        ("floor", -1), ("created", None), ("seal", 5),
    ):  # fmt: skip
        fields = dict(good)
        fields[name] = value
        assert keyset.of_stored(fields) is None, (name, value)
    for other in (None, [], 1, "text", {}, {"v": 1, "floor": 7, "created": 9}):
        assert keyset.of_stored(other) is None, other


def test_the_curve_is_that_of_the_arithmetic():
    assert (keyset._P, keyset._B) == (p256.P, p256.B)
