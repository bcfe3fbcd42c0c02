"""A board that could not take a smaller form of a package gets the full one by itself."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleet_world import World

from twinslot.formats import aws, document
from twinslot.formats.document import HTTP, MQTT, File, Location
from twinslot.service.rows.jobs import Job
from twinslot.service.rows.streams import Stream, StreamFile

BOARD = "board-1"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.things(BOARD, "board-2")
    return made


def small(
    world: World,
    *things: str,
    job: str = "ota-7-a",
    protocols: tuple[str, ...] = (MQTT,),
    full: str | None = "full.ota",
) -> None:
    """A job with a smaller form of a package, as `fleet publish` makes it."""
    world.object("full.ota", b"f" * 9000)
    item = world.object("small.ota", b"s" * 5000)
    stream = job if MQTT in protocols else None
    with world.store.write() as transaction:
        if full is not None:
            transaction.put_object(replace(item, metadata={document.FULL: full}))
        if stream:
            file = StreamFile(0, item.bucket, item.key, item.etag, item.size)
            transaction.add_stream(Stream(job, "meter 1.1.0, sequence 7", "role", 1, (file,)))
        files = [File("app.ota", item.size, location=Location(item.bucket, item.key))]
        text = document.of_update(files, protocols, stream, "local")
        arns = [f"arn:aws:iot:local:000000000000:thing/{thing}" for thing in things]
        transaction.add_job(
            Job(job, text, stream, arns, "meter 1.1.0, sequence 7", 9, "IN_PROGRESS", 1, 1)
        )
        transaction.add_executions(job, things, world.now)


def fail(world: World, thing: str = BOARD, cause: str = "base", job: str = "ota-7-a") -> None:
    told = {"status": "FAILED", "statusDetails": {"cause": cause, "detail": "another image"}}
    world.ask_jobs(aws.topic(thing, f"jobs/{job}/update"), json.dumps(told).encode())


def execution(world: World, thing: str = BOARD, job: str = "ota-7-a-full") -> Any:
    with world.store.read() as transaction:
        return transaction.execution(thing, job)


@pytest.mark.parametrize("cause", ["base", "encoding", "extension", "bad_package"])
def test_a_refused_form_is_followed_by_the_full_package(world: World, cause: str) -> None:
    small(world, BOARD, "board-2")
    world.sent()
    fail(world, cause=cause)
    assert execution(world).status == aws.QUEUED
    assert execution(world, "board-2") is None
    with world.store.read() as transaction:
        job, stream = transaction.job("ota-7-a-full"), transaction.stream("ota-7-a-full")
    assert job is not None
    assert stream is not None
    assert (stream.files[0].key, stream.files[0].size) == ("full.ota", 9000)
    made = json.loads(job.document)["afr_ota"]
    assert (made["streamname"], made["files"][0]["filesize"]) == ("ota-7-a-full", 9000)
    assert (job.description, job.progress_minutes) == ("meter 1.1.0, sequence 7", 9)
    assert [arn.rpartition("/")[2] for arn in job.targets] == [BOARD]
    told = dict(world.sent())
    assert told[aws.topic(BOARD, "jobs/notify-next")]["execution"]["jobId"] == "ota-7-a-full"


@pytest.mark.parametrize("cause", ["self_test", "watchdog", "signature", "mismatch", ""])
def test_another_failure_is_the_end(world: World, cause: str) -> None:
    small(world, BOARD)
    fail(world, cause=cause)
    assert execution(world) is None


def test_a_package_that_is_no_smaller_form_is_followed_by_none(world: World) -> None:
    small(world, BOARD, full=None)
    fail(world)
    assert execution(world) is None
    world.job("plain", "board-2")
    fail(world, "board-2", job="plain")
    assert execution(world, "board-2", "plain-full") is None


def test_a_full_package_that_is_gone_is_not_sent(world: World) -> None:
    small(world, BOARD, full="never.ota")
    fail(world)
    assert execution(world) is None


def test_boards_that_fail_later_share_the_job_which_is_open_again(world: World) -> None:
    small(world, BOARD, "board-2")
    fail(world)
    topic = aws.topic(BOARD, "jobs/ota-7-a-full/update")
    world.ask_jobs(topic, json.dumps({"status": "SUCCEEDED"}).encode())
    with world.store.read() as transaction:
        ended = transaction.job("ota-7-a-full")
    assert ended is not None and ended.status == "COMPLETED"
    fail(world, "board-2")
    assert execution(world, "board-2").status == aws.QUEUED
    with world.store.read() as transaction:
        again = transaction.job("ota-7-a-full")
    assert again is not None and again.status == "IN_PROGRESS"
    assert [arn.rpartition("/")[2] for arn in again.targets] == [BOARD, "board-2"]


def test_a_full_package_that_fails_is_followed_by_nothing(world: World) -> None:
    small(world, BOARD)
    fail(world)
    fail(world, job="ota-7-a-full")
    assert execution(world).status == aws.FAILED
    assert execution(world, job="ota-7-a-full-full") is None


def test_a_canceled_full_package_stays_canceled(world: World) -> None:
    small(world, BOARD, "board-2")
    fail(world)
    with world.store.write() as transaction:
        job = transaction.job("ota-7-a-full")
        assert job is not None
        transaction.save_job(replace(job, status="CANCELED"))
    fail(world, "board-2")
    assert execution(world, "board-2") is None


def test_by_http_alone_the_full_package_is_offered_by_its_url(world: World) -> None:
    small(world, BOARD, protocols=(HTTP,))
    fail(world)
    with world.store.read() as transaction:
        job = transaction.job("ota-7-a-full")
        assert transaction.stream("ota-7-a-full") is None
    assert job is not None
    assert job.stream_id is None
    assert document.locations(job.document) == [Location("packages", "full.ota")]


def test_a_revoked_board_gets_nothing(world: World) -> None:
    small(world, BOARD)
    with world.store.write() as transaction:
        transaction.revoke(BOARD, world.now)
    fail(world)
    assert execution(world) is None


def test_the_name_of_the_job_fits_the_longest_name() -> None:
    assert document.full_job("ota-7-a") == "ota-7-a-full"
    assert len(document.full_job("j" * 64)) == 64
