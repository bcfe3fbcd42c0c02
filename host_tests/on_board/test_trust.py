"""The board trusts the keys of one file, by their ids, and nothing that only looks like one."""

import sys
from binascii import b2a_base64, unhexlify
from hashlib import sha256

import heads
from expect import raises
from ota import p256, trust
from ota.errors import SettingsError, SignatureError, UnknownKeyError

SPKI = unhexlify(heads.EXAMPLE["spki_hex"])
KID = unhexlify(heads.EXAMPLE["kid_hex"])
SIGNED = unhexlify(heads.EXAMPLE["signed_bytes_hex"])
SIGNATURE = unhexlify(heads.EXAMPLE["signature_hex"])
STRANGER_SPKI = heads.SPKI_PREFIX + heads.public(heads.STRANGER)


def pem(der, label="PUBLIC KEY", newline="\n"):
    text = b2a_base64(der).decode().strip()
    lines = [text[i : i + 64] + newline for i in range(0, len(text), 64)]
    begin, end = "-----BEGIN %s-----" % label, "-----END %s-----" % label
    return begin + newline + "".join(lines) + end + newline


def verify(keys, algorithm, kid, signed, signature):
    if not p256.verify(*trust.claim(keys, algorithm, kid, signed, signature)):
        raise SignatureError


def refused(text):
    return str(raises(SettingsError, trust.load_keys, text))


def test_a_key_is_known_by_the_hash_of_its_der():
    assert trust.load_keys(pem(SPKI)) == {KID: SPKI[-64:]}
    assert sha256(SPKI).digest()[:8] == KID


def test_one_file_holds_several_keys():
    keys = trust.load_keys("# signing\n" + pem(SPKI) + "\n# spare\n" + pem(STRANGER_SPKI))
    assert keys == {KID: SPKI[-64:], heads.kid(heads.STRANGER): STRANGER_SPKI[-64:]}


def test_the_same_key_twice_is_one_key():
    assert len(trust.load_keys(pem(SPKI) + pem(SPKI))) == 1


def test_line_ends_and_line_lengths_do_not_matter():
    assert list(trust.load_keys(pem(SPKI, newline="\r\n"))) == [KID]
    one_line = b2a_base64(SPKI).decode().strip()
    text = "-----BEGIN PUBLIC KEY-----\n" + one_line + "\n-----END PUBLIC KEY-----"
    assert list(trust.load_keys(text)) == [KID]


def test_a_file_without_a_public_key_is_refused():
    for text in ("", "\n", "no key", pem(SPKI, "PRIVATE KEY"), pem(SPKI, "CERTIFICATE")):
        assert "no trusted key" in refused(text)


def test_a_key_without_its_end_is_refused():
    assert "is block 1" in refused(pem(SPKI).split("-----END")[0])
    keys = trust.load_keys(pem(SPKI).split("-----END")[0] + pem(STRANGER_SPKI))
    assert [kid for kid in keys if kid] == [heads.kid(heads.STRANGER)]


def test_what_is_not_base64_is_refused():
    if sys.platform == "webassembly":
        return  # its binascii, written in Python, raises a bare Exception; a chip's does not
    for text in ("A", "AAAAA", "=", "MFkw*"):
        refused("-----BEGIN PUBLIC KEY-----\n" + text + "\n-----END PUBLIC KEY-----\n")


def test_another_kind_of_key_is_refused():
    rsa = unhexlify("30819f300d06092a864886f70d010101050003818d00") + bytes(137)
    ed25519 = unhexlify("302a300506032b6570032100") + bytes(32)
    compressed = (
        unhexlify("3039301306072a8648ce3d020106082a8648ce3d030107032200" + "02") + SPKI[-64:-32]
    )
    p384 = unhexlify("3076301006072a8648ce3d020106052b81040022036200" + "04") + bytes(96)
    secp256k1 = unhexlify("3056301006072a8648ce3d020106052b8104000a034200" + "04") + SPKI[-64:]
    for der in (
        b"",
        rsa,
        ed25519,
        compressed,
        p384,
        secp256k1,
        SPKI[:-1],
        SPKI + b"\x00",
        SPKI[-64:],
    ):
        assert "trusted_keys.pem: no P-256 key is block 1" in refused(pem(der))


def test_a_block_that_is_no_key_is_named_and_makes_no_good_key_useless():
    cut = pem(STRANGER_SPKI).split("-----END")[0]
    for others, numbers in (
        ([pem(SPKI[:-1])], "2"),
        ([pem(SPKI, "CERTIFICATE"), pem(SPKI, "PRIVATE KEY")], "2 3"),
        ([cut], "2"),
    ):
        for text, bad in (
            (pem(SPKI) + "".join(others), numbers),
            ("\ufeff# of ours\r\n" + others[0] + pem(SPKI, newline="\r\n"), "1"),
        ):
            keys = trust.load_keys(text)
            verify(keys, trust.ES256, KID, SIGNED, SIGNATURE)
            error = raises(
                UnknownKeyError, trust.claim, keys, trust.ES256, b"12345678", SIGNED, SIGNATURE
            )
            assert str(error).endswith("no P-256 key is block " + bad)


def test_a_block_that_is_no_key_is_trusted_for_nothing():
    keys = trust.load_keys(pem(SPKI) + pem(STRANGER_SPKI, "CERTIFICATE") + pem(STRANGER_SPKI[:-1]))
    assert [kid for kid in keys if kid] == [KID]
    raises(UnknownKeyError, trust.claim, keys, trust.ES256, heads.kid(heads.STRANGER), b"", b"")


def test_a_signature_of_a_trusted_key_holds():
    keys = trust.load_keys(pem(STRANGER_SPKI) + pem(SPKI))
    verify(keys, trust.ES256, KID, SIGNED, SIGNATURE)
    verify(keys, trust.ES256, KID, bytearray(SIGNED), SIGNATURE)


def test_a_key_that_is_not_trusted_is_named():
    keys = trust.load_keys(pem(STRANGER_SPKI))
    error = raises(UnknownKeyError, verify, keys, trust.ES256, KID, SIGNED, SIGNATURE)
    assert heads.EXAMPLE["kid_hex"] in str(error)
    raises(UnknownKeyError, verify, keys, trust.ES256, b"", SIGNED, SIGNATURE)


def test_each_key_answers_for_its_own_signatures_only():
    keys = trust.load_keys(pem(SPKI) + pem(STRANGER_SPKI))
    other = heads.kid(heads.STRANGER)
    raises(SignatureError, verify, keys, trust.ES256, other, SIGNED, SIGNATURE)
    verify(keys, trust.ES256, other, SIGNED, heads.sign(heads.STRANGER, SIGNED))


def test_another_algorithm_than_the_keys_own_is_refused():
    keys = trust.load_keys(pem(SPKI))
    for algorithm in (-257, -35, -8, 0, 7, -(1 << 64)):
        raises(SignatureError, verify, keys, algorithm, KID, SIGNED, SIGNATURE)


def test_other_bytes_or_a_signature_of_another_length_do_not_hold():
    keys = trust.load_keys(pem(SPKI))
    for signed, signature in (
        (SIGNED + b"\x00", SIGNATURE),
        (SIGNED[:-1], SIGNATURE),
        (b"", SIGNATURE),
        (SIGNED, b""),
        (SIGNED, SIGNATURE[:-1]),
        (SIGNED, SIGNATURE + b"\x00"),
        (SIGNED, bytes(64)),
    ):
        raises(SignatureError, verify, keys, trust.ES256, KID, signed, signature)
