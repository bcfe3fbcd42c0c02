"""Broker, service and one simulated board, up until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from demo import children
from demo.__main__ import say
from demo.stack import THING, Stack
from sim.board import Board
from tools.natives import NativeMissing
from tools.paths import CACHE
from twinslot.client import application
from twinslot.errors import FleetError

APP = "def start():\n    print('app: the lamp is on')\n"


def explain(stack: Stack, board: Board, app: Path | None) -> None:
    """Print what can be tried now. app: folder of the application that the board was given."""
    host, port = board.console
    stack.pack("1.1.0", 2)
    stack.pack("1.2.0", 3, "selftest_fails")
    say(f"Up: broker 127.0.0.1:{stack.broker_port}, board {THING}; all files in {stack.folder}")
    say(f"  the service listens at {stack.endpoint.control}, its packages at {stack.endpoint.data}")
    say(f"  the board's console at socket://{host}:{port}; nothing listens beyond 127.0.0.1")
    say("")
    say("Update it, in another terminal:")
    say(f"  cd {stack.folder}")
    fleet = "../../.venv/bin/fleet" if stack.folder.parent == CACHE else "fleet"
    say(f"  {fleet} publish 1.1.0-good.ota {THING}            # a good one")
    say(f"  {fleet} publish 1.2.0-selftest_fails.ota {THING}  # one that is rolled back")
    say(f"  {fleet} status")
    if app is None:
        app = stack.application_folder("app", {"app.py": APP})
    say(f"Then change a file in {app} and bring the application, as often as you like:")
    say(f"  {fleet} push {shown(app, stack.folder)} {THING}")
    say("Look inside, here, as with a real board:")
    for target in ("status", "logs", "repl", "reset"):
        say(f"  make {target} PORT=socket://{host}:{port}")
    say(f"What the board prints: tail -f {board.log_path}")
    say("")
    say(f"Ctrl-C ends everything. From another terminal: kill {os.getpid()}")


def judged(folder: Path, *, force: bool) -> dict[str, bytes]:
    """Return the files of an application for the board, judged as `fleet pack` does."""
    options = application.Options(force=force, by_cable=True)
    found = application.collect(folder, options, chip=None)
    for line in (*found.notes, *(f"warning: {warning}" for warning in found.warnings)):
        say(line)
    return {f"/{path}": data for path, data in found.files.items()}


def shown(path: Path, folder: Path) -> str:
    """Return how to name `path` in a shell that stands in `folder`."""
    path = path.resolve()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def main() -> int:
    """Run until Ctrl-C. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo.play", description=__doc__)
    parser.add_argument("--app", type=Path, help="folder of the application to run on the board")
    parser.add_argument("--force", action="store_true", help="run also what could not run")
    parser.add_argument("--folder", type=Path, default=CACHE / "play", help="emptied first")
    arguments = parser.parse_args()
    try:
        own = judged(arguments.app, force=arguments.force) if arguments.app else None
        with Stack(arguments.folder, self_test_s=60) as stack:
            board = stack.board(THING, application=own)
            board.start()
            explain(stack, board, arguments.app)
            while True:
                time.sleep(3600)
    except (children.StartError, FleetError, NativeMissing) as error:
        say(f"play: {error}")
        return 2
    except KeyboardInterrupt:
        say("\nended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
