"""The commands backup and restore."""

from pathlib import Path

import click

from twinslot import service_notes
from twinslot.cli.parts import read_config, short, toml_path
from twinslot.cli.say import say
from twinslot.client import backup as keeping
from twinslot.config import Config

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--database",
    metavar="URL",
    help="Database of the service, as `fleet serve` has it.  [default: that of the last one here]",
)
@click.argument("file", type=_FILE)
def backup(database: str | None, file: Path) -> None:
    """Write all of the fleet into FILE.

    These are keys, certificates, boards' settings, the database and packages. The service may run
    meanwhile. FILE holds the fleet's private keys: keep it as safe as these.
    """
    config = read_config()
    url = _url(config, database)
    saved = keeping.save(config, file, _database(config, url))
    say(f"wrote {short(file)}: {saved.files} files, {file.stat().st_size >> 10} KB")
    for path in saved.outside:
        say(f"  without {path}, which lies elsewhere")
    for path in saved.left_out:
        say(f"  without {short(path)}, which is not the database of the service")
    if saved.database is None:
        say(f"  {_why_without(url)}")
    say("It holds the private keys. To bring it back: fleet restore FILE, in an empty folder")


@click.command()
@click.argument("file", type=_FILE)
def restore(file: Path) -> None:
    """Bring the backup FILE back.

    It goes into the folder of fleet.toml, and overwrites nothing.
    Files that are there already must be those of the backup; so move away
    what is damaged, such as the folder state, first. It brings all other files, or none.
    """
    from twinslot.service import database

    folder = toml_path().resolve().parent
    done = keeping.restore(file, folder, database.BESIDE)
    for name in done.came:
        say(f"wrote {short(folder / name)}")
    if done.came:
        say(f"{len(done.came)} files came back")
    else:
        say("all files of the backup are there already")
    if done.database is not None:
        came = folder / done.database
        if came != read_config().database_file.resolve():
            say(f"The database came as {short(came)}; `fleet serve --database` takes its URL")


def _url(config: Config, given: str | None) -> str | None:
    """The URL of the database that the service here uses, or used last; None before the first.

    Raises BackupError for another one than that.
    """
    from twinslot.service.database import place

    noted = service_notes.noted_database(config)
    if given is not None and noted is not None and place(given) != noted:
        raise keeping.BackupError(
            f"the last `fleet serve` here used the database {noted}, not {place(given)}: leave "
            "--database out, or start the service with it first"
        )
    return given or noted


def _database(config: Config, url: str | None) -> keeping.Database:
    """Describe the database. Raises BackupError where its file is gone."""
    from twinslot.service import database

    file = database.file_of(url or config.database)
    if file is not None and not file.exists():
        if url is not None:
            raise keeping.BackupError(f"the service's database {file} is gone; nothing was written")
        file = None
    return keeping.Database(file, config.database_file, database.copy, database.BESIDE)


def _why_without(url: str | None) -> str:
    from twinslot.service.database import place

    if url is None:
        return "without a database: no service has run here"
    return (
        f"without the database {place(url)}, which is no file: back it up by its own tools "
        "(PostgreSQL's is pg_dump)"
    )
