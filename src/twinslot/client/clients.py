"""The clients of AWS's API with which commands work, and the little that the API has no call for.

A fleet's jobs are at a service of its own (`own_service`) or in an account of AWS (`aws_account`).
Both have AWS's API, so the commands are the same; `target.connect` says which one it is. Nothing
else makes AWS clients, so that none ever reaches a real account by accident.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.loaders import Loader, create_loader
from botocore.model import OperationModel
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from twinslot.client import answers, many
from twinslot.client.shadow import Reported
from twinslot.errors import FleetError, UnreachableError

TIMEOUTS = {"connect_timeout": 5, "read_timeout": 30}  # seconds
_BUSY = "twinslotBusy"  # where a BusyAnswerError travels through botocore


class RefusedError(FleetError):
    """The service refused a request; `code` is its word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


@dataclass(frozen=True)
class Reach:
    """The ways from a service to boards: its broker, whether that answers it now, and `data`.

    broker: HOST:PORT; data: base URL of the packages that it offers by HTTP.
    """

    broker: str
    connected: bool
    data: str


class Clients(ABC):
    """boto3 clients of the place where a fleet's jobs are: `iot`, `s3`, and any other by name."""

    region: str
    bucket: str
    """For packages."""
    role: str
    """ARN of the role by which streams and URLs read the bucket."""
    pause: float
    """Seconds between two looks at a job."""
    most_targets: int | None = None
    """The boards that one job may have; None for any number."""
    sends_full: bool = False
    """Whether a board that refuses a smaller form of a package gets the full one by itself."""

    def __init__(self, session: boto3.session.Session) -> None:
        self._session = session
        self.region = session.region_name
        self.iot = self.client("iot")
        self.s3 = self.client("s3")

    @abstractmethod
    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of this service. options: botocore's client settings."""

    @functools.cached_property
    def data(self) -> Any:
        """The client of `iot-data`."""
        return self.client("iot-data")

    @abstractmethod
    def executions(
        self, job_id: str, counted: many.Counted = many.unseen
    ) -> Iterable[dict[str, Any]]:
        """The executions of a job, by thing.

        thing, status, details; queued_at, started_at and updated_at in Unix seconds. counted: of
        the boards that are asked about one at a time.
        """

    @abstractmethod
    def newest(
        self, count: int, things: Sequence[str], counted: many.Counted = many.unseen
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The newest executions of these things, each with its job, the newest of a thing first.

        count: of the jobs that are looked at, or of the executions of each thing, whatever costs
        fewer calls.
        """

    @abstractmethod
    def succeeded(self, thing: str) -> Iterable[str]:
        """The jobs that a thing has taken lately, the newest first."""

    @abstractmethod
    def reports(
        self, things: Sequence[str], counted: many.Counted = many.unseen
    ) -> Mapping[str, Reported | None]:
        """The reports of these things, as far as they sent one; perhaps those of others, too."""

    @abstractmethod
    def allot(self, product: str, above: int) -> int:
        """Take the next sequence of a product, above this number. No two calls get the same."""

    @abstractmethod
    def count(self, product: str, sequence: int) -> None:
        """Let `allot` go on above the sequence of a package that was published."""

    @abstractmethod
    def served(self, job_id: str) -> Mapping[str, tuple[int, int]]:
        """By thing, the bytes of the package that were served, and its size, as far as is known."""

    @abstractmethod
    def reach(self) -> Reach | None:
        """How boards are reached from the service; None where it does not say."""

    def _made(self, service: str, endpoint: str | None, verify: Any, **options: Any) -> Any:
        """A boto3 client. endpoint: its URL, None for AWS's own; options: botocore's settings."""
        settings = ClientConfig(**TIMEOUTS, **options)
        made = self._session.client(service, endpoint_url=endpoint, config=settings, verify=verify)
        url = made.meta.endpoint_url
        made.meta.events.register("before-parse", functools.partial(_check_answer, url))
        return made


@functools.cache
def descriptions() -> Loader:
    """Return botocore's descriptions of AWS's services: megabytes of JSON, read once."""
    return create_loader()


@contextmanager
def translated() -> Iterator[None]:
    """Turns botocore's errors into RefusedError, ForeignAnswerError and UnreachableError."""
    try:
        yield
    except ClientError as error:
        busy = error.response.get(_BUSY)
        if busy is not None:
            raise busy from error
        found = error.response.get("Error", {})
        raise RefusedError(found.get("Code", ""), found.get("Message", "refused")) from error
    except (HTTPClientError, BotocoreConnectionError, HTTPError) as error:
        raise UnreachableError(
            f"the service does not answer: {error}; does `fleet serve` run, or is AWS out of reach?"
        ) from error
    except ResponseParserError as error:
        raise answers.ForeignAnswerError(f"the service's answer makes no sense: {error}") from error
    except BotoCoreError as error:
        raise RefusedError(type(error).__name__, " ".join(str(error).split())) from error


def _check_answer(
    address: str,
    operation_model: OperationModel,
    response_dict: dict[str, Any],
    customized_response_dict: dict[str, Any],
    **_: object,
) -> None:
    """Look at an answer before botocore does; one that may be over soon is asked for again."""
    body = response_dict["body"]
    try:
        answers.check(
            operation_model,
            address,
            response_dict["status_code"],
            response_dict["headers"],
            body if isinstance(body, bytes) else b"",
        )
    except answers.BusyAnswerError as error:
        response_dict["body"] = b""
        customized_response_dict[_BUSY] = error
