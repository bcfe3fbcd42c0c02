"""What happens from a reset on: bootloader, file system, frozen _boot, boot.py, main.py, REPL.

Started by sim/board.py, which is the power supply, the watchdog and the other end of the console.
Arguments: descriptor of the line to the host, flash file, RTC file, reset cause, running slot (for
a soft reset, else -1), rollback (0 or 1), SSID, password, raw REPL (0 or 1: mpremote's soft reset
skips main.py).
Standard input and output are the console. To the host it tells, a line each:

    slot N            the bootloader started slot N
    interruptible     from here on Ctrl-C is wanted
    watchdog MS       armed, or fed, for MS milliseconds
    reset CAUSE RAW   reset me (it then waits to be killed)
"""

import sys

# All of the chip, while the host's files can still be read.
import esp32  # noqa: F401
import hardware
import machine  # noqa: F401
import network  # noqa: F401
import nor
from layout import FLASH_SIZE, SLOTS

try:
    import chip_micropython as system
except ImportError:
    import chip_cpython as system


class Wire:
    """The line to the host."""

    def __init__(self, descriptor):
        self._file = open(descriptor, "wb", 0)

    def tell(self, *words):
        self._file.write((" ".join(str(word) for word in words) + "\n").encode())


def start(wire, flash_path, rtc_path, cause, running, rollback, ssid, password):
    """Power the board from its files."""
    flash = nor.Nor(open(flash_path, "r+b", 0), FLASH_SIZE)
    rtc = open(rtc_path, "r+b", 0)
    board = hardware.power_on(flash, cause, rollback, running)
    board.rtc = rtc.read().rstrip(b"\x00")
    board.ssid = ssid
    board.password = password
    board.wifi_up = cause == hardware.SOFT

    def keep_rtc(data):
        rtc.seek(0)
        rtc.write(data)
        system.truncate(rtc, len(data))

    def reset(cause=hardware.HARD):
        wire.tell("reset", cause, 0)
        system.wait_for_end()

    board.keep_rtc = keep_rtc
    board.watchdog = lambda milliseconds: wire.tell("watchdog", milliseconds)
    hardware.reset = reset
    wire.tell("slot", board.running)


def run_file(name, names):
    """Run a file of the board if it is there. Returns False when it raised."""
    try:
        source = system.read_source(name)
    except OSError:
        return True
    try:
        exec(compile(source, name, "exec"), names)
        return True
    except SystemExit:
        raise
    except BaseException as error:
        sys.print_exception(error)
        return False


def boot(wire, raw):
    """Run what the chip runs after a reset, then the REPL; SystemExit is a soft reset."""
    names = system.main_names()
    image = system.mount(hardware.board, SLOTS[hardware.board.running][3], names)
    if "_boot" in image:
        __import__("_boot")
    wire.tell("interruptible")
    if run_file("boot.py", names) and not raw:
        run_file("main.py", names)
    return system.load_repl().Repl(names, raw).run()


def main(arguments):
    line, flash_path, rtc_path, cause, running, rollback, ssid, password, raw = arguments
    wire = Wire(int(line))
    start(wire, flash_path, rtc_path, int(cause), int(running), rollback == "1", ssid, password)
    raw = raw == "1"
    try:
        raw = boot(wire, raw)
    except SystemExit:
        pass
    sys.stdout.write("MPY: soft reboot\r\n")
    wire.tell("reset", hardware.SOFT, int(raw))
    system.wait_for_end()


main(sys.argv[1:])
