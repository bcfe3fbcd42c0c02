"""The service's one connection: what shares a transaction, and what it costs if one fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_service import Broker, until
from fleet_world import World
from test_fleet_service import listening

from twinslot import config
from twinslot.addresses import Address
from twinslot.service.bus import ROUND, Bus
from twinslot.service.jobs import Jobs
from twinslot.service.rows.base import Changes
from twinslot.service.shadows import Shadows
from twinslot.service.store import Transaction

GOOD = [f"board-{number}" for number in range(ROUND - 1)]
BAD = "bad"


class _FaultyJobs(Jobs):
    """Has a mistake that one thing's requests bring to light, after they have written."""

    def answer(self, transaction: Transaction, topic: str, payload: bytes) -> None:
        super().answer(transaction, topic, payload)
        if f"/{BAD}/" in topic:
            raise ValueError("a mistake")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "broker")
    made.start()
    yield made
    made.kill()


@pytest.fixture
def world(tmp_path: Path, broker: Broker, database: str) -> Iterator[World]:
    """A store, with a bus between it and the broker."""
    made = World(tmp_path, database)
    made.things(*GOOD, BAD)
    made.job("job-1", *GOOD, BAD)
    bus = Bus(
        config.Broker(Address("127.0.0.1", broker.port), False, None, "", None),
        "fleet-test",
        made.store,
        made.access,
        made.rollouts,
        _FaultyJobs(made.rollouts, made.clock),
        made.streams,
        Shadows(made.store, made.clock),
        made.clock,
    )
    bus.start()
    assert bus.wait_until_ready(10)
    yield made
    bus.stop()


def told(world: World, broker: Broker, things: list[str]) -> dict[str, Any]:
    """The answers to reports of these things, which reach the bus while it waits for a writer."""
    asked = {thing: f"$aws/things/{thing}/jobs/job-1/update" for thing in things}
    ends = [f"{topic}/{end}" for topic in asked.values() for end in ("accepted", "rejected")]
    at_the_service = "Sending PUBLISH to fleet-test"
    with listening(broker, *ends) as (client, heard):
        with world.store.write():
            for topic in asked.values():
                client.publish(topic, '{"status":"IN_PROGRESS"}', 1)
            until(
                lambda: broker.log.read_text().count(at_the_service) == len(things),
                "the requests at the service",
            )
        until(lambda: len(heard) == len(things), "the answers")
    return {topic.split("/")[2]: message.get("code", "accepted") for topic, message in heard}


def test_requests_that_wait_share_a_commit(world: World, broker: Broker) -> None:
    commits: list[Changes] = []
    world.store.on_commit(commits.append)
    assert told(world, broker, GOOD) == dict.fromkeys(GOOD, "accepted")
    assert len([commit for commit in commits if commit.messages]) <= 2  # the first came alone


def test_a_request_that_fails_takes_no_other_with_it(world: World, broker: Broker) -> None:
    answers = told(world, broker, [*GOOD, BAD])
    assert answers == {**dict.fromkeys(GOOD, "accepted"), BAD: "InternalError"}
    with world.store.read() as transaction:
        found = {e.thing: e.status for e in transaction.executions_of("job-1", limit=100)}
    assert found == {**dict.fromkeys(GOOD, "IN_PROGRESS"), BAD: "QUEUED"}
