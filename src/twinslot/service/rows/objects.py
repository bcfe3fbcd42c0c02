"""S3 buckets, and objects by bucket and key; their bytes lie in the object folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from twinslot.formats import aws
from twinslot.service.rows.base import Rows, metadata

MAX_ETAG = 64
"""Characters; that of an object in parts ends with their number."""

buckets_table = sa.Table(
    "buckets",
    metadata,
    sa.Column("name", sa.String(aws.MAX_BUCKET), primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

objects_table = sa.Table(
    "objects",
    metadata,
    sa.Column("bucket", sa.String(aws.MAX_BUCKET), primary_key=True),
    sa.Column("key", sa.String(aws.MAX_KEY), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("etag", sa.String(MAX_ETAG), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("content_type", sa.String(aws.MAX_CONTENT_TYPE), nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("modified_at", sa.BigInteger, nullable=False),
    sa.Column("checksums", sa.JSON, nullable=False, server_default="{}"),
)


@dataclass(frozen=True)
class Object:
    """An S3 object; its bytes lie in the object folder under `sha256`. `size` in bytes.

    checksums: by their names in answers, such as ChecksumCRC32.
    """

    bucket: str
    key: str
    sha256: str
    etag: str
    size: int
    content_type: str
    metadata: Mapping[str, str]
    modified_at: int
    checksums: Mapping[str, str] = field(default_factory=dict)


class ObjectRows(Rows):
    """Buckets and objects."""

    def put_object(self, item: Object) -> None:
        """Add an object, or replace the one of the same bucket and key; make its bucket."""
        before = self.object(item.bucket, item.key)
        self.changes.streams |= before is not None and before.sha256 != item.sha256
        self._delete_object(item.bucket, item.key)
        self.add_bucket(item.bucket, item.modified_at)
        self._insert(objects_table, **vars(item))

    def object(self, bucket: str, key: str) -> Object | None:
        """The object of this bucket and key."""
        row = self._one(
            sa.select(objects_table).where(
                objects_table.c.bucket == bucket, objects_table.c.key == key
            )
        )
        return None if row is None else Object(**row)

    def objects(self, bucket: str, *, prefix: str = "", after: str = "") -> list[Object]:
        """The objects of a bucket whose keys begin so, by key, those behind the key `after`.

        In the order of the keys' UTF-8, as S3 lists them, whatever a database sorts by.
        """
        query = sa.select(objects_table).where(objects_table.c.bucket == bucket)
        found = [Object(**row) for row in self._all(query)]
        return sorted(
            (item for item in found if item.key.startswith(prefix) and item.key > after),
            key=lambda item: item.key,
        )

    def delete_object(self, bucket: str, key: str) -> None:
        """Forget an object; a stream that was made of it serves it no more."""
        self.changes.streams = True
        self._delete_object(bucket, key)

    def is_kept(self, sha256: str) -> bool:
        """Say whether any object has these bytes."""
        query = sa.select(objects_table.c.key).where(objects_table.c.sha256 == sha256).limit(1)
        return self._one(query) is not None

    def add_bucket(self, name: str, now: int) -> None:
        """Make a bucket; again is no harm."""
        if self.bucket(name) is None:
            self._insert(buckets_table, name=name, created_at=now)

    def bucket(self, name: str) -> int | None:
        """When this bucket was made (Unix seconds); None where there is none."""
        row = self._one(sa.select(buckets_table).where(buckets_table.c.name == name))
        return None if row is None else int(row["created_at"])

    def buckets(self) -> dict[str, int]:
        """Every bucket, and when it was made, in the order of their names."""
        found = {row["name"]: row["created_at"] for row in self._all(sa.select(buckets_table))}
        return dict(sorted(found.items()))

    def _delete_object(self, bucket: str, key: str) -> None:
        self._connection.execute(
            objects_table.delete().where(
                objects_table.c.bucket == bucket, objects_table.c.key == key
            )
        )
