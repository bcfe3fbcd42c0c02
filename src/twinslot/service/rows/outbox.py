"""The outbox: messages that the broker has not acknowledged yet."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from twinslot.service.database import NEVER_AGAIN, NUMBER
from twinslot.service.rows.base import Rows, metadata

outbox_table = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("topic", sa.String(512), nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    **NEVER_AGAIN,  # so that order survives deletion
)


@dataclass(frozen=True)
class Message:
    """A message of the outbox."""

    id: int
    topic: str
    payload: bytes


class OutboxRows(Rows):
    """Unsent messages."""

    def send(self, topic: str, message: Mapping[str, Any]) -> None:
        """Publish a JSON message, at least once, after this transaction is committed."""
        self.send_all([(topic, message)])

    def send_all(self, messages: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Publish JSON messages with their topics, in this order, as `send` does."""
        rows = [
            {"topic": topic, "payload": json.dumps(message, separators=(",", ":")).encode()}
            for topic, message in messages
        ]
        if rows:
            self._connection.execute(outbox_table.insert(), rows)
            self.changes.messages = True

    def messages(self, *, after: int, limit: int) -> list[Message]:
        """Unsent messages in their order, those behind the id `after`."""
        query = (
            sa.select(outbox_table)
            .where(outbox_table.c.id > after)
            .order_by(outbox_table.c.id)
            .limit(limit)
        )
        return [Message(**row) for row in self._all(query)]

    def forget(self, ids: Sequence[int]) -> None:
        """Delete messages that the broker has acknowledged."""
        self._connection.execute(outbox_table.delete().where(outbox_table.c.id.in_(ids)))
