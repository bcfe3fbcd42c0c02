"""What data paths and component writers are opened with: a real engine on a simulated chip.

Its clock stands still until a test moves it, so that pauses take no time.
"""

import os

from ota import channel, defaults, engine, inbox, journal, settings
from ota.board import Board
from ota.facts import Facts
from ota.manifest import Component

THING = "board-1"
_ticks_ms = channel.ticks_ms
_root = settings.ROOT


class Clock:
    """Milliseconds, as `channel.Timer` counts them."""

    def __init__(self):
        self.now = 1000

    def __call__(self):
        return self.now


def board(**changes):
    """Return the board.Board that runs slot 0 without an application directory.

    changes: of settings, which may be out of their limits.
    """
    chosen = defaults.agent_settings({"stream_json": changes.get("stream_json", 0)})
    chosen.update(changes)
    if not chosen["stream_json"]:
        chosen["message_size"] = chosen["block_size"]
    else:
        chosen["message_size"] = (chosen["block_size"] + 2) // 3 * 4
    installed = "ota_0", "1.0.0", 1, 0, "", (None, None), b"", 1
    return Board(Facts(chosen, "demo-board", None, *installed, 0, True, True, False))


def remove(path):
    """Remove a directory with everything in it, if it is there."""
    try:
        names = os.listdir(path)
    except OSError:
        return
    for name in names:
        below = path + "/" + name
        if os.stat(below)[0] & 0x4000:
            remove(below)
        else:
            os.remove(below)
    os.rmdir(path)


def component(size, kind=0, encoding=0, length=0, digest=None, coded=None):
    """Return the manifest.Component that a package of this one alone would have."""
    chip = 0 if kind == 0 else None
    return Component(kind, encoding, 4096, length or size, size, digest, chip, None, coded)


class World:
    """An engine with an update from `source`, or with `job`, in hand. There must be a chip.

    clock: Clock; client: as given. The update was in hand before a restart, so that a source that
    fails is asked again.
    """

    def __init__(self, client, source="", job=None, **changes):
        self.clock = channel.ticks_ms = Clock()
        self.client = client
        self.inbox = inbox.Inbox(inbox.Stats())
        self.engine = engine.Engine(
            board(**changes), self.inbox, client, THING, lambda event, detail: None
        )
        self.engine.channel.open()
        self.engine.source, self.engine.job = source, job
        self.engine.journal.phase = journal.RECEIVING

    @staticmethod
    def close():
        """Let the clock go on."""
        channel.ticks_ms = _ticks_ms


def write_directory(path, contents):
    """Write the directory of an application, and its list.

    contents: (path, bytes) in the order of the archive.
    """
    os.mkdir(path)
    with open(path + "/.files", "w") as listing:
        for name, data in contents:
            name = str(name, "ascii")
            listing.write("%d %s\n" % (len(data), name))
            if name.endswith("/"):
                os.mkdir(path + "/" + name[:-1])
            else:
                with open(path + "/" + name, "wb") as file:
                    file.write(data)


class Folder:
    """An empty file system in a folder of its own; `path` ends with a slash."""

    def __init__(self):
        number = 0
        while True:
            number += 1
            try:
                os.mkdir("/tmp/ota-%d" % number)
                break
            except OSError as error:
                if error.args[0] != 17:
                    raise
        self.path = settings.ROOT = "/tmp/ota-%d/" % number

    def close(self):
        """Remove it."""
        remove(self.path[:-1])
        settings.ROOT = _root
