"""The only place that makes AWS clients, so that none ever reaches a real account by accident.

Everything is explicit: endpoint, region, keys from the fleet's own file. Profiles, environment
variables and proxies of the machine play no part.
"""

import functools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.httpsession import URLLib3Session
from botocore.loaders import Loader, create_loader

from twinslot import config as configuration
from twinslot.config import Config
from twinslot.errors import ConfigError, FleetError, UnreachableError

_NOT_FROM_THE_MACHINE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
_OF_AWS = (".amazonaws.com", ".amazonaws.com.cn")
_TIMEOUTS = {"connect_timeout": 5, "read_timeout": 30}  # seconds


class RefusedError(FleetError):
    """The service refused a request; `code` is its word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


class Clients:
    """boto3 clients of one fleet's service: `iot`, `s3`, and any other by name."""

    def __init__(self, config: Config) -> None:
        """Raises UnreachableError when no endpoint is set and no service of this folder runs."""
        self.endpoint = config.endpoint or configuration.find_endpoint(config).control
        if not self.endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"service.endpoint: {self.endpoint!r} is no URL")
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
        self.s3 = self.client("s3", signature_version="s3v4", s3={"addressing_style": "path"})

    def data(self) -> Any:
        """A client of `iot-data`: on AWS the account has an endpoint of its own for it."""
        host = urlsplit(self.endpoint).hostname or ""
        if not host.endswith(_OF_AWS):
            return self.client("iot-data")
        found = self.iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
        return self.client("iot-data", f"https://{found}")

    def served(self, job_id: str) -> dict[str, Any]:
        """The part of a job that the service has served (an extension: AWS does not tell).

        `size` of the file in bytes, and by thing `blocks` and `bytes` up to the furthest block.
        """
        return self._extension("GET", "served", job_id)

    def revoke(self, thing: str) -> None:
        """Let the service refuse everything that comes from this thing (an extension)."""
        self._extension("POST", "revoke", thing)

    def admit(self, thing: str) -> None:
        """Take a revocation back."""
        self._extension("POST", "admit", thing)

    def revoked(self) -> dict[str, int]:
        """The things that the service refuses, and since when (Unix seconds)."""
        found: dict[str, int] = self._extension("GET", "revoked", "")["things"]
        return found

    def _extension(self, method: str, name: str, rest: str) -> dict[str, Any]:
        url = f"{self.endpoint}/fleet/{name}/{quote(rest, safe='')}"
        request = AWSRequest(method, url)
        credentials = self._session.get_credentials()
        SigV4Auth(credentials, "iot", self._session.region_name).add_auth(request)
        timeout = (_TIMEOUTS["connect_timeout"], _TIMEOUTS["read_timeout"])
        response = URLLib3Session(proxies={}, timeout=timeout).send(request.prepare())
        found: dict[str, Any] = json.loads(response.content)
        if response.status_code != 200:
            code = response.headers.get("x-amzn-errortype", str(response.status_code))
            raise RefusedError(code, found.get("message", "refused"))
        return found

    def client(self, service: str, endpoint: str | None = None, **options: Any) -> Any:
        """A boto3 client of this service; `options` are botocore's client settings.

        `endpoint`: its URL, None for the one of all.
        """
        settings = ClientConfig(
            proxies={}, retries={"mode": "standard", "max_attempts": 3}, **_TIMEOUTS, **options
        )
        url = endpoint or self.endpoint
        return self._session.client(service, endpoint_url=url, config=settings)


@functools.cache
def _descriptions() -> Loader:
    """Return botocore's descriptions of AWS's services: megabytes of JSON, read once."""
    return create_loader()


@contextmanager
def translated() -> Iterator[None]:
    """Turns botocore's errors into RefusedError and UnreachableError."""
    try:
        yield
    except ClientError as error:
        found = error.response.get("Error", {})
        raise RefusedError(found.get("Code", ""), found.get("Message", "refused")) from error
    except (HTTPClientError, BotocoreConnectionError) as error:
        raise UnreachableError(f"the service does not answer: {error}") from error
