"""The board under test: what is on it, how it is prepared, how it is put back.

Nothing here knows what is behind the port. The port is opened once; while an image is pending the
board is only listened to, for interrupting it could end the test.
"""

import ast
import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board import files
from board.cable import Cable

_APPLICATION = Path(__file__).with_name("application")
_SETTINGS = "/etc/settings.json"
# Everything the tests put on a board or change there.
TOUCHED = (
    "/app.mpy",
    "/selftest.mpy",
    "/behaviour.mpy",
    "/etc/board_test.json",
    _SETTINGS,
    "/etc/trusted_keys.pem",
    "/etc/ca.pem",
    "/etc/client.pem",
    "/etc/client.key",
)
_BLOBS = ("journal", "history")
_MARK = "board-test "

_FACTS = """
import sys, machine, binascii
from esp32 import Partition
_o = Partition.find(Partition.TYPE_DATA, subtype=0)
_p = [q.info() for t in (Partition.TYPE_APP, Partition.TYPE_DATA) for q in Partition.find(t)]
_r = []
for _s in ((0, 1) if _o else ()):
    _b = bytearray(32)
    _o[0].readblocks(_s, _b)
    _r.append(binascii.hexlify(_b).decode())
print(repr({
    "version": tuple(sys.implementation[1][:3]),
    "machine": getattr(sys.implementation, "_machine", ""),
    "partitions": _p, "running": Partition(Partition.RUNNING).info(), "otadata": _r,
    "frequency": machine.freq() if hasattr(machine, "freq") else 0,
    "cause": machine.reset_cause()}))
del _o, _p, _r
"""

_SEND = """
import socket
from esp32 import Partition
_p = Partition(Partition.RUNNING)
_b = bytearray(4096)
_s = socket.socket()
_s.connect(socket.getaddrinfo({host!r}, {port})[0][-1])
for _i in range({sectors}):
    _p.readblocks(_i, _b)
    _v = memoryview(_b)
    while _v:
        _v = _v[_s.send(_v):]
_s.close()
del _p, _b, _s, _v
"""

_JOIN = """
import network, time
_w = network.WLAN(network.STA_IF)
_w.active(True)
if not _w.isconnected():
    _w.connect({ssid!r}, {password!r})
    for _ in range(300):
        if _w.isconnected(): break
        time.sleep_ms(100)
print(_w.isconnected())
"""


class DeviceError(Exception):
    """The board cannot be tested, or did not do in time what it should."""


@dataclass(frozen=True)
class Record:
    """An otadata record: sequence number and state (esp_ota_img_states_t)."""

    sequence: int
    state: int

    @property
    def slot(self) -> int:
        """Index of the slot it names, of two."""
        return (self.sequence - 1) % 2


class Device:
    """A board behind an open cable. log: file that gets everything it prints."""

    def __init__(self, cable: Cable, log: Path) -> None:
        self._cable = cable
        self._log = log.open("w", encoding="utf-8")
        self.said: list[str] = []

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    # -- listening ----------------------------------------------------------------------------

    def listen(self, seconds: float = 0.2) -> None:
        """Hear what the board prints; types nothing."""
        line = self._cable.read_line(seconds)
        while line is not None:
            self.said.append(line)
            self._log.write(line + "\n")
            self._log.flush()
            line = self._cable.read_line(0)

    def wait_for(self, what: str, timeout: float, *, since: int = 0) -> int:
        """Listen until a line holds the pattern `what`. Returns its number. Raises DeviceError."""
        deadline = time.monotonic() + timeout
        seen = since
        pattern = re.compile(what)
        while True:
            for number in range(seen, len(self.said)):
                if pattern.search(self.said[number]):
                    return number
            seen = len(self.said)
            if time.monotonic() > deadline:
                raise DeviceError(f"the board did not print {what!r} within {timeout:.0f} s")
            self.listen()

    def told(self, since: int = 0) -> list[dict[str, Any]]:
        """Return what the test application told, as it came."""
        return [
            json.loads(line[len(_MARK) :]) for line in self.said[since:] if line.startswith(_MARK)
        ]

    # -- asking -------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Return version, machine, partitions, the running one, otadata (two hex records)."""
        found: dict[str, Any] = ast.literal_eval(self.execute(_FACTS))
        return found

    def execute(self, code: str, timeout: float = 180) -> str:
        """Run statements; the program stops first. timeout: seconds of silence."""
        return self._cable.execute(code, timeout)

    def ask(self, prepare: str, expression: str) -> tuple[Any, int]:
        """Return an expression's value and the milliseconds the board took for it."""
        text = self.execute(
            f"import gc, time\n{prepare}\ngc.collect()\n_t = time.ticks_ms()\n_v = {expression}\n"
            "_t = time.ticks_diff(time.ticks_ms(), _t)\nprint(repr((_v, _t)))\ndel _v, _t"
        )
        value, milliseconds = ast.literal_eval(text)
        return value, milliseconds

    def free_heap_of_a_bare_start(self) -> int:
        """Return the free heap (bytes) at a prompt before which only boot.py ran."""
        self._cable.bare_reset()
        return int(self.execute("import gc\ngc.collect()\nprint(gc.mem_free())"))

    def differing(self) -> list[str]:
        """Return the files of this checkout that the board has not, or has otherwise."""
        wanted = {path: hashlib.sha256(data).digest() for path, data in _ours().items()}
        there = self._cable.hashes(list(wanted))
        return [path for path in wanted if there[path] != wanted[path]]

    def put(self, path: str, data: bytes) -> None:
        """Write a file."""
        self._cable.put(path, data)

    def install(self, settings: dict[str, bytes], images: list[tuple[int, str, str]]) -> None:
        """Put the test application on the board, and these settings (path to bytes)."""
        for source in sorted(_APPLICATION.glob("*.py")):
            # Compiled: the compiler would leave the agent too little heap.
            self.put(f"/{source.stem}.mpy", files.compile_module(source))
        self.put("/etc/board_test.json", json.dumps(images).encode())
        for path, data in settings.items():
            self.put(path, data)

    def restart(self) -> int:
        """machine.reset(). Returns the number of the next line it prints."""
        since = len(self.said)
        self._cable.reset()
        return since

    # -- the image ----------------------------------------------------------------------------

    def join(self, ssid: str, password: str) -> None:
        """Connect Wi-Fi at the REPL. Raises DeviceError."""
        if "True" not in self.execute(_JOIN.format(ssid=ssid, password=password)):
            raise DeviceError(f"the board does not join Wi-Fi {ssid!r}")

    def fetch_slot(self, host: str) -> tuple[bytes, float]:
        """Return the running slot without its trailer, sent over TCP; and the seconds it took."""
        size = self.facts()["running"][3] - 4096
        got = bytearray()
        with socket.create_server(("0.0.0.0", 0)) as server:
            server.settimeout(60)
            port = server.getsockname()[1]
            thread = threading.Thread(target=_receive, args=(server, got, size))
            thread.start()
            since = time.monotonic()
            self.execute(_SEND.format(host=host, port=port, sectors=size // 4096), timeout=600)
            thread.join()
        if len(got) != size:
            raise DeviceError(f"the board sent {len(got)} of {size} bytes of its slot")
        return bytes(got), time.monotonic() - since

    # -- before and after ---------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        kept: dict[str, Any] = {path: self._file(path) for path in TOUCHED}
        kept["slot"] = self.facts()["running"][4]
        kept["nvs"] = {name: self._blob(name) for name in _BLOBS}
        return kept

    def restore(self, kept: dict[str, Any]) -> None:
        """Put start slot, files and journal back as they were; the other slot is no package."""
        if self.facts()["running"][4] != kept["slot"]:
            self.boot_other()
        for path in TOUCHED:
            if kept[path] is None:
                self.execute(f"import os\ntry: os.remove({path!r})\nexcept OSError: pass")
            else:
                self.put(path, kept[path])
        self.forget(kept["nvs"])
        self.execute(
            "from esp32 import Partition\n"
            "_p = Partition(Partition.RUNNING).get_next_update()\n"
            "_p.ioctl(6, _p.info()[3] // 4096 - 1)\ndel _p"
        )
        self.restart()

    def forget(self, blobs: dict[str, bytes | None] | None = None) -> None:
        """Empty the agent's journal in NVS, or make it what it was."""
        lines = ["from esp32 import NVS", "_n = NVS('ota')"]
        for name in _BLOBS:
            data = (blobs or {}).get(name)
            if data is None:
                lines.append(f"try: _n.erase_key({name!r})\nexcept OSError: pass")
            else:
                lines.append(f"_n.set_blob({name!r}, bytearray({data!r}))")
        self.execute("\n".join([*lines, "_n.commit()", "del _n"]))

    def boot_other(self) -> None:
        """Boot the other slot by hand, and make it valid: no update, and no test."""
        self.forget()
        self.execute(
            "from esp32 import Partition\nPartition(Partition.RUNNING).get_next_update().set_boot()"
        )
        since = self.restart()
        self.wait_for("image under test", 120, since=since)
        self.execute(
            "import machine\nfrom esp32 import Partition\n"
            "Partition.mark_app_valid_cancel_rollback()\n"
            "machine.WDT(timeout=(1 << 30) - 1)"
        )
        self.restart()

    def records(self) -> list[Record]:
        """Return otadata's records that are not blank."""
        found = []
        for text in self.facts()["otadata"]:
            data = bytes.fromhex(text)
            sequence = int.from_bytes(data[:4], "little")
            if sequence != 0xFFFFFFFF:
                found.append(Record(sequence, int.from_bytes(data[24:28], "little")))
        return found

    def _file(self, path: str) -> bytes | None:
        text = self.execute(
            "import binascii\n"
            f"try: _f = open({path!r}, 'rb')\nexcept OSError: _f = None\n"
            "while _f:\n    _b = _f.read(384)\n    if not _b: break\n"
            "    print(binascii.b2a_base64(_b).decode(), end='')\n"
            "print(_f is None)"
        )
        *lines, missing = text.splitlines()
        return None if missing == "True" else b"".join(base64.b64decode(line) for line in lines)

    def _blob(self, name: str) -> bytes | None:
        text = self.execute(
            "from esp32 import NVS\n_b = bytearray(4000)\n"
            f"try: print(repr(bytes(_b[:NVS('ota').get_blob({name!r}, _b)])))\n"
            "except OSError: print(None)\ndel _b"
        )
        blob: bytes | None = ast.literal_eval(text.strip())
        return blob


def _ours() -> dict[str, bytes]:
    return files.application()


def _receive(server: socket.socket, got: bytearray, size: int) -> None:
    with contextlib.suppress(OSError):
        connection, _ = server.accept()
        with connection:
            connection.settimeout(60)
            while len(got) < size:
                data = connection.recv(65536)
                if not data:
                    return
                got += data


@contextlib.contextmanager
def opened(port: str, log: Path) -> Iterator[Device]:
    """Open the board at a port. Raises board.port.PortError."""
    with Cable(port) as cable:
        device = Device(cable, log)
        try:
            yield device
        finally:
            device.close()


def until(condition: Callable[[], bool], device: Device, timeout: float, what: str) -> None:
    """Listen to the board until a condition of the host holds. Raises DeviceError."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise DeviceError(f"{what} did not come within {timeout:.0f} s")
        device.listen()
