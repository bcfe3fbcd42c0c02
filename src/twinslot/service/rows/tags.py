"""Tags: keys and values that people hang on groups, jobs and the like."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from twinslot.formats import aws
from twinslot.service.rows.base import Rows, metadata

tags_table = sa.Table(
    "tags",
    metadata,
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(aws.MAX_NAME), primary_key=True),
    sa.Column("key", sa.String(aws.MAX_TAG_KEY), primary_key=True),
    sa.Column("value", sa.String(aws.MAX_TAG_VALUE), nullable=False),
)


class TagRows(Rows):
    """Tags of resources, which are named by kind and name as in their ARN."""

    def tags(self, kind: str, name: str) -> dict[str, str]:
        """The tags of a resource, in the order of their keys."""
        query = sa.select(tags_table).where(tags_table.c.kind == kind, tags_table.c.name == name)
        return {row["key"]: row["value"] for row in self._all(query.order_by(tags_table.c.key))}

    def tag(self, kind: str, name: str, tags: Mapping[str, str]) -> None:
        """Set tags of a resource; those of other keys stay."""
        self.untag(kind, name, tags)
        for key, value in tags.items():
            self._insert(tags_table, kind=kind, name=name, key=key, value=value)

    def untag(self, kind: str, name: str, keys: Collection[str] | None = None) -> None:
        """Remove the tags of these keys, None: all of them."""
        conditions = [tags_table.c.kind == kind, tags_table.c.name == name]
        if keys is not None:
            conditions.append(tags_table.c.key.in_(list(keys)))
        self._connection.execute(tags_table.delete().where(*conditions))
