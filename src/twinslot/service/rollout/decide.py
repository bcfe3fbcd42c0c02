"""The work of a job at one moment: facts and the time in, a decision out. Pure.

A job is looked at when it is made, when an execution of it ends, and when its `due` has come. The
decision depends on the facts and the time alone, so that looking once more changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twinslot.formats import aws
from twinslot.service.rollout.plan import ALL, SUCCEEDED, Abort, Plan, Retry
from twinslot.service.rollout.schedule import CANCEL, FORCE_CANCEL, Phase

MINUTE = 60  # seconds
ABORTED = "ABORT_CRITERIA_MET"
"""The reason code of a job that was ended by a criterion."""

_FAILURES = (aws.FAILED, aws.REJECTED, aws.TIMED_OUT)
_EXECUTED = (aws.SUCCEEDED, *_FAILURES)


@dataclass(frozen=True)
class Facts:
    """A job that has not ended, at one moment.

    waiting: some things are to be told yet; earlier: things that were told more than a minute ago,
    so that a rate does not grow within the minute that it fills; recent: executions that were
    queued since; oldest: when the first of these was; counts: executions by status, of which a plan
    without criteria needs none.
    """

    waiting: bool = False
    earlier: int = 0
    recent: int = 0
    oldest: int | None = None
    counts: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Decision:
    """The work of a moment.

    scheduled: nothing is sent now; abort: the criterion that ends the job; stop: the rollout is
    over, and `cancel` says which executions end with it; tell: how many of the waiting things are
    told, None: all; due: when the job is to be looked at again, None: when something happens.
    """

    scheduled: bool = False
    abort: Abort | None = None
    stop: bool = False
    cancel: frozenset[str] = frozenset()
    tell: int | None = 0
    due: int | None = None


def decide(plan: Plan, facts: Facts, now: int) -> Decision:
    """Return the work of this moment, for a job that neither was canceled nor is complete."""
    met = aborts(plan.aborts, facts.counts or {})
    if met is not None:
        return Decision(abort=met, stop=True, cancel=frozenset({aws.QUEUED}))
    phase = plan.schedule.phase(now)
    if phase is Phase.ENDED:
        return Decision(stop=True, cancel=_canceled(plan.schedule.behavior))
    change = plan.schedule.next_change(now)
    if phase is Phase.SCHEDULED:
        return Decision(scheduled=True, due=change)
    if plan.rate is None or not facts.waiting:
        return Decision(tell=None, due=change)
    succeeded = (facts.counts or {}).get(aws.SUCCEEDED, 0)
    room = max(0, plan.rate.per_minute(facts.earlier, succeeded) - facts.recent)
    # As soon as the oldest is a minute old, there is room for others.
    again = (now if facts.oldest is None else facts.oldest) + MINUTE
    return Decision(tell=room, due=min([again] if change is None else [again, change]))


def needs_counts(plan: Plan) -> bool:
    """Say whether a decision depends on how executions have ended."""
    growth = plan.rate.growth if plan.rate is not None else None
    return bool(plan.aborts) or (growth is not None and growth.criterion == SUCCEEDED)


def aborts(criteria: Sequence[Abort], counts: Mapping[str, int]) -> Abort | None:
    """The first criterion that is met, in the order in which they were given.

    Executions count that have ended with a report or a timeout, retries too; what was canceled or
    removed was not executed.
    """
    executed = sum(counts.get(status, 0) for status in _EXECUTED)
    for criterion in criteria:
        kinds = _FAILURES if criterion.failure == ALL else (criterion.failure,)
        failed = sum(counts.get(status, 0) for status in kinds)
        if executed >= criterion.least and failed * 100_00 >= criterion.hundredths * executed > 0:
            return criterion
    return None


def told_of(criterion: Abort, counts: Mapping[str, int]) -> str:
    """The comment of a job that a criterion has ended."""
    kinds = _FAILURES if criterion.failure == ALL else (criterion.failure,)
    failed = sum(counts.get(status, 0) for status in kinds)
    executed = sum(counts.get(status, 0) for status in _EXECUTED)
    percent = f"{criterion.hundredths / 100:g}"
    return (
        f"{failed} of {executed} executions ended as {criterion.failure}: the criterion is "
        f"{percent} percent of at least {criterion.least}"
    )


def tries_again(retries: Sequence[Retry], history: Sequence[str]) -> bool:
    """Say whether a thing is to try again, after these ends of its executions, the last one last.

    history: since it was told of the job; each end but the last one was followed by a retry.
    """
    if not history or history[-1] not in (aws.FAILED, aws.TIMED_OUT):
        return False
    for retry in retries:
        if retry.failure == ALL:
            return len(history) <= retry.times
        if retry.failure == history[-1]:
            return list(history).count(history[-1]) <= retry.times
    return False


def finished(*, continuous: bool, stopped: bool, waiting: bool, open_: bool) -> bool:
    """Say whether a job is COMPLETED. stopped: its rollout is over for good."""
    return not waiting and not open_ and (stopped or not continuous)


def _canceled(behavior: str) -> frozenset[str]:
    if behavior == FORCE_CANCEL:
        return aws.OPEN
    return frozenset({aws.QUEUED}) if behavior == CANCEL else frozenset()
