"""The command push."""

from pathlib import Path

import click

from twinslot.cli.pack import packing_options
from twinslot.cli.parts import (
    PROTOCOLS,
    encoding_of,
    form_option,
    protocol_option,
    read_config,
)
from twinslot.cli.say import say
from twinslot.cli.views import measuring, progress_view
from twinslot.client import packing
from twinslot.client import push as pushing
from twinslot.formats.manifest import MAX_SEQUENCE


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.argument("thing", metavar="BOARD")
@packing_options
@click.option(
    "--version",
    metavar="TEXT",
    help="Version for people, 1 to 32 bytes.  [default: dev-SEQUENCE]",
)
@click.option(
    "--sequence",
    type=click.IntRange(1, MAX_SEQUENCE),
    metavar="N",
    help="Number that stops downgrades.  [default: the next one]",
)
@protocol_option
@form_option
@click.option("--create-things", is_flag=True, help="Make the board known to the service.")
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Time limit.")
def push(
    sources: packing.Sources,
    thing: str,
    version: str | None,
    sequence: int | None,
    protocol: str,
    encoding: str | None,
    create_things: bool,
    timeout: float | None,
) -> None:
    """Pack, publish and watch the application in DIR.

    It exits with 0 only when BOARD has accepted the application.
    """
    with measuring("a smaller form of the package") as progress:
        sent = pushing.send(
            read_config(),
            sources,
            thing,
            say,
            version=version,
            sequence=sequence,
            protocols=PROTOCOLS[protocol],
            create_things=create_things,
            asked=encoding_of(encoding),
            progress=progress,
        )
    done = pushing.wait(read_config(), sent, say, timeout, progress_view)
    if done.accepted:
        say(
            f"accepted: {thing} runs {done.version}, sequence {done.sequence}, "
            f"{done.seconds:.1f} s after the start"
        )
        return
    say(f"not accepted: {thing} says {done.words}; {done.seconds:.1f} s after the start")
    click.get_current_context().exit(1)
