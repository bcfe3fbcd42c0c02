"""A real PostgreSQL on a socket of its own, for tests; where none is installed they skip."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO

import pytest
import sqlalchemy as sa
from fleet_service import until

_MISSING = "no `initdb` on this machine: `apt-get install postgresql`, or `brew install postgresql`"
_FOLDERS = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin")  # not in PATH
_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")  # no test cuts this one's power


class PostgreSQL:
    """A server in a folder; `database()` makes an empty one for a test."""

    def __init__(self, folder: Path, programs: Path) -> None:
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
            assert made.wait() == 0, log.read_text()
            options = [f"-c{name}=off" for name in _DURABLE]
            where = ("-k", str(folder), "-clisten_addresses=")
            self._process = self._start(output, "postgres", *where, *options)
        self._admin = sa.create_engine(f"postgresql+psycopg://{self._place}")
        until(self._answers, "PostgreSQL")

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


def _programs() -> Path | None:
    """Return the newest server's folder of programs, None where no server is installed."""
    found = shutil.which("initdb")
    folders = [path for pattern in _FOLDERS for path in Path("/").glob(pattern[1:])]
    held = [path for path in sorted(folders) if (path / "initdb").exists()]
    return Path(found).parent if found else held[-1] if held else None


@contextlib.contextmanager
def running() -> Iterator[PostgreSQL]:
    """A server, ended and removed afterwards; skips the test that needs it where there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip(_MISSING)
    # A socket's path has some 100 bytes at most, fewer than pytest's folders take.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = PostgreSQL(Path(folder), programs)
        try:
            yield server
        finally:
            server.close()
