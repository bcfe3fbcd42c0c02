"""A firmware/link.Link in a process of MicroPython or CPython, called from here.

What the link does to the test's patience is measured there and limited here: a call that does not
come back within HANG_S fails the test.
"""

from __future__ import annotations

import functools
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from tools import natives
from tools.paths import CACHE, ROOT

HANG_S = 20.0
PYPI_LIBRARY = str(CACHE / "umqtt")


class LinkFailed(Exception):
    """A call raised there. kind: name of the class; number: errno; text: str() of it."""

    def __init__(self, kind: str, is_os_error: bool, number: int | None, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.is_os_error = is_os_error
        self.number = number
        self.text = text


class RemoteLink:
    """Its methods are the link's; topics and payloads it received are in `messages`.

    ms: what the last call took. interpreter: "micropython" or "cpython"; version: of umqtt.simple,
    see link_client.py; plain: the library's own client instead of Link; tls: paths of CA,
    certificate, key. The other arguments are the constructor's.
    """

    def __init__(
        self,
        interpreter: str,
        port: int,
        *,
        host: str = "127.0.0.1",
        version: str = "1.8.0",
        plain: bool = False,
        tls: list[Path] | None = None,
        **arguments: Any,
    ) -> None:
        script = str(ROOT / "host_tests/on_board/link_client.py")
        python = (
            [*natives.command("micropython"), "-X", "heapsize=4m"]
            if interpreter == "micropython"
            else [sys.executable, "-u"]
        )
        self._process = subprocess.Popen(
            [*python, script, str(ROOT), version], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._pending = b""
        self.messages: list[tuple[bytes, bytes]] = []
        self.ms = 0
        arguments["server" if plain else "host"] = host
        arguments["port"] = port
        files = [str(path) for path in tls] if tls else None
        self._ask({"plain": plain, "tls": files, "arguments": arguments})

    def __enter__(self) -> RemoteLink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return functools.partial(self._call, name)

    def set(self, name: str, value: Any) -> None:
        """Set an attribute of the link."""
        self._ask({"set": name, "value": value})

    def in_callback(self, *calls: tuple[Any, ...]) -> None:
        """Let the callback make these calls, (method, argument, ...), at the next message."""
        self._ask({"in_callback": [_request(*call) for call in calls]})

    def take_messages(self) -> list[tuple[bytes, bytes]]:
        """Return what came since the last time."""
        messages, self.messages = self.messages, []
        return messages

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        return self._ask(_request(name, *arguments, **options))

    def _ask(self, request: dict[str, Any]) -> Any:
        cast(IO[bytes], self._process.stdin).write(json.dumps(request).encode() + b"\n")
        cast(IO[bytes], self._process.stdin).flush()
        answer = json.loads(self._line())
        if not answer:
            return None
        if "call" in request:
            self.ms = answer["ms"]
        self.messages += [(bytes.fromhex(t), bytes.fromhex(p)) for t, p in answer["messages"]]
        if answer["error"]:
            raise LinkFailed(*answer["error"])
        return answer["value"]

    def _line(self) -> bytes:
        pipe = cast(IO[bytes], self._process.stdout).fileno()
        while b"\n" not in self._pending:
            ready, _, _ = select.select([pipe], [], [], HANG_S)
            if not ready:
                self.close()
                raise AssertionError(f"the link hangs for more than {HANG_S:.0f} s")
            data = os.read(pipe, 65536)
            if not data:
                raise AssertionError(f"the link's process ended: {self._pending!r}")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line


def _request(name: str, *arguments: Any, **options: Any) -> dict[str, Any]:
    coded = [_encode(a) if isinstance(a, bytes) else a for a in arguments]
    return {"call": name, "arguments": coded, "options": options}


def _encode(data: bytes) -> dict[str, Any]:
    return {"hex": data.hex()} if any(data) else {"zeros": len(data)}
