"""ota.rollback(): a person returns to the other slot, and the board proves that image, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hardware
import nor
import nvs
import pytest
from agent_bench import Bench, packed
from layout import SLOT_SIZE

NEW, PENDING, VALID, INVALID, ABORTED = range(5)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A board that was updated from 1.0.0 (ota_0) to 1.1.0 (ota_1)."""
    bench = Bench(tmp_path)
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.until_quiet()
    assert bench.agent.running == ("1.1.0", 2)
    return bench


def ask(bench: Bench, name: str = "rollback", *arguments: Any) -> Any:
    """Call a function of the package as a person does. Returns the Reset that came, or None."""
    ota = __import__("ota")
    return bench.board.run(lambda: getattr(ota, name)(*arguments))


def rolled_back(bench: Bench) -> None:
    assert isinstance(ask(bench, "rollback", True), hardware.Reset)


def flash(bench: Bench) -> tuple[Any, bytes | None]:
    """What decides about the next start: otadata, and the watchdog."""
    return bench.board.records(), hardware.board.watchdog_ms


def test_the_image_before_runs_again_and_the_history_says_who_wanted_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    rolled_back(bench)
    assert "ota_1 runs version 1.1.0; ota_0 holds version 1.0.0." in capsys.readouterr().out
    assert bench.boot() is None
    assert bench.agent.image_state == PENDING, "it is tested, as any new image"
    assert bench.step() is None
    assert bench.agent.running == ("1.0.0", 1)
    assert bench.board.records() == [(3, VALID), (2, VALID)]
    capsys.readouterr()
    ask(bench, "history")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "SUCCEEDED  by a person  sequence 1"
    assert lines[1].strip() == "rolled back by a person from version 1.1.0"
    assert lines[2] == "SUCCEEDED  job job-1  sequence 2"
    assert bench.service.updates[-1][:2] == ("job-1", "SUCCEEDED"), "no job is told anything"


def test_the_floor_stays_the_highest_sequence_ever_accepted(bench: Bench) -> None:
    rolled_back(bench)
    bench.until_quiet()
    bench.service.add("job-2", packed("1.1.0", 2))
    assert bench.step() is None
    assert bench.service.details("job-2")["cause"] == "same_sequence"
    bench.service.add("job-3", packed("1.2.0", 3))
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-3") == "SUCCEEDED"
    assert bench.agent.running == ("1.2.0", 3)


def test_the_floor_of_an_image_flashed_by_cable_is_kept_as_well(bench: Bench) -> None:
    nvs.Store(bench.board.flash).set("ota", "trust", b"")  # the running slot's trailer has it
    rolled_back(bench)
    bench.until_quiet()
    assert bench.agent.journal.accepted()[0] == 2


def test_a_second_rollback_leads_forward_again(bench: Bench) -> None:
    for version in ("1.0.0", "1.1.0"):
        rolled_back(bench)
        bench.until_quiet()
        assert bench.agent.running[0] == version


def test_without_a_yes_nothing_is_changed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = flash(bench)
    asked: list[str] = []

    def answer(text: str) -> str:
        asked.append(text)
        return "no"

    monkeypatch.setattr("builtins.input", answer)
    assert ask(bench) is None
    assert asked == ["Type yes to boot ota_0: "]
    assert flash(bench) == before
    assert bench.agent.state == "Ready"
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert isinstance(ask(bench), hardware.Reset)


def test_a_damaged_image_is_never_booted(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.board.damage(0, 20_000)
    before = flash(bench), vars(bench.agent.journal).copy()
    assert ask(bench, "rollback", True) is None
    assert "ota_0 does not hold the image that the manifest names" in capsys.readouterr().out
    assert (flash(bench), vars(bench.agent.journal)) == before
    assert bench.agent.state == "Ready", "it was suspended only for the attempt"


def test_what_was_rolled_back_is_not_returned_to(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.service.add("job-2", packed("1.2.0", 3))
    assert isinstance(bench.step(), hardware.Reset)
    bench.boot(lambda *_: None)
    bench.board.run(lambda: bench.agent.reject("no"))
    bench.until_quiet()
    assert ask(bench, "rollback", True) is None
    said = capsys.readouterr().out
    assert "No rollback: version 1.2.0 in ota_0 did not prove itself here" in said


def test_an_image_that_was_received_but_never_ran_is_not_returned_to(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.boot(lambda *_: None)
    assert bench.step() is None
    assert bench.agent.journal.phase == "VERIFIED"
    assert bench.board.records()[0] == (1, VALID), "the record is that of the image before"
    assert ask(bench, "rollback", True) is None
    assert "version 1.2.0 in ota_0 was never accepted here" in capsys.readouterr().out
    bench.service.cancel("job-2")
    bench.step()
    assert ask(bench, "rollback", True) is None


def test_while_an_update_is_received_there_is_nothing_to_return_to(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.service.add("job-2", packed("1.2.0", 3))
    while not bench.agent.progress or bench.agent.progress[0] < 3:
        bench.client.deliver()
        bench.agent.step()
    assert ask(bench, "rollback", True) is None
    assert "ota_0 is being filled by an update" in capsys.readouterr().out
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-2") == "SUCCEEDED", "the attempt did the update no harm"


def test_a_result_nobody_acknowledged_yet_is_told_after_the_rollback(bench: Bench) -> None:
    bench.service.add("job-2", packed("1.2.0", 3))
    assert isinstance(bench.step(), hardware.Reset)
    bench.service.silent_updates = True
    assert bench.boot() is None
    bench.step()
    assert bench.agent.journal.result["job"] == "job-2"
    rolled_back(bench)
    bench.service.silent_updates = False
    bench.until_quiet()
    assert bench.agent.running == ("1.1.0", 2)
    assert bench.service.status("job-2") == "SUCCEEDED"
    assert [e["origin"] for e in bench.agent.journal.history()] == ["person", "job", "job"]


# -- who accepts it -------------------------------------------------------------------------------


def test_the_application_is_asked_about_it_without_any_job(bench: Bench) -> None:
    rolled_back(bench)
    events: list[tuple[str, Any]] = []
    bench.boot(lambda *event: events.append(event))
    bench.step()
    assert events == [("StartTest", "1.0.0")]
    assert bench.agent.image_state == PENDING
    bench.agent.accept()
    assert bench.agent.image_state == VALID, "at once: nothing else was missing"


def test_a_job_that_waits_does_not_disturb_the_test(bench: Bench) -> None:
    rolled_back(bench)
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.boot(lambda *_: None)
    bench.step()
    assert bench.agent.image_state == PENDING
    assert bench.service.status("job-2") == "QUEUED"
    bench.agent.accept()
    bench.until_quiet()
    assert bench.agent.running == ("1.2.0", 3)


def test_a_stale_self_test_of_another_job_is_not_taken_for_it(bench: Bench) -> None:
    rolled_back(bench)
    bench.boot(lambda *_: None)
    bench.service.add("job-2", packed("1.2.0", 3))
    details = {"self_test": "active", "updatedBy": "0x3"}
    bench.service.jobs["job-2"].update(status="IN_PROGRESS", statusDetails=details)
    bench.service.notify()  # before the agent's first step
    bench.client.deliver(8)
    bench.step()
    assert (bench.agent.journal.origin, bench.agent.journal.job) == ("person", "")
    ask(bench, "accept")
    assert bench.agent.journal.history()[0]["job"] == ""


def test_accept_keeps_it_without_a_network(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    rolled_back(bench)
    bench.service.online = False
    with pytest.raises(OSError, match="reset"):
        bench.boot()
    assert bench.agent is not None
    capsys.readouterr()
    ask(bench, "accept")
    assert "Accepted: version 1.0.0 stays." in capsys.readouterr().out
    assert bench.board.records()[0] == (3, VALID)


def test_an_image_nobody_accepts_leaves_by_the_deadline_with_its_cause(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    rolled_back(bench)
    bench.boot(lambda *_: None)
    bench.step()
    assert isinstance(bench.board.run(hardware.hang), hardware.Reset)
    bench.until_quiet()
    assert bench.agent.running == ("1.1.0", 2)
    capsys.readouterr()
    ask(bench, "history")
    assert capsys.readouterr().out.startswith("FAILED  by a person  sequence 1  watchdog\n")
    ask(bench, "rollback", True)
    assert "did not prove itself here" in capsys.readouterr().out


# -- the power fails ------------------------------------------------------------------------------


def test_a_power_cut_during_its_test_gives_it_a_second_try(bench: Bench) -> None:
    rolled_back(bench)
    bench.boot(lambda *_: None)
    bench.board.cause = hardware.PWRON
    assert isinstance(bench.boot(), hardware.Reset), "hashed again, and activated again"
    bench.until_quiet()
    assert bench.agent.running == ("1.0.0", 1)


def test_after_the_second_power_cut_it_has_failed(bench: Bench) -> None:
    rolled_back(bench)
    for _ in range(2):
        bench.boot(lambda *_: None)
        bench.board.cause = hardware.PWRON
        bench.boot(lambda *_: None)
    bench.until_quiet()
    assert bench.agent.running == ("1.1.0", 2)
    entry = bench.agent.journal.history()[0]
    assert (entry["status"], entry["origin"], entry["cause"]) == ("FAILED", "person", "power")


def test_an_image_damaged_meanwhile_gets_no_second_try(bench: Bench) -> None:
    rolled_back(bench)
    bench.boot(lambda *_: None)
    bench.board.cause = hardware.PWRON
    bench.board.damage(0, 20_000)
    assert bench.boot() is None
    assert bench.agent.running == ("1.1.0", 2)
    assert bench.agent.journal.history()[0]["cause"] == "bad_image"


def test_whenever_the_power_fails_one_of_the_two_images_stays(bench: Bench) -> None:
    cells = bytes(bench.board.cells.getbuffer())
    cuts = 0
    for operation in range(1, 40):
        bench.board.cells.getbuffer()[:] = cells
        hardware.board = None
        bench.board.cause = hardware.PWRON
        assert bench.boot() is None
        bench.board.flash.cut_at = bench.board.flash.operations + operation
        ended = ask(bench, "rollback", True)
        if not isinstance(ended, nor.PowerCut):
            break
        cuts += 1
        bench.until_quiet()
        assert bench.agent.image_state in (VALID, None)
        assert bench.agent.running in (("1.0.0", 1), ("1.1.0", 2))
        assert bench.agent.journal.phase in ("NONE", "ACCEPTED")
        bench.service.updates.clear()
    assert cuts >= 3, "the journal's write and both of otadata's"


# -- looking changes nothing ----------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["alive", "not connected", "none", "no keys"])
def test_no_look_ends_a_test_and_each_names_the_seconds_left(
    bench: Bench, capsys: pytest.CaptureFixture[str], agent: str
) -> None:
    bench.service.add("job-2", packed("1.2.0", 3))
    assert isinstance(bench.step(), hardware.Reset)
    bench.boot(lambda *_: None)
    bench.step()
    ota = __import__("ota")
    calls = [ota.status, ota.history, ota.check_for_update, ota.verify, lambda: ota.rollback(True)]
    answers = ["", "", "asks", "matches", "No rollback: ota_0 is under test"]
    if agent == "not connected":
        bench.agent.shutdown()
        answers[2] = "not connected"
    elif agent == "none":
        ota.agent.Agent.current = None
        calls.append(ota.accept)
        answers[2:3] = ["No agent is alive"]
        answers.append("No agent is alive")
    elif agent == "no keys":
        (bench.board.folder / "etc/trusted_keys.pem").unlink()
        calls, answers = calls[3:], ["it must hold the public keys this board"] * 2
    fed: list[int] = []
    hardware.board.watchdog = fed.append
    before = flash(bench), vars(bench.agent.journal).copy()
    for call, answer in zip(calls, answers, strict=True):
        capsys.readouterr()
        assert bench.board.run(call) is None
        said = capsys.readouterr().out
        assert answer in said
        assert "accepted within 1" in said
        assert all(len(line) < 80 for line in said.splitlines())
    assert (flash(bench), vars(bench.agent.journal)) == before
    assert fed == []


def test_a_test_stopped_by_a_look_says_so_when_its_time_is_over(bench: Bench) -> None:
    bench.service.add("job-2", packed("1.2.0", 3))
    assert isinstance(bench.step(), hardware.Reset)
    bench.boot(lambda *_: None)
    bench.step()
    ask(bench, "status")  # and nobody starts main.py again
    assert isinstance(bench.board.run(lambda: bench.board.time_passes(21_000)), hardware.Reset)
    bench.until_quiet()
    assert bench.service.details("job-2")["cause"] == "stopped"
    assert "stopped at the REPL" in bench.service.details("job-2")["detail"]


def test_accept_at_the_prompt_waits_for_what_is_missing(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.service.add("job-2", packed("1.2.0", 3))
    assert isinstance(bench.step(), hardware.Reset)
    bench.boot(lambda *_: None)
    capsys.readouterr()
    ask(bench, "accept")
    said = capsys.readouterr().out
    assert "as soon as the job service names its job" in said
    assert "accepted within 1" in said
    assert bench.agent.image_state == PENDING
    bench.step()
    assert bench.agent.image_state == VALID
    ask(bench, "accept")
    assert "no image under test" in capsys.readouterr().out


def test_what_verify_finds_is_said_for_each_slot(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(bench, "verify")
    assert capsys.readouterr().out.splitlines() == [
        "ota_1  .......... matches version 1.1.0",
        "ota_0  .......... matches version 1.0.0",
    ]
    bench.board.damage(0, 30_000)
    ask(bench, "verify")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("matches version 1.1.0")
    assert "differs: ota_0 does not hold the image that the manifest names" in lines[1]
    bench.board.damage(0, SLOT_SIZE - 4096)
    ask(bench, "verify")
    assert "no trailer" in capsys.readouterr().out
    bench.board.flash_slot(0, b"")
    ask(bench, "verify")
    assert capsys.readouterr().out.splitlines()[1] == "ota_0  empty"


def test_without_an_agent_the_functions_say_so(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    ota = __import__("ota")
    ota.agent.Agent.current = None
    for call in (ota.check_for_update, ota.accept):
        call()
    said = capsys.readouterr().out
    assert "No agent is alive" in said
    assert "no image under test" in said


def test_check_for_update_makes_the_live_agent_ask(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.service.outgoing.clear()  # its news is lost
    ask(bench, "check_for_update")
    assert "at its next step" in capsys.readouterr().out
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-2") == "SUCCEEDED"
    bench.agent.shutdown()
    ask(bench, "check_for_update")
    assert "not connected" in capsys.readouterr().out
