"""Child processes that never outlive their parent, and one run at a time."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_RESERVED = (1883, 8883)  # where somebody's own broker may listen


class StartError(Exception):
    """A process did not start, or a second run was tried; the text is a sentence."""


def start(command: list[str], log: Path, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a child whose output goes to `log`; it dies with this process."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a child: asked first, killed after five seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def die_with_parent() -> None:
    """In a child: be killed when the parent is. Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """Return a TCP port that nobody listens on now, never MQTT's own."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _RESERVED:
            return port


def wait_for(condition: Callable[[], object], what: str, timeout: float = 30) -> None:
    """Wait until `condition` is true. Raises StartError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise StartError(f"{what} did not happen within {timeout:.0f} s")
        time.sleep(0.05)


def listens(port: int, address: str = "127.0.0.1") -> bool:
    """Say whether something accepts connections on a port of this machine."""
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex((address, port)) == 0


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold `lock` for the time being. Raises StartError when another run has it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise StartError(
                f"another demo is running here (process {file.read().strip() or 'unknown'}); "
                "end it first"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
