"""The versions of the database's tables, each made from the one before, by alembic.

`versions/` has a file for each; a change of the tables in `service/rows/` brings one more. A new
database goes the same way as an old one, so there is one account of how tables came to be.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from twinslot.errors import FleetError

VERSION_TABLE = "twinslot_version"
"""The table that says which version the tables have."""

_RELEASE_0_2_0 = "0001"
_COUNTED, _COUNT = "schema", 4  # where release 0.2.0 counted its versions, and how far it had come


class SchemaError(FleetError):
    """The tables are of a version that this program does not know, or another program's."""


def upgrade(connection: sa.Connection, place: str, *, own: bool) -> None:
    """Bring the tables of a database up to date, in this transaction.

    place: its name for people; own: it has tables of this program alone, or none. Raises
    SchemaError; then nothing has changed.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    tables = sa.inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        _check_known(connection, config, place)
    elif _COUNTED in tables:
        _check_counted(connection, place)
        command.stamp(config, _RELEASE_0_2_0)
    elif tables and own:
        raise SchemaError(
            f"{place} is another program's database: it has a table {tables[0]}; give the service "
            "a file of its own"
        )
    command.upgrade(config, "head")


def _check_known(connection: sa.Connection, config: Config, place: str) -> None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    found = context.get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaError(
            f"{place} has schema {found} of a later version of twinslot: install that version, or "
            "bring back a backup that is older"
        )


def _check_counted(connection: sa.Connection, place: str) -> None:
    counted = sa.table(_COUNTED, sa.column("version", sa.Integer))
    found = connection.scalar(sa.select(counted.c.version))
    if found != _COUNT:
        raise SchemaError(
            f"{place} has schema {found}, older than release 0.2.0: start `fleet serve` of that "
            "release once, which brings it up to date"
        )
