"""What happens from a reset on: bootloader, file system, frozen _boot, boot.py, main.py, REPL.

Started by sim/supply.py, which is the power supply, the watchdog and the other end of the console.
The first line of standard input is JSON: flash (path), wire (descriptor), cause, slot, rollback,
rtc (hex), clock, wifi, watchdog_ms, uptime_ms, raw, encrypted, ssid, password, cut_at, seed. From
there on standard input and output are the console. On the wire the board tells, a line each:

    slot N              the bootloader started slot N, -1 the factory application
    dead                nothing boots
    heap BYTES          what the simulation itself takes, before boot.py
    ready               from here on Ctrl-C is wanted
    interrupted         Ctrl-C was heard
    interrupt           Ctrl-C came at a bad moment: again, please
    watchdog MS         armed, or fed, for MS milliseconds
    rtc HEX, clock S    what outlives the reset
    wifi 0 or 1         whether the station is associated
    cut                 the power fails
    reset CAUSE MS RAW  reset me, after MS of sleep

After `cut` and `reset` it waits to be killed.
"""

import json
import sys
from binascii import hexlify, unhexlify

import bootloader
import clock
import hardware

try:
    import chip_micropython as interpreter
except ImportError:
    sys.path.append(sys.path[0] + "/cpython")
    import chip_cpython as interpreter

# What programs on a chip can import by these names.
import esp32  # noqa: F401
import machine  # noqa: F401
import network  # noqa: F401
import nor
import time_2000

_INTERNAL = (
    "bootloader", "chip_cpython", "chip_micropython", "clock", "cpython_sockets", "disk", "frozen",
    "hardware", "layout", "nor", "nvs", "run", "shims", "start", "time_2000",
)  # fmt: skip


class Wire:
    """The line to the host. descriptor: of its file."""

    def __init__(self, descriptor):
        self._file = open(descriptor, "wb", 0)
        self._fed = None

    def tell(self, *words):
        """Say one line. Completed even if Ctrl-C comes meanwhile."""
        line = (" ".join([str(word) for word in words]) + "\n").encode()
        try:
            self._file.write(line)
        except KeyboardInterrupt:
            self._file.write(line)
            raise

    def feed(self, milliseconds):
        """Tell of a feeding, unless the last one of the same timeout is fresh."""
        now = time_2000.ticks_ms()
        if self._fed and self._fed[0] == milliseconds:
            if time_2000.ticks_diff(now, self._fed[1]) < milliseconds >> 4:
                return
        self._fed = milliseconds, now
        self.tell("watchdog", milliseconds)

    def wifi(self, up):
        """Tell whether the station is associated."""
        self.tell("wifi", int(up))

    def rtc(self, data):
        """Tell what RTC memory holds."""
        self.tell("rtc", str(hexlify(data), "ascii"))

    def clock(self, shift):
        """Tell how the clock is set."""
        self.tell("clock", repr(shift))

    def cut(self):
        """Let the power fail. Does not return."""
        self.tell("cut")
        interpreter.wait_for_end()

    def reset(self, cause=hardware.HARD, sleep_ms=0, raw=False):
        """Reset the board. Does not return."""
        self.tell("reset", cause, sleep_ms, int(raw))
        interpreter.wait_for_end()

    def interrupt(self):
        """Ask for Ctrl-C once more."""
        self.tell("interrupt")


def power_on(settings, wire):
    """Start the board as the host describes it."""
    wear = settings.get("wear")
    wear = open(wear, "r+b", 0) if wear else None
    time_2000.start(settings["uptime_ms"])
    cells = open(settings["flash"], "r+b", 0)
    flash = nor.Nor(cells, cells.seek(0, 2), settings["seed"], wear)
    flash.cut_at = settings["cut_at"]
    flash.on_cut = wire.cut
    hardware.reset = wire.reset
    try:
        board = hardware.power_on(flash, settings["cause"], settings["rollback"], settings["slot"])
    except bootloader.ImageError:
        wire.tell("dead")
        interpreter.wait_for_end()
    board.rtc = unhexlify(settings["rtc"])
    board.clock = settings["clock"]
    board.watchdog_ms = settings["watchdog_ms"]
    board.encrypted = settings["encrypted"]
    board.ssid = settings["ssid"]
    board.password = settings["password"]
    board.wifi_up = settings["wifi"]
    board.keep_rtc = wire.rtc
    board.keep_clock = wire.clock
    board.keep_wifi = wire.wifi
    board.watchdog = wire.feed
    if board.clock is None:
        clock.set_seconds(0)
    wire.tell("slot", board.running)
    return board


def run_file(system, name, names, show):
    """Run a file of the board. Returns False when it raised; one that is missing did not.

    As on the chip, one that is frozen into the image goes before a file.
    """
    try:
        if name in system.modules:
            system.run_text(system.modules.read(name), name, names)
        elif system.exists(name):
            system.run_file(name, names)
        return True
    except SystemExit:
        raise
    except BaseException as error:
        show(error)
        return False


def run_boot_module(system):
    """Run the image's own _boot; what it raises is shown and changes nothing, as on the chip."""
    if "_boot.py" not in system.modules:
        return
    try:
        system.run_frozen("_boot")
    except Exception as error:
        interpreter.print_exception(error)


def run_programs(system, names, raw, show):
    """Run boot.py, and main.py unless boot.py raised or the REPL is a tool's (raw)."""
    if run_file(system, "boot.py", names, show) and not raw:
        run_file(system, "main.py", names, show)


def serve_console(system, wire, names, raw, show):
    """Be the REPL until a soft reset. Returns whether it was raw then."""
    console = system.load("repl")
    repl = console.Repl(names, raw, interpreter.read_console, show, wire)
    while True:
        try:
            return repl.run()
        except KeyboardInterrupt:  # between two lines: the prompt comes again
            wire.tell("interrupted")


def main():
    settings = json.loads(interpreter.read_line())
    wire = Wire(settings["wire"])
    board = power_on(settings, wire)
    system = interpreter.System(board.flash, board.running, wire.interrupt, {"time": time_2000})
    for name in _INTERNAL:
        sys.modules.pop(name, None)
    names = system.names()
    raw = settings["raw"]

    def show(error):
        if isinstance(error, KeyboardInterrupt):
            wire.tell("interrupted")
        interpreter.print_exception(error)

    run_boot_module(system)
    wire.tell("heap", system.heap_used())
    try:
        try:
            wire.tell("ready")
            run_programs(system, names, raw, show)
        except KeyboardInterrupt:  # between two files: on to the console
            wire.tell("interrupted")
        raw = serve_console(system, wire, names, raw, show)
    except SystemExit:
        pass
    sys.stdout.write("\nMPY: soft reboot\n")
    system.end()
    wire.reset(hardware.SOFT, 0, raw)


main()
