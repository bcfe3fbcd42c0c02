"""First code on the board: try a new image, or let it be rolled back.

boot.py stands alone, so that nothing an update brings can break it, and is never updated over the
air. It raises no exception, because that would keep main.py from running. Ctrl-C passes through to
the REPL and fails no trial; the deadline goes on.

Found at start                          done
image under test, first start           watchdog, deadline, self-test, then main.py under our eyes
image under test, soft reset            watchdog and deadline with what is left, nothing else
image under test, woken from sleep      reset: the bootloader would never see the end of the trial
image under test, second start          as without rollback: the bootloader should have ended it
no rollback in the bootloader           journal told, the other slot booted
  (record still NEW)
a state that nobody wrote (torn)        the record is mended, see `mend`
anything else                           nothing
The application's directory, named in the running slot's trailer, becomes the current one before
anything of the application runs. Where it is gone, an image under test has failed its self-test;
else the other slot is tried, as an update is, and after that there is a REPL with a sentence.

Two mechanisms keep the deadline and do not need each other: the chip's watchdog ends an interpreter
that stands still, and `watch`, a thread, ends a trial whose application feeds a watchdog of its
own. Both count from the start of the chip, so that a soft reset gains no time.
"""

_kept = set(globals())

import gc
import io
import json
import os
import sys
import time
from binascii import crc32
from hashlib import sha256

import machine
import micropython
from esp32 import NVS, Partition

STAGE = "/.trial"


def end(cause, detail):
    """Reset, so that the old image returns. The note of the trial says why."""
    try:
        stage, deadline, link = noted()
        note(stage, deadline, "%s\n%s %s" % (link, cause, detail[:200]))
    finally:
        machine.reset()


def noted():
    """Return [stage, deadline (ms since the chip started), text of the agent] of the trial."""
    buf = bytearray(512)
    try:
        return bytes(buf[: NVS("ota").get_blob("trial", buf)]).decode().split(" ", 2)
    except (OSError, ValueError):
        return ["", "0", ""]


def note(stage, deadline, rest=""):
    """Note how far the trial has come, for the agent of the old image (`ota.chip`).

    deadline: as `noted`; rest: text of the agent; behind a line's end why the trial has ended.
    """
    try:
        nvs = NVS("ota")
        nvs.set_blob("trial", ("%s %s %s" % (stage, deadline, rest)).encode())
        nvs.commit()
    except OSError as error:
        print("boot: NVS takes no note:", error)  # its result will say less


def watch(deadline, otadata, sector):
    """End the trial at its deadline. Runs in a thread, until the image is accepted.

    deadline: ms since the chip started, where ticks_ms begins (ESP-IDF, esp_timer); otadata,
    sector: where the running slot's record lies.
    """
    state = bytearray(1)
    while True:
        otadata.readblocks(sector, state, 24)
        left = deadline - time.ticks_ms()
        if state[0] == 2:  # valid
            return
        if left <= 0:
            break
        time.sleep_ms(min(left, 1000))
    print("boot: the deadline has passed, rolling back")
    wifi = ""
    try:
        import network

        wifi = str(network.WLAN(network.STA_IF).status())
    finally:
        end("deadline", wifi)


def run(path, names):
    """Run main.py of the directory `path` in `names`; an exception that leaves it ends the trial.

    Called by the main.py that `_Stage` shows to MicroPython.
    """
    os.chdir(path)
    os.umount(STAGE)
    try:
        execfile("main.py", names)  # type: ignore[name-defined]  # noqa: F821
    except SystemExit:
        raise
    except KeyboardInterrupt:
        note("repl", noted()[1])
        raise
    except BaseException as error:
        text = described(error)
        names.clear()  # the heap may be full of the application's things
        if ":" not in text:
            text = described(error)
        print("boot: main.py died, rolling back")
        end("crash", text)
    stage, deadline = noted()[:2]
    if stage == "main":
        note("returned", deadline)


def described(error):
    """Print an exception. Returns type, text and place as one line, or type alone if it must."""
    try:
        sys.print_exception(error)
        text = "%s: %s" % (type(error).__name__, error)
        trace = io.StringIO()
        sys.print_exception(error, trace)
    except BaseException:  # of its own __str__, or for want of memory
        return type(error).__name__
    places = [line for line in trace.getvalue().split("\n") if line[:7] == "  File "]
    if places:
        text = "%s (%s)" % (text[:120], places[-1][7:])
    return " ".join(text.split())


class _Stage:
    """A file system of one file: a main.py that runs the application's own, see `run`.

    MicroPython runs main.py of the current directory when boot.py has ended. Run by boot.py itself
    it would have less memory, and would run a second time. text: of that file (bytes).
    """

    def __init__(self, text):
        self._size = len(text)
        self._file = io.BytesIO(text)

    def stat(self, path):
        if path.lstrip("/") != "main.py":
            raise OSError(2)
        return 0x8000, 0, 0, 0, 0, 0, self._size, 0, 0, 0

    def open(self, _path, _mode):
        return self._file

    def chdir(self, *_):
        pass

    mount = umount = chdir


# == What stands above is compiled again for a trial, by itself: see `alone`.

VERSION = "0.3.0"
ROOT = "/"
SETTINGS = ROOT + "etc/settings.json"
DEADLINE_S = 300
# The watchdog comes so much later than `watch` (ms): it can say less of what was wrong.
SPARE_MS = 5000
# Bytes of C stack for `watch`: the least a port gives, and what writing to NVS takes.
STACK = 5120
DIRECTORIES = ("app_0", "app_1")
MAX_TRIES = 2
# Phases of the journal in which the other slot holds a whole update.
IN_FLIGHT = ("VERIFIED", "ACTIVATED", "TESTING")

NEW, PENDING, VALID, INVALID, ABORTED = range(5)
LONGEST = 2048  # bytes of the journal


class Journal:
    """The agent's journal in NVS, the part that a trial needs. fields: a dict."""

    def __init__(self):
        self._nvs = NVS("ota")
        self.fields = {}
        buf = bytearray(LONGEST)
        try:
            length = self._nvs.get_blob("journal", buf)
            fields = json.loads(bytes(buf[:length]))
            if isinstance(fields, dict) and fields.get("v") == 1:
                self.fields = fields
        except (OSError, ValueError):
            pass  # none yet, or lost: otadata decides alone

    def save(self, **changes):
        """Change the named keys and write the journal: one NVS commit. Raises OSError.

        Of one that would be too long for the agent the sentences go.
        """
        fields = self.fields
        fields.update(changes)
        fields["v"] = 1
        data = json.dumps(fields, separators=(",", ":")).encode()
        for key in ("detail", "source", "result"):
            if len(data) > LONGEST and key in fields:
                del fields[key]
                data = json.dumps(fields, separators=(",", ":")).encode()
        self._nvs.set_blob("journal", data)
        self._nvs.commit()


class Record:
    """The active otadata record, if it is the running slot's: partition, sector, data, state."""

    def __init__(self, partition, sector, data):
        self.partition = partition
        self.sector = sector
        self.data = data
        self.state = int.from_bytes(data[24:28], "little")

    def rewrite(self, state):
        """Write the record again with another state. Cut in its midst, the other slot boots."""
        whole = bytearray(b"\xff" * 4096)
        whole[:32] = self.data
        whole[24:28] = state.to_bytes(4, "little")
        self.partition.writeblocks(self.sector, whole)
        self.state = state


def records():
    """Return [(sequence, slot's index, Record)] of otadata, the active one first."""
    otadata = Partition.find(Partition.TYPE_DATA, subtype=0)
    slots = [p for p in Partition.find(Partition.TYPE_APP) if 0x10 <= p.info()[1] <= 0x1F]
    found = []
    for sector in (0, 1) if otadata and slots else ():
        data = bytearray(32)
        otadata[0].readblocks(sector, data)
        sequence = int.from_bytes(data[:4], "little")
        good = crc32(data[:4], 0xFFFFFFFF) == int.from_bytes(data[28:], "little")
        record = Record(otadata[0], sector, data)
        if sequence != 0xFFFFFFFF and good and record.state not in (INVALID, ABORTED):
            found.append((sequence, (sequence - 1) % len(slots), record))
    return sorted(found, key=lambda row: -row[0])


def active_record():
    """Return the running slot's Record and that of the other slot, each None if it is not active.

    The first is None when the active record names another slot.
    """
    found = records()
    index = Partition(Partition.RUNNING).info()[1] - 0x10
    if not found or found[0][1] != index:
        return None, None
    others = [row[2] for row in found if row[1] != index]
    return found[0][2], others[0] if others else None


def mend(record, other, journal):
    """Give a record a state again; the power failed while its state was written.

    An image that the journal knows is tested. Else the board goes back to the other one, if that
    has proved itself. Where there is none, a cable brought what runs.
    """
    fields = journal.fields
    if fields.get("slot") == running_label() and fields.get("phase") in ("ACTIVATED", "TESTING"):
        record.rewrite(PENDING)
    elif other and other.state == VALID:
        print("boot: this slot's record is torn; going back to the other slot")
        record.rewrite(ABORTED)
        machine.reset()
    else:
        record.rewrite(VALID)


def running_label():
    """Return the label of the running slot."""
    return Partition(Partition.RUNNING).info()[4]


def read_deadline():
    """Return the trial's deadline in milliseconds: setting self_test_s (10 to 3600 s)."""
    try:
        with open(SETTINGS) as file:
            seconds = json.load(file).get("self_test_s", DEADLINE_S)
        if 10 <= seconds <= 3600:
            return int(seconds * 1000)
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # the agent reports wrong settings; the trial needs a deadline in any case
    return DEADLINE_S * 1000


def alone():
    """Return the names of this file's first part, compiled once more by itself.

    A function keeps the tables of everything that was compiled with it. So little of boot.py stays
    in memory during a trial.
    """
    part = []
    with open(ROOT + "boot.py") as file:
        for line in file:
            if line.startswith("# == "):
                break
            part.append(line)
    names = {"__name__": "boot"}
    exec("".join(part), names)  # noqa: S102
    return names


def guard(record):
    """Let watchdog and thread keep the deadline. Returns it and the names that `alone` returns."""
    deadline = read_deadline()
    if machine.reset_cause() == machine.SOFT_RESET:
        deadline = min(deadline, int(noted()[1]) or deadline)  # whatever the settings say by now
    left = deadline - time.ticks_ms()
    machine.WDT(timeout=max(1, left) + SPARE_MS)
    trial = alone()
    attempt("the thread of the deadline", start_watch, trial, deadline, record)
    return deadline, trial


def start_watch(trial, deadline, record):
    """Start the thread that ends the trial at its deadline, where the port has threads."""
    try:
        import _thread
    except ImportError:
        return
    _thread.stack_size(STACK)
    try:
        _thread.start_new_thread(trial["watch"], (deadline, record.partition, record.sector))
    finally:
        _thread.stack_size(0)  # the default again, for the application's threads


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


def tried(state):
    """Note whether a trial is under way. Returns whether one was: no proven image came between."""
    nvs = NVS("ota")
    try:
        found = nvs.get_i32("tried") == 1
    except OSError:
        found = False  # there never was one
    if found != state:
        nvs.set_i32("tried", int(state))
        nvs.commit()
    return found


def note_test(journal):
    """Write to the journal that the running slot is under test."""
    label = running_label()
    if journal.fields.get("slot") != label:  # lost: the service will name the job
        journal.fields = {"slot": label}
    journal.save(phase="TESTING")


def test(journal, record, mended):
    """Begin the trial on the first start of a new image; reset, and so roll back, if it fails.

    Returns whether main.py runs under our eyes, which it does not after a soft reset.
    """
    cause = machine.reset_cause()
    if cause == machine.DEEPSLEEP_RESET:
        machine.reset()
    deadline, trial = guard(record)
    if cause == machine.SOFT_RESET:
        if noted()[0] not in ("selftest", "repl"):  # what was broken off, or stopped by a person
            note("main", deadline)
        print("boot: image under test, %d s left" % ((deadline - time.ticks_ms()) // 1000))
        return False
    if attempt("the note of the trial", tried, True) and not mended:
        without_rollback(journal)  # its second start: no bootloader ended the first
    print("boot: image under test, accepted within %d s or rolled back" % (deadline // 1000))
    note("selftest", deadline)
    attempt("the note in the journal", note_test, journal)
    try:
        path = enter_application()
        built_in_test()
        application_test()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        print("boot: self-test failed, rolling back")
        end("self_test", described(error))
    note("main", deadline)
    if has_frozen_main():
        print("boot: main.py is frozen into this firmware; only the deadline ends its trial")
    else:
        sys.modules["boot run"] = trial["run"]
        text = '__import__("sys").modules.pop("boot run")("%s", globals())\n' % path
        os.mount(trial.pop("_Stage")(text.encode()), STAGE)
        os.chdir(STAGE)
    gc.collect()
    return True


def has_frozen_main():
    """Say whether a main.py is frozen into the firmware, which MicroPython prefers to any file.

    Found without running it: to load it takes memory, and that is locked.
    """
    path = sys.path[:]
    sys.path[:] = [".frozen"]
    micropython.heap_lock()
    try:
        __import__("main")
    except ImportError:
        return False
    except MemoryError:
        return True
    finally:
        micropython.heap_unlock()
        sys.path[:] = path
    return True


def without_rollback(journal):
    """Boot the other slot: the bootloader would not, so that nothing could be tested."""
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
    """Change into the running slot's application directory. Returns its path.

    Raises OSError when it is gone.
    """
    directory = directory_of(Partition(Partition.RUNNING))
    if not directory:
        return ROOT
    path = find_application(directory)
    os.chdir(path)
    if "lib" not in sys.path:  # the application's own, before what lies in /lib
        sys.path.insert(max(0, len(sys.path) - 1), "lib")
    return path


def leave_application(error, journal, state):
    """Boot the other slot, at most twice, when this one has no application left; else say so."""
    print("boot: %s" % error)
    os.chdir(ROOT + "etc")  # no main.py there, so the REPL follows
    if state == PENDING:
        return  # the deadline ends the trial
    other = Partition(Partition.RUNNING).get_next_update()
    directory = directory_of(other)
    label = other.info()[4]
    fields = journal.fields
    tries = 0
    if fields.get("slot") == label and fields.get("phase") in IN_FLIGHT:
        tries = fields.get("tries", 0)
    else:
        kept = ("result", "no_rollback")
        fields = {key: fields[key] for key in kept if key in fields}
        fields["origin"] = "local"
    if directory is None or tries >= MAX_TRIES:
        print("boot: there is nothing else to start; deploy the application by cable")
        return
    find_application(directory)
    print("boot: going back to %s" % label)
    journal.fields = fields
    journal.save(phase="ACTIVATED", slot=label, tries=tries + 1, detail=str(error))
    tried(False)
    other.set_boot()
    machine.reset()


def attempt(name, action, *arguments):
    """Call an action and return its result. A failure is printed and ends only that action."""
    try:
        return action(*arguments)
    except Exception as error:
        print("boot: %s failed:" % name, repr(error))
        return None


def tell_version():
    """Keep the version of this file where the agent finds it; written once."""
    nvs = NVS("ota")
    buf = bytearray(16)
    try:
        if bytes(buf[: nvs.get_blob("boot", buf)]) == VERSION.encode():
            return
    except OSError:
        pass  # none yet
    nvs.set_blob("boot", VERSION.encode())
    nvs.commit()


def start():
    """Do for the running slot what its otadata record asks for. Returns whether a trial began."""
    record, other = active_record()
    if record is None or record.state == VALID:
        attempt("the note of the last trial", tried, False)
        return False
    journal = Journal()
    mended = record.state not in (NEW, PENDING)
    if mended:
        mend(record, other, journal)
    if record.state == NEW:
        without_rollback(journal)
    elif record.state == PENDING:
        try:
            return test(journal, record, mended)
        except Exception as error:  # an image that cannot be tested is not kept
            print("boot: no trial, rolling back:", repr(error))
            end("self_test", "the trial could not be carried out: %r" % error)
    return False


def enter_or_leave():
    """Go into the application's directory, or to the other slot where it is gone."""
    try:
        enter_application()
    except OSError as error:
        record = active_record()[0]
        leave_application(error, Journal(), record and record.state)


attempt("the note of this file's version", tell_version)
if not attempt("the look at the slots", start):
    attempt("the application's directory", enter_or_leave)
# main.py runs in this namespace, too, and needs the heap more.
for _name in set(globals()) - _kept:
    del globals()[_name]
del _name
