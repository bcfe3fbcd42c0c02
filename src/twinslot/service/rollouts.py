"""Jobs on their way to things: does what `rollout/decide.py` decides, one transaction at a time.

Whatever ends an execution comes through here, since much may follow from it: a retry, the end of
the whole job, room for others. All of it is in the transaction of its cause. What waits for a time
waits in the database (`due_at`), so that a service that was killed goes on where it was.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.service import states
from twinslot.service.executions import PAGE, Executions
from twinslot.service.membership import is_target
from twinslot.service.names import Names
from twinslot.service.rollout import decide as engine
from twinslot.service.rollout import plan as plans
from twinslot.service.rollout.decide import Decision, Facts
from twinslot.service.rollout.plan import Plan
from twinslot.service.rollout.schedule import Phase
from twinslot.service.rows.base import batches
from twinslot.service.rows.jobs import Job
from twinslot.service.states import Execution
from twinslot.service.store import Store, Transaction

JOB_RUNNING = "IN_PROGRESS"
JOB_SCHEDULED = "SCHEDULED"
JOB_COMPLETED = "COMPLETED"
JOB_CANCELED = "CANCELED"
GOING_ON = frozenset({JOB_RUNNING, JOB_SCHEDULED})
"""The states of a job that has not ended."""

_log = logging.getLogger(__name__)


class Rollouts:
    """The course of jobs. All times are Unix seconds."""

    def __init__(self, executions: Executions, names: Names) -> None:
        self.executions = executions
        self._names = names

    # What happens to a job

    def begin(self, transaction: Transaction, job: Job, things: Sequence[str]) -> Job:
        """Add a job whose id is new, and queue it on as many things as its plan allows now."""
        plan, now = plans.read(job.plan), job.created_at
        decision = engine.decide(plan, Facts(waiting=bool(things)), now)
        job = _after(job, decision, now)
        transaction.add_job(job)
        if decision.stop:
            return self._stop(transaction, job, decision, {}, now)
        some = things if decision.tell is None else things[: decision.tell]
        self.executions.queue(transaction, job.job_id, dict.fromkeys(some, 0), now)
        for few in batches(things[len(some) :], PAGE):
            transaction.add_waiting(job.job_id, dict.fromkeys(few, 0))
        return self._completed(transaction, job, now)

    def change(self, transaction: Transaction, job: Job, now: int) -> Job:
        """Write a job whose plan is another one, which counts at once."""
        transaction.save_job(job)
        return self._look(transaction, job, now)

    def cancel(self, transaction: Transaction, job: Job, now: int, *, force: bool) -> None:
        """End a job, with the executions that have not begun, and with `force` all open ones."""
        transaction.forget_waiting(job.job_id)
        transaction.save_job(
            replace(job, status=JOB_CANCELED, stopped=True, completed_at=now, due_at=None)
        )
        self.executions.cancel(transaction, job, now, force=force)

    def add_targets(
        self, transaction: Transaction, job: Job, things: Collection[str], now: int
    ) -> None:
        """Send a continuous job to things that have become targets.

        It does not run on a thing on which it is open or waits. Others are told at once, if the
        schedule is open: AWS's rates are for the things that were there when the job was made.
        """
        if job.stopped:
            return
        busy = transaction.waiting_of(job.job_id, things)
        for thing, pending in transaction.open_executions(things).items():
            if any(execution.job_id == job.job_id for execution in pending):
                busy.add(thing)
        joined = dict.fromkeys((thing for thing in things if thing not in busy), 0)
        if not joined:
            return
        if plans.read(job.plan).schedule.phase(now) is Phase.OPEN:
            self._tell(transaction, job, joined, now)
        else:
            transaction.add_waiting(job.job_id, joined)

    def remove_targets(
        self, transaction: Transaction, job: Job, things: Collection[str], now: int
    ) -> None:
        """Take a job from things that are no targets any more, where it has not begun."""
        transaction.forget_waiting(job.job_id, things)
        with self.executions.notifying(transaction, things, now):
            queued = [
                execution
                for pending in transaction.open_executions(things).values()
                for execution in pending
                if execution.job_id == job.job_id and execution.status == aws.QUEUED
            ]
            if queued:
                transaction.save_all((one, states.remove(one, now)) for one in queued)
        self.settle(transaction, job.job_id, now)

    def remove_thing(self, transaction: Transaction, thing: str, now: int) -> None:
        """Take all jobs from a thing that is gone; it is told."""
        waited = transaction.stop_waiting(thing)
        found = transaction.open_executions([thing])[thing]
        with self.executions.notifying(transaction, [thing], now):
            self.save(transaction, [(one, states.remove(one, now)) for one in found], now)
        for job_id in waited:
            self.settle(transaction, job_id, now)

    # What happens to executions

    def save(
        self, transaction: Transaction, changed: Iterable[tuple[Execution, Execution]], now: int
    ) -> None:
        """Write executions, each as it was read and as it is now, with all that follows.

        Raises StoreError if one is not as it was read any more.
        """
        changed = list(changed)
        if changed:
            transaction.save_all(changed)
        ended: dict[str, list[Execution]] = {}
        for _, after in changed:
            if after.terminal:
                ended.setdefault(after.job_id, []).append(after)
        for job_id, ends in ended.items():
            self.settle(transaction, job_id, now, ends)

    def settle(
        self, transaction: Transaction, job_id: str, now: int, ends: Sequence[Execution] = ()
    ) -> None:
        """Do what follows for a job from the ends of some of its executions."""
        job = transaction.job(job_id)
        if job is None or job.status not in GOING_ON:
            return
        plan = plans.read(job.plan)
        if not job.stopped and (plan.retries or engine.needs_counts(plan)):
            self._look(transaction, job, now, ends)
        else:
            self._completed(transaction, job, now)

    # What time does

    def tick(self, store: Store, now: int) -> None:
        """Do what is due: executions whose timers have run out, and jobs on their way."""
        with store.read() as transaction:
            overdue = bool(transaction.overdue(now, limit=1))
            due = transaction.jobs_due(now)
        if overdue:
            self._time_out(store, now)
        for job_id in due:
            try:
                with store.write() as transaction:
                    job = transaction.job(job_id)
                    if job is not None and job.due_at is not None and job.due_at <= now:
                        self._look(transaction, job, now)
            except FleetError as error:  # one job must not be in the way of the others
                _log.error("job %s does not go on: %s", job_id, error)

    def _time_out(self, store: Store, now: int) -> None:
        found = PAGE
        while found == PAGE:
            with store.write() as transaction:
                overdue = transaction.overdue(now, limit=PAGE)
                things = list(dict.fromkeys(one.thing for one in overdue))
                with self.executions.notifying(transaction, things, now):
                    ended = ((one, states.time_out(one, now)) for one in overdue)
                    self.save(transaction, ended, now)
            found = len(overdue)

    # The work of a moment

    def _look(
        self, transaction: Transaction, job: Job, now: int, ends: Sequence[Execution] = ()
    ) -> Job:
        """Do what is to be done for a job now."""
        if job.status not in GOING_ON:
            return job
        plan = plans.read(job.plan)
        counts = transaction.counts_of(job.job_id) if engine.needs_counts(plan) else {}
        if plan.retries and not job.stopped and engine.aborts(plan.aborts, counts) is None:
            self._retry(transaction, job, plan, ends)
        decision = engine.decide(plan, _facts(transaction, job, plan, counts, now), now)
        if decision.stop:
            return self._stop(transaction, job, decision, counts, now)
        before, job = job, _after(job, decision, now)
        if decision.tell != 0:
            most = PAGE if decision.tell is None else min(PAGE, decision.tell)
            attempts = transaction.next_waiting(job.job_id, most)
            if attempts:
                transaction.forget_waiting(job.job_id, attempts)
                self._tell(transaction, job, attempts, now)
            if most == PAGE == len(attempts):
                job = replace(job, due_at=now)  # the rest is for the next transaction
        if job != before:
            transaction.save_job(job)
        return self._completed(transaction, job, now)

    def _tell(self, transaction: Transaction, job: Job, attempts: dict[str, int], now: int) -> None:
        last = transaction.last_numbers(job.job_id, attempts)
        self.executions.queue(transaction, job.job_id, attempts, now, last=last)

    def _retry(
        self, transaction: Transaction, job: Job, plan: Plan, ends: Sequence[Execution]
    ) -> None:
        """Let those wait that are to try again; on AWS no thing does that has left the targets."""
        for few in batches(ends, PAGE):
            histories = transaction.ends_of(job.job_id, [one.thing for one in few])
            again = [one for one in few if engine.tries_again(plan.retries, histories[one.thing])]
            if job.continuous:
                again = [
                    one
                    for one in again
                    if is_target(transaction, self._names, one.thing, job.targets)
                ]
            attempts = {one.thing: one.attempt + 1 for one in again}
            transaction.add_waiting(job.job_id, attempts)

    def _stop(
        self,
        transaction: Transaction,
        job: Job,
        decision: Decision,
        counts: dict[str, int],
        now: int,
    ) -> Job:
        """End the rollout of a job, by a criterion or by its schedule."""
        transaction.forget_waiting(job.job_id)
        job = replace(job, stopped=True, due_at=None, updated_at=now)
        if decision.abort is not None:
            job = replace(
                job,
                status=JOB_CANCELED,
                completed_at=now,
                reason_code=engine.ABORTED,
                comment=engine.told_of(decision.abort, counts),
            )
        transaction.save_job(job)
        if decision.cancel:
            self.executions.cancel(transaction, job, now, force=aws.IN_PROGRESS in decision.cancel)
        return self._completed(transaction, job, now)

    def _completed(self, transaction: Transaction, job: Job, now: int) -> Job:
        """The job, which is COMPLETED where nothing can follow."""
        if job.status not in GOING_ON or (job.continuous and not job.stopped):
            return job
        done = engine.finished(
            continuous=job.continuous,
            stopped=job.stopped,
            waiting=bool(job.plan) and transaction.waits(job.job_id),
            open_=transaction.is_open(job.job_id),
        )
        if done:
            job = replace(job, status=JOB_COMPLETED, updated_at=now, completed_at=now, due_at=None)
            transaction.save_job(job)
        return job


def _after(job: Job, decision: Decision, now: int) -> Job:
    status = JOB_SCHEDULED if decision.scheduled else JOB_RUNNING
    updated = job.updated_at if status == job.status else now
    return replace(job, status=status, due_at=decision.due, updated_at=updated)


def _facts(
    transaction: Transaction, job: Job, plan: Plan, counts: dict[str, int], now: int
) -> Facts:
    waiting = transaction.waits(job.job_id)
    if plan.rate is None or not waiting:
        return Facts(waiting=waiting, counts=counts)
    told = transaction.told(job.job_id, now - engine.MINUTE)
    return Facts(waiting, told.earlier, told.recent, told.oldest, counts)
