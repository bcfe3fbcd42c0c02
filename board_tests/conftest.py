"""Options and fixtures: one board, one broker and service per kind of connection, one report."""

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from board_tests import kept
from board_tests import world as worlds
from board_tests.device import Device, opened
from board_tests.report import Report
from tools.paths import ROOT


@dataclass(frozen=True)
class Options:
    """What the command line says. Empty texts: not given."""

    port: str
    ssid: str
    password: str
    host: str
    self_test_s: int
    folder: Path


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that `make board-test` sets."""
    group = parser.getgroup("board")
    group.addoption("--port", required=True, help="The board's console, as mpremote takes it.")
    group.addoption("--wifi-ssid", default="", help="Wi-Fi to use; without it no updates.")
    group.addoption("--wifi-password", default="", help="Its password, none for an open network.")
    group.addoption("--host", default="", help="This machine's address, as the board sees it.")
    group.addoption("--self-test-s", type=int, default=90, help="Deadline of a test, seconds.")
    group.addoption("--report", default=str(ROOT / "build/board-test"), help="Folder to write to.")


@pytest.fixture(scope="session")
def options(pytestconfig: pytest.Config) -> Options:
    """What the command line says; the host's address is guessed when it is not given."""
    given = pytestconfig.getoption
    folder = Path(given("--report"))
    folder.mkdir(parents=True, exist_ok=True)
    return Options(
        given("--port"),
        given("--wifi-ssid"),
        given("--wifi-password"),
        given("--host") or _own_address(),
        given("--self-test-s"),
        folder,
    )


def _own_address() -> str:
    """Return the address this machine sends from; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 1))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


_report_key = pytest.StashKey[Report]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin the report."""
    config.stash[_report_key] = Report()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note how each test ended, and why."""
    result = yield
    found: pytest.TestReport = result.get_result()  # type: ignore[attr-defined]
    if found.when == "call" or found.outcome != "passed":
        reason = ""
        if found.skipped and isinstance(found.longrepr, tuple):
            reason = str(found.longrepr[2]).removeprefix("Skipped: ")
        elif found.failed:
            reason = str(found.longrepr).strip().splitlines()[-1]
        item.config.stash[_report_key].ended(item.name, found.outcome, found.duration, reason)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report."""
    folder = Path(session.config.getoption("--report"))
    folder.mkdir(parents=True, exist_ok=True)
    session.config.stash[_report_key].write(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the chip."""
    found = terminalreporter.config.stash[_report_key].figures()
    if found:
        terminalreporter.section("what an update costs on this chip")
        for name, said in found:
            terminalreporter.write_line(f"{said:>10}  {name}")


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    """The report of this run."""
    return pytestconfig.stash[_report_key]


@pytest.fixture(scope="session")
def device(options: Options, report: Report) -> Iterator[Device]:
    """The board, put back as it was when all is over.

    What it held before is written to a file first, so that a run that is killed loses nothing. That
    file lies apart from the report, which is made to be handed on.
    """
    with opened(options.port, options.folder / "console.log") as found:
        kept.check(found)
        report.facts = found.facts()
        before = kept.save(found)
        folder = options.folder.with_name(options.folder.name + "-before")
        folder.mkdir(mode=0o700, exist_ok=True)
        backup = folder / f"{int(time.time())}.json"
        before.write(backup)
        try:
            yield found
        finally:
            kept.restore(found, before)
            backup.unlink()
            with contextlib.suppress(OSError):  # of another board whose run was killed
                folder.rmdir()


@pytest.fixture(scope="session")
def own(device: Device, options: Options, report: Report) -> bytes:
    """The board's own image, which all others are made of."""
    if not options.ssid:
        pytest.skip("no WIFI_SSID given: updates need the network")
    data, per_second = worlds.own_image(device, options)
    report.measured["raw TCP KB/s, flash read included"] = round(per_second / 1024, 1)
    return data


@pytest.fixture(scope="module")
def world(
    request: pytest.FixtureRequest, device: Device, options: Options, own: bytes, report: Report
) -> Iterator[worlds.World]:
    """Return the board beside a broker and a service; over TLS where the module says TLS = True."""
    running = report.facts["running"]
    chip = int.from_bytes(own[12:14], "little")
    tls = getattr(request.module, "TLS", False)
    with worlds.started(options, chip, running[3], tls=tls) as stack:
        yield worlds.World.of(device, stack, own, options)
