"""Certificates of the registry, and the things that they speak for."""

from dataclasses import dataclass

import sqlalchemy as sa

from twinslot.service.database import NUMBER
from twinslot.service.rows.base import Rows, metadata

ACTIVE, INACTIVE, REVOKED = "ACTIVE", "INACTIVE", "REVOKED"

certificates_table = sa.Table(
    "certificates",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("certificate_id", sa.String(64), nullable=False, unique=True),
    sa.Column("pem", sa.Text, nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
)

principals_table = sa.Table(
    "principals",
    metadata,
    sa.Column("certificate_id", sa.ForeignKey("certificates.certificate_id"), primary_key=True),
    sa.Column("thing", sa.ForeignKey("things.name"), primary_key=True),
    sa.Index("principals_of_thing", "thing"),
)


@dataclass(frozen=True)
class Certificate:
    """A certificate: `name` is its common name, `certificate_id` the SHA-256 of its DER."""

    certificate_id: str
    pem: str
    name: str
    status: str
    created_at: int
    updated_at: int
    version: int = 1


class CertificateRows(Rows):
    """Certificates and their things."""

    def add_certificate(self, certificate: Certificate) -> None:
        """Add a certificate that is not there."""
        self._insert(certificates_table, **vars(certificate))

    def certificate(self, certificate_id: str) -> Certificate | None:
        """The certificate of this id."""
        found = self._certificates(certificates_table.c.certificate_id == certificate_id)
        return found[0][1] if found else None

    def certificates(
        self, *, ascending: bool, after: int | None, limit: int
    ) -> list[tuple[int, Certificate]]:
        """By the time at which they came, each with its place; those behind the place `after`."""
        place = certificates_table.c.id
        conditions = []
        if after is not None:
            conditions.append(place > after if ascending else place < after)
        order = place.asc() if ascending else place.desc()
        return self._certificates(*conditions, order=order, limit=limit)

    def certificates_but(self, status: str) -> list[Certificate]:
        """All that have another status."""
        return [found for _, found in self._certificates(certificates_table.c.status != status)]

    def certificates_named(self, name: str) -> list[Certificate]:
        """Those of this common name."""
        return [found for _, found in self._certificates(certificates_table.c.name == name)]

    def save_certificate(self, certificate: Certificate) -> None:
        """Write a changed certificate."""
        self._connection.execute(
            certificates_table.update()
            .where(certificates_table.c.certificate_id == certificate.certificate_id)
            .values(**vars(certificate))
        )

    def delete_certificate(self, certificate_id: str) -> None:
        """Forget a certificate that speaks for no thing."""
        table = certificates_table
        self._connection.execute(table.delete().where(table.c.certificate_id == certificate_id))

    def attach(self, certificate_id: str, thing: str) -> None:
        """Let a certificate speak for a thing; again is no harm."""
        if thing not in self.things_of(certificate_id):
            self._insert(principals_table, certificate_id=certificate_id, thing=thing)

    def detach(self, certificate_id: str, thing: str) -> None:
        """Let a certificate speak for a thing no more."""
        table = principals_table
        self._connection.execute(
            table.delete().where(table.c.certificate_id == certificate_id, table.c.thing == thing)
        )

    def things_of(self, certificate_id: str) -> list[str]:
        """The things that a certificate speaks for, in the order of their names."""
        table = principals_table
        query = sa.select(table.c.thing).where(table.c.certificate_id == certificate_id)
        return list(self._connection.scalars(query.order_by(table.c.thing)))

    def certificates_of(self, thing: str) -> list[str]:
        """The ids of the certificates that speak for a thing, in order."""
        table = principals_table
        query = sa.select(table.c.certificate_id).where(table.c.thing == thing)
        return list(self._connection.scalars(query.order_by(table.c.certificate_id)))

    def speakers(self) -> dict[str, list[str]]:
        """The things that ACTIVE certificates speak for, by common name."""
        query = (
            sa.select(certificates_table.c.name, principals_table.c.thing)
            .join(
                principals_table,
                principals_table.c.certificate_id == certificates_table.c.certificate_id,
            )
            .where(certificates_table.c.status == ACTIVE)
            .order_by(principals_table.c.thing)
        )
        found: dict[str, list[str]] = {}
        for row in self._all(query):
            found.setdefault(row["name"], []).append(row["thing"])
        return found

    def _certificates(
        self,
        *conditions: sa.ColumnElement[bool],
        order: sa.ColumnElement[int] | None = None,
        limit: int | None = None,
    ) -> list[tuple[int, Certificate]]:
        query = sa.select(certificates_table).where(*conditions)
        query = query.order_by(certificates_table.c.id if order is None else order).limit(limit)
        rows = [dict(row) for row in self._all(query)]
        return [(row.pop("id"), Certificate(**row)) for row in rows]
