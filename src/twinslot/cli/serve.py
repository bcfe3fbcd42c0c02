"""The commands of the service and its database."""

import logging

import click

from twinslot import service_notes
from twinslot.cli.parts import read_config
from twinslot.cli.say import LogFormatter, say


@click.command()
@click.argument("url")
def copy_database(url: str) -> None:
    """Copy the service's database into the one at URL.

    It is the one that the last service here used. The other must be empty, and the service must not
    run. Start it with `--database URL` afterwards; the database before stays as it was.
    """
    from twinslot.service.copying import copy
    from twinslot.service.database import place
    from twinslot.service.serve import alone

    config = read_config()
    with alone(config.state / "lock"):
        source = service_notes.noted_database(config) or config.database
        rows = copy(source, url)
    say(
        f"copied {rows} rows of {place(source)}; now `fleet serve --database URL` with the same URL"
    )


@click.command()
@click.option(
    "--database",
    metavar="URL",
    help="Database of the service, as SQLAlchemy names it, such as postgresql://USER@HOST/NAME."
    "  [default: SQLite in the state folder]",
)
@click.option("--die-with-parent", is_flag=True, help="End when the process that started it ends.")
@click.option("-v", "--verbose", is_flag=True, help="Log connections, not only problems.")
def serve(database: str | None, die_with_parent: bool, verbose: bool) -> None:
    """Run the update service beside an MQTT broker.

    It runs until SIGTERM or Ctrl-C. It prints one line when it is ready: `ready control=URL
    data=URL broker=HOST:PORT`. Its log goes to standard error. Killed at any point it loses
    nothing: start it again.
    """
    # The service's libraries, which the list of all commands does not need.
    from twinslot.service import serve as service
    from twinslot.service.repeats import CountingHandler

    handler = CountingHandler()
    handler.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    service.run(
        read_config(),
        database=database,
        die_with_parent=die_with_parent,
        announce=say,
    )
