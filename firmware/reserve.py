"""Memory that Python's heap must leave alone, because the network needs it later.

On a chip without PSRAM, Wi-Fi, sockets and TLS allocate from what Python's heap has not taken, and
that heap takes all it finds whenever it grows. An application that loads modules first and connects
afterwards finds nothing left. MicroPython has no call to set memory aside, but a parked thread has
memory of its own: its stack.
"""

import _thread
import gc
import time

# Bytes that Wi-Fi's association, a connection and its messages take beside Python's heap: measured,
# docs/board-tests.md.
FOR_LINK = 22 * 1024
FOR_TLS = 48 * 1024
# With so much free heap (bytes) there is PSRAM, and nothing is scarce.
_PLENTY = 512 * 1024
# The operating system frees a stack when it has nothing else to do.
_FREEING_MS = 50


def keep(size):
    """Set `size` bytes aside until the function that is returned is called.

    Raises OSError when they are not there.
    """
    if not is_scarce():
        return lambda: None
    lock = _thread.allocate_lock()
    lock.acquire()
    _thread.stack_size(size)
    try:
        _thread.start_new_thread(lock.acquire, ())
    finally:
        _thread.stack_size(0)

    def give_back():
        lock.release()
        time.sleep_ms(_FREEING_MS)

    return give_back


def is_scarce():
    """Say whether Python and the network share a memory in which not everything fits."""
    return gc.mem_free() < _PLENTY
