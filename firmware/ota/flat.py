"""What a flat board keeps in `/` when its application has moved into a directory.

Once no slot goes with the flat files, nobody imports those modules in `/` that the application's
directory has, too. Only these are left over, and what lies in `/ota` if the directory has an agent.
`boot.py`, data and all of `/lib` stay.
"""

import os

from .settings import absolute, is_there

_AGENT = "ota/"


def left(running, listed):
    """Yield (path, bytes) of flat files that nobody uses; then of a directory, which ends with "/".

    running: name of the directory that runs; listed: `cleanup.listed` of it. Raises OSError.
    """
    agent = False
    top = absolute(running)
    lie = os.listdir(absolute(""))
    for path, _ in listed:
        path = path[len(top) + 1 :]
        stem, _, form = path.rpartition(".")
        if form in ("py", "mpy") and not path.startswith("lib/"):
            forms = [stem + ".py", stem + ".mpy"]
        elif path.startswith(_AGENT) and not path.endswith("/"):
            forms = [path]
        else:
            continue
        for path in forms:
            # Where its folder is not there, nothing is looked up.
            if path.partition("/")[0] in lie and is_there(path):
                agent = agent or path.startswith(_AGENT)
                path = absolute(path)
                yield path, os.stat(path)[6]
    if agent and not os.listdir(absolute(_AGENT[:-1])):
        yield absolute(_AGENT), 0
