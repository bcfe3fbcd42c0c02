"""Jobs; their executions are rows of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

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
)

_JOB = without_id(jobs_table).where(jobs_table.c.job_id == NAMED)


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


class JobRows(Rows):
    """Jobs."""

    def add_job(self, job: Job) -> None:
        """Add a job whose id is new."""
        self._insert(jobs_table, **vars(job))

    def job(self, job_id: str) -> Job | None:
        """The job of this id."""
        row = self._one(_JOB, named=job_id)
        return None if row is None else Job(**row)

    def jobs(self, *, status: str | None, before: int | None, limit: int) -> list[tuple[int, Job]]:
        """Newest first, each with its place; those whose place is lower than `before`."""
        conditions = [] if status is None else [jobs_table.c.status == status]
        rows = self._newest(jobs_table, *conditions, before=before, limit=limit)
        return [(place, Job(**values)) for place, values in rows]

    def save_job(self, job: Job) -> None:
        """Write a changed job."""
        self._connection.execute(
            jobs_table.update().where(jobs_table.c.job_id == job.job_id).values(**vars(job))
        )
