"""The board takes a package's head as its format says, and believes none before it is signed."""

from binascii import unhexlify
from hashlib import sha256

import heads
from expect import raises
from heads import APPLICATION, CREATED, FIRMWARE, MANIFEST, Map, Raw
from mutation import Mutations
from ota import installed, package
from ota import manifest as manifests
from ota.compat import finish
from ota.errors import (
    DowngradeError,
    ExpiredError,
    MismatchError,
    OtaError,
    PackageError,
    SameVersionError,
    SignatureError,
    TooLargeError,
    UnknownKeyError,
)
from ota.package import is_package

# Kinds of components, as the format numbers them.
IS_FIRMWARE, IS_APPLICATION = 0, 1

KEYS = {heads.kid(heads.KEY): heads.public(heads.KEY)}
EXAMPLE_HEAD = heads.framed(heads.EXAMPLE_COSE)


def parse_head(data, keys):
    return finish(installed.reading_record(package.record_of_head(data), keys))


def parse_record(data, keys):
    return finish(installed.reading_record(package.record_of(data), keys))


def read(data):
    return parse_head(data, KEYS)


def component(manifest, kind):
    return manifests.component_of(manifest, kind)


def manifest_of(**changes):
    return read(heads.head(MANIFEST.but(**changes)))


def refused(data):
    return str(raises(PackageError, read, data))


def manifest_refused(**changes):
    return refused(heads.head(MANIFEST.but(**changes)))


def component_refused(pairs, **changes):
    return manifest_refused(k7=[Map(*pairs).but(**changes)])


# -- the worked example -----------------------------------------------------------------------


def test_the_worked_example_is_read_as_it_was_made():
    assert sha256(EXAMPLE_HEAD).digest() == unhexlify(heads.EXAMPLE["head_sha256"])
    manifest = read(EXAMPLE_HEAD)
    assert (manifest.product, manifest.version) == ("demo-board", "1.1.0")
    assert (manifest.sequence, manifest.created, manifest.expires) == (7, CREATED, None)
    assert manifest.identity == heads.EXAMPLE_IDENTITY
    assert manifest.package_size == heads.EXAMPLE["package_size"]
    assert manifest.record == EXAMPLE_HEAD[: 8 + heads.EXAMPLE["cose_length"]]
    assert (manifest.proof, manifest.note) == (None, ""), "those are a raw image's"
    firmware = component(manifest, IS_FIRMWARE)
    assert (firmware.length, firmware.size, firmware.offset, firmware.chip) == (5000, 5000, 4096, 0)
    image = bytes([(7 * i + 3) & 255 for i in range(5000)])
    assert firmware.sha256 == sha256(image).digest()
    application = component(manifest, IS_APPLICATION)
    assert (application.length, application.offset, application.chip) == (1536, 12288, None)


def test_what_these_tests_sign_is_what_the_worked_example_signs():
    keys = {unhexlify(heads.EXAMPLE["kid_hex"]): unhexlify(heads.EXAMPLE["spki_hex"])[-64:]}
    assert keys == KEYS
    signature = unhexlify(heads.EXAMPLE["signature_hex"])
    again = heads.cose(heads.EXAMPLE_MANIFEST, signature=signature)
    assert again == heads.EXAMPLE_COSE


def test_a_head_is_read_from_a_view_of_a_larger_buffer():
    buffer = bytearray(EXAMPLE_HEAD + b"component")
    assert read(memoryview(buffer)[:4096]).sequence == 7


def test_a_record_is_read_without_its_padding_as_it_lies_in_a_trailer():
    record = EXAMPLE_HEAD[: 8 + len(heads.EXAMPLE_COSE)]
    assert parse_record(record, KEYS).identity == heads.EXAMPLE_IDENTITY
    assert parse_record(record + record, KEYS).identity == heads.EXAMPLE_IDENTITY
    assert parse_record(memoryview(record + bytes(64)), KEYS).record == record


def test_a_trailer_holds_one_record_or_two_one_behind_the_other():
    record = EXAMPLE_HEAD[: 8 + len(heads.EXAMPLE_COSE)]
    other = heads.head(MANIFEST.but(k4=9))
    second = package.record_of(other)
    padding = b"\xff" * 100
    assert package.split(record + padding) == [record]
    assert package.split(record) == [record]
    assert package.split(bytes(second) + record + padding) == [second, record]
    raises(PackageError, package.split, padding)
    raises(PackageError, package.split, record + b"OTA\x01" + padding)


def test_the_same_manifest_signed_anew_is_the_same_package():
    assert read(heads.framed(heads.cose(heads.EXAMPLE_MANIFEST))).identity == heads.EXAMPLE_IDENTITY


def test_the_first_bytes_say_what_a_file_is():
    assert is_package(EXAMPLE_HEAD)
    assert is_package(memoryview(EXAMPLE_HEAD))
    for start in (b"\xe9\x00\x00\x00", b"OTA\x02", b"OTA", b"", b"ota\x01"):
        assert not is_package(start)


# -- the frame --------------------------------------------------------------------------------


def test_a_file_shorter_than_its_head_is_refused():
    for length in (0, 4, 8, 223, 4095):
        assert "shorter" in refused(EXAMPLE_HEAD[:length])
    for length in (0, 4, 7, 8, 222):
        raises(PackageError, parse_record, EXAMPLE_HEAD[:length], KEYS)


def test_another_magic_is_refused():
    for magic in (b"OTA\x02", b"OTA\x00", b"\xe9TA\x01", b"\xff\xff\xff\xff"):
        assert "magic" in refused(magic + EXAMPLE_HEAD[4:])


def test_the_cose_structure_has_1_to_2000_bytes():
    for length in (0, 2001, 4088, 4089, 0x7FFFFFFF, 0xFFFFFFFF):
        data = EXAMPLE_HEAD[:4] + length.to_bytes(4, "big") + EXAMPLE_HEAD[8:]
        assert "impossible length" in refused(data)
    for length, why in ((1, "padded"), (214, "padded"), (216, "be read"), (2000, "be read")):
        data = EXAMPLE_HEAD[:4] + length.to_bytes(4, "big") + EXAMPLE_HEAD[8:]
        assert why in refused(data)


def test_a_cose_structure_of_2000_bytes_is_read_and_a_longer_one_is_not():
    spare = Map((1, 1), (2, "demo-board"), (3, "1"), (4, 7), (5, 0), (7, [Map(*FIRMWARE)]))
    room = 2000 - len(heads.cose(heads.encode(spare.but(k64=bytes(300)))))
    data = heads.head(spare.but(k64=bytes(300 + room)))
    assert data[4:8] == (2000).to_bytes(4, "big")
    assert read(data).sequence == 7
    assert "impossible length" in refused(heads.head(spare.but(k64=bytes(301 + room))))


def test_the_rest_of_the_head_is_ff():
    for at in (8 + len(heads.EXAMPLE_COSE), 2048, 4095):
        data = bytearray(EXAMPLE_HEAD)
        data[at] = 0xFE
        assert "padded" in refused(data)


# -- the signature ----------------------------------------------------------------------------


def test_a_strangers_package_is_refused_by_the_name_of_its_key():
    data = heads.framed(heads.cose(heads.EXAMPLE_MANIFEST, key=heads.STRANGER))
    raises(UnknownKeyError, read, data)
    theirs = {heads.kid(heads.STRANGER): heads.public(heads.STRANGER)}
    assert parse_head(data, theirs).sequence == 7
    raises(UnknownKeyError, parse_head, data, {})


def test_a_stranger_who_names_a_trusted_key_is_refused():
    protected = heads.encode(Map((1, -7), (4, heads.kid(heads.KEY))))
    data = heads.cose(heads.EXAMPLE_MANIFEST, key=heads.STRANGER, protected=protected)
    raises(SignatureError, read, heads.framed(data))


def test_every_byte_of_manifest_protected_header_and_signature_is_covered():
    at = EXAMPLE_HEAD.find(heads.EXAMPLE_MANIFEST)
    for i in range(at, 8 + len(heads.EXAMPLE_COSE), 5):
        data = bytearray(EXAMPLE_HEAD)
        data[i] ^= 1
        assert type(raises(OtaError, read, data)) in (SignatureError, PackageError), i
    for i in range(len(heads.EXAMPLE_MANIFEST)):
        data = bytearray(EXAMPLE_HEAD)
        data[at + i] ^= 0x80
        raises(SignatureError, read, data)


def test_nothing_of_the_manifest_is_looked_at_before_the_signature_holds():
    another_product = heads.encode(MANIFEST.but(k2="another-product"))
    for payload in (
        b"",
        b"\xff",
        b"not cbor",
        heads.encode(MANIFEST.but(k1=9)),
        another_product,
        heads.encode(MANIFEST.but(k7=[])),
        heads.encode(MANIFEST.but(k9=1)),
        b"\x9f" * 1000,
    ):
        forged = heads.cose(payload, signature=bytes(63) + b"\x01")
        raises(SignatureError, read, heads.framed(forged))
        theirs = heads.cose(payload, key=heads.STRANGER)
        raises(UnknownKeyError, read, heads.framed(theirs))
        ours = heads.framed(heads.cose(payload))
        if payload == another_product:
            assert read(ours).product == "another-product"
        else:
            raises(PackageError, read, ours)


def test_a_signature_of_another_length_is_refused():
    good = heads.sign(heads.KEY, b"x")
    for signature in (b"", good[:63], good + b"\x00", b"\x30" + good):
        data = heads.framed(heads.cose(heads.EXAMPLE_MANIFEST, signature=signature))
        raises(SignatureError, read, data)


def test_an_algorithm_that_is_not_the_keys_own_is_refused():
    for algorithm in (-257, -37, -8, 7):
        protected = heads.encode(Map((1, algorithm), (4, heads.kid(heads.KEY))))
        data = heads.framed(heads.cose(heads.EXAMPLE_MANIFEST, protected=protected))
        raises(SignatureError, read, data)


# -- COSE -------------------------------------------------------------------------------------


def test_the_protected_header_holds_alg_and_kid_and_nothing_else():
    kid = heads.kid(heads.KEY)
    held, typed = (
        "must hold alg and kid, nothing else",
        "alg must be a number and kid a byte string",
    )
    for protected, says in (
        (b"", "ends too early"),
        (b"\xa0", held),
        (b"\x80", held),
        (b"\xff", ""),
        (heads.encode(Map((1, -7))), held),
        (heads.encode(Map((4, kid))), held),
        (heads.encode(Map((1, -7), (4, kid), (5, 0))), held),
        (heads.encode(Map((1, -7), (2, [1]), (4, kid))), held),
        (heads.encode(Map((4, kid), (1, -7))), "sorted"),
        (heads.encode(Map((1, -7), (1, -7), (4, kid))), "twice"),
        (heads.encode(Map((1, "ES256"), (4, kid))), typed),
        (heads.encode(Map((1, -7), (4, "kid"))), typed),
        (heads.encode(Map((1, -7), (4, 7))), typed),
        (heads.encode(Map((1, Raw("3806")), (4, kid))), "longer than needed"),
        (heads.encode(Map((1, -7), (4, kid))) + b"\x00", "followed by other bytes"),
    ):
        data = heads.framed(heads.cose(heads.EXAMPLE_MANIFEST, protected=protected))
        said = refused(data)
        assert "cannot be read" in said, protected
        assert says in said, (protected, said)


def test_the_unprotected_header_is_an_empty_map():
    for unprotected in (Map((4, b"kid")), Map((1, -7)), [], b"", 0, Raw("bfff")):
        data = heads.framed(heads.cose(heads.EXAMPLE_MANIFEST, unprotected=unprotected))
        said = refused(data)
        assert "cannot be read" in said
        if not isinstance(unprotected, Raw):
            assert "four parts, with an empty unprotected header" in said


def test_what_is_not_a_tagged_cose_sign1_is_refused():
    array = heads.EXAMPLE_COSE[1:]
    protected, signature = b"\xa0", bytes(64)
    for structure in (
        array,  # no tag
        b"\xd1" + array,  # COSE_Mac0
        b"\xd8\x62" + array,  # COSE_Sign
        b"\xd8\x12" + array,  # tag 18, spelt longer than needed
        b"\xd2\xd2" + array,
        b"\xd9\xd9\xf7" + heads.EXAMPLE_COSE,  # self-described CBOR
        b"\xd2\x9f" + array[1:] + b"\xff",
        b"\xd2\xa0",
        b"\xd2\x00",
        b"\x00",
        b"\xd2" + heads.encode([]),
        b"\xd2" + heads.encode([protected, Raw("a0"), heads.EXAMPLE_MANIFEST]),
        b"\xd2" + heads.encode([protected, Raw("a0"), b"", signature, b""]),
        b"\xd2" + heads.encode([Map(), Raw("a0"), b"", signature]),
        b"\xd2" + heads.encode([protected, Raw("a0"), Raw("f6"), signature]),  # detached payload
        b"\xd2" + heads.encode([protected, Raw("a0"), MANIFEST, signature]),
        b"\xd2" + heads.encode([protected, Raw("a0"), b"", "signature"]),
    ):
        said = refused(heads.framed(structure))
        assert "cannot be read" in said, structure
        if structure[:1] != b"\xd2":
            assert "not a COSE_Sign1 structure" in said or "longer than" in said, said
    three = b"\xd2" + heads.encode([protected, Raw("a0"), heads.EXAMPLE_MANIFEST])
    assert "needs four parts" in refused(heads.framed(three))
    for parts in (
        [Map(), Raw("a0"), b"", signature],
        [protected, Raw("a0"), "", signature],
        [protected, Raw("a0"), b"", "signature"],
    ):
        structure = b"\xd2" + heads.encode(parts)
        assert "must be byte strings" in refused(heads.framed(structure)), structure


# -- the manifest -----------------------------------------------------------------------------


def test_the_format_is_1():
    for value in (0, 2, -1, "1", b"\x01", [1]):
        assert "has format %r, this agent reads 1" % (value,) in manifest_refused(k1=value)
    assert "has format None" in manifest_refused(k1=None)


def test_product_and_version_are_texts_of_1_to_32_bytes():
    for name, word in (("k2", "product"), ("k3", "version")):
        for value in ("", "p" * 33, "\u00fc" * 17, b"bytes", 7, ["p"], None):
            assert word + " is not a text of 1 to 32" in manifest_refused(**{name: value})
    assert manifest_of(k2="p" * 32).product == "p" * 32
    assert manifest_of(k3="\u00fc" * 16).version == "\u00fc" * 16


def test_the_sequence_is_1_to_2_to_the_31_less_1():
    for value in (0, 1 << 31, (1 << 64) - 1, -1, "7", b"\x07", [7]):
        assert "sequence" in manifest_refused(k4=value)
    assert "sequence" in manifest_refused(k4=None)
    for value in (1, (1 << 31) - 1):
        assert manifest_of(k4=value).sequence == value


def test_created_is_a_number():
    for value in (-1, "now", [0]):
        assert "created" in manifest_refused(k5=value)
    assert "created" in manifest_refused(k5=None)
    assert manifest_of(k5=0).created == 0


def with_expiry(value):
    return MANIFEST.but(k6=value)


def test_expires_may_be_left_out_and_else_is_later_than_created():
    for value in (CREATED, CREATED - 1, 0, -1, "later", [CREATED + 1]):
        assert "expires" in refused(heads.head(with_expiry(value)))
    assert read(heads.head(with_expiry(CREATED + 1))).expires == CREATED + 1


def test_there_are_1_to_4_components_at_most_one_of_each_kind():
    assert "1 to 4" in manifest_refused(k7=[])
    assert "1 to 4" in manifest_refused(k7=[Map(*FIRMWARE)] * 5)
    assert "two components" in manifest_refused(k7=[Map(*FIRMWARE)] * 4)
    for value in (Map(), Map(*FIRMWARE), 0, "raw", b""):
        assert "1 to 4" in manifest_refused(k7=value)
    assert "1 to 4" in manifest_refused(k7=None)
    twice = [Map(*FIRMWARE), Map(*FIRMWARE)]
    assert "two components of kind firmware" in manifest_refused(k7=twice)
    twice = [Map(*FIRMWARE), Map(*APPLICATION), Map(*APPLICATION)]
    assert "two components of kind application" in manifest_refused(k7=twice)


def test_reserved_and_unknown_keys_below_64_are_refused():
    for name in ("k0", "k9", "k63"):
        assert "unknown key" in manifest_refused(**{name: 1})
    fields = heads.encode(MANIFEST)[1:]
    for unknown in (b"\x20\x01", b"\x61k\x01"):  # -1: 1 and "k": 1
        assert "unknown key" in refused(heads.framed(heads.cose(b"\xa7" + fields + unknown)))


def test_unknown_keys_from_64_on_are_ignored():
    later = manifest_of(k64=[1, Map((1, "x"))], k99999=b"new")
    assert later.sequence == 7
    later = manifest_of(k7=[Map(*FIRMWARE).but(k64=7, k1000=[])])
    assert component(later, IS_FIRMWARE).size == 5000


def test_a_manifest_that_is_no_deterministic_map_is_refused():
    first, second = MANIFEST.pairs[:2]
    for manifest in (
        Map(second, first),
        Map(first, first),
        MANIFEST.but(k4=Raw("1807")),
        MANIFEST.but(k4=Raw("190007")),
        MANIFEST.but(k4=Raw("f94700")),
        MANIFEST.but(k2=Raw("7f6a64656d6f2d626f617264ff")),
        MANIFEST.but(k2=Raw("62c328")),
        MANIFEST.but(k7=Raw("9fff")),
        MANIFEST.but(k64=Raw("8181818181818100")),
        Raw(""),
    ):
        assert "cannot be read" in refused(heads.head(manifest))
    for float_or_endless in (Raw("f94700"), Raw("9fff"), Raw("f6"), Raw("7f6161ff")):
        said = refused(heads.head(MANIFEST.but(k64=float_or_endless)))
        assert "a float, a simple value or an indefinite length" in said
    for manifest in (Raw("80"), Raw("00"), Raw("a0")):
        refused(heads.head(manifest))
    refused(heads.framed(heads.cose(heads.EXAMPLE_MANIFEST + b"\x00")))
    refused(heads.framed(heads.cose(heads.EXAMPLE_MANIFEST[:-1])))


# -- components -------------------------------------------------------------------------------


def test_an_applications_room_is_blocks_and_its_largest_files():
    for said in ([3], [3, "main.py", 700], [9, "a", 5000, "b/c.py", 400, "d", 0]):
        found = manifest_of(k7=[Map(*APPLICATION).but(k65=said)])
        assert component(found, IS_APPLICATION).room == said
    assert component(manifest_of(k7=[Map(*APPLICATION)]), IS_APPLICATION).room is None
    assert component(manifest_of(k7=[Map(*FIRMWARE).but(k65="?")]), IS_FIRMWARE).room is None
    for said in ([], [3, "main.py"], ["main.py"], [3, 700, "main.py"], [[3]], 3, "3"):
        assert "room" in component_refused(APPLICATION, k65=said)


def test_kind_is_firmware_or_application():
    for value in (2, 255, -1, "firmware", [0]):
        assert "kind" in component_refused(FIRMWARE, k1=value)
    component_refused(FIRMWARE, k1=None)


def test_encodings_without_a_writer_are_refused():
    for value in (2, 3, -1, "raw"):
        assert "encod" in component_refused(FIRMWARE, k2=value)
    component_refused(FIRMWARE, k2=None)


def test_keys_7_to_9_are_for_the_writer_of_an_encoded_component_alone():
    for key in ("k7", "k8", "k9"):
        assert "unknown key " + key[1] in component_refused(FIRMWARE, **{key: 1})
    coded = Map(*FIRMWARE).but(k2=1, k7=b"first", k9=3)
    assert component(manifest_of(k7=[coded]), IS_FIRMWARE).coded == (b"first", None, 3)
    assert not component(manifest_of(), IS_FIRMWARE).coded
    assert "unknown key 10" in component_refused(FIRMWARE, k2=1, k10=1)


def test_length_and_size_agree_and_are_at_least_1():
    for value in (0, -1, "5000", [1]):
        assert "length" in component_refused(FIRMWARE, k3=value)
        assert "size" in component_refused(FIRMWARE, k4=value)
    component_refused(FIRMWARE, k3=None)
    component_refused(FIRMWARE, k4=None)
    assert "differs" in component_refused(FIRMWARE, k3=4999)
    assert "differs" in component_refused(FIRMWARE, k4=5001)


def test_the_hash_is_32_bytes():
    for value in (b"", bytes(31), bytes(33), "s" * 32, 0):
        assert "sha256" in component_refused(FIRMWARE, k5=value)
    component_refused(FIRMWARE, k5=None)


def test_firmware_names_its_chip_and_an_application_none():
    for value in (-1, 1 << 16, "esp32", b"\x00"):
        assert "chip" in component_refused(FIRMWARE, k6=value)
    assert "chip" in component_refused(FIRMWARE, k6=None)
    assert "chip" in component_refused(APPLICATION, k6=0)
    assert component(manifest_of(k7=[Map(*FIRMWARE).but(k6=13)]), IS_FIRMWARE).chip == 13


def test_unknown_keys_of_a_component_are_refused_below_64():
    for name in ("k7", "k63"):
        assert "unknown key" in component_refused(FIRMWARE, **{name: 1})
    assert "not a map" in manifest_refused(k7=[7])
    assert "not a map" in manifest_refused(k7=[[]])


def test_components_lie_one_after_another_on_multiples_of_4096():
    for length, end in ((1, 8192), (4096, 8192), (4097, 12288), (8192, 12288)):
        firmware = Map(*FIRMWARE).but(k3=length, k4=length)
        manifest = manifest_of(k7=[Map(*APPLICATION), firmware])
        assert component(manifest, IS_APPLICATION).offset == 4096
        assert component(manifest, IS_FIRMWARE).offset == 8192
        assert manifest.package_size == 4096 + end
        assert manifest_of(k7=[firmware]).package_size == end
    assert component(manifest_of(), IS_APPLICATION) is None


def test_a_damaged_head_never_raises_anything_but_the_typed_errors():
    damaged = Mutations(43)
    structure = heads.EXAMPLE_COSE
    for _ in range(150):
        data = heads.framed(damaged.of(structure)[:4088])
        if data != EXAMPLE_HEAD:
            raises(OtaError, read, data)
    refusals = 0
    for _ in range(100):
        payload = damaged.of(heads.EXAMPLE_MANIFEST)[:1800]
        try:
            read(heads.framed(heads.cose(payload)))
        except PackageError:
            refusals += 1
    assert refusals > 20


# -- may it be installed? ---------------------------------------------------------------------


def admit(changes=(), **board):
    """Judge the manifest with `changes` for a board that would take it unless `board` says so."""
    fields = MANIFEST.but(**dict(changes))
    rules = {"product": "demo-board", "chip": 0, "capacity": 5000, "floor": 6}
    rules.update(board)
    manifests.admit(read(heads.head(fields)), **rules)


def test_what_fits_this_board_is_admitted():
    admit()
    admit(floor=0)
    admit(capacity=1 << 20, now=None)


def test_another_product_or_chip_is_refused():
    assert "product" in str(raises(MismatchError, admit, product="demo-board-2"))
    assert "product" in str(raises(MismatchError, admit, product="Demo-board"))
    assert "chip 0" in str(raises(MismatchError, admit, chip=9))


def test_firmware_application_or_both_are_admitted():
    admit({"k7": [Map(*APPLICATION)]}, chip=9, capacity=0)
    admit({"k7": [Map(*FIRMWARE), Map(*APPLICATION)]})
    raises(MismatchError, admit, {"k7": [Map(*APPLICATION), Map(*FIRMWARE)]}, chip=9)


def test_an_image_larger_than_the_slot_is_refused_with_both_numbers():
    text = str(raises(TooLargeError, admit, capacity=4999))
    assert "5000" in text
    assert "4999" in text


def test_a_sequence_below_the_floor_is_refused():
    assert "below 8" in str(raises(DowngradeError, admit, floor=8))
    raises(DowngradeError, admit, floor=8, retry_of=sha256(heads.encode(MANIFEST)).digest())


def test_the_floors_own_sequence_is_admitted_only_as_a_retry_of_the_same_package():
    raises(SameVersionError, admit, floor=7)
    raises(SameVersionError, admit, floor=7, retry_of=bytes(32))
    raises(SameVersionError, admit, floor=7, retry_of="")
    admit(floor=7, retry_of=sha256(heads.encode(MANIFEST)).digest())


def expiring(now):
    fields = read(heads.head(with_expiry(CREATED + 1000)))
    manifests.admit(fields, product="demo-board", chip=0, capacity=5000, floor=6, now=now)


def test_expiry_is_judged_only_by_a_clock_that_is_later_than_created():
    assert "expired 0 s ago" in str(raises(ExpiredError, expiring, CREATED + 1000))
    assert "expired 5 s ago" in str(raises(ExpiredError, expiring, CREATED + 1005))
    raises(ExpiredError, expiring, CREATED + 1000000)
    expiring(CREATED + 999)
    expiring(CREATED)
    expiring(CREATED - 1)
    expiring(0)
    expiring(None)


def test_a_package_without_expiry_never_expires():
    admit(now=CREATED + 10**9)


def test_the_first_reason_is_product_then_chip_size_sequence_and_age():
    fields = read(heads.head(with_expiry(CREATED + 1)))
    board = {"product": "x", "chip": 9, "capacity": 1, "floor": 8, "now": CREATED + 2}
    for name, right, error in (
        ("product", "demo-board", MismatchError),
        ("chip", 0, MismatchError),
        ("capacity", 5000, TooLargeError),
        ("floor", 7, DowngradeError),
        ("floor", 6, SameVersionError),
        ("now", None, ExpiredError),
    ):
        raises(error, manifests.admit, fields, **board)
        board[name] = right
    manifests.admit(fields, **board)
