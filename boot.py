"""First code on the board: test a new image, or let it be rolled back.

boot.py stands alone, so that nothing an update brings can break it, and is never updated over the
air. It raises no exception, because that would keep main.py from running. Ctrl-C passes through to
the REPL and is no failed test; the deadline goes on.

Found at start                          done
image under test, first boot            watchdog armed with the whole deadline, self-test
image under test, soft reset            watchdog armed with what is left, no second test
image under test, woken from sleep      reset: the bootloader would never see the end of the test
image under test, no rollback in the    journal told, the other slot booted
  bootloader (record still NEW)
anything else                           nothing
The application's directory, named in the running slot's trailer, becomes the current one before
anything of the application runs. Where it is gone, an image under test has failed its self-test;
else the other slot is tried, as an update is, and after that there is a REPL with a sentence.
"""

import gc
import json
import os
import sys
import time
from binascii import crc32
from hashlib import sha256

import machine
from esp32 import NVS, Partition

_kept = set(globals())

ROOT = "/"
SETTINGS = ROOT + "etc/settings.json"
DEADLINE_S = 300
DIRECTORIES = ("app_0", "app_1")
MAX_TRIES = 2
# Phases of the journal in which the other slot holds a whole update.
IN_FLIGHT = ("VERIFIED", "ACTIVATED", "TESTING")

NEW, PENDING, VALID, INVALID, ABORTED = range(5)


class Journal:
    """The agent's journal in NVS, the part that a test needs. fields: a dict."""

    def __init__(self):
        self._nvs = NVS("ota")
        self.fields = {}
        buf = bytearray(2048)
        try:
            length = self._nvs.get_blob("journal", buf)
            fields = json.loads(bytes(buf[:length]))
            if isinstance(fields, dict) and fields.get("v") == 1:
                self.fields = fields
        except (OSError, ValueError):
            pass  # none yet, or lost: otadata decides alone

    def save(self, **changes):
        """Change the named keys and write the journal: one NVS commit. Raises OSError."""
        self.fields.update(changes)
        self.fields["v"] = 1
        self._nvs.set_blob("journal", json.dumps(self.fields).encode())
        self._nvs.commit()


def read_state():
    """Return the otadata state of the running slot when its record is the active one, else None."""
    otadata = Partition.find(Partition.TYPE_DATA, subtype=0)
    slots = [p for p in Partition.find(Partition.TYPE_APP) if 0x10 <= p.info()[1] <= 0x1F]
    if not otadata or not slots:
        return None
    highest, active = 0, None
    buf = bytearray(32)
    for sector in (0, 1):
        otadata[0].readblocks(sector, buf)
        sequence = int.from_bytes(buf[:4], "little")
        state = int.from_bytes(buf[24:28], "little")
        good = crc32(buf[:4], 0xFFFFFFFF) == int.from_bytes(buf[28:], "little")
        if sequence != 0xFFFFFFFF and good and state not in (INVALID, ABORTED):
            if sequence > highest:
                highest, active = sequence, state
    index = Partition(Partition.RUNNING).info()[1] - 0x10
    if highest == 0 or (highest - 1) % len(slots) != index:
        return None
    return active


def read_deadline():
    """Return the self-test's deadline in milliseconds: setting self_test_s (10 to 3600 s)."""
    try:
        with open(SETTINGS) as file:
            seconds = json.load(file).get("self_test_s", DEADLINE_S)
        if 10 <= seconds <= 3600:
            return int(seconds * 1000)
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # the agent reports wrong settings; the test needs a deadline in any case
    return DEADLINE_S * 1000


def note(stage, deadline):
    """Note in RTC memory how far the test came; the agent goes on with this note."""
    text = "OTA1 %s %d %d" % (stage, deadline, time.ticks_ms())
    machine.RTC().memory(text.encode())


def noted():
    """Return (stage, deadline in ticks_ms) of the running test, or (None, None) without a note."""
    try:
        fields = bytes(machine.RTC().memory()).decode().split(" ")
        if len(fields) == 4 and fields[0] == "OTA1":
            return fields[1], int(fields[2])
    except ValueError:
        pass  # the application's own memory
    return None, None


def begin_test():
    """Arm the watchdog for an image under test. Returns the deadline, None to test no more."""
    cause = machine.reset_cause()
    if cause == machine.DEEPSLEEP_RESET:
        machine.reset()
    if cause == machine.SOFT_RESET:
        stage, deadline = noted()
        if stage is None:
            deadline = time.ticks_add(time.ticks_ms(), read_deadline())
        left = time.ticks_diff(deadline, time.ticks_ms())
        machine.WDT(timeout=max(1, left))
        if stage not in ("boot", "selftest"):  # there the self-test was broken off
            note("repl", deadline)  # until main.py goes on
        print("boot: image under test, %d s left" % (left // 1000))
        return None
    milliseconds = read_deadline()
    machine.WDT(timeout=milliseconds)
    deadline = time.ticks_add(time.ticks_ms(), milliseconds)
    note("boot", deadline)
    print("boot: image under test, accepted within %d s or rolled back" % (milliseconds // 1000))
    return deadline


def built_in_test():
    """Raise unless flash file system and memory will carry an application."""
    probe = ROOT + "etc/.selftest"
    try:
        os.mkdir(ROOT + "etc")
    except OSError:
        pass  # it is there
    with open(probe, "wb") as file:
        file.write(b"probe")
    with open(probe, "rb") as file:
        if file.read() != b"probe":
            raise OSError("the file system does not keep written bytes")
    os.remove(probe)
    gc.collect()
    if gc.mem_free() < 16384:
        raise MemoryError("only %d bytes of heap are free" % gc.mem_free())


def application_test():
    """Call run() of the application's selftest.py, if there is one; it returns or raises."""
    try:
        import selftest
    except ImportError as error:
        if "'selftest'" in str(error):
            return
        raise
    try:
        selftest.run()
    finally:
        sys.modules.pop("selftest", None)


def note_test(journal):
    """Write to the journal that the running slot is being tested."""
    label = Partition(Partition.RUNNING).info()[4]
    if journal.fields.get("slot") != label:  # lost: the service will name the job
        journal.fields = {"floor": journal.fields.get("floor", 0), "slot": label}
    journal.save(phase="TESTING")


def test(journal):
    """Run the self-test on the first boot of a new image; reset, and so roll back, if it fails."""
    deadline = begin_test()
    if deadline is None:
        return
    attempt("the note in the journal", note_test, journal)
    note("selftest", deadline)
    try:
        enter_application()
        built_in_test()
        application_test()
    except (Exception, SystemExit) as error:
        detail = "%s: %s" % (type(error).__name__, error)
        print("boot: self-test failed, rolling back.", detail)
        try:
            journal.save(cause="self_test", detail=detail[:200])
        finally:
            machine.reset()
    gc.collect()
    note("main", deadline)


def without_rollback(journal):
    """Boot the other slot: a record that is still NEW shows a bootloader without rollback."""
    if journal.fields.get("no_rollback") and journal.fields.get("phase") == "FAILED":
        Partition.mark_app_valid_cancel_rollback()  # the rollback has ended in this slot
        return
    print("boot: this bootloader has no rollback; going back to the other slot")
    journal.save(
        no_rollback=True,
        phase="FAILED",
        cause="no_rollback",
        detail="the bootloader has no rollback; flash a newer one by cable",
    )
    Partition(Partition.RUNNING).get_next_update().set_boot()
    machine.reset()


def directory_of(partition):
    """Return the directory in a slot's trailer, "" for none (package-format, trailer).

    None without a trailer: the slot was flashed by cable, or is not complete.
    """
    trailer = bytearray(4096)
    partition.readblocks(partition.info()[3] // 4096 - 1, trailer)
    view = memoryview(trailer)
    if sha256(view[:4064]).digest() != bytes(view[4064:]):
        return None
    return bytes(view[4056:4064]).rstrip(b"\x00").decode()


def find_application(directory):
    """Return the path of an application's directory. Raises OSError when none can start there."""
    if directory and directory not in DIRECTORIES:
        raise OSError("the slot's trailer names directory %r" % directory)
    path = ROOT + directory
    try:
        os.stat(path + "/main.py")
    except OSError:
        raise OSError("%s holds no application" % path)
    return path


def enter_application():
    """Change into the running slot's application directory. Raises OSError when it is gone."""
    directory = directory_of(Partition(Partition.RUNNING))
    if directory:
        os.chdir(find_application(directory))
        if "lib" not in sys.path:  # the application's own, before what lies in /lib
            sys.path.insert(max(0, len(sys.path) - 1), "lib")


def leave_application(error, journal, state):
    """Boot the other slot, at most twice, when this one has no application left; else say so."""
    print("boot: %s" % error)
    os.chdir(ROOT + "etc")  # no main.py there, so the REPL follows
    if state == PENDING:
        return  # the deadline ends the test
    other = Partition(Partition.RUNNING).get_next_update()
    directory = directory_of(other)
    label = other.info()[4]
    fields = journal.fields
    tries = 0
    if fields.get("slot") == label and fields.get("phase") in IN_FLIGHT:
        tries = fields.get("tries", 0)
    else:
        kept = ("floor", "result", "no_rollback")
        fields = {key: fields[key] for key in kept if key in fields}
        fields["origin"] = "local"
    if directory is None or tries >= MAX_TRIES:
        print("boot: there is nothing else to start; deploy the application by cable")
        return
    find_application(directory)
    print("boot: going back to %s" % label)
    journal.fields = fields
    journal.save(phase="ACTIVATED", slot=label, tries=tries + 1, detail=str(error))
    other.set_boot()
    machine.reset()


def attempt(name, action, *arguments):
    """Call an action and return its result. A failure is printed and ends only that action."""
    try:
        return action(*arguments)
    except Exception as error:
        print("boot: %s failed:" % name, repr(error))
        return None


def start():
    """Test, recover or leave alone the running slot, as its otadata state says."""
    state = read_state()
    if state == NEW:
        without_rollback(Journal())
    elif state == PENDING:
        try:
            test(Journal())
        except Exception as error:  # an image that cannot be tested is not kept
            print("boot: the test cannot be carried out, rolling back:", repr(error))
            machine.reset()


def enter_or_leave():
    """Go into the application's directory, or to the other slot where it is gone."""
    try:
        enter_application()
    except OSError as error:
        leave_application(error, Journal(), read_state())


attempt("the look at the slots", start)
attempt("the application's directory", enter_or_leave)
# main.py runs in this namespace, too, and needs the heap more.
for _name in set(globals()) - _kept:
    del globals()[_name]
