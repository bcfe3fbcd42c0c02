"""Executions of jobs, with the number of blocks that were served for each."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.service.database import NUMBER
from twinslot.service.rows.base import NAMED, SOME, Rows, metadata
from twinslot.service.rows.jobs import jobs_table
from twinslot.service.rows.waiting import waiting_table
from twinslot.service.states import Execution

executions_table = sa.Table(
    "executions",
    metadata,
    sa.Column("order", NUMBER, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.job_id"), nullable=False),
    sa.Column("thing", sa.String(aws.MAX_NAME), nullable=False),  # outlives the thing
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
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("served_blocks", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("served_bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("job_id", "thing", "number"),
    sa.Index("executions_of_thing", "thing", "status"),
    sa.Index("executions_of_job", "job_id", "status"),
    sa.Index("executions_in_progress", "progress_deadline"),
    sa.Index("executions_in_step", "step_deadline"),
    sa.Index("executions_told", "job_id", "queued_at", "attempt"),
)

_EXECUTION_COLUMNS = [
    column
    for column in executions_table.columns
    if column.name not in ("served_blocks", "served_bytes")
]
# The statements of a device's request. To make one takes as long as to carry it out.
OPEN = sa.or_(*(executions_table.c.status == status for status in sorted(aws.OPEN)))  # IN is slower
_NUMBERED = sa.bindparam("numbered", type_=sa.Integer)
_OPEN_EXECUTIONS = sa.select(*_EXECUTION_COLUMNS).where(executions_table.c.thing.in_(SOME), OPEN)
_NEWEST_EXECUTION = (
    sa.select(*_EXECUTION_COLUMNS)
    .where(executions_table.c.thing == NAMED, executions_table.c.job_id == sa.bindparam("of_job"))
    .order_by(executions_table.c.number.desc())
    .limit(1)
)
_EXECUTION = _NEWEST_EXECUTION.where(executions_table.c.number == _NUMBERED)
_SAVE_EXECUTION = executions_table.update().where(
    executions_table.c.order == sa.bindparam("saved"), executions_table.c.version == _NUMBERED
)
_LAST = (
    sa.select(executions_table.c.thing, sa.func.max(executions_table.c.number).label("last"))
    .where(executions_table.c.job_id == sa.bindparam("of_job"), executions_table.c.thing.in_(SOME))
    .group_by(executions_table.c.thing)
)
_ENDS = (
    sa.select(executions_table.c.thing, executions_table.c.attempt, executions_table.c.status)
    .where(executions_table.c.job_id == sa.bindparam("of_job"), executions_table.c.thing.in_(SOME))
    .order_by(executions_table.c.thing, executions_table.c.number)
)
_LATER = executions_table.alias("later")
_IS_NEWEST = ~(
    sa.select(_LATER.c.order)
    .where(
        _LATER.c.job_id == executions_table.c.job_id,
        _LATER.c.thing == executions_table.c.thing,
        _LATER.c.number > executions_table.c.number,
    )
    .exists()
)
_RECENT = executions_table.c.queued_at > sa.bindparam("since", type_=sa.BigInteger)
_TOLD = sa.select(
    sa.func.sum(sa.case((sa.and_(executions_table.c.attempt == 0, ~_RECENT), 1), else_=0)).label(
        "earlier"
    ),
    sa.func.sum(sa.case((_RECENT, 1), else_=0)).label("recent"),
    sa.func.min(sa.case((_RECENT, executions_table.c.queued_at))).label("oldest"),
).where(executions_table.c.job_id == NAMED)
_IS_OPEN = (
    sa.select(executions_table.c.order).where(executions_table.c.job_id == NAMED, OPEN).limit(1)
)


class StoreError(FleetError):
    """Two writers met."""


@dataclass(frozen=True)
class Told:
    """How many were told of a job: things until a moment, executions since, the first of these.

    `recent` counts second tries, too.
    """

    earlier: int
    recent: int
    oldest: int | None


@dataclass(frozen=True)
class Served:
    """Blocks served for one execution; `up_to` is the end of the furthest one in bytes."""

    blocks: int
    up_to: int


class ExecutionRows(Rows):
    """Executions."""

    def add_executions(
        self,
        job_id: str,
        things: Iterable[str],
        now: int,
        *,
        attempts: Mapping[str, int] | None = None,
        last: Mapping[str, int] | None = None,
    ) -> None:
        """Queue the job on each thing, behind everything that is queued there.

        attempts: how many times a thing has tried already; last: the number of its last execution.
        Both are 0 for things that are not in them.
        """
        queued = {
            "job_id": job_id,
            "status": aws.QUEUED,
            "details": {},
            "queued_at": now,
            "updated_at": now,
            "version": 1,
            "forced": False,
        }
        attempts, last = attempts or {}, last or {}
        rows = [
            {
                **queued,
                "thing": thing,
                "number": last.get(thing, 0) + 1,
                "attempt": attempts.get(thing, 0),
            }
            for thing in things
        ]
        self._connection.execute(executions_table.insert(), rows)

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
        self,
        job_id: str,
        *,
        statuses: Collection[str] | None = None,
        newest: bool = False,
        after: tuple[str, int] = ("", 0),
        limit: int,
    ) -> list[Execution]:
        """The job's executions by thing and number, those behind `after`.

        newest: of each thing the last one alone.
        """
        thing, number = executions_table.c.thing, executions_table.c.number
        conditions = [
            executions_table.c.job_id == job_id,
            sa.or_(thing > after[0], sa.and_(thing == after[0], number > after[1])),
        ]
        if statuses is not None:
            conditions.append(executions_table.c.status.in_(statuses))
        if newest:
            conditions.append(_IS_NEWEST)
        return self._executions(*conditions, limit=limit)

    def executions_on(
        self,
        thing: str,
        *,
        status: str | None = None,
        job_id: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[Execution]:
        """The thing's executions, newest first; those whose `order` is lower than `before`."""
        conditions = [executions_table.c.thing == thing]
        if status is not None:
            conditions.append(executions_table.c.status == status)
        if job_id is not None:
            conditions.append(executions_table.c.job_id == job_id)
        if before is not None:
            conditions.append(executions_table.c.order < before)
        query = sa.select(*_EXECUTION_COLUMNS).where(*conditions)
        rows = self._all(query.order_by(executions_table.c.order.desc()).limit(limit))
        return [Execution(**row) for row in rows]

    def last_numbers(self, job_id: str, things: Collection[str]) -> dict[str, int]:
        """The number of the last execution of the job on each of these things that has one."""
        return {row["thing"]: row["last"] for row in self._some(_LAST, things, of_job=job_id)}

    def ends_of(self, job_id: str, things: Collection[str]) -> dict[str, list[str]]:
        """The statuses of the job's executions on each thing since it was told, oldest first."""
        ends: dict[str, list[str]] = {thing: [] for thing in things}
        for row in self._some(_ENDS, things, of_job=job_id):
            if row["attempt"] == 0:
                ends[row["thing"]].clear()
            ends[row["thing"]].append(row["status"])
        return ends

    def told(self, job_id: str, since: int) -> Told:
        """How many were told of the job, until and after the moment `since`."""
        (row,) = self._all(_TOLD, named=job_id, since=since)
        return Told(row["earlier"] or 0, row["recent"] or 0, row["oldest"])

    def still_open(self, orders: Collection[int]) -> set[int]:
        """Those of these executions that have not ended."""
        query = sa.select(executions_table.c.order).where(executions_table.c.order.in_(SOME), OPEN)
        return {row["order"] for row in self._some(query, orders)}

    def is_open(self, job_id: str) -> bool:
        """Say whether any execution of the job has not ended."""
        return self._one(_IS_OPEN, named=job_id) is not None

    def counts_of(self, job_id: str) -> dict[str, int]:
        """The number of the job's executions in each status that one has."""
        query = (
            sa.select(executions_table.c.status, sa.func.count().label("count"))
            .where(executions_table.c.job_id == job_id)
            .group_by(executions_table.c.status)
        )
        return {row["status"]: row["count"] for row in self._all(query)}

    def overdue(self, now: int, *, limit: int) -> list[Execution]:
        """Executions one of whose timers has run out."""
        return self._executions(
            executions_table.c.status == "IN_PROGRESS",
            sa.or_(
                executions_table.c.progress_deadline <= now, executions_table.c.step_deadline <= now
            ),
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
        self._connection.execute(
            executions_table.delete().where(executions_table.c.order.in_(orders))
        )

    def delete_job(self, job_id: str) -> None:
        """Forget a job, its executions, none of which is open, and who waits for it."""
        for table in (executions_table, waiting_table, jobs_table):
            self._connection.execute(table.delete().where(table.c.job_id == job_id))

    def add_served(self, served: Mapping[int, Served]) -> None:
        """Count blocks that were served, by the `order` of their execution."""
        furthest = executions_table.c.served_bytes
        up_to = sa.bindparam("up_to", type_=sa.BigInteger)
        blocks = executions_table.c.served_blocks + sa.bindparam("blocks")
        self._connection.execute(
            executions_table.update()
            .where(executions_table.c.order == sa.bindparam("execution"))
            .values(
                served_blocks=blocks,
                served_bytes=sa.case((furthest < up_to, up_to), else_=furthest),
            ),
            [{"execution": order, **vars(counted)} for order, counted in served.items()],
        )

    def served(self, job_id: str) -> dict[str, Served]:
        """The served blocks for each thing of a job, of its last execution there."""
        query = (
            sa.select(
                executions_table.c.thing,
                executions_table.c.served_blocks,
                executions_table.c.served_bytes,
            )
            .where(executions_table.c.job_id == job_id)
            .order_by(executions_table.c.number)
        )
        return {
            row["thing"]: Served(row["served_blocks"], row["served_bytes"])
            for row in self._all(query)
        }

    def _executions(self, *conditions: sa.ColumnElement[bool], limit: int) -> list[Execution]:
        query = sa.select(*_EXECUTION_COLUMNS).where(*conditions)
        query = query.order_by(executions_table.c.thing, executions_table.c.number)
        return [Execution(**row) for row in self._all(query.limit(limit))]
