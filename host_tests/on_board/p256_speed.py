"""How long a signature takes to verify, against a plain verification and RSA, in one run.

Prints with `show`; `python -m bench.p256` runs that on each MicroPython at hand.
"""

import gc
from binascii import unhexlify
from hashlib import sha256

import p256_plain
import vectors
from ota import p256

try:
    from time import ticks_diff, ticks_us
except ImportError:
    from time import perf_counter_ns

    def ticks_us():
        return perf_counter_ns() // 1000

    def ticks_diff(later, earlier):
        return later - earlier


NAMES = ("plain", "ota.p256", "RSA-3072")

_EXAMPLE = vectors.load("package-es256.json")
_ECDSA = (
    unhexlify(_EXAMPLE["spki_hex"])[-64:],
    sha256(unhexlify(_EXAMPLE["signed_bytes_hex"])).digest(),
    unhexlify(_EXAMPLE["signature_hex"]),
)
# As long as a modulus and a signature of RSA-3072; the time does not depend on what they are.
_MODULUS = int.from_bytes(b"".join(sha256(bytes([i])).digest() for i in range(12)), "big") | 1
_RSA = _MODULUS // 3, 65537, _MODULUS

_RUNS = (
    ("plain", p256_plain.verify, _ECDSA),
    ("ota.p256", p256.verify, _ECDSA),
    ("RSA-3072", pow, _RSA),
)
# So many in one go, garbage collections and all: WebAssembly's clock has milliseconds only.
_AT_ONCE = 5
_TRIES = 3


class Speed:
    """How long each of NAMES takes, in several rounds, of which the median counts."""

    def __init__(self):
        self._rounds = []

    def round(self):
        """Time each once more. Nothing of a key is kept from one verification to the next.

        Whatever else the machine does only adds to a time: of some tries the shortest counts. They
        alternate, so that all meet the same machine.
        """
        best = {}
        for _ in range(_TRIES):
            for name, function, arguments in _RUNS:
                gc.collect()
                start = ticks_us()
                for _ in range(_AT_ONCE):
                    assert function(*arguments), name
                taken = ticks_diff(ticks_us(), start) / _AT_ONCE
                best[name] = min(taken, best.get(name, taken))
        self._rounds.append(best)

    def median(self, name):
        """Return how many microseconds `name` takes."""
        return _median([best[name] for best in self._rounds])

    def ratio(self, name="ota.p256"):
        """Return how long `name` takes, as a part of the plain verification in the same round."""
        return _median([best[name] / best["plain"] for best in self._rounds])


def _median(numbers):
    return sorted(numbers)[len(numbers) // 2]


def show(rounds=11):
    """Print a line for each of NAMES: its name, milliseconds, ratio."""
    speed = Speed()
    for _ in range(rounds):
        speed.round()
    for name in NAMES:
        print("%s,%.2f,%.3f" % (name, speed.median(name) / 1000, speed.ratio(name)))
