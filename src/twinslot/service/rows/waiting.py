"""Things that a job is to be sent to later, by its plan."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from twinslot.service.database import NUMBER
from twinslot.service.rows.base import NAMED, SOME, Rows, metadata

waiting_table = sa.Table(
    "waiting",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.job_id"), nullable=False),
    sa.Column("thing", sa.ForeignKey("things.name"), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.UniqueConstraint("job_id", "thing"),
    sa.Index("waiting_of_thing", "thing"),
)

_WAITS = sa.select(waiting_table.c.id).where(waiting_table.c.job_id == NAMED).limit(1)
_NEXT = (
    sa.select(waiting_table.c.thing, waiting_table.c.attempt)
    .where(waiting_table.c.job_id == NAMED)
    .order_by(waiting_table.c.attempt.desc(), waiting_table.c.id)
)
_WAITING_OF = sa.select(waiting_table.c.thing).where(
    waiting_table.c.job_id == sa.bindparam("of_job"), waiting_table.c.thing.in_(SOME)
)


class WaitingRows(Rows):
    """Things that wait for a job."""

    def add_waiting(self, job_id: str, attempts: Mapping[str, int]) -> None:
        """Let things wait for a job: how many times each has tried it already."""
        rows = [
            {"job_id": job_id, "thing": thing, "attempt": attempt}
            for thing, attempt in attempts.items()
        ]
        if rows:
            self._connection.execute(waiting_table.insert(), rows)

    def waits(self, job_id: str) -> bool:
        """Say whether any thing waits for the job."""
        return self._one(_WAITS, named=job_id) is not None

    def next_waiting(self, job_id: str, limit: int) -> dict[str, int]:
        """The things that come next, with their tries: those that try again, then as they came."""
        rows = self._all(_NEXT.limit(limit), named=job_id)
        return {row["thing"]: row["attempt"] for row in rows}

    def waiting_of(self, job_id: str, things: Collection[str]) -> set[str]:
        """Those of these things that wait for the job."""
        return {row["thing"] for row in self._some(_WAITING_OF, things, of_job=job_id)}

    def forget_waiting(self, job_id: str, things: Collection[str] | None = None) -> None:
        """Let these things, or all of them, wait no more; of a page at most."""
        gone = waiting_table.delete().where(waiting_table.c.job_id == job_id)
        if things is not None:
            gone = gone.where(waiting_table.c.thing.in_(things))
        self._connection.execute(gone)

    def stop_waiting(self, thing: str) -> list[str]:
        """Let a thing wait for nothing any more; the jobs that it waited for."""
        own = waiting_table.c.thing == thing
        found = list(self._connection.scalars(sa.select(waiting_table.c.job_id).where(own)))
        self._connection.execute(waiting_table.delete().where(own))
        return found
