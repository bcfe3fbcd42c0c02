"""S3's buckets and the lists of what is in them.

A bucket is made by CreateBucket, or by the first object that is put into it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any
from urllib.parse import quote

from twinslot.formats import aws
from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.names import Names
from twinslot.service.rows.objects import Object
from twinslot.service.store import Store, Transaction

MAX_KEYS = 1000
"""Entries of a page (API reference, ListObjectsV2)."""


class Buckets:
    """Operations on buckets. `clock` returns Unix seconds."""

    def __init__(self, store: Store, names: Names, clock: Callable[[], float]) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self.operations = {
            "CreateBucket": Operation(self._create, {"Bucket", "CreateBucketConfiguration"}),
            "HeadBucket": Operation(self._head, {"Bucket"}),
            "ListBuckets": Operation(
                self._list_buckets,
                {"MaxBuckets", "ContinuationToken", "Prefix"},
                root="ListAllMyBucketsResult",
            ),
            "ListObjectsV2": Operation(
                self._list,
                {"Bucket", "Prefix", "Delimiter", "MaxKeys", "ContinuationToken", "StartAfter"}
                | {"EncodingType", "FetchOwner"},
                root="ListBucketResult",
            ),
        }

    def _create(self, parameters: Mapping[str, Any]) -> Result:
        bucket = parameters["Bucket"]
        check_bucket(bucket)
        with self._store.write() as transaction:
            if transaction.bucket(bucket) is not None:
                raise ApiError("BucketAlreadyOwnedByYou", f"bucket {bucket} is there already", 409)
            transaction.add_bucket(bucket, int(self._clock()))
        return Result({"Location": f"/{bucket}"})

    def _head(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            check_there(transaction, parameters["Bucket"])
        return Result({"BucketRegion": self._names.region})

    def _list_buckets(self, parameters: Mapping[str, Any]) -> Result:
        limit, prefix = parameters.get("MaxBuckets", MAX_KEYS), parameters.get("Prefix", "")
        listing = ("buckets", prefix)
        after = self._place(parameters, listing)
        with self._store.read() as transaction:
            made = transaction.buckets()
        found = [name for name in made if name.startswith(prefix) and name > after]
        shown, token = self._names.page(found[: limit + 1], limit, str, listing)
        return Result(
            {
                "Buckets": [{"Name": name, "CreationDate": made[name]} for name in shown],
                "Owner": {"ID": "fleet"},
                "ContinuationToken": token,
                "Prefix": parameters.get("Prefix"),
            }
        )

    def _list(self, parameters: Mapping[str, Any]) -> Result:
        bucket, prefix = parameters["Bucket"], parameters.get("Prefix", "")
        delimiter = parameters.get("Delimiter", "")
        limit = min(parameters.get("MaxKeys", MAX_KEYS), MAX_KEYS)
        listing = ("objects", bucket, prefix, delimiter)
        after = self._place(parameters, listing) or parameters.get("StartAfter", "")
        with self._store.read() as transaction:
            check_there(transaction, bucket)
            found = transaction.objects(bucket, prefix=prefix, after=after)
        entries = list(_entries(found, prefix, delimiter, after))
        shown, token = (
            self._names.page(entries[: limit + 1], limit, lambda entry: entry.last, listing)
            if limit
            else ([], None)
        )
        coded = _coded if parameters.get("EncodingType") == "url" else str
        return Result(
            {
                "Name": bucket,
                "Prefix": coded(prefix),
                "Delimiter": coded(delimiter) if delimiter else None,
                "StartAfter": parameters.get("StartAfter"),
                "EncodingType": parameters.get("EncodingType"),
                "MaxKeys": limit,
                "KeyCount": len(shown),
                "IsTruncated": token is not None,
                "ContinuationToken": parameters.get("ContinuationToken"),
                "NextContinuationToken": token,
                "Contents": [_told(entry.item, coded) for entry in shown if entry.item],
                "CommonPrefixes": [
                    {"Prefix": coded(entry.prefix)} for entry in shown if entry.item is None
                ],
            }
        )

    def _place(self, parameters: Mapping[str, Any], listing: tuple[str, ...]) -> str:
        try:
            return self._names.place(parameters.get("ContinuationToken"), listing) or ""
        except ApiError as error:
            message = "ContinuationToken is none that this list gave"
            raise ApiError("InvalidArgument", message, 400) from error


class _Entry:
    """A line of a list: an object, or a common prefix of several, whose last key is `last`."""

    def __init__(self, item: Object | None, prefix: str, last: str) -> None:
        self.item = item
        self.prefix = prefix
        self.last = last


def check_bucket(bucket: str) -> None:
    """Raise ApiError for a name that is none of a bucket's."""
    if not 3 <= len(bucket) <= aws.MAX_BUCKET:
        raise ApiError(
            "InvalidBucketName", f"a bucket's name has 3 to {aws.MAX_BUCKET} characters", 400
        )


def check_names(bucket: str, key: str, content_type: str) -> None:
    """Raise ApiError for a name that no database could keep."""
    if len(bucket) > aws.MAX_BUCKET:
        raise ApiError("InvalidBucketName", f"a bucket's name is longer than {aws.MAX_BUCKET}")
    if len(key.encode()) > aws.MAX_KEY:
        raise ApiError("KeyTooLongError", f"a key has at most {aws.MAX_KEY} bytes")
    if len(content_type) > aws.MAX_CONTENT_TYPE or "\0" in key:
        raise ApiError("InvalidArgument", "a key holds no NUL; a content type has 255 characters")


def check_there(transaction: Transaction, bucket: str) -> None:
    """Raise ApiError where there is no such bucket."""
    if transaction.bucket(bucket) is None:
        raise ApiError("NoSuchBucket", f"no bucket {bucket}", 404)


def _entries(found: Sequence[Object], prefix: str, delimiter: str, after: str) -> Iterator[_Entry]:
    def common(item: Object) -> str:
        """The key up to the first delimiter behind the prefix; "" where there is none."""
        head, cut, _ = item.key.removeprefix(prefix).partition(delimiter)
        return prefix + head + cut if cut else ""

    if not delimiter:
        yield from (_Entry(item, "", item.key) for item in found)
        return
    for shared, items in groupby(found, lambda item: common(item) or "\0" + item.key):
        group = list(items)
        if shared.startswith("\0"):
            yield _Entry(group[0], "", group[0].key)
        elif not after.startswith(shared):
            yield _Entry(None, shared, group[-1].key)


def _told(item: Object, coded: Callable[[str], str]) -> dict[str, Any]:
    return {
        "Key": coded(item.key),
        "LastModified": item.modified_at,
        "ETag": f'"{item.etag}"',
        "Size": item.size,
        "StorageClass": "STANDARD",
    }


def _coded(text: str) -> str:
    """Text as EncodingType `url` has it."""
    return quote(text, safe="/")
