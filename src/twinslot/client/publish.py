"""From a package file to a job: put_object, create_stream, create_job, as on AWS.

By HTTP alone there is no stream: boards get a URL with the job.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from twinslot.addresses import is_local
from twinslot.client import admission, many, settings
from twinslot.client.clients import Clients, Reach
from twinslot.config import Config
from twinslot.errors import FleetError, InterruptedByUserError
from twinslot.formats import archive, document, firmware, package
from twinslot.formats.component import FIRMWARE
from twinslot.formats.document import HTTP, MQTT
from twinslot.formats.head import Head


class PublishError(FleetError):
    """The package is not for these boards, or a board is not known."""


@dataclass(frozen=True)
class Published:
    """The published job and stream, if there is one, have the same name."""

    job: str
    things: list[str]
    product: str
    version: str
    sequence: int
    identity: str


def check(data: bytes, config: Config) -> Head:
    """The head of a package that the boards of this fleet would take, as far as can be known here.

    Raises PackageError, ImageError, ArchiveError, SignatureError or PublishError with what they
    would say.
    """
    head = package.inspect(data)
    manifest = head.manifest
    if manifest.product != config.product:
        raise PublishError(
            f"the package is for {manifest.product}, the boards are {config.product}"
        )
    for component in manifest.components:
        if component.base is not None:
            continue  # its result was checked where the base was
        if component.kind == FIRMWARE:
            firmware.accept(component.result(data), chip=config.chip, slot_size=config.slot_size)
        else:
            archive.read(component.result(data))
    admission.judge(head, config)
    return head


def check_way(
    reach: Reach | None, config: Config, things: Sequence[str], protocols: Sequence[str]
) -> None:
    """Whether these boards can fetch a package from where the service offers it.

    A board is on this machine where its broker is: by its settings in boards/, else by fleet.toml.
    Raises PublishError, with the address, for one that is sent to this machine from another.
    """
    if reach is None or HTTP not in protocols or not is_local(urlsplit(reach.data).hostname or ""):
        return
    usual = (config.broker.boards or config.broker.address).host
    for thing in things:
        host = settings.broker_host(config.boards / thing) or usual
        if not is_local(host):
            raise PublishError(
                f"the package is offered at {reach.data}, and {thing}, whose broker is {host}, "
                "would look for that on itself: set service.data_url (and service.data) in "
                "fleet.toml to an address of this machine that boards reach, and start `fleet "
                "serve` again; or send it by --protocol mqtt"
            )


def check_number(clients: Clients, things: Sequence[str]) -> None:
    """Whether one job may have so many boards. Raises PublishError."""
    if clients.most_targets is not None and len(things) > clients.most_targets:
        raise PublishError(
            f"AWS takes {clients.most_targets} boards in one job, and these are {len(things)}: "
            "publish to some of them at a time"
        )


def waits(reach: Reach | None) -> Iterator[str]:
    """Say that a new job waits, where the service has no broker now."""
    if reach is not None and not reach.connected:
        yield (
            f"the service has no connection to the broker {reach.broker}; the job is kept, and "
            "boards hear of it when the broker is back"
        )


def publish(
    clients: Clients,
    data: bytes,
    name: str,
    things: Sequence[str],
    *,
    job_id: str | None = None,
    protocols: Sequence[str] = (MQTT,),
    create_things: bool = False,
    timeout_minutes: int | None = None,
    counted: many.Counted = many.unseen,
    full: bytes | None = None,
) -> Published:
    """Upload a package, called `name` for people, and make one job of it for these things.

    Boards may choose among `protocols`, MQTT and HTTP. counted: of the boards that were looked up.
    full: the package as it is, of which this is a smaller form; the service sends it to a board
    that refuses the form. Raises PackageError for what is no package, PublishError for an unknown
    thing or more than the service takes, RefusedError.
    """
    head = package.inspect(data)
    manifest = head.manifest
    check_number(clients, things)
    targets = many.each(
        lambda thing: thing_arn(clients, thing, create=create_things), things, counted
    )
    job_id = job_id or f"ota-{manifest.sequence}-{secrets.token_hex(4)}"
    key = _key(data)
    location = document.Location(clients.bucket, key)
    described = document.description(manifest.product, manifest.version, manifest.sequence)
    clients.count(manifest.product, manifest.sequence)
    more: dict[str, Any] = {}
    if full is not None:
        clients.s3.put_object(Bucket=clients.bucket, Key=_key(full), Body=full)
        more["Metadata"] = {document.FULL: _key(full)}
    clients.s3.put_object(Bucket=clients.bucket, Key=key, Body=data, **more)
    options: dict[str, Any] = {}
    if HTTP in protocols:
        options["presignedUrlConfig"] = {"roleArn": clients.role}
    if timeout_minutes is not None:
        options["timeoutConfig"] = {"inProgressTimeoutInMinutes": timeout_minutes}
    with _whole(clients, job_id):
        if MQTT in protocols:
            clients.iot.create_stream(
                streamId=job_id,
                description=described,
                files=[{"fileId": 0, "s3Location": {"bucket": clients.bucket, "key": key}}],
                roleArn=clients.role,
            )
        try:
            clients.iot.create_job(
                jobId=job_id,
                targets=targets,
                targetSelection="SNAPSHOT",
                document=document.of_update(
                    [document.File(name, len(data), location=location)],
                    protocols,
                    job_id if MQTT in protocols else None,
                    clients.region,
                ),
                description=described,
                **options,
            )
        except ClientError:
            if MQTT in protocols:  # else the name would be taken, by a stream of no job
                clients.iot.delete_stream(streamId=job_id)
            raise
    return Published(
        job_id,
        list(things),
        manifest.product,
        manifest.version,
        manifest.sequence,
        head.identity.hex(),
    )


def _key(data: bytes) -> str:
    """The key of the object that holds a package: it names the digest."""
    return hashlib.sha256(data).hexdigest() + ".ota"


@contextlib.contextmanager
def _whole(clients: Clients, job_id: str) -> Iterator[None]:
    """Stream and job are made, or neither, also where Ctrl-C or a lost connection hides which.

    Raises InterruptedByUserError for Ctrl-C that came after the job was made.
    """
    try:
        yield
    except ClientError:
        raise  # the service has said what it did not do
    except BaseException as error:
        if not _is_made(clients, job_id):
            with contextlib.suppress(ClientError, BotoCoreError):
                clients.iot.delete_stream(streamId=job_id)
            raise
        if not isinstance(error, Exception):
            raise InterruptedByUserError(
                f"interrupted, but the job is made: `fleet watch {job_id}` shows it, `fleet cancel "
                f"{job_id}` ends it"
            ) from error


def _is_made(clients: Clients, job_id: str) -> bool:
    """Whether the service has the job, as far as it answers at all."""
    try:
        clients.iot.describe_job(jobId=job_id)
    except (ClientError, BotoCoreError):
        return False
    return True


def thing_arn(clients: Clients, thing: str, *, create: bool) -> str:
    """The ARN of a thing. create: make one that is not known. Raises PublishError, ClientError."""
    try:
        found = clients.iot.describe_thing(thingName=thing)
    except clients.iot.exceptions.ResourceNotFoundException as error:
        if not create:
            raise PublishError(
                f"the service knows no board {thing}; `fleet publish --create-things` makes it "
                "known"
            ) from error
        found = clients.iot.create_thing(thingName=thing)
    arn: str = found["thingArn"]
    return arn
