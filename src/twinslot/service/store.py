"""The service's memory: things, objects, streams, jobs, shadows and unsent messages.

Every change is one transaction, and the messages it causes are rows of the same transaction (the
outbox), so that after a crash either both are there or neither.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.formats.document import described_sequence
from twinslot.service import migrations
from twinslot.service.database import NEVER_AGAIN, NUMBER, Database
from twinslot.service.states import Execution

Item = TypeVar("Item")

_PARAMETERS = 1000  # of one query, well below what databases take

MAX_PRODUCT = 32
"""Bytes of a product's name (package-format.md)."""

metadata = sa.MetaData()
"""The tables as this version has them; `migrations` makes them."""

_things = sa.Table(
    "things",
    metadata,
    sa.Column("name", sa.String(aws.MAX_NAME), primary_key=True),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

# By name alone: a thing that was never registered can be revoked, too.
_revoked = sa.Table(
    "revoked",
    metadata,
    sa.Column("thing", sa.String(aws.MAX_NAME), primary_key=True),
    sa.Column("revoked_at", sa.BigInteger, nullable=False),
)

_objects = sa.Table(
    "objects",
    metadata,
    sa.Column("bucket", sa.String(aws.MAX_BUCKET), primary_key=True),
    sa.Column("key", sa.String(aws.MAX_KEY), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("etag", sa.String(32), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("content_type", sa.String(aws.MAX_CONTENT_TYPE), nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("modified_at", sa.BigInteger, nullable=False),
)

_streams = sa.Table(
    "streams",
    metadata,
    sa.Column("stream_id", sa.String(aws.MAX_NAME), primary_key=True),
    sa.Column("description", sa.Text),
    sa.Column("role_arn", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

_stream_files = sa.Table(
    "stream_files",
    metadata,
    sa.Column("stream_id", sa.ForeignKey("streams.stream_id"), primary_key=True),
    sa.Column("file_id", sa.Integer, primary_key=True),
    sa.Column("bucket", sa.String(aws.MAX_BUCKET), nullable=False),
    sa.Column("key", sa.String(aws.MAX_KEY), nullable=False),
    sa.Column("etag", sa.String(32), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
)

_jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("job_id", sa.String(aws.MAX_JOB_ID), nullable=False, unique=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("stream_id", sa.String(aws.MAX_NAME)),
    sa.Column("targets", sa.JSON, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("progress_minutes", sa.Integer),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("completed_at", sa.BigInteger),
    sa.Column("reason_code", sa.Text),
    sa.Column("comment", sa.Text),
    sa.Column("forced", sa.Boolean, nullable=False),
    sa.Column("url_seconds", sa.Integer),
    sa.Column("url_role", sa.Text),
)

_updates = sa.Table(
    "updates",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("update_id", sa.String(aws.MAX_NAME), nullable=False, unique=True),
    sa.Column("job_id", sa.String(aws.MAX_JOB_ID), nullable=False),
    sa.Column("stream_id", sa.String(aws.MAX_NAME)),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

_executions = sa.Table(
    "executions",
    metadata,
    sa.Column("order", NUMBER, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.job_id"), nullable=False),
    sa.Column("thing", sa.ForeignKey("things.name"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("queued_at", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("progress_deadline", sa.BigInteger),
    sa.Column("step_deadline", sa.BigInteger),
    sa.Column("forced", sa.Boolean, nullable=False),
    sa.Column("served_blocks", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("served_bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("job_id", "thing", "number"),
    sa.Index("executions_of_thing", "thing", "status"),
    sa.Index("executions_of_job", "job_id", "status"),
    sa.Index("executions_in_progress", "progress_deadline"),
    sa.Index("executions_in_step", "step_deadline"),
)
_EXECUTION_COLUMNS = [
    column for column in _executions.columns if column.name not in ("served_blocks", "served_bytes")
]

_shadows = sa.Table(
    "shadows",
    metadata,
    sa.Column("thing", sa.ForeignKey("things.name"), primary_key=True),
    sa.Column("state", sa.JSON, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
)

# The highest sequence of each product's packages.
_sequences = sa.Table(
    "sequences",
    metadata,
    sa.Column("product", sa.String(MAX_PRODUCT), primary_key=True),
    sa.Column("highest", sa.BigInteger, nullable=False),
)

_outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("topic", sa.String(512), nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    **NEVER_AGAIN,  # so that order survives deletion
)


def _without_id(table: sa.Table) -> sa.Select[Any]:
    return sa.select(*(column for column in table.columns if column.name != "id"))


# The statements of a device's request. To make one takes as long as to carry it out.
_OPEN = sa.or_(*(_executions.c.status == status for status in sorted(aws.OPEN)))  # IN is slower
_NAMED = sa.bindparam("named", type_=sa.String)
_NUMBERED = sa.bindparam("numbered", type_=sa.Integer)
_THING = sa.select(_things).where(_things.c.name == _NAMED)
_REVOKED = sa.select(_revoked.c.thing).where(_revoked.c.thing == _NAMED)
_JOB = _without_id(_jobs).where(_jobs.c.job_id == _NAMED)
_SOME: sa.BindParameter[Any] = sa.bindparam("some", expanding=True)
_THINGS_OF = sa.select(_things.c.name).where(_things.c.name.in_(_SOME))
_REVOKED_OF = sa.select(_revoked.c.thing).where(_revoked.c.thing.in_(_SOME))
_OPEN_EXECUTIONS = sa.select(*_EXECUTION_COLUMNS).where(_executions.c.thing.in_(_SOME), _OPEN)
_NEWEST_EXECUTION = (
    sa.select(*_EXECUTION_COLUMNS)
    .where(_executions.c.thing == _NAMED, _executions.c.job_id == sa.bindparam("of_job"))
    .order_by(_executions.c.number.desc())
    .limit(1)
)
_EXECUTION = _NEWEST_EXECUTION.where(_executions.c.number == _NUMBERED)
_READS = (
    sa.select(_executions.c.order)
    .join(_jobs, _jobs.c.job_id == _executions.c.job_id)
    .where(_executions.c.thing == _NAMED, _OPEN, _jobs.c.stream_id == sa.bindparam("streamed"))
    .order_by(_executions.c.order)
    .limit(1)
)
_SAVE_EXECUTION = _executions.update().where(
    _executions.c.order == sa.bindparam("saved"), _executions.c.version == _NUMBERED
)
_IS_OPEN = sa.select(_executions.c.order).where(_executions.c.job_id == _NAMED, _OPEN).limit(1)


def batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Return the items in lists of so many at most."""
    rest = iter(items)
    while some := list(islice(rest, most)):
        yield some


class StoreError(FleetError):
    """Two writers met."""


@dataclass(frozen=True)
class Thing:
    """A board by its name."""

    name: str
    attributes: Mapping[str, str]
    created_at: int


@dataclass(frozen=True)
class Object:
    """An S3 object; its bytes lie in the object folder under `sha256`. `size` in bytes."""

    bucket: str
    key: str
    sha256: str
    etag: str
    size: int
    content_type: str
    metadata: Mapping[str, str]
    modified_at: int


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
    """An MQTT file stream."""

    stream_id: str
    description: str | None
    role_arn: str
    created_at: int
    files: tuple[StreamFile, ...]


@dataclass(frozen=True)
class Job:
    """A job. `document` is JSON text; `stream_id` is the stream that it names, if any.

    url_seconds: how long the URLs in its document are good for; url_role: the role that was named
    for signing them. None where nothing was said.
    """

    job_id: str
    document: str
    stream_id: str | None
    targets: Sequence[str]
    description: str | None
    progress_minutes: int | None
    status: str
    created_at: int
    updated_at: int
    completed_at: int | None = None
    reason_code: str | None = None
    comment: str | None = None
    forced: bool = False
    url_seconds: int | None = None
    url_role: str | None = None


@dataclass(frozen=True)
class Update:
    """An OTA update: the job that was made of it, and the stream that was made for it, if any.

    `request` is what was asked for, as JSON.
    """

    update_id: str
    job_id: str
    stream_id: str | None
    request: Mapping[str, Any]
    created_at: int


@dataclass(frozen=True)
class Source:
    """One stream, and where its bytes are.

    objects: SHA-256 by file id, of the files whose object is as it was when the stream was made.
    """

    stream: Stream
    objects: Mapping[int, str]


@dataclass(frozen=True)
class Served:
    """Blocks served for one execution; `up_to` is the end of the furthest one in bytes."""

    blocks: int
    up_to: int


@dataclass(frozen=True)
class Shadow:
    """A thing's shadow: "desired" and "reported" of it, where there are any, and their times."""

    state: Mapping[str, Any]
    metadata: Mapping[str, Any]
    version: int


@dataclass(frozen=True)
class Message:
    """A message of the outbox."""

    id: int
    topic: str
    payload: bytes


@dataclass
class Changes:
    """The part of a transaction that others than the database keep in mind.

    messages: something is in the outbox; ended: things that may have lost an execution; revoked,
    admitted: things; streams: a stream or one of its objects is another one, or gone.
    """

    messages: bool = False
    ended: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    admitted: set[str] = field(default_factory=set)
    streams: bool = False


class Store:
    """The database. Thread-safe: every transaction has its own connection."""

    def __init__(self, url: str) -> None:
        """Open the database at a SQLAlchemy URL, and make or extend its tables where need be.

        Raises DatabaseError for a URL that cannot be used and a database that does not answer,
        SchemaError for another program's tables, and for those of a version that is not known here.
        """
        self._database = Database(url)
        self._followers: list[Callable[[Changes], None]] = []
        with self._database.transaction(writing=True) as connection:
            own = self._database.file is not None  # others may use a server's database, too
            migrations.upgrade(connection, f"the database {self._database}", own=own)

    def check(self) -> None:
        """Raise DatabaseError where the database's file is not the one that was opened."""
        self._database.check()

    def on_commit(self, callback: Callable[[Changes], None]) -> None:
        """Call this after every commit, in its thread, before `write` ends."""
        self._followers.append(callback)

    @contextmanager
    def read(self) -> Iterator["Transaction"]:
        """A transaction that only reads."""
        with self._database.transaction(writing=False) as connection:
            yield Transaction(connection)

    @contextmanager
    def write(self) -> Iterator["Transaction"]:
        """A transaction that is committed at the end, or rolled back by an exception."""
        with self._database.transaction(writing=True) as connection:
            transaction = Transaction(connection)
            yield transaction
        for follow in self._followers:
            follow(transaction.changes)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()


class Transaction:
    """The reads and writes of one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.changes = Changes()

    # Things

    def add_thing(self, thing: Thing) -> None:
        """Add a thing whose name is new."""
        self._insert(_things, **vars(thing))

    def thing(self, name: str) -> Thing | None:
        """The thing of this name."""
        row = self._one(_THING, named=name)
        return None if row is None else Thing(**row)

    def known_of(self, names: Collection[str]) -> set[str]:
        """Those of these names that are a thing's."""
        return {row["name"] for row in self._some(_THINGS_OF, names)}

    def things(self, *, after: str = "", limit: int) -> list[Thing]:
        """In the order of their names, those behind `after`."""
        query = sa.select(_things).where(_things.c.name > after).order_by(_things.c.name)
        return [Thing(**row) for row in self._all(query.limit(limit))]

    def revoke(self, name: str, now: int) -> None:
        """Refuse everything that comes from this thing; again is no harm."""
        self.changes.revoked.add(name)
        if not self.is_revoked(name):
            self._insert(_revoked, thing=name, revoked_at=now)

    def admit(self, name: str) -> None:
        """Take back what `revoke` did."""
        self.changes.admitted.add(name)
        self._connection.execute(_revoked.delete().where(_revoked.c.thing == name))

    def is_revoked(self, name: str) -> bool:
        """Say whether the thing is revoked."""
        return self._one(_REVOKED, named=name) is not None

    def revoked_of(self, things: Collection[str]) -> set[str]:
        """Those of these things that are revoked."""
        return {row["thing"] for row in self._some(_REVOKED_OF, things)}

    def revoked(self) -> dict[str, int]:
        """Everything that is revoked, and since when (Unix seconds)."""
        return {row["thing"]: row["revoked_at"] for row in self._all(sa.select(_revoked))}

    # Sequences

    def highest_sequence(self, product: str) -> int:
        """The highest sequence of a product's packages, 0 for none.

        A database that has not counted yet has it in the descriptions of jobs.
        """
        query = sa.select(_sequences.c.highest).where(_sequences.c.product == product)
        row = self._one(query)
        if row is not None:
            return int(row["highest"])
        described = _jobs.c.description.startswith(f"{product} ", autoescape=True)
        found = self._all(sa.select(_jobs.c.description).where(described))
        return max((described_sequence(row["description"], product) for row in found), default=0)

    def raise_sequence(self, product: str, sequence: int) -> None:
        """Count a package of this sequence; a lower one changes nothing."""
        highest = max(sequence, self.highest_sequence(product))
        self._connection.execute(_sequences.delete().where(_sequences.c.product == product))
        self._insert(_sequences, product=product, highest=highest)

    # Objects and streams

    def put_object(self, item: Object) -> None:
        """Add an object, or replace the one of the same bucket and key."""
        before = self.object(item.bucket, item.key)
        self.changes.streams |= before is not None and before.sha256 != item.sha256
        self._connection.execute(
            _objects.delete().where(_objects.c.bucket == item.bucket, _objects.c.key == item.key)
        )
        self._insert(_objects, **vars(item))

    def object(self, bucket: str, key: str) -> Object | None:
        """The object of this bucket and key."""
        row = self._one(
            sa.select(_objects).where(_objects.c.bucket == bucket, _objects.c.key == key)
        )
        return None if row is None else Object(**row)

    def add_stream(self, stream: Stream) -> None:
        """Add a stream whose id is new."""
        values = {**vars(stream)}
        files = values.pop("files")
        self._insert(_streams, **values)
        for file in files:
            self._insert(_stream_files, stream_id=stream.stream_id, **vars(file))

    def stream(self, stream_id: str) -> Stream | None:
        """The stream of this id, with its files."""
        row = self._one(sa.select(_streams).where(_streams.c.stream_id == stream_id))
        if row is None:
            return None
        columns = (column for column in _stream_files.columns if column.name != "stream_id")
        query = sa.select(*columns).where(_stream_files.c.stream_id == stream_id)
        files = self._all(query.order_by(_stream_files.c.file_id))
        return Stream(**row, files=tuple(StreamFile(**file) for file in files))

    def delete_stream(self, stream_id: str) -> None:
        """Forget a stream; its objects stay."""
        self.changes.streams = True
        for table in (_stream_files, _streams):
            self._connection.execute(table.delete().where(table.c.stream_id == stream_id))

    def open_jobs_of(self, stream_id: str) -> list[str]:
        """The jobs that name the stream and have open executions."""
        query = (
            sa.select(_jobs.c.job_id)
            .join(_executions, _jobs.c.job_id == _executions.c.job_id)
            .where(_jobs.c.stream_id == stream_id, _OPEN)
            .distinct()
            .order_by(_jobs.c.job_id)
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
            _objects.c.bucket == _stream_files.c.bucket,
            _objects.c.key == _stream_files.c.key,
            _objects.c.etag == _stream_files.c.etag,
        )
        query = (
            sa.select(_stream_files.c.file_id, _objects.c.sha256)
            .join(_objects, unchanged)
            .where(_stream_files.c.stream_id == stream_id)
        )
        return Source(stream, {row["file_id"]: row["sha256"] for row in self._all(query)})

    def still_open(self, orders: Collection[int]) -> set[int]:
        """Those of these executions that have not ended."""
        query = sa.select(_executions.c.order).where(_executions.c.order.in_(_SOME), _OPEN)
        return {row["order"] for row in self._some(query, orders)}

    # Jobs and executions

    def add_job(self, job: Job) -> None:
        """Add a job whose id is new."""
        self._insert(_jobs, **vars(job))

    def job(self, job_id: str) -> Job | None:
        """The job of this id."""
        row = self._one(_JOB, named=job_id)
        return None if row is None else Job(**row)

    def jobs(self, *, status: str | None, before: int | None, limit: int) -> list[tuple[int, Job]]:
        """Newest first, each with its place; those whose place is lower than `before`."""
        conditions = [] if status is None else [_jobs.c.status == status]
        rows = self._newest(_jobs, *conditions, before=before, limit=limit)
        return [(place, Job(**values)) for place, values in rows]

    def save_job(self, job: Job) -> None:
        """Write a changed job."""
        self._connection.execute(
            _jobs.update().where(_jobs.c.job_id == job.job_id).values(**vars(job))
        )

    def delete_job(self, job_id: str) -> None:
        """Forget a job and its executions, none of which is open."""
        for table in (_executions, _jobs):
            self._connection.execute(table.delete().where(table.c.job_id == job_id))

    def add_executions(self, job_id: str, things: Iterable[str], now: int) -> None:
        """Queue the job on each thing, behind everything that is queued there."""
        queued = {
            "job_id": job_id,
            "number": 1,
            "status": aws.QUEUED,
            "details": {},
            "queued_at": now,
            "updated_at": now,
            "version": 1,
            "forced": False,
        }
        rows = [{**queued, "thing": thing} for thing in things]
        self._connection.execute(_executions.insert(), rows)

    def execution(self, thing: str, job_id: str, number: int | None = None) -> Execution | None:
        """This execution, or the latest of the job on the thing."""
        if number is None:
            row = self._one(_NEWEST_EXECUTION, named=thing, of_job=job_id)
        else:
            row = self._one(_EXECUTION, named=thing, of_job=job_id, numbered=number)
        return None if row is None else Execution(**row)

    def open_executions(self, things: Collection[str]) -> dict[str, list[Execution]]:
        """The executions of each thing that are not terminal, in no particular order."""
        found: dict[str, list[Execution]] = {thing: [] for thing in things}
        for row in self._some(_OPEN_EXECUTIONS, things):
            found[row["thing"]].append(Execution(**row))
        return found

    def executions_of(
        self, job_id: str, *, statuses: Collection[str] | None = None, after: str = "", limit: int
    ) -> list[Execution]:
        """The job's executions by thing name, those behind the thing `after`."""
        conditions = [_executions.c.job_id == job_id, _executions.c.thing > after]
        if statuses is not None:
            conditions.append(_executions.c.status.in_(statuses))
        return self._executions(*conditions, limit=limit)

    def is_open(self, job_id: str) -> bool:
        """Say whether any execution of the job has not ended."""
        return self._one(_IS_OPEN, named=job_id) is not None

    def counts_of(self, job_id: str) -> dict[str, int]:
        """The number of the job's executions in each status that one has."""
        query = (
            sa.select(_executions.c.status, sa.func.count().label("count"))
            .where(_executions.c.job_id == job_id)
            .group_by(_executions.c.status)
        )
        return {row["status"]: row["count"] for row in self._all(query)}

    def overdue(self, now: int, *, limit: int) -> list[Execution]:
        """Executions one of whose timers has run out."""
        return self._executions(
            _executions.c.status == "IN_PROGRESS",
            sa.or_(_executions.c.progress_deadline <= now, _executions.c.step_deadline <= now),
            limit=limit,
        )

    def save(self, before: Execution, after: Execution) -> None:
        """Write a changed execution. Raises StoreError if it is not as it was read any more."""
        self.save_all([(before, after)])

    def save_all(self, changed: Iterable[tuple[Execution, Execution]]) -> None:
        """Write executions, each as it was read and as it is now. Raises StoreError as `save`."""
        rows = []
        for before, after in changed:
            if after.terminal:
                self.changes.ended.add(after.thing)
            found = {"saved": before.order, "numbered": before.version}
            rows.append({**vars(after), "details": dict(after.details), **found})
        if self._connection.execute(_SAVE_EXECUTION, rows).rowcount != len(rows):
            named = ", ".join(sorted({row["job_id"] for row in rows}))
            raise StoreError(f"executions of {named} changed meanwhile")

    def delete_executions(self, executions: Collection[Execution]) -> None:
        """Forget executions, of a page at most."""
        self.changes.ended.update(execution.thing for execution in executions)
        orders = [execution.order for execution in executions]
        self._connection.execute(_executions.delete().where(_executions.c.order.in_(orders)))

    # OTA updates

    def add_update(self, update: Update) -> None:
        """Add an OTA update whose id is new."""
        self._insert(_updates, **vars(update))

    def update(self, update_id: str) -> Update | None:
        """The OTA update of this id."""
        row = self._one(_without_id(_updates).where(_updates.c.update_id == update_id))
        return None if row is None else Update(**row)

    def updates(self, *, before: int | None, limit: int) -> list[tuple[int, Update]]:
        """Newest first, each with its place; those whose place is lower than `before`."""
        rows = self._newest(_updates, before=before, limit=limit)
        return [(place, Update(**values)) for place, values in rows]

    def delete_update(self, update_id: str) -> None:
        """Forget an OTA update; its job and its stream stay."""
        self._connection.execute(_updates.delete().where(_updates.c.update_id == update_id))

    # Shadows

    def shadow(self, thing: str) -> Shadow | None:
        """The shadow of this thing."""
        columns = (_shadows.c.state, _shadows.c.metadata, _shadows.c.version)
        row = self._one(sa.select(*columns).where(_shadows.c.thing == thing))
        return None if row is None else Shadow(**row)

    def shadows(self, *, after: str, limit: int) -> dict[str, Shadow]:
        """Shadows by thing, in the order of the things, those behind `after`."""
        query = sa.select(_shadows).where(_shadows.c.thing > after).order_by(_shadows.c.thing)
        rows = [dict(row) for row in self._all(query.limit(limit))]
        return {row.pop("thing"): Shadow(**row) for row in rows}

    def save_shadow(self, thing: str, shadow: Shadow) -> None:
        """Write a thing's shadow, instead of the one that is there."""
        self._connection.execute(_shadows.delete().where(_shadows.c.thing == thing))
        self._insert(_shadows, thing=thing, **vars(shadow))

    # Served blocks

    def add_served(self, served: Mapping[int, Served]) -> None:
        """Count blocks that were served, by the `order` of their execution."""
        furthest = _executions.c.served_bytes
        up_to = sa.bindparam("up_to", type_=sa.BigInteger)
        blocks = _executions.c.served_blocks + sa.bindparam("blocks")
        self._connection.execute(
            _executions.update()
            .where(_executions.c.order == sa.bindparam("execution"))
            .values(
                served_blocks=blocks,
                served_bytes=sa.case((furthest < up_to, up_to), else_=furthest),
            ),
            [{"execution": order, **vars(counted)} for order, counted in served.items()],
        )

    def served(self, job_id: str) -> dict[str, Served]:
        """The served blocks for each thing of a job."""
        query = sa.select(
            _executions.c.thing, _executions.c.served_blocks, _executions.c.served_bytes
        ).where(_executions.c.job_id == job_id)
        return {
            row["thing"]: Served(row["served_blocks"], row["served_bytes"])
            for row in self._all(query)
        }

    # Outbox

    def send(self, topic: str, message: Mapping[str, Any]) -> None:
        """Publish a JSON message, at least once, after this transaction is committed."""
        self.send_all([(topic, message)])

    def send_all(self, messages: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Publish JSON messages with their topics, in this order, as `send` does."""
        rows = [
            {"topic": topic, "payload": json.dumps(message, separators=(",", ":")).encode()}
            for topic, message in messages
        ]
        if rows:
            self._connection.execute(_outbox.insert(), rows)
            self.changes.messages = True

    def messages(self, *, after: int, limit: int) -> list[Message]:
        """Unsent messages in their order, those behind the id `after`."""
        query = sa.select(_outbox).where(_outbox.c.id > after).order_by(_outbox.c.id).limit(limit)
        return [Message(**row) for row in self._all(query)]

    def forget(self, ids: Sequence[int]) -> None:
        """Delete messages that the broker has acknowledged."""
        self._connection.execute(_outbox.delete().where(_outbox.c.id.in_(ids)))

    def _executions(self, *conditions: sa.ColumnElement[bool], limit: int) -> list[Execution]:
        query = sa.select(*_EXECUTION_COLUMNS).where(*conditions).order_by(_executions.c.thing)
        return [Execution(**row) for row in self._all(query.limit(limit))]

    def _newest(
        self,
        table: sa.Table,
        *conditions: sa.ColumnElement[bool],
        before: int | None,
        limit: int,
    ) -> list[tuple[int, dict[str, Any]]]:
        """Rows, newest first, each apart from its place, which is lower than `before`."""
        query = sa.select(table).where(*conditions).order_by(table.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(table.c.id < before)
        rows = [dict(row) for row in self._all(query)]
        return [(row.pop("id"), row) for row in rows]

    def _some(self, query: sa.Select[Any], some: Collection[Any]) -> Iterator[sa.RowMapping]:
        """The rows of a query for some values; a database takes a bounded number of parameters."""
        for few in batches(some, _PARAMETERS):
            yield from self._all(query, some=few)

    def _insert(self, table: sa.Table, **values: Any) -> None:
        self._connection.execute(table.insert(), values)

    def _one(self, query: sa.Select[Any], **parameters: Any) -> sa.RowMapping | None:
        return self._connection.execute(query, parameters).mappings().first()

    def _all(self, query: sa.Select[Any], **parameters: Any) -> Sequence[sa.RowMapping]:
        return self._connection.execute(query, parameters).mappings().all()
