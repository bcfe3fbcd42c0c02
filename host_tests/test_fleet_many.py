"""Jobs of many boards: the number of statements follows from pages, not from boards."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_world import NOW, World, statements

from twinslot.formats import aws
from twinslot.service import rollouts
from twinslot.service.executions import PAGE
from twinslot.service.rows.jobs import Job
from twinslot.service.store import Transaction

MANY = 2 * PAGE + 1


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    made = World(tmp_path, database)
    yield made
    made.store.close()


def named(count: int, start: str = "board") -> list[str]:
    return [f"{start}-{number:04}" for number in range(count)]


def queued(world: World, job_id: str, things: list[str], minutes: int | None = None) -> Job:
    """A job on things that are made for it, told by the service itself."""
    job = Job(job_id, '{"a": 1}', None, things, None, minutes, "IN_PROGRESS", NOW, NOW)
    world.things(*things)
    with world.store.write() as transaction:
        world.rollouts.begin(transaction, job, things)
    return job


def topics(world: World) -> list[str]:
    """The topics of all messages since the last call, in their order."""
    found: list[str] = []
    while sent := world.sent():
        found += [topic for topic, _ in sent]
    return found


def count(transaction: Transaction, job: Job) -> dict[str, int]:
    return transaction.counts_of(job.job_id)


def test_every_board_of_a_large_job_is_told_in_the_order_of_the_targets(world: World) -> None:
    things = named(MANY)
    queued(world, "job-1", things)
    assert topics(world) == [
        aws.topic(thing, f"jobs/{kind}") for thing in things for kind in ("notify", "notify-next")
    ]
    queued(world, "job-2", ["board-new"])
    with world.store.write() as transaction:
        job = transaction.job("job-2")
        assert job is not None
        world.rollouts.begin(transaction, replace(job, job_id="job-3"), things[:2])
    notified = [topic for topic in topics(world) if things[0] in topic or things[1] in topic]
    assert notified == [aws.topic(thing, "jobs/notify") for thing in things[:2]], (
        "their first job is still the one before"
    )


def test_a_page_of_boards_costs_as_many_statements_as_one(world: World) -> None:
    def sent(size: int) -> int:
        things = named(size, f"of-{size}")
        job = queued_statements(world, things)
        with statements() as ended, world.store.write() as transaction:
            world.executions.cancel(transaction, job[0], NOW, force=True)
        return job[1] + len(ended)

    one, page = sent(1), sent(PAGE)
    # A page's end is found by looking for another one.
    assert page <= one + 4


def queued_statements(world: World, things: list[str]) -> tuple[Job, int]:
    world.things(*things)
    job = Job(f"job-{len(things)}", "{}", None, things, None, None, "IN_PROGRESS", NOW, NOW)
    with statements() as sent, world.store.write() as transaction:
        world.rollouts.begin(transaction, job, things)
    return job, len(sent)


@pytest.mark.parametrize("force", [False, True])
def test_a_cancelled_job_leaves_open_what_had_begun_unless_it_is_forced(
    world: World, force: bool
) -> None:
    things = named(MANY)
    job = queued(world, "job-1", things)
    begun = things[::2]
    for thing in begun[:3]:
        world.ask_jobs(aws.topic(thing, "jobs/job-1/update"), b'{"status":"IN_PROGRESS"}')
    topics(world)
    with world.store.write() as transaction:
        world.executions.cancel(transaction, job, NOW, force=force)
        left = {} if force else {"IN_PROGRESS": 3}
        canceled = MANY - sum(left.values())
        assert count(transaction, job) == {"CANCELED": canceled, **left}
        assert transaction.changes.ended == {*things} - ({*begun[:3]} if left else set())
    assert len(topics(world)) == 2 * canceled


def test_a_deleted_job_is_gone_for_all_and_those_that_had_it_open_are_told(world: World) -> None:
    things = named(MANY)
    job = queued(world, "job-1", things)
    for thing in things[:2]:
        world.ask_jobs(aws.topic(thing, "jobs/job-1/update"), b'{"status":"SUCCEEDED"}')
    topics(world)
    with world.store.write() as transaction:
        world.executions.forget(transaction, job, NOW)
        assert count(transaction, job) == {}
        assert transaction.job("job-1") is None
    told = topics(world)
    assert told == [
        aws.topic(thing, f"jobs/{kind}")
        for thing in things[2:]
        for kind in ("notify", "notify-next")
    ]


def test_a_revoked_board_is_told_nothing_of_a_large_job(world: World) -> None:
    things = named(3)
    world.things(*things)
    job = Job("job-1", "{}", None, things, None, None, "IN_PROGRESS", NOW, NOW)
    with world.store.write() as transaction:
        transaction.revoke(things[1], NOW)
        world.rollouts.begin(transaction, job, things)
    assert {topic.split("/")[2] for topic in topics(world)} == {things[0], things[2]}


def test_all_boards_whose_time_is_over_time_out_and_the_job_is_completed(world: World) -> None:
    things = named(PAGE + 1)
    job = queued(world, "job-1", things, minutes=1)
    for thing in things:
        world.ask_jobs(aws.topic(thing, "jobs/job-1/update"), b'{"status":"IN_PROGRESS"}')
    world.rollouts.tick(world.store, NOW + 59)
    with world.store.read() as transaction:
        assert count(transaction, job) == {"IN_PROGRESS": PAGE + 1}
    world.rollouts.tick(world.store, NOW + 60)
    with world.store.read() as transaction:
        assert count(transaction, job) == {"TIMED_OUT": PAGE + 1}
        found = transaction.job("job-1")
        assert found is not None
        assert found.status == rollouts.JOB_COMPLETED
