"""A real PostgreSQL on a socket of its own, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from tools.natives import NativeMissing

_MISSING = "no `initdb` on this machine: `apt-get install postgresql`, or `brew install postgresql`"
_FOLDERS = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin")  # not in PATH
_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
_PATIENCE, _POLL = 20, 0.02  # seconds


class PostgreSQLError(Exception):
    """The server does not start; the text is what it said."""


class PostgreSQL:
    """A server in a folder; `database()` makes an empty one."""

    def __init__(self, folder: Path, programs: Path, *, durable: bool) -> None:
        """durable: what is committed survives a power cut, at the price of its writes."""
        self._folder = folder
        self._programs = programs
        self._numbers = count(1)
        # The server refuses to be root.
        self._user = _unprivileged() if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(folder, self._user)
        log = folder / "log"
        with log.open("w") as output:
            made = self._start(output, "initdb", "-A", "trust", "-U", "fleet", "-E", "UTF8")
            if made.wait():
                raise PostgreSQLError(f"initdb: {log.read_text().strip()}")
            options = [] if durable else [f"-c{name}=off" for name in _DURABLE]
            where = ("-k", str(folder), "-clisten_addresses=")
            self._process = self._start(output, "postgres", *where, *options)
        self._admin = sa.create_engine(f"postgresql+psycopg://{self._place}")
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise PostgreSQLError(f"PostgreSQL does not start: {log.read_text().strip()}")
            time.sleep(_POLL)

    def database(self) -> str:
        """Return the URL of an empty database, as an operator would write it.

        It is a schema of one database: as empty, and made in no time.
        """
        schema = f"fleet_{next(self._numbers)}"
        with self._admin.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        return f"postgresql://{self._place}&options=-csearch_path%3D{schema}"

    def close(self) -> None:
        """End the server, whoever is still connected."""
        self._admin.dispose()
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    @property
    def _place(self) -> str:
        return f"fleet@/postgres?host={self._folder}"

    def _answers(self) -> bool:
        with contextlib.suppress(sa.exc.OperationalError), self._admin.connect():
            return True
        return False

    def _start(self, output: IO[str], program: str, *options: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._programs / program, "-D", self._folder / "data", *options],
            cwd=self._folder,
            user=self._user,
            stdout=output,
            stderr=output,
        )


def _unprivileged() -> str:
    """Return the user that PostgreSQL's package made, else nobody."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _programs() -> Path:
    """Return the newest server's folder of programs. Raises NativeMissing."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = [path for pattern in _FOLDERS for path in Path("/").glob(pattern[1:])]
    held = [path for path in sorted(folders) if (path / "initdb").exists()]
    if not held:
        raise NativeMissing(_MISSING)
    return held[-1]


@contextlib.contextmanager
def running(*, durable: bool = False) -> Iterator[PostgreSQL]:
    """A server, ended and removed afterwards. Raises NativeMissing, PostgreSQLError."""
    programs = _programs()
    # A socket's path has some 100 bytes at most, fewer than pytest's folders take.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = PostgreSQL(Path(folder), programs, durable=durable)
        try:
            yield server
        finally:
            server.close()
