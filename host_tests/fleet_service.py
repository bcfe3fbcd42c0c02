"""A real `fleet serve` and a real broker, for tests."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from demo import children
from tools import natives
from twinslot import config
from twinslot.addresses import Address
from twinslot.cli.main import main
from twinslot.client.own_service import OwnService

ROOT = Path(__file__).parent.parent
DEADLINE = 20  # seconds for anything that is waited for


def until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """Wait for a condition; its true value."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {deadline} s in vain for {what}")


class Broker:
    """mosquitto on a free port; `log` says what it sent to whom. settings: more lines for it."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.port = children.free_port()
        self._folder = folder
        folder.mkdir()
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nretain_available false\n"
            f"log_type all\n{settings}"
        )
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*natives.command("mosquitto"), "-c", str(self._folder / "mosquitto.conf")],
                stdout=log,
                stderr=log,
            )
        until(self._listens, "the broker")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Service:
    """`fleet serve` in its own process and folder, with these options at each start."""

    def __init__(self, folder: Path, broker: Broker, *options: str) -> None:
        self.folder = folder
        self._options = options
        folder.mkdir()
        config.create(
            folder,
            product="demo-board",
            chip="esp32",
            slot_size=0x1B0000,
            broker=Address("127.0.0.1", broker.port),
            tls=False,
        )
        self.log = folder / "serve.log"
        self.process: subprocess.Popen[str] | None = None

    @property
    def config(self) -> config.Config:
        return config.load(self.folder / "fleet.toml")

    def set(self, **settings: object) -> None:
        """Change text settings of the table [service], before it starts."""
        path = self.folder / "fleet.toml"
        head, _, broker = path.read_text().partition("[broker]")
        for name, value in settings.items():
            head, found = re.subn(rf'^{name} = ".*?"', f'{name} = "{value}"', head, flags=re.M)
            assert found == 1
        path.write_text(f"{head}[broker]{broker}")

    def start(self, *options: str) -> str:
        """Start it and wait for its ready line, which is returned. options: more of them."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "twinslot",
                    "serve",
                    "--die-with-parent",
                    *self._options,
                    *options,
                ],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready "), self.log.read_text()
        return line

    def kill(self) -> None:
        """As a crash: SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """As an operator: SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self._reap()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it do nothing within the context, as on a machine that is busy."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def clients(self) -> OwnService:
        return OwnService(self.config)

    def fleet(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a `fleet` command in the folder: in this process, since a Python takes a second.

        An error that is no FleetError is raised.
        """
        with contextlib.chdir(self.folder):
            done = CliRunner(env={"COLUMNS": "80"}).invoke(main, arguments, catch_exceptions=False)
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def _reap(self) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        code = self.process.wait(DEADLINE)
        self.process.stdout.close()
        return code


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[Service, Broker]]:
    """A broker and a service beside it, both ended afterwards. options: of `fleet serve`."""
    broker = Broker(folder / "broker")
    broker.start()
    service = Service(folder / "fleet", broker, *options)
    try:
        service.start()
        yield service, broker
    finally:
        if service.process is not None:
            service.stop()
        broker.kill()
