"""From a package file to a job: put_object, create_stream, create_job, as on AWS."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleet import image, keys, package
from fleet.client import Clients
from fleet.config import Config
from fleet.errors import FleetError

BUCKET = "packages"
ROLE = "arn:aws:iam::000000000000:role/fleet"
"""CreateStream demands a role; the service has no use for one."""


class PublishError(FleetError):
    """The package is not for these boards, or a board is not known."""


@dataclass(frozen=True)
class Published:
    """What was made: job and stream have the same name."""

    job: str
    things: list[str]
    product: str
    version: str
    sequence: int
    identity: str


def check(data: bytes, config: Config) -> package.Head:
    """The head of a package that the boards of this fleet would take, as far as can be known here.

    Raises PackageError, SignatureError or PublishError with what they would say.
    """
    head = package.inspect(data)
    manifest = head.manifest
    if manifest.product != config.product:
        raise PublishError(
            f"the package is for {manifest.product}, the boards are {config.product}"
        )
    for component in manifest.components:
        if component.kind == package.FIRMWARE:
            content = data[component.offset : component.offset + component.length]
            image.firmware(content, chip=config.chip, slot_size=config.slot_size)
    head.verify(keys.read_public(config.public_key))
    return head


def job_document(stream_id: str, name: str, size: int) -> str:
    """The job document of a package: `name` for people, `size` in bytes."""
    file = {"filepath": name, "filesize": size, "fileid": 0}
    update = {"protocols": ["MQTT"], "streamname": stream_id, "files": [file]}
    return json.dumps({"afr_ota": update}, separators=(",", ":"))


def publish(
    clients: Clients,
    data: bytes,
    name: str,
    things: Sequence[str],
    *,
    job_id: str | None = None,
    create_things: bool = False,
    timeout_minutes: int | None = None,
) -> Published:
    """Upload a package, called `name` for people, and make one job of it for these things.

    Raises PackageError for what is no package, PublishError for an unknown thing, RefusedError.
    """
    head = package.inspect(data)
    manifest = head.manifest
    targets = [_thing_arn(clients, thing, create=create_things) for thing in things]
    job_id = job_id or f"ota-{manifest.sequence}-{secrets.token_hex(4)}"
    key = hashlib.sha256(data).hexdigest() + ".ota"
    description = f"{manifest.product} {manifest.version}, sequence {manifest.sequence}"
    clients.s3.put_object(Bucket=BUCKET, Key=key, Body=data)
    clients.iot.create_stream(
        streamId=job_id,
        description=description,
        files=[{"fileId": 0, "s3Location": {"bucket": BUCKET, "key": key}}],
        roleArn=ROLE,
    )
    options: dict[str, Any] = {}
    if timeout_minutes is not None:
        options["timeoutConfig"] = {"inProgressTimeoutInMinutes": timeout_minutes}
    clients.iot.create_job(
        jobId=job_id,
        targets=targets,
        targetSelection="SNAPSHOT",
        document=job_document(job_id, name, len(data)),
        description=description,
        **options,
    )
    return Published(
        job_id,
        list(things),
        manifest.product,
        manifest.version,
        manifest.sequence,
        head.identity.hex(),
    )


def _thing_arn(clients: Clients, thing: str, *, create: bool) -> str:
    if create:
        arn: str = clients.iot.create_thing(thingName=thing)["thingArn"]
        return arn
    try:
        arn = clients.iot.describe_thing(thingName=thing)["thingArn"]
    except clients.iot.exceptions.ResourceNotFoundException as error:
        raise PublishError(
            f"the service knows no board {thing}; `fleet publish --create-things` makes it known"
        ) from error
    return arn
