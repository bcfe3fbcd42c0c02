"""A database copied into another one, of whatever kind: how a fleet changes to PostgreSQL."""

import sqlalchemy as sa

from twinslot.errors import FleetError
from twinslot.service.database import Database
from twinslot.service.store import Store, metadata

_ROWS = 500  # at a time


class CopyError(FleetError):
    """The other database is not empty."""


def copy(source: str, target: str) -> int:
    """Copy all rows, as of one moment, into an empty database; the number of them.

    source, target: SQLAlchemy URLs. Both are brought up to date first. Raises CopyError,
    DatabaseError or SchemaError; then nothing was copied.
    """
    for url in (source, target):
        Store(url).close()
    old, new = Database(source), Database(target)
    count = 0
    try:
        with old.transaction(writing=False) as reading, new.transaction(writing=True) as writing:
            for table in metadata.sorted_tables:
                if writing.execute(sa.select(table).limit(1)).first() is not None:
                    raise CopyError(
                        f"the database {new} has rows in its table {table.name} already: copy into "
                        "an empty one"
                    )
            for table in metadata.sorted_tables:
                found = reading.execution_options(yield_per=_ROWS).execute(sa.select(table))
                for rows in found.mappings().partitions(_ROWS):
                    writing.execute(table.insert(), [dict(row) for row in rows])
                    count += len(rows)
            new.count_on(writing, metadata.sorted_tables)
    finally:
        old.close()
        new.close()
    return count
