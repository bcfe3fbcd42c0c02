"""Policies, and what they are attached to."""

from dataclasses import dataclass

import sqlalchemy as sa

from twinslot.formats import aws
from twinslot.service.database import NUMBER
from twinslot.service.rows.base import Rows, metadata

_MAX_TARGET = 256  # characters; a resource name of this service's is shorter

policies_table = sa.Table(
    "policies",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("name", sa.String(aws.MAX_NAME), nullable=False, unique=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

attachments_table = sa.Table(
    "attachments",
    metadata,
    sa.Column("policy", sa.ForeignKey("policies.name"), primary_key=True),
    sa.Column("target", sa.String(_MAX_TARGET), primary_key=True),
    sa.Index("attachments_of_target", "target"),
)


@dataclass(frozen=True)
class Policy:
    """A policy; `document` is JSON text as it came."""

    name: str
    document: str
    created_at: int


class PolicyRows(Rows):
    """Policies and their attachments; a target is named as in AWS, by its ARN."""

    def add_policy(self, policy: Policy) -> None:
        """Add a policy whose name is new."""
        self._insert(policies_table, **vars(policy))

    def policy(self, name: str) -> Policy | None:
        """The policy of this name."""
        found = self._policies(policies_table.c.name == name)
        return found[0][1] if found else None

    def policies(
        self, *, ascending: bool, after: int | None, limit: int
    ) -> list[tuple[int, Policy]]:
        """By the time at which they came, each with its place; those behind the place `after`."""
        place = policies_table.c.id
        conditions = []
        if after is not None:
            conditions.append(place > after if ascending else place < after)
        return self._policies(
            *conditions, order=place.asc() if ascending else place.desc(), limit=limit
        )

    def delete_policy(self, name: str) -> None:
        """Forget a policy that is attached to nothing."""
        self._connection.execute(policies_table.delete().where(policies_table.c.name == name))

    def attach_policy(self, policy: str, target: str) -> None:
        """Attach a policy; again is no harm."""
        if policy not in self.policies_of(target):
            self._insert(attachments_table, policy=policy, target=target)

    def detach_policy(self, policy: str, target: str) -> None:
        """Detach a policy, if it is attached."""
        table = attachments_table
        self._connection.execute(
            table.delete().where(table.c.policy == policy, table.c.target == target)
        )

    def detach_policies(self, target: str) -> None:
        """Detach all policies of a target that goes."""
        table = attachments_table
        self._connection.execute(table.delete().where(table.c.target == target))

    def policies_of(self, target: str) -> list[str]:
        """The policies of a target, in the order of their names."""
        table = attachments_table
        query = sa.select(table.c.policy).where(table.c.target == target)
        return list(self._connection.scalars(query.order_by(table.c.policy)))

    def targets_of(self, policy: str) -> list[str]:
        """The targets of a policy, in order."""
        table = attachments_table
        query = sa.select(table.c.target).where(table.c.policy == policy)
        return list(self._connection.scalars(query.order_by(table.c.target)))

    def _policies(
        self,
        *conditions: sa.ColumnElement[bool],
        order: sa.ColumnElement[int] | None = None,
        limit: int | None = None,
    ) -> list[tuple[int, Policy]]:
        query = sa.select(policies_table).where(*conditions)
        query = query.order_by(policies_table.c.id if order is None else order).limit(limit)
        rows = [dict(row) for row in self._all(query)]
        return [(row.pop("id"), Policy(**row)) for row in rows]
