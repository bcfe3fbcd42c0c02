"""Broker, service and boards of one run: started, asked, ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from demo import children
from sim import board as boards
from tools import natives
from tools.paths import ROOT, VENV_BIN
from twinslot import config, service_notes
from twinslot.client.broker import LIMITS
from twinslot.client.own_service import OwnService
from twinslot.firmware import extensions
from twinslot.formats import package
from twinslot.formats.trailer import write_trailer
from twinslot.formats.trust_set import BOARD_FILE, board_file
from twinslot.keychain import Keychain
from twinslot.trust import keys

THING = "board-1"
SSID = "sim"
_LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - where a real board is to reach the broker


class Stack:
    """Everything that runs, below one folder that is emptied first.

    interpreter: of the boards, "micropython" or "cpython"; None: the best there is.
    self_test_s: the boards' deadline for a new image, seconds. tls: boards and service need
    certificates at the broker, and are bound by its access list. host: address on which the broker
    listens for boards; advertise: where boards reach it, host if not given; init: further arguments
    of `fleet init`; database: URL of the service's database, "" for its own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        interpreter: str | None = None,
        self_test_s: int = 20,
        tls: bool = False,
        host: str = "127.0.0.1",
        advertise: str | None = None,
        init: tuple[str, ...] = (),
        database: str = "",
    ):
        self.folder = folder
        self.interpreter = interpreter or boards.default_interpreter()
        self.self_test_s = self_test_s
        self.tls = tls
        self.host = host
        self.advertise = advertise or (_LOOPBACK if host == _EVERYWHERE else host)
        self.broker_port = children.free_port()
        self._init = init
        self._options = ["--database", database] if database else []
        self._broker: subprocess.Popen[bytes] | None = None
        self._service: subprocess.Popen[bytes] | None = None
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Stack:
        self._exit.enter_context(children.alone(self.folder.with_suffix(".lock")))
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._exit.callback(self._stop_all)
        try:
            self.fleet("init", "--broker", f"127.0.0.1:{self.broker_port}", *self._init)
            self._broker_settings = self._tls_broker() if self.tls else self._plain_broker()
            self.start_broker()
            self.config = config.load(self.folder / config.FILE_NAME)
            self.start_service()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    # -- processes ----------------------------------------------------------------------------

    def start_broker(self) -> None:
        """Start mosquitto on this run's port; raises NativeMissing, StartError."""
        command = [*natives.command("mosquitto"), "-c", str(self._broker_settings)]
        log = self.folder / "mosquitto.log"
        self._broker = children.start(command, log)
        address = _LOOPBACK if self.host == _EVERYWHERE else self.host
        children.wait_for(
            lambda: children.listens(self.broker_port, address),
            "the broker's start",
            process=self._broker,
            log=log,
        )

    # Root stays root, because a change of user would undo that it dies with this process.

    def _plain_broker(self) -> Path:
        settings = self.folder / "mosquitto.conf"
        lines = [f"listener {self.broker_port} {self.host}", "allow_anonymous true"]
        if self.host not in (_LOOPBACK, _EVERYWHERE):
            lines.append(f"listener {self.broker_port} {_LOOPBACK}")  # for the service
        if os.geteuid() == 0:
            lines.append("user root")
        lines += ["retain_available false", "set_tcp_nodelay true"]
        settings.write_text("\n".join(lines) + "\n" + LIMITS)
        return settings

    def _tls_broker(self) -> Path:
        options = ["--host", self.advertise, "--bind", self.host, "--port", str(self.broker_port)]
        if os.geteuid() == 0:
            options += ["--user", "root"]
        self.fleet("broker-config", *options, "--service-port", str(children.free_port()))
        return self.folder / "broker/mosquitto.conf"

    def start_service(self) -> None:
        """Start `fleet serve` and wait until it answers."""
        log = self.folder / "service.log"
        before = log.stat().st_size if log.exists() else 0
        self._service = children.start(
            [str(VENV_BIN / "fleet"), "serve", *self._options], log, self.folder
        )
        children.wait_for(
            lambda: b"ready " in log.read_bytes()[before:],
            "the service's start",
            process=self._service,
            log=log,
        )
        self.clients = OwnService(self.config)
        self.endpoint = service_notes.find_endpoint(self.config)

    @property
    def broker_pid(self) -> int:
        """The broker's process; 0 before it was started."""
        return self._broker.pid if self._broker else 0

    def kill_broker(self) -> None:
        """kill -9 the broker."""
        _kill(self._broker)

    def kill_service(self) -> None:
        """kill -9 the service."""
        _kill(self._service)

    def _stop_all(self) -> None:
        for process in (self._service, self._broker):
            if process:
                children.stop(process)

    # -- what a person does -------------------------------------------------------------------

    def fleet(self, *arguments: str) -> str:
        """Run a `fleet` command in this run's folder; returns what it printed."""
        done = subprocess.run(
            [str(VENV_BIN / "fleet"), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise children.StartError(f"fleet {arguments[0]}: {said}")
        return done.stdout

    def pack(
        self,
        version: str,
        sequence: int,
        behaviour: str = "good",
        *,
        size: int | None = 300_000,
        key: Path | None = None,
        application: dict[str, str] | None = None,
        firmware: bool = True,
    ) -> Path:
        """Build a board's update and pack it. Returns the package's path.

        application: files beside the demo's main.py, by name; None: no application. firmware:
        False for an application alone.
        """
        target = self.folder / f"{version}-{behaviour}.ota"
        arguments = ["--version", version, "--sequence", str(sequence), "-o", target.name]
        if firmware:
            image = self.folder / f"firmware-{version}-{behaviour}.bin"
            image.write_bytes(self.firmware(version, behaviour, size))
            arguments.append(image.name)
        if application is not None:
            folder = self.application_folder(f"application-{version}", application)
            arguments += ["--app", folder.name, *(["--mpy"] if self._compiled else [])]
        if key:
            arguments += ["--key", str(key)]
        self.fleet("pack", *arguments)
        return target

    def application_folder(self, name: str, files: dict[str, str]) -> Path:
        """Write the folder of an application: the demo's main.py, and these files, by name."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        shutil.copy(ROOT / "firmware/main.py", folder)
        for path, text in files.items():
            (folder / path).write_text(text)
        return folder

    def firmware(self, version: str, behaviour: str = "good", size: int | None = 300_000) -> bytes:
        """Build a firmware image that this run's boards can read."""
        return boards.firmware(behaviour, version=version, size=size, compiled=self._compiled)

    def publish(self, path: Path, thing: str = THING, protocol: str = "mqtt") -> str:
        """Create a job that brings a package to a board. Returns the job's id."""
        arguments = ["publish", "--json", "--force", "--protocol", protocol, path.name, thing]
        return str(json.loads(self.fleet(*arguments))["job"])

    def execution(self, job: str, thing: str = THING) -> dict[str, Any]:
        """What the service has recorded: status, statusDetails (dict of str)."""
        found = self.clients.iot.describe_job_execution(jobId=job, thingName=thing)
        execution: dict[str, Any] = found["execution"]
        execution["statusDetails"] = execution.get("statusDetails", {}).get("detailsMap", {})
        return execution

    def finished(self, job: str, thing: str = THING) -> bool:
        """Say whether a job execution has come to its end."""
        return self.execution(job, thing)["status"] not in ("QUEUED", "IN_PROGRESS")

    # -- boards -------------------------------------------------------------------------------

    @property
    def _compiled(self) -> bool:
        return self.interpreter == "micropython"

    def board(
        self,
        thing: str = THING,
        *,
        heapsize: str | None = None,
        application: dict[str, bytes] | None = None,
        settings: dict[str, Any] | None = None,
        files: bool = True,
        keys_set: bool = True,
        **options: Any,
    ) -> boards.Board:
        """Make a board that runs 1.0.0 (sequence 1), registered, not yet switched on.

        application: files instead of the project's own application beside the agent; files: False
        for a board without any; keys_set: False for one without the fleet's set of keys; options:
        of sim.board.Board. A factory application runs without a trailer.
        """
        found = boards.Board(
            self.folder / thing,
            interpreter=self.interpreter,
            heapsize=heapsize,
            ssid=SSID,
            **options,
        )
        self._exit.callback(found.close)
        if found.layout.app(boards.FACTORY):
            found.flash_firmware(boards.FACTORY, self.firmware("1.0.0"))
        else:
            head = package.inspect(self.pack("1.0.0", 1).read_bytes())
            found.flash_firmware(0, self.firmware("1.0.0"), write_trailer([head.record]))
        etc = self.settings_folder(thing, settings=settings)
        if not files:
            return found
        chosen = extensions.asked_for(json.loads((etc / "settings.json").read_text()))
        there = boards.application_files(compiled=self._compiled, chosen=chosen)
        there.update(application or {})
        for path in etc.iterdir():
            if keys_set or path.name != BOARD_FILE:
                there[f"/etc/{path.name}"] = path.read_bytes()
        found.install(there)
        return found

    def settings_folder(
        self,
        thing: str,
        *,
        wifi: tuple[str, str] = (SSID, ""),
        settings: dict[str, Any] | None = None,
    ) -> Path:
        """Write what belongs into the `/etc` of a board, a real one or not, and register it.

        wifi: SSID and password; settings: more of them, over the usual ones.
        """
        folder = self.folder / "boards" / thing
        path = folder / "settings.json"
        wanted: dict[str, Any] = {}
        if self.tls:
            self.fleet("provision", thing, *(["--renew"] if folder.exists() else []))
            wanted = json.loads(path.read_text())
        else:
            folder.mkdir(parents=True, exist_ok=True)
            public = keys.public_pem(keys.read_public(self.config.public_key))
            (folder / "trusted_keys.pem").write_bytes(public)
            if present := Keychain(self.config.folder).present:
                (folder / BOARD_FILE).write_bytes(board_file(present))
            wanted["broker"] = {"host": self.advertise, "port": self.broker_port}
            with contextlib.suppress(self.clients.iot.exceptions.ResourceAlreadyExistsException):
                self.clients.iot.create_thing(thingName=thing)
        wanted["broker"]["keepalive"] = 20
        wanted |= {
            "thing": thing,
            "product": self.config.product,
            "wifi": {"ssid": wifi[0], "password": wifi[1]},
            "self_test_s": self.self_test_s,
            **(settings or {}),
        }
        path.write_text(json.dumps(wanted))
        return folder


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    if process:
        process.kill()
        process.wait()
