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

# WebAssembly's clock has milliseconds only.
_AT_ONCE = 5


class Speed:
    """The shortest times so far, in microseconds: best[name] for each of NAMES.

    Whatever else the machine does only adds to a time, so the shortest is the one to compare.
    """

    def __init__(self):
        self.best = {}

    def round(self):
        """Time each once more. Nothing of a key is kept from one verification to the next."""
        self._time("plain", p256_plain.verify, *_ECDSA)
        self._time("ota.p256", p256.verify, *_ECDSA)
        self._time("RSA-3072", pow, *_RSA)

    def _time(self, name, function, *arguments):
        gc.collect()
        start = ticks_us()
        for _ in range(_AT_ONCE):
            assert function(*arguments), name
        taken = ticks_diff(ticks_us(), start) / _AT_ONCE
        self.best[name] = min(taken, self.best.get(name, taken))

    def ratio(self, name="ota.p256"):
        """Return how long `name` takes, as a part of the plain verification."""
        return self.best[name] / self.best["plain"]


def show(rounds=20):
    """Print a line for each of NAMES: its name, milliseconds, ratio."""
    speed = Speed()
    for _ in range(rounds):
        speed.round()
    for name in NAMES:
        print("%s,%.2f,%.3f" % (name, speed.best[name] / 1000, speed.ratio(name)))
