"""`publish` and `watch` over a real listener: what a refusal leaves behind, what is shown."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_bench import packed
from botocore.exceptions import ClientError, ReadTimeoutError
from fleet_site import Site
from rich.console import Console

from twinslot import config
from twinslot.cli.views import progress_view
from twinslot.client import clients as client
from twinslot.client import publish, watch
from twinslot.errors import FleetError, InterruptedByUserError

JOB = "job-1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def published(site: Site, **options: Any) -> publish.Published:
    options = {"job_id": JOB, **options}
    return publish.publish(site.clients, packed("1.1.0", 2), "x.ota", ["board-1"], **options)


def screen(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120)


def test_a_thing_with_attributes_is_known_and_not_made_again(site: Site) -> None:
    attributes = {"attributes": {"room": "lab"}}
    site.clients.iot.create_thing(thingName="board-1", attributePayload=attributes)
    assert published(site, create_things=True).job == JOB


def test_a_job_that_is_refused_leaves_no_stream_that_takes_its_name(site: Site) -> None:
    name = "j" * 65  # a stream's may be that long
    with pytest.raises(ClientError, match="jobId"):
        published(site, create_things=True, job_id=name)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        site.clients.iot.describe_stream(streamId=name)


@pytest.mark.parametrize("at", ["create_stream", "create_job"])
@pytest.mark.parametrize("made", [True, False])
def test_ctrl_c_leaves_a_whole_job_that_is_named_or_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, at: str, made: bool
) -> None:
    real = getattr(site.clients.iot, at)

    def interrupted(**options: Any) -> None:
        if made:
            real(**options)
        raise KeyboardInterrupt

    monkeypatch.setattr(site.clients.iot, at, interrupted)
    whole = made and at == "create_job"
    with pytest.raises(InterruptedByUserError if whole else KeyboardInterrupt) as error:
        published(site, create_things=True)
    jobs = [job["jobId"] for job in site.clients.iot.list_jobs()["jobs"]]
    with site.world.store.read() as transaction:
        stream = transaction.stream(JOB)
    assert (jobs, stream is not None) == (([JOB], True) if whole else ([], False))
    assert not whole or f"fleet cancel {JOB}" in str(error.value)


def test_a_job_whose_answer_was_lost_is_published(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = site.clients.iot.create_job

    def lost(**options: Any) -> None:
        real(**options)
        raise ReadTimeoutError(endpoint_url="http://service")

    monkeypatch.setattr(site.clients.iot, "create_job", lost)
    assert published(site, create_things=True).job == JOB


HERE = ["127.0.0.1", "localhost", "::1", "127.1.2.3"]
ELSEWHERE = ["192.168.1.10", "broker.lan"]


@pytest.mark.parametrize("protocols", [["HTTP"], ["MQTT", "HTTP"]])
@pytest.mark.parametrize("data", ["127.0.0.1:8443", "localhost", "[::1]:80", "LOCALHOST.", "0.0.0.0"])
@pytest.mark.parametrize("host", ELSEWHERE)
@pytest.mark.parametrize("by_settings", [True, False])
def test_data_on_this_machine_is_not_offered_to_boards_on_another(
    tmp_path: Path, protocols: list[str], data: str, host: str, by_settings: bool
) -> None:
    found = fleet_at(tmp_path, "127.0.0.1" if by_settings else host)
    if by_settings:
        settings_of(found, "board-2", host)
    reach = client.Reach("127.0.0.1:1883", True, f"http://{data}")
    with pytest.raises(publish.PublishError, match="board-2, whose broker is") as error:
        settings_of(found, "board-1", "127.0.0.1")
        publish.check_way(reach, found, ["board-1", "board-2"], protocols)
    for word in (f"http://{data}", host, "service.data_url"):
        assert word in str(error.value)
    publish.check_way(reach, found, ["board-2"], ["MQTT"])
    far = client.Reach("127.0.0.1:1883", True, "https://192.168.1.10:8443")
    publish.check_way(far, found, ["board-2"], protocols)
    publish.check_way(None, found, ["board-2"], protocols)  # AWS does not say


@pytest.mark.parametrize("host", HERE)
def test_boards_on_this_machine_get_data_from_this_machine(tmp_path: Path, host: str) -> None:
    found = fleet_at(tmp_path, host)
    reach = client.Reach("127.0.0.1:1883", True, "http://127.0.0.1:8443")
    publish.check_way(reach, found, ["board-1"], ["HTTP"])


def fleet_at(folder: Path, host: str) -> config.Config:
    """A fleet whose boards look for their broker at a host, where nothing else is said."""
    address = config.Address(host, 1883)
    config.create(
        folder, product="demo-board", chip="esp32", slot_size=0x1B0000, broker=address, tls=False
    )
    return config.load(folder / "fleet.toml")


def settings_of(found: config.Config, thing: str, host: str) -> None:
    path = found.boards / thing / "settings.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"broker": {"host": host}}))


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_board_says_is_shown_as_it_is(
    site: Site, capsys: pytest.CaptureFixture[str], terminal: bool
) -> None:
    published(site, create_things=True)
    said = {"status": "FAILED", "statusDetails": {"reason": "cannot write [/app_1] [bold]"}}
    topic = f"$aws/things/board-1/jobs/{JOB}/update"
    site.world.jobs.handle(topic, json.dumps(said).encode())
    console = screen(terminal=terminal)
    assert not watch.watch(site.config, JOB, 10, progress_view(console))
    shown = console.file.getvalue() if terminal else capsys.readouterr().out  # type: ignore[attr-defined]
    assert "cannot write [/app_1] [bold]" in shown


def test_a_job_whose_executions_are_gone_has_not_succeeded(site: Site) -> None:
    published(site, create_things=True)
    site.clients.iot.delete_job_execution(
        jobId=JOB, thingName="board-1", executionNumber=1, force=True
    )
    with pytest.raises(FleetError, match="its executions were deleted"):
        watch.watch(site.config, JOB, 10, progress_view(screen(terminal=False)))
