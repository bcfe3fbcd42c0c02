"""The rights of things as the service keeps them in mind: never longer than they last."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_world import NOW, World, statements

from twinslot.config import Credentials
from twinslot.service import states
from twinslot.service.access import LOOK, Access
from twinslot.service.executions import Executions
from twinslot.service.presign import Presigner
from twinslot.service.store import Store, Transaction

FILE = bytes(10_000)


@pytest.fixture
def world(tmp_path: Path, database: str) -> World:
    made = World(tmp_path, database)
    made.things("board-1", "board-2")
    made.stream("s-1", FILE)
    made.job("job-1", "board-1", "board-2", stream_id="s-1")
    return made


def test_a_window_costs_no_question_to_the_database(world: World) -> None:
    root = "$aws/things/board-1/streams/s-1"
    with statements() as sent:
        assert len(world.streams.handle(f"{root}/get/json", b'{"f":0,"l":4096}')) == 3
        assert sent
        sent.clear()
        for _ in range(3):
            (answer,) = world.streams.handle(f"{root}/get/json", b'{"f":0,"l":4096,"o":1,"n":1}')
            assert answer.topic == f"{root}/data/json"
            assert not world.access.is_revoked("board-1")
    assert sent == []


def _ends(transaction: Transaction, status: str = "SUCCEEDED") -> None:
    before = transaction.execution("board-1", "job-1")
    assert before is not None
    transaction.save(before, states.update(before, status, NOW))


def _is_deleted(transaction: Transaction) -> None:
    execution = transaction.execution("board-1", "job-1")
    assert execution is not None
    transaction.delete_executions([execution])


def _job_is_deleted(transaction: Transaction) -> None:
    job = transaction.job("job-1")
    assert job is not None
    presigner = Presigner("http://boards.test", Credentials("key", "secret"), "local")
    Executions(presigner).forget(transaction, job, NOW)


@pytest.mark.parametrize(
    "end",
    [
        _ends,
        _is_deleted,
        _job_is_deleted,
        lambda transaction: transaction.delete_stream("s-1"),
    ],
    ids=["a report", "the execution deleted", "the job deleted", "the stream deleted"],
)
def test_the_transaction_that_ends_a_right_ends_it_here(
    world: World, end: Callable[[Transaction], None]
) -> None:
    assert world.access.grant("board-1", "s-1") is not None
    with world.store.write() as transaction:
        end(transaction)
        assert world.access.grant("board-1", "s-1") is not None, "not before it is committed"
    assert world.access.grant("board-1", "s-1") is None


def test_a_transaction_that_is_rolled_back_ends_nothing(world: World) -> None:
    def fail() -> None:
        with world.store.write() as transaction:
            _ends(transaction)
            transaction.revoke("board-1", NOW)
            raise ValueError

    assert world.access.grant("board-1", "s-1") is not None
    with pytest.raises(ValueError):
        fail()
    with statements() as sent:
        assert world.access.grant("board-1", "s-1") is not None
    assert sent == []
    assert not world.access.is_revoked("board-1")


def test_what_others_end_or_report_takes_nothing_from_a_thing(world: World) -> None:
    mine = world.access.grant("board-1", "s-1")
    with world.store.write() as transaction:
        before = transaction.execution("board-2", "job-1")
        assert before is not None
        transaction.save(before, states.update(before, "FAILED", NOW))
        _ends(transaction, "IN_PROGRESS")
    with statements() as sent:
        assert world.access.grant("board-1", "s-1") is mine
    assert sent == []
    assert world.access.grant("board-2", "s-1") is None


def test_of_a_stream_that_is_known_each_further_thing_costs_one_question(world: World) -> None:
    assert world.access.grant("board-1", "s-1") is not None
    with statements() as sent:
        found = world.access.grant("board-2", "s-1")
    assert found is not None
    assert found.source.stream.stream_id == "s-1"
    assert len([statement for statement in sent if "SELECT" in statement]) == 1


def test_a_right_that_ends_while_it_is_read_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Transaction.reads

    def slowly(transaction: Transaction, thing: str, stream_id: str) -> object:
        found = read(transaction, thing, stream_id)
        monkeypatch.undo()
        with world.store.write() as other:
            _ends(other)
        return found

    monkeypatch.setattr(Transaction, "reads", slowly)
    assert world.access.grant("board-1", "s-1") is not None
    assert world.access.grant("board-1", "s-1") is None


def test_revoking_and_admitting_are_known_with_the_commit(world: World) -> None:
    for _ in range(2):
        with world.store.write() as transaction:
            transaction.revoke("board-1", NOW)
        assert world.access.is_revoked("board-1")
        assert not world.access.is_revoked("board-2")
        assert Access(world.store).is_revoked("board-1"), "also after a restart"
        with world.store.write() as transaction:
            transaction.admit("board-1")
        assert not world.access.is_revoked("board-1")


def test_an_object_that_is_replaced_is_noticed_and_the_same_again_is_no_change(
    world: World,
) -> None:
    found = world.access.grant("board-1", "s-1")
    assert found is not None and list(found.source.objects) == [0]
    world.object("s-1-0", FILE)
    assert world.access.grant("board-1", "s-1") is found
    world.object("s-1-0", FILE + b"more")
    changed = world.access.grant("board-1", "s-1")
    assert changed is not None and not changed.source.objects


def test_what_another_process_ends_is_noticed_within_two_seconds(
    world: World, database: str
) -> None:
    now = 100.0
    access = Access(world.store, lambda: now)
    access.refresh()
    held = access.grant("board-2", "s-1")
    assert access.grant("board-1", "s-1") is not None
    other = Store(database)
    with other.write() as transaction:
        _ends(transaction)
        transaction.revoke("board-2", NOW)
    access.refresh()
    assert access.grant("board-1", "s-1") is not None, "not asked for at each tick"
    now += LOOK
    access.refresh()
    assert access.grant("board-1", "s-1") is None
    assert access.grant("board-2", "s-1") is held
    assert access.is_revoked("board-2")
    other.close()
