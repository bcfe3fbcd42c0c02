"""Job documents of updates, and the placeholders in them that become pre-signed URLs.

The form is that of AWS IoT's OTA updates (`afr_ota`), with any number of files. What is stored has
`${aws:iot:s3-presigned-url:URL}`, or `-url-v2` as newer guides have it, where a board gets a URL
that is signed when it asks. Text in, text out.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from twinslot.errors import FleetError
from twinslot.formats import aws

MQTT, HTTP = "MQTT", "HTTP"

FULL = "full"
"""Name in the metadata of a package's object, where that is a smaller form of another package: its
value is the key of that one, in the same bucket."""
_FULL_JOB = "-full"

# Within JSON text, so that nothing depends on how deep the document is.
_PLACEHOLDER = re.compile(r'\$\{aws:iot:s3-presigned-url(?:-v2)?:((?:[^"\\}]|\\.)*)\}')
_SEQUENCE = re.compile(r", sequence (\d{1,10})$")
_VIRTUAL_HOST = re.compile(r"(.+)\.s3[.-].+")  # BUCKET.s3.REGION.amazonaws.com


class DocumentError(FleetError):
    """A placeholder does not name an S3 object."""


@dataclass(frozen=True)
class Location:
    """Where an S3 object is."""

    bucket: str
    key: str


@dataclass(frozen=True)
class File:
    """One file of an update. `size` in bytes; `name` is for people and for FreeRTOS's ports.

    certificate: where a FreeRTOS board finds the signer's; signature: the key of the document, such
    as "sig-sha256-ecdsa", and base64; location: the object, needed for HTTP.
    """

    name: str | None
    size: int
    file_id: int = 0
    certificate: str | None = None
    file_type: int | None = None
    signature: tuple[str, str] | None = None
    location: Location | None = None


def description(product: str, version: str, sequence: int) -> str:
    """The description of the job and the stream of a package."""
    return f"{product} {version}, sequence {sequence}"


def described_sequence(text: str, product: str) -> int:
    """The sequence in such a description of this product's package; 0 where there is none."""
    match = _SEQUENCE.search(text)
    return int(match[1]) if match and text.startswith(f"{product} ") else 0


def full_job(job_id: str) -> str:
    """The name of the job that brings the full package to boards that failed this job's form."""
    return job_id[: aws.MAX_JOB_ID - len(_FULL_JOB)] + _FULL_JOB


def of_update(
    files: Sequence[File], protocols: Sequence[str], stream_id: str | None, region: str
) -> str:
    """The job document that offers these files by these protocols, in the order AWS has.

    What is not there is left out: `stream_id` is None where MQTT is not among the protocols.
    """
    update: dict[str, Any] = {"protocols": list(protocols)}
    if stream_id is not None:
        update["streamname"] = stream_id
    update["files"] = [_file(file, region, http=HTTP in protocols) for file in files]
    return json.dumps({"afr_ota": update}, separators=(",", ":"))


def locations(text: str) -> list[Location]:
    """The objects that the placeholders of a document name. Raises DocumentError."""
    return [_location(match) for match in _PLACEHOLDER.finditer(text)]


def resolved(text: str, url_of: Callable[[Location], str]) -> str:
    """The document with a URL for every placeholder. Raises DocumentError."""
    return _PLACEHOLDER.sub(lambda match: json.dumps(url_of(_location(match)))[1:-1], text)


def _file(file: File, region: str, *, http: bool) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if file.name:
        described["filepath"] = file.name
    described |= {"filesize": file.size, "fileid": file.file_id}
    if file.certificate:
        described["certfile"] = file.certificate
    if file.file_type is not None:
        described["fileType"] = file.file_type
    if http and file.location is not None:
        described["update_data_url"] = _placeholder(file.location, region)
        described["auth_scheme"] = "aws.s3.presigned"
    if file.signature is not None:
        key, value = file.signature
        described[key] = value
    return described


def _placeholder(location: Location, region: str) -> str:
    path = quote(f"{location.bucket}/{location.key}", safe="/~")
    return f"${{aws:iot:s3-presigned-url:https://s3.{region}.amazonaws.com/{path}}}"


def _location(match: re.Match[str]) -> Location:
    try:
        url = urlsplit(json.loads(f'"{match[1]}"'))
        host = url.hostname or ""
        url.path.encode()  # half a character of JSON's has no place in a name
    except ValueError as error:
        raise DocumentError(f"{match[0]}: not a URL") from error
    path = unquote(url.path.removeprefix("/"))
    if virtual := _VIRTUAL_HOST.fullmatch(host):
        bucket, key = virtual[1], path
    else:
        bucket, _, key = path.partition("/")
    if url.scheme not in ("http", "https") or not host or not bucket or not key:
        raise DocumentError(
            f"{match[0]}: not the URL of an S3 object, such as https://s3.amazonaws.com/BUCKET/KEY"
        )
    return Location(bucket, key)
