"""The common part of all rows: the connection, and the changes that others must hear of."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

Item = TypeVar("Item")

_PARAMETERS = 1000  # of one query, well below what databases take

metadata = sa.MetaData()
"""The tables as this version has them, once `store` is imported; `migrations` makes them."""

NAMED = sa.bindparam("named", type_=sa.String)
SOME: sa.BindParameter[Any] = sa.bindparam("some", expanding=True)
"""The values of a query for `Rows._some`."""


def without_id(table: sa.Table) -> sa.Select[Any]:
    """A query for all columns but the place in a list, `id`."""
    return sa.select(*(column for column in table.columns if column.name != "id"))


def batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Return the items in lists of so many at most."""
    rest = iter(items)
    while some := list(islice(rest, most)):
        yield some


@dataclass
class Changes:
    """The part of a transaction that others than the database keep in mind.

    messages: something is in the outbox; ended: things that may have lost an execution; revoked,
    admitted: things; streams: a stream or one of its objects is another one, or gone.
    """

    messages: bool = False
    ended: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    admitted: set[str] = field(default_factory=set)
    streams: bool = False


class Rows:
    """The rows of one transaction."""

    def __init__(self, connection: sa.Connection, changes: Changes) -> None:
        self._connection = connection
        self.changes = changes

    def _newest(
        self,
        table: sa.Table,
        *conditions: sa.ColumnElement[bool],
        before: int | None,
        limit: int,
    ) -> list[tuple[int, dict[str, Any]]]:
        """Rows, newest first, each apart from its place, which is lower than `before`."""
        query = sa.select(table).where(*conditions).order_by(table.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(table.c.id < before)
        rows = [dict(row) for row in self._all(query)]
        return [(row.pop("id"), row) for row in rows]

    def _some(
        self, query: sa.Select[Any], some: Collection[Any], **parameters: Any
    ) -> Iterator[sa.RowMapping]:
        """The rows of a query for some values; a database takes a bounded number of parameters."""
        for few in batches(some, _PARAMETERS):
            yield from self._all(query, some=few, **parameters)

    def _insert(self, table: sa.Table, **values: Any) -> None:
        self._connection.execute(table.insert(), values)

    def _one(self, query: sa.Select[Any], **parameters: Any) -> sa.RowMapping | None:
        return self._connection.execute(query, parameters).mappings().first()

    def _all(self, query: sa.Select[Any], **parameters: Any) -> Sequence[sa.RowMapping]:
        return self._connection.execute(query, parameters).mappings().all()
