"""Which test image runs here? Chosen by the SHA-256 at its end, as /etc/board_test.json lists."""

import json

from esp32 import Partition


def name():
    """Return the running image's behaviour, "" when it is none of the list."""
    with open("/etc/board_test.json") as file:
        images = json.load(file)
    running = Partition(Partition.RUNNING)
    digest = bytearray(32)
    for size, expected, behaviour in images:
        running.readblocks((size - 32) // 4096, digest, (size - 32) % 4096)
        if digest.hex() == expected:
            return behaviour
    return ""
