"""`fleet serve`: the parts put together in one process, from ready line to clean end."""

import asyncio
import contextlib
import fcntl
import gc
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from twinslot import config as configuration
from twinslot import disk, service_notes
from twinslot.config import Config
from twinslot.errors import FleetError
from twinslot.service.access import Access
from twinslot.service.admission import Admission
from twinslot.service.api import Api
from twinslot.service.bus import Bus
from twinslot.service.control import Control
from twinslot.service.database import place
from twinslot.service.executions import Executions
from twinslot.service.jobs import Jobs
from twinslot.service.listener import Limits, Listener, affordable
from twinslot.service.names import Names
from twinslot.service.objects import ObjectFolder
from twinslot.service.operations.device_jobs import DeviceJobOperations
from twinslot.service.operations.endpoints import EndpointOperations
from twinslot.service.overview import Overview
from twinslot.service.presign import Presigner
from twinslot.service.rollouts import Rollouts
from twinslot.service.s3 import S3
from twinslot.service.sequences import Sequences
from twinslot.service.shadows import Shadows
from twinslot.service.store import Store
from twinslot.service.streams import Streams
from twinslot.service_notes import Endpoint
from twinslot.trust import keys

_log = logging.getLogger(__name__)
_POLL = 0.2  # seconds between two looks at what cannot be waited for


class ServiceError(FleetError):
    """The service cannot start."""


def run(
    config: Config,
    *,
    database: str | None = None,
    die_with_parent: bool,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT, or until the parent process ends when that is wanted.

    `database`: SQLAlchemy URL of the service's database, None for the fleet's own.
    `announce` gets the ready line once the listeners are open and the broker has confirmed the
    subscriptions. Raises ListenerError when a port is taken, ServiceError when the folder is
    served already, DatabaseError or SchemaError for a database that cannot be used.
    """
    for path in config.secrets:
        if said := disk.exposed(path):
            raise ServiceError(said)
    disk.folder(config.state)
    with alone(config.state / "lock"), contextlib.ExitStack() as cleanup:
        credentials = configuration.read_credentials(config.credentials)
        url = database or config.database
        store = Store(url)
        cleanup.callback(store.close)
        service_notes.note_database(config, place(url))  # `fleet backup` copies that one
        objects = ObjectFolder(config.state / "objects")
        limits = affordable(Limits(config.connections, config.connections_of_address), ports=2)
        control_port = Listener(
            config.control, limits, config.control_certificate, config.control_key
        )
        cleanup.callback(control_port.close)
        data_port = Listener(config.data, limits, config.certificate, config.key)
        cleanup.callback(data_port.close)
        endpoint = Endpoint(
            control=control_port.url,
            data=data_port.url,
            broker=str(config.broker.address),
            pid=os.getpid(),
        )
        presigner = Presigner(config.data_url or endpoint.data, credentials, config.region)
        names = Names(config.region, credentials.secret_key)
        rollouts = Rollouts(Executions(presigner), names)
        shadows = Shadows(store, time.time)
        access = Access(store)
        jobs = Jobs(rollouts, time.time, config.region)
        bus = Bus(
            config.broker,
            f"fleet-{config.product}",
            store,
            access,
            rollouts,
            jobs,
            Streams(store, access, objects),
            shadows,
        )
        admission = Admission(config, store)
        control = Control(store, names, rollouts, admission, time.time)
        overview = Overview(store)
        sequences = Sequences(store, _public_key(config))
        s3 = S3(store, objects, names, time.time, sequences.count)
        control_api = Api(
            {
                "iot": control.operations
                | EndpointOperations(
                    lambda: str(config.broker.boards or config.broker.address),
                    lambda: urlsplit(endpoint.control).netloc,
                ).operations,
                "iot-data": shadows.operations,
                "iot-jobs-data": DeviceJobOperations(store, jobs, time.time).operations,
                "s3": s3.operations,
            },
            {
                **control.extensions,
                "GET executions": overview.executions,
                "GET shadows": overview.shadows,
                "GET reach": lambda _: {**bus.broker, "data": config.data_url or endpoint.data},
                "POST sequence": sequences.allot,
            },
            credentials=credentials,
            region=config.region,
            clock=time.time,
        )
        data_api = Api(
            {"s3": s3.public_operations},
            {},
            credentials=credentials,
            region=config.region,
            clock=time.time,
            max_body=0,
        )
        servers = [
            control_port.server(control_api.application()),
            data_port.server(data_api.application()),
        ]
        _write_endpoint(service_notes.endpoint_file(config), endpoint)
        cleanup.callback(_forget_endpoint, service_notes.endpoint_file(config))
        admission.settle_at_start()
        gc.freeze()  # what is here now stays: AWS's models, which else are walked through again
        bus.start()
        cleanup.callback(bus.stop)
        line = f"ready control={endpoint.control} data={endpoint.data} broker={endpoint.broker}"
        parent = os.getppid() if die_with_parent else None
        look = partial(_still_here, config, store, endpoint)
        asyncio.run(_serve(servers, bus, parent, lambda: announce(line), look))


def _public_key(config: Config) -> keys.PublicKey | None:
    """The key of this fleet's packages, None where this machine does not have it."""
    try:
        return keys.read_public(config.public_key)
    except keys.KeyFileError as error:
        _log.warning("sequences that were chosen by hand are not counted: %s", error)
        return None


async def _serve(
    servers: list[uvicorn.Server],
    bus: Bus,
    parent: int | None,
    announce: Callable[[], None],
    look: Callable[[], None],
) -> None:
    """Serve until a signal, the parent's end, or an error of `look`, which is raised at the end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = [asyncio.create_task(server.serve()) for server in servers]
    announced = False
    failed: FleetError | None = None
    while not stop.is_set() and not any(task.done() for task in serving):
        if parent is not None and os.getppid() != parent:
            break
        try:
            look()
        except FleetError as error:
            failed = error
            break
        listening = all(server.started for server in servers)
        if not announced and listening and bus.wait_until_ready(0):
            announce()
            announced = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _POLL)
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*serving)
    if failed is not None:
        raise failed


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Holds the folder's lock, which ends with the process however it ends. Raises ServiceError."""
    try:
        file = path.open("a")
    except OSError as error:
        raise ServiceError(f"cannot write {path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServiceError(f"another `fleet serve` runs in {path.parent}") from error
        except OSError as error:
            raise ServiceError(f"cannot lock {path}: {error.strerror}") from error
        yield


def _write_endpoint(path: Path, endpoint: Endpoint) -> None:
    disk.replace(path, json.dumps(asdict(endpoint)).encode())


def _forget_endpoint(path: Path) -> None:
    with contextlib.suppress(OSError):  # a folder that became read-only
        path.unlink(missing_ok=True)


def _still_here(config: Config, store: Store, endpoint: Endpoint) -> None:
    """Look whether the folder is as it was; the note for other commands is written again.

    Raises DatabaseError, or ServiceError where the state folder is gone: then nothing would be kept
    that is acknowledged from now on.
    """
    _check_folder(config, store)
    path = service_notes.endpoint_file(config)
    if not path.exists():
        try:
            _write_endpoint(path, endpoint)
        except disk.FileError:
            _check_folder(config, store)  # somebody removes all of it just now
            raise


def _check_folder(config: Config, store: Store) -> None:
    store.check()
    if not config.state.is_dir():
        raise ServiceError(
            f"{config.state} was removed while the service ran; bring a backup back (`fleet "
            "restore`), or start again with no boards and no jobs"
        )
