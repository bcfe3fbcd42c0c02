"""The command mip."""

from pathlib import Path

import click

from twinslot.cli.parts import DEFAULT_EXTENSIONS, extensions_option
from twinslot.cli.say import say
from twinslot.firmware import extensions
from twinslot.firmware import mip as packages


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@extensions_option("of the agent", DEFAULT_EXTENSIONS)
def mip(folder: Path, chosen: str | None) -> None:
    """Write the compiled agent into DIR, as a package for mip.

    It is for a project of your own: `mpremote mip install` puts it below /lib on a board.
    """
    brought = extensions.choose(chosen, extensions.asked_for({}))
    paths = packages.build(folder, brought)
    say(
        f"{folder}: {len(paths)} files, {packages.NAME}; extensions: "
        f"{', '.join(brought) or 'none'}. Install it on a board:"
    )
    say(f"  mpremote connect PORT resume mip install {folder / packages.NAME}")
