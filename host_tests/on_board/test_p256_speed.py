"""A signature is verified in at most three quarters of the time of a plain verification."""

import sys

import p256_speed
from ota import p256

# The promise is for a chip and for the unix port. CPython and WebAssembly, to whom a reduction is
# cheaper beside everything else, only have to be faster than the plain version.
LIMIT = 0.75 if sys.implementation.name == "micropython" and sys.platform == "linux" else 0.9
ROUNDS = 11
SLOW = ["test_a_cold_verification_takes_at_most_three_quarters_of_a_plain_one"]


def test_a_cold_verification_takes_at_most_three_quarters_of_a_plain_one():
    speed = p256_speed.Speed()
    for _ in range(ROUNDS):
        speed.round()
    ratio = speed.ratio()
    assert ratio <= LIMIT, "%.3f of the plain version" % ratio


def test_a_verification_has_sixteen_slices_and_more():
    key, digest, signature = p256_speed._ECDSA
    assert sum(1 for _ in p256.verifying(key, digest, signature)) >= 16
