"""Over-the-air updates for MicroPython on ESP32: the counterpart of the FreeRTOS OTA agent.

    from ota.agent import Agent

    agent = Agent(client, "board-1", settings=ota.load_settings())

`client` is the application's own MQTT client. Feed `agent.on_message` from its callback, call
`agent.start()` after every connect and `agent.step()` in the loop.

Importing `ota` alone takes little, so that an application may first open what needs memory.
"""

if __file__.endswith(".mpy"):
    # Compiled, the other modules lie in one file beside this one, and are imported out of it (docs/
    # architecture.md, One file on the board). As source or frozen they lie as modules always do.
    import os

    import deflate

    class _Bundle:
        """The modules in one file as a file system: flat, read-only, as much as an import needs.

        path: of the file, a line `ota-bundle SIZE EXTENSIONS`, a line of `/NAME OFFSET` for each
        module, a stored block of 1000 bytes that they have in common, then each one: the rest of a
        raw deflate stream that begins with this block. SIZE in bytes, decimal, of the file;
        OFFSET in it, five hexadecimal digits. The file stays open, because littlefs takes tens of
        milliseconds to look it up; a module is lent piece by piece, so no heap is needed for a
        whole one.
        """

        # What os.stat says of a file; ENOENT and EPERM below.
        _a_file = 0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0

        def __init__(self, path):
            self._file = file = open(path, "rb")
            head = file.readline().split()
            self._index = str(file.readline(), "utf-8")
            self._words = file.tell()
            self._skip = bytearray(100)
            if head[:2] != [b"ota-bundle", b"%d" % file.seek(0, 2)]:
                raise ImportError(path + " is damaged: install the agent again")

        def _offset(self, path):
            at = self._index.find(path[:-4] + " ")
            if at < 0 or path[-4:] != ".mpy":
                raise OSError(2)
            at += len(path) - 3
            return int(self._index[at : at + 5], 16)

        def stat(self, path):
            # The mount point is no folder, or `ota.` would be a package. mpremote df asks for it.
            if path != "/":
                self._offset(path)
            return self._a_file

        statvfs = stat

        def open(self, path, _mode):
            at = self._offset(path)
            self._file.seek(self._words)
            inflated = deflate.DeflateIO(self._file, deflate.RAW, 11)
            for _ in range(10):
                inflated.readinto(self._skip)
            self._file.seek(at)
            return inflated

        def ilistdir(self, _path):
            for part in self._index.split("/")[1:]:
                yield part.split(" ")[0] + ".mpy", 0x8000, 0

        def chdir(self, _path):
            raise OSError(1)

        def mount(self, *_):
            pass

        umount = mount

    try:
        _bundle = _Bundle(__file__[:-12] + "bundle.mpy")
    except OSError as error:
        if error.args[0] != 2:
            raise
    else:
        try:
            os.umount("/.ota")  # of an `ota` that was imported before and unloaded
        except OSError:
            pass
        os.mount(_bundle, "/.ota")
        __path__ = "/.ota"  # type: ignore[assignment]
        del _bundle
    del _Bundle

from . import loader
from .chip import note_link
from .errors import OtaError, SettingsError, StateError
from .settings import load_settings

__version__ = "0.3.0.dev0"

# States and events, as they are printed.
NOT_READY = "NotReady"
READY = "Ready"
ACTIVE = "Active"
SHUTTING_DOWN = "ShuttingDown"
SUSPENDED = "Suspended"

EVENT_ACTIVATE = "Activate"
EVENT_FAIL = "Fail"
EVENT_START_TEST = "StartTest"
EVENT_RECEIVED_JOB = "ReceivedJob"
EVENT_PROCESSED = "Processed"
EVENT_UPDATE_COMPLETE = "UpdateComplete"
EVENT_SELF_TEST_FAILED = "SelfTestFailed"
EVENT_PARSE_CUSTOM_JOB = "ParseCustomJob"


def set_aside(tls=False):
    """Keep the memory that a link needs, with TLS or without, while modules load.

    Returns a function that gives it back. Raises OSError when so much is not there.
    """
    return loader.lend("link_open").set_aside(tls)


def doubts(settings, own=()):
    """Return a sentence for each setting that nobody reads, with the nearest one that is read.

    own: names that the application itself reads.
    """
    return loader.lend("defaults").doubts(settings, own)


def join_wifi(settings):
    """Join the first Wi-Fi of the settings that lets the board in. It takes 30 s for each, at most.

    Raises OSError with the reasons, SettingsError.
    """
    loader.lend("wifi").join(settings)


def ask_time(server):
    """Ask an NTP server for the time, if the clock was never set. Returns False when it is not.

    server: its name or address, None to ask nobody. A broker's certificate has dates.
    """
    return not server or loader.lend("clock").ask(server)


def status():
    """Print what runs, what is in hand and what happened last, for a person at the REPL."""
    _answer("status", "show", _live())


def history():
    """Print the last eight results with their causes, newest first."""
    _answer("status", "history", _live())


def check_for_update():
    """Let the live agent ask the job service for work."""
    _answer("command", "check_for_update", _live())


def accept():
    """Accept the image under test through the live agent."""
    _answer("command", "accept", _live())


def verify():
    """Hash both slots again and print whether they are what their trailers say."""
    _answer("command", "verify")


def install(source):
    """Install a package: its path ("/sd/x.ota"), its address, or an object as in `source`."""
    _answer("install", "install", _live(), source)


def receive(size):
    """Install a package of `size` bytes that `fleet send` sends through this console."""
    _answer("install", "receive", _live(), size)


def rollback(yes=False):
    """Ask, then return to the image in the other slot, which must prove itself like a new one.

    yes (bool): do not ask.
    """
    _answer("command", "rollback", _live(), yes)


def crashed(error):
    """Tell that the application died of `error`: an image under test is rolled back at once."""
    loader.ask("crash", "crashed", error)


def _live():
    """Return the agent that runs, or None."""
    return (loader.is_loaded("agent") and loader.module("agent").Agent.current) or None


def _answer(question, function, *arguments):
    """Let a module answer a person. An agent in another thread stands still."""
    agent = _live()
    if agent:
        agent.lock.acquire(True)
    try:
        loader.ask(question, function, *arguments)
    finally:
        if agent:
            agent.lock.release()
