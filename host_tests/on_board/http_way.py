"""Prints what blocks over HTTP take of the heap, one figure a line.

micropython http_way.py ROOT URL SIZE
"""

import sys
import time

ROOT, URL, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
for _folder in ("firmware", "host_tests/on_board", "sim/chip"):
    sys.path.append(ROOT + "/" + _folder)

from block_way import Way  # noqa: E402
from chip_bench import Bench  # noqa: E402
from engine_world import World  # noqa: E402
from ota import http  # noqa: E402
from path_kits import Nobody  # noqa: E402
from test_block_allocations import by_sector  # noqa: E402


class Kit:
    """A file at an address, as `block_way` wants it. It must not be looked at."""

    data = bytes(SIZE)

    def turn(self):
        time.sleep_ms(1)


Bench()
world = World(Nobody(), source=URL)
path = http.make(world.engine)
while not path.size:
    path.poll(None)
    time.sleep_ms(1)
way = Way(Kit(), path, by_sector(SIZE))
way.measure()
print(way.figures[3:-1])
