"""Which test image runs here? Chosen by the SHA-256 at its end, as /etc/board_test.txt lists."""

from esp32 import Partition


def name():
    """Return the running image's behaviour, "" when it is none of the list."""
    running = Partition(Partition.RUNNING)
    digest = bytearray(32)
    with open("/etc/board_test.txt") as file:
        for line in file:
            size, expected, behaviour = line.split()
            at = int(size) - 32
            running.readblocks(at // 4096, digest, at % 4096)
            if digest.hex() == expected:
                return behaviour
    return ""
