"""The board's RSA agrees with Wycheproof, and takes no signature that hides anything else."""

from binascii import unhexlify
from hashlib import sha256

import vectors
from ota import rsa


def judged(modulus, exponent, message, signature):
    digest = sha256(unhexlify(message)).digest()
    return rsa.verify((unhexlify(modulus), exponent), digest, unhexlify(signature))


def forged():
    """The vectors of our own, by their comments."""
    return {row[0]: row[1:] for row in vectors.load("rsa-forged.json")["tests"]}


def test_every_wycheproof_vector_is_judged_as_wycheproof_does():
    told = vectors.load("rsa-wycheproof.json")
    wrong = []
    for comment, key, message, signature, valid in told["tests"]:
        modulus, exponent = told["keys"][key]
        if judged(modulus, exponent, message, signature) is not valid:
            wrong.append(comment)
    assert wrong == []
    assert len(told["tests"]) == 259


def test_every_forgery_is_refused_and_every_size_of_key_taken():
    found = forged()
    wrong = [comment for comment in found if judged(*found[comment][:4]) is not found[comment][4]]
    assert wrong == []


def test_a_digest_of_another_length_is_refused():
    modulus, exponent, message, signature, _ = forged()["2048 bits"]
    key, digest = (unhexlify(modulus), exponent), sha256(unhexlify(message)).digest()
    assert rsa.verify(key, digest, unhexlify(signature))
    assert not rsa.verify(key, digest[:-1], unhexlify(signature))
    assert not rsa.verify(key, b"", unhexlify(signature))


def test_each_bit_of_a_signature_counts():
    modulus, exponent, message, signature, _ = forged()["2048 bits"]
    key, digest = (unhexlify(modulus), exponent), sha256(unhexlify(message)).digest()
    for at in range(0, 256, 17):
        changed = bytearray(unhexlify(signature))
        changed[at] ^= 1 << at % 8
        assert not rsa.verify(key, digest, bytes(changed)), at


def test_one_multiplication_is_a_slice():
    modulus, exponent, message, signature, _ = forged()["2048 bits"]
    work = rsa.verifying(
        (unhexlify(modulus), exponent), sha256(unhexlify(message)).digest(), unhexlify(signature)
    )
    assert exponent == 65537
    assert len(list(work)) == 17
