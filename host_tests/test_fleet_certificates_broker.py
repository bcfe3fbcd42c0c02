"""Certificates that the service issues, at a real mosquitto: who gets in, and where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from fleet_service import until
from fleet_site import refused
from identity_clients import Client, Site
from link_fixtures import need

from demo.stack import Stack
from twinslot.service.rows.certificates import Certificate
from twinslot.service.store import Store

JOB = "job-1"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need("mosquitto")
    with Stack(tmp_path_factory.mktemp("certificates") / "stack", tls=True) as stack:
        yield Site(stack)


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    yield running
    running.close()


@pytest.fixture
def iot(site: Site) -> Any:
    return site.stack.clients.iot


def thing_of(iot: Any, name: str) -> str:
    return str(iot.create_thing(thingName=name)["thingName"])


def written(site: Site, made: dict[str, Any]) -> tuple[Path, Path]:
    """Certificate and key of an answer of CreateKeysAndCertificate, as files."""
    paths = tuple(site.folder / f"{made['certificateId']}.{end}" for end in ("pem", "key"))
    paths[0].write_text(made["certificatePem"])
    paths[1].write_text(made["keyPair"]["PrivateKey"])
    return paths[0], paths[1]


def asked(client: Client, thing: str) -> Any:
    topic = f"$aws/things/{thing}/jobs/$next/get"
    return client.ask(topic, {"clientToken": "t"}, topic + "/accepted")


@pytest.mark.compatibility(
    "11", "a board connects with a certificate of CreateKeysAndCertificate, and gets its job"
)
def test_a_board_gets_its_job_with_a_certificate_that_boto3_made(site: Site, iot: Any) -> None:
    for name in ("board-1", "board-2"):
        thing_of(iot, name)
    made = iot.create_keys_and_certificate(setAsActive=True)
    iot.attach_thing_principal(thingName="board-1", principal=made["certificateArn"])
    identity = written(site, made)
    until(lambda: hears(site, identity, "board-1"), "the broker's new list")
    site.job("board-1", JOB, b"x" * 5000)
    board = site.client(identity)
    assert asked(board, "board-1")["execution"]["jobId"] == JOB
    before = len(board.got)
    board.publish("$aws/things/board-2/jobs/$next/get", {})
    assert asked(board, "board-1")["execution"]["jobId"] == JOB
    assert len(board.got) == before + 1, "another thing's answers do not come"
    iot.attach_thing_principal(thingName="board-2", principal=made["certificateArn"])
    until(lambda: hears(site, identity, "board-2"), "the broker's new list")
    iot.detach_thing_principal(thingName="board-1", principal=made["certificateArn"])
    until(lambda: not hears(site, identity, "board-1", other="board-2"), "the broker's new list")


def hears(site: Site, identity: tuple[Path, Path], thing: str, other: str = "") -> bool:
    """Whether the holder of a certificate is answered for a thing.

    other: a thing for which it is answered in any case; the service answers in order.
    """
    client = site.client(identity)
    topic = "$aws/things/{}/jobs/get"
    client.publish(topic.format(thing), {"clientToken": "look"})
    if other:
        client.ask(topic.format(other), {}, topic.format(other) + "/accepted")
    else:
        site.stack.clients.iot.describe_thing(thingName=thing)
    found = bool(client.topic(topic.format(thing) + "/accepted"))
    client.close()
    return found


@pytest.mark.compatibility(
    "11", "UpdateCertificate INACTIVE or REVOKED cuts the board's connection and keeps it out"
)
@pytest.mark.parametrize("status", ["INACTIVE", "REVOKED"])
def test_an_inactive_certificate_is_cut_and_kept_out_when_the_answer_comes(
    site: Site, iot: Any, status: str
) -> None:
    other = written(site, iot.create_keys_and_certificate(setAsActive=True))
    made = iot.create_keys_and_certificate(setAsActive=True)
    identity = written(site, made)
    live, neighbour = site.client(identity), site.client(other)
    assert live.connected
    iot.update_certificate(certificateId=made["certificateId"], newStatus=status)
    live.wait_cut()
    assert not site.client(identity).connected
    assert neighbour.connected
    if status == "INACTIVE":
        iot.update_certificate(certificateId=made["certificateId"], newStatus="ACTIVE")
        assert site.client(identity).connected


def test_a_certificate_that_was_not_set_active_gets_in_once_it_is(site: Site, iot: Any) -> None:
    made = iot.create_keys_and_certificate()
    identity = written(site, made)
    assert not site.client(identity).connected
    iot.update_certificate(certificateId=made["certificateId"], newStatus="ACTIVE")
    assert site.client(identity).connected
    iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
    iot.delete_certificate(certificateId=made["certificateId"])
    assert not site.client(identity).connected, "a deleted certificate does not come back"


def test_fleet_revoke_shuts_out_the_certificates_of_a_thing(site: Site, iot: Any) -> None:
    thing_of(iot, "board-9")
    made = iot.create_keys_and_certificate(setAsActive=True)
    iot.attach_thing_principal(thingName="board-9", principal=made["certificateArn"])
    live = site.client(written(site, made))
    assert live.connected
    site.fleet("revoke", "board-9")
    live.wait_cut()
    assert not site.client(written(site, made)).connected
    found = iot.describe_certificate(certificateId=made["certificateId"])
    assert found["certificateDescription"]["status"] == "REVOKED"


def test_what_a_crash_left_undone_is_done_at_the_next_start(site: Site, iot: Any) -> None:
    made = iot.create_keys_and_certificate(setAsActive=True)
    identity = written(site, made)
    site.stack.kill_service()

    store = Store(site.stack.config.database)
    with store.write() as transaction:
        before = transaction.certificate(made["certificateId"])
        assert before is not None
        transaction.save_certificate(Certificate(**{**vars(before), "status": "INACTIVE"}))
    store.close()
    assert site.client(identity).connected, "the list knows nothing of it yet"
    site.stack.start_service()
    until(lambda: not site.client(identity).connected, "the broker's new list")


def test_a_broker_that_cannot_be_told_is_named_and_asking_again_does_it(
    site: Site, iot: Any
) -> None:
    made = iot.create_keys_and_certificate(setAsActive=True)
    identity = written(site, made)
    pid = site.folder / "broker/mosquitto.pid"
    number = pid.read_text()
    pid.unlink()
    with pytest.raises(ClientError, match="send it SIGHUP") as error:
        iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
    assert refused(error) == ("ServiceUnavailableException", 503)
    pid.write_text("1")  # another program's number
    with pytest.raises(ClientError, match="send it SIGHUP"):
        iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
    pid.write_text(number)
    assert site.client(identity).connected
    iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
    assert not site.client(identity).connected
