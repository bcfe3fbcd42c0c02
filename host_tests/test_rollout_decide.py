"""The engine of a rollout: who is told when, what ends it, and that it never sticks."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from twinslot.formats import aws
from twinslot.formats.aws import FAILED, IN_PROGRESS, QUEUED, REJECTED, SUCCEEDED, TIMED_OUT
from twinslot.service.rollout import decide as engine
from twinslot.service.rollout import plan as plans
from twinslot.service.rollout.cron import parse
from twinslot.service.rollout.decide import Decision, Facts, decide
from twinslot.service.rollout.plan import Abort, Growth, Plan, Rate, Retry
from twinslot.service.rollout.schedule import Phase, Schedule, Window

NOW = int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp())
HOUR = 3600
NIGHT = Window(parse("cron(0 22 ? * MON-FRI *)"), 240)


def counts(**numbers: int) -> Facts:
    return Facts(counts=numbers)


# Rates


def test_without_a_rate_all_things_are_told_at_once() -> None:
    assert decide(plans.SIMPLE, Facts(waiting=True), NOW) == Decision(tell=None)


def test_a_rate_tells_so_many_in_a_minute_and_the_next_when_the_first_is_a_minute_old() -> None:
    plan = Plan(Rate(10))
    first = decide(plan, Facts(waiting=True), NOW)
    assert (first.tell, first.due) == (10, NOW + 60)
    full = decide(plan, Facts(waiting=True, recent=10, oldest=NOW), NOW + 59)
    assert (full.tell, full.due) == (0, NOW + 60)
    part = decide(plan, Facts(waiting=True, recent=4, oldest=NOW), NOW + 59)
    assert (part.tell, part.due) == (6, NOW + 60)
    next_minute = decide(plan, Facts(waiting=True, earlier=10), NOW + 60)
    assert (next_minute.tell, next_minute.due) == (10, NOW + 120)


def test_a_rate_with_nobody_waiting_is_not_looked_at_again() -> None:
    assert decide(Plan(Rate(10)), Facts(), NOW).due is None


def test_a_rate_that_has_shrunk_waits() -> None:
    """UpdateJob may lower it below what was told in the last minute."""
    facts = Facts(waiting=True, recent=10, oldest=NOW)
    assert decide(Plan(Rate(5)), facts, NOW).tell == 0


def test_a_rate_does_not_grow_within_the_minute_that_it_fills() -> None:
    plan = Plan(Rate(100, Growth(2, Fraction(5), plans.NOTIFIED, 2)))
    assert decide(plan, Facts(waiting=True, recent=2, oldest=NOW), NOW).tell == 0
    assert decide(plan, Facts(waiting=True, earlier=2), NOW + 60).tell == 10


def test_a_rate_that_grows_begins_with_its_base() -> None:
    plan = Plan(Rate(100, Growth(2, Fraction(5), plans.NOTIFIED, 1)))
    first = decide(plan, Facts(waiting=True), NOW)
    assert (first.scheduled, first.tell) == (False, 2)


# Abort


@pytest.mark.compatibility("1", "abort criteria: of the executions that have ended, in their order")
@pytest.mark.parametrize(
    ("facts", "met"),
    [
        (counts(FAILED=20, SUCCEEDED=79), None),  # 99 have ended
        (counts(FAILED=20, SUCCEEDED=80), 0),
        (counts(FAILED=19, SUCCEEDED=81), None),
        (counts(FAILED=20, SUCCEEDED=80, QUEUED=500, IN_PROGRESS=500), 0),
        (counts(FAILED=20, SUCCEEDED=70, CANCELED=10, REMOVED=10), None),
        (counts(TIMED_OUT=100, SUCCEEDED=99), None),
        (counts(TIMED_OUT=100, SUCCEEDED=100), 1),
        (counts(REJECTED=50, FAILED=10, SUCCEEDED=40), None),
        (counts(), None),
    ],
)
def test_a_criterion_is_met_by_a_share_of_what_has_ended(facts: Facts, met: int | None) -> None:
    criteria = (Abort(FAILED, 20_00, 100), Abort(TIMED_OUT, 50_00, 200))
    decision = decide(Plan(aborts=criteria), facts, NOW)
    if met is None:
        assert not decision.stop
        assert decision.abort is None
    else:
        assert decision == Decision(
            abort=criteria[met], stop=True, cancel=frozenset({QUEUED}), tell=0
        )


def test_what_did_not_happen_meets_no_criterion() -> None:
    """Neither a failure of which nothing was counted, nor a share of no executions at all."""
    plan = Plan(aborts=(Abort(FAILED, 1, 1),))
    assert not decide(plan, counts(SUCCEEDED=1), NOW).stop
    assert not decide(plan, counts(SUCCEEDED=1, REJECTED=1, TIMED_OUT=1), NOW).stop
    assert not decide(Plan(aborts=(Abort(FAILED, 1, 0),)), counts(QUEUED=1), NOW).stop


@pytest.mark.parametrize(
    ("plan", "needed"),
    [
        (plans.SIMPLE, False),
        (Plan(Rate(10), retries=(Retry(FAILED, 2),)), False),
        (Plan(Rate(10, Growth(1, Fraction(2), plans.NOTIFIED, 1))), False),
        (Plan(Rate(10, Growth(1, Fraction(2), plans.SUCCEEDED, 1))), True),
        (Plan(aborts=(Abort(FAILED, 1, 1),)), True),
        (Plan(Rate(10), aborts=(Abort(FAILED, 1, 1),)), True),
    ],
)
def test_executions_are_counted_for_criteria_and_for_rates_that_grow_by_success(
    plan: Plan, needed: bool
) -> None:
    assert engine.needs_counts(plan) == needed


def test_all_counts_every_failure() -> None:
    plan = Plan(aborts=(Abort(plans.ALL, 100_00, 3),))
    assert decide(plan, counts(FAILED=1, REJECTED=1, TIMED_OUT=1), NOW).stop
    assert not decide(plan, counts(FAILED=1, REJECTED=1, TIMED_OUT=1, SUCCEEDED=1), NOW).stop


def test_a_share_is_counted_to_the_hundredth() -> None:
    plan = Plan(aborts=(Abort(FAILED, 10_99, 1),))
    assert decide(plan, counts(FAILED=1099, SUCCEEDED=8901), NOW).stop
    assert not decide(plan, counts(FAILED=1098, SUCCEEDED=8902), NOW).stop


def test_an_abort_says_what_was_counted() -> None:
    text = engine.told_of(Abort(plans.ALL, 10_50, 3), {FAILED: 1, REJECTED: 1, SUCCEEDED: 4})
    assert text == ("2 of 6 executions ended as ALL: the criterion is 10.5 percent of at least 3")


def test_an_abort_comes_before_a_start() -> None:
    """What the schedule says does not matter any more."""
    plan = Plan(Rate(10), (Abort(FAILED, 1, 1),), schedule=Schedule(start=NOW + HOUR))
    assert decide(plan, Facts(waiting=True, counts={FAILED: 1}), NOW).stop


# Retries


@pytest.mark.parametrize(
    ("retries", "history", "again"),
    [
        ((), [FAILED], False),
        ((Retry(FAILED, 0),), [FAILED], False),
        ((Retry(FAILED, 2),), [], False),
        ((Retry(FAILED, 2),), [FAILED], True),
        ((Retry(FAILED, 2),), [FAILED, FAILED], True),
        ((Retry(FAILED, 2),), [FAILED, FAILED, FAILED], False),
        ((Retry(FAILED, 2),), [TIMED_OUT], False),
        ((Retry(FAILED, 2),), [REJECTED], False),
        ((Retry(FAILED, 2),), [SUCCEEDED], False),
        ((Retry(FAILED, 2),), [aws.CANCELED], False),
        ((Retry(FAILED, 1), Retry(TIMED_OUT, 2)), [FAILED, TIMED_OUT, TIMED_OUT], True),
        ((Retry(FAILED, 1), Retry(TIMED_OUT, 2)), [FAILED, TIMED_OUT, FAILED], False),
        ((Retry(plans.ALL, 2),), [FAILED, TIMED_OUT], True),
        ((Retry(plans.ALL, 2),), [FAILED, TIMED_OUT, FAILED], False),
        ((Retry(plans.ALL, 2),), [FAILED, REJECTED], False),
    ],
)
def test_a_thing_tries_again_as_often_as_its_kind_of_failure_may(
    retries: tuple[Retry, ...], history: list[str], again: bool
) -> None:
    assert engine.tries_again(retries, history) == again


# Schedules


def test_nothing_is_told_before_the_start_nor_outside_a_window() -> None:
    before = decide(Plan(schedule=Schedule(start=NOW + HOUR)), Facts(waiting=True), NOW)
    assert before == Decision(scheduled=True, tell=0, due=NOW + HOUR)
    closed = decide(Plan(schedule=Schedule(windows=(NIGHT,))), Facts(waiting=True), NOW)
    assert closed == Decision(scheduled=True, tell=0, due=NOW + 10 * HOUR)
    opened = decide(Plan(schedule=Schedule(windows=(NIGHT,))), Facts(waiting=True), NOW + 10 * HOUR)
    assert opened == Decision(tell=None, due=NOW + 14 * HOUR)


def test_a_rate_is_looked_at_again_no_later_than_its_schedule() -> None:
    plan = Plan(Rate(1), schedule=Schedule(end=NOW + 30))
    assert decide(plan, Facts(waiting=True), NOW).due == NOW + 30


@pytest.mark.parametrize(
    ("behavior", "canceled"),
    [
        ("STOP_ROLLOUT", set()),
        ("CANCEL", {QUEUED}),
        ("FORCE_CANCEL", {QUEUED, IN_PROGRESS}),
    ],
)
def test_an_end_does_what_its_behavior_says(behavior: str, canceled: set[str]) -> None:
    plan = Plan(Rate(1), schedule=Schedule(end=NOW, behavior=behavior))
    decision = decide(plan, Facts(waiting=True), NOW)
    assert decision == Decision(stop=True, cancel=frozenset(canceled))


@pytest.mark.parametrize(
    ("continuous", "stopped", "waiting", "open_", "done"),
    [
        (False, False, False, False, True),
        (False, False, True, False, False),
        (False, False, False, True, False),
        (True, False, False, False, False),
        (True, True, False, False, True),
        (True, True, False, True, False),
    ],
)
def test_a_job_is_complete_when_nothing_can_follow(
    continuous: bool, stopped: bool, waiting: bool, open_: bool, done: bool
) -> None:
    assert done == engine.finished(
        continuous=continuous, stopped=stopped, waiting=waiting, open_=open_
    )


# All of it together


@dataclass
class Run:
    """One execution of the model. `told`: when it was queued."""

    thing: int
    told: int
    attempt: int
    status: str = QUEUED


@dataclass
class Model:
    """A job in memory, which does what is decided; `rollouts.py` does it in a database."""

    plan: Plan
    continuous: bool
    now: int = NOW
    status: str = IN_PROGRESS
    stopped: bool = False
    due: int | None = None
    waiting: list[tuple[int, int]] = field(default_factory=list)  # thing, attempt
    runs: list[Run] = field(default_factory=list)

    def facts(self) -> Facts:
        recent = [run.told for run in self.runs if run.told > self.now - 60]
        return Facts(
            waiting=bool(self.waiting),
            earlier=sum(run.attempt == 0 and run.told <= self.now - 60 for run in self.runs),
            recent=len(recent),
            oldest=min(recent, default=None),
            counts=Counter(run.status for run in self.runs),
        )

    def look(self) -> None:
        if self.status in (aws.CANCELED, "COMPLETED"):
            return
        decision = decide(self.plan, self.facts(), self.now)
        self.due = decision.due
        if decision.stop:
            self.stopped = True
            self.waiting.clear()
            for run in self.runs:
                if run.status in decision.cancel:
                    run.status = aws.CANCELED
        if decision.abort is not None:
            self.status = aws.CANCELED
            return
        self.status = "SCHEDULED" if decision.scheduled else IN_PROGRESS
        some = len(self.waiting) if decision.tell is None else decision.tell
        for thing, attempt in self.waiting[:some]:
            self.runs.append(Run(thing, self.now, attempt))
        del self.waiting[:some]
        open_ = any(run.status in aws.OPEN for run in self.runs)
        if engine.finished(
            continuous=self.continuous,
            stopped=self.stopped,
            waiting=bool(self.waiting),
            open_=open_,
        ):
            self.status, self.due = "COMPLETED", None

    def end(self, run: Run, status: str) -> None:
        run.status = status
        own = [other.status for other in self.runs if other.thing == run.thing]
        if (
            self.status in (IN_PROGRESS, "SCHEDULED")
            and not self.stopped
            and engine.aborts(self.plan.aborts, self.facts().counts or {}) is None
            and engine.tries_again(self.plan.retries, own[len(own) - 1 - run.attempt :])
        ):
            self.waiting.append((run.thing, run.attempt + 1))
        self.look()

    def pass_time(self, seconds: int) -> None:
        end = self.now + seconds
        while self.due is not None and self.due <= end:
            assert self.due > self.now
            self.now = self.due
            self.look()
        self.now = end


RATES = st.one_of(
    st.none(),
    st.builds(Rate, st.integers(1, 6)),
    st.builds(
        Rate,
        st.integers(4, 12),
        st.builds(
            Growth,
            st.integers(1, 3),
            st.sampled_from([Fraction(11, 10), Fraction(2), Fraction(5)]),
            st.sampled_from([plans.NOTIFIED, plans.SUCCEEDED]),
            st.integers(1, 5),
        ),
    ),
)
ABORTS = st.lists(
    st.builds(
        Abort,
        st.sampled_from([FAILED, REJECTED, TIMED_OUT, plans.ALL]),
        st.sampled_from([1, 33_33, 50_00, 100_00]),
        st.integers(1, 5),
    ),
    max_size=2,
).map(tuple)
RETRIES = st.one_of(
    st.just(()),
    st.builds(lambda a, b: (Retry(FAILED, a), Retry(TIMED_OUT, b)), *2 * [st.integers(0, 3)]),
    st.builds(lambda a: (Retry(plans.ALL, a),), st.integers(0, 3)),
)
SCHEDULES = st.builds(
    Schedule,
    st.one_of(st.none(), st.integers(NOW, NOW + 12 * HOUR)),
    st.one_of(st.none(), st.integers(NOW + 12 * HOUR, NOW + 72 * HOUR)),
    st.sampled_from(["STOP_ROLLOUT", "CANCEL", "FORCE_CANCEL"]),
    st.sampled_from([(), (), (NIGHT,)]),
)
ENDS = st.sampled_from([SUCCEEDED, SUCCEEDED, FAILED, REJECTED, TIMED_OUT])


class Rollouts(RuleBasedStateMachine):
    """Things report, time passes; the model does what is decided, and is held to the promises."""

    model: Model

    @initialize(
        rate=RATES,
        aborts=ABORTS,
        retries=RETRIES,
        schedule=SCHEDULES,
        continuous=st.booleans(),
        things=st.integers(1, 20),
    )
    def begin(
        self,
        rate: Rate | None,
        aborts: Any,
        retries: Any,
        schedule: Schedule,
        continuous: bool,
        things: int,
    ) -> None:
        self.model = Model(Plan(rate, aborts, retries, schedule), continuous)
        self.model.waiting = [(thing, 0) for thing in range(things)]
        self.things = things
        self.model.look()

    def running(self) -> bool:
        return self.model.status not in (aws.CANCELED, "COMPLETED")

    @rule(seconds=st.sampled_from([1, 10, 59, 60, 61, 600, HOUR, 10 * HOUR]))
    def time_passes(self, seconds: int) -> None:
        before = {id(run) for run in self.model.runs}
        self.model.pass_time(seconds)
        for run in self.model.runs:
            if id(run) not in before:
                assert self.model.plan.schedule.phase(run.told) is Phase.OPEN

    @precondition(lambda self: any(run.status in aws.OPEN for run in self.model.runs))
    @rule(which=st.integers(0, 99), status=ENDS)
    def a_thing_reports(self, which: int, status: str) -> None:
        open_ = [run for run in self.model.runs if run.status in aws.OPEN]
        self.model.end(open_[which % len(open_)], status)

    @precondition(lambda self: any(run.status == QUEUED for run in self.model.runs))
    @rule(which=st.integers(0, 99))
    def a_thing_begins(self, which: int) -> None:
        queued = [run for run in self.model.runs if run.status == QUEUED]
        queued[which % len(queued)].status = IN_PROGRESS

    @precondition(lambda self: self.model.continuous and self.running())
    @rule()
    def a_thing_joins(self) -> None:
        if not self.model.stopped:
            self.model.waiting.append((self.things, 0))
            self.things += 1
            self.model.look()

    @invariant()
    def no_minute_has_more_than_the_rate(self) -> None:
        rate = self.model.plan.rate
        if rate is not None:
            times = sorted(run.told for run in self.model.runs)
            for first, beyond in zip(times, times[rate.maximum :], strict=False):
                assert beyond - first >= 60

    @invariant()
    def no_thing_has_two_executions_at_once(self) -> None:
        open_ = Counter(run.thing for run in self.model.runs if run.status in aws.OPEN)
        waiting = Counter(thing for thing, _ in self.model.waiting)
        assert all(count == 1 for count in (open_ + waiting).values())

    @invariant()
    def no_thing_is_lost(self) -> None:
        known = {run.thing for run in self.model.runs} | {one for one, _ in self.model.waiting}
        assert self.model.stopped or known == set(range(self.things))

    @invariant()
    def no_thing_tries_more_often_than_it_may(self) -> None:
        most = sum(retry.times for retry in self.model.plan.retries)
        assert all(run.attempt <= most for run in self.model.runs)

    @invariant()
    def a_criterion_that_is_met_has_ended_the_job(self) -> None:
        met = engine.aborts(self.model.plan.aborts, self.model.facts().counts or {})
        if met is not None and self.running():
            raise AssertionError(f"{met} is met, and the job goes on")
        if self.model.status == aws.CANCELED:
            assert not self.model.waiting
            assert all(run.status != QUEUED for run in self.model.runs)

    @invariant()
    def whoever_waits_is_looked_at_again(self) -> None:
        if self.model.waiting:
            assert self.model.due is not None
            assert self.model.due > self.model.now

    @invariant()
    def looking_once_more_changes_nothing(self) -> None:
        if self.running():
            decision = decide(self.model.plan, self.model.facts(), self.model.now)
            assert decision.tell == 0 or not self.model.waiting
            assert not decision.stop or self.model.stopped
            assert (self.model.status == "SCHEDULED") == decision.scheduled

    def teardown(self) -> None:
        """Everything succeeds from now on: the job ends, or waits for other things to join."""
        if not hasattr(self, "model"):
            return
        for _ in range(1000):
            open_ = [run for run in self.model.runs if run.status in aws.OPEN]
            if open_:
                self.model.end(open_[0], SUCCEEDED)
            elif self.model.waiting:
                assert self.model.due is not None
                self.model.pass_time(self.model.due - self.model.now)
            else:
                break
        assert not self.model.waiting
        if self.running():
            assert self.model.continuous
            end = self.model.plan.schedule.end
            assert end is None or end > self.model.now


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
