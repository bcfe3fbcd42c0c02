"""S3's uploads in parts. An object has the same limit of size as one that comes at once."""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from twinslot.formats import aws
from twinslot.service import checksums
from twinslot.service.api import Operation, Result
from twinslot.service.buckets import check_names
from twinslot.service.codec import ApiError
from twinslot.service.objects import ObjectFolder
from twinslot.service.rows.objects import Object
from twinslot.service.rows.uploads import Part, Upload
from twinslot.service.store import Store, Transaction

MIN_PART = 5 * 2**20  # bytes of every part but the last
MAX_PARTS = 10_000


class Uploads:
    """Operations on uploads. `clock` returns Unix seconds."""

    def __init__(
        self,
        store: Store,
        objects: ObjectFolder,
        clock: Callable[[], float],
        stored: Callable[[Transaction, bytes], None],
        lock: Lock,
    ) -> None:
        """`stored` is told of each object's bytes; `lock`: of bytes that come and go."""
        self._store = store
        self._objects = objects
        self._clock = clock
        self._stored = stored
        self._lock = lock
        named = {"Bucket", "Key", "UploadId"}
        self.operations = {
            "CreateMultipartUpload": Operation(
                self._create,
                {"Bucket", "Key", "ContentType", "Metadata", "ChecksumAlgorithm", "ChecksumType"},
                root="InitiateMultipartUploadResult",
            ),
            "UploadPart": Operation(
                self._put,
                named
                | {"PartNumber", "Body", "ContentLength", "ContentMD5", "ChecksumAlgorithm"}
                | checksums.MEMBERS,
            ),
            "CompleteMultipartUpload": Operation(
                self._complete,
                named | {"MultipartUpload", "ChecksumType", "MpuObjectSize"} | checksums.MEMBERS,
                root="CompleteMultipartUploadResult",
            ),
            "AbortMultipartUpload": Operation(self._abort, named),
            "ListParts": Operation(
                self._list, named | {"MaxParts", "PartNumberMarker"}, root="ListPartsResult"
            ),
        }

    def _create(self, parameters: Mapping[str, Any]) -> Result:
        algorithm = parameters.get("ChecksumAlgorithm", "")
        kind = parameters.get("ChecksumType", checksums.COMPOSITE)
        checksums.check_algorithm(algorithm, kind)
        content_type = parameters.get("ContentType", "binary/octet-stream")
        check_names(parameters["Bucket"], parameters["Key"], content_type)
        now = int(self._clock())
        upload = Upload(
            upload_id=uuid.uuid4().hex,
            bucket=parameters["Bucket"],
            key=parameters["Key"],
            content_type=content_type,
            metadata=parameters.get("Metadata", {}),
            algorithm=algorithm,
            kind=kind,
            created_at=now,
        )
        with self._store.write() as transaction:
            transaction.add_bucket(upload.bucket, now)
            transaction.add_upload(upload)
        return Result(
            {
                "Bucket": upload.bucket,
                "Key": upload.key,
                "UploadId": upload.upload_id,
                "ChecksumAlgorithm": algorithm or None,
                "ChecksumType": kind if algorithm else None,
            }
        )

    def _put(self, parameters: Mapping[str, Any]) -> Result:
        data, number = parameters.get("Body", b""), parameters["PartNumber"]
        if not 1 <= number <= MAX_PARTS:
            raise ApiError("InvalidArgument", f"partNumber is not within 1 to {MAX_PARTS}", 400)
        if len(data) > aws.MAX_FILE:
            raise ApiError("EntityTooLarge", f"an object has at most {aws.MAX_FILE} bytes", 400)
        with self._store.read() as transaction:
            upload = _upload(transaction, parameters)
        found = checksums.checked(parameters, data, upload.algorithm)
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        with self._lock:
            sha256 = self._objects.add(data)
            part = Part(number, sha256, etag, len(data), int(self._clock()), found)
            with self._store.write() as transaction:
                _upload(transaction, parameters)
                before = [
                    one for one in transaction.parts(upload.upload_id) if one.number == number
                ]
                transaction.put_part(upload.upload_id, part)
            self._forget([one.sha256 for one in before])
        return Result({"ETag": f'"{etag}"', **found})

    def _complete(self, parameters: Mapping[str, Any]) -> Result:
        asked = parameters.get("MultipartUpload", {}).get("Parts", [])
        with self._lock:
            with self._store.read() as transaction:
                upload = _upload(transaction, parameters)
                parts = _chosen(transaction.parts(upload.upload_id), asked)
                all_parts = transaction.parts(upload.upload_id)
            pieces = [b"".join(self._objects.read(one.sha256, 0, one.size)) for one in parts]
            data = b"".join(pieces)
            found = checksums.of_parts(upload.algorithm, upload.kind, pieces)
            for name in checksums.MEMBERS & parameters.keys():
                if parameters[name] not in (found.get(name), f"{found.get(name)}-{len(parts)}"):
                    raise ApiError("BadDigest", f"{name} is not that of the object", 400)
            item = Object(
                bucket=upload.bucket,
                key=upload.key,
                sha256=self._objects.add(data),
                etag=_etag(parts),
                size=len(data),
                content_type=upload.content_type,
                metadata=upload.metadata,
                modified_at=int(self._clock()),
                checksums={**found, "ChecksumType": upload.kind} if found else {},
            )
            with self._store.write() as transaction:
                before = transaction.object(item.bucket, item.key)
                transaction.put_object(item)
                transaction.delete_upload(upload.upload_id)
                self._stored(transaction, data)
            gone = [one.sha256 for one in all_parts]
            self._forget(gone if before is None else [*gone, before.sha256])
        return Result(
            {
                "Location": f"/{item.bucket}/{item.key}",
                "Bucket": item.bucket,
                "Key": item.key,
                "ETag": f'"{item.etag}"',
                **item.checksums,
            }
        )

    def _abort(self, parameters: Mapping[str, Any]) -> Result:
        with self._lock:
            with self._store.write() as transaction:
                upload = _upload(transaction, parameters)
                gone = [one.sha256 for one in transaction.parts(upload.upload_id)]
                transaction.delete_upload(upload.upload_id)
            self._forget(gone)
        return Result({})

    def _list(self, parameters: Mapping[str, Any]) -> Result:
        most, after = parameters.get("MaxParts", 1000), parameters.get("PartNumberMarker", 0)
        with self._store.read() as transaction:
            upload = _upload(transaction, parameters)
            parts = [one for one in transaction.parts(upload.upload_id) if one.number > after]
        shown = parts[:most]
        return Result(
            {
                "Bucket": upload.bucket,
                "Key": upload.key,
                "UploadId": upload.upload_id,
                "PartNumberMarker": after,
                "NextPartNumberMarker": shown[-1].number if shown else None,
                "MaxParts": most,
                "IsTruncated": len(parts) > most,
                "Initiator": {"ID": "fleet"},
                "Owner": {"ID": "fleet"},
                "StorageClass": "STANDARD",
                "ChecksumAlgorithm": upload.algorithm or None,
                "Parts": [
                    {
                        "PartNumber": one.number,
                        "LastModified": one.modified_at,
                        "ETag": f'"{one.etag}"',
                        "Size": one.size,
                        **one.checksums,
                    }
                    for one in shown
                ],
            }
        )

    def _forget(self, gone: Sequence[str]) -> None:
        """Remove the bytes that nothing has any more. Call it under the lock."""
        forget(self._store, self._objects, gone)


def forget(store: Store, objects: ObjectFolder, gone: Sequence[str]) -> None:
    """Remove the bytes of these SHA-256 that no object and no part has any more."""
    with store.read() as transaction:
        unused = [
            sha256
            for sha256 in dict.fromkeys(gone)
            if not transaction.is_kept(sha256) and not transaction.is_part(sha256)
        ]
    for sha256 in unused:
        objects.remove(sha256)


def _upload(transaction: Transaction, parameters: Mapping[str, Any]) -> Upload:
    upload = transaction.upload(parameters["UploadId"])
    if upload is None or (upload.bucket, upload.key) != (parameters["Bucket"], parameters["Key"]):
        raise ApiError("NoSuchUpload", f"no upload {parameters['UploadId']} of this key", 404)
    return upload


def _chosen(parts: Sequence[Part], asked: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The parts that a request names. Raises ApiError."""
    by_number = {one.number: one for one in parts}
    numbers = [one.get("PartNumber", 0) for one in asked]
    if not numbers:
        raise ApiError("MalformedXML", "the request names no parts", 400)
    if numbers != sorted(set(numbers)):
        raise ApiError("InvalidPartOrder", "the parts are not in ascending order", 400)
    for one in asked:
        found = by_number.get(one.get("PartNumber", 0))
        differ = found is None or one.get("ETag", "").strip('"') != found.etag
        if found is not None:
            sums = checksums.MEMBERS & one.keys()
            differ |= any(found.checksums.get(name, one[name]) != one[name] for name in sums)
        if differ:
            raise ApiError("InvalidPart", f"part {one.get('PartNumber')} is not there so", 400)
    chosen = [by_number[number] for number in numbers]
    if any(one.size < MIN_PART for one in chosen[:-1]):
        raise ApiError("EntityTooSmall", f"all parts but the last have {MIN_PART} bytes", 400)
    if sum(one.size for one in chosen) > aws.MAX_FILE:
        raise ApiError("EntityTooLarge", f"an object has at most {aws.MAX_FILE} bytes", 400)
    return chosen


def _etag(parts: Sequence[Part]) -> str:
    digests = b"".join(bytes.fromhex(one.etag) for one in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
