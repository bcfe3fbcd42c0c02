"""Behaves as its image is named to, and measures the update that the agent makes beside it.

Times are taken around the partition's own calls, so that nothing of the agent is changed. Heap is
sampled after a collection, whose time is counted apart. A collection at each step would spare the
steps their own ones. So the job's name says what is done in an update:

times-...  heap is sampled at every 64th step
heap-...   at every step; the times of the signature are not believed
cut-...    the chip is reset in mid-download, once

Lines that begin with `board-test ` are for the host: JSON. Everything here is short, because heap
is: a chip without PSRAM has a few kilobytes left beside the agent.
"""

import _thread
import gc
import json
import sys
import time
from hashlib import sha256

import machine
import ota
from esp32 import HEAP_DATA, idf_heap_info
from ota.agent import Agent

_SAMPLE_STEPS = 64
# Steps at rest before heap is sampled: the last of the work must be gone from the stack, whatever
# lies there keeps what it points to.
_REST_STEPS = 16
_PENDING = 1
_CUT = b"board-test cut"  # in RTC memory: it was done

times = {}
heap = {}
taken = {}


def start():
    """Called by main.py before it connects."""
    import behaviour

    doing = behaviour.name()
    del sys.modules["behaviour"]
    say({"image": doing})
    if doing == "hang":
        while True:
            pass
    if doing == "crash":
        raise RuntimeError("this image crashes on purpose")
    if doing == "own_watchdog":
        _feed_a_watchdog()
    if doing == "no_network":
        sys.modules["link"].Link.connect = _no_network
    agent = Agent.current
    taken["agent_made_ms"] = time.ticks_ms()
    TimedHash.sha256 = TimedHash
    sys.modules["hashlib"] = TimedHash  # for the modules that are loaded late
    _watch(agent, "after" if doing else "idle")


def say(told):
    """Tell the host."""
    print("board-test", json.dumps(told))


def _no_network(*_):
    raise OSError("this image reaches no broker, on purpose")


def _feed_a_watchdog():
    """Take the chip's watchdog over, feed it, and never accept."""
    watchdog = machine.WDT(timeout=8000)

    def feed():
        while True:
            watchdog.feed()
            time.sleep(1)

    _thread.start_new_thread(feed, ())
    Agent.current.callback = lambda *_: None


def _timed(name, call, *arguments):
    since = time.ticks_us()
    try:
        return call(*arguments)
    finally:
        times[name] = times.get(name, 0) + time.ticks_diff(time.ticks_us(), since)


class TimedPartition:
    """A partition whose calls are timed; writing with two arguments erases, too."""

    def __init__(self, partition):
        self._partition = partition

    def __getattr__(self, name):
        return getattr(self._partition, name)

    def readblocks(self, *arguments):
        """Timed as `read`."""
        _timed("read", self._partition.readblocks, *arguments)

    def writeblocks(self, *arguments):
        """Timed as `write`."""
        _timed("write", self._partition.writeblocks, *arguments)

    def ioctl(self, *arguments):
        """Timed as `erase`, which is all that the agent asks for."""
        return _timed("erase", self._partition.ioctl, *arguments)

    def set_boot(self):
        """Everything is measured: tell it, for the reset follows."""
        _timed("set_boot", self._partition.set_boot)
        tell()


class TimedHash:
    """SHA-256, timed."""

    def __init__(self, data=b""):
        self._hash = sha256(data)
        self.digest = self._hash.digest

    def update(self, data):
        """Timed as `hash`."""
        _timed("hash", self._hash.update, data)


def _at_rest():
    """Say whether the agent has come to rest, and unloaded what it does not need there."""
    return "ota.engine" not in sys.modules


def _verifying():
    """Say whether a signature is being verified: its arithmetic is loaded for that alone."""
    return "ota.p256" in sys.modules


def tell():
    """Print what was measured."""
    times["total"] = time.ticks_diff(time.ticks_us(), times.pop("begun"))
    times.pop("head", 0)
    say({"us": times, "heap": heap, "taken": taken, "received": Agent.current.stats.received})


def _sample(name):
    """Note the least free heap, Python's and ESP-IDF's, and the most taken of Python's (bytes)."""
    gc.collect()
    for what, free in (
        (name, gc.mem_free()),
        (name + ", C heap", sum([region[1] for region in idf_heap_info(HEAP_DATA)])),
    ):
        heap[what] = min(free, heap.get(what, free))
    taken[name] = max(gc.mem_alloc(), taken.get(name, 0))


def _timed_slots(board):
    pair = ota.loader.lend("slots").Slots()
    pair.other._partition = TimedPartition(pair.other._partition)
    return pair


def _watch(agent, ready):
    """Sample heap when the agent is first `ready`, and as "peak" while it makes an update."""
    _sample("loaded")
    step = agent.step
    count = rested = 0

    def watched():
        nonlocal count, rested
        if "begun" not in times and agent.state == ota.ACTIVE:
            times.clear()
            times["begun"] = time.ticks_us()
            type(agent.board).slots = property(_timed_slots)
        verifying = _verifying()
        wait = _timed("verify", step) if verifying else step()
        count += 1
        if _at_rest():
            rested += 1
            if rested == _REST_STEPS:
                _sample(ready)
                say({"heap": heap, "rest": taken})
        elif agent.state == ota.ACTIVE:
            job = agent.journal.job
            if agent.image_state == _PENDING:
                _timed("sampling", _sample, "trial")
            elif count % _SAMPLE_STEPS == 0 or job.startswith("heap"):
                _timed("sampling", _sample, "peak")
            if agent.progress:
                _progressed(job, *agent.progress)
        return wait

    agent.step = watched


def _progressed(job, received, blocks):
    """Time the head until the first block behind it; reset in the middle where the job says so."""
    now = time.ticks_us()
    if "head" not in times:
        times["head"] = now
    elif received and "first_block" not in times:
        times["first_block"] = time.ticks_diff(now, times["head"])
    memory = machine.RTC()
    if not job.startswith("cut"):
        return
    if received > blocks // 2 and memory.memory() != _CUT:
        memory.memory(_CUT)
        say({"cut_at": received, "blocks": blocks})
        machine.reset()
