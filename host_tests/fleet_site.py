"""The service's two HTTP listeners over one world, in this process, for tests."""

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError
from fleet_service import until
from fleet_world import World

from twinslot import config
from twinslot.addresses import Address
from twinslot.client import broker
from twinslot.client.own_service import OwnService
from twinslot.service import listener, s3
from twinslot.service.admission import Admission
from twinslot.service.api import Api
from twinslot.service.control import Control
from twinslot.service.jobs import Jobs
from twinslot.service.names import Names
from twinslot.service.operations.device_jobs import DeviceJobOperations
from twinslot.service.operations.endpoints import EndpointOperations
from twinslot.service.overview import Overview
from twinslot.service.shadows import Shadows
from twinslot.trust.authority import Authority

USUAL = listener.Limits()
IMAGE = bytes(range(256)) * 40
ROLE = "arn:aws:iam::000000000000:role/fleet-updates"
THING = "arn:aws:iot:local:000000000000:thing/"


class Listener:
    """One API in a thread of this process, with a clock that tests move."""

    def __init__(self, api: Api, limits: listener.Limits, *tls: Path) -> None:
        self.port = listener.Listener(Address("127.0.0.1", 0), limits, *tls)
        self.url = self.port.url
        self._server = self.port.server(api.application())
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()))

    def start(self) -> None:
        self._thread.start()
        until(lambda: self._server.started, "the listener")

    def ask_to_stop(self) -> None:
        self._server.should_exit = True

    def stop(self) -> None:
        self.ask_to_stop()
        self._thread.join()
        self.port.close()


class Site:
    """The control and the data listener over one world."""

    def __init__(
        self,
        folder: Path,
        limits: listener.Limits = USUAL,
        *tls: Path,
        database: str | None = None,
    ) -> None:
        """limits: of both ports; tls: certificate and key of the data listener; database: URL."""
        config.create(
            folder,
            product="demo-board",
            chip="esp32",
            slot_size=0x1B0000,
            broker=Address("127.0.0.1", 1883),
            tls=False,
        )
        self.world = World(folder, database)
        self.world.now = int(datetime.now(UTC).timestamp())
        loaded = config.load(folder / "fleet.toml")
        self.credentials = config.read_credentials(loaded.credentials)
        names = Names("local", "secret")
        objects = s3.S3(self.world.store, self.world.objects, names, self.world.clock)
        self.data = Listener(
            self._api({"s3": objects.public_operations}, {}, max_body=0), limits, *tls
        )
        self.world.presign(self.data.url, self.credentials)
        admission = Admission(loaded, self.world.store)
        control = Control(self.world.store, names, self.world.rollouts, admission, self.world.clock)
        self.operations = {
            "iot": control.operations
            | EndpointOperations(
                lambda: str(loaded.broker.boards or loaded.broker.address),
                lambda: urlsplit(self.control.url).netloc,
            ).operations,
            "iot-data": Shadows(self.world.store, self.world.clock).operations,
            "iot-jobs-data": DeviceJobOperations(
                self.world.store, Jobs(self.world.rollouts, self.world.clock), self.world.clock
            ).operations,
            "s3": objects.operations,
        }
        overview = Overview(self.world.store)
        extensions = {
            **control.extensions,
            "GET executions": overview.executions,
            "GET shadows": overview.shadows,
        }
        self.control = Listener(self._api(self.operations, extensions), limits)
        text = (folder / "fleet.toml").read_text()
        self._toml = text.replace('endpoint = ""', f'endpoint = "{self.control.url}"')
        self.config = config.parse(self._toml, folder)
        self.control.start()
        self.data.start()
        self.clients = OwnService(self.config)

    def name_endpoint(self) -> None:
        """Let fleet.toml name this site's control port, for commands that read the file."""
        (self.config.folder / "fleet.toml").write_text(self._toml)

    def found_authority(self) -> None:
        """Give the fleet an authority and a broker's folder; no broker runs."""
        authority = Authority.open(self.config.authority, "test authority")
        wanted = broker.Wanted(["127.0.0.1"], "", 8883, 8884, broker.default_user())
        broker.configure(self.config.broker_folder, authority, wanted)

    def _api(self, operations: Any, extensions: Any, **options: Any) -> Api:
        return Api(
            operations,
            extensions,
            credentials=self.credentials,
            region="local",
            clock=self.world.clock,
            **options,
        )

    def close(self) -> None:
        self.data.ask_to_stop()  # each takes a tenth of a second to notice
        self.control.stop()
        self.data.stop()
        self.world.store.close()

    def s3(self, url: str, **changes: Any) -> Any:
        options = {
            "aws_access_key_id": self.credentials.access_key,
            "aws_secret_access_key": self.credentials.secret_key,
            "region_name": "local",
            **changes,
        }
        return boto3.client(
            "s3",
            endpoint_url=url,
            config=ClientConfig(
                proxies={}, signature_version="s3v4", s3={"addressing_style": "path"}
            ),
            **options,
        )


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what boto3 adds."""
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def refused(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response: Any = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def moment(site: Site) -> datetime:
    return datetime.fromtimestamp(site.world.now, UTC)


def fetch(url: str, headers: dict[str, str] | None = None, method: str = "GET") -> bytes:
    with urlopen(Request(url, headers=headers or {}, method=method), timeout=10) as response:
        body: bytes = response.read()
        return body
