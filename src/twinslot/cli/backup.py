"""The commands backup and restore."""

from pathlib import Path

import click

from twinslot.cli.parts import read_config, short, toml_path
from twinslot.cli.say import say
from twinslot.client import backup as keeping

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=_FILE)
def backup(file: Path) -> None:
    """Write all of the fleet into FILE.

    These are keys, certificates, boards' settings, the database and packages. The service may run
    meanwhile. FILE holds the fleet's private keys: keep it as safe as these.
    """
    config = read_config()
    saved = keeping.save(config, file)
    say(f"wrote {short(file)}: {saved.files} files, {file.stat().st_size >> 10} KB")
    for path in saved.outside:
        say(f"  without {path}, which lies elsewhere")
    if not saved.database:
        say("  without a database: none is in the state folder; one of `fleet serve --database`")
        say("  needs a backup of its own")
    say("It holds the private keys. To bring it back: fleet restore FILE, in an empty folder")


@click.command()
@click.argument("file", type=_FILE)
def restore(file: Path) -> None:
    """Bring the backup FILE back.

    It goes into the folder of fleet.toml, and overwrites nothing.
    Files that are there already must be those of the backup; so move away
    what is damaged, such as the folder state, first. It brings all other files, or none.
    """
    folder = toml_path().resolve().parent
    came = keeping.restore(file, folder)
    for name in came:
        say(f"wrote {short(folder / name)}")
    say(f"{len(came)} files came back" if came else "all files of the backup are there already")
