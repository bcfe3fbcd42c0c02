"""Run by test_bundle.py under a MicroPython: the agent as one file, below /firmware of a made tree.

`expected.txt`, beside this file there: a line per module of the bundle, its name and the bytes of
its .mpy. No module of the agent is named here.
"""

import gc
import os
import sys
from errno import ENOENT, EPERM

from expect import raises

MOUNT = "/.ota"
TREE = sys.path[0][: -len("/firmware")]
BUNDLE = TREE + "/firmware/ota/bundle.mpy"
NO_FILE = ENOENT, 44  # the latter of WebAssembly's own file system, which has other numbers


def expected():
    """Return the modules of the bundle: name to bytes."""
    with open(TREE + "/host_tests/on_board/expected.txt") as file:
        return {line.split(" ")[0]: int(line.split(" ")[1]) for line in file}


def imported():
    """Unload the agent, leave the mount, import it again; returns `ota`."""
    for name in list(sys.modules):
        if name == "ota" or name.startswith("ota."):
            del sys.modules[name]
    return __import__("ota")


def load(name):
    """Import a module of the agent; False where this port lacks what a chip has."""
    try:
        __import__("ota." + name)
        return True
    except ImportError as error:
        if "ota." in str(error):
            raise
        return False


def errno_of(action, *arguments):
    """Return the number of the OSError that a call raises, 0 if it raises none."""
    try:
        action(*arguments)
    except OSError as error:
        return error.args[0]
    return 0


def test_every_module_is_imported_out_of_the_bundle():
    assert imported().__path__ == MOUNT
    loaded = ["ota." + name for name in expected() if load(name)]  # each imports others first
    assert len(loaded) > len(expected()) // 2
    assert sorted(loaded) == sorted(name for name in sys.modules if name.startswith("ota."))
    for name in loaded:
        assert sys.modules[name].__file__ == "%s/%s.mpy" % (MOUNT, name[4:])


def test_what_was_unloaded_is_imported_again():
    ota = imported()
    for name in expected():
        if not load(name):
            continue
        first = sys.modules.pop("ota." + name)
        delattr(ota, name)
        __import__("ota." + name)
        assert sys.modules["ota." + name] is not first


def test_ota_itself_is_imported_again_while_its_mount_is_still_there():
    first, second = imported(), imported()
    assert first is not second
    assert second.__path__ == MOUNT
    assert sorted(os.listdir(MOUNT)) == sorted(name + ".mpy" for name in expected())


def test_a_mount_that_is_gone_comes_back_by_the_import_alone():
    path = "%s/%s.mpy" % (MOUNT, min(expected()))
    imported()
    os.umount(MOUNT)
    assert errno_of(os.stat, path) in NO_FILE
    imported()
    assert errno_of(os.stat, path) == 0


def test_what_is_not_there_is_not_found():
    imported()
    name = min(expected())
    for other in ("", "nothing", ".mpy", name + ".mpy", name + " ", name[1:], name[:-1]):
        raises(ImportError, __import__, "ota." + other)
    for path in ("", "/", "/" + name, "/%s.py" % name, "/.mpy", "/ .mpy", "/%s.mpy" % name[1:]):
        assert errno_of(open, MOUNT + path, "rb") == ENOENT, path
    for path in ("/" + name, "/%s.py" % name, "/nothing.mpy", "/x/%s.mpy" % name):
        assert errno_of(os.stat, MOUNT + path) == ENOENT, path
    assert not os.stat(MOUNT)[0] & 0x4000, "a folder would make a package of an empty name"


def overwrite(path):
    with open(path, "wb") as file:
        file.write(b"M")


def test_nobody_enters_or_changes_it():
    imported()
    here, path = os.getcwd(), "%s/%s.mpy" % (MOUNT, min(expected()))
    assert errno_of(os.chdir, MOUNT) == EPERM
    raises((OSError, AttributeError), os.remove, path)
    raises((OSError, AttributeError), os.mkdir, MOUNT + "/folder")
    raises((OSError, AttributeError), open, MOUNT + "/new.mpy", "wb")
    raises((OSError, AttributeError), overwrite, path)
    assert os.getcwd() == here
    __import__("ota." + min(expected()))


def test_a_module_is_read_piece_by_piece_and_ends_where_it_ends():
    """No piece of heap as long as the module is asked for."""
    imported()
    for name, size in expected().items():
        buf, total = bytearray(64), 0
        gc.collect()
        before = gc.mem_alloc()
        with open("%s/%s.mpy" % (MOUNT, name), "rb") as file:
            count = file.readinto(buf)
            assert buf[:2] == b"M\x06"
            while count:
                total += count
                count = file.readinto(buf)
        assert total == size
        taken = gc.mem_alloc() - before
        assert taken < 5000, "reading %d bytes took %d" % (size, taken)


def test_a_damaged_bundle_is_named_wherever_it_is_cut():
    with open(BUNDLE, "rb") as file:
        whole = file.read()
    try:
        for length in (0, 5, 20, 60, 300, 5000, len(whole) - 1):
            with open(BUNDLE, "wb") as file:
                file.write(whole[:length])
            error = raises(ImportError, imported)
            assert "ota/bundle.mpy is damaged: install the agent again" in str(error), error
    finally:
        with open(BUNDLE, "wb") as file:
            file.write(whole)
    assert imported().__path__ == MOUNT


def test_without_a_bundle_the_modules_beside_it_are_imported():
    """As a person may compile them, a file each."""
    if errno_of(os.stat, "/nothing") != ENOENT:
        return  # no port of a chip
    imported()
    modules = {}
    for name in expected():
        with open("%s/%s.mpy" % (MOUNT, name), "rb") as file:
            modules["%s/firmware/ota/%s.mpy" % (TREE, name)] = file.read()
    os.umount(MOUNT)
    os.rename(BUNDLE, BUNDLE + "~")
    try:
        for path, data in modules.items():
            with open(path, "wb") as file:
                file.write(data)
        assert imported().__path__ == TREE + "/firmware/ota"
        assert errno_of(os.stat, MOUNT) in NO_FILE
        assert [name for name in expected() if load(name)]
    finally:
        for path in modules:
            os.remove(path)
        os.rename(BUNDLE + "~", BUNDLE)
