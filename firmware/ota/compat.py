"""Substitutes for MicroPython's own names, so that one source runs on the chip and on a laptop.

Also helpers for every module: a lock, a pause with a random part, and a function that runs a
generator to its end.
"""

try:
    from micropython import const
except ImportError:

    def const(value):
        """Return `value`; MicroPython's compiler folds it into the code instead."""
        return value


try:
    from gc import mem_free
except ImportError:

    def mem_free():
        """Return the bytes of free heap; 0, as CPython does not count them."""
        return 0


try:
    from time import sleep_ms, ticks_add, ticks_diff, ticks_ms
except ImportError:
    from time import monotonic, sleep

    def ticks_ms():
        """Return milliseconds since some moment; compare only with `ticks_diff`."""
        return int(monotonic() * 1000)

    def ticks_diff(later, earlier):
        """Return `later - earlier` in milliseconds."""
        return later - earlier

    def ticks_add(ticks, delta):
        """Return the moment `delta` milliseconds after `ticks`."""
        return ticks + delta

    def sleep_ms(milliseconds):
        """Do nothing for so long."""
        sleep(milliseconds / 1000)


try:
    from _thread import allocate_lock, get_ident
except ImportError:  # a port without threads: the one thread holds every lock already

    def get_ident():
        """Return the number of this thread."""
        return 0

    class allocate_lock:  # noqa: N801
        """A lock that nobody waits for."""

        def release(self):
            """Give the lock back."""


try:
    from os import urandom
except ImportError:  # WebAssembly
    from random import getrandbits

    def urandom(size):
        """Return random bytes."""
        return bytes([getrandbits(8) for _ in range(size)])


def spread(pause_ms):
    """Return 50 to 100 % of a pause, at random: no two boards come back in step."""
    return pause_ms - (pause_ms * (urandom(1)[0] << 8 | urandom(1)[0]) >> 17)


class Lock:
    """A lock that its holder may take again, as a callback does that calls back.

    depth: how often it is held.
    """

    def __init__(self):
        self._lock = allocate_lock()
        self._holder = 0
        self.depth = 0

    def acquire(self, wait):
        """Take the lock. wait (bool): until it is free. Returns whether it was taken."""
        me = get_ident()
        if self._holder != me:
            if not self._lock.acquire(wait):
                return False
            self._holder = me
        self.depth += 1
        return True

    def release(self):
        """Give the lock back."""
        self.depth -= 1
        if self.depth == 0:
            self._holder = 0
            self._lock.release()

    def __enter__(self):
        self.acquire(True)

    def __exit__(self, *_):
        self.release()


def finish(work):
    """Run the generator `work` to its end at once. Returns its result."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        return end.value
