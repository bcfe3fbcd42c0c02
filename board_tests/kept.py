"""What a board held before the tests, and how it gets it back.

The tests write files, the agent's journal in NVS, otadata and the slot that does not run; of all
that only the last is lost. The start slot is never written.
"""

import ast
import base64
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_tests.device import Device, DeviceError
from twinslot.formats import otadata

# Everything the tests put on a board or take from it. In a folder MicroPython finds NAME.py before
# NAME.mpy, so a user's own would hide the tests'.
_MODULES = ("app", "selftest", "behaviour")
LIST = "/etc/board_test.txt"  # which image behaves how
_MODULE_FILES = tuple(f"{name}.{ending}" for name in _MODULES for ending in ("py", "mpy"))
_TOUCHED = (
    LIST,
    "/etc/settings.json",
    "/etc/trusted_keys.pem",
    "/etc/trust.json",
    "/etc/ca.pem",
    "/etc/client.pem",
    "/etc/client.key",
)
BLOBS = ("journal", "history", "trust", "failed")  # of the agent, in NVS
NUMBER = "trust_version"  # of the agent, too: the version of its set of keys
_SECTOR = 4096

_LOOK = f"""
import os
def _is_there(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False
_p = os.getcwd().rstrip("/")
print(repr((_p, [path for path in [_p + "/" + name for name in {_MODULES!r}]
    if _is_there(path)], _is_there(_p + "/.files"), _is_there({LIST!r}))))
del _is_there, _p
"""

# Two-argument writeblocks erases the sector first.
_WRITE_RECORD = """
from esp32 import Partition
_o = Partition.find(Partition.TYPE_DATA, subtype=0)[0]
_b = bytearray(b"\\xff" * 4096)
_b[:32] = {record!r}
_o.writeblocks({sector}, _b)
del _o, _b
"""

_ERASE_TRAILER = """
from esp32 import Partition
_p = Partition(Partition.RUNNING).get_next_update()
_p.ioctl(6, _p.info()[3] // 4096 - 1)
del _p
"""


# What packages brought; it goes with the slot that named it.
_REMOVE_DIRECTORIES = """
import os
def _clear(path):
    for name in os.listdir(path):
        below = path + "/" + name
        if os.stat(below)[0] & 0x4000:
            _clear(below)
        else:
            os.remove(below)
    os.rmdir(path)
for _p in os.listdir("/"):
    if (_p in ("app_0", "app_1") or _p.startswith(".old_")) and "/" + _p != {kept!r}:
        _clear("/" + _p)
del _clear, _p
"""


@dataclass(frozen=True)
class Kept:
    """What `restore` needs. slot: the label of the one that ran; files, nvs: None where none was.

    `folder`: where the application lies, "" for `/`; `files`: by absolute path; `nvs`: the agent's
    blobs by name, and NUMBER in digits.
    """

    slot: str
    folder: str
    files: dict[str, bytes | None]
    nvs: dict[str, bytes | None]

    def write(self, path: Path) -> None:
        """Write it to a new file that nobody else may read: it may hold the board's key."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(vars(self), file, default=_as_base64)

    @classmethod
    def read(cls, path: Path) -> "Kept":
        """Read what `write` wrote. Raises DeviceError for anything else."""
        try:
            found = json.loads(path.read_bytes())
            files, nvs = _as_bytes(found["files"]), _as_bytes(found["nvs"])
            return cls(found["slot"], found["folder"], files, nvs)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DeviceError(f"{path} is not what a run kept of a board: {error!r}") from error


def check(device: Device) -> None:
    """Judge whether the tests may begin. Raises DeviceError that says why not.

    Changes nothing that the board keeps. An image under test goes on with its test.
    """
    active = otadata.active(device.records())
    if active is not None and active.state in (otadata.NEW, otadata.PENDING):
        device.go_on()
        raise DeviceError(
            "a new image is under test on the board, or about to be: nothing may change until it "
            "is accepted or rolled back. `make logs` shows how it goes; then begin again"
        )
    device.finish_start()
    folder, hiding, unpacked, left_over = ast.literal_eval(device.execute(_LOOK).strip())
    if left_over:
        raise DeviceError(
            "the board still holds what a run put there that was broken off: put it back with "
            "`python -m board_tests.restore` (docs/board-tests.md), or, should its file be lost, "
            f"remove {LIST} and begin again"
        )
    if unpacked or hiding:
        raise DeviceError(
            f"the board runs modules from {' and '.join(hiding) or folder}, which would hide the "
            "tests' own: move them away for the time of the tests"
        )


def touched(folder: str) -> list[str]:
    """Return what the tests write or remove on a board whose application lies in a folder.

    The list by which a run that was broken off is known comes first.
    """
    return [*_TOUCHED, *(f"{folder}/{name}" for name in _MODULE_FILES)]


def save(device: Device) -> Kept:
    """Return what a board holds of all that the tests change."""
    folder = device.working_directory().rstrip("/")
    return Kept(
        device.facts()["running"][4],
        folder,
        {path: device.read(path) for path in touched(folder)},
        {**{name: _blob(device, name) for name in BLOBS}, NUMBER: _number(device)},
    )


def restore(device: Device, kept: Kept) -> None:
    """Put start slot, files and journal back as they were; the other slot is no package.

    Raises DeviceError, CableError: then do it again.
    """
    if device.facts()["running"][4] != kept.slot:
        boot_other(device)
        if device.facts()["running"][4] != kept.slot:
            raise DeviceError(f"the board did not return to {kept.slot}")
    device.execute(_ERASE_TRAILER)
    device.execute(_REMOVE_DIRECTORIES.format(kept=kept.folder), timeout=600)
    set_journal(device, kept.nvs)
    # LIST goes last: while it is there, no run takes what is on the board for its own.
    for path in reversed(touched(kept.folder)):
        data = kept.files.get(path)
        if data is None:
            remove(device, [path])
        else:
            device.put(path, data)
    device.restart()


def set_journal(device: Device, blobs: dict[str, bytes | None] | None = None) -> None:
    """Empty the agent's journal in NVS, or make it what it was."""
    lines = ["from esp32 import NVS", "_n = NVS('ota')"]
    number = (blobs or {}).get(NUMBER)
    if number is None:
        lines.append(f"try: _n.erase_key({NUMBER!r})\nexcept OSError: pass")
    else:
        lines.append(f"_n.set_i32({NUMBER!r}, {int(number)})")
    for name in BLOBS:
        data = (blobs or {}).get(name)
        if data is None:
            lines.append(f"try: _n.erase_key({name!r})\nexcept OSError: pass")
        else:
            lines.append(f"_n.set_blob({name!r}, bytearray({data!r}))")
    device.execute("\n".join([*lines, "_n.commit()", "del _n"]))


def remove(device: Device, paths: list[str]) -> None:
    """Remove files, those that are there."""
    device.execute(
        f"import os\nfor _p in {paths!r}:\n    try: os.remove(_p)\n    except OSError: pass"
    )


def boot_other(device: Device) -> int:
    """Boot the other slot. Returns the number of the next line it prints.

    No update and no test: `set_boot` would begin one, and it could only be ended by typing while
    the image is pending. So the record is written as VALID, into the sector of the one that is not
    active, as ESP-IDF's otatool does it: a power cut leaves one or the other.
    """
    facts = device.facts()
    records = device.records()
    active = otadata.active(records)
    running = facts["running"][1] - 0x10
    wanted = 1 - running
    sequence = active.sequence + 1 if active else 1
    while (sequence - 1) % 2 != wanted:
        sequence += 1
    sector = 1 - records.index(active) if active else 0
    set_journal(device)  # or the agent would take the start for the end of an update
    device.execute(_WRITE_RECORD.format(record=_record(sequence), sector=sector))
    return device.restart()


def _record(sequence: int) -> bytes:
    number = sequence.to_bytes(4, "little")
    crc = zlib.crc32(number, otadata.UNDEFINED)
    state = otadata.VALID
    return number + b"\xff" * 20 + state.to_bytes(4, "little") + crc.to_bytes(4, "little")


def _number(device: Device) -> bytes | None:
    """Return NUMBER in decimal digits, None when there is none."""
    said = device.execute(
        "from esp32 import NVS\n"
        f"try: print(NVS('ota').get_i32({NUMBER!r}))\nexcept OSError: print()"
    )
    return said.strip().encode() or None


def _blob(device: Device, name: str) -> bytes | None:
    text = device.execute(
        "from esp32 import NVS\n_b = bytearray(4000)\n"
        f"try: print(repr(bytes(_b[:NVS('ota').get_blob({name!r}, _b)])))\n"
        "except OSError: print(None)\ndel _b"
    )
    blob: bytes | None = ast.literal_eval(text.strip())
    return blob


def _as_base64(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _as_bytes(texts: dict[str, str | None]) -> dict[str, bytes | None]:
    return {
        name: None if text is None else base64.b64decode(text, validate=True)
        for name, text in texts.items()
    }
