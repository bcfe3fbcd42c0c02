"""S3 objects by bucket and key; their bytes lie in the object folder."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from twinslot.formats import aws
from twinslot.service.rows.base import Rows, metadata

objects_table = sa.Table(
    "objects",
    metadata,
    sa.Column("bucket", sa.String(aws.MAX_BUCKET), primary_key=True),
    sa.Column("key", sa.String(aws.MAX_KEY), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("etag", sa.String(32), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("content_type", sa.String(aws.MAX_CONTENT_TYPE), nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("modified_at", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class Object:
    """An S3 object; its bytes lie in the object folder under `sha256`. `size` in bytes."""

    bucket: str
    key: str
    sha256: str
    etag: str
    size: int
    content_type: str
    metadata: Mapping[str, str]
    modified_at: int


class ObjectRows(Rows):
    """Objects."""

    def put_object(self, item: Object) -> None:
        """Add an object, or replace the one of the same bucket and key."""
        before = self.object(item.bucket, item.key)
        self.changes.streams |= before is not None and before.sha256 != item.sha256
        self._connection.execute(
            objects_table.delete().where(
                objects_table.c.bucket == item.bucket, objects_table.c.key == item.key
            )
        )
        self._insert(objects_table, **vars(item))

    def object(self, bucket: str, key: str) -> Object | None:
        """The object of this bucket and key."""
        row = self._one(
            sa.select(objects_table).where(
                objects_table.c.bucket == bucket, objects_table.c.key == key
            )
        )
        return None if row is None else Object(**row)
