"""S3's objects, put, described, handed out, deleted; `buckets` and `uploads` have the rest."""

import hashlib
import re
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from twinslot.formats import aws
from twinslot.service import checksums
from twinslot.service.api import Operation, Result
from twinslot.service.buckets import Buckets, check_names
from twinslot.service.codec import ApiError
from twinslot.service.names import Names
from twinslot.service.objects import ObjectFolder
from twinslot.service.rows.objects import Object
from twinslot.service.store import Store, Transaction
from twinslot.service.uploads import Uploads, forget

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class S3:
    """Objects in a folder, their names in the store. `clock` returns Unix seconds."""

    def __init__(
        self,
        store: Store,
        objects: ObjectFolder,
        names: Names,
        clock: Callable[[], float],
        stored: Callable[[Transaction, bytes], None] = lambda _transaction, _data: None,
    ) -> None:
        """`stored` is told of the bytes of each object, in the transaction that adds it."""
        self._store = store
        self._objects = objects
        self._clock = clock
        self._stored = stored
        self._lock = Lock()  # bytes are not removed while an object is made of them
        reading = {"Bucket", "Key", "Range", "ChecksumMode", "IfMatch"}
        # CRC64NVME needs no look: the signature covers the SHA-256 of the body.
        writing = {"Bucket", "Key", "Body", "ContentLength", "ContentType", "ContentMD5"} | {
            "Metadata",
            "ChecksumAlgorithm",
            "ChecksumCRC64NVME",
        }
        self.operations = {
            "PutObject": Operation(self._put, writing | checksums.MEMBERS),
            "HeadObject": Operation(self._head, reading),
            "GetObject": Operation(self._get, reading),
            "DeleteObject": Operation(self._delete, {"Bucket", "Key"}),
            **Buckets(store, names, clock).operations,
            **Uploads(store, objects, clock, stored, self._lock).operations,
        }
        self.public_operations = {
            name: self.operations[name] for name in ("HeadObject", "GetObject")
        }
        """The operations of the data listener."""

    def _put(self, parameters: Mapping[str, Any]) -> Result:
        data = parameters.get("Body", b"")
        if len(data) > aws.MAX_FILE:
            raise ApiError("EntityTooLarge", f"an object has at most {aws.MAX_FILE} bytes")
        content_type = parameters.get("ContentType", "binary/octet-stream")
        check_names(parameters["Bucket"], parameters["Key"], content_type)
        found = checksums.checked(parameters, data)
        with self._lock:
            item = Object(
                bucket=parameters["Bucket"],
                key=parameters["Key"],
                sha256=self._objects.add(data),
                etag=hashlib.md5(data, usedforsecurity=False).hexdigest(),
                size=len(data),
                content_type=content_type,
                metadata=parameters.get("Metadata", {}),
                modified_at=int(self._clock()),
                checksums={**found, "ChecksumType": checksums.FULL_OBJECT} if found else {},
            )
            with self._store.write() as transaction:
                before = transaction.object(item.bucket, item.key)
                transaction.put_object(item)
                self._stored(transaction, data)
            if before is not None:
                forget(self._store, self._objects, [before.sha256])
        return Result({"ETag": f'"{item.etag}"', **item.checksums})

    def _delete(self, parameters: Mapping[str, Any]) -> Result:
        with self._lock:
            with self._store.write() as transaction:
                item = transaction.object(parameters["Bucket"], parameters["Key"])
                if item is not None:
                    transaction.delete_object(item.bucket, item.key)
            if item is not None:
                forget(self._store, self._objects, [item.sha256])
        return Result({})

    def _head(self, parameters: Mapping[str, Any]) -> Result:
        return self._describe(parameters)[-1]

    def _get(self, parameters: Mapping[str, Any]) -> Result:
        item, start, end, result = self._describe(parameters)
        body = self._objects.read(item.sha256, start, end)
        return Result({**result.members, "Body": body}, result.status)

    def _describe(self, parameters: Mapping[str, Any]) -> tuple[Object, int, int, Result]:
        """The object, first and last-plus-one byte asked for, and the answer without its body."""
        with self._store.read() as transaction:
            item = transaction.object(parameters["Bucket"], parameters["Key"])
        if item is None:
            raise ApiError("NoSuchKey", f"no object {parameters['Key']}", 404)
        wanted = parameters.get("IfMatch", "*").strip('"')
        if wanted not in ("*", item.etag):
            raise ApiError("PreconditionFailed", f"the object's ETag is not {wanted}", 412)
        asked = byte_range(parameters.get("Range", ""), item.size)
        start, end = asked or (0, item.size)
        members: dict[str, Any] = {
            "AcceptRanges": "bytes",
            "ContentLength": end - start,
            "ContentType": item.content_type,
            "ETag": f'"{item.etag}"',
            "LastModified": item.modified_at,
            "Metadata": item.metadata,
        }
        if asked is None:
            if parameters.get("ChecksumMode") == "ENABLED":
                members |= item.checksums  # which are not those of a part
            return item, start, end, Result(members)
        members["ContentRange"] = f"bytes {start}-{end - 1}/{item.size}"
        return item, start, end, Result(members, 206)


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """First and last-plus-one byte of a Range header (RFC 9110 14.1.2) for `size` bytes.

    None where the header is not there or not of that form, which means the whole. Raises ApiError
    InvalidRange when nothing of the object is within the range.
    """
    match = _RANGE.fullmatch(text)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        end = size if match[2] == "" else min(size, int(match[2]) + 1)
        if match[2] and int(match[2]) < start:
            return None
    if start >= end:
        raise ApiError("InvalidRange", f"the object has {size} bytes", 416)
    return start, end
