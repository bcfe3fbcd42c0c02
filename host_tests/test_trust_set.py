"""Sets of keys are read strictly, and follow one another only as the format page says."""

import base64
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinslot.errors import PackageError
from twinslot.formats import cbor
from twinslot.formats.component import application_content
from twinslot.formats.head import read_head
from twinslot.formats.trust_set import (
    BOARD_FILE,
    MOST_KEYS,
    RELEASE,
    ROOT,
    SHOWN,
    Entry,
    TrustSet,
    board_file,
    described_set,
    make_set,
    read_set,
)
from twinslot.trust import keys, signing, succession
from twinslot.trust.succession import SuccessionError

VECTORS = json.loads((Path(__file__).parent / "vectors" / "trust-sets.json").read_text())
PUBLIC = [bytes.fromhex(text) for text in VECTORS["public"]]
WORDS = {
    "role": "this takes a",
    "unknown": "does not know key",
    "same": "already",
    "older": "is older than",
    "revoked": "once revoked",
    "record": "bring firmware and application",
}


def numbered(described: list[Any] | None) -> TrustSet | None:
    """A set from a vector: its version, and the roles of keys by their number."""
    if described is None:
        return None
    version, roles = described
    return TrustSet(version, tuple(Entry(PUBLIC[int(n)], role) for n, role in roles.items()))


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector[0])
def test_a_set_that_keeps_the_rules_is_read(vector: list[Any]) -> None:
    _, encoded, version, entries, digest = vector
    found = read_set(cbor.loads(bytes.fromhex(encoded)))
    assert found.version == version
    assert [[entry.kid.hex(), entry.roles] for entry in found.entries] == entries
    assert found.digest.hex() == digest


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector[0])
def test_a_set_that_breaks_a_rule_is_refused_by_key(vector: list[str]) -> None:
    with pytest.raises(PackageError, match=r"set of keys|key of the set") as error:
        read_set(cbor2.loads(bytes.fromhex(vector[1])))
    if vector[0] == "no public key":
        assert "public key (2)" in str(error.value)


@pytest.mark.parametrize("row", VECTORS["admission"], ids=lambda row: row["name"])
def test_a_package_is_admitted_by_its_set_and_the_roles_of_its_signer(row: dict[str, Any]) -> None:
    present, after = numbered(row["present"]), numbered(row["after"])
    assert present is not None
    signer = Entry(PUBLIC[row["signer"]], 0).kid
    kept = [] if row["kept"] is None else [Entry(PUBLIC[row["kept"]], 0).kid]

    def judge() -> None:
        if after is None:
            succession.check_plain(present, signer)
        else:
            succession.check(present, after, signer, [signer, *kept])

    if not row["verdict"]:
        judge()
        return
    with pytest.raises(SuccessionError, match=WORDS[row["verdict"]]):
        judge()


def test_a_refusal_names_the_roles_that_a_key_has_and_the_one_that_it_lacks() -> None:
    found = make_set(1, [Entry(PUBLIC[0], RELEASE), Entry(PUBLIC[1], ROOT), Entry(PUBLIC[2], 0)])
    release, root, revoked = found.entries
    for entry, has in ((root, "root"), (revoked, "revoked")):
        with pytest.raises(SuccessionError, match=f"is {has} in set 1; this takes a release key"):
            succession.check_plain(found, entry.kid)
    after = make_set(2, [Entry(PUBLIC[0], RELEASE | ROOT)])
    for entry, has in ((release, "release"), (revoked, "revoked")):
        with pytest.raises(SuccessionError, match=f"is {has} in set 1; this takes a root key"):
            succession.check(found, after, entry.kid, [])
    assert after.entries[0].words == "release and root"


def test_the_file_of_a_set_is_what_a_board_keeps_with_nothing_accepted_yet() -> None:
    found = make_set(7, [Entry(PUBLIC[0], RELEASE), Entry(PUBLIC[1], ROOT)])
    written = board_file(found)
    assert written.endswith(b"}\n")
    joined = b"\1" + PUBLIC[0] + b"\2" + PUBLIC[1]
    assert json.loads(written) == {
        "v": 1,
        "set": 7,
        "keys": base64.b64encode(joined).decode(),
        "digest": found.digest.hex()[:16],
        "floor": 0,
        "created": 0,
    }
    assert (SHOWN, BOARD_FILE) == (8, "trust.json")
    keyring = Path(__file__).parent.parent / "firmware/ota/keyring.py"
    assert f'COPY = etc("{BOARD_FILE}")' in keyring.read_text(encoding="utf-8")


def test_every_verdict_of_the_vectors_is_one_of_the_rules() -> None:
    assert {row["verdict"] for row in VECTORS["admission"]} == {"", *WORDS}


def test_a_board_without_a_set_has_version_0_and_each_of_its_keys_may_do_all() -> None:
    found = succession.of_files(PUBLIC[:2])
    assert found.version == 0
    assert [entry.roles for entry in found.entries] == [RELEASE | ROOT] * 2


def test_the_id_of_a_key_is_that_of_packages() -> None:
    for public in PUBLIC:
        key = keys.of_public_bytes(public)
        assert keys.public_bytes(key) == public
        assert Entry(public, RELEASE).kid == keys.kid(key)


@given(
    st.integers(1, 2**31 - 1),
    st.lists(st.sampled_from([0, 1, 2, 3]), min_size=1, max_size=MOST_KEYS),
)
def test_a_set_is_written_as_it_is_read(version: int, roles: list[int]) -> None:
    entries = [Entry(PUBLIC[0], RELEASE | ROOT)]
    entries += [Entry(public, role) for public, role in zip(PUBLIC[1:], roles[1:], strict=False)]
    made = make_set(version, entries)
    assert read_set(cbor.loads(cbor.dumps(described_set(made)))) == made


def test_a_package_brings_its_set_and_says_so() -> None:
    root = keys.generate()
    brought = make_set(1, [Entry(PUBLIC[0], RELEASE), Entry(PUBLIC[1], ROOT)])
    data = signing.build(
        [application_content(bytes(1536))], root, "demo-board", "1", 7, 1, trust=brought
    )
    head = read_head(data)
    signing.verify(head, root.public_key())
    assert head.manifest.trust == brought


def test_eight_keys_and_two_components_fit_the_head() -> None:
    full = make_set(1, [Entry(public, RELEASE | ROOT) for public in PUBLIC[:MOST_KEYS]])
    content = application_content(bytes(1536), [100, "a" * 60, 1, "b" * 60, 2, "c" * 60, 3])
    data = signing.build([content], keys.generate(), "p" * 32, "v" * 32, 7, 1, trust=full)
    assert len(read_head(data).record) < 2000


def test_a_package_with_a_set_does_not_expire() -> None:
    brought = make_set(1, [Entry(PUBLIC[0], RELEASE | ROOT)])
    with pytest.raises(PackageError, match="does not expire"):
        signing.build(
            [application_content(bytes(512))],
            keys.generate(),
            *("p", "1", 1, 1),
            expires=5,
            trust=brought,
        )
