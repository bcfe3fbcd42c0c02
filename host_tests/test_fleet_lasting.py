"""What the disk, another program or a person does to a service's folder ends in a sentence."""

import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from fleet_service import DEADLINE, Broker, Service, until

from twinslot.formats import archive
from twinslot.formats.component import application_content
from twinslot.trust import keys, signing

MORE = 500_000  # bytes


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service whose broker is not there."""
    made = Service(tmp_path / "fleet", Broker(tmp_path / "broker"))
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def started(service: Service, most: int | None = None) -> "subprocess.Popen[str]":
    """Start it, without waiting for the broker. most: bytes of a file, as a full disk has it."""

    def limit() -> None:
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    with service.log.open("a") as log:
        service.process = subprocess.Popen(
            [sys.executable, "-m", "twinslot", "serve", "--die-with-parent"],
            cwd=service.folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=limit,
        )
    until(lambda: (service.folder / "state/endpoint.json").exists(), "the service")
    until(lambda: service.fleet("status").returncode == 0, "its answers")
    return service.process


def packed(service: Service, size: int) -> bytes:
    key = keys.read_private(service.config.signing_key)
    data = archive.build({"main.py": b"", "data": bytes(size)})
    return signing.build([application_content(data, [1])], key, "demo-board", "1.1.0", 2, 1)


def test_a_disk_without_room_for_a_package_is_one_sentence_on_both_ends_and_nothing_stays(
    service: Service,
) -> None:
    started(service, most=MORE)
    path = service.folder / "a.ota"
    path.write_bytes(packed(service, 2 * MORE))
    refused = service.fleet("publish", "a.ota", "board-1", "--create-things", "--force")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "cannot write" in refused.stderr
    assert "File too large" in refused.stderr
    assert list((service.folder / "state/objects").iterdir()) == []
    log = service.log.read_text()
    assert "Traceback" not in log
    assert log.count("File too large") == 1, "nobody asks again for what has no room"
    path.write_bytes(packed(service, MORE // 4))
    assert service.fleet("publish", "a.ota", "board-1").returncode == 0, "the service lives"


def test_a_database_without_room_is_a_sentence_and_what_was_acknowledged_stays(
    service: Service,
) -> None:
    started(service, most=MORE)
    clients = service.clients()
    acknowledged = []

    def fill() -> None:
        for number in range(10_000):
            name = f"board-{number}"
            attributes = {"attributes": {f"a{n}": "x" * 800 for n in range(3)}}
            clients.iot.create_thing(thingName=name, attributePayload=attributes)
            acknowledged.append(name)

    with pytest.raises(ClientError, match=r"fleet\.db cannot be used: ") as refused:
        fill()
    assert refused.value.response["Error"]["Code"] == "InsufficientStorage"
    assert "Traceback" not in service.log.read_text()
    service.kill()
    started(service)
    pages = service.clients().iot.get_paginator("list_things").paginate()
    assert {thing["thingName"] for page in pages for thing in page["things"]} == {*acknowledged}


@pytest.mark.parametrize("lost", ["state", "state/fleet.db"])
def test_a_service_whose_database_is_removed_acknowledges_nothing_more_and_ends_with_a_sentence(
    service: Service, lost: str
) -> None:
    process = started(service)
    path = service.folder / lost
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # the service may still write its note there
    else:
        path.unlink()
    assert process.wait(DEADLINE) == 1
    log = service.log.read_text()
    assert "Traceback" not in log
    assert "was removed" in log
    assert "backup" in log


def test_the_note_that_leads_to_the_service_is_written_again(service: Service) -> None:
    started(service)
    note = service.folder / "state/endpoint.json"
    before = note.read_bytes()
    note.unlink()
    until(note.exists, "the note")
    assert note.read_bytes() == before


def test_another_programs_database_is_refused_by_name_and_stays_as_it_is(
    service: Service,
) -> None:
    path = service.folder / "state/fleet.db"
    path.parent.mkdir(mode=0o700)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    path.chmod(0o600)
    refused = service.fleet("serve")
    assert refused.returncode == 1
    assert "another program's database: it has a table recipes" in refused.stderr
    with sqlite3.connect(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert names == [("recipes",)]


def test_a_damaged_database_is_named_with_the_way_out_and_stays(service: Service) -> None:
    path = service.folder / "state/fleet.db"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    path.chmod(0o600)
    before = path.read_bytes()
    refused = service.fleet("serve")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    for word in (str(path), "fleet restore", "move"):
        assert word in refused.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["state", "state/lock", "state/objects"])
def test_something_else_in_the_place_of_the_state_is_a_sentence(
    service: Service, name: str
) -> None:
    path = service.folder / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if name == "state/lock":
        path.mkdir()
    else:
        path.write_text("mine")
        path.chmod(0o600)
    refused = service.fleet("serve")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert name in refused.stderr


def test_publishing_while_the_broker_is_away_keeps_the_job_and_says_so(service: Service) -> None:
    started(service)
    (service.folder / "a.ota").write_bytes(packed(service, 1000))
    done = service.fleet("publish", "a.ota", "board-1", "--create-things", "--job", "job-1")
    assert done.returncode == 0
    assert "warning: the service has no connection to the broker" in done.stdout
    service.kill()
    started(service)
    assert "job-1" in service.fleet("status", "board-1").stdout


@pytest.mark.slow
def test_two_services_that_take_a_brokers_session_from_one_another_are_told(
    tmp_path: Path,
) -> None:
    broker = Broker(tmp_path / "broker")
    broker.start()
    services = [Service(tmp_path / name, broker) for name in ("one", "two")]
    try:
        for service in services:
            service.start()
        until(lambda: "Two fleets of one product" in services[0].log.read_text(), "the sentence")
    finally:
        for service in services:
            if service.process is not None:
                service.kill()
        broker.kill()
