"""The job state machine: what may follow what, and who hears of it."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from twinslot.formats import aws
from twinslot.formats.aws import (
    CANCELED,
    FAILED,
    IN_PROGRESS,
    QUEUED,
    REJECTED,
    SUCCEEDED,
    TIMED_OUT,
)
from twinslot.service import states

NOW = 1_700_000_000


def queued(job: str = "job-1", order: int = 1) -> states.Execution:
    return states.Execution(job, "board-1", order, NOW, NOW)


def running(job: str = "job-1", order: int = 1) -> states.Execution:
    return states.update(queued(job, order), IN_PROGRESS, NOW)


def code_of(error: pytest.ExceptionInfo[states.JobError]) -> str:
    return error.value.code


@pytest.mark.parametrize("status", sorted(aws.REPORTABLE))
def test_a_device_may_report_each_of_its_states_from_queued_and_from_in_progress(
    status: str,
) -> None:
    for before in (queued(), running()):
        after = states.update(before, status, NOW + 5)
        assert after.status == status
        assert after.version == before.version + 1
        assert after.updated_at == NOW + 5


@pytest.mark.parametrize("status", [QUEUED, CANCELED, TIMED_OUT, aws.REMOVED, "", "READY"])
def test_a_device_cannot_report_another_state(status: str) -> None:
    with pytest.raises(states.JobError) as error:
        states.update(running(), status, NOW)
    assert code_of(error) == states.INVALID_REQUEST


@pytest.mark.compatibility("1", "nothing leaves a terminal state")
@pytest.mark.parametrize("terminal", sorted(aws.TERMINAL))
def test_nothing_leaves_a_terminal_state(terminal: str) -> None:
    ended = replace(running(), status=terminal)
    attempts: list[Callable[[], states.Execution]] = [
        lambda: states.update(ended, SUCCEEDED, NOW),
        lambda: states.start(ended, NOW),
        lambda: states.cancel(ended, NOW, force=True),
        lambda: states.update(ended, SUCCEEDED, NOW, expected_version=99),
    ]
    for attempt in attempts:
        with pytest.raises(states.JobError) as error:
            attempt()
        assert code_of(error) == states.INVALID_TRANSITION
        assert error.value.execution == ended
    assert states.time_out(replace(ended, step_deadline=1), NOW).status == terminal


def test_a_job_failed_straight_from_the_queue_has_started_when_it_ended() -> None:
    failed = states.update(queued(), FAILED, NOW + 9)
    assert (failed.version, failed.started_at, failed.updated_at) == (2, NOW + 9, NOW + 9)


def test_started_at_is_the_first_start() -> None:
    assert states.update(running(), IN_PROGRESS, NOW + 50).started_at == NOW


def test_details_are_replaced_when_given_and_kept_when_not() -> None:
    first = states.update(queued(), IN_PROGRESS, NOW, details={"receive": "1/9"})
    kept = states.update(first, IN_PROGRESS, NOW)
    assert kept.details == {"receive": "1/9"}
    second = states.update(kept, IN_PROGRESS, NOW, details={"self_test": "ready"})
    assert second.details == {"self_test": "ready"}
    assert states.update(second, SUCCEEDED, NOW, details={}).details == {}


def test_another_expected_version_changes_nothing() -> None:
    with pytest.raises(states.JobError) as error:
        states.update(running(), SUCCEEDED, NOW, expected_version=1)
    assert code_of(error) == states.VERSION_MISMATCH
    assert error.value.execution == running()
    assert states.update(running(), SUCCEEDED, NOW, expected_version=2).status == SUCCEEDED


def test_start_next_starts_what_is_queued_and_leaves_what_is_started() -> None:
    started = states.start(queued(), NOW + 1, details={"phase": "begin"}, step_minutes=2)
    assert (started.status, started.version) == (IN_PROGRESS, 2)
    assert started.details == {"phase": "begin"}
    assert started.step_deadline == NOW + 121
    again = states.start(started, NOW + 9, details={"phase": "other"}, step_minutes=5)
    assert again == replace(started, step_deadline=NOW + 9 + 300)


@pytest.mark.compatibility(
    "1", "an operator cancels what is QUEUED, and with `force` what is IN_PROGRESS"
)
def test_an_operator_cancels_what_is_queued_and_with_force_what_runs() -> None:
    assert states.cancel(queued(), NOW).status == CANCELED
    with pytest.raises(states.JobError) as error:
        states.cancel(running(), NOW)
    assert code_of(error) == states.INVALID_TRANSITION
    forced = states.cancel(running(), NOW, force=True, details={"why": "recalled"})
    assert (forced.status, forced.forced, forced.version) == (CANCELED, True, 3)
    assert forced.details == {"why": "recalled"}
    with pytest.raises(states.JobError) as error:
        states.cancel(queued(), NOW, expected_version=7)
    assert code_of(error) == states.VERSION_MISMATCH


def test_the_time_limit_of_a_job_starts_with_in_progress_and_is_never_extended() -> None:
    first = states.update(queued(), IN_PROGRESS, NOW, progress_minutes=10)
    assert first.progress_deadline == NOW + 600
    second = states.update(first, IN_PROGRESS, NOW + 500, progress_minutes=10)
    assert second.progress_deadline == NOW + 600
    assert states.time_out(second, NOW + 599) == second
    over = states.time_out(second, NOW + 600)
    assert (over.status, over.version, over.deadline) == (TIMED_OUT, 4, None)


def test_a_step_timer_is_replaced_cancelled_and_ends_with_the_job() -> None:
    first = states.update(queued(), IN_PROGRESS, NOW, step_minutes=1, progress_minutes=10)
    assert first.deadline == NOW + 60
    later = states.update(first, IN_PROGRESS, NOW + 30, step_minutes=2)
    assert later.step_deadline == NOW + 150
    assert states.update(later, IN_PROGRESS, NOW + 40).step_deadline == NOW + 150
    none = states.update(later, IN_PROGRESS, NOW + 40, step_minutes=aws.NO_STEP_TIMEOUT)
    assert none.deadline == NOW + 600
    assert states.update(later, SUCCEEDED, NOW + 40).deadline is None
    assert states.cancel(later, NOW + 40, force=True).deadline is None


def test_the_one_in_progress_comes_first_then_the_oldest_queued() -> None:
    a, b, c = queued("a", 1), queued("b", 2), running("c", 3)
    ended = states.update(queued("d", 0), SUCCEEDED, NOW)
    assert [e.job_id for e in states.pending([b, ended, c, a])] == ["c", "a", "b"]


@pytest.mark.compatibility(
    "1", "`notify` when the list changes, `notify-next` when another job is first"
)
def test_who_is_told_what() -> None:
    a, b = queued("a", 1), queued("b", 2)
    started = states.update(a, IN_PROGRESS, NOW)
    overtaking = [states.update(b, IN_PROGRESS, NOW), a]
    for before, after, by_list, by_next in (
        ([], [a], True, True),
        ([a], [a, b], True, False),
        ([a], [started], False, False),
        ([started], [states.update(started, IN_PROGRESS, NOW)], False, False),
        ([a, b], overtaking, False, True),
        ([a, b], [b], True, True),
        ([a, b], [a], True, False),
        ([a], [], True, True),
        ([], [], False, False),
        ([a], [replace(a, number=2)], True, True),
    ):
        assert states.list_changed(before, after) is by_list
        assert states.next_changed(before, after) is by_next


@pytest.mark.compatibility("1", "statusDetails within AWS's limits are taken, others refused")
@pytest.mark.parametrize(
    "details",
    [
        {"reason": "accepted v1.1.0"},
        {"a:b_c-9": "ü" * 1024},
        {str(n): "x" for n in range(10)},
        {"k" * 128: "v"},
        {},
    ],
)
def test_details_within_the_limits_are_taken(details: dict[str, str]) -> None:
    assert states.check_details(details) == details


@pytest.mark.compatibility("1", "statusDetails within AWS's limits are taken, others refused")
@pytest.mark.parametrize(
    "details",
    [
        {str(n): "x" for n in range(11)},
        {"": "v"},
        {"k" * 129: "v"},
        {"a b": "v"},
        {"a.b": "v"},
        {"key": ""},
        {"key": "v" * 1025},
        {"key": "line\nline"},
        {"key": "\x7f"},
        {"key": "\ud800"},
        {"key": 7},
        {"key": None},
        {"key": {}},
        [],
        "text",
        None,
    ],
)
def test_details_outside_the_limits_are_refused(details: Any) -> None:
    with pytest.raises(states.JobError) as error:
        states.check_details(details)
    assert code_of(error) == states.INVALID_REQUEST


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_any_details_are_taken_whole_or_refused(details: Any) -> None:
    try:
        assert states.check_details(details) == details
    except states.JobError as error:
        assert error.code == states.INVALID_REQUEST  # noqa: PT017 - refusing is one of two answers


class Queue(RuleBasedStateMachine):
    """Any number of jobs on one thing, anything anybody may try, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.all: list[states.Execution] = []

    @rule()
    def add(self) -> None:
        self.all.append(queued(f"job-{len(self.all)}", len(self.all)))

    @rule(
        index=st.integers(0, 5),
        status=st.sampled_from(sorted(aws.OPEN | aws.TERMINAL)),
        minutes=st.sampled_from([None, -1, 1, 9]),
        off=st.sampled_from([None, 0, 1]),
    )
    def report(self, index: int, status: str, minutes: int | None, off: int | None) -> None:
        self._try(
            index,
            lambda e: states.update(
                e,
                status,
                self.now,
                step_minutes=minutes,
                progress_minutes=5,
                expected_version=None if off is None else e.version + off,
            ),
        )

    @rule(index=st.integers(0, 5), force=st.booleans())
    def cancel(self, index: int, force: bool) -> None:
        self._try(index, lambda e: states.cancel(e, self.now, force=force))

    @rule(minutes=st.integers(0, 6))
    def wait(self, minutes: int) -> None:
        self.now += 60 * minutes
        for index in range(len(self.all)):
            self._try(index, lambda e: states.time_out(e, self.now))

    def _try(self, index: int, change: Any) -> None:
        if index >= len(self.all):
            return
        before = self.all[index]
        queue_before = states.pending(self.all)
        try:
            after: states.Execution = change(before)
        except states.JobError as error:
            refused = (states.INVALID_REQUEST, states.INVALID_TRANSITION, states.VERSION_MISMATCH)
            assert error.code in refused  # noqa: PT017 - refusing is one of two answers
            return
        self.all[index] = after
        if after == before:
            return
        assert not before.terminal
        assert after.identity == before.identity
        assert after.version == before.version + 1
        assert after.status != QUEUED
        assert after.updated_at == self.now
        left = after.terminal
        assert states.list_changed(queue_before, states.pending(self.all)) is left

    @invariant()
    def open_ones_and_only_they_are_pending(self) -> None:
        waiting = states.pending(self.all)
        assert {e.job_id for e in waiting} == {e.job_id for e in self.all if not e.terminal}
        assert not any(
            first.status == QUEUED and second.status == IN_PROGRESS
            for first, second in itertools.pairwise(waiting)
        )

    @invariant()
    def timers_run_only_while_in_progress(self) -> None:
        assert all(e.deadline is None or e.status == IN_PROGRESS for e in self.all)


TestQueue = Queue.TestCase


def test_rejected_is_possible_from_in_progress() -> None:
    assert states.update(running(), REJECTED, NOW).terminal
