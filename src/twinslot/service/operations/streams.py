"""Operations on file streams; `service/streams.py` sends their blocks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twinslot.formats import aws
from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.names import DEFAULT_PAGE, PAGING, Names, invalid, not_found
from twinslot.service.operations.tags import tags_of
from twinslot.service.rows.streams import Stream, StreamFile
from twinslot.service.store import Store, Transaction


class StreamOperations:
    """Streams. `clock` returns Unix seconds."""

    def __init__(self, store: Store, names: Names, clock: Callable[[], float]) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self.operations = {
            "CreateStream": Operation(
                self._create_stream, {"streamId", "description", "files", "roleArn", "tags"}
            ),
            "DescribeStream": Operation(self._describe_stream, {"streamId"}),
            "UpdateStream": Operation(
                self._update_stream, {"streamId", "description", "files", "roleArn"}
            ),
            "ListStreams": Operation(self._list_streams, {"ascendingOrder", *PAGING}),
            "DeleteStream": Operation(self._delete_stream, {"streamId"}),
        }

    def _create_stream(self, parameters: Mapping[str, Any]) -> Result:
        stream_id = parameters["streamId"]
        now = int(self._clock())
        tags = tags_of(parameters)
        with self._store.write() as transaction:
            if transaction.stream(stream_id) is not None:
                raise self._names.exists("stream", stream_id)
            files = _files(transaction, parameters["files"])
            description = parameters.get("description")
            transaction.add_stream(
                Stream(stream_id, description, parameters["roleArn"], now, files)
            )
            transaction.tag("stream", stream_id, tags)
        return Result(
            {
                "streamId": stream_id,
                "streamArn": self._names.arn("stream", stream_id),
                "description": description,
                "streamVersion": 1,
            }
        )

    def _describe_stream(self, parameters: Mapping[str, Any]) -> Result:
        stream_id = parameters["streamId"]
        with self._store.read() as transaction:
            stream = stream_of(transaction, stream_id)
        return Result(
            {
                "streamInfo": {
                    "streamId": stream_id,
                    "streamArn": self._names.arn("stream", stream_id),
                    "streamVersion": stream.version,
                    "description": stream.description,
                    "files": [
                        {
                            "fileId": file.file_id,
                            "s3Location": {"bucket": file.bucket, "key": file.key},
                        }
                        for file in stream.files
                    ],
                    "createdAt": stream.created_at,
                    "lastUpdatedAt": stream.updated_at or stream.created_at,
                    "roleArn": stream.role_arn,
                }
            }
        )

    def _update_stream(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.write() as transaction:
            stream = stream_of(transaction, parameters["streamId"])
            files = stream.files
            if "files" in parameters:
                files = _files(transaction, parameters["files"])
            stream = replace(
                stream,
                description=parameters.get("description", stream.description),
                role_arn=parameters.get("roleArn", stream.role_arn),
                files=files,
                updated_at=int(self._clock()),
                version=stream.version + 1,
            )
            transaction.save_stream(stream)
        return Result(self._told(stream))

    def _list_streams(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        ascending = parameters.get("ascendingOrder", True)
        listing = ("streams", str(ascending))
        after = self._names.place(parameters.get("nextToken"), listing)
        with self._store.read() as transaction:
            found = transaction.streams(ascending=ascending, after=after, limit=limit + 1)
        shown, token = self._names.page(found, limit, lambda stream: stream.stream_id, listing)
        return Result({"streams": [self._told(one) for one in shown], "nextToken": token})

    def _told(self, stream: Stream) -> dict[str, Any]:
        return {
            "streamId": stream.stream_id,
            "streamArn": self._names.arn("stream", stream.stream_id),
            "description": stream.description,
            "streamVersion": stream.version,
        }

    def _delete_stream(self, parameters: Mapping[str, Any]) -> Result:
        stream_id = parameters["streamId"]
        with self._store.write() as transaction:
            stream_of(transaction, stream_id)
            if jobs := transaction.open_jobs_of(stream_id):
                raise ApiError(
                    "DeleteConflictException",
                    f"stream {stream_id} is needed by {', '.join(jobs)}: cancel or delete that",
                    409,
                )
            transaction.untag("stream", stream_id)
            transaction.delete_stream(stream_id)
        return Result({})


def stream_of(transaction: Transaction, stream_id: str) -> Stream:
    """The stream of this id. Raises ApiError."""
    stream = transaction.stream(stream_id)
    if stream is None:
        raise not_found(f"no stream {stream_id}")
    return stream


def _files(transaction: Transaction, asked: Sequence[Mapping[str, Any]]) -> tuple[StreamFile, ...]:
    files = tuple(stream_file(transaction, file, number) for number, file in enumerate(asked))
    if len({file.file_id for file in files}) != len(files):
        raise invalid("two files have the same fileId")
    return files


def stream_file(transaction: Transaction, file: Mapping[str, Any], number: int) -> StreamFile:
    """The file of a stream that CreateStream's parameters describe. Raises ApiError."""
    location = file.get("s3Location", {})
    bucket, key = location.get("bucket", ""), location.get("key", "")
    item = transaction.object(bucket, key)
    if item is None:
        raise invalid(f"file {number}: no object {bucket}/{key}")
    if not 1 <= item.size <= aws.MAX_FILE:
        raise invalid(
            f"file {number}: {item.size} bytes; allowed are 1 to {aws.MAX_FILE}",
        )
    return StreamFile(file.get("fileId", number), bucket, key, item.etag, item.size)
