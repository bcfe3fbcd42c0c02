"""OTA updates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from twinslot.formats import aws
from twinslot.service.database import NUMBER
from twinslot.service.rows.base import Rows, metadata, without_id

updates_table = sa.Table(
    "updates",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("update_id", sa.String(aws.MAX_NAME), nullable=False, unique=True),
    sa.Column("job_id", sa.String(aws.MAX_JOB_ID), nullable=False),
    sa.Column("stream_id", sa.String(aws.MAX_NAME)),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class Update:
    """An OTA update: the job that was made of it, and the stream that was made for it, if any.

    `request` is what was asked for, as JSON.
    """

    update_id: str
    job_id: str
    stream_id: str | None
    request: Mapping[str, Any]
    created_at: int


class UpdateRows(Rows):
    """OTA updates."""

    def add_update(self, update: Update) -> None:
        """Add an OTA update whose id is new."""
        self._insert(updates_table, **vars(update))

    def update(self, update_id: str) -> Update | None:
        """The OTA update of this id."""
        row = self._one(without_id(updates_table).where(updates_table.c.update_id == update_id))
        return None if row is None else Update(**row)

    def updates(self, *, before: int | None, limit: int) -> list[tuple[int, Update]]:
        """Newest first, each with its place; those whose place is lower than `before`."""
        rows = self._newest(updates_table, before=before, limit=limit)
        return [(place, Update(**values)) for place, values in rows]

    def delete_update(self, update_id: str) -> None:
        """Forget an OTA update; its job and its stream stay."""
        self._connection.execute(
            updates_table.delete().where(updates_table.c.update_id == update_id)
        )
