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
what was accepted ever, so that no fault of the journal opens the way back: see `accepted`.
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
_NOT_FOUND = const(-4354)

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

    def save(self, **changes):
        """Change the named keys and write the journal: one NVS commit. Raises FlashError."""
        for key in changes:
            setattr(self, key, changes[key])
        fields = {"v": _VERSION}
        for key in _FIELDS:
            fields[key] = getattr(self, key)
        _write(self._nvs, "journal", _encode(fields))
        self.lost = False

    def finish(self, **changes):
        """Forget the update in flight, then write the journal as `save` does."""
        for key in _OF_ONE_UPDATE:
            setattr(self, key, getattr(Journal, key))
        self.save(**changes)

    def history(self):
        """Return the last results, newest first: a list of dicts."""
        stored = _read(self._nvs, "history")
        return stored if isinstance(stored, list) else []

    def keep_history(self, entries):
        """Write the last results (list of dicts). Returns whether they fit. Raises FlashError."""
        data = _encode(entries)
        if len(data) > _MAX_BLOB:
            return False
        _write(self._nvs, "history", data)
        return True

    def accepted(self):
        """Return (sequence, created): the highest ever accepted here, 0 for none."""
        stored = _read(self._nvs, "trust")
        found = [0, 0]
        if isinstance(stored, dict) and stored.get("v") == _VERSION:
            for i, key in enumerate(("floor", "created")):
                if isinstance(stored.get(key), int):
                    found[i] = max(0, stored[key])
        return tuple(found)

    def floor(self, pair, sequence):
        """Return the highest sequence accepted here: kept in NVS, or of what runs, once VALID.

        pair: slots.Slots; sequence: of the running image.
        """
        return max(self.accepted()[0], sequence if pair.proved else 0)

    def keep_accepted(self, sequence, created):
        """Remember an accepted package: one NVS commit, if it is higher. Raises FlashError."""
        before = self.accepted()
        after = max(before[0], sequence), max(before[1], created)
        if after != before:
            blob = {"v": _VERSION, "floor": after[0], "created": after[1]}
            _write(self._nvs, "trust", _encode(blob))


def _fits(value, default):
    return isinstance(value, dict if default is None else type(default))


def _read(nvs, key):
    buf = bytearray(_MAX_BLOB)
    try:
        length = nvs.get_blob(key, buf)
        return json.loads(bytes(memoryview(buf)[:length]))
    except (OSError, ValueError):
        return None


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
        raise errors.FlashError("NVS would not take the %s: %s" % (key, error))
