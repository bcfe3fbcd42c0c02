"""The picture of an update's states in docs/architecture.md is the one that the engine walks."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agent_bench
import bootloader
import chipboard
import hardware
import pytest
from agent_bench import Bench, Chip, Patient, application, pack, packed
from layout import SLOT_SIZE
from raw_world import RawBench, firmware
from test_agent_api import custom_job
from test_any_source import Local
from test_docs import ARCHITECTURE, code, plain, rows

from twinslot.trust import keys

Arrow = tuple[str, str]

# Where a state is none: before the engine is made, and after the chip was reset.
NOTHING = "[*]"
JOB = "job-1"
GOOD = packed("1.1.0", 2)
# A byte of the digest that makes a slot's last sector a trailer.
TRAILER = SLOT_SIZE - 1
REFUSED = b"$aws/things/board-1/jobs/$next/get/rejected"


def states() -> dict[str, tuple[str, str, str | None]]:
    engine: Any = importlib.import_module("ota.engine")
    found: dict[str, tuple[str, str, str | None]] = engine.STATES
    return found


def picture() -> tuple[set[Arrow], set[str]]:
    """Return the arrows of the picture, and the states inside its box.

    An arrow of the box is one of each state in it.
    """
    (text,) = code(ARCHITECTURE, "mermaid")
    box = re.search(r"state in_hand \{\n(.*?)\}", text, re.DOTALL)
    assert box
    drawn = re.findall(r"^ *(\S+) --> (\S+) : .+$", text, re.MULTILINE)
    assert len(drawn) == len(set(drawn)) == text.count("-->"), "no arrow is drawn twice"
    inside = {state for arrow in re.findall(r"(\S+) --> (\S+)", box[1]) for state in arrow}
    inside.discard(NOTHING)
    arrows = set()
    for before, after in drawn:
        assert after != "in_hand"
        arrows |= {(state, after) for state in (inside if before == "in_hand" else {before})}
    return arrows, inside


PICTURE, IN_HAND = picture()


def test_the_table_names_each_state_with_its_module_its_phase_and_the_journals() -> None:
    table = {
        plain(state): (plain(phase), plain(module), plain(noted) or None)
        for state, module, phase, noted, _ in rows(ARCHITECTURE, "state")
    }
    assert table == states()


def test_the_picture_has_every_state_and_its_box_those_with_an_update_in_hand() -> None:
    assert {state for arrow in PICTURE for state in arrow} - {NOTHING} == set(states())
    outside = {"resting", "asking", "tidying", "taking", "proving", "reporting"}
    assert set(states()) - outside == IN_HAND


# -- what the engine does --------------------------------------------------------------------------


class Watch:
    """Every arrow that engines have gone. `boxed`: states that said an update was in hand."""

    def __init__(self) -> None:
        self.arrows: set[Arrow] = set()
        self.boxed: set[str] = set()

    def changes(self, module: Any) -> None:
        """Watch each engine that this module makes."""
        begin, become, step = (
            getattr(module.Engine, name) for name in ("__init__", "become", "step")
        )

        def beginning(engine: Any, *arguments: Any) -> None:
            begin(engine, *arguments)
            self.arrows.add((NOTHING, engine.state))

        def becoming(engine: Any, state: str, *arguments: Any, **changes: Any) -> None:
            before = engine.state
            become(engine, state, *arguments, **changes)
            if state != before:
                self.arrows.add((before, state))
            if engine.in_hand:
                self.boxed.add(state)

        def stepping(engine: Any) -> Any:
            try:
                return step(engine)
            except hardware.Reset:
                self.arrows.add((engine.state, NOTHING))
                raise

        module.Engine.__init__, module.Engine.become = beginning, becoming
        module.Engine.step = stepping


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    fresh = chipboard.fresh_ota

    def watched(folder: Path) -> Any:
        ota = fresh(folder)
        chipboard.on_load("engine", watch.changes)
        return ota

    monkeypatch.setattr(agent_bench, "fresh_ota", watched)
    return watch


def state_of(bench: Bench) -> str | None:
    """Return the state of the bench's engine, None at rest."""
    engine = bench.agent._engine
    return str(engine.state) if engine else None


def until(bench: Bench, state: str) -> None:
    """Step until the engine is in `state`."""
    for _ in range(20_000):
        if state_of(bench) == state:
            return
        bench.client.deliver()
        bench.agent.step()
    raise AssertionError(f"never {state}, but {state_of(bench)}")


def quiet(bench: Bench) -> None:
    """Let the board come to rest, over every reset."""
    if bench.step() is not None:
        bench.until_quiet()


def updates(folder: Path) -> None:
    """Firmware, an application, both."""
    chip = Chip(folder)
    assert chip.update(JOB, GOOD) == "SUCCEEDED"
    assert chip.update("job-2", pack("1.2.0", 3, application("1.2.0"))) == "SUCCEEDED"
    both = pack("1.3.0", 4, application("1.3.0"), behaviour="good")
    assert chip.update("job-3", both) == "SUCCEEDED"


def failures(folder: Path) -> None:
    """One refused at its head, one that does not read back, one that is cancelled."""
    bench = Bench(folder)
    bench.service.add(JOB, packed("1.1.0", 2, key=keys.generate()))
    damaged = bytearray(GOOD)
    damaged[20_000] ^= 1
    bench.service.add("job-2", bytes(damaged))
    bench.until_quiet()
    assert bench.service.details("job-2")["cause"] == "bad_image"
    bench.service.add("job-3", GOOD)
    until(bench, "receiving")
    bench.service.cancel("job-3")
    quiet(bench)
    assert bench.agent.state == "Ready"


def given_up_in(state: str) -> Callable[[Path], None]:
    """Let the application abort in this state."""

    def scenario(folder: Path) -> None:
        bench, patient = Bench(folder), Patient()
        brings = pack("1.1.0", 2, application("1.1.0")) if state == "measuring" else GOOD
        bench.service.add(JOB, brings)
        bench.boot(patient)
        if state in ("checking", "rehashing"):
            bench.step()
            bench.boot(patient)
        if state in ("agreed", "confirming"):
            until(bench, "waiting")
            bench.service.silent_updates = state == "agreed"
            bench.agent.activate()
        until(bench, state)
        bench.agent.abort()
        bench.service.silent_updates = False
        quiet(bench)
        assert bench.service.details(JOB)["cause"] == "user"

    return scenario


def no_boot(folder: Path) -> None:
    """The chip refuses the new slot."""
    bench = Bench(folder)
    bench.service.add(JOB, GOOD)
    bench.boot(Patient())
    until(bench, "waiting")
    refuse: Any = bootloader.ImageError("this chip is of another revision")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootloader, "verify", lambda *_, **__: (_ for _ in ()).throw(refuse))
        bench.agent.activate()
        quiet(bench)
    assert bench.service.details(JOB)["cause"] == "activate"


def changed_while_waiting(folder: Path) -> None:
    """Something wrote into the new slot while it waited."""
    bench = Bench(folder)
    bench.service.add(JOB, GOOD)
    bench.boot(Patient())
    until(bench, "waiting")
    bench.board.damage(1, 20_000)
    bench.agent.activate()
    quiet(bench)
    assert bench.service.details(JOB)["cause"] == "bad_image"


def cut_short(folder: Path) -> None:
    """A restart in the midst of the transfer, which then goes on."""
    bench = Bench(folder)
    bench.service.add(JOB, GOOD)
    bench.boot()
    until(bench, "receiving")
    bench.until_quiet()
    assert bench.service.status(JOB) == "SUCCEEDED"


def restarts(folder: Path) -> None:
    """While it waits, once the application has agreed, and when the slot has lost it."""
    bench, patient = Bench(folder), Patient()
    bench.service.add(JOB, GOOD)
    bench.until_quiet(patient)
    bench.until_quiet(patient)
    bench.service.silent_updates = True
    bench.agent.activate()
    bench.agent.step()
    assert state_of(bench) == "agreed"
    bench.service.silent_updates = False
    bench.until_quiet()
    assert bench.service.status(JOB) == "SUCCEEDED"
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.until_quiet(patient)
    assert bench.agent.journal.phase == "VERIFIED"
    bench.board.damage(0, TRAILER)
    bench.until_quiet()
    assert bench.service.status("job-2") == "SUCCEEDED"


def raw_images(folder: Path) -> None:
    """A raw image, also over a restart before and after the application has agreed."""
    bench, patient = RawBench(folder), Patient()
    bench.add(JOB, firmware())
    bench.until_quiet(patient)
    bench.until_quiet(patient)
    bench.service.silent_updates = True
    bench.agent.activate()
    bench.agent.step()
    bench.service.silent_updates = False
    bench.until_quiet()
    assert bench.service.status(JOB) == "SUCCEEDED"


def files(folder: Path) -> None:
    """A file, which waits over a restart."""
    chip = Chip(folder)
    path = folder / "x.ota"
    path.write_bytes(GOOD)
    patient = Patient()
    chip.boot(patient)
    chip.agent.install(str(path))
    chip.step(20_000)
    assert state_of(chip) == "waiting"
    chip.boot(patient)
    until(chip, "rehashing")
    local = Local(chip)
    local.boot()
    while chip.step(20_000) is not None:
        local.boot()
    assert chip.agent.running == ("1.1.0", 2)


def rollbacks(folder: Path) -> None:
    """A test that fails, one that the application ends; a person's way back, a result untold."""
    bench = Bench(folder)
    bench.service.add(JOB, GOOD)

    def rejects(event: str, detail: Any) -> None:
        if event == "StartTest":
            bench.agent.reject()
        else:
            bench.agent._default_callback(event, detail)

    bench.until_quiet(rejects)
    assert bench.service.details(JOB)["cause"] == "rejected"
    bench.service.add("job-2", packed("1.2.0", 3))
    assert isinstance(bench.step(), hardware.Reset)
    bench.service.silent_updates = True
    bench.boot()
    bench.step()
    assert state_of(bench) == "reporting"
    ota: Any = importlib.import_module("ota")
    assert isinstance(bench.board.run(lambda: ota.rollback(True)), hardware.Reset)
    bench.service.silent_updates = False
    bench.until_quiet()
    assert bench.service.status("job-2") == "SUCCEEDED"
    assert bench.agent.running == ("1.0.0", 1)


def conversations(folder: Path) -> None:
    """A job of the application's own, a thing nobody knows, news while it tidies and takes."""
    bench = Bench(folder)
    custom_job(bench, JOB)
    bench.boot(lambda event, _: event == "ParseCustomJob")
    bench.step()
    bench.agent.report(JOB, "SUCCEEDED")
    bench.step()
    assert bench.agent.state == "Ready"
    bench.agent.on_message(REFUSED, b'{"code": "ResourceNotFound"}')
    bench.step()
    bench.agent.start()
    until(bench, "tidying")
    bench.agent.check_for_update()
    assert state_of(bench) == "asking"
    until(bench, "tidying")
    bench.service.add("job-2", GOOD)
    until(bench, "taking")
    bench.service.cancel("job-2")
    bench.step()
    assert bench.service.status("job-2") == "CANCELED"


SCENARIOS = [
    updates,
    failures,
    no_boot,
    changed_while_waiting,
    cut_short,
    restarts,
    raw_images,
    files,
    rollbacks,
    conversations,
    *(given_up_in(state) for state in sorted(IN_HAND - {"activating"})),
]


def test_the_arrows_of_the_picture_are_those_that_the_engine_goes(
    tmp_path: Path, watch: Watch
) -> None:
    for number, scenario in enumerate(SCENARIOS):
        scenario(tmp_path / str(number))
        assert watch.arrows <= PICTURE, f"{scenario.__name__}: {watch.arrows - PICTURE}"
    assert watch.arrows == PICTURE, PICTURE - watch.arrows
    assert watch.boxed == IN_HAND
