"""Damaged copies of valid bytes, the same ones in every run and on every interpreter."""


class Mutations:
    """Makes damaged copies. seed: an int that every run repeats."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        """Return the next pseudo-random number from 0 to limit - 1 (Numerical Recipes' LCG)."""
        self._state = (self._state * 1664525 + 1013904223) & 0xFFFFFFFF
        return (self._state >> 8) % limit

    def of(self, data):
        """Return a copy of `data` with 1 to 3 damages: a bit, a byte, a cut, a gap, a repeat."""
        damaged = bytearray(data)
        for _ in range(1 + self.below(3)):
            damaged = self._damage(damaged)
        return bytes(damaged)

    def _damage(self, data):
        kind = self.below(6)
        if not data:
            return bytearray([self.below(256)])
        at = self.below(len(data))
        if kind == 0:
            data[at] ^= 1 << self.below(8)
        elif kind == 1:
            data[at] = self.below(256)
        elif kind == 2:
            data[at] = 0xFF if self.below(2) else 0x5B + 0x20 * self.below(3)
        elif kind == 3:
            return data[:at]
        elif kind == 4:
            return data[:at] + data[at + 1 + self.below(4) :]
        else:
            return data[: at + 1] + data[at:]
        return data
