"""What all tests share."""

import contextlib
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tools import compatibility
from tools.paths import ROOT

if TYPE_CHECKING:
    from fleet_site import Site

    from tools.postgresql import PostgreSQL

# What stands for the chip is found under the chip's names, but never instead of a module of
# Python's own.
sys.path += [str(ROOT / "sim/chip"), str(ROOT / "sim/chip/cpython")]

# A run in the background may have been told to ignore Ctrl-C; the programs it starts must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run: a failure is a change's, not chance's. Shared machines are slow at
# times, so no example has a deadline; the test as a whole has one.
settings.register_profile("project", derandomize=True, deadline=None)
settings.load_profile("project")

# Every boot of a board in this process imports its modules again: compiled once is enough.
sys.dont_write_bytecode = False


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # pytest-xdist's workers inherit it
        os.environ["ON_BOARD_RESULTS"] = tempfile.mkdtemp(prefix="on-board-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop("ON_BOARD_RESULTS"))


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Any worker takes any test. Those that one MicroPython runs at once are for one worker.

    Another one would wait for that process as well.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        _, on_board, interpreter = test.partition("[micropython")
        return file + interpreter if on_board else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return Scheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(autouse=True, scope="module")
def _little_to_collect() -> None:
    """Every boot collects garbage, as the chip does; what other files and tests left is none."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the report say what a test proves of AWS's protocol (tools/compatibility.py)."""
    for item in items:
        marks = [(mark.args, dict(mark.kwargs)) for mark in item.iter_markers(compatibility.MARK)]
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if marks and parameters.get("database") != "postgresql":  # once for each test
            file = item.path.relative_to(item.config.rootpath).as_posix()
            item.user_properties.extend(compatibility.properties(marks, file, item.name))


@pytest.fixture(scope="session")
def postgresql_server() -> "Iterator[PostgreSQL]":
    from tools import postgresql  # most runs need no server
    from tools.natives import NativeMissing

    with contextlib.ExitStack() as ends:
        try:
            server = ends.enter_context(postgresql.running())
        except NativeMissing as error:
            pytest.skip(str(error))
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind that the service promises to run on."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/fleet.db"
    server: PostgreSQL = request.getfixturevalue("postgresql_server")
    return server.database()


@pytest.fixture
def site(tmp_path: Path, database: str) -> "Iterator[Site]":
    """The service's two listeners over a world without things; boto3 talks to it."""
    from fleet_site import Site  # late: most tests do without boto3

    made = Site(tmp_path, database=database)
    yield made
    made.close()


@pytest.fixture
def iot(site: "Site") -> Any:
    """The control plane of `site`, as boto3 sees it."""
    return site.clients.iot
