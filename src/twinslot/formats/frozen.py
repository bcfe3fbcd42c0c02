"""The modules frozen into a firmware: their names, read out of its image. Pure.

MicroPython keeps them in one array of C strings, `mp_frozen_names`: "_boot.py", NUL, ...,
"umqtt/simple.py", NUL, and an empty string as its end. `_boot.py` is in it because every ESP32
build starts by running that. The simulated board's image has an archive instead, behind the
application descriptor (sim/image.py).
"""

import re
from collections.abc import Iterable

from twinslot.formats import image

_STARTER = "_boot.py"
# Tried where letters begin and nowhere within them: an image has long runs of what reads as such.
_TABLE = re.compile(rb"(?<![A-Za-z0-9_./-])(?:[A-Za-z0-9_./-]+\.m?py\0)+\0")
_ALIGNMENT = 4  # bytes, of the array; the last bytes of what lies before it may read as letters

_SIMULATED = b"MODS"
_SIMULATED_AT = image.DESCRIPTOR_OFFSET + 256  # the descriptor's length


def names(data: bytes) -> list[str]:
    """The file names of the modules in an application image ("asyncio/core.py").

    Empty when none are found: the image is not MicroPython's, or keeps them in another form.
    """
    if data[_SIMULATED_AT : _SIMULATED_AT + len(_SIMULATED)] == _SIMULATED:
        return _simulated(data)
    tables = (_table(match) for match in _TABLE.finditer(data))
    return max((table for table in tables if _STARTER in table), key=len, default=[])


def modules(names: Iterable[str]) -> set[str]:
    """The names for `import`: dht for "dht.py", asyncio for everything below "asyncio/"."""
    return {name.split("/")[0] if "/" in name else name.split(".")[0] for name in names}


def _table(match: re.Match[bytes]) -> list[str]:
    skipped = -match.start() % _ALIGNMENT
    return match[0][skipped:].decode("ascii").rstrip("\0").split("\0")


def _simulated(data: bytes) -> list[str]:
    at = _SIMULATED_AT + len(_SIMULATED)
    count = int.from_bytes(data[at : at + 2], "little")
    at += 2
    found = []
    for _ in range(count):
        start = at + 1
        at = start + int.from_bytes(data[at:start], "little")
        found.append(data[start:at])
        at += 4 + int.from_bytes(data[at : at + 4], "little")
        if at > len(data):
            return []  # damaged
    return [name.decode("utf-8", "replace") for name in found]
