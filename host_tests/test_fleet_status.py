"""`fleet status`: a line for each board, counts for many, and no harm by what a board says."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fleet_site import Site
from hypothesis import given
from hypothesis import strategies as st

from twinslot.cli.main import main
from twinslot.client import shadow
from twinslot.client.own_service import OwnService
from twinslot.client.shadow import Reported
from twinslot.service import overview

Status = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.name_endpoint()
    yield made
    made.close()


@pytest.fixture
def status(site: Site, tmp_path: Path) -> Status:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(
            main, ["--config", f"{tmp_path}/fleet.toml", "status", *arguments]
        )
        assert done.exit_code == 0, done.output
        return done.output

    return run


def report(site: Site, thing: str, **reported: Any) -> None:
    topic = f"$aws/things/{thing}/shadow/name/ota/update"
    message = json.dumps({"state": {"reported": reported}}).encode()
    site.world.ask_shadows(topic, message)
    ((answer, _),) = site.world.sent()
    assert answer.endswith("accepted")


def boards(site: Site, count: int) -> list[str]:
    names = [f"board-{number:02d}" for number in range(count)]
    site.world.things(*names)
    return names


def test_ten_boards_fit_on_one_screen_with_version_last_seen_job_and_cause(
    site: Site, status: Status
) -> None:
    names = boards(site, 10)
    site.world.job("job-1", *names[:5])
    site.world.now -= 7200
    for name in names[1:]:
        report(site, name, version="1.1.0", sequence=2, origin="job", cause=None)
    report(site, names[2], version="1.0.0", sequence=1, origin="person", cause="crash")
    site.world.now += 7200
    lines = status().splitlines()
    assert len(lines) == 11 < 24
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["BOARD", "VERSION", "SEEN", "STATE", "CAUSE", "JOB"]
    assert lines[1].split() == ["board-00", "-", "-", "QUEUED", "-", "job-1"]
    assert lines[2].split("  ")[1].strip() == "1.1.0 (2)"
    for word in ("1.0.0 (1) by rollback", "2 h ago", "QUEUED", "crash", "job-1"):
        assert word in lines[3]
    assert lines[10].split()[-3:] == ["-", "-", "-"], "no job"


def test_more_than_twenty_boards_are_counted_and_listed_on_demand(
    site: Site, status: Status
) -> None:
    names = boards(site, 21)
    site.world.job("job-1", *names[:3])
    for name in names[:18]:
        report(site, name, version="1.1.0", sequence=2, origin="job")
    report(site, names[18], version="1.0.0", sequence=1, origin="job", cause="watchdog")
    lines = status().splitlines()
    assert lines[0] == "21 boards; --all lists them"
    counted = [line.split() for line in lines[1:]]
    assert counted == [
        ["version", "1.1.0", "(2)", "18"],
        ["-", "2"],
        ["1.0.0", "(1)", "1"],
        ["state", "-", "18"],
        ["QUEUED", "3"],
        ["cause", "-", "20"],
        ["watchdog", "1"],
    ]
    assert len(status("--all").splitlines()) == 22
    with_other_versions = [name for name in names if name > "board-02"]
    for number, name in enumerate(with_other_versions):
        report(site, name, version=f"2.{number}.0")
    versions = [line for line in status().splitlines() if "others" in line]
    assert len(versions) == 1 and versions[0].split()[-1].isdigit()


def test_a_named_board_shows_all_that_is_known_of_it(site: Site, status: Status) -> None:
    boards(site, 2)
    report(
        site,
        "board-01",
        version="1.1.0",
        sequence=2,
        origin="local",
        result="FAILED",
        cause="crash",
        detail="ValueError: no sensor",
        agent="0.2.0",
        boot="0.2.0",
        chip="ESP32",
        micropython="1.26.1",
        room=212,
        heap=81000,
    )
    shown = status("board-01")
    for words in (
        "1.1.0 (2) by file, said ",
        "agent 0.2.0, boot.py 0.2.0, MicroPython 1.26.1 on ESP32",
        "212 KB of files, 81000 bytes of heap",
        "FAILED: crash: ValueError: no sensor",
    ):
        assert words in shown
    assert "board-00" not in shown
    assert status("board-00") == "board-00  no update yet\n"
    found = json.loads(status("--json"))
    assert found["board-00"] == {"seen": None, "reported": None, "updates": []}
    assert found["board-01"]["reported"]["heap"] == 81000
    assert found["board-01"]["seen"] == site.world.now


def test_a_fleet_without_boards_says_how_to_make_one_known(status: Status) -> None:
    assert "--create-things" in status()


EVIL = "\x1b[2J\x1b]0;owned\x07\r\n\u202e\x9b31m\u2028"


def test_what_a_terminal_would_obey_is_shown_as_what_it_is(site: Site, status: Status) -> None:
    boards(site, 1)
    fields = ("version", "origin", "result", "cause", "detail", "agent", "boot", "chip")
    report(site, "board-00", **dict.fromkeys((*fields, "micropython"), EVIL * 8))
    for shown in (status(), status("board-00"), status("--json")):
        assert all(c.isprintable() or c == "\n" for c in shown)
        assert all(len(line) <= 80 for line in shown.splitlines()) or shown.startswith("{")
    assert "\\x1b[2J" in status("board-00")


@pytest.mark.parametrize(
    "reported",
    [
        {"version": 7, "sequence": "2", "cause": ["crash"], "room": 1.5, "heap": True},
        {"version": {"a": {"b": 1}}, "sequence": 2**70, "detail": None, "heap": -(2**64)},
        {"version": "", "unknown": "x"},
        {"version": "1" * 5000},
        {},
    ],
)
def test_a_report_of_strange_kinds_and_sizes_is_shown_as_far_as_it_makes_sense(
    site: Site, status: Status, reported: dict[str, Any]
) -> None:
    boards(site, 2)
    report(site, "board-00", **reported)
    report(site, "board-01", version="1.0.0")
    assert "1.0.0" in status().splitlines()[2]
    for shown in (status(), status("board-00")):
        assert all(len(line) <= 80 for line in shown.splitlines())
    json.loads(status("--json"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
def test_a_document_of_any_kind_is_read_without_an_error(payload: bytes) -> None:
    shadow.read(payload)


@given(
    st.dictionaries(st.sampled_from([*Reported.__dataclass_fields__]), _JSON),
    st.dictionaries(st.text(), _JSON),
)
def test_what_is_read_is_of_its_kind_short_and_printable(
    reported: dict[str, Any], stamps: dict[str, Any]
) -> None:
    document = {"state": {"reported": reported}, "metadata": {"reported": stamps}}
    found = shadow.read(json.dumps(document).encode())
    if found is None:
        assert not reported
        return
    for value in vars(found).values():
        assert value is None or isinstance(value, int) or value.isprintable()
        assert len(str(value)) <= 1000


def test_more_boards_than_a_page_holds_are_asked_for_by_the_page(
    site: Site, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "PAGE", 7)
    site.world.job("job-1", *boards(site, 30))
    for number in range(0, 30, 2):
        report(site, f"board-{number:02}", version="1.0.0")
    asked: list[str] = []
    extension = OwnService._extension

    def counting(clients: OwnService, method: str, name: str, *rest: Any) -> dict[str, Any]:
        asked.append(name)
        return extension(clients, method, name, *rest)

    monkeypatch.setattr(OwnService, "_extension", counting)
    found = json.loads(status("--json"))
    assert len(found) == 30
    assert [thing for thing, board in found.items() if board["reported"] is not None] == [
        f"board-{number:02}" for number in range(0, 30, 2)
    ]
    assert asked.count("shadows") == 3
    assert asked.count("executions") == 5
    assert {len(board["updates"]) for board in found.values()} == {1}
