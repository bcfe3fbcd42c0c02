"""The only place that makes AWS clients, so that none ever reaches a real account by accident.

Everything is explicit: endpoint, region, keys from the fleet's own file. Profiles, environment
variables and proxies of the machine play no part.
"""

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.httpsession import URLLib3Session
from botocore.loaders import Loader, create_loader
from botocore.model import OperationModel
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from twinslot import config as configuration
from twinslot import disk
from twinslot.client import answers
from twinslot.config import Config
from twinslot.errors import ConfigError, FleetError, UnreachableError
from twinslot.trust import pem
from twinslot.trust.authority import tls_context

_NOT_FROM_THE_MACHINE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
_OF_AWS = (".amazonaws.com", ".amazonaws.com.cn")
# Over TLS botocore leaves the body of an upload unsigned, unless it is told otherwise twice.
_S3_OPTIONS = {"addressing_style": "path", "payload_signing_enabled": True}
_BUSY = "twinslotBusy"  # where a BusyAnswerError travels through botocore
_TIMEOUTS = {"connect_timeout": 5, "read_timeout": 30}  # seconds


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


class Clients:
    """boto3 clients of one fleet's service: `iot`, `s3`, and any other by name."""

    def __init__(self, config: Config) -> None:
        """Raises UnreachableError when no endpoint is set and no service of this folder runs."""
        self.endpoint = config.endpoint or configuration.find_endpoint(config).control
        _check_url(self.endpoint)
        self._trusted = _authorities(config)
        self._verify = True if self._trusted is None else self._trusted.name
        self.region = config.region
        credentials = configuration.read_credentials(config.credentials)
        core = botocore.session.Session(session_vars=_NOT_FROM_THE_MACHINE)
        core.register_component("data_loader", _descriptions())
        self._session = boto3.session.Session(
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            region_name=config.region,
            botocore_session=core,
        )
        self.iot = self.client("iot")
        self.s3 = self.client("s3", signature_version="s3v4", s3=_S3_OPTIONS)

    @property
    def of_aws(self) -> bool:
        """Whether AWS itself is the service, which has none of the extensions below."""
        return (urlsplit(self.endpoint).hostname or "").endswith(_OF_AWS)

    def data(self) -> Any:
        """A client of `iot-data`: on AWS the account has an endpoint of its own for it."""
        if not self.of_aws:
            return self.client("iot-data")
        found = self.iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
        return self.client("iot-data", f"https://{found}")

    def served(self, job_id: str) -> dict[str, Any]:
        """The part of a job that the service has served (an extension: AWS does not tell).

        `size` of the file in bytes, and by thing `blocks` and `bytes` up to the furthest block.
        """
        return self._extension("GET", "served", job_id, _is_served)

    def executions(self, job_id: str) -> Iterator[dict[str, Any]]:
        """The executions of a job, by thing (an extension: AWS tells one at a time).

        thing, status, details; queued_at, started_at and updated_at in Unix seconds.
        """
        after, more = "", True
        while more:
            found = self._extension("GET", "executions", f"{job_id}/{after}", _is_executions)
            yield from found["executions"]
            more = found["more"] and bool(found["executions"])
            after = found["executions"][-1]["thing"] if more else ""

    def shadows(self) -> Iterator[tuple[str, Any]]:
        """The shadow `ota` of each thing that has one (an extension: AWS tells one at a time)."""
        after, more = "", True
        while more:
            found = self._extension("GET", "shadows", after, _is_shadows)
            yield from found["shadows"].items()
            more = found["more"] and bool(found["shadows"])
            after = [*found["shadows"]][-1] if more else ""

    def allot(self, product: str, above: int) -> int:
        """Take the next sequence of a product, above this number (an extension)."""
        found = self._extension("POST", "sequence", f"{above}/{product}", _is_allotted)
        sequence: int = found["sequence"]
        return sequence

    def revoke(self, thing: str) -> None:
        """Let the service refuse everything that comes from this thing (an extension)."""
        self._extension("POST", "revoke", thing)

    def admit(self, thing: str) -> None:
        """Take a revocation back."""
        self._extension("POST", "admit", thing)

    def revoked(self) -> dict[str, int]:
        """The things that the service refuses, and since when (Unix seconds)."""
        found = self._extension("GET", "revoked", "", _is_revoked)
        things: dict[str, int] = found["things"]
        return things

    def reach(self) -> Reach | None:
        """How boards are reached from the service (an extension); None where it does not say."""
        try:
            found = self._extension("GET", "reach", "", _is_reach)
        except (RefusedError, answers.ForeignAnswerError):
            return None
        return Reach(**{name: found[name] for name in ("broker", "connected", "data")})

    def _extension(
        self,
        method: str,
        name: str,
        rest: str,
        fits: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> dict[str, Any]:
        url = f"{self.endpoint}/fleet/{name}/{quote(rest, safe='')}"
        request = AWSRequest(method, url)
        credentials = self._session.get_credentials()
        SigV4Auth(credentials, "iot", self._session.region_name).add_auth(request)
        timeout = (_TIMEOUTS["connect_timeout"], _TIMEOUTS["read_timeout"])
        response = URLLib3Session(self._verify, proxies={}, timeout=timeout).send(request.prepare())
        status, headers, body = response.status_code, response.headers, response.content
        found = answers.parsed(self.endpoint, status, headers, body)
        if status != 200:
            code = headers.get("x-amzn-errortype") or found.get("code", str(status))
            raise RefusedError(code, found.get("message", "refused"))
        if not fits(found):
            raise answers.foreign(self.endpoint, status, body, f"no answer to {name!r}")
        return found

    def client(self, service: str, endpoint: str | None = None, **options: Any) -> Any:
        """A boto3 client of this service; `options` are botocore's client settings.

        `endpoint`: its URL, None for the one of all.
        """
        settings = ClientConfig(
            proxies={},
            retries={"mode": "standard", "max_attempts": 3},
            request_checksum_calculation="when_required",
            **_TIMEOUTS,
            **options,
        )
        url = endpoint or self.endpoint
        made = self._session.client(service, endpoint_url=url, config=settings, verify=self._verify)
        made.meta.events.register("before-parse", functools.partial(_check_answer, url))
        return made


@functools.cache
def _descriptions() -> Loader:
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
            f"the service does not answer: {error}; does `fleet serve` run?"
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


def _check_url(text: str) -> None:
    try:
        url = urlsplit(text)
        fits = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        fits = False
    if not fits or not text.isprintable() or " " in text:
        raise ConfigError(f"service.endpoint: {text!r} is no URL, such as http://HOST:PORT")


def _authorities(config: Config) -> Any:
    """An open file with those who may sign the service's certificate; None: the public ones.

    botocore takes the name of a file, and OpenSSL reads none that begins with a mark of Windows.
    Raises ConfigError.
    """
    path = config.endpoint_ca
    if path is None:
        return None
    try:
        tls_context(path)
        clean = pem.text(disk.read(path, "the authority"), str(path))
    except (OSError, FleetError) as error:  # also ssl.SSLError
        raise ConfigError(f"service.endpoint_ca: cannot use {path}: {error}") from error
    file = tempfile.NamedTemporaryFile(suffix=".pem")  # noqa: SIM115 - as long as the clients are
    file.write(clean.encode())
    file.flush()
    return file


def _is_served(found: dict[str, Any]) -> bool:
    things = found.get("things")
    return (
        type(found.get("size")) is int
        and isinstance(things, dict)
        and all(isinstance(one, dict) and type(one.get("bytes")) is int for one in things.values())
    )


def _is_executions(found: dict[str, Any]) -> bool:
    listed = found.get("executions")
    kinds = {"thing": str, "status": str, "details": dict, "queued_at": int, "updated_at": int}
    return (
        type(found.get("more")) is bool
        and isinstance(listed, list)
        and all(
            isinstance(one, dict)
            and all(type(one.get(name)) is kind for name, kind in kinds.items())
            and "started_at" in one
            and type(one["started_at"]) in (int, type(None))
            for one in listed
        )
    )


def _is_shadows(found: dict[str, Any]) -> bool:
    return type(found.get("more")) is bool and isinstance(found.get("shadows"), dict)


def _is_reach(found: dict[str, Any]) -> bool:
    texts = all(isinstance(found.get(name), str) for name in ("broker", "data"))
    return texts and type(found.get("connected")) is bool


def _is_allotted(found: dict[str, Any]) -> bool:
    return type(found.get("sequence")) is int


def _is_revoked(found: dict[str, Any]) -> bool:
    things = found.get("things")
    return isinstance(things, dict) and all(type(since) is int for since in things.values())
