"""The board's ECDSA agrees with NIST and Wycheproof, and refuses whatever is not a signature."""

from binascii import unhexlify
from hashlib import sha256

import vectors
from heads import times_g, to_affine
from ota import p256
from ota.compat import finish

EXAMPLE = vectors.load("package-es256.json")
KEY = unhexlify(EXAMPLE["spki_hex"])[-64:]
DIGEST = sha256(unhexlify(EXAMPLE["signed_bytes_hex"])).digest()
SIGNATURE = unhexlify(EXAMPLE["signature_hex"])
R = int.from_bytes(SIGNATURE[:32], "big")
S = int.from_bytes(SIGNATURE[32:], "big")


def bytes32(number):
    return number.to_bytes(32, "big")


def disagreements(name):
    """Return the comments of the vectors in file `name` that the board judges otherwise."""
    tests = vectors.load(name)["tests"]
    assert tests
    wrong = []
    for comment, key, message, signature, valid in tests:
        digest = sha256(unhexlify(message)).digest()
        if p256.verify(unhexlify(key), digest, unhexlify(signature)) is not valid:
            wrong.append(comment)
    return wrong


def test_every_nist_vector_is_judged_as_nist_does():
    assert disagreements("p256-nist.json") == []


def test_every_wycheproof_vector_is_judged_as_wycheproof_does():
    assert disagreements("p256-wycheproof.json") == []


def test_the_worked_examples_signature_holds():
    assert p256.verify(KEY, DIGEST, SIGNATURE)


def test_a_verification_yields_after_every_16_doublings_at_most():
    """So that a board can feed its watchdog, and hear its broker, in between."""
    slices = sum(1 for _ in p256.verifying(KEY, DIGEST, SIGNATURE))
    assert slices == 2 + 256 // 16 + 1, "before and after the multiples of the key, then 257 digits"


G = p256._pair(p256._ODD_G[:64])


def affine(u1, u2, q=G):
    """Return u1*G + u2*q as (x, 2y), None for the point at infinity."""
    x, w, z = finish(p256._joint(u1, u2, q))
    return to_affine(x, w, z) if z else None


def test_the_constants_are_a_curve_whose_odd_multiples_of_g_have_order_n():
    assert len(p256._ODD_G) == 16 * 64
    for i in range(16):
        x, w = p256._pair(p256._ODD_G[64 * i : 64 * i + 64])
        assert p256._on_curve(x, w * (p256.P + 1) // 2 % p256.P)
        assert affine(2 * i + 1, 0) == affine(0, 2 * i + 1) == (x, w)
        assert affine(0, p256.N, (x, w)) is None
    assert affine(p256.N, 0) is None


def test_both_scalars_reach_every_multiple_that_there_is_a_constant_for():
    # Digits of both signs, doubling a point by adding it to itself, and ending at infinity.
    assert affine(5, 7) == affine(12, 0) == affine(0, 12)
    assert affine(1, 1) == affine(2, 0)
    assert affine(1, p256.N - 1) is None
    for k in range(1, 128):
        assert affine(p256.N - k, 2 * k) == affine(k, 0) == affine(2 * k, p256.N - k), k


def test_r_and_s_outside_1_to_n_minus_1_are_refused():
    for bad in (0, p256.N, p256.N + 1, p256.P, 2**256 - 1):
        assert not p256.verify(KEY, DIGEST, bytes32(bad) + bytes32(S)), bad
        assert not p256.verify(KEY, DIGEST, bytes32(R) + bytes32(bad)), bad


def test_any_changed_bit_of_key_digest_or_signature_is_refused():
    for bit in range(0, 512, 37):
        changed = bytearray(SIGNATURE)
        changed[bit // 8] ^= 1 << bit % 8
        assert not p256.verify(KEY, DIGEST, changed), bit
        changed = bytearray(KEY)
        changed[bit // 8] ^= 1 << bit % 8
        assert not p256.verify(changed, DIGEST, SIGNATURE), bit
        changed = bytearray(DIGEST)
        changed[bit // 16] ^= 1 << bit % 8
        assert not p256.verify(KEY, changed, SIGNATURE), bit


def test_r_and_s_swapped_or_negated_r_are_refused():
    assert not p256.verify(KEY, DIGEST, bytes32(S) + bytes32(R))
    assert not p256.verify(KEY, DIGEST, bytes32(p256.N - R) + bytes32(S))


def test_the_twin_s_of_ecdsa_holds_so_a_package_is_known_by_its_manifest_alone():
    assert p256.verify(KEY, DIGEST, bytes32(R) + bytes32(p256.N - S))


def test_another_length_of_key_digest_or_signature_is_refused():
    for length in (0, 32, 63, 65, 128):
        assert not p256.verify((KEY + KEY)[:length], DIGEST, SIGNATURE)
        assert not p256.verify(KEY, DIGEST, (SIGNATURE + SIGNATURE)[:length])
    for length in (0, 20, 31, 33, 64):
        assert not p256.verify(KEY, (DIGEST + DIGEST)[:length], SIGNATURE)
    assert not p256.verify(b"\x04" + KEY, DIGEST, SIGNATURE)
    # The same numbers, one byte longer.
    assert not p256.verify(KEY[:32] + b"\x00" + KEY[32:], DIGEST, SIGNATURE)
    assert not p256.verify(KEY, b"\x00" + DIGEST, SIGNATURE)
    assert not p256.verify(KEY, DIGEST, SIGNATURE[:32] + b"\x00" + SIGNATURE[32:])


def test_a_key_that_is_no_point_of_the_curve_is_refused():
    x, y = p256._pair(KEY)
    for bad_x, bad_y in (
        (0, 0),  # how some libraries spell the point at infinity
        (x, 0),
        (0, y),
        (x, y + 1),
        (x + 1, y),
        (y, x),
        (p256.P, y),
        (x, p256.P),
        (2**256 - 1, 2**256 - 1),
    ):
        assert not p256.verify(bytes32(bad_x) + bytes32(bad_y), DIGEST, SIGNATURE), (bad_x, bad_y)


def test_coordinates_are_not_taken_modulo_p():
    # 0 and 5 are the x of points; x + P still fits into 32 bytes and would name the same point.
    for x in (0, 5):
        y = pow(x**3 - 3 * x + p256.B, (p256.P + 1) // 4, p256.P)
        assert p256._on_curve(x, y)
        assert not p256._on_curve(x + p256.P, y)
        assert not p256._on_curve(x, y + p256.P)


def test_a_forged_signature_that_leads_to_the_point_at_infinity_is_refused():
    # Q = G, s = e = -r (mod N): u1*G + u2*Q = (e + r)/s * G, the point at infinity.
    digest = bytes32(p256.N - R)
    assert affine(p256.N - 1, 1) is None
    assert not p256.verify(times_g(1), digest, bytes32(R) + bytes32(S))


def test_the_digest_zero_needs_no_multiple_of_g():
    # e = 0, Q = G, so r = x(r/s * G): with s = r that is x(G).
    r = bytes32(G[0] % p256.N)
    assert p256.verify(times_g(1), bytes(32), r + r)
