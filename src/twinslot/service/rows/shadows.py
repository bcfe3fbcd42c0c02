"""Shadows of things."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from twinslot.service.rows.base import Rows, metadata

shadows_table = sa.Table(
    "shadows",
    metadata,
    sa.Column("thing", sa.ForeignKey("things.name"), primary_key=True),
    sa.Column("state", sa.JSON, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class Shadow:
    """A thing's shadow: "desired" and "reported" of it, where there are any, and their times."""

    state: Mapping[str, Any]
    metadata: Mapping[str, Any]
    version: int


class ShadowRows(Rows):
    """Shadows."""

    def shadow(self, thing: str) -> Shadow | None:
        """The shadow of this thing."""
        columns = (shadows_table.c.state, shadows_table.c.metadata, shadows_table.c.version)
        row = self._one(sa.select(*columns).where(shadows_table.c.thing == thing))
        return None if row is None else Shadow(**row)

    def shadows(self, *, after: str, limit: int) -> dict[str, Shadow]:
        """Shadows by thing, in the order of the things, those behind `after`."""
        query = (
            sa.select(shadows_table)
            .where(shadows_table.c.thing > after)
            .order_by(shadows_table.c.thing)
        )
        rows = [dict(row) for row in self._all(query.limit(limit))]
        return {row.pop("thing"): Shadow(**row) for row in rows}

    def delete_shadow(self, thing: str) -> None:
        """Forget a thing's shadow, if there is one."""
        self._connection.execute(shadows_table.delete().where(shadows_table.c.thing == thing))

    def save_shadow(self, thing: str, shadow: Shadow) -> None:
        """Write a thing's shadow, instead of the one that is there."""
        self._connection.execute(shadows_table.delete().where(shadows_table.c.thing == thing))
        self._insert(shadows_table, thing=thing, **vars(shadow))
