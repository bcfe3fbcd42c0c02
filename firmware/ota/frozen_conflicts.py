"""Files of the application that hide modules frozen into the firmware beside it.

MicroPython looks into the application's directory first, so an old module there is used in place of
a newer frozen one. `fleet pack` warns where it knows both. Where only the board does, it compares
with the names of the frozen modules that are signed into the package (manifest, component key 64).
"""

import os

from . import package
from .package import FIRMWARE
from .settings import absolute

_COMPONENTS = 7
_KIND = 1
_FROZEN = 64


def find(records, directory):
    """Return the names of modules (list of str) that lie in `directory` and in the firmware.

    records: of a slot's trailer, verified; directory: "" for a flat board.
    """
    frozen = []
    for record in package.split(records):
        manifest = package.loads(package.loads(record[8:]).value[2])
        for component in manifest[_COMPONENTS]:
            if component[_KIND] == FIRMWARE:
                frozen = component.get(_FROZEN, [])
                break
        else:
            continue
        break
    if not isinstance(frozen, list):
        return []
    found = []
    for name in os.listdir(absolute(directory)):
        stem, _, form = name.rpartition(".")
        module = stem if form in ("py", "mpy") else name
        if module in frozen:
            found.append(module)
    return sorted(found)
