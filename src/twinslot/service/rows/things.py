"""Things, and the names that are refused."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from twinslot.formats import aws
from twinslot.service.rows.base import NAMED, SOME, Rows, metadata

things_table = sa.Table(
    "things",
    metadata,
    sa.Column("name", sa.String(aws.MAX_NAME), primary_key=True),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
)

# By name alone: a thing that was never registered can be revoked, too.
revoked_table = sa.Table(
    "revoked",
    metadata,
    sa.Column("thing", sa.String(aws.MAX_NAME), primary_key=True),
    sa.Column("revoked_at", sa.BigInteger, nullable=False),
)

_THING = sa.select(things_table).where(things_table.c.name == NAMED)
_REVOKED = sa.select(revoked_table.c.thing).where(revoked_table.c.thing == NAMED)
_THINGS_OF = sa.select(things_table.c.name).where(things_table.c.name.in_(SOME))
_REVOKED_OF = sa.select(revoked_table.c.thing).where(revoked_table.c.thing.in_(SOME))


@dataclass(frozen=True)
class Thing:
    """A board by its name."""

    name: str
    attributes: Mapping[str, str]
    created_at: int
    version: int = 1


class ThingRows(Rows):
    """Things and revocations."""

    def add_thing(self, thing: Thing) -> None:
        """Add a thing whose name is new."""
        self._insert(things_table, **vars(thing))

    def thing(self, name: str) -> Thing | None:
        """The thing of this name."""
        row = self._one(_THING, named=name)
        return None if row is None else Thing(**row)

    def known_of(self, names: Collection[str]) -> set[str]:
        """Those of these names that are a thing's."""
        return {row["name"] for row in self._some(_THINGS_OF, names)}

    def save_thing(self, thing: Thing) -> None:
        """Write a changed thing."""
        self._connection.execute(
            things_table.update().where(things_table.c.name == thing.name).values(**vars(thing))
        )

    def delete_thing(self, name: str) -> None:
        """Forget a thing to which nothing is attached any more."""
        self._connection.execute(things_table.delete().where(things_table.c.name == name))

    def things(
        self,
        *,
        attribute: tuple[str, str] | None = None,
        prefix: bool = False,
        after: str = "",
        limit: int,
    ) -> list[Thing]:
        """In the order of their names, those behind `after`.

        attribute: name and value that they have, with `prefix` the beginning of the value.
        """
        query = (
            sa.select(things_table).where(things_table.c.name > after).order_by(things_table.c.name)
        )
        if attribute is not None:
            found = things_table.c.attributes[attribute[0]].as_string()
            query = query.where(
                found.startswith(attribute[1], autoescape=True) if prefix else found == attribute[1]
            )
        return [Thing(**row) for row in self._all(query.limit(limit))]

    def revoke(self, name: str, now: int) -> None:
        """Refuse everything that comes from this thing; again is no harm."""
        self.changes.revoked.add(name)
        if not self.is_revoked(name):
            self._insert(revoked_table, thing=name, revoked_at=now)

    def admit(self, name: str) -> None:
        """Take back what `revoke` did."""
        self.changes.admitted.add(name)
        self._connection.execute(revoked_table.delete().where(revoked_table.c.thing == name))

    def is_revoked(self, name: str) -> bool:
        """Say whether the thing is revoked."""
        return self._one(_REVOKED, named=name) is not None

    def revoked_of(self, things: Collection[str]) -> set[str]:
        """Those of these things that are revoked."""
        return {row["thing"] for row in self._some(_REVOKED_OF, things)}

    def revoked(self) -> dict[str, int]:
        """Everything that is revoked, and since when (Unix seconds)."""
        return {row["thing"]: row["revoked_at"] for row in self._all(sa.select(revoked_table))}
