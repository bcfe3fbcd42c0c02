"""The command mip."""

from pathlib import Path

import click

from twinslot.cli.parts import agent_extensions
from twinslot.firmware import extensions
from twinslot.firmware import mip as packages


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@agent_extensions
def mip(folder: Path, chosen: tuple[str, ...] | None) -> None:
    """Write the compiled agent into DIR, as a package for mip.

    It goes into somebody's own project on a board, where `mpremote mip install` puts it below /lib.
    """
    if chosen is None:
        chosen = extensions.asked_for({})
    paths = packages.build(folder, chosen)
    click.echo(
        f"{folder}: {len(paths)} files, {packages.NAME}; extensions: "
        f"{', '.join(chosen) or 'none'}. Install it on a board:"
    )
    click.echo(f"  mpremote connect PORT resume mip install {folder / packages.NAME}")
