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
@click.argument("things", metavar="BOARD...", nargs=-1, required=True)
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
    things: tuple[str, ...],
    version: str | None,
    sequence: int | None,
    protocol: str,
    encoding: str | None,
    create_things: bool,
    timeout: float | None,
) -> None:
    """Pack, publish and watch the application in DIR.

    Each BOARD gets the smallest form of the package that its report says it can take
    (docs/smaller-updates.md). It exits with 0 only when every BOARD has accepted the application.
    """
    with measuring("a smaller form of the package") as progress:
        sent = pushing.send(
            read_config(),
            sources,
            things,
            say,
            version=version,
            sequence=sequence,
            protocols=PROTOCOLS[protocol],
            create_things=create_things,
            asked=encoding_of(encoding),
            progress=progress,
        )
    done = pushing.wait(read_config(), sent, say, timeout, progress_view)
    for thing, words in done.words.items():
        if thing not in done.refused:
            say(
                f"accepted: {thing} runs {done.version}, sequence {done.sequence}, "
                f"{done.seconds:.1f} s after the start"
            )
        else:
            say(f"not accepted: {thing} says {words}; {done.seconds:.1f} s after the start")
    if done.refused:
        click.get_current_context().exit(1)
