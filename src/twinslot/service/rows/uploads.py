"""Uploads in parts that have begun and not ended; the parts' bytes lie in the object folder."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from twinslot.formats import aws
from twinslot.service.rows.base import Rows, metadata

uploads_table = sa.Table(
    "uploads",
    metadata,
    sa.Column("upload_id", sa.String(64), primary_key=True),
    sa.Column("bucket", sa.String(aws.MAX_BUCKET), nullable=False),
    sa.Column("key", sa.String(aws.MAX_KEY), nullable=False),
    sa.Column("content_type", sa.String(aws.MAX_CONTENT_TYPE), nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("algorithm", sa.String(32), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

parts_table = sa.Table(
    "parts",
    metadata,
    sa.Column("upload_id", sa.ForeignKey("uploads.upload_id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("etag", sa.String(32), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("modified_at", sa.BigInteger, nullable=False),
    sa.Column("checksums", sa.JSON, nullable=False),
)


@dataclass(frozen=True)
class Upload:
    """An upload; algorithm: of its checksums, "" for none; kind: COMPOSITE or FULL_OBJECT."""

    upload_id: str
    bucket: str
    key: str
    content_type: str
    metadata: Mapping[str, str]
    algorithm: str
    kind: str
    created_at: int


@dataclass(frozen=True)
class Part:
    """A part of an upload; `size` in bytes."""

    number: int
    sha256: str
    etag: str
    size: int
    modified_at: int
    checksums: Mapping[str, str]


class UploadRows(Rows):
    """Uploads and their parts."""

    def add_upload(self, upload: Upload) -> None:
        """Add an upload whose id is new."""
        self._insert(uploads_table, **vars(upload))

    def upload(self, upload_id: str) -> Upload | None:
        """The upload of this id."""
        row = self._one(sa.select(uploads_table).where(uploads_table.c.upload_id == upload_id))
        return None if row is None else Upload(**row)

    def put_part(self, upload_id: str, part: Part) -> None:
        """Add a part, or replace that of the same number."""
        table = parts_table
        self._connection.execute(
            table.delete().where(table.c.upload_id == upload_id, table.c.number == part.number)
        )
        self._insert(table, upload_id=upload_id, **vars(part))

    def parts(self, upload_id: str) -> list[Part]:
        """The parts of an upload by their numbers."""
        table = parts_table
        columns = (column for column in table.columns if column.name != "upload_id")
        query = sa.select(*columns).where(table.c.upload_id == upload_id).order_by(table.c.number)
        return [Part(**row) for row in self._all(query)]

    def is_part(self, sha256: str) -> bool:
        """Say whether any part has these bytes."""
        query = sa.select(parts_table.c.number).where(parts_table.c.sha256 == sha256).limit(1)
        return self._one(query) is not None

    def delete_upload(self, upload_id: str) -> None:
        """Forget an upload and its parts."""
        for table in (parts_table, uploads_table):
            self._connection.execute(table.delete().where(table.c.upload_id == upload_id))
