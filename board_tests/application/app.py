"""Behaves as its image shall, and measures the update that the agent makes beside it.

Times are taken around the partition's own calls, so that nothing of the agent is changed. Lines
that begin with `board-test ` are for the host: JSON.
"""

import gc
import json
import time

import behaviour
import ota
from ota import download, trust

_SAMPLE_STEPS = 64

times = {}
heap = {}
blocks = [0]


def start():
    """Called by main.py before it connects."""
    doing = behaviour.name()
    print("board-test", json.dumps({"image": doing}))
    if doing == "hang":
        while True:
            pass
    if doing == "crash":
        raise RuntimeError("this image crashes on purpose")
    if doing == "no_network":
        import link

        link.Link.connect = _no_network
    agent = ota.Agent.current
    _watch_flash(agent._slots.other)
    _watch_hash()
    _watch_signature()
    _watch_heap(agent)


def _no_network(*_arguments, **_options):
    raise OSError("this image reaches no broker, on purpose")


def _spent(name, since):
    now = time.ticks_us()
    times[name] = times.get(name, 0) + time.ticks_diff(now, since)


class TimedPartition:
    """A partition whose calls are timed."""

    def __init__(self, partition):
        self._partition = partition

    def __getattr__(self, name):
        return getattr(self._partition, name)

    def readblocks(self, *arguments):
        """Timed as `read`."""
        since = time.ticks_us()
        self._partition.readblocks(*arguments)
        _spent("read", since)

    def writeblocks(self, *arguments):
        """Timed as `write`; with two arguments it erases, too."""
        since = time.ticks_us()
        self._partition.writeblocks(*arguments)
        _spent("write", since)

    def ioctl(self, operation, argument):
        """Timed as `erase` where it does."""
        since = time.ticks_us()
        result = self._partition.ioctl(operation, argument)
        if operation == 6:
            _spent("erase", since)
        return result

    def set_boot(self):
        """Everything is measured: tell it, for the reset follows."""
        since = time.ticks_us()
        self._partition.set_boot()
        _spent("set_boot", since)
        tell()


def tell():
    """Print what was measured."""
    _spent("total", times.pop("begun"))
    stats = ota.Agent.current.stats
    told = {"us": times, "heap": heap, "received": stats.received, "blocks": blocks[0]}
    print("board-test", json.dumps(told))


def _watch_flash(slot):
    slot._partition = TimedPartition(slot._partition)


class TimedHash:
    """SHA-256, timed."""

    def __init__(self):
        self._hash = _sha256()

    def update(self, data):
        """Timed as `hash`."""
        since = time.ticks_us()
        self._hash.update(data)
        _spent("hash", since)

    def digest(self):
        """Not timed: one per image."""
        return self._hash.digest()


_sha256 = download.sha256


def _watch_hash():
    download.sha256 = TimedHash


def _watch_signature():
    verifying = trust.verifying

    def timed(*arguments):
        slices = verifying(*arguments)
        while True:
            since = time.ticks_us()
            try:
                next(slices)
            except StopIteration:
                _spent("verify", since)
                return
            _spent("verify", since)
            yield

    trust.verifying = timed


def _watch_heap(agent):
    gc.collect()
    heap["loaded"] = gc.mem_free()
    step = agent.step
    count = 0

    def watched():
        nonlocal count
        if "begun" not in times and agent.state == ota.ACTIVE:
            times["begun"] = time.ticks_us()
        wait = step()
        count += 1
        if count % _SAMPLE_STEPS == 0:
            gc.collect()
            free = gc.mem_free()
            if agent.state == ota.READY:
                heap["idle"] = free
            elif free < heap.get("peak", free + 1):
                heap["peak"] = free
        if agent.progress:
            blocks[0] = agent.progress[1]
        return wait

    agent.step = watched
