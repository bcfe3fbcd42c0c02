"""Static thing groups, which things are in them, and which group is whose parent."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from twinslot.formats import aws
from twinslot.service.rows.base import SOME, Rows, metadata

groups_table = sa.Table(
    "groups",
    metadata,
    sa.Column("name", sa.String(aws.MAX_NAME), primary_key=True),
    sa.Column("parent", sa.String(aws.MAX_NAME)),
    sa.Column("description", sa.Text),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
)

members_table = sa.Table(
    "members",
    metadata,
    sa.Column("group", sa.ForeignKey("groups.name"), primary_key=True),
    sa.Column("thing", sa.ForeignKey("things.name"), primary_key=True),
    sa.Index("members_of_thing", "thing"),
)


Parents = Mapping[str, str | None]
"""Every group with its parent."""


@dataclass(frozen=True)
class Group:
    """A thing group; `parent` is another one's name, None for a group at the top."""

    name: str
    parent: str | None
    description: str | None
    attributes: Mapping[str, str]
    created_at: int
    version: int = 1


class GroupRows(Rows):
    """Groups and their members."""

    def add_group(self, group: Group) -> None:
        """Add a group whose name is new, and whose parent is there."""
        self._insert(groups_table, **vars(group))

    def group(self, name: str) -> Group | None:
        """The group of this name."""
        row = self._one(sa.select(groups_table).where(groups_table.c.name == name))
        return None if row is None else Group(**row)

    def save_group(self, group: Group) -> None:
        """Write a changed group."""
        self._connection.execute(
            groups_table.update().where(groups_table.c.name == group.name).values(**vars(group))
        )

    def delete_group(self, name: str) -> None:
        """Forget a group that has neither children nor things."""
        self._connection.execute(groups_table.delete().where(groups_table.c.name == name))

    def parents(self) -> dict[str, str | None]:
        """Every group, in the order of their names, with its parent."""
        query = sa.select(groups_table.c.name, groups_table.c.parent)
        return {row["name"]: row["parent"] for row in self._all(query.order_by("name"))}

    def join(self, thing: str, group: str) -> None:
        """Put a thing into a group; again is no harm."""
        if group not in self.groups_of(thing):
            self._insert(members_table, group=group, thing=thing)

    def leave(self, thing: str, group: str) -> None:
        """Take a thing out of a group, if it is there."""
        self._connection.execute(
            members_table.delete().where(
                members_table.c.group == group, members_table.c.thing == thing
            )
        )

    def leave_all(self, group: str) -> None:
        """Take every thing out of a group."""
        self._connection.execute(members_table.delete().where(members_table.c.group == group))

    def groups_of(self, thing: str) -> list[str]:
        """The groups that a thing was put into, in the order of their names."""
        query = sa.select(members_table.c.group).where(members_table.c.thing == thing)
        return list(self._connection.scalars(query.order_by(members_table.c.group)))

    def members(self, groups: Collection[str], *, after: str = "", limit: int) -> list[str]:
        """The things in any of these groups, in the order of their names, those behind `after`."""
        query = (
            sa.select(members_table.c.thing)
            .where(members_table.c.group.in_(SOME), members_table.c.thing > after)
            .distinct()
            .order_by(members_table.c.thing)
            .limit(limit)
        )
        found = {row["thing"] for row in self._some(query, groups)}
        return sorted(found)[:limit]


def above(name: str, parents: Parents) -> Iterator[str]:
    """The groups above a group, its parent first."""
    parent = parents[name]
    while parent is not None:
        yield parent
        parent = parents[parent]


def below(name: str, parents: Parents) -> list[str]:
    """All groups below a group."""
    return [other for other in parents if name in above(other, parents)]
