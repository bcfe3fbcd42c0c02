"""Jobs; their executions are rows of their own, and so are the things that wait for one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from twinslot.formats import aws
from twinslot.service.database import NUMBER
from twinslot.service.rows.base import NAMED, Rows, metadata, without_id

jobs_table = sa.Table(
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
    sa.Column("plan", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("continuous", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("stopped", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("due_at", sa.BigInteger),
    sa.Index("jobs_due", "due_at"),
)

_JOB = without_id(jobs_table).where(jobs_table.c.job_id == NAMED)


@dataclass(frozen=True)
class Job:
    """A job. `document` is JSON text; `stream_id` is the stream that it names, if any.

    url_seconds: how long the URLs in its document are good for; url_role: the role that was named
    for signing them. None where nothing was said. plan: how it is to reach its things, in the words
    of CreateJob; continuous: it also runs on things that become targets later; stopped: it is sent
    to no thing any more; due_at: when it is to be looked at, in Unix seconds.
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
    plan: Mapping[str, Any] = field(default_factory=dict)
    continuous: bool = False
    stopped: bool = False
    due_at: int | None = None


class JobRows(Rows):
    """Jobs."""

    def add_job(self, job: Job) -> None:
        """Add a job whose id is new."""
        self._insert(jobs_table, **vars(job))

    def job(self, job_id: str) -> Job | None:
        """The job of this id."""
        row = self._one(_JOB, named=job_id)
        return None if row is None else Job(**row)

    def jobs(
        self,
        *,
        status: str | None = None,
        continuous: bool | None = None,
        before: int | None,
        limit: int,
    ) -> list[tuple[int, Job]]:
        """Newest first, each with its place; those whose place is lower than `before`."""
        conditions = [] if status is None else [jobs_table.c.status == status]
        if continuous is not None:
            conditions.append(jobs_table.c.continuous == continuous)
        rows = self._newest(jobs_table, *conditions, before=before, limit=limit)
        return [(place, Job(**values)) for place, values in rows]

    def save_job(self, job: Job) -> None:
        """Write a changed job."""
        self._connection.execute(
            jobs_table.update().where(jobs_table.c.job_id == job.job_id).values(**vars(job))
        )

    def jobs_due(self, now: int) -> list[str]:
        """The ids of jobs that are to be looked at."""
        query = sa.select(jobs_table.c.job_id).where(jobs_table.c.due_at <= now)
        return list(self._connection.scalars(query.order_by(jobs_table.c.due_at, jobs_table.c.id)))

    def jobs_of_later_targets(self) -> list[Job]:
        """The continuous jobs whose rollout is not over, oldest first."""
        later = without_id(jobs_table).where(
            jobs_table.c.continuous == sa.true(), jobs_table.c.stopped == sa.false()
        )
        return [Job(**row) for row in self._all(later.order_by(jobs_table.c.id))]
