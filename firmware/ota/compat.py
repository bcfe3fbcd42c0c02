"""What CPython lacks of MicroPython, so that one source runs on the chip and on a laptop."""

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
