"""Child processes that never outlive their parent, and one run at a time."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
# Below what Linux and macOS give to a client, or to a socket that binds port 0.
_PORTS = range(20000, 32768)
_locks = -1  # the file whose bytes are locked, one per port
_claimed: set[int] = set()  # a process does not stand in its own way with a lock


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
    """Return a TCP port that nobody listens on. While this process lives, no other one gets it."""
    while True:
        port = secrets.choice(_PORTS)
        if port not in _claimed and _is_free(port) and _claim(port):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _claim(port: int) -> bool:
    """Lock the port's byte of a file that all runs of this user share."""
    global _locks
    if _locks < 0:
        path = Path(tempfile.gettempdir()) / f"twinslot-ports-{os.getuid()}"
        _locks = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _claimed.add(port)
    return True


def wait_for(
    condition: Callable[[], object],
    what: str,
    timeout: float = 30,
    *,
    process: subprocess.Popen[Any] | None = None,
    log: Path | None = None,
) -> None:
    """Wait until `condition` is true.

    process: whose work that is; log: where it says why not. Raises StartError naming `what` after
    `timeout` seconds, or when the process has ended.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        ended = process and process.poll() is not None
        if ended or time.monotonic() > deadline:
            why = "the process ended" if ended else f"{timeout:.0f} s are over"
            said = log.read_text(errors="replace")[-1000:].strip() if log else ""
            raise StartError(f"{what} did not happen: {why}. {said}".rstrip())
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
