"""From a package file to a job: put_object, create_stream, create_job, as on AWS.

By HTTP alone there is no stream: boards get a URL with the job.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from twinslot.client.clients import Clients
from twinslot.config import Config
from twinslot.errors import FleetError
from twinslot.formats import archive, document, firmware, package
from twinslot.formats.component import FIRMWARE
from twinslot.formats.document import HTTP, MQTT
from twinslot.formats.head import Head
from twinslot.trust import keys, signing

BUCKET = "packages"
ROLE = "arn:aws:iam::000000000000:role/fleet"
"""CreateStream and signed URLs demand a role; the service has no use for one."""


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
        if component.kind == FIRMWARE:
            firmware.accept(component.result(data), chip=config.chip, slot_size=config.slot_size)
        else:
            archive.read(component.result(data))
    signing.verify(head, keys.read_public(config.public_key))
    return head


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
) -> Published:
    """Upload a package, called `name` for people, and make one job of it for these things.

    Boards may choose among `protocols`, MQTT and HTTP.
    Raises PackageError for what is no package, PublishError for an unknown thing, RefusedError.
    """
    head = package.inspect(data)
    manifest = head.manifest
    targets = [thing_arn(clients, thing, create=create_things) for thing in things]
    job_id = job_id or f"ota-{manifest.sequence}-{secrets.token_hex(4)}"
    key = hashlib.sha256(data).hexdigest() + ".ota"
    described = document.description(manifest.product, manifest.version, manifest.sequence)
    clients.s3.put_object(Bucket=BUCKET, Key=key, Body=data)
    options: dict[str, Any] = {}
    if MQTT in protocols:
        clients.iot.create_stream(
            streamId=job_id,
            description=described,
            files=[{"fileId": 0, "s3Location": {"bucket": BUCKET, "key": key}}],
            roleArn=ROLE,
        )
    if HTTP in protocols:
        options["presignedUrlConfig"] = {"roleArn": ROLE}
    if timeout_minutes is not None:
        options["timeoutConfig"] = {"inProgressTimeoutInMinutes": timeout_minutes}
    try:
        clients.iot.create_job(
            jobId=job_id,
            targets=targets,
            targetSelection="SNAPSHOT",
            document=document.of_update(
                [document.File(name, len(data), location=document.Location(BUCKET, key))],
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
