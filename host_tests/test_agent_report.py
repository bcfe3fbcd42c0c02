"""What a board says of itself, in its shadow `ota`: when, what, and what a refusal costs."""

from __future__ import annotations

import builtins
import hashlib
import importlib
from pathlib import Path
from typing import Any

import hardware
import pytest
import shims
from agent_bench import IMAGE, Bench, Chip, Patient, application, pack, packed
from job_service import LinkDown

from twinslot.formats import archive

UPDATE = "$aws/things/board-1/shadow/name/ota/update"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def boot(bench: Bench, callback: Any = None, **settings: Any) -> None:
    """Power on, and let the board come to rest, through every reset."""
    for _ in range(8):
        if bench.boot(callback, report=1, **settings) is None and bench.step() is None:
            return
    raise AssertionError("the board resets without end")


def settle(bench: Bench) -> None:
    """Let a board come to rest that was booted before; a lost link is followed by the next."""
    for _ in range(8):
        try:
            ended = bench.step()
        except LinkDown:
            reconnect(bench)
        else:
            if ended is None:
                return
            boot(bench)
            return
    raise AssertionError("the board never rests")


def reconnect(bench: Bench) -> None:
    bench.service.online = True
    bench.service.outgoing.clear()
    bench.agent.start()


def lose_link(bench: Bench) -> None:
    """Break the link, and let the board notice it by its next call, and connect again."""
    bench.service.online = False
    bench.agent.check_for_update()
    with pytest.raises(LinkDown):
        bench.agent.step()
    reconnect(bench)
    settle(bench)


def note(bench: Bench, key: str, value: bytes) -> None:
    """Write a blob of NVS."""
    nvs = importlib.import_module("esp32").NVS("ota")
    nvs.set_blob(key, value)
    nvs.commit()


def reported(bench: Bench) -> dict[str, Any]:
    """Return what the board would report now."""
    report: Any = importlib.import_module("ota.report")
    found: dict[str, Any] = report.reported(bench.agent.board)
    return found


def last(bench: Bench) -> dict[str, Any]:
    return bench.service.reports[-1]


def told(bench: Bench) -> list[tuple[str, int]]:
    """Return version and sequence of each report."""
    return [(report["version"], report["sequence"]) for report in bench.service.reports]


def test_nothing_is_published_or_subscribed_when_the_setting_is_off(bench: Bench) -> None:
    bench.boot()
    bench.step()
    assert bench.agent.stats.report == "off"
    assert not [topic for topic, _, _ in bench.client.sent if "shadow" in topic]
    assert not [topic for topic, _ in bench.client.subscribed if "shadow" in topic]
    assert not bench.agent.on_message(f"{UPDATE}/accepted".encode(), b"{}"), "an application's own"


def test_a_start_reports_what_runs_once_and_the_board_comes_to_rest(bench: Bench) -> None:
    boot(bench)
    assert bench.agent.stats.report == "told"
    assert bench.agent._engine is None, "at rest"
    (report,) = bench.service.reports
    assert (report["version"], report["sequence"], report["origin"]) == ("1.0.0", 1, "cable")
    assert report["agent"] == importlib.import_module("ota").__version__
    assert report["room"] > 0
    for unknown in ("result", "cause", "detail"):
        assert report[unknown] is None
    (sent,) = [qos for topic, _, qos in bench.client.sent if topic == UPDATE]
    assert sent == 1
    for _ in range(200):
        bench.agent.step()
    lose_link(bench)
    assert len(bench.service.reports) == 1, "nothing has changed"


def test_the_version_of_boot_py_is_read_where_it_notes_it(bench: Bench) -> None:
    boot(bench)
    for value, said in ((b"0.2.0", "0.2.0"), (b"\xff", None), (b"x" * 100, None)):
        note(bench, "boot", value)
        assert reported(bench)["boot"] == said


def test_what_a_delta_may_build_on_is_told_where_the_board_decodes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = Chip(tmp_path)
    files = application("1.1.0")
    boot(chip)
    report = reported(chip)
    assert (report["encodings"], report["files"]) == (2, None)
    assert report["image"] == hashlib.sha256(chip.board.slot_bytes(0, IMAGE)).hexdigest()
    assert chip.update("job-1", pack("1.1.0", 2, files)) == "SUCCEEDED"
    report = reported(chip)
    assert report["files"] == hashlib.sha256(archive.build(files)).hexdigest()
    assert report["image"] == hashlib.sha256(chip.board.slot_bytes(0, IMAGE)).hexdigest()
    real = builtins.__import__

    def refusing(name: str, *arguments: Any) -> Any:
        if name == "ota.notes":
            raise ImportError("no module named 'ota.notes'")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refusing)
    report = reported(chip)
    assert [report[key] for key in ("encodings", "image", "files")] == [None] * 3


def test_what_the_next_application_will_give_back_is_told(tmp_path: Path) -> None:
    chip = Chip(tmp_path)
    for sequence in (2, 3, 4):
        version = f"1.{sequence}.0"
        large = {"lib/large.py": b"#" * 20_000} if sequence == 3 else {}
        files = application(version, more=large)
        assert chip.update(f"job-{sequence}", pack(version, sequence, files)) == "SUCCEEDED"
    assert reported(chip)["spare"] == 20 + 8, "of the one before: large.py, and app.py's two blocks"


def test_an_accepted_update_is_reported_once_by_the_new_image(bench: Bench) -> None:
    boot(bench)
    bench.service.add("job-1", packed("1.1.0", 2))
    settle(bench)
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert told(bench) == [("1.0.0", 1), ("1.1.0", 2)]
    assert (last(bench)["origin"], last(bench)["result"], last(bench)["cause"]) == (
        "job",
        "SUCCEEDED",
        None,
    )


def test_a_refused_update_is_reported_with_its_cause_and_a_good_one_takes_it_away(
    bench: Bench,
) -> None:
    boot(bench)
    bench.service.add("job-1", packed("0.9.0", 1))
    settle(bench)
    assert bench.service.status("job-1") == "FAILED"
    failed = last(bench)
    assert (failed["version"], failed["result"]) == ("1.0.0", "FAILED")
    assert failed["cause"] == bench.service.details("job-1")["cause"]
    assert failed["detail"]
    assert len(bench.service.reports) == 2, "without a restart"
    bench.service.add("job-2", packed("1.1.0", 2))
    settle(bench)
    assert last(bench)["cause"] is None


def test_a_rollback_is_reported_with_its_cause(bench: Bench) -> None:
    boot(bench)
    bench.service.add("job-1", packed("1.1.0", 2))
    reject = Patient()
    settle_rejecting(bench, reject)
    assert bench.service.status("job-1") == "FAILED"
    assert (last(bench)["version"], last(bench)["result"]) == ("1.0.0", "FAILED")
    assert last(bench)["cause"] == bench.service.details("job-1")["cause"]
    assert last(bench)["origin"] == "cable", "the update before has brought what runs"


def settle_rejecting(bench: Bench, callback: Any) -> None:
    """As `settle`, and reject what is under test."""

    def rejecting(event: str, detail: Any) -> None:
        callback(event, detail)
        if event == "Activate":
            bench.agent.activate()
        elif event == "StartTest":
            bench.agent.reject("the pump does not turn")

    bench.agent.callback = rejecting
    if bench.step() is not None:
        boot(bench, rejecting)


def test_an_install_by_file_is_reported_with_its_origin(tmp_path: Path, bench: Bench) -> None:
    boot(bench)
    path = tmp_path / "x.ota"
    path.write_bytes(packed("1.1.0", 2))
    bench.agent.install(str(path))
    settle(bench)
    assert told(bench)[-1] == ("1.1.0", 2)
    assert last(bench)["origin"] == "local"


def test_a_rollback_by_a_person_is_reported_with_its_origin(bench: Bench) -> None:
    boot(bench)
    bench.service.add("job-1", packed("1.1.0", 2))
    settle(bench)
    ota = importlib.import_module("ota")
    assert isinstance(bench.board.run(lambda: ota.rollback(yes=True)), hardware.Reset)
    boot(bench)
    assert told(bench)[-1] == ("1.0.0", 1)
    assert last(bench)["origin"] == "person"


@pytest.mark.parametrize(
    ("history", "origin"),
    [
        ([], "cable"),
        ([("FAILED", "1.0.0", 2, "job")], "cable"),
        ([("FAILED", "1.0.0", 3, "job"), ("SUCCEEDED", "1.0.0", 1, "local")], "local"),
        ([("SUCCEEDED", "1.0.0", 2, "job")], "cable"),
        ([("SUCCEEDED", "0.9.0", 1, "job"), ("SUCCEEDED", "1.0.0", 1, "job")], "cable"),
        ([("FAILED", "1.0.0", 2, "job")] * 8, None),
    ],
)
def test_what_no_update_of_the_history_brought_came_by_cable(
    bench: Bench, history: list[tuple[str, str, int, str]], origin: str | None
) -> None:
    boot(bench)
    report: Any = importlib.import_module("ota.report")
    keys = ("status", "version", "sequence", "origin")
    entries = [dict(zip(keys, entry, strict=True)) for entry in history]
    assert report.origin(entries, "1.0.0", 1) == origin


@pytest.mark.parametrize("history", [b"{}", b"[1, null]", b"no JSON", b'[{"status": 7}]'])
def test_a_history_that_makes_no_sense_keeps_no_board_from_reporting(
    bench: Bench, history: bytes
) -> None:
    boot(bench)
    note(bench, "history", history)
    assert reported(bench)["version"] == "1.0.0"


# -- when it is not wanted --------------------------------------------------------------------


def test_a_link_that_ends_with_a_report_makes_the_next_one_do_without(bench: Bench) -> None:
    """As on AWS, where the policy does not allow it: else no link would ever last."""
    bench.service.shadow = "cut"
    bench.boot(report=1)
    settle(bench)
    assert bench.agent.state == "Ready"
    assert bench.agent.stats.report == "given up: the link was lost"
    assert len(bench.service.reports) == 1
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.agent.callback = lambda *_: None
    bench.step()
    assert bench.agent.state == "Active", "a job comes over the link that lasts"
    assert len(bench.service.reports) == 1


def test_an_update_comes_through_where_every_report_ends_the_link(bench: Bench) -> None:
    bench.service.shadow = "cut"
    bench.boot(report=1)
    bench.service.add("job-1", packed("1.1.0", 2))
    for _ in range(8):
        try:
            if bench.step() is None:
                break
            bench.boot(report=1)
        except LinkDown:
            reconnect(bench)
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.agent.stats.report == "given up: the link was lost"


def test_the_link_after_the_next_tries_again(bench: Bench) -> None:
    bench.service.shadow = "cut"
    bench.boot(report=1)
    settle(bench)
    bench.service.shadow = "accepted"
    lose_link(bench)
    assert bench.agent.stats.report == "told"
    assert len(bench.service.reports) == 2


def test_a_refusal_is_given_up_until_the_next_link(bench: Bench) -> None:
    bench.service.shadow = "rejected"
    boot(bench)
    assert bench.agent.stats.report == "given up: refused"
    assert bench.agent._engine is None
    bench.service.shadow = "accepted"
    lose_link(bench)
    assert bench.agent.stats.report == "told"


def test_a_report_without_an_answer_is_given_up_until_the_next_link(bench: Bench) -> None:
    """As with a broker that drops what its access list forbids, and says nothing."""
    bench.service.shadow = ""
    boot(bench, retry_max_ms=1000)
    assert bench.agent.stats.report == "sent"
    shims.advance(1_100)
    bench.agent.step()
    assert bench.agent.stats.report == "given up: no answer"
    assert bench.agent._engine is None, "at rest all the same"
    bench.service.shadow = "accepted"
    lose_link(bench)
    assert bench.agent.stats.report == "told"


def test_the_answer_to_somebody_elses_update_is_not_taken_for_its_own(bench: Bench) -> None:
    bench.service.shadow = ""
    boot(bench)
    for answer in (b'{"clientToken":"report"}', b'{"state":{"desired":{}}}', b"{}", b""):
        assert bench.agent.on_message(f"{UPDATE}/accepted".encode(), answer)
        bench.agent.step()
        assert bench.agent.stats.report == "sent"


def test_a_board_without_the_extension_goes_on_and_says_what_is_missing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = __import__

    def without(name: str, *rest: Any) -> Any:
        if name == "ota.report":
            raise ModuleNotFoundError("No module named 'ota.report'")
        return real(name, *rest)

    monkeypatch.setattr("builtins.__import__", without)
    boot(bench)
    assert "no extension report: `make deploy EXTENSIONS=+report`" in bench.agent.stats.report
    assert bench.agent.state == "Ready"
    assert bench.agent.journal.history() == []
    monkeypatch.undo()
    bench.service.add("job-1", packed("1.1.0", 2))
    settle(bench)
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_a_board_without_memory_for_it_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.boot(report=1)
    loader: Any = importlib.import_module("ota.loader")

    def ask(*_: Any) -> Any:
        raise MemoryError("memory allocation failed")

    monkeypatch.setattr(loader, "ask", ask)
    bench.step()
    assert bench.agent.stats.report == "given up: memory allocation failed"
    assert bench.agent.state == "Ready"


def test_the_answer_is_listened_to_as_long_as_it_is_awaited(bench: Bench) -> None:
    """Brokers count subscriptions, and others may write to the shadow."""
    boot(bench)
    assert bench.agent.stats.report == "told"
    assert not [topic for topic in bench.client.filters if "shadow" in topic]
    assert not bench.agent.on_message(f"{UPDATE}/accepted".encode(), b"{}")


def test_a_shutdown_leaves_the_topics_of_a_report_without_an_answer(bench: Bench) -> None:
    bench.service.shadow = ""
    boot(bench)
    assert f"{UPDATE}/accepted" in bench.client.filters
    bench.agent.shutdown()
    assert bench.client.filters == []
    bench.service.shadow = "accepted"
    bench.agent.start()
    settle(bench)
    assert bench.agent.stats.report == "told", "a shutdown is no lost link"


def test_a_board_without_a_broker_has_nobody_to_tell(tmp_path: Path) -> None:
    chip = Chip(tmp_path)
    chip.boot(report=1)
    agent: Any = importlib.import_module("ota.agent")
    alone = agent.Agent(None, "board-1", settings={"product": "demo-board", "report": 1})
    assert alone.stats.report == "off"
