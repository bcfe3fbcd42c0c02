"""kill -9 of any part, in any phase: the update goes on by itself and ends accepted, on both ends.

The board's application holds the board in one phase for a moment and says so on its console; there
the part is killed. Seeds are printed, so that a failure can be played again.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import time
from pathlib import Path

import pytest

from demo.children import wait_for
from demo.stack import Stack
from sim.board import Board

HOLD_S = 1.5

# Runs on the board. /held keeps it from holding twice.
APP = """
import os, time
import ota.journal as journal
PHASE = "%s"
_save = journal.Journal.save
def hold():
    try:
        os.stat("/held")
    except OSError:
        open("/held", "w").close()
        print("HOLDING", PHASE)
        time.sleep(%s)
def save(self, **changes):
    _save(self, **changes)
    if changes.get("phase") == PHASE or (PHASE == "RECEIVING" and changes.get("next")):
        hold()
journal.Journal.save = save
def start():
    from ota.agent import Agent
    if PHASE == "TESTING" and Agent.current.image_state == 1:
        hold()
"""

PHASES = ["RECEIVING", "VERIFIED", "ACTIVATED", "TESTING", "ACCEPTED"]
VICTIMS = ["service", "broker", "board"]
# One is in the quick suite; the whole table takes a minute on two cores.
QUICK = {("RECEIVING", "board")}
CELLS = [
    pytest.param(*cell, marks=() if cell in QUICK else pytest.mark.slow)
    for cell in itertools.product(PHASES, VICTIMS)
]
VALID = 2


def kill(victim: str, stack: Stack, board: Board) -> None:
    """kill -9 one part; what does not start again by itself is started again, as by systemd."""
    if victim == "service":
        stack.kill_service()
        stack.start_service()
    elif victim == "broker":
        stack.kill_broker()
        stack.start_broker()
    else:
        board.power_cut()


@pytest.mark.parametrize(("phase", "victim"), CELLS)
def test_a_killed_part_delays_an_update_but_never_spoils_it(
    phase: str, victim: str, tmp_path: Path
) -> None:
    seed = int(os.environ.get("KILL_SEED", "0")) or random.randrange(1, 10**6)
    sys.stdout.write(f"KILL_SEED={seed}\n")
    application = {"/app.py": (APP % (phase, HOLD_S)).encode()}
    with Stack(tmp_path / "stack") as stack:
        # What the application replaced in a module would be gone when that is loaded again.
        board = stack.board(application=application, settings={"unload": 0})
        board.start()
        board.wait_console("running version 1.0.0")
        job = stack.publish(stack.pack("1.1.0", 2))
        board.wait_console(f"HOLDING {phase}", timeout=60)
        time.sleep(random.Random(seed).uniform(0, HOLD_S))
        kill(victim, stack, board)
        wait_for(lambda: stack.finished(job), f"the end of {job}", timeout=90)
        execution = stack.execution(job)
        assert execution["status"] == "SUCCEEDED", execution["statusDetails"]
        assert execution["statusDetails"]["reason"] == "accepted v1.1.0"
        wait_for(lambda: b'"result":null' in (board.nvs("ota", "journal") or b""), "the last note")
        assert board.boots[-1][0] == 1
        assert stack.firmware("1.1.0") == board.slot_bytes(1, len(stack.firmware("1.1.0")))
        _, state = max(record for record in board.otadata() if record)
        assert state == VALID
