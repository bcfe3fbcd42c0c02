"""A mutant against the tests of its module: in a process of its own, on a copy of the work tree."""

import contextlib
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

# Imported here once, so that no fork needs to: half of a short run of pytest is imports.
import cbor2  # noqa: F401
import cryptography.x509  # noqa: F401
import hypothesis  # noqa: F401
import littlefs  # noqa: F401
import pytest
import pytest_timeout  # noqa: F401
import rich.console  # noqa: F401
import xdist.plugin  # noqa: F401

from tools.paths import ROOT

KILLED, HUNG, SURVIVED = "killed", "hung", "survived"
# What of the checkout a copy shares with it, and what it does without.
_SHARED = (".venv", ".cache")
_LEFT_OUT = (*_SHARED, ".git", "build", ".hypothesis", ".mypy_cache", ".ruff_cache")
_MOST_BYTES = 4 << 30  # a loop that never ends must not take the machine's memory
# To the first failure, under CPython alone, and with those plugins only that our tests need.
_OPTIONS = "-x -q -p no:cacheprovider -p pytest_timeout -p xdist.plugin -k".split()
_OPTIONS.append("not [micropython-")


@dataclass(frozen=True)
class Limit:
    """Seconds after which tests count as hung: of the processor, and on the clock."""

    cpu: int
    wall: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the limit for tests that take so many seconds without a fault."""
        return cls(cpu=3 + int(4 * seconds), wall=15 + 10 * seconds)


class Copy:
    """A copy of the work tree, in which a module is replaced. root: where it is made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        for name in _SHARED:
            (self.root / name).symlink_to(ROOT / name)
        self._seconds = count(1_000_000_000)

    def outcome(self, module: str, source: bytes, tests: Sequence[str], limit: Limit) -> str:
        """Run the tests with `source` as the module; return KILLED, HUNG or SURVIVED."""
        path = self.root / module
        whole = path.read_bytes()
        try:
            self._write(path, source)
            return self._tested(tests, limit)
        finally:
            self._write(path, whole)

    def _write(self, path: Path, source: bytes) -> None:
        """Write a source; its date is new, so that nothing compiled before is taken for it."""
        path.write_bytes(source)
        second = next(self._seconds)
        os.utime(path, (second, second))

    def _tested(self, tests: Sequence[str], limit: Limit) -> str:
        child = os.fork()
        if not child:
            code = 1
            with contextlib.suppress(BaseException):  # whatever it is, it must not go on as two
                code = _run(self.root, tests, limit)
            os._exit(code)
        deadline = time.monotonic() + limit.wall
        pid, status = 0, 0
        while not pid and time.monotonic() < deadline:
            pid, status = os.waitpid(child, os.WNOHANG)
            if not pid:
                time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):  # it, and what it has started
            os.killpg(child, signal.SIGKILL)
        if not pid:
            os.waitpid(child, 0)
            return HUNG
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            return HUNG
        return SURVIVED if status == 0 else KILLED


def _run(root: Path, tests: Sequence[str], limit: Limit) -> int:
    """Become pytest in that tree, in silence. Returns its exit code."""
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (limit.cpu, limit.cpu + 1))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    os.chdir(root)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    for name in [n for n in sys.modules if n.partition(".")[0] in {"tools", "twinslot"}]:
        del sys.modules[name]
    own = {str(ROOT), str(ROOT / "src")}
    sys.path[:] = [str(root / "src"), *(path for path in sys.path if path not in own)]
    os.environ.update(PYTHONPATH=str(root / "src"), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    return int(pytest.main([*_OPTIONS, f"--basetemp={root}/.tests", *tests]))
