"""`publish` and `watch` over a real listener: what a refusal leaves behind, what is shown."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_bench import packed
from botocore.exceptions import ClientError, ReadTimeoutError
from fleet_site import Site
from rich.console import Console

from twinslot import config
from twinslot.addresses import Address
from twinslot.cli.views import progress_view
from twinslot.client import clients as client
from twinslot.client import publish, report, watch
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
@pytest.mark.parametrize("data", ["127.0.0.1:1", "localhost", "[::1]:80", "LOCALHOST.", "0.0.0.0"])
@pytest.mark.parametrize("host", ELSEWHERE)
@pytest.mark.parametrize("by_settings", [True, False])
def test_data_on_this_machine_is_not_offered_to_boards_on_another(
    tmp_path: Path, protocols: list[str], data: str, host: str, by_settings: bool
) -> None:
    found = fleet_at(tmp_path, "127.0.0.1" if by_settings else host)
    if by_settings:
        settings_of(found, "board-2", host)
    reach = client.Reach("127.0.0.1:1883", True, f"http://{data}")
    settings_of(found, "board-1", "127.0.0.1")
    with pytest.raises(publish.PublishError, match="board-2, whose broker is") as error:
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
    address = Address(host, 1883)
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
    site.world.ask_jobs(topic, json.dumps(said).encode())
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


# -- many boards ----------------------------------------------------------------------------------


def crowd(site: Site, count: int = 60) -> list[str]:
    """A job of many boards; their names in natural order."""
    names = [f"board-{number}" for number in range(1, count + 1)]
    publish.publish(
        site.clients, packed("1.1.0", 2), "x.ota", names, job_id=JOB, create_things=True
    )
    return names


def end(site: Site, thing: str, status: str, **details: str) -> None:
    said = {"status": status, "statusDetails": details}
    site.world.ask_jobs(f"$aws/things/{thing}/jobs/{JOB}/update", json.dumps(said).encode())


def test_many_boards_fit_the_screen_and_failures_are_named(site: Site) -> None:
    names = crowd(site)
    for name in names[:50]:
        end(site, name, "SUCCEEDED")
    for name in names[50:]:
        end(site, name, "FAILED", cause="self_test", detail="ValueError: " + "x" * 300)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    assert not watch.watch(site.config, JOB, 10, progress_view(console))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    bars = shown.rpartition("\x1b[2K")[2]
    assert "50 of 60" in bars
    assert bars.count("\n") < 24 - 4
    for name in names[50:]:
        assert f"{name}  FAILED: self_test: ValueError" in shown
    assert "50 of 60 boards SUCCEEDED" in shown
    assert f"  10 FAILED, self_test: {', '.join(names[50:54])}" in shown


def test_a_long_word_of_a_board_takes_one_line_of_the_screen(site: Site) -> None:
    names = crowd(site, 3)
    for name in names:
        end(site, name, "FAILED", detail="ValueError: " + "x" * 300)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    assert not watch.watch(site.config, JOB, 10, progress_view(console))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.rpartition("\x1b[2K")[2])
    bars = [line for line in last.splitlines() if "FAILED" in line]
    assert [line.split()[0] for line in bars] == names
    assert all(len(line) <= 80 for line in last.splitlines())


def test_many_boards_in_a_log_are_counted_in_few_lines(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    names = crowd(site)
    for name in names[1:]:
        end(site, name, "SUCCEEDED")
    end(site, names[0], "REJECTED", reason="no room")
    assert not watch.watch(site.config, JOB, 10, progress_view(screen(terminal=False)))
    assert capsys.readouterr().out.splitlines() == [
        "board-1  REJECTED: no room",
        "59 SUCCEEDED, 1 REJECTED",
        "59 of 60 boards SUCCEEDED",
        "    1 REJECTED: board-1",
    ]


def test_boards_stand_in_the_order_in_which_people_count(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    names = crowd(site, 12)
    for name in names:
        end(site, name, "SUCCEEDED")
    assert watch.watch(site.config, JOB, 10, progress_view(screen(terminal=False)))
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == [*names, "12"]
    assert list(report.of_fleet(site.clients, 1)) == names


def test_the_end_of_the_time_shows_how_far_everybody_is(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    names = crowd(site, 3)
    end(site, names[0], "SUCCEEDED")
    with pytest.raises(watch.WatchTimeoutError):
        watch.watch(site.config, JOB, 0.1, progress_view(screen(terminal=False)))
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "1 of 3 boards SUCCEEDED",
        "    2 waiting: board-2, board-3",
    ]


def test_ctrl_c_says_that_the_job_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd(site, 1)

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(InterruptedByUserError, match=f"job {JOB} goes on: `fleet watch {JOB}`"):
        watch.watch(site.config, JOB, None, progress_view(screen(terminal=False)))
