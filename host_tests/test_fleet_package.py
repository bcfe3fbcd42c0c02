"""`fleet` writes packages as the format page says, and reads nothing else."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from twinslot import disk
from twinslot.errors import PackageError
from twinslot.formats import cbor, component, package
from twinslot.formats.component import application_content, firmware_content
from twinslot.formats.head import ES256, PACKAGE_MAGIC, read_head, read_record
from twinslot.formats.manifest import MAX_SEQUENCE
from twinslot.formats.trailer import read_trailer, write_trailer
from twinslot.trust import keys, signing

VECTOR = json.loads((Path(__file__).parent / "vectors" / "package-es256.json").read_text())
FIRMWARE = bytes((7 * i + 3) & 255 for i in range(5000))
APPLICATION = bytes((11 * i + 5) & 255 for i in range(1536))
KEY = ec.derive_private_key(int(VECTOR["private_key_hex"], 16), ec.SECP256R1())
STRANGER = keys.generate()
HEX = bytes.fromhex


def worked_example() -> bytes:
    contents = [firmware_content(FIRMWARE), application_content(APPLICATION)]
    return signing.build(contents, KEY, "demo-board", "1.1.0", 7, 1_795_000_000)


def manifest(**changes: Any) -> dict[int, Any]:
    fields = {
        "k" + str(key): value for key, value in cbor2.loads(HEX(VECTOR["manifest_hex"])).items()
    }
    fields.update(changes)
    return {int(key[1:]): value for key, value in fields.items() if value is not None}


def head_of(payload: bytes, *, key: keys.PrivateKey = KEY, protected: bytes | None = None) -> bytes:
    """A head with any payload, signed as it should be."""
    if protected is None:
        protected = cbor.dumps({1: ES256, 4: keys.kid(key.public_key())})
    signature = keys.sign(key, cbor.dumps(["Signature1", protected, b"", payload]))
    return framed(b"\xd2" + cbor.dumps([protected, {}, payload, signature]))


def framed(cose: bytes) -> bytes:
    return (PACKAGE_MAGIC + len(cose).to_bytes(4, "big") + cose).ljust(4096, b"\xff")


def refused(data: bytes, *words: str) -> None:
    with pytest.raises(PackageError) as caught:
        read_head(data)
    for word in words:
        assert word in str(caught.value)


def test_the_worked_example_is_reproduced_except_for_the_signature() -> None:
    built = package.inspect(worked_example())
    assert built.manifest_bytes == HEX(VECTOR["manifest_hex"])
    assert built.protected == HEX(VECTOR["protected_hex"])
    assert built.signed_bytes == HEX(VECTOR["signed_bytes_hex"])
    assert built.identity.hex() == VECTOR["identity_sha256"]
    assert len(built.record) - 8 == VECTOR["cose_length"]
    with_its_signature = built.record[:-64] + HEX(VECTOR["signature_hex"])
    assert with_its_signature[8:] == HEX(VECTOR["cose_hex"])
    whole = with_its_signature.ljust(4096, b"\xff") + worked_example()[4096:]
    assert hashlib.sha256(whole[:4096]).hexdigest() == VECTOR["head_sha256"]
    assert len(whole) == VECTOR["package_size"]
    assert hashlib.sha256(whole).hexdigest() == VECTOR["package_sha256"]


def test_the_worked_example_is_read_and_its_signature_verified() -> None:
    head = read_head(framed(HEX(VECTOR["cose_hex"])))
    signing.verify(head, KEY.public_key())
    assert keys.spki(KEY.public_key()).hex() == VECTOR["spki_hex"]
    assert head.kid.hex() == keys.kid(KEY.public_key()).hex() == VECTOR["kid_hex"]
    assert (head.manifest.product, head.manifest.version) == ("demo-board", "1.1.0")
    assert (head.manifest.sequence, head.manifest.expires) == (7, None)
    firmware, application = head.manifest.components
    assert (firmware.offset, firmware.length, firmware.chip) == (4096, 5000, 0)
    assert (application.offset, application.length, application.chip) == (12288, 1536, None)


def test_the_trailer_of_the_worked_example_is_reproduced() -> None:
    record = PACKAGE_MAGIC + VECTOR["cose_length"].to_bytes(4, "big") + HEX(VECTOR["cose_hex"])
    built = write_trailer([record], VECTOR["trailer_directory"])
    assert len(built) == 4096
    assert built[-32:].hex() == VECTOR["trailer_sha256_field"]
    (head,), directory = read_trailer(built)
    assert head.record == record
    assert directory == "app_1"


def test_a_trailer_keeps_two_records_newest_first_and_takes_whole_packages() -> None:
    old = worked_example()
    new = signing.build([firmware_content(FIRMWARE)], KEY, "demo-board", "1.2.0", 8, 1)
    heads, directory = read_trailer(write_trailer([new, old]))
    assert [head.manifest.sequence for head in heads] == [8, 7]
    assert directory == ""


@pytest.mark.parametrize("directory", ["app_10000", "größe", "a\0b"])
def test_a_trailer_refuses_a_directory_that_does_not_fit(directory: str) -> None:
    with pytest.raises(PackageError, match=r"directory '.+': at most 8 ASCII characters"):
        write_trailer([worked_example()], directory)


def test_a_trailer_holds_one_record_or_two_and_has_4096_bytes() -> None:
    record = read_head(worked_example()).record
    for records in ([], [record] * 3):
        with pytest.raises(PackageError, match=f"one or two records, not {len(records)}"):
            write_trailer(records)
    whole = write_trailer([record], "app_0")
    for data in (whole[:-1], whole + b"\0", b""):
        with pytest.raises(PackageError, match=f"has 4096 bytes, these are {len(data)}"):
            read_trailer(data)


def test_the_first_byte_of_a_records_length_counts() -> None:
    data = bytearray(worked_example())
    data[4] = 1
    with pytest.raises(PackageError, match="allowed are 1 to"):
        read_head(bytes(data))


@pytest.mark.parametrize("name", [b"app\0_0", b"\xc3\xa4pp"])
def test_a_trailer_whose_directory_is_no_plain_name_is_refused(name: bytes) -> None:
    body = write_trailer([worked_example()])[:4056] + name.ljust(8, b"\0")
    with pytest.raises(PackageError, match="names no directory"):
        read_trailer(body + hashlib.sha256(body).digest())


def test_a_trailer_is_padded_with_ff_between_its_records_and_its_directory() -> None:
    whole = write_trailer([worked_example(), worked_example()], "app_0")
    length = 2 * len(read_head(worked_example()).record)
    for at in (length, 4096 - 32 - 9):
        body = bytearray(whole[:-32])
        body[at] = 0
        with pytest.raises(PackageError, match="trailer is not padded"):
            read_trailer(bytes(body) + hashlib.sha256(body).digest())


def test_frozen_names_and_room_are_keys_that_older_boards_ignore() -> None:
    firmware = firmware_content(FIRMWARE, frozen={"b.py", "a.py"})
    application = replace(application_content(APPLICATION), room=(3, "main.py", 700))
    built = signing.build([firmware, application], KEY, "demo-board", "1", 1, 1)
    first, second = cbor2.loads(package.inspect(built).manifest_bytes)[7]
    assert (first[64], second[65]) == (["a.py", "b.py"], [3, "main.py", 700])
    assert not {64, 65} & (set(cbor2.loads(package.inspect(worked_example()).manifest_bytes)[7][0]))


def test_a_head_has_up_to_2000_bytes_of_cose() -> None:
    def built(more: int) -> bytes:
        content = replace(firmware_content(FIRMWARE), frozen=("m" * 1000, "n" * more))
        return signing.build([content], KEY, "demo-board", "1", 1, 1)

    spare = 2000 - int.from_bytes(built(300)[4:8], "big")
    largest = built(300 + spare)
    assert largest[4:8] == (2000).to_bytes(4, "big")
    assert package.inspect(largest).manifest.sequence == 1
    with pytest.raises(PackageError, match="head has 2001 bytes, more than 2000"):
        built(301 + spare)
    longer = largest[:4] + (2001).to_bytes(4, "big") + largest[8:]
    refused(longer, "has 2001 bytes; allowed are 1 to 2000")
    refused(longer[:4] + bytes(4) + longer[8:], "has 0 bytes; allowed are 1 to 2000")


def test_a_record_that_is_cut_short_says_what_is_there() -> None:
    record = read_head(worked_example()).record
    assert read_record(record).record == record
    with pytest.raises(PackageError) as caught:
        read_record(record[:-1])
    announced = len(record) - 8
    assert (
        str(caught.value)
        == f"cut short: {announced} bytes of COSE announced, {announced - 1} there"
    )


def test_frozen_names_are_noted_up_to_700_bytes() -> None:
    names = [f"{n:03}" + "m" * 97 for n in range(7)]
    assert firmware_content(FIRMWARE, frozen=reversed(names)).frozen == tuple(names)
    assert firmware_content(FIRMWARE, frozen=[*names, "z"]).frozen == tuple(names)
    longer = [*names[:6], names[6] + "m", "z"]
    assert firmware_content(FIRMWARE, frozen=longer).frozen == (*names[:6], "z")


def test_a_component_is_found_by_its_kind() -> None:
    manifest = package.inspect(worked_example()).manifest
    assert manifest.component(component.FIRMWARE) is manifest.components[0]
    assert manifest.component(component.APPLICATION) is manifest.components[1]
    alone = signing.build([firmware_content(FIRMWARE)], KEY, "demo-board", "1", 1, 1)
    assert package.inspect(alone).manifest.component(component.APPLICATION) is None


def test_an_encoding_that_the_host_does_not_decode_is_said() -> None:
    component = package.inspect(worked_example()).manifest.components[0]
    assert component.result(worked_example()) == FIRMWARE
    with pytest.raises(PackageError, match=r"encoding \(2\): 3 is not decoded here"):
        replace(component, encoding=3).result(worked_example())


@pytest.mark.parametrize(
    ("structure", "words"),
    [
        (["", {}, b"", bytes(64)], "are byte strings"),
        ([b"", {}, "", bytes(64)], "are byte strings"),
        ([b"", {}, b"", ""], "are byte strings"),
        ([b"", {1: -7}, b"", bytes(64)], "the unprotected header is not empty"),
        ([b"", {}, b""], "an array of 4"),
        ([b"", {}, b"", bytes(64), b""], "an array of 4"),
        ({}, "an array of 4"),
        (["kid", {}, b"", bytes(63)], "64 bytes"),
    ],
)
def test_another_structure_of_cose_is_refused_by_its_rule(structure: Any, words: str) -> None:
    if isinstance(structure, list) and structure[0] == "kid":
        structure[0] = cbor.dumps({1: ES256, 4: bytes(8)})
    refused(framed(b"\xd2" + cbor.dumps(structure)), words)


def test_padding_and_digests_of_components_are_held_against_the_manifest() -> None:
    whole = worked_example()
    firmware, application = read_head(whole).manifest.components
    for part, name in ((firmware, "firmware"), (application, "application")):
        damaged = bytearray(whole)
        damaged[part.end - 1] = 0
        with pytest.raises(PackageError, match=f"the {name} component is not padded"):
            package.inspect(bytes(damaged))
        damaged = bytearray(whole)
        damaged[part.offset] ^= 1
        with pytest.raises(PackageError, match=f"the {name} component does not have"):
            package.inspect(bytes(damaged))
    with pytest.raises(PackageError, match=f"{len(whole)} bytes, there are {len(whole) + 1}"):
        package.inspect(whole + b"\xff")


def test_a_torn_trailer_is_no_trailer() -> None:
    torn = bytearray(write_trailer([worked_example()]))
    torn[300] ^= 1
    with pytest.raises(PackageError, match="SHA-256"):
        read_trailer(bytes(torn))


def test_a_strangers_package_is_told_from_a_forged_one() -> None:
    theirs = signing.build([firmware_content(FIRMWARE)], STRANGER, "demo-board", "1", 1, 1)
    with pytest.raises(PackageError, match=r"signed with key"):
        signing.verify(package.inspect(theirs), KEY.public_key())
    forged = bytearray(worked_example())
    forged[forged.index(b"1.1.0")] = ord("2")
    with pytest.raises(keys.SignatureError):
        signing.verify(package.inspect(bytes(forged)), KEY.public_key())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k1": 2}, "format (1)"),
        ({"k2": ""}, "product (2)"),
        ({"k2": "p" * 33}, "product (2)"),
        ({"k2": b"bytes"}, "product (2)"),
        ({"k3": None}, "version (3) is missing"),
        ({"k4": 0}, "sequence (4)"),
        ({"k4": 2**31}, "sequence (4)"),
        ({"k4": True}, "simple value"),
        ({"k4": -1}, "sequence (4)"),
        ({"k5": "now"}, "created (5)"),
        ({"k6": 1_795_000_000}, "expires (6)"),
        ({"k7": []}, "components (7)"),
        ({"k7": {}}, "components (7)"),
        ({"k8": b"new keys"}, "set of keys (8): not a map"),
        ({"k9": 1}, "key 9"),
        ({"k63": 1}, "key 63"),
        ({"k-1": 1}, "key -1 is not an unsigned number"),
        ({"k0": 1}, "key 0 is not defined"),
        ({"k1": None}, "format (1) is missing"),
        ({"k2": None}, "product (2) is missing"),
        ({"k4": None}, "sequence (4) is missing"),
        ({"k5": None}, "created (5) is missing"),
        ({"k7": None}, "components (7) is missing"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused_by_key(
    changes: dict[str, Any], words: str
) -> None:
    refused(head_of(cbor2.dumps(manifest(**changes), canonical=True)), "manifest", words)


def test_unknown_keys_from_64_on_are_ignored() -> None:
    later = manifest(k64={"anything": [1, 2]})
    later[7][0][100] = 0
    assert read_head(head_of(cbor.dumps(later))).manifest.sequence == 7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({1: 2}, "kind (1)"),
        ({7: bytes(32)}, "first (7): for encoding 1 only"),
        ({8: bytes(32)}, "base (8): for encoding 1 only"),
        ({9: 32}, "base_size (9): for encoding 1 only"),
        ({2: 2}, "encoding (2)"),
        ({3: 0}, "length (3)"),
        ({4: 4999}, "size (4)"),
        ({5: b"short"}, "sha256 (5)"),
        ({6: "esp32"}, "chip (6)"),
        ({10: 0}, "key 10"),
        ({1: 1}, "chip (6): for firmware only"),
        ({0: 0}, "key 0 is not defined"),
        ({"size": 1}, "key 'size' is not an unsigned number"),
        ({3: 5001}, "size (4): 5000, but a raw component has length 5001"),
        ({4: "5000"}, "size (4): '5000' is no number"),
        ({5: "s" * 32}, "sha256 (5): 32 bytes"),
        ({6: 0x10000}, "chip (6): 65536 is no number from 0 to 65535"),
    ],
)
def test_a_component_that_breaks_a_rule_is_refused_by_key(
    changes: dict[int, Any], words: str
) -> None:
    fields = manifest()
    fields[7] = [{**fields[7][0], **changes}]
    refused(head_of(cbor.dumps(fields)), "component", words)


STORED = {2: 1, 3: 4096, 4: 5000, 7: bytes(32)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({3: 4095}, "length (3): 4095 is no multiple of 4096"),
        ({3: 0}, "length (3)"),
        ({4: 0}, "size (4)"),
        ({7: None}, "first (7) is missing"),
        ({7: bytes(31)}, "first (7): 32 bytes"),
        ({8: bytes(32)}, "base_size (9) is missing"),
        ({9: 32}, "base (8) is missing"),
        ({8: bytes(33), 9: 32}, "base (8): 32 bytes"),
        ({8: bytes(32), 9: 0}, "base_size (9): 0 is no number from 1"),
    ],
)
def test_a_component_in_segments_that_breaks_a_rule_is_refused_by_key(
    changes: dict[int, Any], words: str
) -> None:
    fields = manifest()
    changed = {**fields[7][0], **STORED, **changes}
    fields[7] = [{key: value for key, value in changed.items() if value is not None}]
    refused(head_of(cbor.dumps(fields)), "component", words)


def test_a_component_in_segments_is_read_with_its_base_and_without() -> None:
    fields = manifest()
    fields[7] = [{**fields[7][0], **STORED}]
    (found,) = read_head(head_of(cbor.dumps(fields))).manifest.components
    assert (found.encoding, found.length, found.size, found.end) == (1, 4096, 5000, 8192)
    assert (found.first, found.base) == (bytes(32), None)
    fields[7] = [{**fields[7][0], 8: bytes(range(32)), 9: 7}]
    (found,) = read_head(head_of(cbor.dumps(fields))).manifest.components
    assert found.base == component.Base(7, bytes(range(32)))


@pytest.mark.parametrize(("key", "name"), [(1, "kind"), (2, "encoding"), (3, "length"),
    (4, "size"), (5, "sha256"), (6, "chip")])  # fmt: skip
def test_a_component_that_lacks_a_field_is_refused_by_its_name(key: int, name: str) -> None:
    fields = manifest()
    fields[7] = [{k: v for k, v in fields[7][0].items() if k != key}]
    refused(head_of(cbor.dumps(fields)), f"component: {name} ({key}) is missing")


def test_manifest_and_components_are_maps() -> None:
    value: Any
    for value in ([], 7, "manifest"):
        refused(head_of(cbor.dumps(value)), "manifest: not a map")
        refused(head_of(cbor.dumps(manifest(k7=[value]))), "component: not a map")


def test_numbers_of_64_bits_are_read() -> None:
    latest = head_of(cbor.dumps(manifest(k5=2**64 - 2, k6=2**64 - 1)))
    assert read_head(latest).manifest.expires == 2**64 - 1


def test_chips_from_0_to_65535_are_read() -> None:
    for chip in (0, 0xFFFF):
        fields = manifest()
        fields[7] = [{**fields[7][0], 6: chip}]
        assert read_head(head_of(cbor.dumps(fields))).manifest.components[0].chip == chip


def test_what_cannot_be_decoded_is_said_to_be_the_manifest_the_header_or_the_structure() -> None:
    refused(head_of(b"\xff"), "manifest: ")
    refused(head_of(cbor.dumps(manifest()), protected=b"\xff"), "protected header: ")
    refused(framed(b"\xff"), "COSE structure: ")


def test_two_components_of_one_kind_are_refused() -> None:
    fields = manifest()
    fields[7] = [fields[7][0], fields[7][0]]
    refused(head_of(cbor.dumps(fields)), "more than one of kind firmware")


@pytest.mark.parametrize(
    ("protected", "words"),
    [
        ({1: -257, 4: bytes(8)}, "alg (1)"),
        ({1: -7, 4: bytes(7)}, "kid (4)"),
        ({1: -7}, "exactly"),
        ({1: -7, 4: bytes(8), 5: 0}, "exactly"),
    ],
)
def test_another_protected_header_is_refused(protected: dict[int, Any], words: str) -> None:
    payload = HEX(VECTOR["manifest_hex"])
    refused(head_of(payload, protected=cbor.dumps(protected)), words)


def test_what_is_not_framed_as_a_head_is_refused() -> None:
    good = worked_example()[:4096]
    refused(good[:4095], "4096 bytes")
    refused(b"\xe9" + good[1:], "magic")
    refused(good[:4] + (0).to_bytes(4, "big") + good[8:], "1 to 2000")
    refused(good[:4] + (2001).to_bytes(4, "big") + good[8:], "1 to 2000")
    refused(good[:-1] + b"\0", "0xFF")
    refused(framed(b"\xd2" + cbor.dumps([b"", {1: 2}, b"", b""])), "unprotected")
    refused(framed(b"\xd1" + HEX(VECTOR["cose_hex"])[1:]), "COSE_Sign1")
    refused(framed(HEX(VECTOR["cose_hex"])[1:]), "COSE_Sign1")
    refused(framed(HEX(VECTOR["cose_hex"]) + b"\0"), "follow")


@pytest.mark.parametrize("at", [4096 + 5000, 12288 + 1536, 4096, 12288])
def test_damage_anywhere_in_a_component_is_found(at: int) -> None:
    damaged = bytearray(worked_example())
    damaged[at] ^= 1
    with pytest.raises(PackageError, match="component"):
        package.inspect(bytes(damaged))


@pytest.mark.parametrize("cut", [1, 4096])
def test_a_package_of_another_length_is_refused(cut: int) -> None:
    for data in (worked_example()[:-cut], worked_example() + bytes(cut)):
        with pytest.raises(PackageError, match="16384"):
            package.inspect(data)


def test_a_package_without_components_or_with_bad_values_is_not_built() -> None:
    with pytest.raises(PackageError, match="at least one"):
        signing.build([], KEY, "p", "1", 1, 1)
    with pytest.raises(PackageError, match="expires"):
        signing.build([firmware_content(FIRMWARE)], KEY, "p", "1", 1, 5, expires=5)
    with pytest.raises(PackageError, match="length"):
        signing.build([firmware_content(b"")], KEY, "p", "1", 1, 1)


@given(
    st.binary(min_size=1, max_size=9000),
    st.text(min_size=1, max_size=8),
    st.integers(1, MAX_SEQUENCE),
    st.integers(0, 2**40),
)
def test_what_is_built_is_read_back(
    image: bytes, version: str, sequence: int, created: int
) -> None:
    built = signing.build(
        [firmware_content(image, 9)], KEY, "p", version, sequence, created, created + 1
    )
    head = package.inspect(built)
    signing.verify(head, KEY.public_key())
    found = head.manifest
    assert (found.version, found.sequence, found.created) == (version, sequence, created)
    assert found.components[0].chip == 9
    assert built[4096 : 4096 + len(image)] == image


# What deterministic CBOR forbids: RFC 8949 4.2.1, the examples of its appendix A re-encoded.
@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        ("1817", "longer"),
        ("190017", "longer"),
        ("1a0000ffff", "longer"),
        ("1b00000000ffffffff", "longer"),
        ("5801ff", "longer"),
        ("5f4101ff", "indefinite"),
        ("7f6161ff", "indefinite"),
        ("9f01ff", "indefinite"),
        ("bf6161 01ff", "indefinite"),
        ("1c", "indefinite or reserved"),
        ("a201010102", "duplicate"),
        ("a202010101", "order"),
        ("f93c00", "float"),
        ("fa47c35000", "float"),
        ("fb3ff199999999999a", "float"),
        ("f818", "float"),
        ("f7", "simple"),
        ("0000", "follow"),
        ("", "cut short"),
        ("19ff", "cut short"),
        ("6261", "cut short"),
        ("9affffffff", "cut short"),
        ("62c328", "UTF-8"),
        ("a18000", "map key"),
        ("a20101f502", "simple"),
        ("81818181818181", "nested"),
    ],
)
def test_cbor_that_is_not_deterministic_is_refused(encoded: str, words: str) -> None:
    with pytest.raises(cbor.CBORError, match=words):
        cbor.loads(HEX(encoded))


PLAIN = st.recursive(
    st.integers(-(2**64), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 99), inner),
    max_leaves=12,
)


def depth(value: Any) -> int:
    if isinstance(value, (list, dict)):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max((depth(item) for item in inner), default=0)
    return 0


@given(PLAIN)
def test_everything_written_is_read_back_unless_it_is_too_deep(value: Any) -> None:
    encoded = cbor.dumps(value)
    if depth(value) > cbor.MAX_DEPTH:
        with pytest.raises(cbor.CBORError, match="nested"):
            cbor.loads(encoded)
    else:
        assert cbor.loads(encoded) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_either_refused_or_the_one_encoding_of_their_value(data: bytes) -> None:
    try:
        value = cbor.loads(data)
    except cbor.CBORError:
        return
    if not any(tag in data for tag in range(0xC0, 0xE0)):
        assert cbor.dumps(value) == data


def test_private_keys_are_for_their_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.pem"
    keys.write_private(KEY, path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(disk.TakenError, match="exists already"):
        keys.write_private(STRANGER, path)
    assert keys.spki(keys.read_private(path).public_key()) == keys.spki(KEY.public_key())


def test_a_key_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    keys.write_private(ec.generate_private_key(ec.SECP384R1()), path)
    with pytest.raises(keys.KeyFileError, match="not a P-256"):
        keys.read_private(path)
    with pytest.raises(keys.KeyFileError, match="no public key"):
        keys.read_public(path)
    with pytest.raises(keys.KeyFileError, match="cannot read"):
        keys.read_public(tmp_path / "missing.pem")
