"""File streams, and which thing may read one."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from twinslot.formats import aws
from twinslot.service.rows.base import NAMED, Rows, metadata
from twinslot.service.rows.executions import OPEN, executions_table
from twinslot.service.rows.jobs import jobs_table
from twinslot.service.rows.objects import MAX_ETAG, objects_table

streams_table = sa.Table(
    "streams",
    metadata,
    sa.Column("stream_id", sa.String(aws.MAX_NAME), primary_key=True),
    sa.Column("description", sa.Text),
    sa.Column("role_arn", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
)

stream_files_table = sa.Table(
    "stream_files",
    metadata,
    sa.Column("stream_id", sa.ForeignKey("streams.stream_id"), primary_key=True),
    sa.Column("file_id", sa.Integer, primary_key=True),
    sa.Column("bucket", sa.String(aws.MAX_BUCKET), nullable=False),
    sa.Column("key", sa.String(aws.MAX_KEY), nullable=False),
    sa.Column("etag", sa.String(MAX_ETAG), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
)

_READS = (
    sa.select(executions_table.c.order)
    .join(jobs_table, jobs_table.c.job_id == executions_table.c.job_id)
    .where(
        executions_table.c.thing == NAMED, OPEN, jobs_table.c.stream_id == sa.bindparam("streamed")
    )
    .order_by(executions_table.c.order)
    .limit(1)
)


@dataclass(frozen=True)
class StreamFile:
    """One file of a stream: the object it was made from, with its etag and size at that time."""

    file_id: int
    bucket: str
    key: str
    etag: str
    size: int


@dataclass(frozen=True)
class Stream:
    """An MQTT file stream; updated_at: of its last change, None before the first."""

    stream_id: str
    description: str | None
    role_arn: str
    created_at: int
    files: tuple[StreamFile, ...]
    updated_at: int | None = None
    version: int = 1


@dataclass(frozen=True)
class Source:
    """One stream, and where its bytes are.

    objects: SHA-256 by file id, of the files whose object is as it was when the stream was made.
    """

    stream: Stream
    objects: Mapping[int, str]


class StreamRows(Rows):
    """Streams."""

    def add_stream(self, stream: Stream) -> None:
        """Add a stream whose id is new."""
        values = {**vars(stream)}
        files = values.pop("files")
        self._insert(streams_table, **values)
        for file in files:
            self._insert(stream_files_table, stream_id=stream.stream_id, **vars(file))

    def stream(self, stream_id: str) -> Stream | None:
        """The stream of this id, with its files."""
        row = self._one(sa.select(streams_table).where(streams_table.c.stream_id == stream_id))
        if row is None:
            return None
        columns = (column for column in stream_files_table.columns if column.name != "stream_id")
        query = sa.select(*columns).where(stream_files_table.c.stream_id == stream_id)
        files = self._all(query.order_by(stream_files_table.c.file_id))
        return Stream(**row, files=tuple(StreamFile(**file) for file in files))

    def save_stream(self, stream: Stream) -> None:
        """Write a changed stream, with its files."""
        self.changes.streams = True
        values = {**vars(stream)}
        files = values.pop("files")
        self._connection.execute(
            streams_table.update()
            .where(streams_table.c.stream_id == stream.stream_id)
            .values(**values)
        )
        self._connection.execute(
            stream_files_table.delete().where(stream_files_table.c.stream_id == stream.stream_id)
        )
        for file in files:
            self._insert(stream_files_table, stream_id=stream.stream_id, **vars(file))

    def streams(self, *, ascending: bool, after: str | None, limit: int) -> list[Stream]:
        """Streams without their files, in the order of their ids, those behind `after`."""
        place = streams_table.c.stream_id
        query = sa.select(streams_table).order_by(place.asc() if ascending else place.desc())
        if after is not None:
            query = query.where(place > after if ascending else place < after)
        return [Stream(**row, files=()) for row in self._all(query.limit(limit))]

    def delete_stream(self, stream_id: str) -> None:
        """Forget a stream; its objects stay."""
        self.changes.streams = True
        for table in (stream_files_table, streams_table):
            self._connection.execute(table.delete().where(table.c.stream_id == stream_id))

    def open_jobs_of(self, stream_id: str) -> list[str]:
        """The jobs that name the stream and have open executions."""
        query = (
            sa.select(jobs_table.c.job_id)
            .join(executions_table, jobs_table.c.job_id == executions_table.c.job_id)
            .where(jobs_table.c.stream_id == stream_id, OPEN)
            .distinct()
            .order_by(jobs_table.c.job_id)
        )
        return list(self._connection.scalars(query))

    def reads(self, thing: str, stream_id: str) -> int | None:
        """The `order` of the thing's first open execution of a job that names the stream."""
        row = self._one(_READS, named=thing, streamed=stream_id)
        return None if row is None else int(row["order"])

    def source(self, stream_id: str) -> Source | None:
        """The stream of this id, with the objects that are its files."""
        stream = self.stream(stream_id)
        if stream is None:
            return None
        unchanged = sa.and_(
            objects_table.c.bucket == stream_files_table.c.bucket,
            objects_table.c.key == stream_files_table.c.key,
            objects_table.c.etag == stream_files_table.c.etag,
        )
        query = (
            sa.select(stream_files_table.c.file_id, objects_table.c.sha256)
            .join(objects_table, unchanged)
            .where(stream_files_table.c.stream_id == stream_id)
        )
        return Source(stream, {row["file_id"]: row["sha256"] for row in self._all(query)})
