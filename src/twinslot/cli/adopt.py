"""The command adopt."""

from pathlib import Path

import click

from twinslot.board import adopt as adopting
from twinslot.board import adoption, flash
from twinslot.board.cable import Cable
from twinslot.board.port import resolve
from twinslot.cli.parts import FILE, FOLDER, by_cable, settings_extensions, short
from twinslot.cli.say import say
from twinslot.errors import FleetError

SAVED = "adopted"


@click.command()
@click.argument("port")
@click.option(
    "--settings",
    type=FOLDER,
    metavar="DIR",
    help="Settings folder of the board, for its /etc.",
)
@by_cable
@click.option(
    "--firmware",
    type=FILE,
    metavar="FILE",
    help="MicroPython download, for a board whose table has no two slots.",
)
@click.option("--fleet", type=FOLDER, metavar="DIR", help="Folder of fleet.toml, whose key signs.")
@click.option(
    "--save",
    "place",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help=f"Folder for the files of the board.  [default: {SAVED}/, by the chip's number]",
)
@click.option(
    "--drop",
    multiple=True,
    metavar="LABEL",
    help="Partition with data of the board's own that need not stay; may be repeated.",
)
@settings_extensions
@click.option("--yes", is_flag=True, help="Change the board without asking.")
def adopt(
    port: str,
    settings: Path | None,
    app: dict[str, bytes] | None,
    firmware: Path | None,
    fleet: Path | None,
    place: Path | None,
    drop: tuple[str, ...],
    chosen: str | None,
    yes: bool,
) -> None:
    """Bring the running board at PORT under the fleet.

    The command looks at MicroPython, partition table, files and free room, says what it takes, and
    saves the board's files. Without --settings it ends there. With them it then does it: by files
    alone where the table has two slots, else by writing all of the flash (--firmware), after which
    the files come back. docs/moving-in.md is for boards that other projects update so far.
    """
    if fleet and not firmware:
        raise click.UsageError("--fleet signs what --firmware brings; give both")
    with Cable(port) as cable, cable.paused() as pause:
        found, old = adopting.look(cable)
        for line in found.lines():
            say(line)
        if old:
            saved = adopting.save(old, place or Path(SAVED) / (found.number or "board"))
            say(f"Saved {len(old)} files in {short(saved.absolute())}")
        coming = adopting.wanted(found, settings, app, chosen)
        needs = adoption.needs(found, old, coming)
        _tell(needs)
        if settings is None:
            say("Nothing was changed. To do it: --settings DIR, which `fleet provision` makes")
            return
        if needs.flash and firmware is None:
            raise FleetError(
                "the flash must be written: give --firmware, a MicroPython download for this chip"
            )
        if not yes:
            click.confirm("Change the board?", abort=True)
        if firmware is None:
            changes = adopting.by_files(cable, coming, say, application=app is not None)
            pause.starts_again = False
            if changes:
                cable.reset()
                say("The board restarts.")
            else:
                say("Nothing to do: it has all of this.")
                pause.starts_again = True
            return
        pause.starts_again = False
    job = flash.Job(
        *(firmware, None, None, 0, settings, None, fleet, "1.0.0", 1, (), False, chosen, drop)
    )
    adopting.by_flash(resolve(port), job, coming, old, say)
    say("The board restarts, with its files.")


def _tell(needs: adoption.Needs) -> None:
    for reason in needs.flash:
        say(f"Files alone are not enough: {reason}")
    say("To bring it under the fleet:")
    for change in needs.changes:
        say(f"  - {change}")
    for task in needs.left:
        say(f"  - you: {task}")
