"""A running board, over its console.

One opening of the port serves for listening and for mpremote's raw REPL. The mpremote program opens
it again for every command, and sets DTR and RTS, which resets most development boards and so ends a
test of a new image; here both stay off. Nothing is typed before a method that says so.

with Cable("/dev/ttyUSB0") as cable:
    print(cable.read_line(timeout=5))  # listens
    print(cable.evaluate("1 + 1"))  # stops main.py by Ctrl-C, without a reset
    cable.soft_reset()  # boot.py and main.py run again
"""

import ast
import contextlib
import hashlib
import re
import time
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from twinslot.board.port import BAUD, CableError, PortError, open_quietly

TEMPORARY = ".new"  # ends the name of a file until all of it is there

_CTRL_A, _CTRL_B, _CTRL_C, _CTRL_D = b"\x01", b"\x02", b"\x03", b"\x04"
_END_OF_LINE = re.compile(rb"\r?\n|\x04")  # Ctrl-D ends what code prints (raw REPL)
_PROMPT = b">>> "
_FRIENDLY = b"for more information.\r\n" + _PROMPT  # the end of the banner that Ctrl-B brings
_RAW = b"raw REPL; CTRL-B to exit\r\n"
_SOFT = b"soft reboot\r\n"
_POLL_S = 0.005
_AT_ONCE = 4096  # bytes
_CTRL_C_S = 0.1  # what comes in one USB packet with Ctrl-C may be lost
_BANNER_S = 2.0
_UNDO_S = 5.0
_CHUNK = 1536  # bytes of a file per command: at most some 6 KB of the board's heap, a while

_HASHES = """
import hashlib
def _hash(path):
    try:
        file = open(path, "rb")
    except OSError as error:
        if error.errno == 2:
            return None
        raise OSError(error.errno, path)
    sha = hashlib.sha256()
    buf = memoryview(bytearray(1024))
    with file:
        while True:
            n = file.readinto(buf)
            if not n:
                return sha.digest()
            sha.update(buf[:n])
print("{")  # item by item, so that a slow flash is not taken for silence
for path in %r:
    print(repr(path), ":", repr(_hash(path)), ",")
print("}")
"""

_READ = """
from binascii import b2a_base64
with open(%r, "rb") as _file:
    while True:
        _data = _file.read(768)
        if not _data:
            break
        print(b2a_base64(_data).decode())
"""

_NAMES = """
import os
def _names(folder):
    try:
        return os.listdir(folder)
    except OSError as error:
        if error.errno == 2:
            return []
        raise OSError(error.errno, folder)
print(_names(%r))
"""

_FOLDERS = """
import os
for path in %r:
    try:
        os.mkdir(path)
    except OSError as error:
        if error.errno != 17:
            raise
"""

_REPLACE = """
import os
for path in %r:
    os.rename(path + %r, path)
for path in %r:
    os.remove(path)
"""

_IMPORT = """
import sys
sys.path.insert(0, "/")
try:
    import %s
finally:
    sys.path.pop(0)
"""

_FORGET = """
import os, sys
os.remove("/%s.mpy")
sys.modules.pop(%r, None)
"""


class NoAnswer(CableError):
    """The board is silent: no prompt after Ctrl-C, no end of an answer, not the awaited line."""


class Raised(CableError):
    """Code that was run on the board raised. `traceback`: what the board printed."""

    def __init__(self, traceback: str) -> None:
        self.traceback = traceback.strip().replace("\r\n", "\n")
        super().__init__(f"the board raised {self.traceback.rpartition(chr(10))[2]}")


class NotWritten(CableError):
    """The board read back other bytes than were sent."""


class NotRead(CableError):
    """Other bytes came than the board holds."""


@dataclass
class Pause:
    """The fate of the program that was stopped. `starts_again`: False if none ran."""

    starts_again: bool


class Cable:
    """The console of one board. port: as `board.port.open_quietly` takes it.

    Opens the port, with DTR and RTS off, and types nothing. Raises PortError. Every method raises
    PortError when the connection is lost; a chip whose console is its own USB loses it with every
    reset.
    """

    def __init__(self, port: str, baud: int = BAUD) -> None:
        self.port = port
        self._serial = open_quietly(port, baud)
        # mpremote's transport would open the port its own way; so it gets a loop first.
        self._transport = SerialTransport("loop://")
        self._transport.serial.close()
        self._transport.serial = self._serial
        self._heard = b""

    def __enter__(self) -> "Cable":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back; who comes next finds the friendly prompt, or the running program."""
        with contextlib.suppress(OSError):
            if self._transport.in_raw_repl:
                self._transport.exit_raw_repl()
            self._transport.close()

    @property
    def stream(self) -> Any:
        """The open port, pyserial's object, for a terminal that takes it over."""
        return self._serial

    # -- listening: types nothing -----------------------------------------------------------------

    def read(self, timeout: float) -> bytes:
        """Return what the board sends next, b"" when it is silent for `timeout` seconds."""
        if self._heard:
            heard, self._heard = self._heard, b""
            return heard
        deadline = time.monotonic() + timeout
        said = b""
        with self._connected():
            while True:
                # Of a socket pyserial sees one byte at a time.
                while len(said) < _AT_ONCE and (waiting := self._serial.in_waiting):
                    said += self._serial.read(waiting)
                if said or time.monotonic() >= deadline:
                    return said
                time.sleep(_POLL_S)

    def read_line(self, timeout: float) -> str | None:
        """Return the next line, without its end; None when none is complete in `timeout` seconds.

        A line that has begun is kept for the next call.
        """
        return self._line(time.monotonic() + timeout)

    def wait_for(self, text: str, timeout: float) -> str:
        """Return the next line that contains `text`. Raises NoAnswer after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            line = self._line(deadline)
            if line is None:
                raise NoAnswer(f"{self.port}: {text!r} did not come within {timeout:g} s")
            if text in line:
                return line

    # -- running code: stops the program that runs ------------------------------------------------

    def interrupt(self, timeout: float = 30) -> bool:
        """Stop the program by Ctrl-C, without any reset, and come to the friendly prompt.

        Returns whether a program ran: `soft_reset` starts main.py again. A raw prompt that another
        tool left counts as one: a soft reset too many harms nothing, one too few leaves main.py
        stopped. Raises NoAnswer without a prompt in `timeout` seconds.
        """
        asked, self._transport.in_raw_repl = self._transport.in_raw_repl, False
        heard = b""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self._type(_CTRL_C)
            heard += self._read_until(_PROMPT, _CTRL_C_S)
            self._type(_CTRL_B)
            left = max(0.0, deadline - time.monotonic())
            heard += self._read_until(_FRIENDLY, min(_BANNER_S, left))
            before, banner, after = heard.partition(_FRIENDLY)
            if banner:
                # An idle prompt answers Ctrl-C by a prompt and nothing else. A program that ends,
                # however quietly, brings its banner first; then comes Ctrl-B's, if it was not lost.
                said = before.rpartition(b"MicroPython ")[0].split()
                ran = set(said) != {_PROMPT.strip()} and not asked  # what was asked is answered
                if ran and _FRIENDLY not in after:
                    self._read_until(_FRIENDLY, _BANNER_S)
                return ran
        raise NoAnswer(
            f"{self.port}: no MicroPython prompt within {timeout:g} s of Ctrl-C. Is this the "
            "board's port, does MicroPython run there, and does its program let Ctrl-C through?"
        )

    @contextlib.contextmanager
    def paused(self) -> Iterator["Pause"]:
        """Stop the program that runs, and start it again at the end, by a soft reset.

        An error inside goes before one of starting again. Raises NoAnswer.
        """
        pause = Pause(self.interrupt())
        try:
            yield pause
        except BaseException:
            if pause.starts_again:
                with contextlib.suppress(CableError):
                    self.soft_reset()
            raise
        if pause.starts_again:
            self.soft_reset()

    def execute(self, code: str, timeout: float = 10) -> str:
        """Run code on the board and return what it prints, with plain line ends.

        timeout: seconds of silence after which NoAnswer is raised. Raises Raised with the board's
        traceback. Stops the program that runs, as `interrupt` does.
        """
        self._enter_raw()
        with self._connected():
            out, error = self._transport.exec_raw(code, timeout=timeout)
        if error:
            raise Raised(error.decode(errors="replace"))
        return bytes(out).decode(errors="replace").replace("\r\n", "\n")

    def serve(self, code: str, answer: Callable[[str], bytes | None], timeout: float = 60) -> None:
        """Run code on the board that asks for bytes on the way.

        answer(line): called with every line that the board prints; the bytes it returns are sent,
        None ends the conversation, wherever the board is then. timeout: seconds of silence after
        which NoAnswer is raised. Raises Raised with the board's traceback.
        """
        self._enter_raw()
        with self._connected():
            self._transport.exec_raw_no_follow(code)
        self._transport.in_raw_repl = False
        heard = b""
        while more := self.read(timeout):
            heard += more
            while at := _END_OF_LINE.search(heard):
                line, heard = heard[: at.start()], heard[at.end() :]
                reply = answer(line.decode(errors="replace"))
                if at[0] == _CTRL_D:
                    error = heard
                    if _CTRL_D not in error:
                        error += self._read_until(_CTRL_D, timeout)
                    if error.strip(_CTRL_D + b">\r\n"):
                        raise Raised(error.partition(_CTRL_D)[0].decode(errors="replace"))
                    return
                if reply is None:
                    self._heard = heard
                    return
                self._type(reply)
        raise NoAnswer(f"{self.port}: the board was silent for {timeout:g} s")

    def evaluate(self, expression: str, timeout: float = 10) -> Any:
        """Return the value of an expression on the board, a literal of Python. As `execute`."""
        return self.evaluate_output(f"print(repr({expression}))", timeout)

    def evaluate_output(self, code: str, timeout: float = 10) -> Any:
        """Return the literal of Python that code prints; NoAnswer if it does not."""
        said = self.execute(code, timeout)
        try:
            return ast.literal_eval(said.strip())
        except (ValueError, SyntaxError) as error:
            raise NoAnswer(
                f"{self.port}: {said.strip()[:200]!r} came instead of an answer"
            ) from error

    @contextlib.contextmanager
    def module(self, name: str, compiled: bytes) -> Iterator[None]:
        """Let code use the module `name` for a while; compiled: its .mpy.

        A chip hardly has the memory to compile more than a few lines beside a program. So it lies
        in / as a file, which is removed at the end. Raises NotWritten, Raised.
        """
        self.put(f"/{name}.mpy", compiled)
        try:
            self.execute(_IMPORT % name)
            yield
        finally:
            with contextlib.suppress(CableError):  # of a lost board nothing can be removed
                self.execute(_FORGET % (name, name))

    def soft_reset(self, timeout: float = 10) -> None:
        """Restart MicroPython as Ctrl-D at the prompt does: boot.py and main.py run, no chip reset.

        A test of a new image goes on with the rest of its time. Returns when the restart begins;
        what follows can be read. Raises NoAnswer.
        """
        self.interrupt(timeout)
        self._type(_CTRL_D)
        heard = self._read_until(_SOFT, timeout)
        _, said, self._heard = heard.partition(_SOFT)
        if not said:
            raise NoAnswer(f"{self.port}: no soft reset within {timeout:g} s")

    def bare_reset(self, timeout: float = 60) -> None:
        """Restart MicroPython as mpremote does before it runs code: boot.py runs, main.py does not.

        Raises NoAnswer.
        """
        self.interrupt()
        self._transport.in_raw_repl = False
        with self._connected():
            self._transport.enter_raw_repl(soft_reset=True, timeout_overall=timeout)

    def reset(self) -> None:
        """Restart the chip by machine.reset(). This ends a test of a new image: it is rolled back.

        What the board prints from then on can be read. Raises NoAnswer.
        """
        self._enter_raw()
        with self._connected():
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
        self._transport.in_raw_repl = False

    # -- files: stops the program that runs -------------------------------------------------------

    def hashes(self, paths: Iterable[str]) -> dict[str, bytes | None]:
        """Return the SHA-256 (32 bytes) of files on the board, None for those that are missing.

        Raises Raised, with the path, where a folder is in the place of a file or the reverse.
        """
        found: dict[str, bytes | None] = self.evaluate_output(_HASHES % list(paths), 30)
        return found

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder on the board, none where there is no such folder.

        Raises Raised, with the path, where a file is in the place of the folder.
        """
        found: list[str] = self.evaluate_output(_NAMES % folder)
        return found

    def get(self, path: str) -> bytes:
        """Return a file on the board, verified by SHA-256. Raises NotRead, Raised."""
        said = self.execute(_READ % path, 30)
        try:
            data = b"".join(map(a2b_base64, said.split()))
        except ValueError:
            data = b""
        if self.hashes([path])[path] != hashlib.sha256(data).digest():
            raise NotRead(f"{path}: other bytes came than the board holds; try again")
        return data

    def put(self, path: str, data: bytes) -> None:
        """Write a file, and the folders above it. `path` is either the old file or all of the new.

        Raises NotWritten when the board reads back something else, Raised when it cannot write.
        """
        self.stage({path: data})
        self.replace([path])

    def stage(self, files: Mapping[str, bytes]) -> None:
        """Write files (absolute path to bytes) under temporary names and verify them by SHA-256.

        `replace` puts them in place. Raises NotWritten or Raised; then, as after Ctrl-C, no file is
        changed, and the temporary ones are removed.
        """
        self.execute(_FOLDERS % _folders(files))
        try:
            for path, data in files.items():
                self._send(path + TEMPORARY, data)
            there = self.hashes([path + TEMPORARY for path in files])
            for path, data in files.items():
                if there[path + TEMPORARY] != hashlib.sha256(data).digest():
                    raise NotWritten(
                        f"{path}: the board holds other bytes than were sent; try again"
                    )
        except (Raised, NotWritten, KeyboardInterrupt):
            with contextlib.suppress(CableError):  # what went wrong first is what is told
                self.interrupt(_UNDO_S)  # Ctrl-C may have come in the middle of an answer
                there = self.hashes([path + TEMPORARY for path in files])
                self.replace([], [path for path, hash_ in there.items() if hash_])
            raise

    def replace(self, paths: Iterable[str], remove: Iterable[str] = ()) -> None:
        """Give staged files their names, then remove the files in `remove`. Raises Raised."""
        self.execute(_REPLACE % (list(paths), TEMPORARY, list(remove)), 30)

    # -- inside -----------------------------------------------------------------------------------

    def _send(self, path: str, data: bytes) -> None:
        """Write a file by chunks. base64 is half as long as the literals that mpremote sends."""
        self.execute(f"from binascii import a2b_base64 as _a2b\n_file = open({path!r}, 'wb')")
        for at in range(0, len(data), _CHUNK):
            self.execute(f"_file.write(_a2b({b64encode(data[at : at + _CHUNK])!r}))")
        self.execute("_file.close()")

    def _line(self, deadline: float) -> str | None:
        heard = b""
        while b"\n" not in heard:
            more = self.read(max(0.0, deadline - time.monotonic()))
            if not more:
                self._heard = heard
                return None
            heard += more
        line, _, self._heard = heard.partition(b"\n")
        return line.rstrip(b"\r").decode(errors="replace")

    def _read_until(self, end: bytes, timeout: float) -> bytes:
        """Return what comes up to and with `end`, or for `timeout` seconds."""
        heard = b""
        deadline = time.monotonic() + timeout
        while end not in heard and time.monotonic() < deadline:
            heard += self.read(max(0.0, deadline - time.monotonic()))
        return heard

    def _type(self, keys: bytes) -> None:
        with self._connected():
            self._serial.write(keys)

    def _enter_raw(self) -> None:
        if self._transport.in_raw_repl:
            return
        self.interrupt()
        self._type(_CTRL_A)
        with self._connected():
            heard = self._transport.read_until(1, _RAW, timeout_overall=_BANNER_S)
        if not heard.endswith(_RAW):
            raise NoAnswer(f"{self.port}: the raw REPL that mpremote uses does not answer")
        self._transport.in_raw_repl = True

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except TransportError as error:
            output = getattr(error, "error_output", None)
            if output is not None:
                raise Raised(output) from error
            self._transport.in_raw_repl = False  # wherever the board is: from the start, next time
            raise NoAnswer(f"{self.port}: the board stopped answering ({error})") from error
        except OSError as error:
            self._transport.in_raw_repl = False
            raise PortError(f"{self.port}: connection lost: {error}") from error


def _folders(paths: Iterable[str]) -> list[str]:
    """Return the folders that lie above files, the upper ones first."""
    found: set[str] = set()
    for path in paths:
        parts = path.split("/")[1:-1]
        found.update("/" + "/".join(parts[: end + 1]) for end in range(len(parts)))
    return sorted(found)
