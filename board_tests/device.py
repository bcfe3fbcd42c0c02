"""The board under test: what it says, what it is asked, and what its flash holds.

Nothing here knows what is behind the port. The port is opened once; while an image is under test
the board is only listened to, for interrupting it could end the test.
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
from pathlib import Path
from typing import Any

from tools.heap import WEIGH_AGENT
from twinslot.board import files
from twinslot.board.cable import Cable
from twinslot.errors import FleetError
from twinslot.formats import otadata

READY = "State: Ready"  # main.py's, once a second: no update, no test
_MARK = "board-test "
# boot.py's, at every start of an image that is not accepted yet.
_UNDER_TEST = re.compile(r"boot: image under test\D*(\d+) s")
# From the watchdog's bite until nothing of the image under test runs any more.
_AFTER_DEADLINE_S = 10
# Before its first write after a start littlefs looks for free blocks, through everything it holds:
# nothing on most boards, three quarters of a minute where each read of flash takes 30 ms.
_SILENCE_S = 180

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

# The first line of the agent's bundle, which names its extensions; nothing without a bundle.
_BUNDLE_HEAD = """
import ota
try:
    with open(ota.__file__[:-12] + "bundle.mpy") as _file: print(_file.readline())
except OSError: pass
"""

_SEND = """
import socket
from esp32 import Partition
_p = Partition(Partition.RUNNING)
_b = bytearray(4096)
_s = socket.socket()
_s.settimeout(20)
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
_w.active(False)
_w.active(True)
_w.connect({ssid!r}, {password!r})
for _ in range(300):
    if _w.isconnected(): break
    time.sleep_ms(100)
print(_w.isconnected())
"""


class DeviceError(FleetError):
    """The board cannot be tested, or did not do in time what it should."""


class _PatientCable(Cable):
    """A cable that bears long silence."""

    def execute(self, code: str, timeout: float = _SILENCE_S) -> str:
        """As the Cable's, but never less patient than `_SILENCE_S`."""
        return super().execute(code, max(timeout, _SILENCE_S))


class Device:
    """A board behind an open cable. log: file that gets everything it prints."""

    def __init__(self, cable: Cable, log: Path) -> None:
        self._cable = cable
        self._log = log.open("w", encoding="utf-8")
        self._under_test_until = 0.0
        self._stopped = False  # by `execute`: a prompt waits for what comes next, nothing is said
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
            begun = _UNDER_TEST.search(line)
            if begun:
                self._under_test_until = time.monotonic() + int(begun[1]) + _AFTER_DEADLINE_S
            elif READY in line:
                self._under_test_until = 0.0
            line = self._cable.read_line(0)

    def _before_typing(self) -> None:
        """Listen until no image is under test: it is accepted, or its deadline is over.

        By what the board has printed; so nothing is typed into a test, whatever has gone wrong.
        """
        if not self._stopped:
            self.listen(0)
        while time.monotonic() < self._under_test_until:
            self.listen()
        self._stopped = True

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

    def execute(self, code: str, timeout: float = _SILENCE_S) -> str:
        """Run statements; the program stops first. timeout: seconds of silence.

        An image under test is heard out before.
        """
        self._before_typing()
        return self._cable.execute(code, timeout)

    def interrupt_test(self, code: str) -> str:
        """Run statements amid a test, as a person or a tool does: the application is stopped."""
        said = self._cable.execute(code)
        self._cable.interrupt()  # back to the friendly prompt
        return said

    def ask(self, prepare: str, expression: str) -> tuple[Any, int]:
        """Return an expression's value and the milliseconds the board took for it."""
        text = self.execute(
            f"import gc, time\n{prepare}\ngc.collect()\n_t = time.ticks_ms()\n_v = {expression}\n"
            "_t = time.ticks_diff(time.ticks_ms(), _t)\nprint(repr((_v, _t)))\ndel _v, _t"
        )
        value, milliseconds = ast.literal_eval(text)
        return value, milliseconds

    def heap_of_a_bare_start(self) -> tuple[int, int]:
        """Return the free and the taken heap (bytes) at a prompt before which only boot.py ran."""
        self._before_typing()
        self._cable.bare_reset()
        free, taken = self.execute(
            "import gc\ngc.collect()\nprint(gc.mem_free(), gc.mem_alloc())"
        ).split()
        return int(free), int(taken)

    def heap_of_the_agent(self) -> int:
        """Return the bytes that an agent alone takes at rest, without client and application.

        To be asked of a board whose journal is empty.
        """
        self._before_typing()
        self._cable.bare_reset()
        return int(self.execute(WEIGH_AGENT).split()[0])

    def differing(self) -> list[str]:
        """Return the files of this checkout that the board has not, or has otherwise."""
        directory = self.working_directory().strip("/")
        self._before_typing()
        head = self._cable.execute(_BUNDLE_HEAD)
        ours = files.in_directory(files.application(chosen=head.split()[2:]), directory)
        wanted = {path: hashlib.sha256(data).digest() for path, data in ours.items()}
        there = self._cable.hashes(list(wanted))
        return [path for path in wanted if there[path] != wanted[path]]

    def records(self) -> list[otadata.Record | None]:
        """Return otadata's two records, None for one that is blank or torn."""
        return [otadata.parse(bytes.fromhex(text)) for text in self.facts()["otadata"]]

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None when there is none."""
        text = self.execute(
            "import binascii\n"
            f"try: _f = open({path!r}, 'rb')\nexcept OSError: _f = None\n"
            "while _f:\n    _b = _f.read(384)\n    if not _b: break\n"
            "    print(binascii.b2a_base64(_b).decode(), end='')\n"
            "print(_f is None)"
        )
        *lines, missing = text.splitlines()
        return None if missing == "True" else b"".join(base64.b64decode(line) for line in lines)

    def working_directory(self) -> str:
        """Return the directory that boot.py chose for the application."""
        return self.execute("import os\nprint(os.getcwd())").strip()

    def put(self, path: str, data: bytes) -> None:
        """Write a file."""
        self._before_typing()
        self._cable.put(path, data)

    def finish_start(self) -> None:
        """Let boot.py run to its end, where the first Ctrl-C fell into it: no agent is found then.

        main.py does not run.
        """
        found = "try:\n    import ota\n    print(True)\nexcept ImportError:\n    print(False)"
        if "True" not in self.execute(found):
            self._cable.bare_reset()

    def go_on(self) -> None:
        """Start main.py again without a reset of the chip: a test goes on with its time."""
        self._cable.soft_reset(_SILENCE_S)
        self._stopped = False

    def restart(self) -> int:
        """machine.reset(). Returns the number of the next line it prints."""
        self._before_typing()
        since = len(self.said)
        self._cable.reset()
        self._stopped = False
        return since

    # -- the image ----------------------------------------------------------------------------

    def join(self, ssid: str, password: str) -> None:
        """Turn Wi-Fi off and on at the REPL, and connect it. Raises DeviceError."""
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
    with _PatientCable(port) as cable:
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
