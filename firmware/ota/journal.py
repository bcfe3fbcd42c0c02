"""The journal, which survives a power cut: the update in flight, and the result still to be told.

It is one JSON blob in NVS, written once per transition. boot.py reads and writes it, too. A journal
of an unknown version counts as lost. otadata decides which slot runs; the journal only explains.

    v         version of this layout, 1
    phase     one of the phases below
    origin    "job", "local" or "person": the side that asked for the update
    job       job id (str), "" without a job
    slot      label of the slot that is filled or tested
    identity  hex of the package's identity
    sequence  of the package
    tries     how often the slot was activated for this job
    agreed    True once the application agreed to the reboot
    next      bytes of the package that are safe from a power cut (checkpoint)
    source    where a local update is found again, "" when the job says it
    cause     why the test failed, with `detail`, one sentence; boot.py notes it in `chip`'s note
    result    {"job", "status", "details"}: not yet acknowledged by the service
    no_rollback  True once the bootloader turned out to have no rollback
    armed     True while the watchdog of an accepted trial goes on, until the chip starts hard
The blob `history` keeps the last eight results, newest first. Each has status, origin, job,
sequence of the package, the version that ran afterwards, cause and detail. The blob `trust` keeps
what was accepted ever, so that no fault of the journal opens the way back: see `accepted`. The blob
`failed` keeps which packages failed their test here: see `count_failure`.

NVS may be full, of other things: what must go on all the same is written by `try_save`, and told
from memory.
"""

import json

from esp32 import NVS

from . import errors
from .compat import const

NONE = "NONE"
RECEIVING = "RECEIVING"
VERIFIED = "VERIFIED"
ACTIVATED = "ACTIVATED"
TESTING = "TESTING"
ACCEPTED = "ACCEPTED"
FAILED = "FAILED"

# Origins: a job of the service; `install()` by the application or a person; `ota.rollback()`.
JOB = "job"
LOCAL = "local"
PERSON = "person"

_VERSION = const(1)
_NAMESPACE = const("ota")
_MAX_BLOB = const(2048)
_USUAL = const(512)  # bytes; 2 KB in one piece may be more than a heap has during an update
_FULL = const(-4357)  # ESP_ERR_NVS_NOT_ENOUGH_SPACE
_TOO_LONG = const(-4364)  # ESP_ERR_NVS_INVALID_LENGTH: the blob is longer than the buffer
_FAILURES = const(8)  # packages
_KEYS = const(7)  # of an entry of the history

# Fields that end with an update; the others outlive it.
_OF_ONE_UPDATE = (
    "phase",
    "origin",
    "job",
    "slot",
    "identity",
    "sequence",
    "tries",
    "agreed",
    "next",
    "source",
    "cause",
    "detail",
)
_FIELDS = _OF_ONE_UPDATE + ("result", "no_rollback", "armed")


class Journal:
    """The journal as read at start; its keys are attributes. lost: there was none to read."""

    phase = NONE
    origin = JOB
    job = ""
    slot = ""
    identity = ""
    sequence = 0
    tries = 0
    agreed = False
    next = 0
    source = ""
    cause = ""
    detail = ""
    result: "dict | None" = None
    no_rollback = False
    armed = False

    def __init__(self):
        self._nvs = NVS(_NAMESPACE)
        stored = _read(self._nvs, "journal")
        self.lost = not isinstance(stored, dict) or stored.get("v") != _VERSION
        if not self.lost:
            for key in _FIELDS:
                if _fits(stored.get(key), getattr(Journal, key)):
                    setattr(self, key, stored[key])
            if self.result and not all(key in self.result for key in ("job", "status", "details")):
                self.result = None

    def save(self, **changes):
        """Change the named keys and write the journal: one NVS commit. Raises FlashError."""
        for key in changes:
            setattr(self, key, changes[key])
        fields = {"v": _VERSION}
        for key in _FIELDS:
            fields[key] = getattr(self, key)
        _write(self._nvs, "journal", _encode(fields))
        self.lost = False

    def try_save(self, **changes):
        """Do as `save`, but go on from memory where NVS does not take it. Returns if it did."""
        try:
            self.save(**changes)
        except errors.FlashError:
            return False
        return True

    def finish(self, **changes):
        """Forget the update in flight, then write the journal as `save` does."""
        for key in _OF_ONE_UPDATE:
            setattr(self, key, getattr(Journal, key))
        self.save(**changes)

    def history(self):
        """Return the last results, newest first: a list of dicts."""
        stored = _read(self._nvs, "history")
        stored = stored if isinstance(stored, list) else []
        return [entry for entry in stored if isinstance(entry, dict) and len(entry) == _KEYS]

    def keep_history(self, entries):
        """Write the last results (list of dicts). Returns whether they fit. Raises FlashError."""
        data = _encode(entries)
        if len(data) > _MAX_BLOB:
            return False
        _write(self._nvs, "history", data)
        return True

    def accepted(self):
        """Return (sequence, created): the highest ever accepted here, 0 for none."""
        stored = stored_trust()
        found = [0, 0]
        for i, key in enumerate(("floor", "created")):
            if isinstance(stored.get(key), int):
                found[i] = max(0, stored[key])
        return tuple(found)

    def floor(self, pair, sequence):
        """Return the highest sequence accepted here: kept in NVS, or of what runs, once VALID.

        pair: slots.Slots; sequence: `installed.Installed.floor` of the running image.
        """
        return max(self.accepted()[0], sequence if pair.proved else 0)

    def keep_accepted(self, sequence, created, latest, seal):
        """Remember an accepted package: one NVS commit, if it differs. Raises FlashError.

        created: not believed when it is after `latest` (both in Unix seconds); seal: hex of that of
        the running slot's trailer, which no start has to verify any more; "" for none.
        """
        before = stored_trust()
        highest = self.accepted()
        after = before.copy()
        after["v"] = _VERSION
        after["floor"] = max(highest[0], sequence)
        after["created"] = max(highest[1], created if created <= latest else 0)
        if seal:
            after["seal"] = seal
        if after != before:
            _write(self._nvs, "trust", _encode(after))

    def failures(self, identity):
        """Return how often the package of this identity (hex) failed its test on this board."""
        return self._failed().get(identity, 0)

    def count_failure(self):
        """Count that the package in flight failed its test, by its own fault: one NVS commit.

        The newest eight packages are remembered. Raises FlashError.
        """
        failed = self._failed()
        count = failed.pop(self.identity, 0) + 1
        while len(failed) >= _FAILURES:
            failed.pop(min(failed, key=failed.get))
        failed[self.identity] = count
        _write(self._nvs, "failed", _encode(failed))

    def _failed(self):
        """Return {identity: count}."""
        stored = _read(self._nvs, "failed")
        stored = stored if isinstance(stored, dict) else {}
        return {key: stored[key] for key in stored if isinstance(stored[key], int)}


def stored_trust():
    """Return the blob `trust`, a dict; {} where there is none, or one of an unknown version."""
    stored = _read(NVS(_NAMESPACE), "trust")
    return stored if isinstance(stored, dict) and stored.get("v") == _VERSION else {}


def keep_trust(fields):
    """Write the blob `trust` (dict): one NVS commit. Raises FlashError."""
    _write(NVS(_NAMESPACE), "trust", _encode(fields))


def trust_version():
    """Return the version of the newest set of keys that this board has had, 0 for none."""
    try:
        return NVS(_NAMESPACE).get_i32("trust_version")
    except OSError:
        return 0


def keep_trust_version(version):
    """Write that number, which outlives the blob. Raises FlashError."""
    nvs = NVS(_NAMESPACE)
    if trust_version() < version:
        try:
            nvs.set_i32("trust_version", version)
            nvs.commit()
        except OSError as error:
            raise errors.FlashError("NVS would not take the version of the keys: %s" % error)


def _fits(value, default):
    if isinstance(default, int) and not isinstance(default, bool):
        return isinstance(value, int) and value >= 0
    return isinstance(value, dict if default is None else type(default))


def _read(nvs, key):
    size = _USUAL
    while True:
        buf = bytearray(size)
        try:
            return json.loads(bytes(memoryview(buf)[: nvs.get_blob(key, buf)]))
        except ValueError:
            return None
        except OSError as error:
            if error.args[0] != _TOO_LONG or size == _MAX_BLOB:
                return None
            size = _MAX_BLOB


def _encode(value):
    return json.dumps(value, separators=(",", ":")).encode()


def _write(nvs, key, data):
    if len(data) > _MAX_BLOB:
        raise errors.FlashError(
            "the %s has %d bytes, its limit is %d" % (key, len(data), _MAX_BLOB)
        )
    try:
        nvs.set_blob(key, data)
        nvs.commit()
    except OSError as error:
        if error.args[0] == _FULL:
            raise errors.FlashError(
                "NVS is full: there is no room for the %s; the application has to erase keys" % key
            )
        raise errors.FlashError("NVS would not take the %s: %s" % (key, error))
