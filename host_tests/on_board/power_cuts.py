"""Updates of an application under MicroPython, in a real littlefs, with power that fails.

    micropython power_start.py ROOT SOURCES SCENARIO <CUTS

ROOT: the work tree; SOURCES: a folder with boot.py and firmware/; SCENARIO: a folder that
host_tests/application_cuts.py wrote; CUTS: JSON, a list of [seed, operation, ...], each for a board
of its own: the power fails in that flash operation, then in the one so many further on, and so on.
Prints a line of JSON for the update without a cut, and for each of these. One process: the boards
live in memory, and modules are imported once.
"""

import builtins
import gc
import json
import os
import sys
from hashlib import sha256

import disk
import esp32
import hardware
import machine
import nor
import time_2000
import vfs
from layout import FLASH_SIZE, SLOTS, TABLE
from ota import chip, loader
from ota.agent import Agent

_FOLDER = 0x4000
_MOUNT = ".ota"  # of the agent's own bundle, which is not this board's
_EIO = -5
# More boots than any road needs, without sleep.
_BOOTS = 10
_STEPS = 3000
_PATH = ["", ".frozen", "/lib"]
_PATH.extend(sys.path)
_VFS = next(row for row in TABLE if row[0] == "vfs")
_LITTLEFS = {"progsize": 32, "readsize": 32, "lookahead": 32}
# What was written to NVS: the journal's phases, and "history".
_blobs = []
# Bytes that were read of the package.
_read = [0]


class Threads:
    """Stands for `_thread`: no boot takes as long as a trial may, so no deadline passes."""

    def stack_size(self, size):
        pass

    def start_new_thread(self, function, arguments):
        pass


def _run_nothing(name, names):
    """Stand for an application's main.py, whose work is done here."""


class Cells(nor.Memory):
    """A copy of another board's cells, None for a blank one's."""

    def __init__(self, other=None):
        super().__init__()
        if other:
            for sector in other._sectors:
                self._sectors[sector] = bytearray(other._sectors[sector])

    def read_block(self, address, buf):
        """Fill `buf` with what lies within one sector: littlefs asks some 100,000 times."""
        cells = self._sectors.get(address // nor.SECTOR)
        at = address % nor.SECTOR
        buf[:] = memoryview(cells)[at : at + len(buf)] if cells else b"\xff" * len(buf)

    def clear(self):
        """Let go of the memory."""
        self._sectors.clear()


class Flash(nor.Nor):
    """A flash that notes the partition and kind of each operation: `done`, [label, kind, count]."""

    def __init__(self, cells, seed):
        super().__init__(cells, FLASH_SIZE, seed)
        self.cells = cells
        self.done = []

    def forget(self):
        """Let go of the memory: dead files may keep the rest of it."""
        self.cells.clear()
        self.done = []

    def _erase(self, address, size):
        self._note(address, "erase")
        super()._erase(address, size)

    def _program_page(self, address, piece):
        self._note(address, "program")
        super()._program_page(address, piece)

    def _note(self, address, kind):
        for row in TABLE:
            if row[3] <= address < row[3] + row[4]:
                break
        trailer = row in SLOTS and address >= row[3] + row[4] - nor.SECTOR
        label = row[0] + " trailer" if trailer else row[0]
        if not self.done or self.done[-1][:2] != [label, kind]:
            self.done.append([label, kind, 0])
        self.done[-1][2] += 1


class FailingDisk(disk.Disk):
    """littlefs does not survive an exception in its midst: it is told of an error instead."""

    def readblocks(self, block, buf, offset=0):
        self._flash.cells.read_block(self._start + block * nor.SECTOR + offset, buf)

    def writeblocks(self, block, buf, offset=0):
        return self._tell(super().writeblocks, block, buf, offset)

    def ioctl(self, operation, argument):
        return self._tell(super().ioctl, operation, argument)

    def _tell(self, action, *arguments):
        try:
            return action(*arguments)
        except nor.PowerCut:
            return _EIO


class Files:
    """The littlefs of one boot. Whoever wrote when the power failed gets to know PowerCut."""

    def __init__(self, flash):
        self._flash = flash
        self._littlefs = vfs.VfsLfs2(FailingDisk(flash, _VFS, None), **_LITTLEFS)
        self._open = []
        vfs.mount(self, "/")

    def __getattr__(self, name):
        action = getattr(self._littlefs, name)
        return lambda *arguments: self.call(action, *arguments)

    def call(self, action, *arguments):
        """Do something that may write."""
        result = error = None
        try:
            result = action(*arguments)
        except OSError as failed:
            error = failed
        if self._flash.dead:
            raise nor.PowerCut
        if error:
            raise error
        return result

    def chdir(self, path):
        self._littlefs.chdir(path)

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def open(self, path, mode):
        file = self.call(self._littlefs.open, path, mode)
        if mode in ("r", "rb"):
            return file
        self._open.append(file)
        return Written(file, self)

    def end(self):
        """Switch off. What is open must not be closed by the garbage collector: that writes."""
        os.chdir("/")
        vfs.umount("/")
        self._flash.dead = True
        for file in self._open:
            try:  # noqa: SIM105 - MicroPython has no contextlib
                file.close()
            except OSError:
                pass  # there is no power


class Written:
    """A file that is written."""

    def __init__(self, file, files):
        self._file = file
        self._files = files

    def write(self, data):
        return self._files.call(self._file.write, data)

    def flush(self):
        self._files.call(self._file.flush)

    def seek(self, offset):
        self._file.seek(offset)

    def close(self):
        self._files.call(self._file.close)

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.close()


class Board:
    """A board from delivery to scrap. cells: of its flash; scenario: what it goes through.

    seed: chooses how much of a cut operation is done; cuts: after how many operations each.
    """

    def __init__(self, scenario, cells, seed=0, cuts=()):
        self.scenario = scenario
        self.folder = scenario["folder"]
        self.flash = Flash(cells, seed)
        self.cause = hardware.PWRON
        self.boots = 0
        self.failures = 0
        self.asked = 0
        self.heard = None
        self.sequence = 1
        self.old = None
        self.result = None
        self.cuts = list(cuts)
        self.own = scenario["own"]
        self._plan()

    def _plan(self):
        """Let the power fail once more, if it is to."""
        if self.cuts:
            self.flash.cut_at = self.flash.operations + self.cuts.pop(0)

    def live(self, action):
        """Boot, carry out `action`, and switch off. Returns False when a reset or cut ended it."""
        self.boots += 1
        files = None
        try:
            hardware.power_on(self.flash, self.cause)
            time_2000.start(0)
            chip._watchdog = chip._note = None
            files = Files(self.flash)
            sys.path[:] = _PATH
            names = {"__name__": "__main__"}
            exec(self.scenario["boot.py"], names)
            if "boot run" in sys.modules:
                self.scenario["run"]("main.py", names)
            if self.own:
                _import_own()
            action()
            return True
        except hardware.Reset as reset:
            self.cause = reset.cause
        except nor.PowerCut:
            self.cause = hardware.PWRON
            self.failures += 1
            self.flash.cut_at = None
            self._plan()
        finally:
            if files:
                files.end()
        return False

    def prepare(self):
        """Lay down what a cable brings: an image with its trailer, settings, the flat files."""
        start, size = SLOTS[0][3], SLOTS[0][4]
        self.flash.program(start, self._read("image.bin"))
        self.flash.program(start + size - nor.SECTOR, self._read("trailer.bin"))
        vfs.VfsLfs2.mkfs(disk.Disk(self.flash, _VFS, None), **_LITTLEFS)

        def write():
            for folder in ("/etc", "/ota"):
                os.mkdir(folder)
            with open("/boot.py", "w") as file:
                file.write(self.scenario["source"])
            for path in self.scenario["cable"]:
                with open("/" + path, "w") as file:
                    file.write(self.scenario["cable"][path])
            for path in self.scenario["agent"]:
                with open("/" + path, "wb") as file:
                    file.write(self._read(self.scenario["agent"][path]))

        self.own = False
        assert self.live(write)
        self.own = self.scenario["own"]

    def update(self, package):
        """Carry out an update from a file, to the end. Raises AssertionError when it is not."""

        awake = self.scenario["awake"]

        def work():
            here = hardware.board.running, os.getcwd()
            self.sequence = self.find(package, here)
            agent = Agent(None, "board-1", settings=self.scenario["settings"])
            assert agent.running[1] == self.sequence, "the agent knows what runs"
            if self.sequence != package["sequence"]:
                self.old = here
                if agent.journal.origin != "local" and not self.is_over(package, agent):
                    self.asked += 1
                    agent.install(self.folder + package["file"])
                    self.heard = self.heard or self.flash.operations
            begun = 0
            for _ in range(_STEPS):
                if agent.step():
                    break
                have = agent.progress and agent.progress[0]
                if have and awake:
                    begun = begun or have
                    if have >= begun + awake:
                        assert agent.sleep_cost() <= self.scenario["costs"], agent.sleep_cost()
                        agent.shutdown()
                        machine.deepsleep(1)
            else:
                raise AssertionError("it never comes to rest")
            assert not _set_aside(), "%s is left over" % _set_aside()
            if self.sequence == package["sequence"]:
                self.end(package, agent)
            elif self.is_over(package, agent):
                self.result = agent.journal.history()[0]

        for _ in range(_BOOTS + (40 if awake else 0)):
            if self.live(work):
                break
        else:
            raise AssertionError("it resets without end")
        twice = self.failures > 1  # during the test: then it has failed by that
        if package["fails"]:
            assert self.result, "it must fail"
            cause = self.result["cause"]
            assert cause == package["fails"] or (twice and cause == "power"), self.result
        elif self.result:
            assert self.result["cause"] == "power" and twice, self.result
        else:
            assert self.sequence == package["sequence"], "sequence %d runs at last" % self.sequence

    def is_over(self, package, agent):
        """Say whether the package has failed."""
        history = agent.journal.history()
        return history != [] and history[0]["sequence"] == package["sequence"]

    def end(self, package, agent):
        """Check how it has ended."""
        assert agent.image_state == 2, "it is accepted"
        assert agent.journal.accepted()[0] == package["sequence"]
        assert agent.journal.phase == "ACCEPTED"
        assert self.find(package, self.old) != package["sequence"], "the way back is whole"

    def find(self, package, place):
        """Return the sequence of the pair there: the package's, or the one before.

        place: slot and directory. Raises AssertionError when image and files are of no one pair.
        """
        slot, folder = place
        sequence = package["sequence"]
        if self.scenario["pairs"][str(sequence)]["slot"] != slot:
            sequence = package["before"]
        pair = self.scenario["pairs"][str(sequence)]
        assert self._is_image(slot, pair["image"]) and _are_files(folder, pair["files"]), (
            "slot %d and %s are no pair; there are %s" % (slot, folder, _walk(folder))
        )
        return sequence

    def _read(self, name):
        with open(self.folder + name, "rb") as file:
            return file.read()

    def _is_image(self, slot, image):
        data = bytearray(image["size"])
        self.flash.read(SLOTS[slot][3], data)
        return sha256(data).digest().hex() == image["sha256"]


def _are_files(folder, files):
    return _walk(folder) == sorted(files) and all(
        _content(folder, path) == files[path] for path in files
    )


def _walk(base):
    """Return the sorted paths of all files below `base`, but what no package brings."""
    found = []
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in os.ilistdir(base + "/" + folder):
            path = folder + entry[0]
            if entry[1] == _FOLDER:
                others = path in ("etc", "app_0", "app_1", _MOUNT) or path.startswith(".old_")
                if base != "/" or not others:
                    folders.append(path + "/")
            elif path not in (".files", "boot.py"):
                found.append(path)
    return sorted(found)


def _set_aside():
    """Return the names of directories that wait for their removal."""
    return [name for name in os.listdir("/") if name.startswith(".old_")]


def _content(base, path):
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = sha256()
    piece = bytearray(4096)
    with open(base + "/" + path, "rb") as file:
        while True:
            count = file.readinto(piece)
            if not count:
                return digest.digest().hex()
            digest.update(memoryview(piece)[:count])


def _import_own():
    """Let the agent be the one in this board's directory, as after a reset of the chip."""
    global chip, loader, Agent
    for name in list(sys.modules):
        if name.split(".")[0] == "ota":
            del sys.modules[name]
    import ota
    from ota import chip, loader
    from ota.agent import Agent

    assert not ota.__file__.startswith("/host"), "%s is not of the board's flash" % ota.__file__
    assert ota.__path__ == "/" + _MOUNT, "as one file"


def _load_once():
    """Read each module from the host's disk once: later it comes back as it was at first.

    An update loads and unloads the agent's modules phase by phase, and inflates them each time.
    """
    changes = {"p256": _remember_signatures, "source": _count_what_is_read}
    known = {}
    load = loader._load

    def loading(name):
        if name not in known:
            load(name)
            module = loader.module(name)
            if name in changes:
                changes[name](module)
            known[name] = module, {key: getattr(module, key) for key in dir(module)}
            return
        module, at_first = known[name]
        for key in dir(module):
            if key not in at_first:
                delattr(module, key)
        for key in at_first:
            setattr(module, key, at_first[key])
        sys.modules["ota." + name] = module
        setattr(sys.modules["ota"], name, module)

    loader._load = loading


def _remember_signatures(p256):
    """Verify each signature once: its arithmetic takes longer than all the rest of an update."""
    known = []
    verifying = p256.verifying

    def remembered(key, digest, signature):
        mark = digest + key + signature
        if mark in known:
            return True
        good = yield from verifying(key, digest, signature)
        if good:
            known.append(mark)
        return good

    p256.verifying = remembered


def _count_what_is_read(source):
    """Let the bytes that are read of a package be counted."""
    read = source.File.read

    def counted(self, offset, view):
        _read[0] += len(view)
        return read(self, offset, view)

    source.File.read = counted


def _note_blobs():
    """Let every write to NVS be noted."""
    set_blob = esp32.NVS.set_blob

    def noted(nvs, key, value):
        _blobs.append(json.loads(value)["phase"] if key == "journal" else key)
        set_blob(nvs, key, value)

    esp32.NVS.set_blob = noted


def _carry_out(scenario, cells, seed=0, cuts=()):
    """Return what became of one update, for the host."""
    board = Board(scenario, Cells(cells), seed, cuts)
    _blobs.clear()
    _read[0] = 0
    told = {"cuts": cuts}
    try:
        board.update(scenario["package"])
    except AssertionError as error:
        told["error"] = str(error)
    told["missed"] = len(board.cuts) + (board.flash.cut_at is not None)
    told["boots"], told["asked"], told["result"] = board.boots, board.asked, board.result
    told["read"] = _read[0]
    if not cuts:
        told["operations"], told["heard"] = board.flash.operations, board.heard
        told["done"], told["blobs"] = board.flash.done, _blobs
    board.flash.forget()
    gc.collect()
    return told


def main(sources, folder):
    """Go through the scenario in `folder`, once for each line of JSON."""
    with open(folder + "/scenario.json") as file:
        scenario = json.load(file)
    scenario["folder"] = folder + "/"
    with open(sources + "/boot.py") as file:
        scenario["source"] = file.read()
    scenario["boot.py"] = compile(scenario["source"], "boot.py", "exec")
    sys.modules["_thread"] = Threads()
    scenario["run"] = builtins.execfile
    builtins.execfile = _run_nothing
    if not scenario["own"]:
        _load_once()
    _note_blobs()
    board = Board(scenario, Cells())
    board.prepare()
    for package in scenario["earlier"]:
        board.update(package)
    cells = board.flash.cells
    print(json.dumps(_carry_out(scenario, cells)))
    for seed, *cuts in json.load(sys.stdin):
        print(json.dumps(_carry_out(scenario, cells, seed, cuts)))
