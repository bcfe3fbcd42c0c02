"""The drill of docs/keys.md: a signing key is stolen and used, and the fleet gets rid of it.

Boards run the firmware under MicroPython, beside a real broker and service; every command is one of
the page's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fleet_service import until
from layout import SLOT_SIZE, SLOTS
from link_fixtures import need
from test_looking_inside import Person

from demo.stack import Stack
from sim.board import Board
from twinslot.client import shadow
from twinslot.errors import PackageError
from twinslot.formats.component import firmware_content
from twinslot.formats.trailer import read_trailer
from twinslot.trust import keys, signing

LAST = 2**31 - 1
IN_2099 = 4_070_908_800
SIZE = 60_000  # bytes of an image
PATIENCE = 300  # seconds for all boards


class Drill:
    """A fleet whose root key lies off line, and its boards. robbed: they run a thief's image."""

    def __init__(self, stack: Stack, folder: Path, count: int) -> None:
        self.stack = stack
        self.root = folder / "stick"
        self.root.mkdir()
        for path in stack.config.folder.glob("keys/root.*pem"):
            path.rename(self.root / path.name)
        self.stolen = keys.read_private(stack.config.signing_key)
        self.boards: dict[str, Board] = {}
        for number in range(count):
            thing = f"board-{number}"
            self.boards[thing] = stack.board(thing, settings={"report": 1})

    def thieves_package(self) -> bytes:
        firmware = self.stack.firmware("6.6.6", size=SIZE)
        contents = [firmware_content(firmware)]
        return signing.build(contents, self.stolen, "demo-board", "6.6.6", LAST, IN_2099)

    def rob(self, thing: str) -> None:
        """Let a board take the thief's package: he has a way to it of his own."""
        board = self.boards[thing]
        board.stop()
        board.install({"/x.ota": self.thieves_package()})
        board.start()
        board.wait_console("main: running version 1.0.0")
        person = Person(board)
        person.stop_main()
        person.wait_for_echo("ota.install('/x.ota')")
        self.wait([thing], version="6.6.6", sequence=LAST)

    def said(self, thing: str) -> dict[str, Any]:
        found = shadow.of_thing(self.stack.clients.client("iot-data"), thing)
        return {} if found is None else vars(found)

    def wait(self, things: list[str], **expected: Any) -> None:
        """Wait until boards have reported these values."""
        for thing in things:

            def has(thing: str = thing) -> bool:
                return self.said(thing).items() >= expected.items()

            until(has, f"{expected} of {thing}", PATIENCE)

    def rotate(self, old: str, new: str, version: str, *more: str) -> None:
        self.stack.fleet("keys", "rotate", old, new, *more)
        self.pack_set(version, "root")

    def pack_set(self, version: str, root: str) -> None:
        """Sign the draft, with firmware and application. root: name of the key on the stick."""
        folder = self.stack.application_folder(f"app-{version}", {"who.py": f"# {version}\n"})
        image = self.stack.folder / f"image-{version}.bin"
        image.write_bytes(self.stack.firmware(version, size=SIZE))
        contents = ["--firmware", image.name, "--app", folder.name, "--mpy"]
        key = str(self.root / f"{root}.pem")
        self.stack.fleet("keys", "pack", "--version", version, "--key", key, *contents)

    def kids_in_flash(self, thing: str) -> set[bytes]:
        """The keys of all records that a slot's trailer holds."""
        flash = self.boards[thing].flash_path.read_bytes()
        found = set()
        for _, _, _, start, _ in SLOTS:
            try:
                heads, _ = read_trailer(flash[start + SLOT_SIZE - 4096 : start + SLOT_SIZE])
            except PackageError:
                continue
            found |= {head.kid for head in heads}
        return found


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    need("mosquitto")
    with Stack(tmp_path / "stack") as made:
        if made.interpreter != "micropython":
            pytest.skip("boards of the drill run under MicroPython")
        yield made


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("count", "robbed", "away"), [(3, 1, 1), (20, 2, 3)])
def test_a_stolen_signing_key_is_revoked_on_boards_that_a_thief_had_and_on_those_that_were_away(
    stack: Stack, tmp_path: Path, count: int, robbed: int, away: int
) -> None:
    drill = Drill(stack, tmp_path, count)
    things = list(drill.boards)
    gone, here = things[-away:], things[:-away]
    for thing in here:
        drill.boards[thing].start()
    drill.wait(here, version="1.0.0", keys=1)
    for thing in here[:robbed]:
        drill.rob(thing)

    drill.rotate("signing", "second", "2.0.0", "--stolen")
    stack.fleet("keys", "send", *things)
    drill.wait(here, version="2.0.0", keys=2)
    drill.rotate("second", "third", "3.0.0")
    stack.fleet("keys", "send", *things)
    drill.wait(here, version="3.0.0", keys=3)

    folder = stack.application_folder("app-4.0.0", {"who.py": "# 4.0.0\n"})
    stack.fleet("pack", "--app", folder.name, "--mpy", "--version", "4.0.0", "-o", "4.ota")
    stack.fleet("publish", "4.ota", *things)
    for thing in gone:
        drill.boards[thing].start()
    drill.wait(things, version="4.0.0", keys=3)
    for thing in things:
        (folder / "who.py").write_text(f"# 5.0.0 of {thing}\n")
        said = stack.fleet("push", folder.name, thing, "--mpy", "--version", "5.0.0")
        assert f"accepted: {thing} runs 5.0.0" in said
    drill.wait(things, version="5.0.0", keys=3)

    (stack.folder / "6.ota").write_bytes(drill.thieves_package())
    published = stack.fleet("publish", "--json", "--force", "6.ota", *things)
    job = json.loads(published.splitlines()[-1])["job"]
    stolen = keys.kid(drill.stolen.public_key())
    for thing in things:
        until(partial(stack.finished, job, thing), f"an answer of {thing}", PATIENCE)
        details = stack.execution(job, thing)["statusDetails"]
        assert details["cause"] == "unknown_key"
        assert "a revoked key in set 3" in details["detail"]
        assert stolen not in drill.kids_in_flash(thing), "nothing of it can be booted"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_root_key_replaces_the_first_one_that_was_lost(
    stack: Stack, tmp_path: Path
) -> None:
    drill = Drill(stack, tmp_path, 2)
    things = list(drill.boards)
    for thing in things:
        drill.boards[thing].start()
    drill.wait(things, version="1.0.0", keys=1)

    stack.fleet("keys", "new", "spare")
    stack.fleet("keys", "add", "spare", "--role", "root")
    drill.pack_set("2.0.0", "root")
    stack.fleet("keys", "send", *things)
    drill.wait(things, version="2.0.0", keys=2)

    (drill.root / "root.pem").unlink()  # the stick is gone
    (stack.folder / "keys/spare.pem").rename(drill.root / "spare.pem")
    stack.fleet("keys", "revoke", "root")
    drill.pack_set("3.0.0", "spare")
    stack.fleet("keys", "send", *things)
    drill.wait(things, version="3.0.0", keys=3)

    folder = stack.application_folder("app-4.0.0", {"who.py": "# 4.0.0\n"})
    stack.fleet("pack", "--app", folder.name, "--mpy", "--version", "4.0.0", "-o", "4.ota")
    stack.fleet("publish", "4.ota", *things)
    drill.wait(things, version="4.0.0", keys=3)
