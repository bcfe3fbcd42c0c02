"""The fleet's own service, `fleet serve`, and the part of its API that AWS's does not have.

Everything is explicit: endpoint, region, keys from the fleet's own file. Profiles, environment
variables and proxies of the machine play no part.
"""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from twinslot import config as configuration
from twinslot import disk, service_notes
from twinslot.client import answers, many, shadow
from twinslot.client.clients import TIMEOUTS, Clients, Reach, RefusedError, descriptions
from twinslot.config import Config
from twinslot.errors import ConfigError, FleetError
from twinslot.formats import aws
from twinslot.trust import pem
from twinslot.trust.authority import tls_context

_NOT_FROM_THE_MACHINE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
_MOST_JOBS = 20  # of the newest, among which a thing's last one is looked for
# Over TLS botocore leaves the body of an upload unsigned, unless it is told otherwise twice.
_S3_OPTIONS = {
    "signature_version": "s3v4",
    "s3": {"addressing_style": "path", "payload_signing_enabled": True},
}


BUCKET = "packages"
ROLE = "arn:aws:iam::000000000000:role/fleet"
"""CreateStream and signed URLs demand a role; the service has no use for one."""


class OwnService(Clients):
    """The service of this folder, or the one that fleet.toml names."""

    bucket = BUCKET
    role = ROLE
    sends_full = True
    pause = 0.5

    def __init__(self, config: Config) -> None:
        """Raises UnreachableError when no endpoint is set and no service of this folder runs."""
        self.endpoint = config.endpoint or service_notes.find_endpoint(config).control
        _check_url(self.endpoint)
        self._trusted = _authorities(config)
        self._verify = True if self._trusted is None else self._trusted.name
        credentials = configuration.read_credentials(config.credentials)
        core = botocore.session.Session(session_vars=_NOT_FROM_THE_MACHINE)
        core.register_component("data_loader", descriptions())
        super().__init__(
            boto3.session.Session(
                aws_access_key_id=credentials.access_key,
                aws_secret_access_key=credentials.secret_key,
                region_name=config.region,
                botocore_session=core,
            )
        )

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of this service, all of which have one endpoint."""
        return self._made(
            service,
            self.endpoint,
            self._verify,
            proxies={},
            retries={"mode": "standard", "max_attempts": 3},
            request_checksum_calculation="when_required",
            **(_S3_OPTIONS if service == "s3" else {}),
            **options,
        )

    def executions(
        self,
        job_id: str,
        counted: many.Counted = many.unseen,  # noqa: ARG002 - pages come at once
    ) -> Iterator[dict[str, Any]]:
        """The executions of a job, a page at a time."""
        after, more = "", True
        while more:
            found = self._extension("GET", "executions", f"{job_id}/{after}", _is_executions)
            yield from found["executions"]
            more = found["more"] and bool(found["executions"])
            after = found["executions"][-1]["thing"] if more else ""

    def newest(
        self,
        count: int,
        things: Sequence[str],
        counted: many.Counted = many.unseen,  # noqa: ARG002
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The executions of the newest jobs."""
        wanted = set(things)
        pages = self.iot.get_paginator("list_jobs").paginate(PaginationConfig={"MaxItems": count})
        for job in (job["jobId"] for page in pages for job in page["jobs"]):
            for one in self.executions(job):
                if one["thing"] in wanted:
                    yield job, one

    def succeeded(self, thing: str) -> Iterator[str]:
        """Of the newest jobs, those that have SUCCEEDED on this thing."""
        jobs = [job["jobId"] for job in self.iot.list_jobs(maxResults=_MOST_JOBS)["jobs"]]

        def has_succeeded(job_id: str) -> bool:
            try:
                found = self.iot.describe_job_execution(jobId=job_id, thingName=thing)
            except ClientError:
                return False  # not this board's
            return bool(found["execution"]["status"] == aws.SUCCEEDED)

        return itertools.compress(jobs, many.each(has_succeeded, jobs))

    def reports(
        self,
        things: Sequence[str],  # noqa: ARG002 - those of all things come together
        counted: many.Counted = many.unseen,  # noqa: ARG002
    ) -> Mapping[str, shadow.Reported | None]:
        """The reports of all things, a page at a time."""
        found: dict[str, shadow.Reported | None] = {}
        after, more = "", True
        while more:
            page = self._extension("GET", "shadows", after, _is_shadows)
            found |= {thing: shadow.of_document(one) for thing, one in page["shadows"].items()}
            more = page["more"] and bool(page["shadows"])
            after = [*page["shadows"]][-1] if more else ""
        return found

    def served(self, job_id: str) -> Mapping[str, tuple[int, int]]:
        """The bytes up to the furthest block of each thing; by HTTP nobody counts them."""
        found = self.traffic(job_id)
        return {thing: (one["bytes"], found["size"]) for thing, one in found["things"].items()}

    def traffic(self, job_id: str) -> dict[str, Any]:
        """The part of a job that the service has served by MQTT.

        `size` of the file in bytes, and by thing `blocks` and `bytes` up to the furthest block.
        """
        return self._extension("GET", "served", job_id, _is_served)

    def allot(self, product: str, above: int) -> int:
        """Take the next sequence, which the service counts."""
        found = self._extension("POST", "sequence", f"{above}/{product}", _is_allotted)
        sequence: int = found["sequence"]
        return sequence

    def count(self, product: str, sequence: int) -> None:
        """Do nothing: the service counts every package that is put there."""

    def revoke(self, thing: str) -> None:
        """Let the service refuse everything that comes from this thing."""
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
        """How boards are reached from the service; None where it does not say."""
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
        timeout = (TIMEOUTS["connect_timeout"], TIMEOUTS["read_timeout"])
        response = URLLib3Session(self._verify, proxies={}, timeout=timeout).send(request.prepare())
        status, headers, body = response.status_code, response.headers, response.content
        found = answers.parsed(self.endpoint, status, headers, body)
        if status != 200:
            code = headers.get("x-amzn-errortype") or found.get("code", str(status))
            raise RefusedError(code, found.get("message", "refused"))
        if not fits(found):
            raise answers.foreign(self.endpoint, status, body, f"no answer to {name!r}")
        return found


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
